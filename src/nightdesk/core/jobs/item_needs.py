"""Which items wait for an item of another job: the ninth may be synthesized as soon as the ninth is transcribed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import PurePosixPath

from nightdesk.core.jobs.work import Work


def closed_items(work: Work, done: Callable[[str], frozenset[str]]) -> tuple[frozenset[int], str]:
    """The waiting items that can't be worked on yet, and why not the first of them. Items belong together by stem.

    ``done`` gives the items that a job has done.
    """
    items = work.plan.items or ()
    closed: set[int] = set()
    reason = ""
    for need in work.plan.needs_items:
        stems = {PurePosixPath(item).stem for item in done(need)}
        for index in work.queue.pending:
            if PurePosixPath(items[index]).stem not in stems:
                closed.add(index)
                reason = reason or f"Waits for {need} to do {PurePosixPath(items[index]).stem}."
    return frozenset(closed), reason

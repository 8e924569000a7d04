"""Which outputs were left half made: by attempts that failed, or that were in work when their run was ended."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from nightdesk.engine.jobs.runs import RunFolder, Stored, plain_name
from nightdesk.model.job import ENDED

RUNS = 20
"""The newest runs of a job that are asked."""


def distrusted(runs: Path, job: str) -> dict[str, int]:
    """Item → when its last attempt ended that did not end well, of the newest runs of a job. An output of that time
    is no proof that the item is done; a younger one is, and what the job's own check accepts. Blocks while it reads.
    """
    found: dict[str, int] = {}
    for folder, stored in _newest_runs(runs, job):
        for item, at_ns in _broken(folder, stored):
            found[item] = max(at_ns, found.get(item, 0))
    return found


def _newest_runs(runs: Path, job: str) -> Iterator[tuple[RunFolder, Stored]]:
    left = RUNS
    for path in sorted(runs.glob(f"{plain_name(job)}-*"), reverse=True):
        stored = RunFolder(path).read("run.json", Stored)
        if stored is not None and stored.run.job == job and stored.run.state in ENDED:
            yield RunFolder(path), stored
            left -= 1
            if not left:
                return


def _broken(folder: RunFolder, stored: Stored) -> Iterator[tuple[str, int]]:
    run = stored.run
    if run.mode == "single" and run.item is not None and run.state != "done":
        yield run.item, run.ended_ns or 0
    for item in stored.ledger.broken_off:
        yield item, run.ended_ns or 0
    for record in folder.failed_items():
        yield record.item, record.ended_ns

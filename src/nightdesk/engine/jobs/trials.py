"""Runs of a single item beside what the item gave before: its output is kept before the run begins."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from nightdesk.core.jobs.items import output_path
from nightdesk.core.jobs.plans import Plan
from nightdesk.engine.jobs.runs import RunFolder
from nightdesk.model.errors import UsageError
from nightdesk.model.items import ItemComparison, ItemOutcome
from nightdesk.model.job import ItemRecord, Run

KEPT_BYTES = 1_000_000
"""Of an earlier output: what is larger is no text that somebody compares line by line."""
EARLIER = "earlier-output"


def keep_output(plan: Plan, folder: RunFolder) -> None:
    """Put a copy of the item's output, as it is now, into the folder of a run of this single item.

    Nothing is said where that can't be done: the run matters more.
    """
    path = _output(plan)
    if plan.mode != "single" or path is None:
        return
    try:
        with path.open("rb") as file:
            body = file.read(KEPT_BYTES)
        folder.replace(EARLIER, body)
        stat = path.stat()
        os.utime(folder.path / EARLIER, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    except OSError:
        return


def _output(plan: Plan) -> Path | None:
    if plan.outputs is None or plan.item is None:
        return None
    return Path(plan.folder) / output_path(plan.outputs, plan.item)


def compare(
    run: Run, runs: Iterable[Run], record_of: Callable[[Run, str], ItemRecord | None]
) -> ItemComparison:
    """A single run beside what its item gave before; blocks for the time of reading some files.

    ``runs`` are all that are remembered, oldest first. Raises UsageError for a run of another kind.
    """
    if run.mode != "single" or run.item is None:
        raise UsageError(f"{run.id} is not a run of a single item.", "There is nothing to compare it with.")
    before = _before(run, runs, record_of)
    plan = RunFolder(Path(run.folder)).read("plan.json", Plan)
    path = _output(plan) if plan else None
    comparison = ItemComparison(item=run.item, now=_of_run(run), before=before)
    if path is None:
        changes = {"note": "The job does not say where the output of an item is: outputs in nightdesk.toml."}
        return _with(comparison, **changes)
    earlier, cut = _text(Path(run.folder) / EARLIER)
    now, also_cut = _text(path)
    note = f"Only the first {KEPT_BYTES // 1000} kB are compared." if cut or also_cut else None
    if earlier is None and (Path(run.folder) / EARLIER).exists():
        note = "The output is not text."
    return _with(comparison, output_path=str(path), output_before=earlier, output_now=now, note=note)


def _with(comparison: ItemComparison, **changes: str | None) -> ItemComparison:
    from msgspec.structs import replace

    return replace(comparison, **changes)


def _text(path: Path) -> tuple[str | None, bool]:
    """A file as text, and whether it is longer; None where it is missing or no text."""
    try:
        with path.open("rb") as file:
            body = file.read(KEPT_BYTES + 1)
    except OSError:
        return None, False
    if b"\0" in body:
        return None, False
    return body[:KEPT_BYTES].decode("utf-8", "replace"), len(body) >= KEPT_BYTES


def _before(
    run: Run, runs: Iterable[Run], record_of: Callable[[Run, str], ItemRecord | None]
) -> ItemOutcome | None:
    """What the newest earlier run gave that worked on the item."""
    for other in reversed(list(runs)):
        if (
            other.job != run.job
            or other.id == run.id
            or other.created_ns >= run.created_ns
            or run.item is None
        ):
            continue
        if other.mode == "single" and other.item == run.item and other.ended_ns is not None:
            return _of_run(other)
        if other.mode == "full" and other.items_total is not None:
            record = record_of(other, run.item)
            if record is not None:
                return _of_record(other, record)
    return None


def _of_run(run: Run) -> ItemOutcome:
    took = run.ended_ns - run.started_ns if run.ended_ns and run.started_ns else None
    return ItemOutcome(run=run.id, state=run.state, ended_ns=run.ended_ns, took_ns=took, failure=run.failure)


def _of_record(run: Run, record: ItemRecord) -> ItemOutcome:
    took = record.ended_ns - record.started_ns if record.started_ns else None
    return ItemOutcome(
        run=run.id, state=record.state, ended_ns=record.ended_ns, took_ns=took, failure=record.failure
    )

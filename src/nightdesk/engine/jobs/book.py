"""Runs as they are found on disk, and all that are remembered: those that go on and the newest that ended."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path

from nightdesk.core.jobs.items import fill, shown_command
from nightdesk.core.jobs.plans import Plan
from nightdesk.core.jobs.work import Ledger, Work, queue_of
from nightdesk.engine.jobs.driver import RunDriver
from nightdesk.engine.jobs.runs import RunFolder, create_folder, log_id, run_folders
from nightdesk.model.errors import NightdeskError, UsageError
from nightdesk.model.job import Run

logger = logging.getLogger(__name__)

KEPT = 100
"""Ended runs that are remembered."""


def create_run(runs: Path, plan: Plan, now_ns: int) -> tuple[Work, RunFolder]:
    """A new run on disk, not yet started. Raises OSError where its folder can't be written."""
    folder, log = create_folder(runs, plan.job, now_ns)
    run = Run(
        id=folder.run_id,
        job=plan.job,
        mode=plan.mode,
        item=plan.item,
        state="waiting",
        command=_command_text(plan, folder),
        folder=str(folder.path),
        log=log_id(log),
        log_path=str(log),
        created_ns=now_ns,
        items_total=len(plan.items) if plan.items is not None else None,
    )
    ledger, queue = queue_of(plan, Ledger(), ())
    work = Work(run, plan, ledger, queue)
    folder.append_log(log, "")
    folder.save_plan(plan)
    folder.save(work)
    return work, folder


def stored_runs(runs: Path) -> list[tuple[Work, RunFolder]]:
    """All runs on disk, oldest first; damaged ones are passed over."""
    found = []
    for folder in run_folders(runs):
        work = folder.load()
        if work is None:
            logger.warning("The run folder %s can't be read and is passed over.", folder.path)
        else:
            found.append((work, folder))
    return sorted(found, key=lambda pair: pair[0].run.created_ns)


def _done_of(work: Work) -> frozenset[str]:
    busy = {*work.queue.pending, *work.queue.failed}
    busy |= {each.index for each in work.ledger.attempts if each.index is not None}
    busy |= {each.index for each in work.ledger.delayed if each.index is not None}
    return frozenset(item for index, item in enumerate(work.plan.items or ()) if index not in busy)


def _command_text(plan: Plan, folder: RunFolder) -> str:
    if not plan.arguments:
        return "list of the items"
    if plan.items is not None:
        return " ".join(plan.arguments)
    return shown_command(fill(plan.arguments, item=plan.item, index=1, run_dir=str(folder.path)))


class RunBook:
    """All runs: those that go on, and the newest that ended."""

    def __init__(self) -> None:
        self.active: dict[str, RunDriver] = {}
        self._ended: dict[str, Run] = {}
        self._newest_full: dict[str, Run] = {}
        self._newest: dict[str, str] = {}
        self._done: dict[str, frozenset[str]] = {}

    def add(self, driver: RunDriver) -> None:
        """Remember a run that has not ended."""
        self.active[driver.folder.run_id] = driver

    def add_ended(self, run: Run) -> None:
        """Remember an ended run; forget the oldest."""
        self.active.pop(run.id, None)
        self._ended[run.id] = run
        self._newest[run.job] = run.id
        newest = self._newest_full.get(run.job)
        if run.mode == "full" and (newest is None or newest.created_ns <= run.created_ns):
            self._newest_full[run.job] = run
        while len(self._ended) > KEPT:
            oldest = next(iter(self._ended))
            del self._ended[oldest]
            self._done.pop(oldest, None)

    def forget(self, run_id: str) -> None:
        """An ended run whose folder was removed."""
        self._ended.pop(run_id, None)
        self._done.pop(run_id, None)

    def find(self, run_id: str) -> Run | None:
        """The run with this id, if it is remembered."""
        active = self.active.get(run_id)
        return active.work.run if active else self._ended.get(run_id)

    def update_ended(self, run: Run) -> None:
        """Replace an ended run that is remembered."""
        if run.id in self._ended:
            self._ended[run.id] = run

    def works(self) -> Iterable[Work]:
        """All runs that have not ended."""
        return [active.work for active in self.active.values()]

    def newest_full(self) -> dict[str, Run]:
        """The newest full run of each job."""
        newest = dict(self._newest_full)
        for work in self.works():
            before = newest.get(work.run.job)
            if work.run.mode == "full" and (before is None or before.created_ns <= work.run.created_ns):
                newest[work.run.job] = work.run
        return newest

    def done_items(self, run: Run) -> frozenset[str]:
        """The items that a run has done, or found done already."""
        driver = self.active.get(run.id)
        if driver is None:
            known = self._done.get(run.id)
            if known is None:
                work = RunFolder(Path(run.folder)).load()
                known = self._done[run.id] = _done_of(work) if work else frozenset()
            return known
        return _done_of(driver.work)

    def active_of(self, job: str) -> str | None:
        """Id of the newest run of the job that goes on."""
        return next((w.run.id for w in reversed(list(self.works())) if w.run.job == job), None)

    def last_of(self, job: str) -> str | None:
        """Id of the newest run of the job that ended."""
        return self._newest.get(job)

    def newest(self) -> tuple[Run, ...]:
        """The newest runs, oldest first."""
        runs = [*self._ended.values(), *(work.run for work in self.works())]
        runs.sort(key=lambda run: (run.created_ns, run.id))
        return tuple(runs[-KEPT:])


def unfinished_items(job: str, run: Run | None, flags: Mapping[str, int]) -> tuple[str, ...]:
    """The items of the newest full run of a job that failed or were not reached, and those whose outputs were flagged
    since. Raises UsageError where there are none.
    """
    if run is None or run.items_total is None:
        raise UsageError(f"{job} has no run whose items could be tried again.", "Start all of it.")
    work = RunFolder(Path(run.folder)).load()
    if work is None:
        raise NightdeskError(f"The record of {run.id} can't be read.", "Start all of the job.")
    items = work.plan.items or ()
    delayed = (each.index for each in work.ledger.delayed if each.index is not None)
    flagged = {at for at, item in enumerate(items) if flags.get(item, 0) > (run.started_ns or run.created_ns)}
    left = sorted({*work.queue.failed, *work.queue.pending, *delayed, *flagged})
    if not left:
        raise UsageError(f"Nothing is left to retry: all items of {run.id} are done.", "Start the job again.")
    return tuple(items[index] for index in left)

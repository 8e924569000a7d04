"""A run that has not ended, with what the engine holds for it, and all runs that are remembered."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from nightdesk.core.items import fill, shown_command
from nightdesk.core.jobs import Ledger, Work
from nightdesk.core.plans import Plan
from nightdesk.engine.jobs.attempts import KeeperWatch
from nightdesk.engine.jobs.runs import RunFolder, create_folder, log_id, run_folders
from nightdesk.model.job import Run

logger = logging.getLogger(__name__)

KEPT = 100
"""Ended runs that are remembered."""


@dataclass(slots=True)
class ActiveRun:
    """Handles of a run. They never leave the supervisor."""

    work: Work
    folder: RunFolder
    watch: KeeperWatch | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while an attempt is launched, signalled or cleared away: one thing at a time happens to a run."""
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the first command runs, or the run ended or waits for another."""

    @property
    def log(self) -> Path:
        """The run's log file."""
        return Path(self.work.run.log_path or self.folder.path / "run.log")


def create_run(runs: Path, plan: Plan, now_ns: int) -> ActiveRun:
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
    active = ActiveRun(Work(run, plan, Ledger()), folder)
    folder.append_log(log, "")
    folder.save_plan(plan)
    folder.save(active.work)
    return active


def stored_runs(runs: Path) -> list[ActiveRun]:
    """All runs on disk, oldest first; damaged ones are passed over."""
    found = []
    for folder in run_folders(runs):
        work = folder.load()
        if work is None:
            logger.warning("The run folder %s can't be read and is passed over.", folder.path)
        else:
            found.append(ActiveRun(work, folder))
    return sorted(found, key=lambda active: active.work.run.created_ns)


def filled_command(plan: Plan, folder: RunFolder, position: int) -> tuple[str, ...]:
    """The arguments of the command for the item at ``position``, or for the whole run."""
    item = plan.items[position] if plan.items is not None else plan.item
    return fill(plan.arguments, item=item, index=position + 1, run_dir=str(folder.path))


def _command_text(plan: Plan, folder: RunFolder) -> str:
    if not plan.arguments:
        return "list of the items"
    if plan.items is not None:
        return " ".join(plan.arguments)
    return shown_command(filled_command(plan, folder, 0))


class RunBook:
    """All runs: those that go on, and the newest that ended."""

    def __init__(self) -> None:
        self.active: dict[str, ActiveRun] = {}
        self._ended: dict[str, Run] = {}
        self._newest_full: dict[str, Run] = {}
        self._newest: dict[str, str] = {}

    def add(self, active: ActiveRun) -> None:
        """Remember a run that has not ended."""
        self.active[active.folder.run_id] = active

    def add_ended(self, run: Run) -> None:
        """Remember an ended run; forget the oldest."""
        self.active.pop(run.id, None)
        self._ended[run.id] = run
        self._newest[run.job] = run.id
        newest = self._newest_full.get(run.job)
        if run.mode == "full" and (newest is None or newest.created_ns <= run.created_ns):
            self._newest_full[run.job] = run
        while len(self._ended) > KEPT:
            del self._ended[next(iter(self._ended))]

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

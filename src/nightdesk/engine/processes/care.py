"""What is asked and done about processes: one in full, orphans, signals to trees, the end of everything that we began.

A process that is the first one of a run stands for the run: what is asked of it is done to the run, so that the desk
never says "running" of something that stands still.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress

from msgspec.structs import replace

from nightdesk.core.processes.reports import joined, memory_of
from nightdesk.core.processes.tree import roots_of
from nightdesk.engine.jobs.supervisor import Supervisor
from nightdesk.engine.processes import signals
from nightdesk.engine.processes.inspect import inspect
from nightdesk.engine.processes.sampler import ProcessWatch
from nightdesk.engine.processes.stacks import read_stacks
from nightdesk.model.base import ProcessKey
from nightdesk.model.config import JobSection, span_ns
from nightdesk.model.errors import UsageError
from nightdesk.model.inspected import ProcessDetail, Stacks
from nightdesk.model.job import ENDED, Run
from nightdesk.model.process import (
    OrphanTree,
    ProcessRow,
    SignalReport,
    StopAllReport,
    TreeAction,
    TreeMember,
)
from nightdesk.model.sample import Sample

logger = logging.getLogger(__name__)

END_SECONDS = 20.0
"""How much longer than its grace time the end of a run may take before it is said that it has not ended."""
UNLOAD_NS = 30 * 10**9
_AFTERWARDS = "; it started anyway."
"""How the hand-over of models to a run ends its sentence; here nothing starts."""

FreeModels = Callable[[int, Callable[[str], None]], Awaitable[str]]


class ProcessCare:
    """Asked by the routes; everything belongs to the thread of the event loop."""

    def __init__(
        self,
        watch: ProcessWatch,
        supervisor: Supervisor,
        sample: Callable[[], Awaitable[None]],
        free_models: FreeModels,
        job: Callable[[str], JobSection | None],
    ) -> None:
        """``sample`` looks at the process table again; ``job`` gives the configuration of a job."""
        self._watch = watch
        self._supervisor = supervisor
        self._sample = sample
        self._free_models = free_models
        self._job = job
        self._changed = asyncio.Event()
        self._reports: dict[str, list[SignalReport]] = {}

    # questions

    async def rows(self, *, fresh: bool) -> tuple[ProcessRow, ...]:
        """The process table; ``fresh`` as it is now, else as of the newest sample."""
        if fresh:
            self._watch.hurry()
            await self._sample()
        return self._watch.rows()

    async def tree(self, key: ProcessKey) -> tuple[TreeMember, ...]:
        """A process and everything below it. Raises UsageError when it is gone, or never to be signalled."""
        await self._refuse((key,))
        members = await asyncio.to_thread(signals.tree_of, key)
        if not members:
            raise UsageError(*signals.why_gone(key))
        return await asyncio.to_thread(signals.measured, members)

    async def run_tree(self, run: Run) -> tuple[TreeMember, ...]:
        """Every process of a run."""
        members = await asyncio.to_thread(signals.processes_of_run, run.id, run.process)
        return await asyncio.to_thread(signals.measured, members)

    async def detail(self, key: ProcessKey) -> ProcessDetail:
        """Everything about one process. Raises UsageError when it is gone."""
        row = self._row(key)
        now_ns = time.time_ns()
        return await asyncio.to_thread(inspect, row, self._watch.histories.of(key, now_ns), now_ns)

    async def stacks(self, key: ProcessKey) -> Stacks:
        """Where the threads of a Python process stand. Raises NightdeskError where that can't be read."""
        self._row(key)
        return await read_stacks(key)

    async def orphans(self) -> tuple[OrphanTree, ...]:
        """What runs and programs have left behind, with everything below: the trees that a clean-up ends."""
        await self._sample()
        rows = self._watch.rows()
        return await asyncio.to_thread(orphan_trees, rows)

    async def everything(self) -> tuple[TreeMember, ...]:
        """What :meth:`stop_all` would end: the processes of all runs, and what earlier runs have left behind."""
        trees = [await self.run_tree(run) for run in self._active()]
        trees += [tree.members for tree in await self.orphans() if self._is_ours(tree.root)]
        return tuple({member.key: member for members in trees for member in members}.values())

    def _row(self, key: ProcessKey) -> ProcessRow:
        row = next((row for row in self._watch.rows() if row.key == key), None)
        if row is None:
            raise UsageError(f"Process {key.pid} is gone, or its number was used again.")
        return row

    # deeds

    async def signal(self, keys: Sequence[ProcessKey], action: TreeAction) -> SignalReport:
        """Signal trees by identity; a tree whose root is the first process of a run is signalled as the run.

        Raises UsageError where all are gone, one is never signalled, or a run can't do this in its state.
        """
        await self._refuse(keys)
        held = self._held()
        runs = [run for run in self._active() if roots_of(run) & set(keys)]
        taken = {key for run in runs for key in roots_of(run)}
        reports = list(await asyncio.gather(*(self._act(run, action) for run in runs)))
        members = await asyncio.to_thread(_trees, [key for key in keys if key not in taken])
        if not runs and not members:
            raise UsageError(*signals.why_gone(keys[0])) if keys else UsageError("No process was named.")
        if members:
            reports.append(await asyncio.to_thread(signals.signal_members, members, action))
        report = reports[0] if len(reports) == 1 else joined(action, reports)
        report = _with_devices(report, held)
        logger.info("%s: %d processes in %d trees", action, len(report.signalled), len(keys))
        await self._sample()
        return report

    async def clean(self, keys: Sequence[ProcessKey]) -> SignalReport:
        """End those of ``keys`` that still are orphans, with everything below, and look whether they are gone."""
        wanted, held = set(keys), self._held()
        trees = [tree for tree in await self.orphans() if tree.root.key in wanted]
        members = {member.key: member for tree in trees for member in tree.members}
        report = await asyncio.to_thread(signals.signal_members, tuple(members.values()), "stop")
        report = _with_devices(report, held)
        logger.info("clean-up: %d orphans ended, %d left", len(report.gone), len(report.left))
        await self._sample()
        return report

    async def stop_all(self) -> StopAllReport:
        """Stop all runs, end what earlier runs have left behind, and unload the models of the servers."""
        runs, held = self._active(), self._held()
        reports = list(await asyncio.gather(*(self._act(run, "stop") for run in runs)))
        left = [tree.root.key for tree in await self.orphans() if self._is_ours(tree.root)]
        if left:
            reports.append(await self.clean(left))
        still = tuple(run.id for run in runs if not self._has_ended(run.id))
        said = await self._free_models(UNLOAD_NS, lambda _: None)
        return StopAllReport(
            runs=tuple(run.id for run in runs),
            still=still,
            processes=_with_devices(joined("stop", reports), held),
            models=said.replace(_AFTERWARDS, "."),
        )

    async def _refuse(self, keys: Sequence[ProcessKey]) -> None:
        """Raises UsageError where one of the trees holds the system or this engine."""
        for key in keys:
            if reason := await asyncio.to_thread(signals.why_never, key):
                raise UsageError(reason, "Choose a process further down the tree.")

    def _held(self) -> dict[ProcessKey, int]:
        """The memory of each process on accelerators."""
        return {row.key: row.device_bytes for row in self._watch.rows() if row.device_bytes}

    # runs

    def look(self) -> None:
        """A run has changed."""
        self._changed.set()

    def note(self, run_id: str, report: SignalReport) -> None:
        """What a signal to the processes of a run did; kept where somebody waits for it."""
        if run_id in self._reports:
            self._reports[run_id].append(report)

    def _is_ours(self, orphan: ProcessRow) -> bool:
        """Whether this desk began it. A marker alone may come from a desk that lies elsewhere by now."""
        return orphan.run is not None and self._watch.is_known(orphan.run)

    def _active(self) -> list[Run]:
        return [run for run in self._supervisor.runs() if run.state not in ENDED]

    async def _act(self, run: Run, action: TreeAction) -> SignalReport:
        """Pause, resume or end a run, and tell what that did to its processes."""
        heard = self._reports.setdefault(run.id, [])
        try:
            await self._supervisor.act(run.id, action)
            if action in ("stop", "kill"):
                await self._wait_ended(run)
        except UsageError:
            if not self._has_ended(run.id):
                raise  # one that ended meanwhile needs no signal
        finally:
            self._reports.pop(run.id, None)
        return _of_run(joined(action, heard), run.id)

    async def _wait_ended(self, run: Run) -> None:
        section = self._job(run.job)
        grace_s = span_ns(section.grace) / 1e9 if section else 0.0
        with suppress(TimeoutError):
            async with asyncio.timeout(grace_s + END_SECONDS):
                while not self._has_ended(run.id):
                    self._changed.clear()
                    await self._changed.wait()

    def _has_ended(self, run_id: str) -> bool:
        run = self._supervisor.run_of(run_id)
        return run is None or run.state in ENDED


def recorded(runs: Iterable[Run]) -> dict[ProcessKey, str]:
    """The run of each process that the records of runs name."""
    return {run.process: run.id for run in runs if run.process}


def device_use(samples: Sequence[Sample]) -> dict[int, int]:
    """Accelerator memory of each process, as of the newest of ``samples``."""
    used: dict[int, int] = {}
    for device in samples[-1].devices if samples else ():
        for each in device.processes:
            used[each.pid] = used.get(each.pid, 0) + (each.memory_bytes or 0)
    return used


def orphan_trees(rows: Iterable[ProcessRow]) -> tuple[OrphanTree, ...]:
    """Each orphan that has no orphan above it, with everything below. Processes of active runs are left out."""
    by_key = {row.key: row for row in rows}
    orphans = {row.key.pid: row for row in by_key.values() if row.owner == "orphan"}
    spared = {key for key, row in by_key.items() if row.owner == "run"}
    trees = []
    for row in orphans.values():
        if row.ppid in orphans:
            continue
        members = tuple(member for member in signals.tree_of(row.key) if member.key not in spared)
        if members:
            held = [by_key[m.key] for m in members if m.key in by_key]
            trees.append(_orphan_tree(row, signals.measured(members), held))
    return tuple(sorted(trees, key=lambda tree: -tree.rss_bytes))


def _orphan_tree(root: ProcessRow, members: tuple[TreeMember, ...], rows: Sequence[ProcessRow]) -> OrphanTree:
    devices = [row.device_bytes for row in rows if row.device_bytes is not None]
    return OrphanTree(
        root=root,
        members=members,
        ports=tuple(sorted({port for row in rows for port in row.ports})),
        rss_bytes=memory_of(members) or 0,
        device_bytes=sum(devices) if devices else None,
    )


def _trees(keys: Iterable[ProcessKey]) -> tuple[TreeMember, ...]:
    return tuple({member.key: member for key in keys for member in signals.tree_of(key)}.values())


def _with_devices(report: SignalReport, held: Mapping[ProcessKey, int]) -> SignalReport:
    """The report with what those that are gone held on accelerators."""
    found = [held[key] for key in report.gone if key in held]
    return replace(report, device_bytes=sum(found)) if found and report.freed_bytes is not None else report


def _of_run(report: SignalReport, run_id: str) -> SignalReport:
    return replace(report, run=run_id)

"""Obeys the run state machine of core: starts keepers, signals processes, hears of ends, keeps everything on disk.

Nothing here decides about runs: what happened is given to ``core.jobs.advance``, which says what to do, and
``core.queue.admit`` says who may start. All public methods belong to the thread of the event loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial

from msgspec.structs import replace

from nightdesk.client.desk import Desk
from nightdesk.core import markers
from nightdesk.core.items import shown_command
from nightdesk.core.jobs import (
    Admitted,
    Asked,
    Command,
    Ended,
    EngineRestarted,
    Event,
    HeldBack,
    ItemsSkipped,
    KeeperLost,
    Launch,
    Launched,
    Paused,
    Remarked,
    Resumed,
    Started,
    Ticked,
    Work,
    advance,
    check_action,
    next_deadline_ns,
)
from nightdesk.core.plans import Plan, find_job, job_view, missing_item, plan_run
from nightdesk.core.queue import admit
from nightdesk.engine.jobs.active import ActiveRun, RunBook, create_run, filled_command, stored_runs
from nightdesk.engine.jobs.attempts import KeeperWatch, find_keeper, process_keys, spawn_keeper, wait_readable
from nightdesk.engine.jobs.endings import failure_of, lost_reason, remark_of
from nightdesk.engine.jobs.items import count_valid, find_items, listing
from nightdesk.engine.jobs.runs import ItemRecord, Result
from nightdesk.engine.processes.signals import signal_run
from nightdesk.model.desk import Change, RunChanged
from nightdesk.model.errors import NightdeskError, UsageError
from nightdesk.model.job import ENDED, Failure, JobView, Run, RunAction, StartRun, Usage
from nightdesk.model.logs import Progress
from nightdesk.model.process import TreeAction

logger = logging.getLogger(__name__)

LONGEST_NAP = 5.0
"""Seconds after which time limits are looked at again: the clock may have been moved meanwhile."""
BEGIN_SECONDS = 5.0
"""How long the answer to a start waits for the command to run."""
SIGNAL_THREADS = 16
"""A stop holds one for its grace time; a kill must not wait for one."""


class Supervisor:
    """The runs of a desk."""

    def __init__(
        self,
        desk: Desk,
        publish: Callable[[Change], None],
        *,
        now_ns: Callable[[], int],
        environment: Callable[[], dict[str, str]] = dict,
        on_run_log: Callable[[Run], None] = lambda run: None,
        on_run_ended: Callable[[Run], None] = lambda run: None,
    ) -> None:
        self._desk = desk
        self._publish = publish
        self._now = now_ns
        self._environment = environment
        self._on_run_log = on_run_log
        self._on_run_ended = on_run_ended
        self._book = RunBook()
        self._group: asyncio.TaskGroup | None = None
        self.running = asyncio.Event()
        """Set while ``run`` works: runs can be started and ended."""
        self._wake = asyncio.Event()
        self._threads: ThreadPoolExecutor | None = None

    # what others ask

    def jobs(self) -> tuple[JobView, ...]:
        """The jobs of the configuration, in its order."""
        book = self._book
        return tuple(
            job_view(name, section, book.last_of(name), book.active_of(name))
            for name, section in self._desk.config.jobs.items()
        )

    def runs(self) -> tuple[Run, ...]:
        """The newest 100 runs, oldest first."""
        return self._book.newest()

    def run_of(self, run_id: str) -> Run | None:
        """The run with this id; None where it is not among those remembered."""
        return self._book.find(run_id)

    def items(self, job: str) -> tuple[str, ...]:
        """The items of a job as they are on disk now, in natural order. Raises UsageError for an unknown job."""
        section = find_job(self._desk.config.jobs, job)
        return find_items(self._desk.folder / section.folder, section.items) if section.items else ()

    def replace_config(self, desk: Desk) -> None:
        """Use another configuration for runs that are started from now on."""
        self._desk = desk

    def set_progress(self, run_id: str, progress: Progress) -> None:
        """Take over what the log says. Runs that drive their items know better and ignore it."""
        active = self._book.active.get(run_id)
        if active is None:
            run = self._book.find(run_id)
            if run is not None and run.items_total is None:
                self._book.update_ended(replace(run, progress=progress))
                self._publish(RunChanged(run=replace(run, progress=progress)))
        elif active.work.plan.items is None:
            work = active.work
            active.work = Work(replace(work.run, progress=progress), work.plan, work.ledger)
            self._publish(RunChanged(run=active.work.run))

    async def start(self, request: StartRun) -> Run:
        """Start a job; gives the run once its command runs, has ended, or waits for another.

        Raises UsageError for an unknown job, a missing item, a mode that the job does not have, and a job that
        runs already; NightdeskError where the run's folder can't be written.
        """
        if self._group is None:
            raise NightdeskError(
                f"{request.job} can't be started: the engine is just beginning or ending.", "Try again."
            )
        plan = await asyncio.to_thread(self._plan, request)
        self._refuse_double(plan)
        if not plan.arguments:
            return await self._list_items(plan)
        active = self._create(plan)
        self._consider()
        if active.work.ledger.admitted:
            with suppress(TimeoutError):
                async with asyncio.timeout(BEGIN_SECONDS):
                    await active.begun.wait()
        return active.work.run

    async def act(self, run_id: str, action: RunAction) -> Run:
        """Pause, resume, stop or kill a run. Stop and kill answer at once with the state ``stopping``.

        Raises UsageError where there is no such run, or it can't do this in its state.
        """
        active = self._book.active.get(run_id)
        if active is None:
            run = self._book.find(run_id)
            if run is None:
                raise UsageError(f"There is no run {run_id}.", "nightdesk status lists them.")
            check_action(run, action)
            return run
        check_action(active.work.run, action)
        if active.work.run.state == "stopping":
            if action == "kill":
                self._spawn(self._signal(active, action))
            return active.work.run
        answered = asyncio.Event()
        self._spawn(self._ask(active, action, answered))
        await answered.wait()
        return active.work.run

    # the task

    async def adopt(self) -> None:
        """At the start of an engine: find the runs of the one before. Nothing new is started.

        Live keepers are watched again, results of finished ones are read, and a run with neither is ``lost``.
        """
        for active in await asyncio.to_thread(stored_runs, self._desk.runs):
            run = active.work.run
            if run.state in ENDED:
                self._book.add_ended(run)
            else:
                self._book.add(active)
                await self._adopt(active)

    async def _adopt(self, active: ActiveRun) -> None:
        self._apply(active, EngineRestarted(self._now()))
        self._on_run_log(active.work.run)
        if active.work.ledger.in_flight:
            await self._watch(active)

    async def _watch(self, active: ActiveRun) -> None:
        """Watch the keeper of an attempt that was launched before, or note how it ended."""
        record = await find_keeper(active.folder, active.work.ledger.serial)
        if record is None:
            await self._attempt_over(active)
            return
        if active.work.run.process is None:
            self._note_started(active)
        active.watch = KeeperWatch(record.keeper.pid, active.folder, partial(self._keeper_gone, active))

    async def run(self) -> None:
        """Watch the runs until cancelled. They go on after that."""
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                self.running.set()
                self._threads = ThreadPoolExecutor(SIGNAL_THREADS, thread_name_prefix="signal")
                self._go_on()
                while True:
                    self._wake.clear()
                    self._tick()
                    # not wait_for: in Python 3.11 it can swallow the cancellation that ends this loop
                    with suppress(TimeoutError):
                        async with asyncio.timeout(self._nap()):
                            await self._wake.wait()
        finally:
            self._group = None
            self.running.clear()
            for active in self._book.active.values():
                if active.watch:
                    active.watch.close()
                    active.watch = None
            if self._threads:
                self._threads.shutdown(wait=False, cancel_futures=True)

    def _nap(self) -> float:
        deadlines = [d for work in self._book.works() if (d := next_deadline_ns(work)) is not None]
        if not deadlines:
            return LONGEST_NAP * 12
        return min(LONGEST_NAP, max(0.0, (min(deadlines) - self._now()) / 1e9))

    def _tick(self) -> None:
        for active in list(self._book.active.values()):
            commands = self._apply(active, Ticked(self._now()))
            if commands:
                self._spawn(self._obey_locked(active, commands))
        self._consider()

    def _go_on(self) -> None:
        """What was being stopped still is, and keepers that nobody watches are watched again."""
        for active in self._book.active.values():
            if active.work.ledger.in_flight and active.watch is None:
                self._spawn(self._watch(active))
            if active.work.run.state == "stopping":
                self._spawn(self._signal_locked(active, active.work.ledger.asked == "kill"))

    def _spawn(self, work: Coroutine[object, object, None]) -> None:
        if self._group is None:
            work.close()
            raise NightdeskError(
                "Runs can't be changed now: the engine is just beginning or ending.", "Try again."
            )
        self._group.create_task(_guarded(work))

    # starting

    def _plan(self, request: StartRun) -> Plan:
        section = find_job(self._desk.config.jobs, request.job)
        folder = self._desk.folder / section.folder
        plan = plan_run(section, request, str(folder), partial(self.items, request.job))
        if plan.item is not None and section.items and not (folder / plan.item).exists():
            raise missing_item(plan.item, self.items(request.job))
        return plan

    def _refuse_double(self, plan: Plan) -> None:
        for work in self._book.works():
            if (work.plan.job, work.plan.mode, work.plan.item) == (plan.job, plan.mode, plan.item):
                raise UsageError(
                    f"{plan.job} can't be started again: {work.run.id} has not ended ({work.run.state}).",
                    "Wait for its end, or stop it.",
                )

    def _create(self, plan: Plan) -> ActiveRun:
        try:
            active = create_run(self._desk.runs, plan, self._now())
        except OSError as fault:
            raise NightdeskError(
                f"{plan.job} can't be started: its folder in {self._desk.runs} can't be written ({fault.strerror}).",
                "Check the rights and the free space there.",
            ) from fault
        self._book.add(active)
        self._publish(RunChanged(run=active.work.run))
        self._on_run_log(active.work.run)
        return active

    async def _list_items(self, plan: Plan) -> Run:
        """A dry run without a command of its own: tells what would be done, does nothing."""
        text = await asyncio.to_thread(listing, plan)
        active = self._create(plan)
        active.folder.append_log(active.log, text)
        self._apply(active, Admitted())
        self._apply(active, ItemsSkipped(len(plan.items or ()), self._now()))
        return active.work.run

    def _consider(self) -> None:
        """Let the queue decide who starts."""
        admission = admit(self._book.works(), self._book.newest_full(), self._now())
        for run_id in admission.start:
            active = self._book.active[run_id]
            self._spawn(self._obey_locked(active, self._apply(active, Admitted())))
        for run_id, reason in admission.reasons.items():
            self._apply(self._book.active[run_id], HeldBack(reason))

    # obeying

    def _apply(self, active: ActiveRun, event: Event) -> tuple[Command, ...]:
        """Advance the run, keep it on disk, tell everybody."""
        before = active.work
        active.work, commands = advance(before, event)
        if active.work == before:
            return commands
        try:
            active.folder.save(active.work)
        except OSError as fault:
            logger.warning("The state of run %s can't be written: %s", before.run.id, fault)
        self._wake.set()
        run = active.work.run
        if run.state in ENDED:
            self._book.add_ended(run)
        if run != before.run:
            self._publish(RunChanged(run=run))
        if run.state in ENDED:
            active.begun.set()
            self._on_run_ended(run)
        return commands

    async def _obey_locked(self, active: ActiveRun, commands: tuple[Command, ...]) -> None:
        async with active.lock:
            await self._obey(active, commands)

    async def _obey(self, active: ActiveRun, commands: tuple[Command, ...]) -> None:
        while commands:
            command, *rest = commands
            if isinstance(command, Launch):
                commands = (*rest, *await self._launch(active))
            else:
                await self._signal(active, command.action)
                commands = tuple(rest)

    async def _launch(self, active: ActiveRun) -> tuple[Command, ...]:
        """Start the attempt that is next, after passing over the items that need no work."""
        if active.work.run.state in (*ENDED, "paused") or active.work.ledger.in_flight:
            return ()
        if not await self._skip_valid(active):
            return ()
        work = active.work
        arguments = filled_command(work.plan, active.folder, work.ledger.position)
        size = active.log.stat().st_size if active.log.exists() else 0
        self._apply(active, Launched(shown_command(arguments), size, self._now()))
        try:
            self._write_spec(active, arguments)
            keeper, ready = spawn_keeper(active.folder, active.log)
        except OSError as fault:
            reason = f"No keeper could be started for it: {fault}"
            return self._apply(active, Ended(self._now(), failure=Failure(kind="error", evidence=reason)))
        active.watch = KeeperWatch(keeper, active.folder, partial(self._keeper_gone, active))
        await wait_readable(ready)
        self._note_started(active)
        return ()

    async def _skip_valid(self, active: ActiveRun) -> bool:
        """Whether something is left to do."""
        plan, position = active.work.plan, active.work.ledger.position
        if plan.items is None or plan.outputs is None or active.work.ledger.tries:
            return True
        count = await asyncio.to_thread(count_valid, plan, position)
        if count:
            now = self._now()
            skipped = plan.items[position : position + count]
            self._record(
                active,
                *(
                    ItemRecord(item=i, state="skipped", attempts=0, started_ns=None, ended_ns=now)
                    for i in skipped
                ),
            )
            self._apply(active, ItemsSkipped(count, now))
        return active.work.run.state not in ENDED

    def _write_spec(self, active: ActiveRun, arguments: tuple[str, ...]) -> None:
        work = active.work
        environment = {"PYTHONUNBUFFERED": "1"} | self._environment() | work.plan.env
        environment |= {
            markers.RUN: work.run.id,
            markers.JOB: work.run.job,
            markers.DESK: str(self._desk.folder),
        }
        if work.run.item is not None:
            environment[markers.ITEM] = work.run.item
        active.folder.save_spec(work.ledger.serial, work.plan.folder, arguments, environment)

    def _note_started(self, active: ActiveRun) -> None:
        """The keeper says that the command runs, or could not be started."""
        record = active.folder.pids(active.work.ledger.serial)
        if record is not None:
            keeper, command = process_keys(record)
            self._apply(active, Started(keeper, command, record.command.started_ns))
            active.begun.set()

    def _keeper_gone(self, active: ActiveRun) -> None:
        active.watch = None
        if self._group is not None:
            self._spawn(self._attempt_over(active))

    async def _attempt_over(self, active: ActiveRun) -> None:
        async with active.lock:
            await self._obey(active, await self._note_end(active))
        self._consider()

    async def _note_end(self, active: ActiveRun) -> tuple[Command, ...]:
        """The keeper is gone: read what it wrote, and what follows from it."""
        work = active.work
        result = active.folder.result(work.ledger.serial)
        if result is None:
            return self._apply(active, KeeperLost(lost_reason(work), self._now()))
        failure = await asyncio.to_thread(failure_of, active, result)
        usage = Usage(user_ns=result.user_ns, system_ns=result.system_ns, max_rss_bytes=result.max_rss_bytes)
        event = Ended(
            result.ended_ns, result.exit_status, result.signal, None if result.step else usage, failure
        )
        commands = self._apply(active, event)
        if work.plan.items is not None and active.work.ledger.position > work.ledger.position:
            self._record_item(active, work, result)
        return commands

    def _record_item(self, active: ActiveRun, before: Work, result: Result) -> None:
        failed = len(active.work.ledger.failed) > len(before.ledger.failed)
        failure = failure_of(active, result) if failed else None
        record = ItemRecord(
            item=before.run.item or "",
            state="failed" if failed else "done",
            attempts=before.ledger.tries,
            started_ns=result.started_ns,
            ended_ns=result.ended_ns,
            failure=failure.evidence if failure else None,
        )
        self._record(active, record)

    def _record(self, active: ActiveRun, *records: ItemRecord) -> None:
        try:
            active.folder.append_items(records)
        except OSError as fault:
            logger.warning("Finished items of run %s can't be recorded: %s", active.folder.run_id, fault)

    # signalling

    async def _ask(self, active: ActiveRun, action: RunAction, answered: asyncio.Event) -> None:
        """In a task of its own: an asker who goes away must not leave a run half paused."""
        try:
            async with active.lock:
                commands = self._apply(active, Asked(action, self._now()))
                if action in ("stop", "kill"):
                    answered.set()
                await self._obey(active, commands)
        finally:
            answered.set()
        self._consider()

    async def _signal_locked(self, active: ActiveRun, hard: bool) -> None:
        async with active.lock:
            await self._signal(active, "kill" if hard else "stop")

    async def _signal(self, active: ActiveRun, action: TreeAction) -> None:
        run, grace_s = active.work.run, active.work.plan.grace_ns / 1e9
        loop = asyncio.get_running_loop()
        report = await loop.run_in_executor(
            self._threads, signal_run, run.id, run.process or run.keeper, action, grace_s
        )
        if action == "pause":
            self._apply(active, Paused(self._now()))
        elif action == "resume":
            self._apply(active, Resumed(self._now()))
        if remark := remark_of(report):
            self._apply(active, Remarked(remark))


async def _guarded(work: Coroutine[object, object, None]) -> None:
    """A fault in one run must not end the others."""
    try:
        await work
    except NightdeskError as fault:
        logger.warning("%s", fault)
    except Exception:  # the border of the supervisor: everything else goes on
        logger.exception("A run could not be handled.")

"""Obeys the run state machine of core: starts keepers, signals processes, hears of ends, keeps everything on disk.

Nothing here decides about runs: what happened is given to ``core.jobs.life.advance``, which says what to do, and
``core.jobs.queue.admit`` says who may start. All public methods belong to the thread of the event loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path

from msgspec.structs import replace

from nightdesk.client.desk import Desk
from nightdesk.core.jobs.admission import Memory
from nightdesk.core.jobs.events import (
    Admitted,
    ClockJumped,
    HeldBack,
    ItemsClosed,
    ItemsMoved,
    ItemsSkipped,
    Remarked,
    Ticked,
)
from nightdesk.core.jobs.item_needs import closed_items
from nightdesk.core.jobs.life import check_action, next_deadline_ns
from nightdesk.core.jobs.plans import Plan, find_job, job_view, left_out_words, missing_item, plan_run
from nightdesk.core.jobs.queue import admit
from nightdesk.core.jobs.work import Work
from nightdesk.engine.jobs.book import RunBook, create_run, stored_runs, unfinished_items
from nightdesk.engine.jobs.causes import Causes
from nightdesk.engine.jobs.clocks import Clocks
from nightdesk.engine.jobs.distrust import distrusted
from nightdesk.engine.jobs.driver import LOOKS, RunDriver
from nightdesk.engine.jobs.ended import EndedAttempt
from nightdesk.engine.jobs.items import find_items, listing
from nightdesk.engine.jobs.outputs import OutputJudge, check_rules, plan_to_look
from nightdesk.engine.jobs.rotation import Rotation, next_look
from nightdesk.engine.jobs.runs import RunFolder
from nightdesk.engine.jobs.stalls import StallWatch
from nightdesk.engine.jobs.surroundings import FreeModelsCall, Surroundings
from nightdesk.engine.jobs.trials import keep_output
from nightdesk.model.desk import Change, RunChanged
from nightdesk.model.errors import NightdeskError, UsageError
from nightdesk.model.job import ENDED, ItemMove, ItemRecord, JobView, Run, RunAction, StartRun
from nightdesk.model.logs import Progress
from nightdesk.model.process import SignalReport
from nightdesk.model.units import format_duration

logger = logging.getLogger(__name__)

LONGEST_NAP = 5.0
"""Seconds after which time limits are looked at again: the clock may have been moved meanwhile."""
MEMORY_NAP = 2.0
"""The same while a run waits for memory, which comes and goes unheard."""
BEGIN_SECONDS = 5.0
"""How long the answer to a start waits for the command to run."""
SIGNAL_THREADS = 16
"""A stop holds one for its grace time; a kill must not wait for one."""


async def no_models(limit_ns: int, tell: Callable[[str], None]) -> str:
    """For a desk without model servers."""
    return "There is no model server."


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
        on_attempt_log: Callable[[Run, str], object] = lambda run, path: None,
        on_run_ended: Callable[[Run], None] = lambda run: None,
        traffic: Callable[[str], int] = lambda run: 0,
        on_signalled: Callable[[str, SignalReport], None] = lambda run, report: None,
        memory: Callable[[], Memory | None] = lambda: None,
        free_models: FreeModelsCall = no_models,
        on_attempt_failed: Callable[[EndedAttempt], Coroutine[object, object, None]] | None = None,
        judge: OutputJudge | None = None,
        causes: Causes | None = None,
        flags: Callable[[str], dict[str, int]] = lambda job: {},
    ) -> None:
        """``flags`` gives the items of a job whose outputs the user does not believe, and since when."""
        self._desk = desk
        self._publish = publish
        self._now = now_ns
        self._on_run_log = on_run_log
        self._on_run_ended = on_run_ended
        self._stalls = StallWatch(traffic)
        self._clocks = Clocks(now_ns)
        self._memory = memory
        self._keep_failure = on_attempt_failed
        self._flags = flags
        self.judge = judge or OutputJudge()
        """Looks at outputs."""
        self._early: list[EndedAttempt] = []
        """Failed attempts of the time before ``run``."""
        self._unswept: list[RunDriver] = []
        """Ended runs of which something may be left."""
        self._book = RunBook()
        self._group: asyncio.TaskGroup | None = None
        self.running = asyncio.Event()
        """Set while ``run`` works: runs can be started and ended."""
        self._wake = asyncio.Event()
        self._threads: ThreadPoolExecutor | None = None
        self._around = Surroundings(
            desk=desk.folder,
            now=now_ns,
            environment=environment,
            changed=self._changed,
            on_attempt_log=on_attempt_log,
            spawn=self._spawn,
            threads=lambda: self._threads,
            consider=self._consider,
            signalled=on_signalled,
            free_models=free_models,
            on_attempt_failed=self._failed,
            judge=self.judge,
            causes=causes or Causes(),
        )

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
        """The items of a job as they are now, files in natural order. Blocks where a command lists them.

        Raises UsageError for an unknown job, and where the items can't be read.
        """
        return self._find_items(job)

    def _find_items(self, job: str, left_out: list[str] | None = None) -> tuple[str, ...]:
        section = find_job(self._desk.config.jobs, job)
        return find_items(self._desk.folder / section.folder, section.items, section.env, left_out)

    def outputs_plan(self, job: str) -> Plan:
        """What there is to look at by hand of a job: its items, its rules. Blocks, and raises UsageError like items."""
        section = find_job(self._desk.config.jobs, job)
        return plan_to_look(job, section, self._desk.folder / section.folder, partial(self.items, job))

    def replace_config(self, desk: Desk) -> None:
        """Use another configuration for runs that are started from now on."""
        self._desk = desk

    def set_progress(self, run_id: str, progress: Progress) -> None:
        """Take over what the log says. Runs that drive their items know better and ignore it."""
        driver = self._book.active.get(run_id)
        if driver is not None:
            driver.set_progress(progress)
            return
        run = self._book.find(run_id)
        if run is not None and run.items_total is None:
            self._book.update_ended(replace(run, progress=progress))
            self._publish(RunChanged(run=replace(run, progress=progress)))

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
        driver = self._create(plan)
        self._consider()
        if driver.work.ledger.admitted:
            with suppress(TimeoutError):
                async with asyncio.timeout(BEGIN_SECONDS):
                    await driver.begun.wait()
        return driver.work.run

    async def act(self, run_id: str, action: RunAction) -> Run:
        """Pause, resume, stop or kill a run. Stop and kill answer at once with the state ``stopping``.

        Raises UsageError where there is no such run, or it can't do this in its state.
        """
        driver = self._book.active.get(run_id)
        if driver is None:
            check_action(self._known(run_id), action)
            raise AssertionError("a run that is not active has ended")
        check_action(driver.work.run, action)
        if driver.work.run.state == "stopping":
            if action == "kill":
                self._spawn(driver.end_harder())
            return driver.work.run
        await driver.asked(action)
        return driver.work.run

    async def move_items(self, run_id: str, move: ItemMove) -> Run:
        """Do items of a run first or last, pass over them, or do them again.

        Raises UsageError where there is no such run, it has ended or drives no items, and for an unknown item.
        """
        driver = self._book.active.get(run_id)
        if driver is None:
            run = self._known(run_id)
            raise UsageError(f"The items of {run.id} can't be moved: it has ended.", "Start the job again.")
        items = driver.work.plan.items
        if items is None:
            raise UsageError(f"{run_id} drives no items.", "Its script decides what it does.")
        places = {item: index for index, item in enumerate(items)}
        unknown = next((item for item in move.items if item not in places), None)
        if unknown is not None:
            raise missing_item(unknown, items)
        indexes = tuple(places[item] for item in move.items)
        if move.failed:
            indexes = tuple(dict.fromkeys((*indexes, *driver.work.queue.failed)))
        commands = driver.apply(ItemsMoved(indexes, move.where, self._now()))
        self._spawn(driver.obey_locked(commands))
        self._consider()
        return driver.work.run

    def active_work(self, run_id: str) -> Work | None:
        """All that is known of a run that has not ended; None for any other."""
        driver = self._book.active.get(run_id)
        return driver.work if driver else None

    def item_records(self, run_id: str) -> tuple[ItemRecord, ...]:
        """What became of the items of a run so far, in the order of time. Raises UsageError for an unknown run."""
        run = self._known(run_id)
        return tuple(RunFolder(Path(run.folder)).items())

    def _known(self, run_id: str) -> Run:
        run = self._book.find(run_id)
        if run is None:
            raise UsageError(f"There is no run {run_id}.", "nightdesk status lists them.")
        return run

    # the task

    async def adopt(self) -> None:
        """At the start of an engine: find the runs of the one before. Nothing new is started.

        Live keepers are watched again, results of finished ones are read, and a run with neither is ``lost``.
        """
        for work, folder in await asyncio.to_thread(stored_runs, self._desk.runs):
            if work.run.state in ENDED:
                self._book.add_ended(work.run)
                if work.ledger.sweeps:
                    self._unswept.append(RunDriver(work, folder, self._around))
                continue
            driver = RunDriver(work, folder, self._around)
            self._book.add(driver)
            self._on_run_log(work.run)
            await driver.adopt()

    async def run(self) -> None:
        """Watch the runs until cancelled. They go on after that."""
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                self.running.set()
                self._threads = ThreadPoolExecutor(SIGNAL_THREADS, thread_name_prefix="signal")
                self._go_on()
                while self._early:
                    self._failed(self._early.pop(0))
                group.create_task(_guarded(self._watch_stalls()))
                group.create_task(_guarded(self._rotate()))
                while True:
                    self._wake.clear()
                    looked_ns = self._now()
                    self._tick(looked_ns)
                    # not wait_for: in Python 3.11 it can swallow the cancellation that ends this loop
                    with suppress(TimeoutError):
                        async with asyncio.timeout(self._nap(looked_ns)):
                            await self._wake.wait()
        finally:
            self._group = None
            self.running.clear()
            for driver in self._book.active.values():
                driver.let_go()
            if self._threads:
                self._threads.shutdown(wait=False, cancel_futures=True)
            self.judge.close()

    async def _rotate(self) -> None:
        rotation = Rotation(self._desk.runs)
        while True:
            store, active = self._desk.config.store, set(self._book.active)
            removed = await asyncio.to_thread(rotation.step, store, active, self._now())
            for run_id in removed:
                self._book.forget(run_id)
            await asyncio.sleep(next_look(removed))

    async def _watch_stalls(self) -> None:
        while True:
            drivers = [d for d in self._book.active.values() if d.work.plan.stall_ns]
            self._heed_clocks()
            for driver, event in await asyncio.to_thread(self._stalls.look, drivers, self._now()):
                self._spawn(driver.obey_locked(driver.apply(event)))
            await asyncio.sleep(self._stalls.pause_s(drivers))

    def _nap(self, looked_ns: int) -> float:
        """Seconds until something has to be done. What was due when it was looked at waits for something else."""
        works = list(self._book.works())
        waiting = [work for work in works if work.run.state == "waiting" and not work.ledger.admitted]
        deadlines = [d for work in works if (d := next_deadline_ns(work)) is not None and d > looked_ns]
        longest = LONGEST_NAP if waiting or deadlines else LONGEST_NAP * 12
        if any(work.plan.memory_bytes for work in waiting):
            longest = MEMORY_NAP
        if not deadlines:
            return longest
        return min(longest, max(0.0, (min(deadlines) - self._now()) / 1e9))

    def _heed_clocks(self) -> None:
        """Before anything is judged by its time: what the machine slept through is no time of the runs."""
        if jump := self._clocks.jump_ns():
            logger.info("The clock jumped by %s; that counts for no time limit.", format_duration(abs(jump)))
            self._stalls.jumped(jump)
            for driver in list(self._book.active.values()):
                driver.apply(ClockJumped(jump))

    def _tick(self, at_ns: int) -> None:
        self._heed_clocks()
        for driver in list(self._book.active.values()):
            if commands := driver.apply(Ticked(at_ns)):
                self._spawn(driver.obey_locked(commands))
        self._consider()

    def _go_on(self) -> None:
        """What was being stopped still is, and keepers that nobody watches are watched again."""
        for driver in self._book.active.values():
            driver.go_on()
        while self._unswept:
            self._unswept.pop().go_on_sweeping()

    def _spawn(self, work: Coroutine[object, object, None]) -> None:
        guarded = _guarded(work)
        try:
            if self._group is None:
                raise RuntimeError("not running")
            self._group.create_task(guarded)
        except RuntimeError as fault:
            guarded.close()
            work.close()
            raise NightdeskError(
                "Runs can't be changed now: the engine is just beginning or ending.", "Try again."
            ) from fault

    # starting

    def _plan(self, request: StartRun) -> Plan:
        section = find_job(self._desk.config.jobs, request.job)
        folder = self._desk.folder / section.folder
        if request.retry:
            newest, flags = self._book.newest_full().get(request.job), self._flags(request.job)
            request = replace(request, items=unfinished_items(request.job, newest, flags), retry=False)
        left_out: list[str] = []
        plan = plan_run(section, request, str(folder), partial(self._find_items, request.job, left_out))
        if plan.item is not None and isinstance(section.items, str) and not (folder / plan.item).exists():
            raise missing_item(plan.item, self.items(request.job))
        if plan.items is not None and plan.outputs is not None and not plan.check:
            plan = replace(plan, distrusted=distrusted(self._desk.runs, plan.job))
        check_rules(plan)
        return replace(plan, flagged=self._flags(plan.job), left_out=left_out_words(left_out))

    def _refuse_double(self, plan: Plan) -> None:
        for work in self._book.works():
            if (work.plan.job, work.plan.mode, work.plan.item) == (plan.job, plan.mode, plan.item):
                raise UsageError(
                    f"{plan.job} can't be started again: {work.run.id} has not ended ({work.run.state}).",
                    "Wait for its end, or stop it.",
                )

    def _create(self, plan: Plan) -> RunDriver:
        try:
            work, folder = create_run(self._desk.runs, plan, self._now())
        except OSError as fault:
            raise NightdeskError(
                f"{plan.job} can't be started: its folder in {self._desk.runs} can't be written ({fault.strerror}).",
                "Check the rights and the free space there.",
            ) from fault
        keep_output(plan, folder)
        driver = RunDriver(work, folder, self._around)
        if plan.left_out and plan.arguments:
            driver.folder.append_log(driver.log, f"nightdesk: {plan.left_out}\n")
        self._book.add(driver)
        self._publish(RunChanged(run=work.run))
        self._on_run_log(work.run)
        return driver

    async def _list_items(self, plan: Plan) -> Run:
        """A dry run without a command of its own: tells what would be done, does nothing."""
        driver = self._create(plan)
        # Nobody else may let it start: there is no command.
        driver.apply(Admitted())
        driver.apply(Remarked(LOOKS))
        self._spawn(self._write_list(driver))
        with suppress(TimeoutError):
            async with asyncio.timeout(BEGIN_SECONDS):
                await driver.begun.wait()
        return driver.work.run

    async def _write_list(self, driver: RunDriver) -> None:
        plan = driver.work.plan
        text = await asyncio.to_thread(
            listing, plan, driver.folder.path, driver.is_ending, self.judge.refuses
        )
        driver.folder.append_log(driver.log, text)
        driver.apply(ItemsSkipped(tuple(range(len(plan.items or ()))), self._now()))

    def _consider(self) -> None:
        """Let the queue decide who starts. Nobody does while runs are adopted."""
        if self._group is None:
            return
        self._open_items()
        works, now_ns = list(self._book.works()), self._now()
        asks = any(work.plan.memory_bytes and work.run.state == "waiting" for work in works)
        admission = admit(
            works,
            self._book.newest_full(),
            now_ns,
            slots=self._desk.config.slots,
            memory=self._memory() if asks else None,
        )
        for run_id in admission.start:
            driver = self._book.active[run_id]
            self._spawn(driver.obey_locked(driver.apply(Admitted())))
        for run_id in admission.reasons.keys() | admission.expected.keys():
            held = HeldBack(admission.reasons.get(run_id), admission.expected.get(run_id), now_ns)
            self._book.active[run_id].apply(held)

    def _failed(self, ended: EndedAttempt) -> None:
        if self._keep_failure is None:
            return
        if self._group is None:
            self._early.append(ended)
            return
        with suppress(NightdeskError):  # the engine ends at this moment
            self._spawn(self._keep_failure(ended))

    def _open_items(self) -> None:
        """Items that wait for an item of another job may be worked on as soon as that one is done."""
        for driver in list(self._book.active.values()):
            if not driver.work.plan.needs_items:
                continue
            closed, reason = closed_items(driver.work, self._done_items)
            if closed != driver.work.queue.closed:
                commands = driver.apply(ItemsClosed(closed, reason, self._now()))
                self._spawn(driver.obey_locked(commands))

    def _done_items(self, job: str) -> frozenset[str]:
        """The items that the newest full run of a job has done, or found done."""
        run = self._book.newest_full().get(job)
        return self._book.done_items(run) if run else frozenset()

    def _changed(self, driver: RunDriver, before: Run) -> None:
        """A run differs: tell everybody."""
        run = driver.work.run
        self._wake.set()
        if run.state in ENDED:
            self._book.add_ended(run)
        self._publish(RunChanged(run=run))
        if run.state in ENDED and before.state not in ENDED:
            self._on_run_ended(run)


async def _guarded(work: Coroutine[object, object, None]) -> None:
    """A fault in one run must not end the others."""
    try:
        await work
    except NightdeskError as fault:
        logger.warning("%s", fault)
    except Exception:  # the border of the supervisor: everything else goes on
        logger.exception("A run could not be handled.")

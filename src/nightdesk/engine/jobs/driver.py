"""Drives one run: gives what happened to the state machine of core, keeps it on disk, obeys what it says.

One lock for each run: an attempt is launched, signalled or cleared away, one thing at a time. What is decided is on
disk before it is done, and what became of an item before the run is said to have moved on.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

from msgspec.structs import replace

from nightdesk.core import markers
from nightdesk.core.jobs.events import (
    Asked,
    Command,
    Ended,
    EngineRestarted,
    Event,
    FreeModels,
    HandedOver,
    ItemsSkipped,
    KeeperLost,
    Launch,
    Launched,
    NeverBegan,
    Paused,
    Record,
    Remarked,
    Resumed,
    Signal,
    Started,
    Swept,
)
from nightdesk.core.jobs.items import fill, shown_command
from nightdesk.core.jobs.life import advance
from nightdesk.core.jobs.work import Attempt, Work, records_of
from nightdesk.engine.jobs.attempts import KeeperWatch, find_keeper, process_keys, spawn_keeper, wait_readable
from nightdesk.engine.jobs.ended import failed_attempt
from nightdesk.engine.jobs.endings import failure_of, lost_reason, remark_of
from nightdesk.engine.jobs.items import is_valid
from nightdesk.engine.jobs.runs import RunFolder, plain_name
from nightdesk.engine.jobs.surroundings import Surroundings
from nightdesk.engine.processes.signals import processes_of_attempt, signal_attempt, signal_run
from nightdesk.model.base import ProcessKey
from nightdesk.model.errors import NightdeskError
from nightdesk.model.job import ENDED, Failure, ItemRecord, RunAction, Usage
from nightdesk.model.logs import Progress

logger = logging.getLogger(__name__)

WRITE_PAUSE_NS = 2 * 10**9
"""Before a full disk is tried again."""
NO_ROOM = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EROFS,
    errno.EIO,
    errno.EMFILE,
    errno.ENFILE,
    errno.EAGAIN,
    errno.ENOMEM,
}
"""What keeps an attempt from being started and has nothing to do with it."""
LOOKS = "Looks which items need work."
ANSWER_SECONDS = 10.0
"""Who asks waits so long at most until it is done."""
SKIPPED_AT_ONCE = 500
"""Items with valid outputs that are passed over in one step: the count moves while many are looked at."""
LOOKED_SECONDS = 1.0
"""The same where each has to be checked."""


class RunDriver:
    """One run that has not ended, and the handles of its attempts."""

    def __init__(self, work: Work, folder: RunFolder, around: Surroundings) -> None:
        self.work = work
        self.folder = folder
        self.begun = asyncio.Event()
        """Set when the first command runs, or the run ended or waits for another."""
        self._around = around
        self._lock = asyncio.Lock()
        self._watches: dict[int, KeeperWatch] = {}
        self._unwritten: list[ItemRecord] = []
        """Records that are not on disk yet."""
        self._is_behind = False
        """The disk does not have the newest state: it was full."""

    @property
    def log(self) -> Path:
        """The run's log file."""
        return Path(self.work.run.log_path or self.folder.path / "run.log")

    def log_of(self, attempt: Attempt) -> Path:
        """Where an attempt writes."""
        return Path(attempt.log_path) if attempt.log_path else self.log

    # what happens

    def apply(self, event: Event) -> tuple[Command, ...]:
        """Advance the run, keep it on disk, tell everybody; what is left to be done."""
        before = self.work
        after, commands = advance(before, event)
        self._unwritten += [command.record for command in commands if isinstance(command, Record)]
        self.work = after
        if after != before:
            self._write()
            if after.run.state in ENDED:
                self.begun.set()
            if after.run != before.run:
                self._around.changed(self, before.run)
        return tuple(command for command in commands if not isinstance(command, Record))

    def set_progress(self, progress: Progress) -> None:
        """Take over what the log says. Runs that drive their items know better and ignore it."""
        if self.work.plan.items is None:
            before = self.work.run
            self.work = self.work.with_run(progress=progress)
            self._around.changed(self, before)

    def _write(self) -> None:
        """Keep the run on disk, its finished items first; what a full disk refuses is written later.

        While items wait to be written, the older state stays: it still names their attempts, and these have results.
        """
        try:
            if not self.folder.path.is_dir():
                self._make_folder_again()
            self._write_items()
            self.folder.save(self.work)
        except OSError as fault:
            if self._is_behind:
                return
            logger.warning("The state of run %s waits to be written: %s", self.folder.run_id, fault)
            self._is_behind = True
            with suppress(NightdeskError):  # the engine begins: go_on does it
                self._around.spawn(self._write_later())
        else:
            self._is_behind = False

    def _make_folder_again(self) -> None:
        """Somebody removed it while the run goes on: what is known here is kept for the next engine."""
        logger.warning("The folder of run %s was removed; it is made again.", self.folder.run_id)
        self.folder.path.mkdir(mode=0o700, parents=True)
        self.folder.save_plan(self.work.plan)
        self._unwritten[:0] = records_of(self.work, self._around.now())

    def _write_items(self) -> None:
        if not self._unwritten:
            return
        self.folder.append_items(self._unwritten)
        for record in self._unwritten:
            if record.serial is not None and record.state == "done":
                self.folder.attempt(record.serial).clear()
        self._unwritten.clear()

    async def _write_later(self) -> None:
        while self._is_behind:
            await asyncio.sleep(WRITE_PAUSE_NS / 1e9)
            self._write()

    async def obey_locked(self, commands: tuple[Command, ...]) -> None:
        """Do what the state machine said."""
        async with self._lock:
            await self._obey(commands)

    async def _obey(self, commands: tuple[Command, ...]) -> None:
        while commands:
            command, *rest = commands
            if isinstance(command, Launch):
                commands = (*rest, *await self._launch())
            elif isinstance(command, FreeModels):
                # Not under the lock: meanwhile the user may pause or stop the run.
                self._around.spawn(self._hand_over())
                self.begun.set()
                commands = tuple(rest)
            elif isinstance(command, Signal):
                await self._signal(command)
                commands = tuple(rest)
            else:
                commands = tuple(rest)

    async def asked(self, action: RunAction) -> None:
        """Do what the user asks. Returns when it is done, or has to wait for a check that goes on."""
        answered = asyncio.Event()
        self._around.spawn(self._ask(action, answered))
        with suppress(TimeoutError):
            async with asyncio.timeout(ANSWER_SECONDS):
                await answered.wait()

    async def _ask(self, action: RunAction, answered: asyncio.Event) -> None:
        """In a task of its own: an asker who goes away must not leave a run half paused.

        It is decided at once, so that nothing new is started and no check goes on; it is done when what is being
        done has come to its end.
        """
        try:
            commands = self.apply(Asked(action, self._around.now()))
            if action in ("stop", "kill"):
                answered.set()
            await self.obey_locked(commands)
        finally:
            answered.set()
        self._around.consider()

    def is_ending(self) -> bool:
        """Whether the user ends the run, or has ended it: nobody waits for anything of it."""
        return self.work.ledger.ending is not None or self.work.run.state in ENDED

    async def end_harder(self) -> None:
        """Kill what a stop in progress is still waiting for; does not wait for that stop."""
        await self._signal(Signal("kill"))

    # starting

    async def _hand_over(self) -> None:
        """Let the model servers free their models, then start."""

        def tell(said: str) -> None:
            if self.work.ledger.unloading:
                self.apply(Remarked(said))

        try:
            said = await self._around.free_models(self.work.plan.unload_ns or 0, tell)
        except Exception as fault:  # a fault here must not hold the run for ever
            logger.exception("The models could not be unloaded for run %s.", self.folder.run_id)
            said = f"The models could not be unloaded: {type(fault).__name__}; it started anyway."
        logger.info("Run %s: %s", self.folder.run_id, said)
        await self.obey_locked(self.apply(HandedOver(said)))

    async def _launch(self) -> tuple[Command, ...]:
        """Start attempts while there is room, passing over the items that need no work."""
        commands: tuple[Command, ...] = ()
        if not self.work.plan.arguments:
            return ()  # a dry run that only lists
        if self.work.plan.items is None:
            return await self._start(None) if self.work.room else ()
        while self.work.room and not commands:
            index = await self._next_item()
            if index is None:
                break
            serial = self.work.ledger.serial + 1
            commands = await self._start(index)
            if not commands and self.work.ledger.attempt(serial) is None:
                break
        return commands

    async def _next_item(self) -> int | None:
        """The item to work on now; None where there is none."""
        while self.work.room:
            found, valid = await asyncio.to_thread(self._look_for_work)
            now = self._around.now()
            if valid:
                self.apply(ItemsSkipped(tuple(valid), now))
                if self.work.run.state == "waiting" and self.work.ledger.admitted:
                    self.apply(Remarked(LOOKS))
            elif found is None:
                return None
            # While the disk was looked at, the user may have moved or passed over items.
            if found is not None and self.work.room and found in self.work.next_items(now):
                return found
        return None

    def _look_for_work(self) -> tuple[int | None, list[int]]:
        valid: list[int] = []
        until = time.monotonic() + LOOKED_SECONDS
        tried = {each.index for each in self.work.ledger.delayed} | self.work.queue.again
        for index in self.work.next_items(self._around.now()):
            if index in tried or not self._is_valid(index):
                return index, valid
            valid.append(index)
            if len(valid) >= SKIPPED_AT_ONCE or time.monotonic() > until or not self.work.room:
                break
        return None, valid

    def _is_valid(self, index: int) -> bool:
        return is_valid(self.work.plan, index, self.folder.path, self.is_ending, self._around.judge.refuses)

    async def _start(self, index: int | None) -> tuple[Command, ...]:
        """Start one attempt; what follows where that was not possible."""
        plan = self.work.plan
        item = plan.item if index is None or plan.items is None else plan.items[index]
        number = 1 if index is None else index + 1
        delayed = self.work.delayed(index)
        command = plan.fallback if delayed and delayed.fallback else plan.arguments
        arguments = fill(command, item=item, index=number, run_dir=str(self.folder.path))
        own_log = self._own_log(index, item)
        log = Path(own_log) if own_log else self.log
        size = log.stat().st_size if log.exists() else 0
        now = self._around.now()
        self.apply(Launched(shown_command(arguments), size, now, index, own_log))
        serial = self.work.ledger.serial
        folder = self.folder.attempt(serial)
        try:
            if self._is_behind:
                # What is not on disk must not run: the next engine would start it a second time.
                raise OSError(errno.ENOSPC, "its start can't be recorded on the disk")
            log.parent.mkdir(mode=0o700, exist_ok=True)
            folder.save_spec(plan.folder, arguments, self._environment(serial, item))
            keeper, ready = spawn_keeper(folder, log)
        except OSError as fault:
            return self._not_started(serial, fault)
        self._watches[serial] = KeeperWatch(keeper, folder, partial(self._keeper_gone, serial))
        if own_log:
            self._around.on_attempt_log(self.work.run, own_log)
        await wait_readable(ready)
        if not self._note_started(serial) and folder.has_keeper():
            self._around.spawn(self._note_late_start(serial))
        return ()

    def _not_started(self, serial: int, fault: OSError) -> tuple[Command, ...]:
        """A full disk is no fault of the item: it waits. Anything else fails it."""
        now = self._around.now()
        self.folder.attempt(serial).clear()
        if fault.errno in NO_ROOM:
            reason = f"Nothing can be started: {fault.strerror}. Tries again every few seconds."
            return self.apply(NeverBegan(serial, now, reason, WRITE_PAUSE_NS))
        failure = Failure(kind="error", evidence=f"No keeper could be started for it: {fault}")
        return self.apply(Ended(serial, now, failure=failure))

    async def _note_late_start(self, serial: int) -> None:
        if await find_keeper(self.folder.attempt(serial)):
            self._note_started(serial)

    def _own_log(self, index: int | None, item: str | None) -> str | None:
        """Where several items are in work at once each has its own log: mixed lines belong to nobody."""
        if index is None or self.work.plan.parallel == 1:
            return None
        return str(self.folder.path / "items" / f"{index + 1:06d}_{plain_name(Path(item or '').stem)}.log")

    def _environment(self, serial: int, item: str | None) -> dict[str, str]:
        run = self.work.run
        environment = {"PYTHONUNBUFFERED": "1"} | self._around.environment() | self.work.plan.env
        environment |= {
            markers.RUN: run.id,
            markers.JOB: run.job,
            markers.DESK: str(self._around.desk),
            markers.ATTEMPT: str(serial),
        }
        if item is not None:
            environment[markers.ITEM] = item
        return environment

    def _note_started(self, serial: int) -> bool:
        """Whether the keeper has noted that the command runs; else it could not be started, or there is no room."""
        record = self.folder.attempt(serial).pids()
        if record is None:
            return False
        keeper, command = process_keys(record)
        self.apply(Started(serial, keeper, command, record.command.started_ns))
        self.begun.set()
        return True

    # adoption

    async def adopt(self) -> None:
        """Take over a run that another engine drove: its keepers are watched, their results read."""
        self.apply(EngineRestarted(self._around.now()))
        for attempt in self.work.ledger.attempts:
            folder = self.folder.attempt(attempt.serial)
            # One that has not noted its processes yet is waited for later: this holds up the engine.
            if folder.pids() or not folder.has_keeper():
                await self._take_over(attempt)

    async def _take_over(self, attempt: Attempt) -> None:
        folder = self.folder.attempt(attempt.serial)
        record = await find_keeper(folder)
        if record is None:
            await self._attempt_over(attempt.serial)
            return
        if (attempt.keeper, attempt.process) != process_keys(record):
            # Not noted yet, or the clock was set since: the kernel tells other start times then.
            self._note_started(attempt.serial)
        gone = partial(self._keeper_gone, attempt.serial)
        self._watches[attempt.serial] = KeeperWatch(record.keeper.pid, folder, gone)

    def go_on(self) -> None:
        """At the start of the supervisor: what was being stopped still is, keepers without a watch get one."""
        for attempt in self.work.ledger.attempts:
            if attempt.serial not in self._watches:
                self._around.spawn(self._take_over(attempt))
            if attempt.asked:
                serial = attempt.serial if self.work.plan.parallel > 1 else None
                self._around.spawn(self.obey_locked((Signal("stop", serial),)))
        ledger = self.work.ledger
        self.go_on_sweeping()
        if ledger.ending:
            self._around.spawn(self.obey_locked((Signal(ledger.ending),)))
        elif ledger.pausing or (self.work.run.state == "paused" and ledger.attempts):
            # The engine before may have reached some of its processes only.
            self._around.spawn(self.obey_locked((Signal("pause"),)))
        if self._is_behind:
            self._around.spawn(self._write_later())

    def go_on_sweeping(self) -> None:
        """What is left of attempts that are over is ended, also where the whole run is over."""
        for sweep in self.work.ledger.sweeps:
            self._around.spawn(self.obey_locked((Signal("kill", sweep.serial, sweep.root),)))

    def let_go(self) -> None:
        """Watch no longer. Keepers and commands go on."""
        for watch in self._watches.values():
            watch.close()
        self._watches.clear()

    # ends

    def _keeper_gone(self, serial: int) -> None:
        self._watches.pop(serial, None)
        with suppress(NightdeskError):  # the engine ends: the next one reads the result
            self._around.spawn(self._attempt_over(serial))

    async def _attempt_over(self, serial: int) -> None:
        async with self._lock:
            await self._obey(await self._note_end(serial))
        self._around.consider()

    async def _note_end(self, serial: int) -> tuple[Command, ...]:
        """The keeper is gone: read what it wrote, and what follows from it."""
        attempt = self.work.ledger.attempt(serial)
        if attempt is None:
            return ()
        folder, now = self.folder.attempt(serial), self._around.now()
        result = folder.result()
        if result is None:
            if self.work.ledger.restarted and not folder.was_begun():
                return self.apply(NeverBegan(serial, now))
            return self._over(attempt, KeeperLost(serial, lost_reason(attempt, folder), now))
        if attempt.started_ns is None:
            self.work = self.work.with_attempt(replace(attempt, started_ns=result.started_ns))
        failure = await asyncio.to_thread(
            failure_of,
            self.work,
            self.folder,
            self.log_of(attempt),
            attempt,
            result,
            self.is_ending,
            self._around.judge,
        )
        failure = await self._around.causes.explained(self.work, attempt, failure, self.is_ending)
        usage = Usage(user_ns=result.user_ns, system_ns=result.system_ns, max_rss_bytes=result.max_rss_bytes)
        event = Ended(
            serial,
            result.ended_ns,
            result.exit_status,
            result.signal,
            None if result.step else usage,
            failure,
        )
        return self._over(attempt, event)

    def _over(self, attempt: Attempt, event: Ended | KeeperLost) -> tuple[Command, ...]:
        failed = failed_attempt(self.work, attempt, event, self.folder, str(self.log_of(attempt)))
        if failed:
            self._around.on_attempt_failed(failed)
        return self.apply(event)

    async def _signal(self, command: Signal) -> None:
        if command.action == "pause" and not (self.work.ledger.pausing or self.work.run.state == "paused"):
            return  # the user has taken it back, or nothing is in work any more
        run, grace_s = self.work.run, self.work.plan.grace_ns / 1e9
        if command.serial is None:
            roots = [each.process or each.keeper for each in self.work.ledger.attempts]
            root = roots[0] if roots else run.process or run.keeper
            call = partial(signal_run, run.id, root, command.action, grace_s)
        elif (flight := self.work.ledger.attempt(command.serial)) is None:
            await self._sweep(command.serial, command.root)
            return
        else:
            root = flight.process or flight.keeper
            call = partial(signal_attempt, run.id, command.serial, root, command.action, grace_s)
        report = await asyncio.get_running_loop().run_in_executor(self._around.threads(), call)
        self._around.signalled(run.id, report)
        if command.action == "pause":
            self.apply(Paused(self._around.now()))
        elif command.action == "resume":
            await self._obey(self.apply(Resumed(self._around.now())))
        if remark := remark_of(report):
            self.apply(Remarked(remark))

    async def _sweep(self, serial: int, root: ProcessKey | None) -> None:
        """End what is left of an attempt that is over."""
        loop, threads, run_id = asyncio.get_running_loop(), self._around.threads(), self.work.run.id
        if await loop.run_in_executor(threads, processes_of_attempt, run_id, serial, root):
            report = await loop.run_in_executor(threads, signal_attempt, run_id, serial, root, "kill")
            self._around.signalled(run_id, report)
        self.apply(Swept(serial))

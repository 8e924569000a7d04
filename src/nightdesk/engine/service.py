"""The engine of one desk: owns the parts, wires them to the bus, answers the API's questions.

Each part knows nothing of the others; what one tells another passes through here. Everything runs in one event loop;
what blocks (process tables, files, the store) runs in threads.
"""

from __future__ import annotations

import asyncio
import logging
import os
import platform
import time
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path

import msgspec

from nightdesk import __version__
from nightdesk.client.desk import Desk
from nightdesk.core.sensors.alarms import desk_alarms
from nightdesk.engine.alarms import Judge
from nightdesk.engine.awake import Awake
from nightdesk.engine.bus import Bus
from nightdesk.engine.cancel import Cancels
from nightdesk.engine.children import ChildProcess
from nightdesk.engine.command_lines import capture_argv, sensor_argv
from nightdesk.engine.diagnostics import Diagnostics
from nightdesk.engine.edits import Edits, often
from nightdesk.engine.energy import keep_energy
from nightdesk.engine.exchanges import Exchanges
from nightdesk.engine.jobs.causes import Causes
from nightdesk.engine.jobs.handover import ModelHandover
from nightdesk.engine.jobs.memory import MemoryWatch
from nightdesk.engine.jobs.outputs import OutputJudge
from nightdesk.engine.jobs.supervisor import Supervisor
from nightdesk.engine.logs.follow import LogFollower
from nightdesk.engine.logs.state_files import StateFiles
from nightdesk.engine.processes import signals
from nightdesk.engine.processes.care import ProcessCare, device_use, recorded
from nightdesk.engine.processes.sampler import ProcessWatch
from nightdesk.engine.replay import Replays
from nightdesk.engine.room import Room
from nightdesk.engine.servers import ServerWatch
from nightdesk.engine.store.history import History
from nightdesk.engine.temporary import end_unviewed
from nightdesk.engine.traffic import TrafficBook
from nightdesk.model.base import ProcessKey
from nightdesk.model.config import JobSection, span_ns
from nightdesk.model.desk import (
    API_VERSION,
    Change,
    DeskChanged,
    DeskInfo,
    ModelServer,
    RunChanged,
    SampleAdded,
    ServersChanged,
    Snapshot,
    SourceChanged,
    SourceState,
    Status,
)
from nightdesk.model.errors import ConfigError, UsageError
from nightdesk.model.exchange import CaptureLine, CaptureStatus, capture_decoder
from nightdesk.model.job import ENDED, Run
from nightdesk.model.logs import LogFile, LogWindow, Progress
from nightdesk.model.process import TreeMember
from nightdesk.model.sample import Sample, SampleTaken, SensorStatus, sensor_decoder

logger = logging.getLogger(__name__)

IDLE_SAMPLE_SECONDS = 5.0
"""Between process samples while no viewer looks."""
WATCHED_EVERY, IDLE_EVERY = 2, 4
"""Processes that are not ours and stand still are read at every so-manieth sample only."""
LOG_PACE_NS = 250 * 10**6
IDLE_LOG_PACE_NS = 2 * 10**9
"""Between two looks at a growing log: progress may be two seconds late when nobody sees it."""
ATTEMPT_LOGS = 100
"""Logs of single items that are followed; the oldest is let go."""
SAMPLES_NS = 600 * 10**9
"""The chart in a snapshot shows ten minutes."""


class Service:
    """One engine. ``run`` works until ``stop`` is called or the task is cancelled."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.started_ns = time.time_ns()
        self.bus = Bus()
        self.store = History(
            desk.database,
            keep_ns=span_ns(desk.config.store.keep),
            max_bytes=desk.config.store.max_bytes,
            on_state=self._store_state,
        )
        self.sources: dict[str, SourceState] = {}
        self._samples: list[Sample] = list(self.store.samples(self.started_ns - SAMPLES_NS, 2**62))
        self._problems: tuple[str, ...] = ()
        self._edits = Edits(desk.config_path)
        self._relay: str | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = asyncio.Event()
        self.ready = asyncio.Event()
        """Set when every question can be answered."""
        self._pace_ms = 0
        self._attempt_logs: list[str] = []
        self._memory = MemoryWatch(
            lambda: self.processes.rows(), lambda: self.servers.servers, lambda: self._samples
        )
        self._handover = ModelHandover(lambda: self.desk.config.capture.ports, self._memory.devices)
        self.supervisor = self._make_supervisor()
        self.logs = LogFollower(desk.config.watch.logs, desk.folder, self.bus.publish, self._progressed)
        self.logs.set_forms(desk.config.progress.patterns)
        self.processes = ProcessWatch(
            desk.config.watch.processes,
            self._active_runs,
            self._is_known_run,
            lambda: recorded(self.supervisor.runs()),
            lambda: device_use(self._samples),
        )
        self.care = ProcessCare(
            self.processes, self.supervisor, self._sample_processes, self._handover.free, self._section_of
        )
        self.awake = Awake(self._is_working, lambda *said: self._tell_source("awake", *said))
        self.servers = ServerWatch(
            desk.config.capture.ports, self._servers_changed, self.bus.pause, self.processes.listener
        )
        self.traffic = self._make_traffic()
        self.traffic.load(self.store.newest(200))
        self.exchanges = Exchanges(self.traffic, self.store)
        self.energy = keep_energy(self)
        self.diagnostics = Diagnostics(
            self.exchanges.newest_of, self.store.samples, lambda: self.servers.servers
        )
        self.replays = Replays(self.traffic, lambda: self.desk.config.capture, self._record_of)
        self.cancels = Cancels(
            self.traffic, self.replays, lambda line: self._capture.send(line), lambda: self._relay is not None
        )
        self._capture = ChildProcess("capture", capture_argv(desk), self._capture_line, self._capture_ended)
        self._sensors = ChildProcess("sensors", sensor_argv(desk), self._sensor_line, self._sensors_ended)

    def _make_supervisor(self) -> Supervisor:
        return Supervisor(
            self.desk,
            self._job_change,
            now_ns=time.time_ns,
            environment=self._job_environment,
            on_run_log=self._follow_run,
            on_attempt_log=self.follow_attempt,
            traffic=lambda run_id: self.traffic.activity(run_id),
            on_run_ended=self.store.save_run,
            memory=self._memory.read,
            free_models=self._handover.free,
            on_signalled=lambda run_id, report: self.care.note(run_id, report),
            on_attempt_failed=lambda ended: self.diagnostics.keep(ended),
            causes=Causes(
                lambda run: self.traffic.activity(run), lambda *of: self.exchanges.cut_context(*of)
            ),
            judge=OutputJudge(self.store.save_result, self._cut_replies),
            flags=self.store.flags,
        )

    def _cut_replies(self, run_id: str, item: str) -> str | None:
        """Which reply to an item of a run was cut. Called by threads of the supervisor."""
        return self.exchanges.cut_reply(run_id, item)

    def _make_traffic(self) -> TrafficBook:
        return TrafficBook(
            self.bus.publish,
            lambda exchange, searchable: self.store.save_exchange(exchange, searchable=searchable),
            self.store.next_exchange_id(),
            self.supervisor.run_of,
            self._record_of,
            Judge(lambda: self.desk.config.verdicts, lambda: self.servers.servers, self.store.recent),
        )

    def _progressed(self, run_id: str, progress: Progress, after_ns: int | None = None) -> None:
        self.supervisor.set_progress(run_id, progress)
        self.traffic.progressed(run_id, progress, after_ns)

    async def run(self) -> None:
        """Work until told to stop. A part that fails is logged, shown as failed, and started again."""
        self._loop = asyncio.get_running_loop()
        self._tell_source("store", "degraded" if self.store.notice else "live", "", self.store.notice)
        await self.supervisor.adopt()
        config = self.desk.config
        parts: list[tuple[str, Callable[[], Coroutine[object, object, None]]]] = [
            ("processes", self._watch_processes),
            ("jobs", self.supervisor.run),
            ("logs", self.logs.run),
            ("states", StateFiles(lambda: self.desk, self.supervisor.runs, self.supervisor.set_progress).run),
            ("servers", self.servers.run),
            ("traffic", self.traffic.flush_often),
            ("alarms", self.traffic.watch_often),
            ("replays", self.replays.run),
            ("awake", self.awake.run),
            ("config", partial(often, self.heed_config)),
            ("disk", Room(self.desk.state, self.supervisor.runs, partial(self._tell_source, "disk")).run),
        ]
        if self.desk.is_temporary:
            parts = [part for part in parts if part[0] in ("jobs", "traffic")]
            parts.append(("viewers", lambda: end_unviewed(self.bus, self.stop)))
        for name, wanted, child in (
            ("capture", config.capture.source, self._capture),
            ("sensors", config.sensors.source, self._sensors),
        ):
            if wanted == "off":
                self._tell_source(name, "off", "", f"[{name}] source is off in the configuration.")
            else:
                self._tell_source(name, "starting")
                parts.append((name, child.run_once if wanted == "file" else child.run))
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(self._keep(name, part), name=name) for name, part in parts]
            await self.supervisor.running.wait()
            self.ready.set()
            await self._stopping.wait()
            for task in running:
                task.cancel()

    def stop(self) -> None:
        """End ``run`` soon. Runs of jobs go on."""
        self._stopping.set()
        self.bus.close()

    async def wait_stopped(self) -> None:
        """Return when ``stop`` was called."""
        await self._stopping.wait()

    def close(self) -> None:
        """Write what waits and close the store."""
        self.traffic.capture_ended("the engine ended")
        for run in self.supervisor.runs():
            self.store.save_run(run)
        self.energy.save()
        self.store.close()

    # questions

    def desk_info(self) -> DeskInfo:
        """The desk and its engine."""
        pid = os.getpid()
        return DeskInfo(
            name=self.desk.name,
            folder=str(self.desk.folder),
            config_path=str(self.desk.config_path) if self.desk.config_path else None,
            config_problems=self._problems,
            engine_version=__version__,
            api_version=API_VERSION,
            engine=ProcessKey(pid=pid, started_ns=signals.start_time_ns(pid) or 0),
            host=platform.node(),
            platform=platform.system(),
        )

    def snapshot(self) -> Snapshot:
        """Everything that a viewer draws."""
        return Snapshot(
            seq=self.bus.seq,
            at_ns=time.time_ns(),
            desk=self.desk_info(),
            sources=tuple(self.sources.values()),
            servers=self.servers.servers,
            processes=self.processes.rows(),
            exchanges=self.traffic.rows(),
            counts=self.traffic.counts,
            samples=tuple(self._samples),
            jobs=self.supervisor.jobs(),
            runs=self.supervisor.runs(),
            logs=self.logs.files(),
        )

    def status(self) -> Status:
        """The desk in one object."""
        runs = self.supervisor.runs()
        active = [run for run in runs if run.state not in ENDED]
        newest = {run.job: run for run in runs if run.state in ENDED}
        return Status(
            desk=self.desk_info(),
            started_ns=self.started_ns,
            at_ns=time.time_ns(),
            sources=tuple(self.sources.values()),
            servers=self.servers.servers,
            counts=self.traffic.counts,
            runs=(*active, *newest.values()),
            orphans=tuple(row for row in self.processes.rows() if row.owner == "orphan"),
            energy=self.energy.desk(),
            alarms=desk_alarms(self._samples, time.time_ns(), self.servers.servers, self.traffic.rows()),
        )

    def run_by_id(self, run_id: str) -> Run:
        """One run. Raises UsageError for an unknown id."""
        run = self.supervisor.run_of(run_id)
        if run is None:
            raise UsageError(f"There is no run {run_id}.", "nightdesk status lists them.")
        return run

    async def run_tree(self, run_id: str) -> tuple[TreeMember, ...]:
        """Every process of a run."""
        return await self.care.run_tree(self.run_by_id(run_id))

    async def log_window(self, log_id: str, start: int | None, end: int | None, max_bytes: int) -> LogWindow:
        """Whole lines of a followed file."""
        return await asyncio.to_thread(self.logs.window, log_id, start=start, end=end, max_bytes=max_bytes)

    # parts

    async def _keep(self, name: str, part: Callable[[], Coroutine[object, object, None]]) -> None:
        while True:
            try:
                await part()
            except Exception as fault:
                logger.exception("%s failed", name)
                if name in ("processes", "logs", "jobs"):
                    self._tell_source(name, "failed", "", f"{type(fault).__name__}: {fault}")
            await asyncio.sleep(1.0)

    async def _watch_processes(self) -> None:
        interval = span_ns(self.desk.config.watch.interval) / 1e9
        while True:
            await self._sample_processes()
            self._set_pace()
            await self.bus.pause(interval, max(interval, IDLE_SAMPLE_SECONDS))

    async def _sample_processes(self) -> None:
        every = WATCHED_EVERY if self._is_watched() else IDLE_EVERY
        change = await asyncio.to_thread(self.processes.sample, time.time_ns(), every)
        if active := self._active_runs():
            self.diagnostics.see(self.processes.rows(), active, time.time_ns())
        if change.changed or change.gone:
            self.bus.publish(change)
        if "processes" not in self.sources:
            self._tell_source("processes", "live")

    def heed_config(self) -> None:
        """Take over what was edited, before a question about jobs is answered."""
        if self._edits.noticed():
            self._read_config_again()

    def _read_config_again(self) -> None:
        try:
            desk = self.desk.read_again()
        except ConfigError as fault:
            self._problems = fault.problems or (fault.message,)
        else:
            self._problems = ()
            self.desk = desk
            self.supervisor.replace_config(self.desk)
            self.processes.set_words(desk.config.watch.processes)
            self.logs.set_patterns(desk.config.watch.logs)
            self.logs.set_forms(desk.config.progress.patterns)
            self.awake.look()
        self.bus.publish(DeskChanged(desk=self.desk_info(), jobs=self.supervisor.jobs()))

    def _set_pace(self) -> None:
        """Sample slower when nobody looks and nothing runs."""
        busy = self._is_watched() or bool(self._active_runs())
        pace = span_ns(self.desk.config.sensors.interval) // 10**6
        wanted = pace if busy else max(pace, int(IDLE_SAMPLE_SECONDS * 1000))
        self.logs.set_pace(LOG_PACE_NS if self._is_watched() else IDLE_LOG_PACE_NS)
        if wanted != self._pace_ms:
            self._pace_ms = wanted
            self._sensors.send(msgspec.json.encode({"interval_ms": wanted}))

    def _is_watched(self) -> bool:
        return self.bus.subscribers > 0

    # capture

    def _capture_line(self, line: bytes) -> None:
        said: CaptureLine = capture_decoder.decode(line)
        if not isinstance(said, CaptureStatus):
            self.traffic.take(said)
            return
        self._relay = said.relay
        state = "live" if said.state == "live" else said.state
        where = f"{said.interface} {said.source}" if said.interface else said.source
        self._tell_source("capture", state, where, said.message, packets=said.packets, dropped=said.dropped)

    def _capture_ended(self, reason: str, restarts: int, pause: float) -> None:
        self._relay = None
        self.traffic.capture_ended(reason)
        before = self.sources.get("capture")
        told = before.message if before and before.state == "failed" else None
        again = f" Next try in {pause:.0f} s." if pause else ""
        message = told or f"The capture process stopped: {reason}.{again}"
        self._tell_source("capture", "failed", "", message, restarts=restarts)

    # sensors

    def _sensor_line(self, line: bytes) -> None:
        match sensor_decoder.decode(line):
            case SampleTaken(sample=sample):
                self._samples.append(sample)
                while self._samples[0].at_ns < sample.at_ns - SAMPLES_NS:
                    del self._samples[0]
                self.energy.take(sample)
                self.store.save_sample(sample)
                self.bus.publish(SampleAdded(sample=sample))
            case SensorStatus(source=source, state=state, message=message):
                # Each line tells of all measurement at once; "absent" is a machine without accelerators.
                self._tell_source("sensors", "live" if state == "absent" else state, source, message)

    def _sensors_ended(self, reason: str, restarts: int, pause: float) -> None:
        self._pace_ms = 0
        message = f"The sensor process stopped: {reason}. Next try in {pause:.0f} s."
        self._tell_source("sensors", "failed", "", message, restarts=restarts)

    # jobs and logs

    def _job_environment(self) -> dict[str, str]:
        """Jobs go through the relay where there is one; nothing else has to opt in."""
        return {"OLLAMA_HOST": f"http://{self._relay}"} if self._relay else {}

    def _job_change(self, change: Change) -> None:
        if isinstance(change, RunChanged) and self._loop is not None:
            self.store.save_run(change.run)
            self.energy.follow(change.run)
        self.bus.publish(change)
        self.awake.look()
        self.care.look()

    def _follow_run(self, run: Run) -> None:
        if run.log_path:
            self.logs.add_run_log(run.id, Path(run.log_path), run.started_ns)

    def follow_attempt(self, run: Run, path: str) -> LogFile:
        """Follow the log of an item. That of a run is followed anyway."""
        log = self.logs.add_run_log(run.id, Path(path), time.time_ns())
        if path != run.log_path:
            if log.id in self._attempt_logs:
                self._attempt_logs.remove(log.id)
            self._attempt_logs.append(log.id)
        while len(self._attempt_logs) > ATTEMPT_LOGS:
            self.logs.remove(self._attempt_logs.pop(0))
        return log

    def _active_runs(self) -> dict[str, str]:
        return {run.id: run.job for run in self.supervisor.runs() if run.state not in ENDED}

    def _is_working(self) -> bool:
        """Whether the machine must stay awake. What is paused may sleep."""
        runs = self.supervisor.runs() if self.desk.config.desk.keep_awake else ()
        return any(run.state not in ENDED and run.state != "paused" for run in runs)

    def _section_of(self, job: str) -> JobSection | None:
        return self.desk.config.jobs.get(job)

    def _is_known_run(self, run_id: str) -> bool:
        return (self.desk.runs / run_id).is_dir() if "/" not in run_id else False

    def _record_of(self, job: str) -> str:
        section = self.desk.config.jobs.get(job)
        return (section.record if section else None) or self.desk.config.capture.record

    # telling

    def _servers_changed(self, servers: tuple[ModelServer, ...]) -> None:
        self.bus.publish(ServersChanged(servers=servers))

    def _store_state(self, state: str, message: str | None) -> None:
        if self._loop:
            self._loop.call_soon_threadsafe(self._tell_source, "store", state, "", message)

    def _tell_source(
        self,
        name: str,
        state: str,
        label: str = "",
        message: str | None = None,
        *,
        restarts: int | None = None,
        packets: int | None = None,
        dropped: int | None = None,
    ) -> None:
        before = self.sources.get(name)
        kept = before.restarts if before else 0
        source = msgspec.convert(
            {
                "name": name,
                "state": state,
                "label": label,
                "message": message,
                "at_ns": time.time_ns(),
                "restarts": kept if restarts is None else restarts,
                "packets": packets,
                "dropped": dropped,
            },
            SourceState,
        )
        self.sources[name] = source
        self.bus.publish(SourceChanged(source=source))

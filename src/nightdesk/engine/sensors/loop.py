"""The loop of the sensor process: one thread, one wait, one sample at each beat."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Sequence
from selectors import EVENT_READ, SelectSelector

import msgspec

from nightdesk.engine.sensors.host import (
    NO_CPU_POWER,
    NO_PACKAGE_POWER,
    NO_THERMAL,
    Host,
    with_host,
)
from nightdesk.engine.sensors.source import Extra, Polled, Reading, State, Streaming
from nightdesk.model.sample import Device, Sample, SampleTaken, SensorLine, SensorStatus

_MS = 1_000_000
FIRST_BEAT_NS = 250 * _MS
"""The first sample comes early: a quarter of a second is enough to tell busy cores from idle ones."""
HANG_S = 30
"""A driver that has not answered for this many seconds hangs."""
_STREAM_NS = 1000 * _MS
"""Streaming sources print about once a second."""
_EARLY_NS = _STREAM_NS // 2
_LATE = 2.5
"""A streaming source that is this many intervals late no longer holds back the machine's own counters."""


class SensorLoop:
    """Asks sources, adds the machine's own counters, and emits lines until it is told to stop.

    ``polled`` are asked at each beat and all of their devices are shown. Of ``streams`` one runs at a time: the next
    takes over when one is hopeless, the last is tried for ever. ``extras`` fill what is still missing, in their order.
    """

    def __init__(
        self,
        host: Host,
        emit: Callable[[SensorLine], None],
        *,
        interval_ms: int,
        polled: Sequence[Polled] = (),
        streams: Sequence[Streaming] = (),
        extras: Sequence[Extra] = (),
        no_devices: str = "",
    ) -> None:
        self._host = host
        self._emit = emit
        self._interval_ns = interval_ms * _MS
        self._polled = polled
        self._streams = list(streams)
        self._extras = extras
        self._filled_by = ""
        self._no_devices = no_devices
        self._told: tuple[str, State, str | None] | None = None
        self._stopped = False
        self._streamed_ns: int | None = None
        self._beat_ns = time.monotonic_ns() + min(FIRST_BEAT_NS, self._interval_ns)
        self._control: tuple[int, Callable[[], None]] | None = None

    @property
    def waiting(self) -> bool:
        """True while a streaming source may still give its first sample."""
        return bool(self._streams) and self._streams[0].state == "starting"

    def watch(self, handle: int, on_ready: Callable[[], None]) -> None:
        """Calls ``on_ready`` whenever ``handle`` can be read."""
        self._control = (handle, on_ready)

    def stop(self) -> None:
        """Makes :meth:`run` return before the next wait."""
        self._stopped = True

    def pace(self, interval_ms: int) -> None:
        """Changes the interval from the next beat on."""
        self._interval_ns = interval_ms * _MS
        self._beat_ns = min(self._beat_ns, time.monotonic_ns() + self._interval_ns)

    def run(self, wake: int | None = None) -> None:
        """Runs until :meth:`stop`. A byte on the descriptor ``wake`` ends a wait early (a signal came)."""
        self._host.read()
        try:
            while not self._stopped:
                self._turn()
                self._wait(wake)
        finally:
            for stream in self._streams:
                stream.close()
            for source in self._polled:
                source.close()
            for extra in self._extras:
                extra.close()

    def _turn(self) -> None:
        now = time.monotonic_ns()
        for sample in self._stream_step(now):
            self._streamed(sample, now)
        if now >= self._beat_ns:
            self._beat(now)

    def _stream_step(self, now: int) -> list[Sample]:
        if not self._streams:
            return []
        stream = self._streams[0]
        samples = stream.step(now, time.time_ns())
        if stream.state == "failed" and self._filled_by:
            # Not the best source, but one that works: what the better one lacks stays readable.
            self._tell(self._filled_by, "live", stream.problem)
        else:
            self._tell(stream.name, stream.state, stream.problem)
        if stream.hopeless and len(self._streams) > 1:
            stream.close()
            del self._streams[0]
        return samples

    def _streamed(self, sample: Sample, now: int) -> None:
        """Emits a sample of a streaming source, unless the pace asks for fewer than it prints."""
        last_ns = self._streamed_ns
        if last_ns is not None and now - last_ns < self._interval_ns - _EARLY_NS:
            return
        self._streamed_ns = now
        self._beat_ns = now + int(_LATE * max(self._interval_ns, _STREAM_NS))
        answers = self._ask(now)
        if devices := _devices(answers):
            live = "+".join([sample.source, *(name for name, answer in answers if answer.devices)])
            sample = msgspec.structs.replace(sample, source=live, devices=(*sample.devices, *devices))
        filled = self._filled(with_host(sample, self._host.read()), now)
        self._emit(SampleTaken(sample=filled))

    def _filled(self, sample: Sample, now: int) -> Sample:
        before = sample.source
        for extra in self._extras:
            sample = extra.add(sample, now)
        self._filled_by = sample.source if sample.source != before else ""
        return sample

    def _beat(self, now: int) -> None:
        self._beat_ns += self._interval_ns
        if self._beat_ns <= now:
            self._beat_ns = now + self._interval_ns
        reading = self._host.read()
        answers = self._ask(now)
        live = "+".join(name for name, answer in answers if answer.state == "live")
        devices = _devices(answers)
        why_empty = {} if devices else {"devices": self._why_empty(answers)}
        sample = Sample(
            at_ns=time.time_ns(),
            elapsed_ns=reading.elapsed_ns,
            source=live or "host",
            devices=devices,
            unknown={
                "cpu": NO_CPU_POWER,
                "package_power_w": NO_PACKAGE_POWER,
                "thermal": NO_THERMAL,
                **why_empty,
            },
        )
        filled = self._filled(with_host(sample, reading), now)
        if not self._streams:
            self._tell_polled(live or self._filled_by, answers)
        self._emit(SampleTaken(sample=filled))

    def _ask(self, now: int) -> list[tuple[str, Reading]]:
        if not self._polled:
            return []
        # A driver that hangs holds this thread for ever: the alarm ends the process, and the engine starts another.
        signal.alarm(HANG_S)
        try:
            return [(source.name, source.read(now)) for source in self._polled]
        finally:
            signal.alarm(0)

    def _tell_polled(self, live: str, answers: Sequence[tuple[str, Reading]]) -> None:
        """One state for all sources that are asked: a kind of card that this machine lacks is nothing to report."""
        broken = [(name, answer) for name, answer in answers if answer.broken]
        if broken:
            self._tell(broken[0][0], "failed", broken[0][1].problem)
        elif live:
            self._tell(live, "live", None)
        else:
            self._tell("host", "live", self._why_empty(answers))

    def _why_empty(self, answers: Sequence[tuple[str, Reading]]) -> str:
        if self._streams:
            stream = self._streams[0]
            return stream.problem or f"{stream.name} has not given its first measurement yet."
        return " ".join([self._no_devices, *(answer.problem for _, answer in answers if answer.problem)])

    def _tell(self, name: str, state: State, problem: str | None) -> None:
        """Emits the state of the measurements when it changes."""
        if self._told != (name, state, problem):
            self._told = (name, state, problem)
            self._emit(SensorStatus(source=name, state=state, message=problem))

    def _wait(self, wake: int | None) -> None:
        if self._stopped:
            return
        stream = self._streams[0] if self._streams else None
        due = [self._beat_ns]
        if stream is not None and stream.wakes_ns is not None:
            due.append(stream.wakes_ns)
        timeout_s = max(0.0, (min(due) - time.monotonic_ns()) / 1e9)
        with SelectSelector() as selector:
            for handle in (*(stream.files if stream else ()), *((wake,) if wake is not None else ())):
                selector.register(handle, EVENT_READ)
            if self._control:
                selector.register(self._control[0], EVENT_READ, self._control[1])
            for key, _ in selector.select(timeout_s):
                if callable(key.data):
                    key.data()


def _devices(answers: Sequence[tuple[str, Reading]]) -> tuple[Device, ...]:
    return tuple(device for _, answer in answers for device in answer.devices)

"""The sensor process: prints a typed JSON object a line, ends when its standard input ends or on a signal.

Each line of standard input is a JSON object; ``{"interval_ms": 5000}`` changes the pace.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from nightdesk.engine.sensors.choice import choose
from nightdesk.engine.sensors.host import open_host
from nightdesk.engine.sensors.loop import SensorLoop
from nightdesk.engine.sensors.signals import StopOnSignals
from nightdesk.model.config import SENSOR_SOURCES
from nightdesk.model.sample import SensorLine, SensorStatus, sensor_encoder

SHORTEST_MS, LONGEST_MS = 100, 3_600_000
_LONGEST_LINE = 65_536
NO_FILE = 'The source "file" needs file = "…" under [sensors]: a recording of measurements.'
SWITCHED_OFF = "The sensors are switched off in the configuration."


class _Order(msgspec.Struct):
    """One line of standard input."""

    interval_ms: int | None = None


class Control:
    """Reads orders from a descriptor without waiting; lines that make no sense are reported and skipped."""

    def __init__(self, handle: int, pace: Callable[[int], None], stop: Callable[[], None]) -> None:
        self._handle = handle
        self._pace = pace
        self._stop = stop
        self._buffer = b""

    def ready(self) -> None:
        """Obeys what has come; the end of input stops the process."""
        data = os.read(self._handle, _LONGEST_LINE)
        if not data:
            self._stop()
            return
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        self._buffer = self._buffer[-_LONGEST_LINE:]
        for line in filter(None, (line.strip() for line in lines)):
            self._obey(line)

    def _obey(self, line: bytes) -> None:
        try:
            order = msgspec.json.decode(line, type=_Order)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
            _complain(f"An order could not be read: {fault}")
            return
        if order.interval_ms is not None:
            self._pace(_within(order.interval_ms))


def _within(interval_ms: int) -> int:
    """The nearest pace that can be kept: a desk whose interval is too short still has measurements."""
    return min(LONGEST_MS, max(SHORTEST_MS, interval_ms))


def _complain(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def _write(data: bytes) -> None:
    while data:
        data = data[os.write(1, data) :]


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the sensor process. Raises SystemExit 2 for arguments that make no sense."""
    parser = argparse.ArgumentParser(prog="nightdesk-sensors", description=__doc__)
    parser.add_argument("--source", choices=SENSOR_SOURCES, default="auto")
    parser.add_argument("--interval-ms", type=int, default=1000, help=f"{SHORTEST_MS} to {LONGEST_MS}")
    parser.add_argument("--file", type=Path, help="the recording of the source file")
    given = parser.parse_args(argv)
    if given.source == "file":
        _play(given.file)
    else:
        _serve(given.source, _within(given.interval_ms))


def _play(file: Path | None) -> None:
    from nightdesk.engine.sensors.playback import Playback

    if file is None:
        sys.exit(NO_FILE)

    def emit(line: SensorLine) -> None:
        with signals:
            _write(sensor_encoder.encode(line) + b"\n")

    playback = Playback(file, emit)
    signals = StopOnSignals(playback.stop)
    playback.watch(0, Control(0, playback.pace, playback.stop).ready)
    with contextlib.suppress(BrokenPipeError):
        playback.run(signals.wake)


def _serve(source: str, interval_ms: int) -> None:
    off = source == "off"
    choice = choose("host" if off else source, interval_ms)

    def emit(line: SensorLine) -> None:
        with signals:
            _write(sensor_encoder.encode(line) + b"\n")

    loop = SensorLoop(
        open_host(),
        _nothing if off else emit,
        interval_ms=LONGEST_MS if off else interval_ms,
        polled=choice.polled,
        streams=choice.streams,
        extras=choice.extras,
        no_devices=choice.no_devices,
    )
    signals = StopOnSignals(loop.stop)
    control = Control(0, _nothing if off else loop.pace, loop.stop)
    loop.watch(0, control.ready)
    # Whoever reads may go away first, which is as good as the end of standard input.
    with contextlib.suppress(BrokenPipeError):
        if off:
            emit(SensorStatus(source="off", state="absent", message=SWITCHED_OFF))
        loop.run(signals.wake)


def _nothing(_: object) -> None:
    """Takes samples and orders while the sensors are switched off."""


if __name__ == "__main__":
    main()

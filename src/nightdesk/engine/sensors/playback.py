"""A recording of measurements played as if it were live: its samples come at the pace at which they were taken.

Nothing of this machine is mixed in. At its end the recording begins again, so that even a single report stays on view.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from selectors import EVENT_READ, SelectSelector

import msgspec

from nightdesk.core.sensors.recordings import SUPPORTED, Recording
from nightdesk.model.errors import NightdeskError
from nightdesk.model.sample import Sample, SampleTaken, SensorLine, SensorStatus

SHORTEST_NS, LONGEST_NS = 100 * 10**6, 10 * 10**9
"""A sample stays on view for its own length, within these."""
_CHUNK = 65_536


def samples_of(file: Path) -> Iterator[Sample]:
    """The samples of a recording. Raises NightdeskError for a file that is none, OSError for one that can't be read."""
    recording = Recording()
    with file.open("rb") as content:
        while data := content.read(_CHUNK):
            yield from recording.feed(data)
    yield from recording.end()


def check_recording(file: Path) -> None:
    """Raises NightdeskError where ``file`` can't be read or holds no complete sample."""
    try:
        first = next(samples_of(file), None)
    except OSError as fault:
        raise NightdeskError(
            f"The recording can't be read: {fault.strerror}.", "Check its name and rights."
        ) from fault
    if first is None:
        raise NightdeskError("The recording holds no complete sample.", SUPPORTED)


class Playback:
    """Emits the samples of ``file`` with the time of now until it is told to stop."""

    def __init__(self, file: Path, emit: Callable[[SensorLine], None]) -> None:
        self._file = file
        self._emit = emit
        self._stopped = False
        self._due_ns = 0
        self._control: tuple[int, Callable[[], None]] | None = None

    def watch(self, handle: int, on_ready: Callable[[], None]) -> None:
        """Calls ``on_ready`` whenever ``handle`` can be read."""
        self._control = (handle, on_ready)

    def stop(self) -> None:
        """Makes :meth:`run` return before the next wait."""
        self._stopped = True

    def pace(self, interval_ms: int) -> None:
        """Changes nothing: a recording has a pace of its own."""

    def run(self, wake: int | None = None) -> None:
        """Plays until :meth:`stop`. A byte on the descriptor ``wake`` ends a wait early (a signal came)."""
        try:
            check_recording(self._file)
        except NightdeskError as fault:
            self._emit(SensorStatus(source="file", state="failed", message=f"{fault.message} {fault.hint}"))
        else:
            self._emit(SensorStatus(source="file", state="live"))
            self._due_ns = time.monotonic_ns()
            while not self._stopped:
                self._play(wake)
        while not self._stopped:
            self._wait(wake, None)

    def _play(self, wake: int | None) -> None:
        for sample in samples_of(self._file):
            self._emit(SampleTaken(sample=_as_of_now(sample)))
            self._due_ns += min(LONGEST_NS, max(SHORTEST_NS, sample.elapsed_ns))
            while not self._stopped and (left_ns := self._due_ns - time.monotonic_ns()) > 0:
                self._wait(wake, left_ns / 1e9)
            if self._stopped:
                return

    def _wait(self, wake: int | None, seconds: float | None) -> None:
        with SelectSelector() as selector:
            if wake is not None:
                selector.register(wake, EVENT_READ)
            if self._control:
                selector.register(self._control[0], EVENT_READ, self._control[1])
            for key, _ in selector.select(seconds):
                if callable(key.data):
                    key.data()


def _as_of_now(sample: Sample) -> Sample:
    """``sample`` as if it had just been taken, from a source that says what it is."""
    return msgspec.structs.replace(sample, at_ns=time.time_ns(), source=f"recording of {sample.source}")

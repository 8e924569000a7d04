"""CPU and memory of our processes during the last hour, in few bytes: 24 a point, a point every ten seconds.

Kept for what belongs to the desk (runs, watched programs, services, orphans); for others from when they are asked for.
"""

from __future__ import annotations

import threading
from array import array
from collections import OrderedDict
from collections.abc import Iterable, Mapping

from nightdesk.engine.processes.table import Entry
from nightdesk.model.base import ProcessKey
from nightdesk.model.inspected import ProcessHistory

STEP_NS = 10 * 10**9
POINTS = 360
PROCESSES = 400
"""Together at most 3.5 MB; the one that was written to longest ago is let go."""
ASKED_NS = 900 * 10**9
"""How long a process of somebody else is followed after it was asked for."""
_UNKNOWN = -1


class _Series:
    __slots__ = ("at", "before_cpu_ns", "before_ns", "cpu", "device", "rss")

    def __init__(self) -> None:
        self.at = array("q")
        self.cpu = array("f")
        self.rss = array("q")
        self.device = array("q")
        self.before_ns = self.before_cpu_ns = 0

    def add(self, now_ns: int, entry: Entry, device: int | None) -> None:
        passed = now_ns - self.before_ns
        known = self.before_ns and passed > 0
        used = max(0, entry.cpu_ns - self.before_cpu_ns)
        self.at.append(now_ns)
        self.cpu.append(used / passed if known else _UNKNOWN)
        self.rss.append(entry.rss_bytes)
        self.device.append(_UNKNOWN if device is None else device)
        self.before_ns, self.before_cpu_ns = now_ns, entry.cpu_ns
        if len(self.at) > POINTS:
            for values in (self.at, self.cpu, self.rss, self.device):
                del values[0]


class Histories:
    """Call :meth:`note` after each sample; it writes every ten seconds. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._series: OrderedDict[ProcessKey, _Series] = OrderedDict()
        self._asked: dict[ProcessKey, int] = {}
        self._noted_ns = 0

    def note(self, now_ns: int, ours: Iterable[tuple[ProcessKey, Entry]], devices: Mapping[int, int]) -> None:
        """Write a point for each of ``ours``. ``devices`` gives the accelerator memory of each process."""
        if 0 <= now_ns - self._noted_ns < STEP_NS - STEP_NS // 20:
            return
        self._noted_ns = now_ns
        with self._lock:
            self._write(now_ns, ours, devices)

    def _write(
        self, now_ns: int, ours: Iterable[tuple[ProcessKey, Entry]], devices: Mapping[int, int]
    ) -> None:
        for key, entry in ours:
            series = self._series.get(key)
            if series is None:
                series = self._series[key] = _Series()
            series.add(now_ns, entry, devices.get(key.pid))
            self._series.move_to_end(key)
        while len(self._series) > PROCESSES:
            self._series.popitem(last=False)
        self._asked = {key: until for key, until in self._asked.items() if until > now_ns}
        self._forget(now_ns - STEP_NS * POINTS)

    def _forget(self, before_ns: int) -> None:
        """Processes that ended an hour ago."""
        for key in [key for key, series in self._series.items() if series.at[-1] < before_ns]:
            del self._series[key]

    def wants(self, key: ProcessKey) -> bool:
        """Whether somebody else's process was asked for lately."""
        return key in self._asked

    def of(self, key: ProcessKey, now_ns: int) -> ProcessHistory:
        """What is known of a process; from now on more, whoever it belongs to."""
        with self._lock:
            self._asked[key] = now_ns + ASKED_NS
            return _shown(key, self._series.get(key))


def _shown(key: ProcessKey, series: _Series | None) -> ProcessHistory:
    if series is None:
        note = "Its history begins now: only processes of the desk are recorded all the time."
        return ProcessHistory(key=key, step_ns=STEP_NS, note=note)
    return ProcessHistory(
        key=key,
        step_ns=STEP_NS,
        at_ns=tuple(series.at),
        cpu_ratio=tuple(None if value < 0 else round(value, 3) for value in series.cpu),
        rss_bytes=tuple(series.rss),
        device_bytes=tuple(None if value < 0 else value for value in series.device),
    )

"""Counters of the machine itself: busy time of all cores, memory, swap. They need no privilege anywhere."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from typing import Protocol

import msgspec

from nightdesk.model.sample import Cpu, CpuTier, Sample

_STAT_FIELDS = 8
"""user nice system idle iowait irq softirq steal; guest time is already within user."""
_IDLE = (3, 4)
_STEAL = 7
FIRST_READING = "The first reading only sets the zero point; the next one has a value."
NO_CPU_POWER = "Nothing here reports the CPU's power."
NO_PACKAGE_POWER = "Nothing here reports the power of the whole package."
NO_THERMAL = "Nothing here reports thermal pressure."


@dataclass(frozen=True, slots=True)
class HostReading:
    """The machine over the time since the reading before."""

    elapsed_ns: int
    cpu_ratio: float | None
    cores: int
    memory_used_bytes: int | None = None
    memory_total_bytes: int | None = None
    swap_used_bytes: int | None = None


class Host(Protocol):
    """Where readings of the machine come from."""

    def read(self) -> HostReading:
        """The counters since the call before."""


def open_host() -> Host:
    """The cheapest source of host counters on this system."""
    return LinuxHost() if sys.platform == "linux" else PsutilHost()


class LinuxHost:
    """Reads ``/proc/stat`` and ``/proc/meminfo`` directly: a tenth of a millisecond a reading."""

    def __init__(self, folder: str = "/proc") -> None:
        self._stat = f"{folder}/stat"
        self._meminfo = f"{folder}/meminfo"
        self._cores = os.cpu_count() or 0
        self._before: tuple[int, int] | None = None
        self._read_at = time.monotonic_ns()

    def read(self) -> HostReading:
        """The counters since the call before; what the kernel does not tell is None."""
        now = time.monotonic_ns()
        elapsed_ns, self._read_at = now - self._read_at, now
        memory = self._memory()
        total, free, swap, swap_free = (
            memory.get(key) for key in ("MemTotal", "MemAvailable", "SwapTotal", "SwapFree")
        )
        return HostReading(
            elapsed_ns=elapsed_ns,
            cpu_ratio=self._cpu_ratio(),
            cores=self._cores,
            memory_used_bytes=None if total is None or free is None else total - free,
            memory_total_bytes=total,
            swap_used_bytes=None if swap is None or swap_free is None else swap - swap_free,
        )

    def _cpu_ratio(self) -> float | None:
        times = self._times()
        if times is None:
            return None
        total = sum(times)
        busy = total - sum(times[i] for i in _IDLE) - times[_STEAL]
        before, self._before = self._before, (busy, total)
        if before is None or total <= before[1]:
            return None
        return min(1.0, max(0.0, (busy - before[0]) / (total - before[1])))

    def _times(self) -> list[int] | None:
        words = _head(self._stat).split(b"\n", 1)[0].split()[1 : _STAT_FIELDS + 1]
        return [int(word) for word in words] if len(words) == _STAT_FIELDS else None

    def _memory(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for line in _head(self._meminfo).splitlines():
            name, _, rest = line.partition(b":")
            words = rest.split()
            if words and name in (b"MemTotal", b"MemAvailable", b"SwapTotal", b"SwapFree"):
                found[name.decode()] = int(words[0]) * 1024
        return found


def _head(path: str) -> bytes:
    """The first 4 kB of a file of the kernel, empty where it can't be read."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        return b""
    try:
        return os.read(handle, 4096)
    finally:
        os.close(handle)


class PsutilHost:
    """The same counters through psutil, for systems without ``/proc``."""

    def __init__(self) -> None:
        import psutil

        self._psutil = psutil
        self._read_at = time.monotonic_ns()
        psutil.cpu_percent(percpu=True)
        self._first = True

    def read(self) -> HostReading:
        """The counters since the call before."""
        now = time.monotonic_ns()
        elapsed_ns, self._read_at = now - self._read_at, now
        cores = self._psutil.cpu_percent(percpu=True)
        first, self._first = self._first, False
        memory, swap = self._psutil.virtual_memory(), self._psutil.swap_memory()
        return HostReading(
            elapsed_ns=elapsed_ns,
            cpu_ratio=None if first or not cores else min(1.0, max(0.0, sum(cores) / len(cores) / 100)),
            cores=len(cores),
            memory_used_bytes=int(memory.total - memory.available),
            memory_total_bytes=int(memory.total),
            swap_used_bytes=int(swap.used),
        )


def host_cpu(reading: HostReading) -> Cpu:
    """The CPU as the system's own counters show it: one tier of all cores, no power."""
    return Cpu(
        ratio=reading.cpu_ratio,
        tiers=(CpuTier(name="CPU", ratio=reading.cpu_ratio, cores=reading.cores),),
    )


def with_host(sample: Sample, reading: HostReading) -> Sample:
    """``sample`` of an accelerator source, with what it lacks filled from the machine's own counters."""
    cpu = sample.cpu
    unknown = dict(sample.unknown)
    if cpu is None:
        cpu = host_cpu(reading)
        unknown["cpu.power_w"] = unknown.pop("cpu", NO_CPU_POWER)
    elif cpu.ratio is None and reading.cpu_ratio is not None:
        cpu = msgspec.structs.replace(cpu, ratio=reading.cpu_ratio)
        unknown.pop("cpu.ratio", None)
    if cpu.ratio is None:
        unknown.setdefault("cpu.ratio", FIRST_READING)
    return msgspec.structs.replace(
        sample,
        cpu=cpu,
        unknown=unknown,
        memory_used_bytes=_first(reading.memory_used_bytes, sample.memory_used_bytes),
        memory_total_bytes=_first(reading.memory_total_bytes, sample.memory_total_bytes),
        swap_used_bytes=_first(reading.swap_used_bytes, sample.swap_used_bytes),
    )


def _first(value: int | None, otherwise: int | None) -> int | None:
    return otherwise if value is None else value

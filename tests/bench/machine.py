"""What programs cost: CPU time and memory of processes, read from ``/proc``; seconds until a command ends."""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def cpu_ratio(pids: Iterable[int], seconds: float) -> float:
    """Share of one core that the processes use, measured over ``seconds``."""
    return cpu_ratios({"all": list(pids)}, seconds)["all"]


def cpu_ratios(groups: dict[str, list[int]], seconds: float) -> dict[str, float]:
    """Share of one core of each group of processes, all measured over the same ``seconds``."""
    before, began = _spent(groups), time.perf_counter()
    time.sleep(seconds)
    after, took = _spent(groups), time.perf_counter() - began
    return {name: (after[name] - before[name]) / took for name in groups}


def _spent(groups: dict[str, list[int]]) -> dict[str, float]:
    return {name: sum(map(cpu_seconds, pids)) for name, pids in groups.items()}


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far; 0 where it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICKS


def memory_mb(pids: Iterable[int]) -> float:
    """Proportional set size (each shared page divided by those who share it), MB of 1,000,000 bytes."""
    kilobytes = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
            if line.startswith("Pss:"):
                kilobytes += int(line.split()[1])
    return kilobytes * 1024 / 1e6


def family(pid: int) -> list[int]:
    """The process and everything below it."""
    found = [pid]
    for parent in found:
        for task in Path(f"/proc/{parent}/task").iterdir():
            found += map(int, (task / "children").read_text(encoding="ascii").split())
    return found


def seconds_to_end(argv: Sequence[str], rounds: int = 11) -> float:
    """Median seconds of a command."""
    taken = []
    for _ in range(rounds):
        began = time.perf_counter()
        subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


@contextlib.contextmanager
def crowd(size: int) -> Iterator[None]:
    """So many sleeping processes more on the machine."""
    sleepers = [subprocess.Popen(["sleep", "900"]) for _ in range(size)]
    try:
        yield
    finally:
        for sleeper in sleepers:
            sleeper.kill()
            sleeper.wait()


def count_processes() -> int:
    """Processes of the machine, kernel threads included."""
    return sum(entry.name.isdecimal() for entry in Path("/proc").iterdir())

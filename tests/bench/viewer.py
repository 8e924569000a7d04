"""What watching costs: engine and viewer next to htop, all refreshing once a second on terminals of one size."""

from __future__ import annotations

import contextlib
import shutil
import threading
import time
from collections.abc import Iterator

from tests.bench.desk import NIGHTDESK, running_desk
from tests.bench.machine import count_processes, cpu_ratios, crowd, family, memory_mb
from tests.bench.terminal import Terminal, terminal

CROWDS = (300, 1000)
SECONDS = 15
HTOP = ["htop", "-d", "10"]


@contextlib.contextmanager
def shown(argv: list[str]) -> Iterator[Terminal]:
    """A program on a terminal whose output is read all the time."""
    with terminal(argv) as screen:
        stopping = threading.Event()

        def read() -> None:
            while not stopping.is_set():
                try:
                    screen.drain(0.2)
                except OSError:
                    return

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        try:
            yield screen
        finally:
            stopping.set()
            reader.join()


def measure() -> list[tuple[str, str, str]]:
    """Rows: what, figure, target or comparison."""
    rows: list[tuple[str, str, str]] = []
    with running_desk() as bench, shown([NIGHTDESK]) as screen:
        time.sleep(6)
        for size in CROWDS:
            with crowd(size), _peer() as peer:
                time.sleep(6)
                count = count_processes()
                groups = {"engine": bench.parts, "viewer": family(screen.pid), "htop": peer}
                shares = cpu_ratios(groups, SECONDS)
            rows.append(_row(count, shares, bool(peer)))
        before = len(screen.output)
        time.sleep(10)
        written = (len(screen.output) - before) / 10
        parent, *viewer = family(screen.pid)
        memory = memory_mb(viewer), memory_mb([parent])
    rows.append(("viewer, bytes to the terminal", f"{written / 1000:.1f} kB a second", ""))
    rows.append(
        (
            "viewer, memory (PSS)",
            f"{memory[0]:.0f} MB, and {memory[1]:.0f} MB of the small parent that restores the terminal",
            "under 60 MB",
        )
    )
    return rows


@contextlib.contextmanager
def _peer() -> Iterator[list[int]]:
    """htop on a terminal of its own; nothing where it is not installed."""
    if shutil.which("htop") is None:
        yield []
        return
    with shown(HTOP) as screen:
        yield [screen.pid]


def _row(count: int, shares: dict[str, float], has_peer: bool) -> tuple[str, str, str]:
    engine, viewer = shares["engine"] * 100, shares["viewer"] * 100
    peer = f"htop {shares['htop'] * 100:.1f} %" if has_peer else "htop is not installed"
    what = f"engine with children + viewer at 160×48, {count} processes"
    return (what, f"{engine:.1f} + {viewer:.1f} = {engine + viewer:.1f} % of a core", f"under htop: {peer}")

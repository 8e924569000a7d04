"""How long until something is seen: viewer, ``nightdesk status --json``, and what they can't be faster than."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.bench.terminal import terminal

ROUNDS = 11
MINIMAL = """
from textual.app import App
from textual.widgets import Static
class Minimal(App):
    def compose(self):
        yield Static("first words")
Minimal().run()
"""


def seconds_to_text(argv: list[str], text: bytes) -> float:
    """Median seconds from start to ``text`` on a terminal of 160×48."""
    taken = []
    for _ in range(ROUNDS):
        with terminal(argv) as screen:
            seconds = screen.wait_for(text, 10)
            assert seconds is not None, (argv, screen.output[-500:])
            taken.append(seconds)
    return statistics.median(taken)


def seconds_to_end(argv: list[str]) -> float:
    """Median seconds of a command."""
    taken = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def cpu_ratio(pids: list[int], seconds: float) -> float:
    """Share of one core that the processes use."""
    before, began = sum(map(_cpu_seconds, pids)), time.perf_counter()
    time.sleep(seconds)
    return (sum(map(_cpu_seconds, pids)) - before) / (time.perf_counter() - began)


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def family(pid: int) -> list[int]:
    """The process and its children's children."""
    found = [pid]
    for parent in found:
        children = Path(f"/proc/{parent}/task/{parent}/children")
        found += map(int, children.read_text(encoding="ascii").split())
    return found


def measure() -> list[tuple[str, str, str]]:
    """Rows: what, figure, target or comparison."""
    nightdesk = str(Path(sys.executable).with_name("nightdesk"))
    with tempfile.TemporaryDirectory() as folder:
        os.environ["NIGHTDESK_SOCKET"] = f"{folder}/engine.sock"
        os.environ["XDG_STATE_HOME"] = folder
        os.chdir(folder)
        subprocess.run([nightdesk, "up"], check=True, stdout=subprocess.DEVNULL)
        try:
            return _measure_running(nightdesk, Path(folder))
        finally:
            subprocess.run([nightdesk, "down"], check=True, stdout=subprocess.DEVNULL)


def _measure_running(nightdesk: str, folder: Path) -> list[tuple[str, str, str]]:
    bare = seconds_to_end([sys.executable, "-c", "pass"])
    status = seconds_to_end([nightdesk, "status", "--json"])
    minimal = seconds_to_text([sys.executable, "-c", MINIMAL], b"first words")
    paint = seconds_to_text([nightdesk], b"Processes")
    crowd = [subprocess.Popen(["sleep", "600"]) for _ in range(300)]
    try:
        lock = folder / "nightdesk" / "default" / ".nightdesk" / "engine.lock"
        engine = family(int(lock.read_text(encoding="ascii")))
        time.sleep(6)
        idle = cpu_ratio(engine, 20)
    finally:
        for sleeper in crowd:
            sleeper.kill()
            sleeper.wait()
    return [
        ("`python -c pass`", f"{bare * 1000:.0f} ms", "floor"),
        ("`nightdesk status --json`, engine running", f"{status * 1000:.0f} ms", "under 250 ms"),
        ("minimal Textual program, first words", f"{minimal * 1000:.0f} ms", "floor"),
        (
            "viewer, first paint, engine running",
            f"{paint * 1000:.0f} ms",
            f"under 600 ms; {paint / minimal:.2f} × the minimal program",
        ),
        ("engine and its children, idle, 300 more processes", f"{idle * 100:.2f} % of a core", "under 3 %"),
    ]

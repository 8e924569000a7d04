"""How long until something is seen, what a resting engine costs, and what neither can be faster than."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

from tests.bench.desk import NIGHTDESK, Bench, running_desk
from tests.bench.machine import cpu_ratio, crowd, memory_mb, seconds_to_end
from tests.bench.terminal import terminal

ROUNDS = 7
SECONDS = 20
MINIMAL = """
from textual.app import App
from textual.widgets import Static
class Minimal(App):
    def compose(self):
        yield Static("first words")
Minimal().run()
"""


def seconds_to_text(argv: list[str], text: bytes) -> float:
    """Seconds from start to ``text`` on a terminal of 160×48."""
    with terminal(argv) as screen:
        seconds = screen.wait_for(text, 20)
        assert seconds is not None, (argv, screen.output[-500:])
        return seconds


def first_paints() -> tuple[float, float, float]:
    """Median seconds to the frames, to the first picture by Textual, and to that of a minimal program, in turn."""
    frames, viewer, minimal = [], [], []
    for _ in range(ROUNDS):
        frames.append(seconds_to_text([NIGHTDESK], b"Processes"))
        viewer.append(seconds_to_text([NIGHTDESK], b"Waiting for the engine"))
        minimal.append(seconds_to_text([sys.executable, "-c", MINIMAL], b"first words"))
    return statistics.median(frames), statistics.median(viewer), statistics.median(minimal)


def seconds_to_live() -> float:
    """Median seconds from the start of the viewer to the first thing that only the engine can tell."""
    return statistics.median(seconds_to_text([NIGHTDESK], b"others") for _ in range(ROUNDS))


def seconds_to_detached_start(bench: Bench) -> float:
    """Seconds of ``nightdesk up`` without a running engine."""
    subprocess.run([NIGHTDESK, "down"], check=True, stdout=subprocess.DEVNULL)
    began = time.perf_counter()
    subprocess.run([NIGHTDESK, "up"], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def measure() -> list[tuple[str, str, str]]:
    """Rows: what, figure, target or comparison."""
    with running_desk() as bench:
        bare = seconds_to_end([sys.executable, "-c", "pass"])
        status = seconds_to_end([NIGHTDESK, "status", "--json"])
        frames, paint, minimal = first_paints()
        live = seconds_to_live()
        memory = memory_mb(bench.parts)
        with crowd(300):
            time.sleep(12)
            idle = cpu_ratio(bench.parts, SECONDS)
        up = seconds_to_detached_start(bench)
    with running_desk() as bench:
        time.sleep(3)
        memory = max(memory, memory_mb(bench.parts))
    return [
        ("`python -c pass`", f"{bare * 1000:.0f} ms", "floor"),
        ("`nightdesk status --json`, engine running", f"{status * 1000:.0f} ms", "under 250 ms"),
        ("`nightdesk up`, until the engine answers", f"{up * 1000:.0f} ms", ""),
        ("minimal Textual program, first words", f"{minimal * 1000:.0f} ms", "floor of the viewer"),
        (
            "viewer, first paint: frames and titles of the desk, engine running",
            f"{frames * 1000:.0f} ms",
            "under 600 ms",
        ),
        (
            "viewer, painted by Textual, keys work",
            f"{paint * 1000:.0f} ms",
            f"{paint / minimal:.2f} × the minimal program; aim 1.3 ×",
        ),
        ("viewer, first data of the engine", f"{live * 1000:.0f} ms", "under 1 s"),
        ("engine and its children, idle, 300 more processes", f"{idle * 100:.2f} % of a core", "under 3 %"),
        ("engine and its children, memory (PSS)", f"{memory:.0f} MB", "under 110 MB"),
    ]

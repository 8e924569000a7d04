"""What measuring costs in an hour, beside nvitop and glances where they run, all in one run."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator

from tests.bench.machine import cpu_ratios, family
from tests.bench.peers import REMEDY, peer
from tests.bench.viewer import shown

SECONDS, SETTLE = 20, 6
PACES_MS = {"every second": 1000, "every 5 s, while nobody looks": 5000}
PEERS = {"nvitop": ["nvitop", "-m", "full"], "glances": ["glances", "-t", "1"]}
Rows = list[tuple[str, str, str]]


def measure() -> Rows:
    """Rows: what, figure, target or comparison."""
    with contextlib.ExitStack() as stack:
        roots = {name: stack.enter_context(_sensors(pace)) for name, pace in PACES_MS.items()}
        for name, words in PEERS.items():
            if path := peer(name):
                roots[name] = stack.enter_context(shown([path, *words[1:]])).pid
        time.sleep(SETTLE)
        ratios = cpu_ratios({name: _living(pid) for name, pid in roots.items()}, SECONDS)
    ours = ratios["every second"]
    rows = [(f"sensor process, {name}", _an_hour(ratios[name]), "") for name in PACES_MS]
    return [*rows, *(_beside(name, ratios.get(name), ours) for name in PEERS)]


@contextlib.contextmanager
def _sensors(pace_ms: int) -> Iterator[int]:
    argv = [sys.executable, "-m", "nightdesk.engine.sensors", "--interval-ms", str(pace_ms)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as child:
        try:
            yield child.pid
        finally:
            child.terminate()


def _living(pid: int) -> list[int]:
    """The process with all below it; nothing where it has ended."""
    try:
        return family(pid)
    except OSError:
        return []


def _beside(name: str, ratio: float | None, ours: float) -> tuple[str, str, str]:
    if ratio is None:
        return (name, "–", REMEDY)
    if not ratio:
        return (name, "–", "does not run on this machine")
    return (f"{name}, every second", _an_hour(ratio), f"the sensor process takes {ours / ratio:.2f} × that")


def _an_hour(ratio: float) -> str:
    least = 0.01 / SECONDS
    if ratio < least:
        # The kernel counts in hundredths of a second.
        return f"under {3600 * least:.1f} CPU s an hour"
    return f"{3600 * ratio:.1f} CPU s an hour ({100 * ratio:.2f} % of a core)"

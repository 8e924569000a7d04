"""One sample of the process table, and what watching it costs, beside htop, btop and glances in one run."""

from __future__ import annotations

import contextlib
import os
import statistics
import time
from collections.abc import Iterator

from nightdesk.engine.processes.sampler import ProcessWatch
from tests.bench.desk import NIGHTDESK, running_desk
from tests.bench.machine import count_processes, cpu_ratios, crowd, family
from tests.bench.peers import REMEDY, peer
from tests.bench.viewer import shown

CROWDS, SECONDS, SETTLE, SAMPLES = (300, 1000), 15, 6, 15
PEERS = {
    "htop": ["htop", "-d", "10"],
    "btop": ["btop"],
    "glances": ["glances", "-t", "1"],
}
Rows = list[tuple[str, str, str]]


def measure() -> Rows:
    """Rows: what, figure, target or comparison."""
    rows: Rows = []
    for size in CROWDS:
        with crowd(size):
            time.sleep(2)
            rows.append(_sample_row(count_processes()))
            rows += _watching_rows(size)
    return rows


def _sample_row(count: int) -> tuple[str, str, str]:
    ours, peers = _milliseconds(_our_sample()), _milliseconds(_psutil_sample())
    figure = f"{ours:.1f} ms, {ours / peers:.2f} ×"
    return (f"one sample of {count} processes, all fields", figure, f"psutil {peers:.1f} ms")


def _milliseconds(step: Iterator[None]) -> float:
    taken = []
    for _ in range(SAMPLES):
        began = time.process_time()
        next(step)
        taken.append(time.process_time() - began)
        time.sleep(0.05)
    return statistics.median(taken) * 1000


def _our_sample() -> Iterator[None]:
    watch = ProcessWatch((), dict)
    for _ in range(6):
        watch.sample(time.time_ns())
    while True:
        watch.sample(time.time_ns())
        yield


def _psutil_sample() -> Iterator[None]:
    import psutil

    names = [
        "pid",
        "ppid",
        "name",
        "cmdline",
        "cpu_times",
        "memory_info",
        "status",
        "create_time",
        "username",
    ]
    while True:
        for _process in psutil.process_iter(names):
            pass
        yield


def _watching_rows(size: int) -> Rows:
    """The engine alone, the engine with a viewer, and each of the others, all at the same time."""
    with contextlib.ExitStack() as stack:
        alone = stack.enter_context(running_desk())
        time.sleep(SETTLE)
        count = count_processes()
        resting = cpu_ratios({"engine": alone.parts}, SECONDS)["engine"]
        screen = stack.enter_context(shown([NIGHTDESK, "--mode", "machine"]))
        groups: dict[str, list[int]] = {}
        missing = []
        for name, words in PEERS.items():
            path = peer(name)
            if path is None:
                missing.append(name)
                continue
            peers_screen = stack.enter_context(_plain_shown([path, *words[1:]]))
            groups[name] = [peers_screen]
        time.sleep(SETTLE)
        groups = {name: family(pids[0]) for name, pids in groups.items()}
        groups |= {"engine": alone.parts, "viewer": family(screen.pid)}
        shares = cpu_ratios(groups, SECONDS)
    others = ", ".join(f"{name} {shares[name] * 100:.1f} %" for name in PEERS if name in shares)
    others += "".join(f", {name} {REMEDY}" for name in missing)
    both = shares["engine"] + shares["viewer"]
    return [
        (f"engine without a viewer, {count} processes", f"{resting * 100:.1f} % of a core", others),
        (
            f"engine + viewer on the processes, {count} processes",
            f"{shares['engine'] * 100:.1f} + {shares['viewer'] * 100:.1f} = {both * 100:.1f} % of a core",
            others,
        ),
    ]


@contextlib.contextmanager
def _plain_shown(words: list[str]) -> Iterator[int]:
    """The pid of a program on a terminal of its own, without the variables of our desk."""
    kept = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("NIGHTDESK_")}
    try:
        with shown(words) as screen:
            os.environ.update(kept)
            yield screen.pid
    finally:
        os.environ.update(kept)

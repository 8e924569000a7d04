"""What it costs to look into a log of 1 GB: first screen, end, any line, a rare word; next to grep."""

from __future__ import annotations

import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from nightdesk.engine.logs.follow import LogFollower
from nightdesk.engine.logs.reader import LogReader
from nightdesk.model.logs import LogSearch
from tests.bench import log_viewers

LINES = 10_000_000
RARE = "CudaOutOfMemory"
ROUNDS = 2


def write(path: Path) -> None:
    """10 million lines, the rare word half-way; the same million of lines again and again, numbered anew."""
    lines = [
        b"2026-01-01 %02d:%02d:%02d,%03d INFO pipeline.run: item @%06d of the long night, done in %d ms\n"
        % (n // 36_000 % 24, n // 600 % 60, n // 10 % 60, n % 1000, n, n % 977)
        for n in range(LINES // 10)
    ]
    text = b"".join(lines)
    with path.open("wb") as file:
        for part in range(10):
            file.write(text.replace(b"@", b"%d" % part))
            if part == 4:
                file.write(b"2026-01-01 02:03:04,567 ERROR pipeline.run: %s at item 77\n" % RARE.encode())


def seconds(work: Callable[[], object]) -> float:
    """Median of some rounds."""
    taken = []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        work()
        taken.append(time.perf_counter() - begin)
    return statistics.median(taken)


def resident_mb() -> float:
    """Memory of this process."""
    with Path("/proc/self/statm").open() as file:
        return int(file.read().split()[1]) * 4096 / 1e6


def measure() -> list[tuple[str, str, str]]:
    """Rows: what, figure, target or comparison."""
    folder = Path(tempfile.mkdtemp(prefix="nightdesk-bench-"))
    try:
        path = folder / "big.log"
        write(path)
        seen = (b"item 0000000", b"item 9999999", RARE.encode(), b"at item 77")
        return [*_ours(path), *_others(path), *log_viewers.measure(path, *seen)]
    finally:
        shutil.rmtree(folder)


def _ours(path: Path) -> list[tuple[str, str, str]]:
    logs = LogFollower((), path.parent, lambda change: None)
    before = resident_mb()
    reader, log = LogReader(logs), logs.add_run_log("r", path).id
    first = seconds(lambda: reader.window(log, start=0))
    end = seconds(lambda: reader.window(log))
    begin = time.perf_counter()
    while not reader.index(log).complete:
        time.sleep(0.02)
    counted = time.perf_counter() - begin
    anywhere = seconds(lambda: reader.line(log, LINES * 3 // 4))
    begin = time.perf_counter()
    while _searched(reader, log).after is None:
        pass
    hit = time.perf_counter() - begin
    while not _searched(reader, log).complete:
        pass
    whole = time.perf_counter() - begin
    size = path.stat().st_size / 1e9
    grown = resident_mb() - before
    return [
        (f"first screen, {size:.2f} GB", f"{first * 1000:.1f} ms", "under 150 ms"),
        ("its end", f"{end * 1000:.1f} ms", "under 150 ms"),
        ("all lines counted, in the background", f"{counted:.2f} s", ""),
        ("line 7,500,000", f"{anywhere * 1000:.1f} ms", "at once"),
        ("rare word in any case, first hit half-way", f"{hit:.2f} s", "under 3 × grep -ci"),
        ("the same, whole file counted", f"{whole:.2f} s", ""),
        ("memory gained meanwhile", f"{grown:.0f} MB", "under 60 MB"),
    ]


def _searched(reader: LogReader, log: str) -> LogSearch:
    return reader.search(log, RARE.lower())


def _others(path: Path) -> list[tuple[str, str, str]]:
    rows = []
    for name, option in (("grep -c, exact case", "-c"), ("grep -ci", "-ci")):
        taken = seconds(
            partial(subprocess.run, ["grep", option, RARE, path], stdout=subprocess.DEVNULL, check=False)
        )
        rows.append((name, f"{taken:.2f} s", "comparison"))
    return rows

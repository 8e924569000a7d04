"""What it costs to follow log files that grow, next to a bare watchfiles loop."""

from __future__ import annotations

import contextlib
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from nightdesk.model.desk import LogChanged, Snapshot
from tests.bench.desk import Bench, running_desk
from tests.bench.machine import cpu_ratios

FILES, LINES_PER_SECOND, SECONDS = 50, 100, 15
CONFIG = '[watch]\nlogs = ["logs/*.log"]\n'
BARE = """
import sys, watchfiles
for changes in watchfiles.watch(sys.argv[1], step=50, debounce=50, recursive=False, raise_interrupt=False):
    for _, path in changes:
        with open(path, "rb") as file:
            file.seek(0, 2)
"""


class Writer(threading.Thread):
    """Writes lines in turn to all files, from time to time noting when; ends by :meth:`stop`."""

    def __init__(self, folder: Path) -> None:
        super().__init__(daemon=True)
        self.written: dict[tuple[str, int], int] = {}
        """(file, its size after a line) → when that line was written."""
        self._files = [(folder / f"batch-{number:02}.log").open("ab", buffering=0) for number in range(FILES)]
        self._stopping = threading.Event()

    def run(self) -> None:
        """Write until told to stop."""
        count, begin = 0, time.monotonic()
        while not self._stopping.wait(max(0.0, begin + count / LINES_PER_SECOND - time.monotonic())):
            file = self._files[count % FILES]
            file.write(b"2026-01-01 02:03:04,567 INFO item %d of 500 done in 1.7 s\n" % (count // FILES))
            self.written[str(file.name), file.tell()] = time.time_ns()
            count += 1

    def stop(self) -> None:
        """End, and close the files."""
        self._stopping.set()
        self.join()
        for file in self._files:
            file.close()


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[Writer]:
    """A writer at work."""
    writer = Writer(folder)
    writer.start()
    try:
        yield writer
    finally:
        writer.stop()


def delays(bench: Bench, writer: Writer, seconds: float) -> list[float]:
    """Seconds from a line's writing to the change that tells of it."""
    found: list[float] = []
    limit = time.monotonic() + seconds
    for change in bench.engine.changes():
        if isinstance(change, LogChanged) and not isinstance(change, Snapshot):
            at = writer.written.get((change.log.path, change.log.size_bytes))
            if at is not None:
                found.append((time.time_ns() - at) / 1e9)
        if time.monotonic() > limit:
            return found
    return found


def measure() -> list[tuple[str, str, str]]:
    """Rows: what, figure, target or comparison."""
    names = {f"logs/batch-{number:02}.log": "" for number in range(FILES)}
    with running_desk(CONFIG, names) as bench:
        folder = bench.desk.folder / "logs"
        time.sleep(8)
        quiet = cpu_ratios({"engine": [bench.pid]}, 8)["engine"]
        bare = subprocess.Popen([sys.executable, "-c", BARE, str(folder)])
        try:
            with writing(folder) as writer:
                time.sleep(3)
                shares = cpu_ratios({"engine": [bench.pid], "bare": [bare.pid]}, SECONDS)
                late = delays(bench, writer, SECONDS)
        finally:
            bare.terminate()
            bare.wait()
    what = f"{FILES} files, {LINES_PER_SECOND} lines a second in all"
    return [
        ("engine, the same files at rest", f"{quiet * 100:.2f} % of a core", "what it does anyway"),
        (f"engine, {what}", f"{shares['engine'] * 100:.2f} % of a core", "under 1 %"),
        (f"bare watchfiles loop, {what}", f"{shares['bare'] * 100:.2f} % of a core", "comparison"),
        (
            f"from a line to its change, viewer open, {what}",
            f"{statistics.median(late) * 1000:.0f} ms",
            "median under 60 ms",
        ),
    ]

"""What it costs to follow log files that grow, next to tail, lnav, toolong and a bare watchfiles loop."""

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
from tests.bench import big_log
from tests.bench.desk import Bench, running_desk
from tests.bench.machine import cpu_ratios, family
from tests.bench.peers import peer
from tests.bench.terminal import terminal

FILES, LINES_PER_SECOND, SECONDS, SETTLE = 50, 100, 12, 6
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


@contextlib.contextmanager
def followers(folder: Path) -> Iterator[dict[str, int]]:
    """Other programs that follow the same files, each with its process; those that are not installed are left out."""
    files = sorted(map(str, folder.iterdir()))
    plain = {
        "bare watchfiles loop": [sys.executable, "-c", BARE, str(folder)],
        "tail -F": ["tail", "-F", *files],
    }
    with contextlib.ExitStack() as stack:
        found = {}
        for name, words in plain.items():
            process = stack.enter_context(subprocess.Popen(words, stdout=subprocess.DEVNULL))
            stack.callback(process.terminate)
            found[name] = process.pid
        for name, program in (("lnav", "lnav"), ("toolong", "tl")):
            if (path := peer(program)) is not None:
                screen = stack.enter_context(terminal([path, *files]))
                reader = threading.Thread(target=screen.drain, args=(SETTLE + 3 * SECONDS,), daemon=True)
                reader.start()
                stack.callback(reader.join)
                found[name] = screen.pid
        yield found


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
    return [*following(), *big_log.measure()]


def following() -> list[tuple[str, str, str]]:
    """Rows of following many files."""
    names = {f"logs/batch-{number:02}.log": "" for number in range(FILES)}
    with running_desk(CONFIG, names) as bench:
        folder = bench.desk.folder / "logs"
        time.sleep(8)
        quiet = cpu_ratios({"engine": [bench.pid]}, 8)["engine"]
        with followers(folder) as others, writing(folder) as writer:
            time.sleep(SETTLE)
            groups = {name: family(pid) for name, pid in others.items()}
            shares = cpu_ratios({"engine": [bench.pid], **groups}, SECONDS)
            late = delays(bench, writer, SECONDS)
    what = f"{FILES} files, {LINES_PER_SECOND} lines a second in all"
    return [
        ("engine, the same files at rest", f"{quiet * 100:.2f} % of a core", "what it does anyway"),
        (f"engine, {what}", f"{shares['engine'] * 100:.2f} % of a core", "under 1 %"),
        *((f"{name}, {what}", f"{shares[name] * 100:.2f} % of a core", "comparison") for name in groups),
        (
            f"from a line to its change, viewer open, {what}",
            f"{statistics.median(late) * 1000:.0f} ms",
            "median under 60 ms",
        ),
    ]

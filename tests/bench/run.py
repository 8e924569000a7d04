"""``make bench``: measures side by side in one run and writes docs/performance.md.

``python tests/bench/run.py viewer logs`` measures only these sections and prints them.
"""

from __future__ import annotations

import datetime
import os
import platform
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.bench import (  # noqa: E402 - the path must be set first
    big_log,
    capture,
    exchanges,
    inspector,
    jobs,
    live,
    logs,
    memory,
    processes,
    sensors,
    startup,
    supervisors,
    viewer,
)

PAGE = ROOT / "docs" / "performance.md"
HEAD = """# Performance

Written by `make bench`, never by hand. Absolute figures belong to the machine named below; ratios travel better.

"""


Rows = Sequence[tuple[str, ...]]
TITLES = ("what", "figure", "target or comparison")
SECTIONS: dict[str, tuple[str, Callable[[], Rows]]] = {
    "startup": ("Start and rest", startup.measure),
    "viewer": ("Viewer", viewer.measure),
    "logs": ("Logs", logs.measure),
    "big_log": ("A log of 1 GB", big_log.measure),
    "jobs": ("Jobs", jobs.measure),
    "supervisors": ("Jobs beside supervisord and circus", supervisors.measure),
    "processes": ("Processes beside htop, btop and glances", processes.measure),
    "sensors": ("Measurements beside nvitop and glances", sensors.measure),
    "capture": ("Packets to exchanges", capture.measure),
    "live": ("Live on loopback", live.measure),
    "exchanges": ("Recorded exchanges", exchanges.measure),
    "inspector": ("Traffic list and inspector", inspector.measure),
    "memory": ("Memory of the capture", memory.measure),
}


def main(wanted: Sequence[str]) -> None:
    """Measure everything and write the page, or the wanted sections only."""
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    text = HEAD + f"Measured on {datetime.date.today():%Y-%m-%d}, {machine}.\n"
    for name in wanted or SECTIONS:
        title, measure = SECTIONS[name]
        text += f"\n## {title}\n\n" + table(TITLES, measure())
    if not wanted:
        PAGE.write_text(text, encoding="utf-8")
    print(text)  # noqa: T201 - the bench's output


def table(titles: tuple[str, ...], rows: Rows) -> str:
    """A Markdown table."""
    lines = [titles, tuple("---" for _ in titles), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


if __name__ == "__main__":
    main(sys.argv[1:])

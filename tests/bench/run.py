"""``make bench``: measures side by side in one run and writes docs/performance.md.

``make bench B="viewer logs"`` measures only these sections; the others stay on the page as they were measured before.
"""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.bench import (  # noqa: E402 - the path must be set first
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

Written by `make bench`, never by hand. Absolute figures belong to the machine named with them; ratios travel better.

"""


Rows = Sequence[tuple[str, ...]]
TITLES = ("what", "figure", "target or comparison")
SECTIONS: dict[str, tuple[str, Callable[[], Rows]]] = {
    "startup": ("Start and rest", startup.measure),
    "viewer": ("Viewer", viewer.measure),
    "logs": ("Logs", logs.measure),
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
    """Measure everything, or the wanted sections, each in a process of its own: a child's memory begins with ours."""
    names = wanted or tuple(SECTIONS)
    if len(names) == 1:
        measure_section(names[0])
        return
    for name in names:
        subprocess.run([sys.executable, __file__, name], check=True)


def measure_section(name: str) -> None:
    """Measure one section, print it and write it into the page."""
    known = sections_of(PAGE.read_text(encoding="utf-8")) if PAGE.exists() else {}
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    title, measure = SECTIONS[name]
    load = os.getloadavg()[0]
    body = table(TITLES, measure())
    when = f"{datetime.date.today():%Y-%m-%d}, {machine}, load {load:.1f} before it began"
    known[title] = f"Measured on {when}.\n\n{body}"
    write_page(known)
    print(f"## {title}\n\n{known[title]}", flush=True)  # noqa: T201 - the bench's output


def sections_of(page: str) -> dict[str, str]:
    """What stands below each title of the page."""
    parts = (part.partition("\n") for part in page.split("\n## ")[1:])
    return {title: body.strip() + "\n" for title, _, body in parts}


def write_page(known: dict[str, str]) -> None:
    """All sections that were ever measured, in their usual order."""
    titles = [title for title, _ in SECTIONS.values() if title in known]
    text = HEAD + "\n".join(f"## {title}\n\n{known[title]}" for title in titles)
    PAGE.write_text(text, encoding="utf-8")


def table(titles: tuple[str, ...], rows: Rows) -> str:
    """A Markdown table."""
    lines = [titles, tuple("---" for _ in titles), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


if __name__ == "__main__":
    main(sys.argv[1:])

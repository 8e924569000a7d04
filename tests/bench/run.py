"""``make bench``: measures side by side in one run and writes docs/performance.md."""

from __future__ import annotations

import datetime
import platform
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.bench import startup  # noqa: E402 - the path must be set first

PAGE = ROOT / "docs" / "performance.md"
HEAD = """# Performance

Written by `make bench`, never by hand. Absolute figures belong to the machine named below; ratios travel better.

"""


def main() -> None:
    """Measure everything and write the page."""
    machine = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
    text = HEAD + f"Measured on {datetime.date.today():%Y-%m-%d}, {machine}.\n"
    text += "\n## Start and rest\n\n" + table(("what", "figure", "target"), startup.measure())
    PAGE.write_text(text, encoding="utf-8")
    print(text)  # noqa: T201 - the bench's output


def table(titles: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """A Markdown table."""
    lines = [titles, tuple("---" for _ in titles), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


if __name__ == "__main__":
    main()

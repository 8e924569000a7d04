"""``make torture``: a real desk is struck at random moments, and nothing may be lost, done twice or left behind.

Writes what it saw into docs/reliability.md. ``SEED`` chooses the strikes and their moments; what a strike hits depends
on the machine too, so a seed does not repeat a round exactly.
"""

from __future__ import annotations

import argparse
import datetime
import itertools
import os
import platform
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TypeAlias

import msgspec

from tests.torture.campaign import Campaign, Report
from tests.torture.place import Place

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
HEAD = """# Reliability

Written by `make torture`, never by hand. Each round starts a job with five to nine items (good, slow, bad, failing at
first, with children, with a useless output, hanging) on a desk with an engine of its own, one item at a time or three
at once, strikes it two to six times at random moments, and lets it come to its end. Each item notes its own beginning
and end in a file that the desk never touches.

After each round:

- every item is done, failed with its record, or still waiting where the run was stopped; one that was wanted again is
  over once more, one that was put aside has a record of that;
- every execution has its own attempt number, an item was begun as often as its record says (an attempt whose keeper
  or command was killed before its first statement may be missing), and no two executions of an item overlap;
- an item is done by an attempt that ended with 0; a failed one says the true status and reason; the exit status of
  the run is right;
- no process is left, by marker, by session, by the keeper's folder;
- four bystanders (two of the same program, two with the marker of another run) got no signal.

"""


def page(report: Report, seed: int, places: int, no_disk: str | None) -> str:
    """The page of a campaign."""
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    verdict = "no promise was broken" if not report.faults else f"{len(report.faults)} promises were broken"
    text = HEAD + (
        f"{datetime.date.today():%Y-%m-%d}, {machine}, seed {seed}: **{report.rounds} rounds,"
        f" {sum(report.strikes.values())} strikes, {verdict}**, in {report.seconds / 60:.0f} minutes"
        f"{f', {places} desks at the same time' if places > 1 else ''}.\n\n"
        f"Items: {_sums(report.items)}; {report.executions} executions. Runs: {_sums(report.ends)}.\n"
    )
    if no_disk:
        text += f"\nThe disk was never full: {no_disk}.\n"
    text += "\n| strike | times |\n| --- | --- |\n"
    text += "".join(f"| {word} | {count} |\n" for word, count in sorted(report.strikes.items()))
    if report.faults:
        text += "\nBroken promises:\n\n" + "".join(f"- {fault}\n" for fault in report.faults)
    return text


def _sums(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {word}" for word, count in sorted(counts.items()))


Played: TypeAlias = tuple[Report, str | None]
"""What the rounds on one desk gave, and why its disk was never full."""


def main() -> int:
    """Run the campaign and write the page; 1 where a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture.run", description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--first", type=int, default=1, help="number of the first round: repeats one of a page"
    )
    parser.add_argument("--places", type=int, default=2, help="desks that are struck at the same time")
    parser.add_argument("--keep", type=Path, help="folder for the runs that broke a promise")
    parser.add_argument("--no-page", action="store_true", help="print only")
    parser.add_argument("--part", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.part is not None:
        sys.stdout.buffer.write(msgspec.json.encode(play(asked)))
        return 0
    report, no_disk = together(asked)
    text = page(report, asked.seed, asked.places, no_disk)
    if not asked.no_page:
        PAGE.write_text(text, encoding="utf-8")
    sys.stdout.write(text)
    return 1 if report.faults else 0


def play(asked: argparse.Namespace) -> Played:
    """The rounds that are the share of one desk. After a round that came to no end the next begin on a new one."""
    numbers = iter(range(asked.first + asked.part, asked.first + asked.rounds, asked.places))
    whole, no_disk, began = Report(), None, time.monotonic()
    for number in numbers:
        place = Place()
        no_disk = place.no_disk
        try:
            whole.add(Campaign(place, asked.seed, asked.keep).play(itertools.chain((number,), numbers)))
        finally:
            place.close()
    whole.seconds = time.monotonic() - began
    return whole, no_disk


def together(asked: argparse.Namespace) -> Played:
    """All desks, each with a process of its own."""
    words = [sys.executable, "-m", "tests.torture.run", *sys.argv[1:], "--part"]
    parts = [subprocess.Popen([*words, str(part)], stdout=subprocess.PIPE) for part in range(asked.places)]
    whole, no_disk = Report(), None
    for number, part in enumerate(parts):
        said, _ = part.communicate()
        if part.returncode != 0:
            whole.faults.append(f"desk {number + 1} came to no end: exit status {part.returncode}")
            continue
        report, no_disk = msgspec.json.decode(said, type=Played, dec_hook=_counter)
        whole.add(report)
    return whole, no_disk


def _counter(kind: type[Counter[str]], value: dict[str, int]) -> Counter[str]:
    return kind(value)


if __name__ == "__main__":
    sys.exit(main())

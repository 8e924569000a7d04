"""Output is written by the command itself: a million lines a second are no slower below the desk than without it."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

from nightdesk.model.config import JobSection
from tests.engine.test_supervisor import play, working

LINES, TRIES, FACTOR = 1_000_000, 3, 1.5
TALKS = f"""
import os, sys, time
lines = b"".join(b"a line of output that says something about item %d\\n" % n for n in range(100))
began = time.perf_counter()
for _ in range({LINES} // 100):
    os.write(1, lines)
with open(sys.argv[1], "a") as file:
    file.write(f"{{time.perf_counter() - began}}\\n")
"""


def fastest(path: Path) -> float:
    return min(map(float, path.read_text().split()))


def test_a_million_lines_cost_the_child_no_more_than_a_plain_file(tmp_path: Path) -> None:
    words = [sys.executable, "-S", "-c", TALKS]
    alone, below = tmp_path / "alone", tmp_path / "below"

    async def scene() -> None:
        async with working(tmp_path, a=JobSection(command=shlex.join([*words, str(below)]))) as world:
            for _ in range(TRIES):
                with (tmp_path / "plain").open("wb") as file:
                    subprocess.run([*words, str(alone)], stdout=file, check=True, env=dict(os.environ))
                run = await world.ended(await world.start("a"))
                assert Path(run.log_path or "").read_bytes().count(b"\n") == LINES

    play(scene())
    assert fastest(below) < fastest(alone) * FACTOR

"""Output is written by the command itself, straight into its log: nothing of ours is in the way of a chatty child."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

from nightdesk.model.config import JobSection
from tests.engine.test_supervisor import play, working

LINES = 1_000_000
TALKS = f"""
import json, os, stat, sys
lines = b"".join(b"a line of output that says something about item %d\\n" % n for n in range(100))
for _ in range({LINES} // 100):
    os.write(1, lines)
looks = [os.fstat(number) for number in (1, 2)]
with open(sys.argv[1], "w") as file:
    json.dump([[stat.S_ISREG(one.st_mode), one.st_dev, one.st_ino] for one in looks], file)
"""


def test_a_child_writes_a_million_lines_straight_into_its_log(tmp_path: Path) -> None:
    words = [sys.executable, "-S", "-c", TALKS, str(tmp_path / "outputs")]

    async def scene() -> None:
        async with working(tmp_path, a=JobSection(command=shlex.join(words))) as world:
            run = await world.ended(await world.start("a"))
            log = Path(run.log_path or "")
            assert log.read_bytes().count(b"\n") == LINES
            file = log.stat()
            outputs = json.loads((tmp_path / "outputs").read_text())
            assert outputs == [[True, file.st_dev, file.st_ino]] * 2

    play(scene())

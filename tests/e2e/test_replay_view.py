"""``nightdesk sensors --replay`` on a real terminal: a desk of its own that shows a recording and leaves nothing."""

from __future__ import annotations

from pathlib import Path

from tests.support.recordings import lines_of, macmon
from tests.support.world import TYPED, World, until


def test_a_recording_plays_in_the_viewer_and_nothing_is_left(world: World, tmp_path: Path) -> None:
    folders = Path(world.env["XDG_RUNTIME_DIR"]) / "nightdesk"
    (tmp_path / "night.jsonl").write_bytes(lines_of([macmon(0.5, second=second) for second in range(3)]))
    screen = world.screen(120, 30)
    screen.type(f"{TYPED} sensors --replay {tmp_path}/notes.txt")
    screen.wait_for("notes.txt")
    screen.type(f"{TYPED} sensors --replay {tmp_path}/night.jsonl")
    screen.wait_for("night.jsonl", "recording of macmon", "33.0 / 64.0 GB", "20.2 W", "estimate")
    screen.press("?")
    screen.wait_for("active", "is the share of time in which the device did anything")
    screen.press("Escape")
    screen.wait_for("recording of macmon", "estimate")
    screen.press("z")
    screen.wait_for("Processes", "recording of macmon")
    screen.press("q")
    screen.wait_for("recording closed")
    until(lambda: not list(folders.iterdir()) and not world.ours(), "nothing to be left")
    # Into a pipe its samples are printed at once, without a viewer.
    screen.type(f"{TYPED} sensors --replay {tmp_path}/night.jsonl | wc -l")
    screen.wait_for("3")

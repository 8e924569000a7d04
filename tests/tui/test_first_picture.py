import re
from pathlib import Path

import pytest

from nightdesk.tui.first_picture import TITLES, Ink, frames, ink_of, picture
from nightdesk.tui.panes.pane import Pane
from nightdesk.tui.screens.desk import MODES
from nightdesk.tui.theme_files import theme_file
from tests.support.viewer import FakeEngine, snapshot, viewer


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (160, 48), (101, 31), (60, 15), (99, 50), (59, 20)])
@pytest.mark.parametrize("mode", list(MODES))
async def test_the_first_frames_stand_where_the_viewer_puts_its_panes(
    size: tuple[int, int], mode: str
) -> None:
    app = viewer(FakeEngine(snapshot()), mode=mode)
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        shown = {
            pane.NUMBER: (pane.region.x, pane.region.y, pane.region.width, pane.region.height)
            for pane in app.desk_screen.query(Pane)
            if pane.region.width
        }
        titles = {pane.NUMBER: pane.TITLE for pane in app.desk_screen.query(Pane)}
    assert {f.number: (f.left, f.top, f.width, f.height) for f in frames(*size, mode)} == shown
    assert titles == TITLES


def test_the_first_picture_fills_exactly_the_terminal() -> None:
    drawn = picture(120, 40, "desk", "night", Ink(), ascii=False)
    rows = {int(row) for row in re.findall(r"\x1b\[(\d+);\d+H", drawn)}
    assert max(rows) == 40
    assert " nightdesk  night" in drawn
    assert "│" not in picture(120, 40, "desk", "night", Ink(), ascii=True)


def test_colours_are_used_only_where_the_terminal_shows_them(monkeypatch: pytest.MonkeyPatch) -> None:
    dark = theme_file("nightdesk-dark")
    assert ink_of(dark, {"COLORTERM": "truecolor"}).ground == "\x1b[48;2;17;21;28m"
    assert ink_of(dark, {"COLORTERM": "truecolor", "NO_COLOR": "1"}) == Ink()
    assert ink_of(dark, {}) == Ink()
    assert ink_of(theme_file("nightdesk-ansi"), {"COLORTERM": "truecolor"}) == Ink()


def test_a_broken_theme_file_is_left_to_the_viewer(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text("= broken")
    assert ink_of(tmp_path / "x.toml", {"COLORTERM": "truecolor"}) == Ink()

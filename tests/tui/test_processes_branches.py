"""The processes pane and its questions: folded branches, whose a process is, a tree that changes under a question."""

from __future__ import annotations

from nightdesk.tui.glyphs import UNICODE
from nightdesk.tui.panes.processes_view import Settings, select
from nightdesk.tui.widgets.grid import Grid
from tests.support.viewer import (
    NOW,
    NS,
    FakeEngine,
    key,
    mirror,
    process,
    replaced,
    screen_text,
    until,
    viewer,
)


def folded(*pids: int, **more: object) -> list[tuple[str, ...]]:
    """CPU, memory and command of the rows with these branches folded."""
    view = select(
        mirror(**more), NOW, Settings(order="pid"), UNICODE, folded=frozenset(key(pid) for pid in pids)
    )
    return [(row.cells[1].plain, row.cells[2].plain, row.cells[-1].plain) for row in view.rows]


def test_a_folded_branch_shows_how_many_are_below_and_what_they_use() -> None:
    used = {"cpu_ratio": 0.5, "rss_bytes": 1_000_000_000}
    rows = (
        process(1, 0, "root", "run", **used),
        process(2, 1, "a", "run", **used),
        process(3, 2, "b", "run", **used),
        process(4, 1, "c", "run", **used),
    )
    own = ("50%", "1.0 GB")
    assert folded(2, processes=rows) == [
        (*own, "root"),
        (*own, "├─ ▸ 1 below: 50%, 1.0 GB  a"),
        (*own, "└─ c"),
    ]
    assert folded(1, 2, processes=rows) == [(*own, "▸ 3 below: 150%, 3.0 GB  root")]
    assert folded(3, processes=rows)[2][-1] == "│  └─ b", "nothing is below it"


def test_parts_of_nightdesk_and_processes_of_another_desk_say_so() -> None:
    rows = (
        process(1, 0, "python -m nightdesk.engine", part="engine"),
        process(2, 0, "python scripts/a.py", "watched", desk="voices"),
    )
    view = select(mirror(processes=rows), NOW, Settings(everything=True), UNICODE)
    at = [column.key for column in view.columns].index("owner")
    assert [row.cells[at].plain for row in view.rows] == ["desk voices", "engine"]


async def test_minus_folds_a_branch_from_wherever_the_cursor_is_in_it(engine: FakeEngine) -> None:
    app = viewer(engine)
    async with app.run_test(size=(160, 48)) as pilot:
        await until(pilot, lambda: "└─ ffmpeg" in screen_text(app))
        await pilot.press("4", "j", "j", "minus")
        await until(pilot, lambda: "▸ 1 below: " in screen_text(app))
        assert "└─ ffmpeg" not in screen_text(app)
        assert app.desk_screen.query_one("#processes-grid", Grid).cursor_key == key(4091)
        await pilot.press("minus")
        await until(pilot, lambda: "└─ ffmpeg" in screen_text(app))
        await pilot.press("t", "minus")
        assert " below: " not in screen_text(app), "a flat list has no branches"


async def test_the_question_follows_the_tree_while_it_stands(engine: FakeEngine) -> None:
    now = [NOW]
    app = viewer(engine, clock=lambda: now[0])
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await until(pilot, lambda: "orphan" in screen_text(app))
        await pilot.press("4", "x")
        await until(pilot, lambda: "these 2 processes" in screen_text(app))
        assert "Up to 20.0 GB of memory come back." in screen_text(app)
        assert "⚠ orphan" in screen_text(app), "whose each one is"
        engine.members = (replaced(engine.members[0], share_bytes=7_000_000_000),)
        app.on_feed_requested()
        now[0] += 3 * NS
        app.on_feed_requested()
        await until(pilot, lambda: "SIGTERM to this process" in screen_text(app))
        assert " 7.0 GB of memory come back." in screen_text(app)
        engine.members = ()
        now[0] += 3 * NS
        app.on_feed_requested()
        await until(pilot, lambda: "Nothing of it runs" in screen_text(app))
        await pilot.press("n")
        assert engine.asked == []

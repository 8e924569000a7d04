"""The processes pane: order, tree, folding, and signals to exactly one tree."""

from __future__ import annotations

from nightdesk.core.process_query import parse
from nightdesk.model.desk import ProcessesChanged
from nightdesk.tui.glyphs import UNICODE
from nightdesk.tui.panes.processes_view import Filter, Settings, arrange, select
from nightdesk.tui.screens.confirm import ConfirmScreen
from tests.support.viewer import (
    NOW,
    FakeEngine,
    key,
    mirror,
    process,
    replaced,
    screen_text,
    snapshot,
    until,
    viewer,
)


def commands(settings: Settings, sought: str = "", **more: object) -> list[str]:
    """The last column of the pane's rows."""
    query = parse(sought)
    wanted = Filter(sought, query.matches, query.words)
    return [row.cells[-1].plain for row in select(mirror(**more), NOW, settings, UNICODE, wanted).rows]


def test_ours_come_first_orphans_with_their_reason_and_the_rest_is_counted() -> None:
    assert commands(Settings()) == [
        "python old.py  ⚠ its run is gone",
        "python scripts/transcribe.py a.mp3",
        "└─ ffmpeg -i a.mp3",
        "ollama serve",
        "▸ 100 others  a shows them",
    ]


def test_a_command_is_told_without_the_folder_of_its_program() -> None:
    rows = (
        process(1, 0, "/very/long/venv/bin/python scripts/a.py", "run", name="python"),
        process(2, 0, "/Applications/Some App.app/x", "run", name="x"),
        process(3, 0, "", "run", name="kthread"),
    )
    told = commands(Settings(order="pid"), processes=rows)
    assert told == ["python scripts/a.py", "/Applications/Some App.app/x", "kthread"]


def test_everything_shows_the_others_as_well() -> None:
    assert len(commands(Settings(everything=True))) == 104


def test_the_filter_looks_at_all_processes_and_shows_a_flat_list() -> None:
    assert commands(Settings(), "DAEMON7 ") == ["daemon7 --quiet"]
    assert commands(Settings(), "4120") == ["ffmpeg -i a.mp3"]
    assert commands(Settings(), "owner:orphan") == ["python old.py  ⚠ its run is gone"]
    assert commands(Settings(), "mem>1gb -owner:orphan") == ["python scripts/transcribe.py a.mp3"]


def test_orders_apply_among_siblings() -> None:
    rows = tuple(process(pid, 1, f"p{pid}", "run", rss_bytes=pid * 1000) for pid in (10, 30, 20))
    assert commands(Settings(order="mem"), processes=rows) == ["p30", "p20", "p10"]
    assert commands(Settings(order="pid"), processes=rows) == ["p10", "p20", "p30"]


def test_branches_are_drawn_with_lines() -> None:
    rows = (
        process(1, 0, "root", "run"),
        process(2, 1, "a", "run"),
        process(3, 2, "b", "run"),
        process(4, 1, "c", "run"),
    )
    assert commands(Settings(order="pid"), processes=rows) == ["root", "├─ a", "│  └─ b", "└─ c"]


def test_circles_of_parents_neither_hang_nor_lose_a_process() -> None:
    rows = [process(1, 2, "a"), process(2, 1, "b"), process(3, 3, "c"), process(4, 1, "d")]
    assert sorted(row.key.pid for row, _ in arrange(rows, "pid")) == [1, 2, 3, 4]


def test_a_deep_chain_is_no_problem() -> None:
    rows = [process(pid, pid - 1, "x") for pid in range(1, 5000)]
    assert len(list(arrange(rows, "cpu"))) == 4999


def test_what_is_unknown_is_a_dash_and_not_zero() -> None:
    row = process(5, 1, "x", "run", cpu_ratio=None, rss_bytes=None)
    cells = select(mirror(processes=(row,)), NOW, Settings(), UNICODE).rows[0].cells
    assert [cell.plain for cell in cells[1:3]] == ["–", "–"]


async def test_keys_change_order_tree_and_folding(engine: FakeEngine) -> None:
    app = viewer(engine)
    async with app.run_test(size=(160, 48)) as pilot:
        await until(pilot, lambda: "100 others" in screen_text(app))
        await pilot.press("4", "o")
        assert "tree · ours · by mem" in screen_text(app)
        await pilot.press("t", "a")
        assert "flat · all · by mem" in screen_text(app)


async def test_kill_asks_for_the_tree_and_hits_that_process_by_identity(engine: FakeEngine) -> None:
    app = viewer(engine)
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await until(pilot, lambda: "orphan" in screen_text(app))
        await pilot.press("4", "K")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen) and "child.py" in screen_text(app))
        # The table goes on moving below the question; the question keeps its process.
        engine.more.put_nowait(ProcessesChanged(at_ns=NOW, changed=(), gone=(key(4091),)))
        await pilot.press("y")
        await until(pilot, lambda: bool(engine.asked))
        assert engine.asked == [("signal", key(3900), "kill")]
        await until(pilot, lambda: "2 killed, 0 left, 20.0 GB back." in screen_text(app))


async def test_p_resumes_what_is_stopped(engine: FakeEngine) -> None:
    rows = engine.first.processes
    engine.first = snapshot(
        processes=tuple(replaced(row, state="T") if row.key.pid == 3900 else row for row in rows)
    )
    app = viewer(engine)
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: "orphan" in screen_text(app))
        await pilot.press("4", "p")
        await until(pilot, lambda: bool(engine.asked))
        assert engine.asked == [("signal", key(3900), "resume")]


async def test_no_signal_goes_to_the_line_that_counts_the_others(engine: FakeEngine) -> None:
    app = viewer(engine)
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: "100 others" in screen_text(app))
        await pilot.press("4", "G", "K", "x", "p")
        assert engine.asked == [] and app.screen is app.desk_screen
        await pilot.press("enter")
        await until(pilot, lambda: "all" in screen_text(app))


async def test_the_reason_of_an_orphan_stands_at_the_border_when_the_line_is_too_short(
    engine: FakeEngine,
) -> None:
    app = viewer(engine)
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: "3900: its run is gone" in screen_text(app))
        await pilot.press("4", "j")
        await until(pilot, lambda: "3900: its run is gone" not in screen_text(app))



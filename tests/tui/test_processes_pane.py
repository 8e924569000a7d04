"""The processes pane: order, tree, folding, and signals to exactly one tree."""

from __future__ import annotations

from typing import Any

from nightdesk.core.processes.query import parse
from nightdesk.model.desk import ProcessesChanged
from nightdesk.model.errors import NightdeskError
from nightdesk.model.inspected import OpenFile, OpenSocket, ProcessDetail, ProcessHistory
from nightdesk.tui.app import Viewer
from nightdesk.tui.commands import commands_of
from nightdesk.tui.glyphs import UNICODE
from nightdesk.tui.panes.processes_view import Filter, Settings, arrange, select
from nightdesk.tui.screens.columns import ColumnsScreen
from nightdesk.tui.screens.confirm import ConfirmScreen
from nightdesk.tui.screens.process import ProcessScreen
from nightdesk.tui.screens.stacks import StacksScreen
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
        process(4, 0, "/home/me/my desk/.venv/bin/python -m a /x/python", "run", name="python"),
        process(5, 0, "/opt/runner /x/python", "run", name="python"),
    )
    told = commands(Settings(order="pid"), processes=rows)
    assert told == ["python scripts/a.py", "x", "kthread", "python -m a /x/python", "/opt/runner /x/python"]


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


def columns_shown(app: Viewer) -> list[str]:
    """The titles of the pane's columns."""
    return [column.key for column in app.query_one("#processes-grid", Grid).columns]


async def ready(pilot: Any, app: Viewer) -> None:
    await until(pilot, lambda: "100 others" in screen_text(app))
    await pilot.press("4", "g")


async def test_o_goes_through_the_orders_and_shift_o_turns_them_round(engine: FakeEngine) -> None:
    app = viewer(engine)
    async with app.run_test(size=(160, 48)) as pilot:
        await ready(pilot, app)
        for order in ("mem", "gpu", "age", "pid", "threads", "user", "command", "cpu"):
            await pilot.press("o")
            assert f"by {order}" in screen_text(app)
        await pilot.press("O")
        assert "by cpu ▲" in screen_text(app)
        await pilot.press("O")
        assert "by cpu ▲" not in screen_text(app)


async def test_c_chooses_columns_and_they_are_found_again(engine: FakeEngine) -> None:
    app = viewer(engine)
    async with app.run_test(size=(160, 48)) as pilot:
        await ready(pilot, app)
        assert "user" not in columns_shown(app)
        await pilot.press("c")
        await until(pilot, lambda: isinstance(app.screen, ColumnsScreen))
        assert "Columns of processes" in screen_text(app)
        await pilot.press("j", "j", "space", "escape")
        await until(pilot, lambda: "user" in columns_shown(app))
        assert columns_shown(app)[-1] == "command"
    again = viewer(engine)
    async with again.run_test(size=(160, 48)) as pilot:
        await until(pilot, lambda: "100 others" in screen_text(again))
        assert "user" in columns_shown(again)
        await pilot.press("4", "c")
        await until(pilot, lambda: isinstance(again.screen, ColumnsScreen))
        await pilot.press("u")
        await until(pilot, lambda: "user" not in columns_shown(again))


async def test_the_filter_takes_keys_completes_them_and_says_what_is_wrong(engine: FakeEngine) -> None:
    app = viewer(engine)
    async with app.run_test(size=(120, 40)) as pilot:
        await ready(pilot, app)
        await pilot.press("slash", *"ow")
        await until(pilot, lambda: "owner:" in screen_text(app))
        await pilot.press("tab", *"orphan")
        await until(pilot, lambda: "old.py" in screen_text(app) and "ollama serve" not in screen_text(app))
        for _ in "owner:orphan":
            await pilot.press("backspace")
        await pilot.press(*"cpu:5")
        await until(pilot, lambda: "cpu: needs a comparison." in screen_text(app))
        await pilot.press("backspace", "backspace", *">50")
        await until(pilot, lambda: "transcribe.py" in screen_text(app) and "old.py" not in screen_text(app))
        await pilot.press("enter")
        assert "flat" in screen_text(app) and "/cpu>50" in screen_text(app)
        await pilot.press("escape")
        await until(pilot, lambda: "100 others" in screen_text(app))


async def test_what_listens_on_a_port_shows_it_and_is_found_by_it(engine: FakeEngine) -> None:
    rows = engine.first.processes
    engine.first = snapshot(
        processes=tuple(replaced(row, ports=(11434,)) if row.key.pid == 900 else row for row in rows)
    )
    app = viewer(engine)
    async with app.run_test(size=(160, 48)) as pilot:
        await ready(pilot, app)
        await pilot.press("z")
        await until(pilot, lambda: "ports" in columns_shown(app) and "11434" in screen_text(app))
        await pilot.press("slash", *"port:11434", "enter")
        await until(pilot, lambda: "ollama serve" in screen_text(app) and "old.py" not in screen_text(app))


async def test_several_are_tagged_and_stopped_after_one_question(engine: FakeEngine) -> None:
    app = viewer(engine)
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await ready(pilot, app)
        await pilot.press("space", "j", "space")
        await until(pilot, lambda: "2 tagged" in screen_text(app))
        await pilot.press("x")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen))
        assert "2 tagged processes and what is below them" in screen_text(app)
        await pilot.press("y")
        await until(pilot, lambda: bool(engine.asked))
        assert engine.asked == [("signal_several", (key(4120), key(3900)), "stop")] or engine.asked == [
            ("signal_several", tuple(sorted((key(3900), key(4120)))), "stop")
        ]
        await until(pilot, lambda: "1 ended, 1 had to be killed, 0 left, 20.0 GB back." in screen_text(app))
        await pilot.press("escape")
        await until(pilot, lambda: "tagged" not in screen_text(app))


async def test_pausing_the_first_process_of_a_run_asks_for_nothing_and_killing_it_names_the_run(
    engine: FakeEngine,
) -> None:
    runs = engine.first.runs
    engine.first = snapshot(
        runs=tuple(replaced(run, process=key(4091)) if run.id == "transcribe-1" else run for run in runs)
    )
    app = viewer(engine)
    async with app.run_test(size=(120, 40)) as pilot:
        await ready(pilot, app)
        await pilot.press("j", "p")
        await until(pilot, lambda: bool(engine.asked))
        assert engine.asked == [("signal", key(4091), "pause")]
        await pilot.press("K")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen))
        assert "run transcribe-1, whose first process this is" in screen_text(app)
        await pilot.press("n")


async def test_shift_x_lists_all_orphans_with_reason_memory_and_ports_before_it_ends_them(
    engine: FakeEngine,
) -> None:
    app = viewer(engine)
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await ready(pilot, app)
        await pilot.press("X")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen))
        text = screen_text(app)
        assert "1 orphan and what is below" in text
        assert "its run is gone" in text
        assert "They also hold port 8080." in text
        assert "20.0 GB of memory come back" in text
        await pilot.press("n")
        assert engine.asked == []
        await pilot.press("X")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen))
        await pilot.press("y")
        await until(pilot, lambda: engine.asked == [("clean", (key(3900),))])
        await until(pilot, lambda: "0 left, 20.0 GB back." in screen_text(app))


async def test_without_orphans_the_clean_up_says_so(engine: FakeEngine) -> None:
    engine.first = snapshot(processes=tuple(r for r in engine.first.processes if r.owner != "orphan"))
    app = viewer(engine)
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await ready(pilot, app)
        await pilot.press("X")
        await until(pilot, lambda: "There are no orphans." in screen_text(app))


async def test_shift_e_stops_everything_after_showing_it(engine: FakeEngine) -> None:
    app = viewer(engine)
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await ready(pilot, app)
        await pilot.press("E")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen))
        assert "everything that this desk has started" in screen_text(app)
        assert "Then these models are unloaded: llama3.1:8b." in " ".join(screen_text(app).split())
        await pilot.press("y")
        await until(pilot, lambda: engine.asked == [("stop_all",)])
        await until(pilot, lambda: "Unloaded llama3.1:8b" in screen_text(app))


async def test_the_palette_stops_everything_and_cleans_up(engine: FakeEngine) -> None:
    app = viewer(engine)
    async with app.run_test(size=(120, 40)) as pilot:
        await ready(pilot, app)
        words = [command.words for command in commands_of(app)]
        assert "Stop everything" in words and "Clean up all orphans" in words


async def test_enter_shows_one_process_in_full(engine: FakeEngine) -> None:
    engine.details[3900] = detail_of(engine)
    app = viewer(engine)
    async with app.run_test(size=(120, 40)) as pilot:
        await ready(pilot, app)
        await pilot.press("enter")
        await until(pilot, lambda: "waits for a lock" in screen_text(app))
        text = screen_text(app)
        for words in (
            "Process 3900 python",
            "its run is gone",
            "/home/ada/night",
            "run transcribe-0",
            "127.0.0.1:8080  LISTEN",
            "/data/a.mp3",
            "1 below it",
            "It belongs to ada: only ada or root may see this.",
        ):
            assert words in text, words
        await until(pilot, lambda: "cpu" in screen_text(app) and "last 10 min" in screen_text(app))
        await pilot.press("j", "k", "x")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen))
        await pilot.press("n", "p")
        await until(pilot, lambda: engine.asked == [("signal", key(3900), "pause")])
        await pilot.press("K")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen))
        await pilot.press("n", "S")
        await until(pilot, lambda: isinstance(app.screen, StacksScreen))
        await pilot.press("escape", "escape")
        assert app.screen is app.desk_screen


async def test_a_process_that_is_gone_says_so(engine: FakeEngine) -> None:
    app = viewer(engine)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: app.link.mirror is not None)
        app.push_screen(ProcessScreen(key(99)))
        await until(pilot, lambda: "It is gone." in screen_text(app))
        await pilot.press("x", "K", "p", "S")
        assert engine.asked == [] and isinstance(app.screen, ProcessScreen)


async def test_a_young_history_says_when_the_chart_comes(engine: FakeEngine) -> None:
    app = viewer(engine)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: app.link.mirror is not None)
        app.push_screen(ProcessScreen(key(4091)))
        await until(pilot, lambda: "It begins now." in screen_text(app))


async def test_shift_s_shows_stacks_and_r_compares_them_with_the_ones_before(engine: FakeEngine) -> None:
    app = viewer(engine)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "orphan" in screen_text(app))
        await pilot.press("4", "g", "S")
        await until(pilot, lambda: "wait (old.py:7)" in screen_text(app))
        assert engine.asked == [("stacks", key(3900))]
        await pilot.press("j", "k", "r")
        await until(pilot, lambda: "exactly as before" in screen_text(app))
        await pilot.press("escape")
        assert app.screen is app.desk_screen


async def test_stacks_that_can_not_be_read_say_what_to_install(engine: FakeEngine) -> None:
    engine.refuses = NightdeskError("py-spy is not installed.", "Install it: pip install py-spy")
    app = viewer(engine)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "orphan" in screen_text(app))
        await pilot.press("4", "g", "S")
        await until(pilot, lambda: "Install it: pip install py-spy" in screen_text(app))


async def test_enter_unfolds_the_others_and_no_tag_falls_on_their_line(engine: FakeEngine) -> None:
    app = viewer(engine)
    async with app.run_test(size=(160, 48)) as pilot:
        await ready(pilot, app)
        await pilot.press("G", "space", "S")
        assert "tagged" not in screen_text(app) and app.screen is app.desk_screen
        await until(pilot, lambda: "x stop" not in screen_text(app))
        await pilot.press("enter")
        await until(pilot, lambda: "100 others" not in screen_text(app))


def detail_of(engine: FakeEngine) -> ProcessDetail:
    """The orphan of the standard night in full."""
    row = next(row for row in engine.first.processes if row.key.pid == 3900)
    steps = tuple(range(NOW - 300 * NS, NOW, 10 * NS))
    return ProcessDetail(
        row=replaced(row, name="python"),
        at_ns=NOW,
        parent="systemd",
        folder="/home/ada/night",
        markers={"NIGHTDESK_RUN": "transcribe-0", "NIGHTDESK_JOB": "transcribe"},
        waits_for="waits for a lock, or another thread (futex_wait_queue)",
        files=(OpenFile(descriptor=4, path="/data/a.mp3", size_bytes=12_000_000),),
        files_total=1,
        sockets=(OpenSocket(kind="tcp", local="127.0.0.1:8080", state="LISTEN"),),
        sockets_total=1,
        children=engine.members[1:],
        history=ProcessHistory(
            key=row.key,
            step_ns=10 * NS,
            at_ns=steps,
            cpu_ratio=tuple(0.5 for _ in steps),
            rss_bytes=tuple(20_000_000_000 for _ in steps),
            device_bytes=tuple(None for _ in steps),
        ),
        unknown={"program": "It belongs to ada: only ada or root may see this."},
    )

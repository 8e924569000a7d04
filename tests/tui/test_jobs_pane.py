"""The jobs pane: lines, keys, the picker, the detail."""

from __future__ import annotations

import pytest

from nightdesk.model.job import Failure, StartRun
from nightdesk.model.logs import Progress
from nightdesk.tui.glyphs import UNICODE
from nightdesk.tui.panes.job_lines import select
from nightdesk.tui.screens.confirm import ConfirmScreen
from nightdesk.tui.screens.items import ItemScreen
from nightdesk.tui.screens.job import JobScreen
from tests.support.viewer import (
    NOW,
    NS,
    FakeEngine,
    job,
    mirror,
    replaced,
    run,
    screen_text,
    snapshot,
    until,
    viewer,
)


def lines(**more: object) -> list[str]:
    """The pane's lines as text."""
    view = select(mirror(**more), NOW, UNICODE)
    return [" ".join(" ".join(cell.plain for cell in row.cells).split()) for row in view.rows]


def test_each_job_has_a_line_that_tells_its_state() -> None:
    assert lines() == [
        "▶ transcribe ███████████▍░░░░ 37/52 ETA 1h12m · 13 file/h",
        "◷ synthesize waits for transcribe",
        "✗ report 02:13 out of memory",
    ]


async def test_a_narrow_pane_leaves_out_the_rate_and_not_the_time_left(engine: FakeEngine) -> None:
    app = viewer(engine)
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: "37/52  ETA 1h12m" in screen_text(app))
        assert "file/h" not in screen_text(app)


def test_the_time_left_counts_down_between_progress_lines() -> None:
    progress = Progress(done=1, total=2, eta_ns=60 * NS, at_ns=NOW - 20 * NS, source="counter")
    told = lines(jobs=(job("a"),), runs=(run("a", "running", progress=progress),))
    assert told[0].endswith("1/2 ETA 40.0s")


def test_a_percentage_is_told_once_and_without_a_rate() -> None:
    progress = Progress(
        done=22, total=100, unit="%", rate_per_s=0.44, eta_ns=177 * NS, at_ns=NOW, source="percent"
    )
    told = lines(jobs=(job("a"),), runs=(run("a", "running", progress=progress),))
    assert told[0].endswith("░ 22 % ETA 2m57s")


def test_a_single_item_keeps_its_mark_and_is_whole_once_it_ended_well() -> None:
    progress = Progress(done=0, total=1, at_ns=NOW, source="counter")
    one = run("synthesize", "done", mode="single", progress=progress)
    assert lines(jobs=(job("synthesize"),), runs=(one,))[0].startswith("✓ synthesize (1) ████████████████ ")
    assert " 1/1 " in lines(jobs=(job("synthesize"),), runs=(one,))[0] + " "
    assert " 0/1 " in lines(jobs=(job("synthesize"),), runs=(replaced(one, state="stopped"),))[0] + " "
    told = replaced(one, progress=replaced(progress, source="state"))
    assert " 1/1 " in lines(jobs=(job("synthesize"),), runs=(told,))[0] + " "


def test_a_run_without_progress_tells_how_long_it_runs() -> None:
    assert lines(jobs=(job("a"),), runs=(run("a", "running"),)) == ["▶ a for 10m00s"]


def test_a_paused_run_tells_since_when() -> None:
    told = lines(jobs=(job("a"),), runs=(run("a", "paused", paused_ns=NOW),))
    assert told[0].startswith("‖ a paused ") and ":" in told[0]


def test_a_job_that_never_ran_and_one_with_two_runs() -> None:
    two = (
        run("a", "running", id="a-1"),
        run("a", "waiting", id="a-2", mode="single", reason="waits for a slot"),
    )
    assert lines(jobs=(job("a"), job("b")), runs=two) == [
        "◷ a (1) waits for a slot",
        "▶ a for 10m00s",
        "· b not started yet",
    ]


def test_the_newest_run_is_told_although_the_job_was_described_before_it_began() -> None:
    runs = (
        run("a", "stopped", id="a-1", created_ns=NOW - 100 * NS, ended_ns=NOW - 90 * NS),
        run("a", "done", id="a-2", created_ns=NOW - 9 * NS, ended_ns=NOW - 5 * NS),
    )
    told = lines(jobs=(job("a", last_run="a-1"),), runs=runs)
    assert told[0].startswith("✓ a done")


def test_a_try_of_one_item_does_not_hide_how_the_whole_run_ended() -> None:
    whole = run("a", "failed", id="a-1", items_total=9, items_done=8, items_failed=1, created_ns=NOW - 9 * NS)
    one = run("a", "done", id="a-2", mode="single", created_ns=NOW - NS, ended_ns=NOW)
    view = select(mirror(jobs=(job("a"),), runs=(whole, one)), NOW, UNICODE)
    assert view.lines[0].run == whole
    assert lines(jobs=(job("a"),), runs=(one,))[0].startswith("✓ a (1) done")
    again = replaced(one, state="running", id="a-3")
    assert lines(jobs=(job("a"),), runs=(whole, one, again))[0].startswith("▶ a (1)")


def test_the_filter_looks_at_names_commands_and_states() -> None:
    found = select(mirror(), NOW, UNICODE, "WAITING")
    assert [line.job.name for line in found.lines] == ["synthesize"]


@pytest.mark.parametrize(("size", "shows"), [((80, 24), 60), ((120, 40), 36), ((160, 48), 53)])
async def test_why_a_run_waits_and_the_class_of_a_failure_are_read_at_every_size(
    engine: FakeEngine, size: tuple[int, int], shows: int
) -> None:
    """They stand first, and take the room of the bar that they do not have."""
    reason = "Waits for the gpu, which transcribe uses."
    refused = Failure(kind="connection_refused", evidence="httpx.ConnectError: [Errno 111]")
    engine.first = snapshot(
        jobs=(job("synthesize"), job("report")),
        runs=(
            run("synthesize", "waiting", reason=reason, expected_ns=NOW + 12 * 60 * NS),
            run("report", "failed", failure=refused, ended_ns=NOW),
        ),
    )
    app = viewer(engine)
    async with app.run_test(size=size) as pilot:
        words = "in about 12 min · gpu, which transcribe uses"[:shows]
        await until(pilot, lambda: f"synthesize  {words}" in screen_text(app))
        assert "connection refused: httpx" in screen_text(app)


def test_a_name_and_a_count_take_no_more_cells_than_they_need() -> None:
    jobs = (job("synthesize_all_interviews"), job("b"))
    runs = (run("synthesize_all_interviews", "running"), run("b", "running"))
    for room, drawn in (
        (50, "synthesize_a…"),
        (90, "synthesize_all_in…"),
        (140, "synthesize_all_interviews"),
    ):
        view = select(mirror(jobs=jobs, runs=runs), NOW, UNICODE, room=room)
        assert [row.cells[1].plain for row in view.rows] == [drawn, "b"]
    assert select(mirror(jobs=jobs[1:], runs=runs), NOW, UNICODE, room=50).columns[1].width == 6


async def test_a_desk_without_jobs_says_how_to_write_one(engine: FakeEngine) -> None:
    engine.first = snapshot(jobs=(), runs=())
    app = viewer(engine)
    async with app.run_test(size=(160, 48)) as pilot:
        await until(pilot, lambda: "This desk has no jobs yet." in screen_text(app))
        assert "[jobs.night]" in screen_text(app)


@pytest.mark.parametrize(
    ("keys", "asked"),
    [
        (["s"], ("start", StartRun(job="transcribe"))),
        (["j", "d"], ("start", StartRun(job="synthesize", mode="dry"))),
        (["p"], ("act", "transcribe-1", "pause")),
    ],
)
async def test_keys_ask_the_engine(engine: FakeEngine, keys: list[str], asked: tuple[object, ...]) -> None:
    app = viewer(engine)
    async with app.run_test(size=(160, 48)) as pilot:
        await until(pilot, lambda: "transcribe" in screen_text(app))
        await pilot.press(*keys)
        await until(pilot, lambda: bool(engine.asked))
        assert engine.asked == [asked]


async def test_keys_that_make_no_sense_for_a_job_are_not_offered(engine: FakeEngine) -> None:
    app = viewer(engine)
    async with app.run_test(size=(160, 48)) as pilot:
        await until(pilot, lambda: "single item" in screen_text(app))
        await pilot.press("G")
        await until(pilot, lambda: "single item" not in screen_text(app))
        await pilot.press("t", "d", "p", "x", "K")
        assert engine.asked == [] and app.screen is app.desk_screen


async def test_killing_shows_what_will_be_hit_and_only_y_does_it(engine: FakeEngine) -> None:
    app = viewer(engine)
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: "transcribe" in screen_text(app))
        for refusal in ("n", "escape"):
            await pilot.press("K")
            await until(
                pilot, lambda: isinstance(app.screen, ConfirmScreen) and "child.py" in screen_text(app)
            )
            assert "SIGKILL to these 2 processes" in screen_text(app)
            assert "20.0 GB of memory" in screen_text(app)
            await pilot.press("enter", refusal)
            await until(pilot, lambda: app.screen is app.desk_screen)
            assert engine.asked == []
        await pilot.press("x")
        await until(pilot, lambda: "SIGTERM" in screen_text(app))
        await pilot.press("y")
        await until(pilot, lambda: bool(engine.asked))
        assert engine.asked == [("act", "transcribe-1", "stop")]


async def test_a_single_item_is_picked_from_the_filtered_list(engine: FakeEngine) -> None:
    app = viewer(engine)
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: "transcribe" in screen_text(app))
        await pilot.press("t")
        await until(pilot, lambda: isinstance(app.screen, ItemScreen))
        await pilot.press("1", "down", "enter")
        await until(pilot, lambda: bool(engine.asked))
        request = StartRun(job="transcribe", mode="single", item="audio/session_10.mp3")
        assert engine.asked == [("start", request)]


async def test_an_item_that_is_not_listed_can_be_typed(engine: FakeEngine) -> None:
    app = viewer(engine)
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: "transcribe" in screen_text(app))
        await pilot.press("t")
        await until(pilot, lambda: isinstance(app.screen, ItemScreen))
        await pilot.press(*"zz.wav", "enter")
        await until(pilot, lambda: bool(engine.asked))
        assert engine.asked[0][1].item == "zz.wav"


async def test_enter_shows_the_job_with_the_evidence_of_its_failure(engine: FakeEngine) -> None:
    app = viewer(engine)
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: "report" in screen_text(app))
        await pilot.press("G", "enter")
        await until(pilot, lambda: isinstance(app.screen, JobScreen) and "failure" in screen_text(app))
        text = screen_text(app)
        assert "python report.py" in text and "with status 1" in text and "out of memory" in text
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is app.desk_screen)


async def test_the_filter_is_typed_kept_and_cleared(engine: FakeEngine) -> None:
    app = viewer(engine)
    async with app.run_test(size=(160, 48)) as pilot:
        await until(pilot, lambda: "report" in screen_text(app))
        await pilot.press("slash", *"rep")
        await until(pilot, lambda: "synthesize" not in screen_text(app).split("Processes")[0])
        keys = screen_text(app).splitlines()[-1]
        assert "⏎ keep" in keys and "esc clear" in keys
        assert "/ filter" not in keys and "? help" not in keys
        await pilot.press("enter")
        assert "/rep" in screen_text(app)
        await pilot.press("escape")
        await until(pilot, lambda: "synthesize" in screen_text(app))
        await pilot.press("slash", *"zzz")
        await until(pilot, lambda: "No job matches “zzz”." in screen_text(app))
        await pilot.press("escape")
        await until(pilot, lambda: "synthesize" in screen_text(app))


async def test_a_pane_that_grows_shows_more_at_once(engine: FakeEngine) -> None:
    app = viewer(engine)
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: "37/52  ETA 1h12m" in screen_text(app))
        assert "13 file/h" not in screen_text(app)
        await pilot.press("J")
        await until(pilot, lambda: "ETA 1h12m · 13 file/h" in screen_text(app), seconds=10)


async def test_enter_on_a_run_without_items_tells_why_it_failed_and_a_long_path_begins_beside_its_name(
    engine: FakeEngine,
) -> None:
    path = "/desk/.nightdesk/runs/" + "report-20251121-020400-000001/" * 5 + "report.log"
    failed = run("report", "failed", failure=Failure(kind="oom", evidence="x"), log_path=path)
    engine.first = snapshot(jobs=(job("report", uses={"gpu": 1}, needs_items=("fetch",)),), runs=(failed,))
    app = viewer(engine)
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: "report" in screen_text(app))
        await pilot.press("enter")
        await until(pilot, lambda: f"log       {path[:40]}" in screen_text(app))
        text = screen_text(app)
        assert "uses      1 gpu" in text and "needs     the items of fetch" in text
        await pilot.press("enter")
        await until(pilot, lambda: "Why report" in screen_text(app))

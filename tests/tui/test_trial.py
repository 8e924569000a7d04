"""The sheet of a single run and of a dry run, and the keys of the jobs pane that lead to it."""

from __future__ import annotations

from typing import Any

import pytest
from textual.pilot import Pilot

from nightdesk.model.base import ProcessKey
from nightdesk.model.exchange import ExchangeRow
from nightdesk.model.items import ItemComparison, ItemOutcome
from nightdesk.model.job import Flight, Run, StartRun
from nightdesk.model.sample import Cpu, Device, DeviceProcess, Sample
from nightdesk.tui.app import Viewer
from nightdesk.tui.glyphs import ASCII, UNICODE
from nightdesk.tui.panes.job_lines import bar_of, note_of
from nightdesk.tui.screens.items import ItemScreen
from nightdesk.tui.screens.run_items import RunItemsScreen
from nightdesk.tui.screens.trial import TrialScreen
from nightdesk.tui.screens.trial_pages import accelerator_lines, comparison_rows
from nightdesk.tui.widgets.diffview import Look
from tests.support.items import RUN, ItemEngine
from tests.support.viewer import NOW, NS, replaced, run, screen_text, until, viewer

SINGLE = "transcribe-2"


def night(mode: str = "single", **more: Any) -> ItemEngine:
    """A desk where a single (or dry) run of the job has ended."""
    engine = ItemEngine(60)
    item = "audio/part_000001.mp3" if mode == "single" else None
    given = {"state": "done", "started_ns": NOW - 8 * NS, "ended_ns": NOW - 4 * NS, "log": "abc", **more}
    state = given.pop("state")
    single = run("transcribe", state, id=SINGLE, mode=mode, item=item, created_ns=NOW - 9 * NS, **given)
    exchange = ExchangeRow(
        id=7, state="complete", started_ns=NOW - 7 * NS, ended_ns=NOW - 6 * NS, operation="chat",
        dialect="ollama", model="qwen3:8b", prompt_tokens=3100, reply_tokens=88, run=SINGLE, fragments=3,
        tail="the golden river",
    )  # fmt: skip
    other = replaced(exchange, id=8, run=RUN, model="llama3.1:8b")
    sample = Sample(
        at_ns=NOW - 6 * NS,
        elapsed_ns=NS,
        source="nvml",
        cpu=Cpu(ratio=0.5),
        devices=(
            Device(
                id="0", kind="gpu", name="H100", active_ratio=0.9, power_w=310.0, memory_used_bytes=20 * 10**9,
                processes=(DeviceProcess(pid=4091, memory_bytes=7 * 10**9),),
            ),
        ),
    )  # fmt: skip
    before = replaced(sample, at_ns=NOW - 60 * NS)
    engine.first = replaced(
        engine.first, runs=(*engine.first.runs, single), exchanges=(exchange, other), samples=(before, sample)
    )
    return engine


async def shown(pilot: Pilot[int], app: Viewer, words: str) -> None:
    """The sheet, opened as a start opens it."""
    await until(pilot, lambda: "transcribe" in screen_text(app))
    app.push_screen(TrialScreen(SINGLE))
    await until(pilot, lambda: isinstance(app.screen, TrialScreen) and words in screen_text(app))


async def test_a_single_run_shows_its_log_its_exchanges_the_accelerators_and_what_was_before() -> None:
    app = viewer(night())
    async with app.run_test(size=(120, 40)) as pilot:
        await shown(pilot, app, "Transcribing with large-v3")
        assert "done 4.0s" in screen_text(app) and "audio/part_000001.mp3" in screen_text(app)
        await pilot.press("tab")
        await until(pilot, lambda: "the golden river" in screen_text(app))
        assert "[2 exchanges (1)]" in screen_text(app)
        await pilot.press("3")
        await until(pilot, lambda: "GPU H100" in screen_text(app))
        assert "310 W on average" in screen_text(app) and "1 samples" in screen_text(app)
        await pilot.press("4")
        await until(pilot, lambda: "the new words" in screen_text(app))
        text = screen_text(app)
        assert "the old words" in text and "CUDA out of memory" in text and "9.0s" in text
        await pilot.press("shift+tab", "1")
        await until(pilot, lambda: "[1 log]" in screen_text(app))
        await pilot.press("2", "enter")
        await until(pilot, lambda: not isinstance(app.screen, TrialScreen))
        assert type(app.screen).__name__ == "InspectorScreen"


@pytest.mark.parametrize(
    ("key", "asked"),
    [
        ("s", ("start", StartRun(job="transcribe"))),
        ("t", ("start", StartRun(job="transcribe", mode="single", item="audio/part_000001.mp3"))),
    ],
)
async def test_one_key_starts_the_whole_job_and_one_the_item_once_more(
    key: str, asked: tuple[Any, ...]
) -> None:
    engine = night()
    app = viewer(engine)
    async with app.run_test(size=(80, 24)) as pilot:
        await shown(pilot, app, "Transcribing with large-v3")
        await pilot.press(key)
        await until(pilot, lambda: engine.asked == [asked])


async def test_a_single_run_in_progress_is_stopped_and_its_log_is_gone_to() -> None:
    engine = night(state="running", ended_ns=None)
    app = viewer(engine)
    async with app.run_test(size=(120, 40)) as pilot:
        await shown(pilot, app, "Transcribing with large-v3")
        await pilot.press("t")
        await pilot.press("x")
        await until(pilot, lambda: "SIGTERM" in screen_text(app))
        await pilot.press("y")
        await until(pilot, lambda: engine.asked == [("act", SINGLE, "stop")])
        await until(pilot, lambda: isinstance(app.screen, TrialScreen))
        await pilot.press("l")
        await until(pilot, lambda: app.screen is app.desk_screen and app.desk_screen.current == 5)


async def test_a_dry_run_shows_what_would_be_passed_over_and_why() -> None:
    app = viewer(night("dry"))
    async with app.run_test(size=(120, 40)) as pilot:
        await shown(pilot, app, "skip  audio/a.mp3  (a.json is there and not older)")
        assert "Dry run of transcribe" in screen_text(app) and "before and now" not in screen_text(app)
        await pilot.press("4")
        assert "[1 log]" in screen_text(app)
        await pilot.press("tab", "tab", "tab")
        await until(pilot, lambda: "[1 log]" in screen_text(app))


async def test_a_picked_item_is_run_alone_and_its_sheet_opens() -> None:
    engine = night()
    app = viewer(engine)
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: "transcribe" in screen_text(app))
        await pilot.press("g", "t")
        await until(pilot, lambda: isinstance(app.screen, ItemScreen))
        await pilot.press("down", "enter")
        await until(pilot, lambda: isinstance(app.screen, TrialScreen))
        assert engine.asked[0][1].item == "audio/session_01.mp3"


@pytest.mark.parametrize(
    ("changes", "key", "asked"),
    [
        ({}, "h", ("act", RUN, "hold")),
        ({"holding": True}, "h", ("act", RUN, "resume")),
        ({"state": "paused"}, "p", ("act", RUN, "resume")),
        ({"state": "failed", "ended_ns": NOW}, "r", ("start", StartRun(job="transcribe", retry=True))),
    ],
)
async def test_keys_of_the_jobs_pane_hold_resume_and_retry(
    changes: dict[str, Any], key: str, asked: tuple[Any, ...]
) -> None:
    engine = ItemEngine(60, **changes)
    app = viewer(engine)
    async with app.run_test(size=(160, 48)) as pilot:
        await until(pilot, lambda: "13/60" in screen_text(app))
        await pilot.press(key)
        await until(pilot, lambda: engine.asked == [asked])


async def test_retry_in_a_run_that_goes_on_and_items_are_offered_only_where_there_are_some() -> None:
    engine = ItemEngine(60)
    app = viewer(engine)
    async with app.run_test(size=(160, 48)) as pilot:
        await until(pilot, lambda: "13/60" in screen_text(app))
        await pilot.press("r")
        await until(pilot, lambda: len(engine.asked) == 1)
        assert engine.asked[0][:2] == ("move", RUN)
        await pilot.press("G", "i", "h", "r")
        await pilot.pause()
        assert len(engine.asked) == 1 and not isinstance(app.screen, RunItemsScreen)


def told(**changes: Any) -> str:
    """What the line of a run says behind its counts."""
    return note_of(ItemEngine(60, **changes).run, NOW, UNICODE).plain


def test_a_run_tells_apart_what_failed_what_was_passed_over_and_that_it_will_stand_still() -> None:
    flights = tuple(
        Flight(serial=n, item=f"{n}.mp3", attempt=1, process=ProcessKey(pid=n, started_ns=1)) for n in (1, 2)
    )
    words = told(flights=flights, item="1.mp3", holding=True)
    assert "2 failed" in words and "3 skipped" in words and "1.mp3 +1" in words
    assert words.startswith("pauses after these")
    waits = told(state="waiting", reason="Waits for a slot.", expected_ns=NOW + 60 * NS)
    assert waits == "in about 60 s · a slot"
    assert "because of the night" in told(state="paused", reason="because of the night")


@pytest.mark.parametrize(("glyphs", "drawn"), [(UNICODE, "██▒××░░░░░░░"), (ASCII, "##:xx.......")])
def test_the_bar_shows_what_was_passed_over_and_what_failed_by_signs_of_their_own(
    glyphs: Any, drawn: str
) -> None:
    one: Run = run("a", "running", items_total=60, items_done=13, items_skipped=3, items_failed=10)
    assert bar_of(one, 13, 60, 12, glyphs).plain == drawn
    many: Run = run("a", "running", items_total=1000, items_done=999, items_failed=1)
    assert bar_of(many, 999, 1000, 8, glyphs).plain == glyphs.full * 7 + glyphs.times


def test_a_first_try_and_an_output_that_is_the_same_are_told_in_words() -> None:
    look = Look(80, is_wide=False, is_folded=True, glyphs=UNICODE)

    def words(compared: ItemComparison) -> str:
        return "\n".join("".join(text for text, _ in row.pieces) for row in comparison_rows(compared, look))

    now = ItemOutcome(run="a-1", state="done", took_ns=NS)
    first = ItemComparison(item="x", now=now, note="The job does not say where.")
    assert "No earlier run of this item is on record." in words(first)
    assert "The job does not say where." in words(first)
    same = replaced(first, before=now, note=None, output_path="/o", output_before="a\n", output_now="a\n")
    assert "identical to the earlier output" in words(same)
    assert "+ b" in words(replaced(same, output_before=None, output_now="b"))
    assert "Its earlier output is gone." in words(replaced(same, output_now=None))


def test_nothing_measured_is_said_and_not_drawn_as_zero() -> None:
    assert accelerator_lines([], frozenset(), UNICODE) == [(("Nothing was measured while it ran.", "muted"),)]

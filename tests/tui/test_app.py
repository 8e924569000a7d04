"""The viewer as a whole: sizes, modes, keys, link, hostile text."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from nightdesk.core.foreign import safe
from nightdesk.model.desk import RunChanged, Snapshot
from nightdesk.model.errors import NightdeskError
from nightdesk.tui.app import Viewer
from nightdesk.tui.keymap import binding_ids, check_keymap
from nightdesk.tui.link import in_thread
from nightdesk.tui.screens.confirm import ConfirmScreen
from nightdesk.tui.screens.help import HelpScreen
from nightdesk.tui.screens.items import ItemScreen
from nightdesk.tui.screens.job import JobScreen
from tests.support.viewer import (
    NOW,
    FakeEngine,
    job,
    process,
    replaced,
    run,
    screen_lines,
    screen_text,
    snapshot,
    until,
    viewer,
)

HOSTILE = "\x1b]52;c;aGk=\x07\x1b[2J[/] [@click=app.quit]x[/] \u202eabc\u202c \x9b31m \x00\r\n\tend"


def drawn(app: Viewer) -> bool:
    """The first snapshot is on the screen."""
    return app.link.drawn


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (160, 48), (200, 60)])
async def test_the_desk_fills_the_terminal_at_each_size(engine: FakeEngine, size: tuple[int, int]) -> None:
    app = viewer(engine)
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: "transcribe" in screen_text(app))
        lines = screen_lines(app)
        assert "ai-makerspace" in lines[0]
        assert "leave" in lines[-1] and "palette" in lines[-1]
        assert ("4 Processes" in screen_text(app)) and ("5 Logs" in screen_text(app))


async def test_a_terminal_that_is_too_small_gets_one_sentence_and_recovers(engine: FakeEngine) -> None:
    app = viewer(engine)
    async with app.run_test(size=(40, 10)) as pilot:
        await until(pilot, lambda: drawn(app))
        joined = " ".join(screen_text(app).split())
        assert "Nightdesk needs at least 60×15; this terminal is 40×10." in joined
        await pilot.resize_terminal(120, 40)
        await until(pilot, lambda: "transcribe" in screen_text(app))
        await until(pilot, lambda: "s start" in screen_lines(app)[-1])
        await pilot.resize_terminal(1, 1)
        await pilot.resize_terminal(80, 24)
        await until(pilot, lambda: "[1 Jobs]" in screen_text(app))


async def test_the_first_picture_does_not_wait_for_the_engine() -> None:
    gate = asyncio.Event()
    engine = FakeEngine(snapshot())
    loop = asyncio.get_running_loop()

    def slow() -> FakeEngine:
        asyncio.run_coroutine_threadsafe(gate.wait(), loop).result(20)
        return engine

    app = Viewer("ai-makerspace", slow, clock=lambda: NOW)
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: "starting the engine" in screen_text(app))
        assert "Waiting for the engine." in screen_text(app)
        gate.set()
        await until(pilot, lambda: "transcribe" in screen_text(app))


async def test_an_engine_that_does_not_start_is_a_failed_look_with_the_next_step() -> None:
    def refuses() -> FakeEngine:
        raise NightdeskError("The engine did not start: disk full.", "Make room.")

    app = Viewer("ai-makerspace", refuses, clock=lambda: NOW)
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: "disk full" in screen_text(app))
        assert "Make room. ctrl+r tries again." in screen_text(app)


async def test_a_lost_engine_leaves_the_last_picture_with_its_age(engine: FakeEngine) -> None:
    now = [NOW]
    app = viewer(engine, clock=lambda: now[0])
    async with app.run_test(size=(160, 48)) as pilot:
        await until(pilot, lambda: drawn(app))
        engine.more.put_nowait(None)
        await until(pilot, lambda: "the engine does not answer" in screen_text(app))
        assert "transcribe" in screen_text(app)
        assert app.desk_screen.panes[1].has_class("-stale")


async def test_modes_show_their_panes_and_keep_the_cursor(engine: FakeEngine) -> None:
    app = viewer(engine)
    async with app.run_test(size=(160, 48)) as pilot:
        await until(pilot, lambda: "transcribe" in screen_text(app))
        await pilot.press("j", "T")
        assert [pane.NUMBER for pane in app.desk_screen.panes.values() if pane.display] == [3]
        await pilot.press("M")
        assert [pane.NUMBER for pane in app.desk_screen.panes.values() if pane.display] == [2, 4]
        await pilot.press("D")
        assert all(pane.display for pane in app.desk_screen.panes.values())
        assert "▌‖" not in screen_text(app) and "▌◷  synthesize" in screen_text(app)


async def test_zoom_shows_one_pane_and_brings_the_others_back(engine: FakeEngine) -> None:
    app = viewer(engine)
    async with app.run_test(size=(160, 48)) as pilot:
        await until(pilot, lambda: drawn(app))
        await pilot.press("4", "z")
        assert [pane.NUMBER for pane in app.desk_screen.panes.values() if pane.display] == [4]
        await pilot.press("z")
        assert all(pane.display for pane in app.desk_screen.panes.values())


async def test_a_key_typed_right_after_a_digit_reaches_the_new_pane(engine: FakeEngine) -> None:
    app = viewer(engine)
    async with app.run_test(size=(160, 48)) as pilot:
        await until(pilot, lambda: "19.7 GB" in screen_text(app))
        await pilot.press("4", "t")
        assert not isinstance(app.screen, ItemScreen)
        assert "flat" in screen_text(app)


async def test_ctrl_c_stops_nothing_and_says_how_to_leave(engine: FakeEngine) -> None:
    app = viewer(engine)
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await until(pilot, lambda: drawn(app))
        await pilot.press("ctrl+c")
        await until(pilot, lambda: "q leaves the viewer" in screen_text(app))
        assert app.is_running and engine.asked == []


async def test_leaving_says_what_goes_on(engine: FakeEngine) -> None:
    app = viewer(engine)
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: drawn(app))
        await pilot.press("q")
    assert app.parting_words() == "viewer closed; engine and 2 runs go on (nightdesk status)"
    assert engine.asked == []


async def test_help_shows_the_panes_words_and_its_keys(engine: FakeEngine) -> None:
    app = viewer(engine)
    async with app.run_test(size=(120, 60)) as pilot:
        await until(pilot, lambda: drawn(app))
        await pilot.press("4", "question_mark")
        await until(pilot, lambda: isinstance(app.screen, HelpScreen) and "orphans" in screen_text(app))
        assert "processes.kill" in screen_text(app)
        for key in ("escape", "q", "question_mark"):
            await pilot.press(key)
            await until(pilot, lambda: app.screen is app.desk_screen)
            await pilot.press("question_mark")
            await until(pilot, lambda: isinstance(app.screen, HelpScreen))


async def test_help_scrolls_with_the_keys_of_the_lists(engine: FakeEngine) -> None:
    app = viewer(engine)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: drawn(app))
        await pilot.press("question_mark")
        await until(pilot, lambda: isinstance(app.screen, HelpScreen) and "Jobs" in screen_text(app))
        await pilot.press("G")
        await until(pilot, lambda: "app.mouse" in screen_text(app))
        await pilot.press("g")
        await until(pilot, lambda: "app.mouse" not in screen_text(app))


async def test_every_binding_has_its_own_id_and_a_description() -> None:
    ids = binding_ids()
    assert {"jobs.start", "processes.kill", "grid.down", "mode.desk", "app.quit"} <= set(ids)


async def test_keys_of_the_configuration_replace_ours(engine: FakeEngine) -> None:
    app = viewer(engine, keys={"processes.order": "ctrl+o", "no.such": "x", "jobs.stop": "nix+nie mals"})
    async with app.run_test(size=(160, 48), notifications=True) as pilot:
        await until(pilot, lambda: "no.such" in screen_text(app))
        await until(pilot, lambda: drawn(app))
        await pilot.press("4", "o")
        assert "by cpu" in screen_text(app)
        await pilot.press("ctrl+o")
        assert "by mem" in screen_text(app)


def test_keys_of_screens_that_are_not_loaded_yet_can_be_given_too() -> None:
    code = "from nightdesk.tui.keymap import check_keymap; print(check_keymap({'inspector.next': 'm'}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "({'inspector.next': 'm'}, [])"


def test_a_keymap_names_each_entry_that_can_not_be_used() -> None:
    good, problems = check_keymap({"jobs.kill": "ctrl+k", "jobs.nope": "x", "jobs.stop": ""})
    assert good == {"jobs.kill": "ctrl+k"}
    assert len(problems) == 2 and "jobs.nope" in problems[0] and "jobs.stop" in problems[1]


async def test_the_palette_starts_a_job(engine: FakeEngine) -> None:
    app = viewer(engine)
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: "report" in screen_text(app))
        await pilot.press("ctrl+p")
        await pilot.press(*"start report")
        await until(pilot, lambda: "Start report" in screen_text(app))
        await pilot.press("enter")
        await until(pilot, lambda: bool(engine.asked))
        assert engine.asked[0][1].job == "report"


async def test_an_error_of_the_engine_is_a_notice_with_its_hint(engine: FakeEngine) -> None:
    engine.refuses = NightdeskError("The job [/] runs already.", "Stop it first.")
    app = viewer(engine)
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await until(pilot, lambda: "transcribe" in screen_text(app))
        await pilot.press("s")
        await until(pilot, lambda: "runs already. Stop it first." in " ".join(screen_text(app).split()))


async def test_a_change_shows_at_once_after_a_users_action(engine: FakeEngine) -> None:
    app = viewer(engine)
    async with app.run_test(size=(160, 48)) as pilot:
        await until(pilot, lambda: "transcribe" in screen_text(app))
        await pilot.press("p")
        await until(pilot, lambda: bool(engine.asked))
        app._ticks = -(10**6)  # no pulse comes to help
        engine.more.put_nowait(RunChanged(run=run("transcribe", "paused", paused_ns=NOW, items_total=52)))
        await until(pilot, lambda: "paused" in screen_text(app).split("Processes")[0])


async def test_hostile_names_reach_the_screen_harmless(engine: FakeEngine) -> None:
    engine.first = hostile_snapshot()
    app = viewer(engine)
    async with app.run_test(size=(160, 48), notifications=True) as pilot:
        await until(pilot, lambda: drawn(app))
        await assert_harmless(app)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, JobScreen))
        await assert_harmless(app)
        await pilot.press("escape", "4", "K")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen))
        await assert_harmless(app)
        await pilot.press("escape", "ctrl+p")
        await pilot.pause()
        await assert_harmless(app)
        await pilot.press("escape", "1", "slash")
        await pilot.press("e", "enter")
        await assert_harmless(app)
        app.tell(HOSTILE, HOSTILE, severity="error")
        await pilot.pause()
        await assert_harmless(app)
        assert app.is_running


async def assert_harmless(app: Viewer) -> None:
    for text in screen_lines(app):
        assert safe(text) == text
    assert "\x1b" not in app.export_screenshot()


def hostile_snapshot() -> Snapshot:
    long = HOSTILE + "x" * 10_000_000
    first = snapshot(
        jobs=(job(HOSTILE, command=long, description=HOSTILE, needs=(HOSTILE,), has_single=True),),
        runs=(replaced(run("a", "running", reason=HOSTILE, item=HOSTILE, command=long), job=HOSTILE),),
        processes=(process(3900, 1, long, "orphan", orphan_reason=HOSTILE, user=HOSTILE, job=HOSTILE),),
    )
    hostile: Snapshot = replaced(first, desk=replaced(first.desk, name=HOSTILE))
    return hostile


async def test_ascii_draws_nothing_but_ascii(engine: FakeEngine) -> None:
    app = viewer(engine, ascii=True)
    async with app.run_test(size=(160, 48)) as pilot:
        await until(pilot, lambda: "transcribe" in screen_text(app))
        assert screen_text(app).isascii()


async def test_a_locale_without_utf8_is_told_and_gets_ascii(engine: FakeEngine) -> None:
    engine.first = snapshot(jobs=(job("Zürich 東京"),), runs=())
    app = viewer(engine, utf8=False)
    async with app.run_test(size=(160, 48), notifications=True) as pilot:
        await until(pilot, lambda: "not UTF-8" in screen_text(app) and "rich" in screen_text(app))
        assert screen_text(app).isascii()
        assert "Z?rich ????" in screen_text(app)


async def test_an_unknown_theme_is_a_notice(engine: FakeEngine) -> None:
    app = viewer(engine, theme="no-such-theme")
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await until(pilot, lambda: "no-such-theme" in screen_text(app))
        assert app.theme == "nightdesk-dark"


@pytest.mark.parametrize("theme", ["nightdesk-ansi", "nightdesk-dark", "nightdesk-light"])
async def test_no_color_has_none_and_what_is_written_can_be_read(
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch, theme: str
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    app = viewer(engine, theme=theme)
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: "transcribe" in screen_text(app))
        for strip in app.screen._compositor.render_strips():
            for each in app.get_line_filters():
                strip = strip.apply_filter(each, app.screen.background_colors[1])
            for segment in strip:
                if segment.style is None or not segment.text.strip():
                    continue
                front, back = segment.style.color, segment.style.bgcolor
                if theme == "nightdesk-ansi":
                    assert front is None or front.is_default
                    assert back is None or back.is_default
                elif front is not None and front.triplet is not None:
                    assert len(set(front.triplet)) == 1
                    assert front != back, segment.text


async def test_no_color_leaves_signs_that_tell_everything(
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    app = viewer(engine)
    async with app.run_test(size=(160, 48)) as pilot:
        await until(pilot, lambda: "transcribe" in screen_text(app))
        assert "▶  transcribe" in screen_text(app)
        assert "⚠ orphan" in screen_text(app)


async def test_work_in_a_thread_gives_its_result_or_its_error() -> None:
    assert await in_thread(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        await in_thread(lambda: 1 // 0)


async def test_themes_of_the_user_are_found_and_broken_ones_told(
    engine: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "nightdesk" / "themes"
    folder.mkdir(parents=True)
    (folder / "mine.toml").write_text('name = "mine"\nprimary = "#ff0000"\n')
    (folder / "broken.toml").write_text('name = "broken"\nprimary = "no colour [/]"\n')
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    app = viewer(engine, theme="mine")
    async with app.run_test(size=(160, 48), notifications=True) as pilot:
        await until(pilot, lambda: "broken.toml" in screen_text(app))
        assert app.theme == "mine"

"""The items of a run: the table, its keys, one item in full."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from nightdesk.model.desk import RunChanged
from nightdesk.model.errors import NightdeskError
from nightdesk.model.items import ItemPage, ItemRow
from nightdesk.model.job import ItemMove, StartRun
from nightdesk.tui.app import Viewer
from nightdesk.tui.glyphs import UNICODE
from nightdesk.tui.panes.logs import LogsPane
from nightdesk.tui.panes.traffic import TrafficPane
from nightdesk.tui.screens.help import HelpScreen
from nightdesk.tui.screens.item import ItemDetailScreen
from nightdesk.tui.screens.item_rows import item_line
from nightdesk.tui.screens.job import JobScreen
from nightdesk.tui.screens.run_items import RunItemsScreen, query_of
from nightdesk.tui.screens.trial import TrialScreen
from tests.support.items import RUN, ItemEngine
from tests.support.viewer import NOW, NS, replaced, screen_lines, screen_text, until, viewer


async def opened(pilot: Pilot[int], app: Viewer) -> RunItemsScreen:
    """The table, opened from the jobs pane, with its first rows."""
    await until(pilot, lambda: "transcribe" in screen_text(app))
    await pilot.press("i")
    await until(pilot, lambda: isinstance(app.screen, RunItemsScreen) and "part_000001" in screen_text(app))
    assert isinstance(app.screen, RunItemsScreen)
    return app.screen


def name(number: int) -> str:
    return f"audio/part_{number:06}.mp3"


async def test_each_item_has_a_line_with_its_state_and_the_counts_stand_above() -> None:
    app = viewer(ItemEngine(60))
    async with app.run_test(size=(140, 40)) as pilot:
        await opened(pilot, app)
        lines = screen_lines(app)
        assert "▶ 1 running  ↻ 1 tried again  · 43 waiting  ✗ 2 failed  ✓ 10 done  ▒ 3 skipped" in lines[1]
        assert "▒" in lines[1] and "×" in lines[1]
        by_name = {
            f"part_{n:06}": next(x for x in lines if f"part_{n:06}" in x) for n in (1, 11, 13, 16, 17, 18)
        }
        assert "✓" in by_name["part_000001"] and "1m30s" not in by_name["part_000001"]
        assert "CUDA out of memory at item 11" in by_name["part_000011"]
        assert "skipped" in by_name["part_000013"]
        assert "5.0s" in by_name["part_000016"] and "▶" in by_name["part_000016"]
        assert "again in 1m30s" in by_name["part_000017"]
        assert "next" in by_name["part_000018"]


async def test_a_hundred_thousand_items_are_asked_for_in_parts_as_they_are_looked_at() -> None:
    engine = ItemEngine(100_000)
    app = viewer(engine)
    async with app.run_test(size=(120, 40)) as pilot:
        await opened(pilot, app)
        await pilot.press("G")
        await until(pilot, lambda: "part_100000" in screen_text(app))
        await pilot.press("g")
        await until(pilot, lambda: "part_000001" in screen_text(app))
        assert sum(page["limit"] for page in engine.item_pages) <= 1000


async def test_states_words_and_orders_choose_what_is_listed() -> None:
    app = viewer(ItemEngine(60))
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await opened(pilot, app)
        await pilot.press("v")
        await until(
            pilot, lambda: "part_000001" not in screen_text(app) and "part_000012" in screen_text(app)
        )
        assert len(screen.window) == 2
        await pilot.press("V")
        await until(pilot, lambda: "part_000001" in screen_text(app))
        await pilot.press("o")
        await until(pilot, lambda: "in the order of work" in screen_text(app))
        await pilot.press("O")
        await until(pilot, lambda: "part_000060" in screen_lines(app)[3])
        for words in ("by duration", "by state", "by name", "by tries", "in the order of the list"):
            await pilot.press("o")
            await until(pilot, lambda words=words: words in screen_text(app))
        await pilot.press("slash", *"memory 12", "enter")
        await until(pilot, lambda: len(screen.window) == 1 and "part_000012" in screen_text(app))
        await pilot.press("escape")
        await until(pilot, lambda: "part_000001" in screen_text(app))
        await pilot.press("slash", *"zzz")
        await until(pilot, lambda: "No item matches." in screen_text(app))
        await pilot.press("escape", "escape")
        await until(pilot, lambda: app.screen is app.desk_screen)


async def test_keys_move_the_item_under_the_cursor_or_all_tagged_ones() -> None:
    engine = ItemEngine(60)
    app = viewer(engine)
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        screen = await opened(pilot, app)
        for count, (key, where) in enumerate(
            (("f", "first"), ("e", "last"), ("s", "skip"), ("a", "again")), 1
        ):
            await pilot.press(key)
            await until(pilot, lambda count=count: len(engine.asked) == count)
            assert engine.asked[-1] == ("move", RUN, ItemMove(items=(name(1),), where=where))  # type: ignore[arg-type]  # - one of the words
        await pilot.press("space", "j", "space")
        await until(pilot, lambda: "2 tagged" in screen_text(app))
        await pilot.press("f")
        await until(pilot, lambda: len(engine.asked) == 5)
        assert engine.asked[-1] == ("move", RUN, ItemMove(items=(name(1), name(3)), where="first"))
        assert not screen.tags
        await pilot.press("space", "u")
        assert not screen.tags
        await pilot.press("r")
        await until(pilot, lambda: len(engine.asked) == 6)
        assert engine.asked[-1] == ("move", RUN, ItemMove(where="again", failed=True))
        await until(pilot, lambda: "2 failed items of transcribe-1 will be done again." in screen_text(app))
        engine.refuses = NightdeskError("There is no item.", "Look again.")
        await pilot.press("s")
        await until(pilot, lambda: "There is no item. Look again." in screen_text(app))


async def test_after_the_end_of_a_run_a_new_one_does_the_chosen_items_again() -> None:
    engine = ItemEngine(60, state="failed", ended_ns=NOW)
    app = viewer(engine)
    async with app.run_test(size=(120, 40)) as pilot:
        await opened(pilot, app)
        await until(pilot, lambda: "not reached" in screen_text(app))
        await pilot.press("f", "s")
        await pilot.press("space", "a")
        await until(pilot, lambda: bool(engine.asked))
        assert engine.asked == [("start", StartRun(job="transcribe", items=(name(1),), again=True))]
        await pilot.press("r")
        await until(pilot, lambda: len(engine.asked) == 2)
        assert engine.asked[1] == ("start", StartRun(job="transcribe", retry=True))


async def test_enter_shows_an_item_in_full_and_from_there_its_log_and_its_exchanges() -> None:
    engine = ItemEngine(60)
    app = viewer(engine)
    async with app.run_test(size=(120, 40)) as pilot:
        await opened(pilot, app)
        await pilot.press("v", "enter")
        await until(
            pilot, lambda: isinstance(app.screen, ItemDetailScreen) and "Transcribing" in screen_text(app)
        )
        text = screen_text(app)
        assert "out of memory" in text and "CUDA out of memory at item 11" in text
        assert "2, 3.1k prompt and 812 reply tokens" in text
        await pilot.press("l")
        await until(pilot, lambda: app.screen is app.desk_screen)
        assert engine.asked == [("log", RUN, 10)]
        await until(pilot, lambda: app.desk_screen.current == LogsPane.NUMBER)
        await pilot.press("1")
        await opened(pilot, app)
        await pilot.press("v", "enter")
        await until(pilot, lambda: isinstance(app.screen, ItemDetailScreen))
        await pilot.press("x")
        await until(pilot, lambda: app.screen is app.desk_screen and app.desk_screen.mode == "traffic")
        field = app.desk_screen.query_one(TrafficPane).query_one("#filter", Input)
        assert field.value == "run:transcribe-1 item:audio/part_000011.mp3"


async def test_log_exchanges_single_run_and_help_of_the_item_under_the_cursor() -> None:
    engine = ItemEngine(60)
    app = viewer(engine)
    async with app.run_test(size=(120, 40)) as pilot:
        await opened(pilot, app)
        await pilot.press("question_mark")
        await until(
            pilot, lambda: isinstance(app.screen, HelpScreen) and "run_items.skip" in screen_text(app)
        )
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, RunItemsScreen))
        await pilot.press("x")
        await until(pilot, lambda: app.desk_screen.mode == "traffic" and app.screen is app.desk_screen)
        await pilot.press("1")
        await opened(pilot, app)
        await pilot.press("l")
        await until(pilot, lambda: app.screen is app.desk_screen)
        await pilot.press("1")
        await opened(pilot, app)
        await pilot.press("t")
        await until(pilot, lambda: isinstance(app.screen, TrialScreen))
        assert engine.asked[-1] == ("start", StartRun(job="transcribe", mode="single", item=name(1)))


async def test_the_table_follows_the_run_and_keeps_the_cursor_on_its_item() -> None:
    engine = ItemEngine(60)
    now = [NOW]
    app = viewer(engine, clock=lambda: now[0])
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await opened(pilot, app)
        await pilot.press("j", "j")
        await until(pilot, lambda: screen.grid.cursor == 2)
        asked = len(engine.item_pages)
        now[0] += 2 * NS
        changed = replaced(engine.run, items_done=14)
        await engine.more.put(RunChanged(run=changed))
        await until(pilot, lambda: len(engine.item_pages) > asked)
        assert screen.grid.cursor == 2 and screen.row is not None and screen.row.item == name(3)
        for _ in range(5):
            await engine.more.put(RunChanged(run=replaced(changed, items_done=15)))
        await pilot.pause(0.3)
        assert len(engine.item_pages) <= asked + 2, "more than once a second"


async def test_a_job_leads_to_the_items_of_each_of_its_runs() -> None:
    app = viewer(ItemEngine(60))
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: "transcribe" in screen_text(app))
        for key in ("enter", "i"):
            await pilot.press("enter")
            await until(
                pilot, lambda: isinstance(app.screen, JobScreen) and "10 done, 3 skipped" in screen_text(app)
            )
            await pilot.press(key)
            await until(pilot, lambda: isinstance(app.screen, RunItemsScreen))
            await pilot.press("escape")
            await until(pilot, lambda: isinstance(app.screen, JobScreen))
            await pilot.press("escape")
            await until(pilot, lambda: app.screen is app.desk_screen)


@pytest.mark.parametrize("size", [(80, 24), (160, 48)])
async def test_the_table_fits_small_and_large_terminals(size: tuple[int, int]) -> None:
    app = viewer(ItemEngine(60))
    async with app.run_test(size=size) as pilot:
        await opened(pilot, app)
        await pilot.press(*["j"] * 10)
        await until(pilot, lambda: "CUDA out of memory at item 11" in screen_text(app))
        assert "audio/part_000011.mp3" in screen_text(app)


def test_hostile_names_and_failures_stay_one_harmless_line() -> None:
    row = ItemRow(index=0, item="a\x1b]52;c;x\x07[/]\nb", state="waiting", reason="x")
    cells = item_line(row, ItemEngine(20).run, NOW, UNICODE).cells
    assert len(cells) == 9
    assert query_of("r", 'a "b", c') == 'run:r item:"a \\"b\\", c"'


async def test_a_choice_made_while_the_first_parts_are_on_their_way_is_shown() -> None:
    engine = ItemEngine(60)
    held, real, asked = asyncio.Event(), engine.item_page, list[str]()

    async def late(run_id: str, **wanted: Any) -> ItemPage:
        asked.append(wanted["sort"])
        await held.wait()
        return await real(run_id, **wanted)

    engine.item_page = late  # type: ignore[method-assign]  # - the engine that the viewer asks, slowed down
    app = viewer(engine)
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: "transcribe" in screen_text(app))
        app.push_screen(RunItemsScreen(RUN))
        await until(pilot, lambda: asked and isinstance(app.screen, RunItemsScreen))
        await pilot.press("o", "o")
        held.set()
        await until(pilot, lambda: "took" in asked[-1] and "part_000001" in screen_text(app))

"""The long list of the traffic pane: pages, filter language, orders, columns, waterfall, totals, marks, speed."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from textual import events

from nightdesk.model.desk import ExchangeChanged, ExchangeCounts
from nightdesk.model.errors import NightdeskError
from nightdesk.model.exchange import ExchangeRow
from nightdesk.model.inspection import ExchangePage, ExchangePlace, ExchangeTotals, Feedback
from nightdesk.tui import asks
from nightdesk.tui.choices import choices_path, read_choices
from nightdesk.tui.glyphs import UNICODE
from nightdesk.tui.panes.traffic import TrafficPane
from nightdesk.tui.panes.traffic_listing import Listing
from nightdesk.tui.panes.traffic_totals import totals_parts
from nightdesk.tui.panes.traffic_waterfall import bar_cell, scale, span_of
from nightdesk.tui.panes.traffic_window import BLOCK, Pending, Wanted, Window
from nightdesk.tui.text import line
from nightdesk.tui.widgets.grid import Grid
from tests.support.viewer import (
    NOW,
    FakeEngine,
    screen_lines,
    screen_text,
    snapshot,
    until,
    viewer,
)

NS = 10**9
MANY = 100_000
LONGEST_BLOCK = 0.05
"""The promise. The test allows much more: it must not depend on the speed of the machine."""


def row(number: int, **more: Any) -> ExchangeRow:
    """A complete chat, one a second, the last one a second ago."""
    given: dict[str, Any] = {
        "id": number,
        "state": "complete",
        "started_ns": NOW - (2000 - number) * NS,
        "ended_ns": NOW - (2000 - number) * NS + NS // 2,
        "first_token_ns": NOW - (2000 - number) * NS + NS // 4,
        "operation": "chat",
        "dialect": "ollama",
        "status": 200,
        "model": f"model-{number}",
        "job": "synthesize",
        "item": f"item_{number}.txt",
        "fragments": 5,
        "prompt_tokens": number,
        "reply_tokens": 10 * number,
        "generation_ns": NS,
        "tail": f"text {number}",
        **more,
    }
    return ExchangeRow(**given)


def pane_of(app: Any) -> TrafficPane:
    pane = app.desk_screen.query_one(TrafficPane)
    assert isinstance(pane, TrafficPane)
    return pane


def grid_of(app: Any) -> Grid:
    return pane_of(app).query_one(Grid)


class Store:
    """Answers the questions of a window."""

    def __init__(self, rows: list[ExchangeRow]) -> None:
        self.rows = rows

    def answer(self, wanted: Wanted) -> ExchangePage:
        high = int(wanted.query.rpartition("-")[2]) if wanted.query else 2**60
        found = [one for one in reversed(self.rows) if one.id <= high]
        part = found[wanted.offset : wanted.offset + wanted.limit]
        return ExchangePage(rows=tuple(part), offset=wanted.offset, total=len(found))


def ids(window: Window, *places: int) -> list[int | None]:
    """Which exchanges are at these places."""
    return [found.id if (found := window.row(place)) else None for place in places]


def fill(window: Window, store: Store, first: int, last: int) -> int:
    """Ask until nothing is missing; how often that was."""
    asked = 0
    while wanted := window.wanted(first, last):
        window.take(wanted, store.answer(wanted))
        asked += 1
    return asked


def test_the_plain_list_goes_on_behind_the_rows_that_are_here() -> None:
    rows = [row(number) for number in range(1, 1001)]
    window, store = Window(), Store(rows)
    window.show_head(rows[:-51:-1])
    assert len(window) == 50
    fill(window, store, 0, 30)
    assert len(window) == 1000
    fill(window, store, 900, 999)
    assert ids(window, 0, 49, 50, 950, 999) == [1000, 951, 950, 50, 1]
    assert window.place_of(50) == 950 and window.place_of(1000) == 0


def test_new_exchanges_and_rows_that_leave_the_head_move_nothing_that_was_fetched() -> None:
    rows = [row(number) for number in range(1, 1021)]
    window, store = Window(), Store(rows)
    window.show_head(rows[949:999][::-1])
    store.rows = rows[:999]
    fill(window, store, 800, 840)
    before = window.row(820)
    window.show_head(rows[959:1009][::-1])
    assert len(window) == 1009, "ten came, and ten fell out of the head"
    assert window.row(830) is before
    assert ids(window, 50) == [959]


def test_a_list_that_has_shrunk_is_asked_for_again() -> None:
    rows = [row(number) for number in range(1, 1001)]
    window, store = Window(), Store(rows)
    window.show_head(rows[:-51:-1])
    fill(window, store, 0, 400)
    store.rows = rows[100:]
    fill(window, store, 800, 950)
    assert len(window) == 900
    fill(window, store, 860, 899)
    assert window.row(899) == rows[100]


def test_a_chosen_list_is_counted_from_its_first_row() -> None:
    window = Window("model:x", "-took", seen=77)
    wanted = window.wanted(0, 40)
    assert wanted is not None and wanted.query == "model:x id:0-77" and wanted.sort == "-took"
    window.take(wanted, ExchangePage(rows=tuple(row(n) for n in range(BLOCK)), offset=0, total=500))
    assert len(window) == 500 and window.row(3) == row(3) and window.row(BLOCK) is None
    again = window.wanted(BLOCK, BLOCK + 10)
    assert again is not None and (again.offset, again.limit) == (BLOCK, BLOCK)
    assert window.wanted(BLOCK, BLOCK + 10) is None, "it is on its way"


def test_the_alarm_of_a_running_one_is_found_behind_rows_that_are_not_here() -> None:
    asked: list[asks.Ask] = []
    found: list[int | None] = []
    listing = Listing(asked.append, lambda: None)
    listing.window = Window("model:x", "took")
    wanted = listing.window.wanted(BLOCK, BLOCK + 10)
    rows = [row(number) for number in range(BLOCK)]
    rows[3] = row(3, state="running", verdicts=("loop",))
    assert wanted is not None
    listing.window.take(wanted, ExchangePage(rows=tuple(rows), offset=BLOCK, total=2 * BLOCK))
    listing.find_trouble(0, found.append)
    asked[-1].reply(ExchangePlace(place=None))
    assert found == [BLOCK + 3], "the engine looks at ended ones only"


async def test_older_exchanges_are_fetched_where_the_user_goes(engine: FakeEngine) -> None:
    engine.stored = tuple(row(number) for number in range(1, 1501))
    engine.first = snapshot(exchanges=tuple(row(number) for number in range(1501, 2000)))
    app = viewer(engine, mode="traffic")
    async with app.run_test(size=(120, 30)) as pilot:
        await until(pilot, lambda: "model-1999" in screen_text(app))
        await until(pilot, lambda: len(grid_of(app).rows) == 1999)
        await pilot.press("G")
        await until(pilot, lambda: "model-1 " in screen_text(app))
        assert grid_of(app).cursor_key == 1
        asked = len(engine.pages)
        await pilot.press("pageup", "pageup")
        await until(pilot, lambda: isinstance(grid_of(app).cursor_key, int))
        assert len(engine.pages) <= asked + 2, "what is here is not asked for again"
        await pilot.press("g")
        await until(pilot, lambda: "model-1999" in screen_text(app))


async def test_who_reads_is_not_disturbed_and_g_goes_back_to_the_new_ones(engine: FakeEngine) -> None:
    engine.first = snapshot(exchanges=tuple(row(number) for number in range(1, 101)))
    app = viewer(engine, mode="traffic")
    counts = ExchangeCounts(running=0, done=0, failed=0, verdicts=0)
    async with app.run_test(size=(120, 20)) as pilot:
        await until(pilot, lambda: "model-100" in screen_text(app))
        await pilot.press("j")
        for number in range(101, 104):
            engine.more.put_nowait(ExchangeChanged(row=row(number), counts=counts))
        await until(pilot, lambda: "⇡ 3 new" in screen_text(app))
        assert "model-101" not in screen_text(app)
        await pilot.press("g")
        await until(pilot, lambda: "model-103" in screen_text(app))


async def test_the_filter_speaks_the_query_language_completes_and_says_what_is_wrong(
    engine: FakeEngine,
) -> None:
    rows = (row(1, model="llama3.1:8b"), row(2, model="qwen3:8b"), row(3, model="qwen3:8b", state="failed"))
    engine.first = snapshot(exchanges=rows)
    app = viewer(engine, mode="traffic")
    async with app.run_test(size=(120, 30)) as pilot:
        await until(pilot, lambda: "llama3.1:8b" in screen_text(app))
        await pilot.press("slash", *"mod")
        await until(pilot, lambda: "name of the model" in screen_text(app))
        await pilot.press("tab", *"qw")
        await until(pilot, lambda: "model:qw" in screen_text(app) and "qwen3:8b  tab" in screen_text(app))
        await pilot.press("tab")
        await until(pilot, lambda: "llama3.1" not in screen_text(app))
        await until(pilot, lambda: "2 found" in screen_text(app))
        await pilot.press("space", "quotation_mark")
        await until(pilot, lambda: "A quotation mark is missing" in screen_text(app))
        assert len(grid_of(app).rows) == 2, "the list stays"
        await pilot.press("backspace", *"stats:error")
        await until(
            pilot, lambda: "stats (at " in screen_text(app) and "Did you mean status?" in screen_text(app)
        )
        await pilot.press(*["backspace"] * 11, *"status:error", "enter")
        await until(pilot, lambda: [one.key for one in grid_of(app).rows] == [3])
        assert "/model:" in screen_lines(app)[-2]
        await pilot.press("escape")
        await until(pilot, lambda: len(grid_of(app).rows) == 3)


async def test_keys_that_come_in_one_burst_are_taken_in_their_order(engine: FakeEngine) -> None:
    engine.first = snapshot(exchanges=(row(1, model="qwen3:8b"), row(2, model="llama3.1:8b")))
    app = viewer(engine, mode="traffic")
    async with app.run_test(size=(120, 30)) as pilot:
        await until(pilot, lambda: "qwen3:8b" in screen_text(app))
        await pilot.press("slash", *"model:qw")
        await until(pilot, lambda: "qwen3:8b  tab" in screen_text(app))
        for key, letter in (
            ("tab", "\t"),
            ("space", " "),
            ("x", "x"),
            ("backspace", None),
            ("o", "o"),
            ("p", "p"),
        ):
            app.post_message(events.Key(key, letter))
        await until(pilot, lambda: pane_of(app).filter_text == "model:qwen3:8b op")


async def test_o_goes_through_the_orders_and_the_title_shows_the_arrow(engine: FakeEngine) -> None:
    took = {1: 5, 2: 30, 3: 1}
    engine.first = snapshot(
        exchanges=tuple(
            row(number, ended_ns=row(number).started_ns + seconds * NS) for number, seconds in took.items()
        )
    )
    app = viewer(engine, mode="traffic")
    async with app.run_test(size=(190, 30)) as pilot:
        await until(pilot, lambda: "time▼" in screen_text(app))
        await pilot.press("o")
        await until(pilot, lambda: [one.key for one in grid_of(app).rows] == [2, 1, 3])
        assert "took▼" in screen_text(app)
        await pilot.press("O")
        await until(pilot, lambda: [one.key for one in grid_of(app).rows] == [3, 1, 2])
        assert "took▲" in screen_text(app)
        title = screen_lines(app)[2]
        await pilot.click(offset=(title.index("model"), 2))
        await until(pilot, lambda: "model▲" in screen_text(app))


async def test_an_order_without_a_column_in_sight_is_named_in_the_heading(engine: FakeEngine) -> None:
    engine.first = snapshot(exchanges=(row(1), row(2)))
    app = viewer(engine, mode="traffic")
    async with app.run_test(size=(120, 30)) as pilot:
        await until(pilot, lambda: "time▼" in screen_text(app))
        assert "by time" not in screen_text(app)
        await pilot.press("o")
        await until(pilot, lambda: "by took▼" in screen_text(app))
        assert "time▼" not in screen_text(app), "it is not sorted by time any more"
        await pilot.press("O")
        await until(pilot, lambda: "by took▲" in screen_text(app))
        await pilot.press("o", "o", "o", "o")
        await until(pilot, lambda: "reply▼" in screen_text(app) and " by " not in screen_lines(app)[1])


def test_sums_of_what_nobody_told_are_unknown() -> None:
    def words(**given: Any) -> str:
        return line(*totals_parts(ExchangeTotals(**given), "exchanges", 120, UNICODE)).plain

    assert words(count=1).startswith(" 1 exchange · ⇡– ⇣–")
    assert words(count=2, prompt_tokens=5).startswith(" 2 exchanges · ⇡5 ⇣–")


async def test_c_chooses_columns_and_the_next_viewer_knows_them(engine: FakeEngine) -> None:
    engine.first = snapshot(exchanges=(row(1),))
    app = viewer(engine, mode="traffic")
    async with app.run_test(size=(120, 30)) as pilot:
        await until(pilot, lambda: "model-1" in screen_text(app))
        await pilot.press("c")
        await until(pilot, lambda: "number of the exchange" in screen_text(app))
        await pilot.press("space", "j", "space")
        await until(pilot, lambda: " id" in screen_lines(app)[2] and "time" not in screen_lines(app)[2])
        await pilot.press("g", "right", "right", "escape")
        await until(
            pilot, lambda: screen_lines(app)[2].find("call") in range(screen_lines(app)[2].find(" id"))
        )
    assert choices_path().stat().st_mode & 0o777 in (0o600, 0o644)
    saved = read_choices().traffic_columns
    assert saved is not None and saved[:2] == ("call", "id") and "time" not in saved
    again = viewer(engine, mode="traffic")
    async with again.run_test(size=(120, 30)) as pilot:
        await until(pilot, lambda: " id" in screen_lines(again)[2])
        await pilot.press("c")
        await until(pilot, lambda: "number of the exchange" in screen_text(again))
        await pilot.press("u")
        await until(pilot, lambda: "time" in screen_lines(again)[2])


def test_a_file_of_choices_that_is_broken_is_no_choice() -> None:
    choices_path().parent.mkdir(parents=True, exist_ok=True)
    choices_path().write_text("[1, 2")
    assert read_choices().traffic_columns is None


def test_bars_show_waiting_prompt_and_reply_in_the_span_of_the_lines() -> None:
    first = row(1, started_ns=NOW, first_token_ns=NOW + 4 * NS, prompt_ns=2 * NS, ended_ns=NOW + 8 * NS)
    second = row(2, started_ns=NOW + 8 * NS, first_token_ns=None, ended_ns=NOW + 16 * NS)
    span = span_of([first, second], NOW)
    assert span == (NOW, NOW + 16 * NS)
    assert bar_cell(first, NOW, 16 + 8, span, UNICODE).plain == "░░▒▒████ 8.0s"
    assert bar_cell(second, NOW, 16 + 8, span, UNICODE).plain == " " * 8 + "████████ 8.0s"
    grows = row(3, state="running", started_ns=NOW, first_token_ns=None, ended_ns=None)
    assert bar_cell(grows, NOW + 8 * NS, 16 + 8, span, UNICODE).plain == "░░░░░░░░ 8.0s"
    assert "16.0s" in scale(span, 60, UNICODE) and len(scale(span, 60, UNICODE)) == 60


async def test_w_shows_bars_in_place_of_the_text_and_w_again_the_text(engine: FakeEngine) -> None:
    engine.first = snapshot(exchanges=tuple(row(number) for number in range(1, 4)))
    app = viewer(engine, mode="traffic")
    async with app.run_test(size=(120, 30)) as pilot:
        await until(pilot, lambda: "text 3" in screen_text(app))
        await pilot.press("w")
        await until(pilot, lambda: "█" in screen_text(app) and "2.5s" in screen_lines(app)[2])
        assert "text 3" not in screen_text(app)
        await pilot.press("w")
        await until(pilot, lambda: "text 3" in screen_text(app))


async def test_the_totals_are_of_the_list_of_the_found_and_of_the_tagged(engine: FakeEngine) -> None:
    engine.first = snapshot(exchanges=tuple(row(number) for number in range(1, 21)))
    app = viewer(engine, mode="traffic")
    async with app.run_test(size=(120, 30)) as pilot:
        await until(pilot, lambda: "20 exchanges · ⇡– ⇣2.1k" in screen_text(app))
        await pilot.press("t", "t")
        await until(pilot, lambda: "2 tagged · ⇡– ⇣390" in screen_text(app))
        assert screen_text(app).count("▪") == 2
        await pilot.press("escape")
        await until(pilot, lambda: "20 exchanges" in screen_text(app) and "▪" not in screen_text(app))
        await pilot.press("slash", *"id:5-9", "enter")
        await until(pilot, lambda: "5 found" in screen_text(app))


@pytest.mark.parametrize(
    ("key", "wanted"),
    [
        ("enter", asks.OpenExchange(2)),
        ("space", asks.MarkForDiff(2)),
        ("d", asks.OpenDiff(1, 2)),
        ("r", asks.OpenReplay(2)),
        ("R", asks.OpenComparison(2)),
        ("x", asks.CancelRequested(2)),
        ("plus", asks.FeedbackGiven(2, Feedback(mark="good"))),
        ("minus", asks.FeedbackGiven(2, Feedback(mark="bad"))),
        ("a", asks.OpenNote(2)),
        ("C", asks.OpenConversation(2)),
        ("P", asks.OpenProfile("")),
    ],
)
async def test_each_key_asks_for_its_thing(engine: FakeEngine, key: str, wanted: Any) -> None:
    engine.first = snapshot(exchanges=(row(1), row(2, state="running", ended_ns=None)))
    app = viewer(engine, mode="traffic")
    app.marked_exchange = 1
    seen: list[Any] = []
    async with app.run_test(size=(120, 30), message_hook=seen.append) as pilot:
        await until(pilot, lambda: grid_of(app).cursor_key == 2)
        await pilot.press(key)
        await until(
            pilot, lambda: any(type(one) is type(wanted) and vars_of(one) == vars_of(wanted) for one in seen)
        )


def vars_of(message: Any) -> dict[str, Any]:
    return {name: getattr(message, name) for name in message.__dataclass_fields__}


async def test_d_without_a_mark_and_x_on_an_ended_one_say_what_to_do(engine: FakeEngine) -> None:
    engine.first = snapshot(exchanges=(row(1),))
    app = viewer(engine, mode="traffic")
    async with app.run_test(size=(120, 30), notifications=True) as pilot:
        await until(pilot, lambda: grid_of(app).cursor_key == 1)
        await pilot.press("d", "x")
        await until(pilot, lambda: "Mark the other one first: space." in screen_text(app))
        assert "only a running one can be ended" in screen_text(app)


@pytest.mark.parametrize(("plain", "signs"), [(False, ("◆", "+", "−", "↻")), (True, ("&", "+", "-", "r"))])
async def test_marks_are_signs_also_without_more_than_ascii(
    engine: FakeEngine, plain: bool, signs: tuple[str, ...]
) -> None:
    engine.first = snapshot(
        exchanges=(row(1), row(2, mark="good"), row(3, mark="bad"), row(4, replay_of=1, job=None))
    )
    app = viewer(engine, mode="traffic", ascii=plain)
    async with app.run_test(size=(120, 30)) as pilot:
        await until(pilot, lambda: grid_of(app).cursor_key == 4)
        await pilot.press("G", "space")
        await until(pilot, lambda: app.marked_exchange == 1)

        def marks() -> list[str]:
            column = screen_lines(app)[2].index("call")
            return ["".join(line[column - 5 : column].split()) for line in screen_lines(app)[3:7]]

        await until(pilot, lambda: marks() == [signs[3], signs[2], signs[1], signs[0]])


async def test_a_capture_of_another_day_shows_the_day(engine: FakeEngine) -> None:
    old = row(1, started_ns=NOW - 400 * 86_400 * NS, ended_ns=NOW - 400 * 86_400 * NS + NS)
    engine.first = snapshot(exchanges=(old,))
    app = viewer(engine, mode="traffic")
    async with app.run_test(size=(120, 30)) as pilot:
        day = time.strftime("%m-%d %H:%M:%S", time.localtime(old.started_ns // NS))
        await until(pilot, lambda: day in screen_text(app))


async def test_an_engine_that_can_not_answer_leaves_what_is_here() -> None:
    class Failing(FakeEngine):
        async def page(self, *_: Any, **__: Any) -> ExchangePage:
            raise NightdeskError("No.")

    engine = Failing(snapshot(exchanges=tuple(row(number) for number in range(1, 4))))
    app = viewer(engine, mode="traffic")
    async with app.run_test(size=(120, 30)) as pilot:
        await until(pilot, lambda: "model-3" in screen_text(app))
        await pilot.press("slash", *"model:model-2", "enter")
        await until(pilot, lambda: [one.key for one in grid_of(app).rows] == [2])


class LongEngine(FakeEngine):
    """Has 100,000 exchanges and answers after a moment, as a socket would."""

    async def page(
        self, query: str = "", *, sort: str = "-started", offset: int = 0, limit: int = 200
    ) -> ExchangePage:
        await asyncio.sleep(0.005)
        total = MANY - len(self.first.exchanges)
        part = tuple(row(total - place) for place in range(offset, min(offset + limit, total)))
        self.pages.append((query, sort, offset, limit))
        return ExchangePage(rows=part, offset=offset, total=total)


async def test_a_hundred_thousand_rows_scroll_without_holding_up_the_screen(
    record_property: Any,
) -> None:
    newest = tuple(row(number) for number in range(MANY - 499, MANY + 1))
    engine = LongEngine(snapshot(exchanges=newest))
    app = viewer(engine, mode="traffic")
    async with app.run_test(size=(160, 48)) as pilot:
        await until(pilot, lambda: len(grid_of(app).rows) == MANY)
        watch = Watch()
        watching = asyncio.ensure_future(watch.run())
        for key in ("end", *["pageup"] * 10, "home", *["pagedown"] * 30, "end", "home", "end"):
            await pilot.press(key)
        await until(pilot, lambda: "model-1 " in screen_text(app))
        watching.cancel()
        assert len(engine.pages) < 40
        assert isinstance(grid_of(app).cursor_key, int) and not isinstance(grid_of(app).cursor_key, Pending)
        record_property("longest_block_ms", round(watch.longest * 1000))
        assert watch.longest < 10 * LONGEST_BLOCK


class Watch:
    """Measures how much work was done in one go: in that time nothing else could run."""

    def __init__(self) -> None:
        self.longest = 0.0

    async def run(self) -> None:
        while True:
            before = time.thread_time()
            # Not at once: a loop that never rests is what the test itself would wait for.
            await asyncio.sleep(0.01)
            self.longest = max(self.longest, time.thread_time() - before)

"""The inspector on the screen: pages, folds, search, a growing reply, two columns, what it asks of others."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from textual.message import Message
from textual.pilot import Pilot

import nightdesk.model.exchange as nouns
from nightdesk.core.foreign import safe
from nightdesk.model.desk import ExchangeChanged
from nightdesk.model.errors import NightdeskError
from nightdesk.model.exchange import Exchange, Prompt, Verdict, row_of
from nightdesk.model.inspection import Feedback
from nightdesk.tui import asks
from nightdesk.tui.app import Viewer
from nightdesk.tui.screens.inspector import InspectorScreen
from nightdesk.tui.widgets.folds import FoldView
from tests.support.exchanges import COUNTS, HOSTILE, ExchangeEngine, exchange
from tests.support.viewer import replaced, screen_lines, screen_text, until, viewer


@contextlib.asynccontextmanager
async def opened(
    *known: Exchange,
    size: tuple[int, int] = (120, 40),
    at: int | None = None,
    shows: str = "── text",
    **more: Any,
) -> AsyncIterator[tuple[Viewer, Pilot[Any], ExchangeEngine]]:
    """A viewer with the inspector open on exchange ``at`` (the last one) that shows some words."""
    engine = ExchangeEngine(*known)
    app = viewer(engine, **more)
    async with app.run_test(size=size, notifications=True) as pilot:
        await until(pilot, lambda: app.link.drawn)
        app.post_message(asks.OpenExchange(known[-1].id if at is None else at))
        await until(pilot, lambda: shows in screen_text(app))
        yield app, pilot, engine


def inspector(app: Viewer) -> InspectorScreen:
    screen = app.screen
    assert isinstance(screen, InspectorScreen)
    return screen


def view(app: Viewer) -> FoldView:
    return inspector(app).view


# Pages


@pytest.mark.parametrize("size", [(60, 15), (80, 24), (120, 40), (160, 48)])
async def test_the_inspector_opens_on_the_reply_and_escape_comes_back(size: tuple[int, int]) -> None:
    async with opened(exchange(), size=size, mode="traffic") as (app, pilot, _):
        assert "Exchange 1" in screen_text(app) and "[3 Response]" in screen_text(app)
        assert "Executive Summary" in screen_text(app)
        await pilot.press("escape")
        await until(pilot, lambda: "3 Ollama traffic" in screen_text(app))


async def test_digits_tab_and_clicks_turn_the_pages() -> None:
    async with opened(exchange()) as (app, pilot, _):
        for key, words in (
            ("1", "reason stop"),
            ("2", "You summarise."),
            ("4", '"stream": true'),
            ("tab", "by the server's own clock"),
            ("tab", "Authorization: ⟨masked⟩"),
            ("tab", "Nothing was found wrong"),
            ("tab", "[1 Overview]"),
            ("shift+tab", "[7 Verdicts]"),
        ):
            await pilot.press(key)
            await until(pilot, lambda words=words: words in screen_text(app))
        row = next(y for y, text in enumerate(screen_lines(app)) if "4 JSON" in text)
        await pilot.click(offset=(screen_lines(app)[row].index("4 JSON") + 2, row))
        await until(pilot, lambda: "[4 JSON]" in screen_text(app))


async def test_an_exchange_with_a_verdict_opens_on_its_finding() -> None:
    verdict = Verdict(kind="loop", evidence="the same 40 words 12 times", advice="Lower the temperature.")
    async with opened(exchange(verdicts=(verdict,)), shows="the same 40 words 12 times") as (app, pilot, _):
        await pilot.press("7")
        await until(pilot, lambda: "Thresholds stand under [verdicts]" in screen_text(app))


@pytest.mark.parametrize("state", ["failed", "aborted", "incomplete"])
async def test_an_exchange_that_is_not_whole_opens_where_the_reason_stands(state: str) -> None:
    async with opened(exchange(state=state), shows="[1 Overview]"):
        pass


async def test_brackets_go_to_the_exchanges_below_and_above_it_in_the_list() -> None:
    known = [exchange(number, text=f"reply {number}") for number in (1, 2, 3)]
    async with opened(*known, shows="reply 3") as (app, pilot, _):
        await pilot.press("right_square_bracket")
        await until(pilot, lambda: "reply 2" in screen_text(app) and "Exchange 2" in screen_text(app))
        await pilot.press("left_square_bracket")
        await until(pilot, lambda: "reply 3" in screen_text(app))
        await pilot.press("left_square_bracket")
        await until(pilot, lambda: "This is the first one of the list." in screen_text(app))


async def test_an_exchange_that_is_gone_is_a_sentence() -> None:
    async with opened(exchange(), at=77, shows="✗ There is no exchange 77. It may be too old.") as (
        app,
        pilot,
        _,
    ):
        await pilot.press("q")
        await until(pilot, lambda: not isinstance(app.screen, InspectorScreen))
        assert app.is_running


async def test_m_shows_the_reply_as_it_is_and_again_as_markdown() -> None:
    async with opened(exchange()) as (app, pilot, _):
        assert "All is well." in screen_text(app)
        await pilot.press("m")
        await until(pilot, lambda: "All is **well**." in screen_text(app))
        await pilot.press("m")
        await until(pilot, lambda: "All is well." in screen_text(app))


# Folds and search


async def test_f_and_enter_fold_what_the_cursor_is_in_and_capital_f_everything() -> None:
    async with opened(exchange()) as (app, pilot, _):
        await pilot.press("4")
        await until(pilot, lambda: '"stream": true' in screen_text(app))
        await pilot.press("j", "j", "f")
        await until(pilot, lambda: "… } 3 members" in screen_text(app) and '"stream"' not in screen_text(app))
        assert view(app).document[view(app).line_at_cursor].plain == "{"
        await pilot.press("enter")
        await until(pilot, lambda: '"stream": true' in screen_text(app))
        await pilot.press("F")
        await until(pilot, lambda: "▸── request" in screen_text(app) and "▾" not in screen_text(app))
        await pilot.press("F")
        await until(pilot, lambda: '"content": "b"' in screen_text(app) and "▸" not in screen_text(app))


async def test_a_click_on_a_heading_folds_it() -> None:
    async with opened(exchange()) as (app, pilot, _):
        row = next(y for y, text in enumerate(screen_lines(app)) if "── thinking" in text)
        assert "▸── thinking" in screen_text(app)
        await pilot.click(offset=(8, row))
        await until(pilot, lambda: "▾── thinking" in screen_text(app))


async def test_search_counts_marks_and_unfolds_what_it_finds() -> None:
    body = json.dumps({"list": list(range(3000)), "messages": [{"a": "needle one"}, {"b": "a needle"}]})
    async with opened(exchange(request_body=body)) as (app, pilot, _):
        await pilot.press("4")
        await until(pilot, lambda: "▾── request" in screen_text(app))
        await pilot.press("F", "slash")
        await pilot.press(*"Needle", "enter")
        await until(pilot, lambda: "Needle 1 of 2 lines" in screen_text(app))
        assert '"a": "needle one"' in screen_text(app)
        await pilot.press("n")
        await until(pilot, lambda: "Needle 2 of 2 lines" in screen_text(app))
        await pilot.press("n")
        await until(pilot, lambda: "Needle 1 of 2 lines" in screen_text(app))
        await pilot.press("N")
        await until(pilot, lambda: "Needle 2 of 2 lines" in screen_text(app))
        assert '"b": "a needle"' in view(app).document[view(app).line_at_cursor].plain
        await pilot.press("escape")
        await until(pilot, lambda: "of 2 lines" not in screen_text(app))
        assert isinstance(app.screen, InspectorScreen)


async def test_what_is_not_on_the_page_is_said() -> None:
    async with opened(exchange()) as (app, pilot, _):
        await pilot.press("slash", *"nowhere", "enter")
        await until(pilot, lambda: "nowhere is not on this page." in screen_text(app))


async def test_a_match_within_a_line_of_many_rows_is_gone_to() -> None:
    async with opened(exchange(text="word " * 10_000 + "needle " + "word " * 10_000)) as (app, pilot, _):
        await pilot.press("slash", *"needle", "enter")
        await until(pilot, lambda: "needle word" in screen_text(app))


async def test_the_cursor_moves_and_scrolls_as_in_other_lists() -> None:
    async with opened(exchange(text="\n".join(f"row {n}" for n in range(300)))) as (app, pilot, _):
        await pilot.press("G")
        await until(pilot, lambda: "row 299" in screen_text(app))
        await pilot.press("g")
        await until(pilot, lambda: view(app).cursor == 0 and "── thinking" in screen_text(app))
        await pilot.press("pagedown", "j")
        height = view(app).size.height
        await until(pilot, lambda: view(app).cursor == height + 1)
        await pilot.press("ctrl+u", "k", "up", "down")
        await until(pilot, lambda: view(app).cursor == height + 1 - height // 2 - 1)


# A growing reply

RUNNING: dict[str, Any] = {"state": "running", "ended_ns": None, "thinking": "", "tool_calls": ()}


def grow(engine: ExchangeEngine, exchange: Exchange) -> None:
    engine.known[exchange.id] = exchange
    engine.more.put_nowait(ExchangeChanged(row=row_of(exchange), counts=COUNTS))


async def test_a_running_reply_is_followed_until_one_moves_up() -> None:
    begun = exchange(**RUNNING, text="## Exec")
    async with opened(begun, shows="▶ running") as (app, pilot, engine):
        assert "following" in screen_text(app)
        text = "## Executive Summary\n\n" + "a line\n" * 100
        grow(engine, replaced(begun, text=text + "newest"))
        await until(pilot, lambda: "newest" in screen_text(app))
        await pilot.press("k", "k")
        grow(engine, replaced(begun, text=text + "newest\nand more\n" * 40))
        await until(pilot, lambda: "G follows" in screen_text(app))
        before = view(app).scroll_offset.y
        await until(pilot, lambda: "and more" in view(app).plain)
        assert view(app).scroll_offset.y == before
        await pilot.press("G")
        grow(engine, replaced(begun, text=text + "newest\nand more\n" * 40 + "the very end"))
        await until(pilot, lambda: "the very end" in screen_text(app))
        assert "following" in screen_text(app)
        grow(engine, replaced(begun, text=text + "the end", state="complete", ended_ns=begun.started_ns + 1))
        await until(pilot, lambda: "✓ complete" in screen_text(app))


async def test_what_was_folded_stays_folded_while_a_reply_grows() -> None:
    begun = exchange(**{**RUNNING, "thinking": "I think.\nA lot."}, text="```\ncode\n```\ntext")
    async with opened(begun, shows="▶ running") as (app, pilot, engine):
        await pilot.press("g", "f")
        await until(pilot, lambda: "A lot." in screen_text(app))
        grow(engine, replaced(begun, text=begun.text + "\nmore text"))
        await until(pilot, lambda: "more text" in screen_text(app))
        assert "A lot." in screen_text(app)


async def test_while_the_viewer_ends_its_screens_are_taken_apart_and_not_drawn_any_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fed: list[int] = []
    async with opened(exchange(**RUNNING), shows="▶ running") as (app, _, _):
        monkeypatch.setattr(inspector(app), "feed", lambda _mirror, now_ns: fed.append(now_ns))
        app.on_feed_requested()
        assert len(fed) == 1
        monkeypatch.setattr(app, "_running", False)
        app.on_feed_requested()
        assert len(fed) == 1
        monkeypatch.undo()


# Two columns, other looks


async def test_wide_terminals_show_prompt_and_response_side_by_side() -> None:
    async with opened(exchange(), size=(160, 48)) as (app, pilot, _):
        both = [text for text in screen_lines(app) if "── system" in text and "── thinking" in text]
        assert len(both) == 1 and both[0].index("── system") < both[0].index("── thinking")
        await pilot.press("2")
        await until(pilot, lambda: inspector(app).view_of(1).has_focus)
        await pilot.press("z")
        await until(pilot, lambda: "── thinking" not in screen_text(app) and "── system" in screen_text(app))
        await pilot.press("z")
        await until(pilot, lambda: "── thinking" in screen_text(app))
        await pilot.press("1")
        await until(pilot, lambda: "── system" not in screen_text(app))


async def test_a_change_of_the_size_rearranges_columns_and_rows() -> None:
    async with opened(exchange(text="words " * 200), size=(160, 48)) as (app, pilot, _):
        await pilot.resize_terminal(80, 24)
        await until(pilot, lambda: "── system" not in screen_text(app) and view(app).size.width < 80)
        assert all(len(line) <= 80 for line in screen_lines(app))
        await pilot.resize_terminal(160, 48)
        await until(pilot, lambda: "── system" in screen_text(app))


async def test_plain_signs_are_ascii_on_every_page() -> None:
    async with opened(exchange(), shows="-- text", ascii=True) as (app, pilot, _):
        for number in range(1, 8):
            await pilot.press(str(number))
            await until(pilot, lambda number=number: f"[{number} " in screen_text(app))
            text = "\n".join(view(app).plain.split("\n")).replace("⟨masked⟩", "")
            assert all(app.get_line_filters() and ord(sign) < 0x2500 for sign in text)


async def test_the_usual_of_the_model_is_asked_once_and_a_refusal_is_a_sentence() -> None:
    async with opened(exchange()) as (app, pilot, engine):
        await pilot.press("5")
        await until(pilot, lambda: "usually 82.0" in screen_text(app))
        await pilot.press("6", "5")
        await until(pilot, lambda: "[5 Timing]" in screen_text(app))
        asked = [each for each in engine.asked if each[0] == "totals" and each[1]]
        assert asked == [("totals", 'model:"qwen2.5-coder:32b" state:complete -replay:*')]
    async with opened(exchange(model="other")) as (app, pilot, engine):
        engine.usual = NightdeskError("The store is closed.")
        await pilot.press("5")
        await until(pilot, lambda: "The store is closed." in screen_text(app))


# What others do


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the inspector asks of others, which goes no further."""
    seen: list[Any] = []

    def take(_: object, message: Message) -> None:
        seen.append(message)
        message.stop()

    for name in (
        "open_replay",
        "open_comparison",
        "cancel_requested",
        "open_conversation",
        "mark_for_diff",
        "open_diff",
    ):
        monkeypatch.setattr(InspectorScreen, f"on_{name}", take, raising=False)
    return seen


async def test_keys_ask_for_what_other_screens_do(asked: list[Any]) -> None:
    async with opened(exchange(1), exchange(2)) as (app, pilot, _):
        await pilot.press("r", "R", "x", "C", "d")
        await until(pilot, lambda: len(asked) == 5)
        assert [(type(each), each.id) for each in asked] == [
            (asks.OpenReplay, 2),
            (asks.OpenComparison, 2),
            (asks.CancelRequested, 2),
            (asks.OpenConversation, 2),
            (asks.MarkForDiff, 2),
        ]
        app.marked_exchange = 1
        await pilot.press("d")
        await until(pilot, lambda: len(asked) == 6)
        assert (asked[5].left, asked[5].right) == (1, 2)


async def test_d_compares_a_replay_with_its_original(asked: list[Any]) -> None:
    async with opened(exchange(1), exchange(2, replay_of=1)) as (_, pilot, _):
        await pilot.press("d")
        await until(pilot, lambda: len(asked) == 1)
        assert (asked[0].left, asked[0].right) == (1, 2)


async def test_a_mark_is_given_and_the_same_again_takes_it_back() -> None:
    async with opened(exchange(1)) as (app, pilot, engine):
        engine.given = {1: Feedback(note="look again")}
        for key, expected in (("plus", "good"), ("minus", "bad"), ("minus", None)):
            await pilot.press(key)
            await until(pilot, lambda expected=expected: engine.given[1].mark == expected)
            assert engine.given[1].note == "look again"
        await until(pilot, lambda: "no longer marked bad" in screen_text(app))


async def test_a_opens_the_note() -> None:
    async with opened(exchange(1)) as (app, pilot, engine):
        engine.given = {1: Feedback(note="look again")}
        await pilot.press("a")
        await until(pilot, lambda: "look again" in screen_text(app))


async def test_the_help_lists_the_keys_of_the_inspector() -> None:
    async with opened(exchange()) as (app, pilot, _):
        await pilot.press("question_mark")
        await until(pilot, lambda: "Seven pages" in screen_text(app))
        await pilot.press("G")
        await until(pilot, lambda: "inspector." in screen_text(app))


# Hostile content


async def test_hostile_content_is_harmless_on_the_screen() -> None:
    bad: dict[str, Any] = dict.fromkeys(
        ("text", "thinking", "model", "path", "method", "error", "item"), HOSTILE
    )
    prompt = Prompt(messages=(nouns.Message(role=HOSTILE, content=HOSTILE),) * 3)
    shown = exchange(**bad, prompt=prompt, request_body=HOSTILE, response_body=HOSTILE)
    async with opened(shown, shows="[1 Overview]") as (app, pilot, _):
        for number in range(1, 8):
            await pilot.press(str(number))
            await until(pilot, lambda number=number: f"[{number} " in screen_text(app))
            await pilot.press("slash", "a", "enter")
            text = screen_text(app)
            assert safe(text) == text and "\x1b" not in app.export_screenshot()

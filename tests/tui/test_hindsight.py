"""Profile, conversation, marks and notes, pressed and read."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from nightdesk.core.inspection.conversations import conversation, tie_of
from nightdesk.core.inspection.profile import profile
from nightdesk.core.inspection.query import parse
from nightdesk.model.conversation import Conversation
from nightdesk.model.errors import NightdeskError
from nightdesk.model.exchange import (
    Exchange,
    ExchangeRow,
    Message,
    MissingBytes,
    Prompt,
    ToolCall,
    Verdict,
    row_of,
)
from nightdesk.model.inspection import Feedback
from nightdesk.model.process import ProcessRef
from nightdesk.model.profile import Profile
from nightdesk.tui.app import Viewer
from nightdesk.tui.asks import FeedbackGiven, FilterTraffic, OpenConversation, OpenNote, OpenProfile
from nightdesk.tui.glyphs import ASCII, UNICODE
from nightdesk.tui.panes.traffic import TrafficPane
from nightdesk.tui.screens.conversation import ConversationScreen
from nightdesk.tui.screens.inspector import InspectorScreen
from nightdesk.tui.screens.note import NoteScreen
from nightdesk.tui.screens.profile import ProfileScreen
from nightdesk.tui.screens.profile_rows import BAR, rows_of
from nightdesk.tui.screens.turns import turn_lines, turn_rows
from tests.support.viewer import NOW, NS, FakeEngine, screen_text, snapshot, until, viewer

SIZES = [(80, 24), (120, 40), (160, 48)]
HOSTILE = "\x1b]52;c;aGk=\x07[/] [@click=app.quit]x[/] \u202e\x9b31m"


def shows(app: Viewer, words: str) -> bool:
    return words in screen_text(app)


def has_opened(app: Viewer, number: int) -> bool:
    """The inspector lies on top and shows this exchange."""
    return isinstance(app.screen, InspectorScreen) and app.screen.exchange_id == number


def exchange(number: int, *messages: Message, **more: Any) -> Exchange:
    """A chat of 10 seconds, 2 of them loading, one every 20 seconds."""
    begun = NOW - 3600 * NS + number * 20 * NS
    given: dict[str, Any] = {
        "id": number,
        "state": "complete",
        "client_addr": "127.0.0.1:41234",
        "server_addr": "127.0.0.1:11434",
        "connection": 1,
        "position": number,
        "dialect": "ollama",
        "operation": "chat",
        "streamed": True,
        "fragments": 9,
        "model": "qwen2.5-coder:32b",
        "text": f"answer {number}",
        "thinking": "",
        "tool_calls": (),
        "done": True,
        "done_reason": "stop",
        "prompt_tokens": 100 * number,
        "reply_tokens": 30,
        "load_ns": 2 * NS,
        "prompt_ns": 1 * NS,
        "generation_ns": 6 * NS,
        "started_ns": begun,
        "first_token_ns": begun + 4 * NS,
        "ended_ns": begun + 10 * NS,
        "request_bytes": 0,
        "request_sha256": "",
        "response_bytes": 0,
        "response_sha256": "",
        "missing_bytes": MissingBytes(request=0, response=0),
        "process": ProcessRef(pid=4101, started_ns=NOW, name="python", command="python chat.py"),
        "job": "synthesize",
        "item": f"item {number}",
        "verdicts": (),
        "prompt": Prompt(messages=messages, options={"num_ctx": 1000}),
        **more,
    }
    return Exchange(**given)


def night() -> tuple[Exchange, ...]:
    """Nine turns of one conversation, and a reply in a loop by another model."""
    said: list[Message] = []
    made = []
    for number in range(1, 10):
        said.append(Message(role="user", content=f"question {number}"))
        made.append(exchange(number, *said))
        said.append(Message(role="assistant", content=f"answer {number}"))
    loop = Verdict(kind="loop", evidence="and and and", advice="Stop it.")
    made.append(
        exchange(
            10,
            Message(role="user", content="sing"),
            model="tinyllama:1.1b",
            verdicts=(loop,),
            job=None,
            item=None,
        )
    )
    return tuple(made)


class Night(FakeEngine):
    """Answers from the exchanges of :func:`night` with the real sums."""

    def __init__(self, known: tuple[Exchange, ...] | None = None) -> None:
        self.known = {one.id: one for one in (night() if known is None else known)}
        super().__init__(snapshot(exchanges=tuple(row_of(one) for one in self.known.values())))

    def matching(self, query: str) -> list[ExchangeRow]:
        read = parse(query)
        return [row for one in self.known.values() if read.matches(row := row_of(one), NOW)]

    async def exchange(self, exchange_id: int) -> Exchange:
        return self.known[exchange_id]

    async def profile(self, query: str = "") -> Profile:
        self.asked.append(("profile", query))
        return profile(self.matching(query), NOW, query)

    async def conversation(self, exchange_id: int) -> Conversation:
        if exchange_id not in self.known:
            raise NightdeskError(f"There is no exchange {exchange_id}.", "It may be too old.")
        return conversation(exchange_id, tie_of(self.known[exchange_id]), self.known.values())


# Profile


@pytest.mark.parametrize("size", SIZES)
async def test_a_profile_shows_sums_advice_and_lines_by_model_and_job(size: tuple[int, int]) -> None:
    app = viewer(Night(), mode="traffic")
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: app.link.drawn)
        app.post_message(OpenProfile())
        await until(pilot, lambda: "by model" in screen_text(app))
        shown = screen_text(app)
        for words in (
            "10 exchanges",
            "1m40s in them",
            "client pauses",
            "generation 60%",
            "load 20%",
            "qwen2.5-coder:32b",
        ):
            assert words in " ".join(shown.replace("│", " ").split()), words
        assert "▲ Client pauses are 47%" in shown
        await pilot.press("G")
        await until(pilot, lambda: "▲ loop" in screen_text(app))
        await pilot.press("escape")
        await until(pilot, lambda: "Profile" not in screen_text(app))


async def test_enter_on_a_model_shows_its_exchanges_in_the_list() -> None:
    app = viewer(Night(), mode="desk")
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: app.link.drawn)
        app.post_message(OpenProfile("op:chat"))
        await until(pilot, lambda: "by model" in screen_text(app))
        await pilot.press("enter")
        pane = app.desk_screen.query_one(TrafficPane)
        wanted = 'op:chat model:"=qwen2.5-coder:32b"'
        await until(pilot, lambda: pane.filter_text == wanted and app.screen is app.desk_screen)
        assert app.desk_screen.mode == "traffic"


async def test_the_slowest_of_a_line_opens_and_escape_comes_back_to_the_profile() -> None:
    app = viewer(Night())
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: app.link.drawn)
        app.post_message(OpenProfile())
        await until(pilot, lambda: "by model" in screen_text(app))
        await pilot.press("j", "b")
        await until(pilot, partial(has_opened, app, 10))
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, ProfileScreen))
        await pilot.press("G", "enter")
        await until(pilot, lambda: app.screen is app.desk_screen)
        assert app.desk_screen.query_one(TrafficPane).filter_text == 'verdict:"=loop"'


async def test_another_query_is_typed_and_a_wrong_one_is_a_sentence() -> None:
    engine = Night()
    app = viewer(engine)
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: app.link.drawn)
        app.post_message(OpenProfile())
        await until(pilot, lambda: "by model" in screen_text(app))
        await pilot.press("slash", *"model:tiny", "enter")
        await until(pilot, lambda: "1 exchange " in screen_text(app))
        assert "tinyllama" in screen_text(app) and "qwen2.5" not in screen_text(app)
        await pilot.press("slash", *":", "enter")
        await until(pilot, lambda: "✗" in screen_text(app))
        await pilot.press("slash", "escape")
        await until(pilot, lambda: isinstance(app.screen, ProfileScreen))
        await pilot.press("slash", *("backspace",) * 12, *"op:embed", "enter")
        await until(pilot, lambda: "No exchange matches" in screen_text(app))
        await pilot.press("r")
        await until(pilot, lambda: engine.asked.count(("profile", "op:embed")) == 2)


async def test_the_palette_opens_the_profile() -> None:
    app = viewer(Night())
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: app.link.drawn)
        await pilot.press("ctrl+p", *"where the time")
        await until(pilot, lambda: "Profile: where the time went" in screen_text(app))
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, ProfileScreen))


def test_bars_have_a_sign_for_each_part_also_where_signs_are_plain() -> None:
    made = profile([row_of(one) for one in night()], NOW)
    for glyphs, wanted in ((UNICODE, "╌╌▒▒▒▒▓▓████████████"), (ASCII, "qqLLLLppgggggggggggg")):
        rows = {row.key: row for row in rows_of(made, 20, glyphs)}
        assert rows[("by job", "synthesize")].cells[BAR].plain.replace("-", "") == wanted.replace("-", "")
        assert glyphs is UNICODE or all(
            cell.plain.isascii() for row in rows.values() for cell in row.cells[8:9]
        )


def test_hostile_names_are_harmless_in_a_profile_and_in_a_conversation() -> None:
    bad = exchange(
        1,
        Message(role=HOSTILE, content=HOSTILE, tool_name=HOSTILE),
        model=HOSTILE,
        item=HOSTILE,
        error=HOSTILE,
        tool_calls=(ToolCall(name=HOSTILE, arguments=HOSTILE),),
        verdicts=(Verdict(kind=HOSTILE, evidence=HOSTILE, advice=HOSTILE),),
    )
    made = conversation(1, tie_of(bad), [bad])
    for line in turn_lines(made.turns[0], UNICODE):
        assert not any(sign in text for text, _ in line for sign in "\x1b\x07\x9b\u202e")
    assert turn_rows(made.turns, UNICODE) and rows_of(profile([row_of(bad)], NOW), 20, UNICODE)


# Conversation


@pytest.mark.parametrize("size", SIZES)
async def test_a_conversation_shows_what_each_turn_added(size: tuple[int, int]) -> None:
    app = viewer(Night(), mode="traffic")
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: app.link.drawn)
        app.post_message(OpenConversation(3))
        await until(pilot, lambda: "9 exchanges of one conversation" in screen_text(app))
        await until(pilot, lambda: "Exchange 3" in screen_text(app))
        shown = screen_text(app)
        assert "+100" in shown and "+10.0s" in shown
        assert "── user" in shown and "question 3" in shown and "answer 3" in shown
        await pilot.press("j")
        await until(pilot, lambda: "Exchange 4" in screen_text(app))
        await pilot.press("enter")
        await until(pilot, partial(has_opened, app, 4))
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, ConversationScreen))


async def test_t_shows_everything_of_the_client_and_this_conversation_again() -> None:
    app = viewer(Night())
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: app.link.drawn)
        app.post_message(OpenConversation(9))
        await until(pilot, lambda: "t shows all 10 of this client" in screen_text(app))
        await pilot.press("t")
        await until(pilot, lambda: "10 exchanges in 2 conversations" in screen_text(app))
        assert "▲ loop" in screen_text(app)
        await pilot.press("G", "t")
        await until(pilot, lambda: "1 exchange of one conversation" in screen_text(app))
        assert "and and and" in screen_text(app)


async def test_the_context_grows_turn_by_turn_towards_its_limit() -> None:
    made = conversation(9, tie_of(night()[0]), night()[:9])
    bars = [row.cells[7].plain for row in turn_rows(made.turns, UNICODE)]
    assert [bar.count("█") for bar in bars] == sorted(bar.count("█") for bar in bars)
    assert bars[0].startswith("█▒░") and bars[0].endswith("░│1.0k")
    assert bars[-1] == "██████████████▒░│1.0k"
    full = exchange(11, Message(role="user", content="x"), prompt_tokens=990)
    bar = turn_rows(conversation(11, tie_of(full), [full]).turns, UNICODE)[0].cells[7]
    assert bar.more[0][1] == "bad" and "░" not in bar.plain


async def test_a_conversation_that_is_gone_is_a_sentence() -> None:
    app = viewer(Night())
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: app.link.drawn)
        app.post_message(OpenConversation(77))
        await until(pilot, lambda: "There is no exchange 77." in screen_text(app))
        await pilot.press("j", "enter", "t", "tab", "escape")
        await until(pilot, lambda: app.screen is app.desk_screen)


# Feedback


async def test_the_same_mark_again_takes_it_back_and_the_note_stays() -> None:
    engine = Night()
    engine.given[3] = Feedback(note="look again")
    app = viewer(engine)
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await until(pilot, lambda: app.link.drawn)
        for given, after, words in (
            (Feedback(mark="good"), Feedback(mark="good", note="look again"), "marked good."),
            (Feedback(mark="bad"), Feedback(mark="bad", note="look again"), "marked bad."),
            (Feedback(mark="bad"), Feedback(note="look again"), "no longer marked bad."),
        ):
            app.post_message(FeedbackGiven(3, given))
            await until(pilot, partial(shows, app, f"Exchange 3: {words}"))
            assert engine.given[3] == after


async def test_a_note_is_written_marked_and_saved() -> None:
    engine = Night()
    app = viewer(engine)
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await until(pilot, lambda: app.link.drawn)
        app.post_message(OpenNote(3))
        await until(pilot, lambda: isinstance(app.screen, NoteScreen))
        await pilot.press(*"quite good", "tab")
        await until(pilot, lambda: "[✓ good]" in screen_text(app))
        await pilot.press("enter")
        await until(pilot, lambda: "Exchange 3: marked good, noted." in screen_text(app))
        assert engine.given[3] == Feedback(mark="good", note="quite good")
        app.post_message(OpenNote(3))
        await until(pilot, lambda: isinstance(app.screen, NoteScreen) and "quite good" in screen_text(app))
        await pilot.press(*" or not", "escape")
        await until(pilot, lambda: app.screen is app.desk_screen)
        assert engine.given[3].note == "quite good"


async def test_a_list_that_is_filtered_from_elsewhere_closes_what_lies_over_it() -> None:
    app = viewer(Night())
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: app.link.drawn)
        app.post_message(OpenProfile())
        await until(pilot, lambda: isinstance(app.screen, ProfileScreen))
        app.post_message(OpenConversation(3))
        await until(pilot, lambda: isinstance(app.screen, ConversationScreen))
        app.post_message(FilterTraffic("job:synthesize"))
        await until(pilot, lambda: app.screen is app.desk_screen)
        await until(pilot, lambda: "job:synthesize" in screen_text(app))

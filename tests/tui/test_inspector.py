"""The inspector: six pages on one exchange, following a reply, bodies of any size, hostile content."""

from __future__ import annotations

import json
from typing import Any

import pytest
from rich.cells import cell_len

from nightdesk.core.foreign import safe
from nightdesk.model.desk import ExchangeChanged, ExchangeCounts
from nightdesk.model.errors import NightdeskError
from nightdesk.model.exchange import (
    Embeddings,
    Exchange,
    Image,
    Message,
    MissingBytes,
    Prompt,
    ToolCall,
    Verdict,
    row_of,
)
from nightdesk.model.process import ProcessRef
from nightdesk.tui.asks import OpenExchange
from nightdesk.tui.glyphs import UNICODE
from nightdesk.tui.screens.exchange_pages import LIMIT, PAGES, json_lines, page_lines, title_cells
from nightdesk.tui.screens.inspector import InspectorScreen
from nightdesk.tui.widgets.lines import Pieces, wrap
from nightdesk.tui.widgets.page import Page
from tests.support.viewer import NOW, FakeEngine, replaced, screen_text, snapshot, until, viewer

NS = 10**9
COUNTS = ExchangeCounts(running=0, done=1, failed=0, verdicts=0)
HOSTILE = "\x1b]52;c;aGk=\x07\x1b[2J[/] [@click=app.quit]x[/] \u202eabc\u202c \x9b31m \x00\r\tend"
NAMES = [name for name, _ in PAGES]


def exchange(number: int = 1, **more: Any) -> Exchange:
    """A complete chat with everything that Ollama tells."""
    given: dict[str, Any] = {
        "id": number,
        "state": "complete",
        "client_addr": "127.0.0.1:41234",
        "server_addr": "127.0.0.1:11434",
        "connection": 3,
        "position": 2,
        "method": "POST",
        "path": "/api/chat",
        "dialect": "ollama",
        "operation": "chat",
        "status": 200,
        "streamed": True,
        "stream_format": "ndjson",
        "fragments": 821,
        "model": "qwen2.5-coder:32b",
        "text": "## Executive Summary\n\nAll is well.",
        "thinking": "The user wants a summary.",
        "tool_calls": (ToolCall(id="c1", name="search", arguments={"q": "minutes"}),),
        "done": True,
        "done_reason": "stop",
        "prompt_tokens": 3100,
        "reply_tokens": 820,
        "load_ns": 2 * NS,
        "prompt_ns": 3 * NS,
        "generation_ns": 20 * NS,
        "total_ns": 26 * NS,
        "started_ns": NOW - 60 * NS,
        "first_byte_ns": NOW - 55 * NS,
        "first_token_ns": NOW - 54 * NS,
        "ended_ns": NOW - 33 * NS,
        "request_bytes": 12_300,
        "request_sha256": "ab" * 32,
        "response_bytes": 98_000,
        "response_sha256": "cd" * 32,
        "missing_bytes": MissingBytes(request=0, response=0),
        "process": ProcessRef(pid=4101, started_ns=NOW, name="python", command="python batch.py"),
        "run": "synthesize-1",
        "job": "synthesize",
        "item": "item 9",
        "verdicts": (),
        "prompt": Prompt(
            messages=(
                Message(role="system", content="You summarise."),
                Message(
                    role="user", content="Summarise this.", images=(Image(sha256="ef" * 32, bytes=5000),)
                ),
            ),
            options={"num_ctx": 8192},
            tools=({"type": "function"},),
        ),
        "request_headers": (("Host", "localhost"), ("Authorization", "masked")),
        "response_headers": (("Content-Type", "application/x-ndjson"),),
        "request_body": json.dumps({"model": "qwen2.5-coder:32b", "stream": True, "n": -1.5}),
        "response_body": '{"message":{"content":"a"}}\n{"message":{"content":"b"}}',
        **more,
    }
    return Exchange(**given)


def page(shown: Exchange, name: str, width: int = 100) -> str:
    lines = page_lines(shown, NAMES.index(name), UNICODE, NOW, width)
    return "\n".join("".join(text for text, _ in line) for line in lines)


class ExchangeEngine(FakeEngine):
    """Answers with the exchanges it is given."""

    def __init__(self, *known: Exchange) -> None:
        super().__init__(snapshot(exchanges=tuple(row_of(one) for one in known), counts=COUNTS))
        self.known = {one.id: one for one in known}

    async def exchange(self, exchange_id: int) -> Exchange:
        self.asked.append(("exchange", exchange_id))
        if exchange_id not in self.known:
            raise NightdeskError(f"There is no exchange {exchange_id}.", "It may be too old.")
        return self.known[exchange_id]


# Pages


def test_the_overview_has_findings_first_then_who_and_how_much() -> None:
    verdict = Verdict(kind="context_cut", evidence="8,192 of about 11,900 tokens", advice="Raise num_ctx.")
    text = page(exchange(verdicts=(verdict,), note="the body was cut"), "Overview")
    assert text.startswith("▲ context cut\n8,192 of about 11,900 tokens\n→ Raise num_ctx.\n")
    for words in (
        "state         complete  reason stop",
        "POST /api/chat  status 200",
        "python (4101)  python batch.py",
        "synthesize › item 9  synthesize-1",
        "127.0.0.1:41234 → 127.0.0.1:11434  exchange 2 of connection 3",
        "first token   6.0s",
        "⇡3.1k tokens  1,033 tokens/s",
        "⇣820 tokens  41 tokens/s",
        "12.3 kB  sha256 abababababababab",
        "num_ctx       8192",
        "note          the body was cut",
    ):
        assert words in text


def test_unknown_facts_are_dashes_with_their_reason() -> None:
    bare = exchange(
        process=None, model=None, first_token_ns=None, unknown={"process": "The port was closed already."}
    )
    text = page(bare, "Overview")
    assert "process       –  The port was closed already." in text
    assert "first token   –" in text
    lost = page(exchange(missing_bytes=MissingBytes(request=0, response=4300)), "Overview")
    assert "4.3 kB not captured" in lost


def test_the_prompt_page_shows_messages_by_role_with_images_and_tools() -> None:
    text = page(exchange(), "Prompt")
    assert text.index("── system") < text.index("You summarise.") < text.index("── user")
    assert "image         5.0 kB  sha256 efefefefefefefef" in text
    assert "── tools  1" in text and '"type": "function"' in text
    single = exchange(prompt=Prompt(system="Be brief.", prompt="Why?"))
    assert "Be brief." in page(single, "Prompt") and "Why?" in page(single, "Prompt")
    assert "No prompt was understood" in page(exchange(prompt=None), "Prompt")


def test_the_response_page_shows_thinking_text_and_tool_calls_in_that_order() -> None:
    text = page(exchange(), "Response")
    places = [text.index(words) for words in ("── thinking", "── text", "All is well.", "tool call search")]
    assert places == sorted(places)
    assert "▶ running" in page(exchange(state="running", ended_ns=None), "Response")
    assert "The reply holds no text." in page(exchange(text="", thinking="", tool_calls=()), "Response")
    assert "3 of 768 dimensions" in page(exchange(embeddings=Embeddings(count=3, dims=768)), "Response")
    assert "✗ out of memory" in page(exchange(error="out of memory"), "Response")


def test_the_json_page_indents_values_and_leaves_streams_as_they_are() -> None:
    text = page(exchange(), "JSON")
    assert '  "model": "qwen2.5-coder:32b",' in text
    assert '{"message":{"content":"a"}}\n{"message":{"content":"b"}}' in text
    assert "Not recorded." in page(exchange(request_body=None), "JSON")
    assert "[" * 100 in page(exchange(request_body="[" * 100_000), "JSON")


def test_json_has_its_own_tone_for_keys_strings_and_values() -> None:
    (line,) = json_lines('{"key": "a \\" b", "n": -1.5, "t": true}')
    tones = {text: tone for text, tone in line if tone != "muted"}
    assert tones == {
        '"key"': "accent",
        '"a \\" b"': "ok",
        '"n"': "accent",
        "-1.5": "primary",
        '"t"': "accent",
        "true": "primary",
    }
    assert "".join(text for text, _ in line) == '{"key": "a \\" b", "n": -1.5, "t": true}'


def test_the_timing_page_tells_queue_prompt_and_generation_apart() -> None:
    text = page(exchange(), "Timing")
    assert "as the client saw it  27.0s" in text and "by the server's own clock  26.0s" in text
    for name, words in (
        ("first token", "6.0s   22 %"),
        ("queue and load", "2.0s    8 %"),
        ("prompt", "3.0s   12 %"),
        ("generation", "20.0s   77 %"),
        ("other", "1.0s    4 %"),
    ):
        (line,) = (line for line in text.split("\n") if line.startswith(f"{name} "))
        assert "█" in line and line.endswith(words)
        assert len(line) <= 100
    silent = exchange(load_ns=None, prompt_ns=None, generation_ns=None, total_ns=None)
    assert "has not told" in page(silent, "Timing")


def test_the_headers_page_shows_both_sides_in_order() -> None:
    text = page(exchange(), "Headers")
    assert text.index("Host: localhost") < text.index("Authorization: masked") < text.index("Content-Type")


def test_the_title_says_what_it_is_and_whose() -> None:
    words = "".join(cell.plain for cell in title_cells(exchange(), UNICODE, NOW))
    assert words == (
        "✓ complete  POST /api/chat · 200  qwen2.5-coder:32b  synthesize › item 9  27.0s · first token 6.0s"
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_page_is_bounded_and_says_what_it_leaves_out(name: str) -> None:
    huge = "word " * 2_000_000
    shown = exchange(
        text=huge,
        thinking=huge,
        request_body=huge,
        response_body='"' * 9_000_000,
        error=huge,
        prompt=Prompt(prompt=huge, messages=tuple(Message(role="user", content=huge) for _ in range(20))),
        request_headers=(("X", huge),) * 500,
    )
    text = page(shown, name)
    assert len(text) <= 2 * LIMIT + 10_000
    if name in ("Prompt", "Response", "JSON"):
        assert "nightdesk show prints all" in text


@pytest.mark.parametrize("name", NAMES)
def test_hostile_content_is_harmless_on_every_page(name: str) -> None:
    fields = ("text", "thinking", "model", "path", "method", "error", "note", "item")
    bad: dict[str, Any] = dict.fromkeys(fields, HOSTILE)
    shown = exchange(
        **bad,
        done_reason=HOSTILE,
        request_body=HOSTILE,
        response_body=json.dumps({HOSTILE: HOSTILE}),
        statuses=(HOSTILE,),
        tool_calls=(ToolCall(name=HOSTILE, arguments=HOSTILE),),
        verdicts=(Verdict(kind=HOSTILE, evidence=HOSTILE, advice=HOSTILE),),
        prompt=Prompt(
            system=HOSTILE,
            messages=(Message(role=HOSTILE, content=HOSTILE, tool_name=HOSTILE),),
            options={HOSTILE: HOSTILE},
        ),
        request_headers=((HOSTILE, HOSTILE),),
        unknown={HOSTILE: HOSTILE},
    )
    text = page(shown, name)
    assert safe(text) == text and "\t" not in text


# Wrapping


@pytest.mark.parametrize("width", [2, 3, 7, 20, 80])
def test_wrapped_rows_fit_and_hold_every_sign(width: int) -> None:
    line: Pieces = (("two words ", "muted"), ("議事録" * 30, ""), (" and more " * 9, "ok"), ("x" * 200, ""))
    rows = wrap(line, width)
    assert all(sum(cell_len(text) for text, _ in row) <= width for row in rows)
    assert "".join(text for row in rows for text, _ in row) == "".join(text for text, _ in line)


def test_words_are_not_broken_where_there_is_a_blank() -> None:
    rows = wrap((("the quick brown fox jumps", ""),), 12)
    assert [row[0][0] for row in rows] == ["the quick ", "brown fox ", "jumps"]


# The screen


@pytest.mark.parametrize("size", [(60, 15), (80, 24), (120, 40), (160, 48)])
async def test_enter_opens_the_exchange_and_escape_comes_back(size: tuple[int, int]) -> None:
    app = viewer(ExchangeEngine(exchange()), mode="traffic")
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: "qwen2.5-coder" in screen_text(app))
        await pilot.press("enter")
        await until(pilot, lambda: "── text" in screen_text(app))
        assert "Exchange 1" in screen_text(app) and "[3 Response]" in screen_text(app)
        await pilot.press("escape")
        await until(pilot, lambda: "3 Ollama traffic" in screen_text(app))


async def test_digits_and_tab_turn_the_pages() -> None:
    app = viewer(ExchangeEngine(exchange()), mode="traffic")
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: "qwen2.5-coder" in screen_text(app))
        await pilot.press("enter")
        await until(pilot, lambda: "── text" in screen_text(app))
        for key, words in (
            ("1", "reason stop"),
            ("2", "You summarise."),
            ("4", '"stream": true'),
            ("tab", "by the server's own clock"),
            ("tab", "Authorization: masked"),
            ("tab", "[1 Overview]"),
            ("shift+tab", "[6 Headers]"),
        ):
            await pilot.press(key)
            await until(pilot, lambda words=words: words in screen_text(app))


async def test_an_exchange_with_a_verdict_opens_on_its_finding() -> None:
    verdict = Verdict(kind="loop", evidence="the same 40 words 12 times", advice="Lower the temperature.")
    app = viewer(ExchangeEngine(exchange(verdicts=(verdict,))), mode="traffic")
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: "▲ loop" in screen_text(app))
        await pilot.press("enter")
        await until(pilot, lambda: "the same 40 words 12 times" in screen_text(app))


async def test_a_running_reply_grows_while_one_looks_at_it() -> None:
    running: dict[str, Any] = {"state": "running", "ended_ns": None, "thinking": "", "tool_calls": ()}
    begun = exchange(**running, text="## Exec")
    engine = ExchangeEngine(begun)
    app = viewer(engine, mode="traffic")
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: "## Exec" in screen_text(app))
        await pilot.press("enter")
        await until(pilot, lambda: "▶ running" in screen_text(app))
        grown = replaced(begun, text="## Executive Summary\n\n" + "a line\n" * 100)
        engine.known[1] = grown
        engine.more.put_nowait(ExchangeChanged(row=row_of(grown), counts=COUNTS))
        await until(pilot, lambda: "## Executive Summary" in screen_text(app))
        await pilot.press("G")
        page = app.screen.query_one(Page)
        await until(pilot, lambda: page.at_end)
        engine.known[1] = replaced(grown, text=grown.text + "and the newest line")
        engine.more.put_nowait(ExchangeChanged(row=row_of(engine.known[1]), counts=COUNTS))
        await until(pilot, lambda: "and the newest line" in screen_text(app))


async def test_n_and_p_go_to_the_exchanges_beside_it() -> None:
    app = viewer(ExchangeEngine(*(exchange(n, text=f"reply {n}") for n in (1, 2, 3))), mode="traffic")
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await until(pilot, lambda: "reply 3" in screen_text(app))
        await pilot.press("enter")
        await until(pilot, lambda: "Exchange 3" in screen_text(app))
        await pilot.press("p")
        await until(pilot, lambda: "reply 2" in screen_text(app))
        await pilot.press("n")
        await until(pilot, lambda: "reply 3" in screen_text(app))
        await pilot.press("n")
        await until(pilot, lambda: "This is the last one." in screen_text(app))


async def test_copying_names_the_way_and_copies_the_page() -> None:
    app = viewer(ExchangeEngine(exchange()), mode="traffic")
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await until(pilot, lambda: "qwen2.5-coder" in screen_text(app))
        await pilot.press("enter")
        await until(pilot, lambda: "── text" in screen_text(app))
        await pilot.press("y")
        await until(pilot, lambda: "OSC 52" in screen_text(app))
        assert "## Executive Summary\n\nAll is well." in app.clipboard


async def test_an_exchange_that_is_gone_is_a_sentence() -> None:
    app = viewer(ExchangeEngine(exchange()))
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: app.link.drawn)
        app.post_message(OpenExchange(77))
        await until(pilot, lambda: "✗ There is no exchange 77. It may be too old." in screen_text(app))
        await pilot.press("q")
        await until(pilot, lambda: not isinstance(app.screen, InspectorScreen))
        assert app.is_running


async def test_ten_megabytes_of_hostile_text_open_and_scroll() -> None:
    huge = (HOSTILE + "議事録 ") * 200_000
    app = viewer(ExchangeEngine(exchange(text=huge, thinking="", request_body=huge)), mode="traffic")
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "qwen2.5-coder" in screen_text(app))
        await pilot.press("enter")
        await until(pilot, lambda: "── text" in screen_text(app))
        await pilot.press("G")
        await until(pilot, lambda: "more characters are not shown" in " ".join(screen_text(app).split()))
        shown = app.screen.query_one(Page)
        for y in range(shown.size.height):
            strip = shown.render_line(y)
            assert safe(strip.text) == strip.text and strip.cell_length == shown.size.width
        assert "\x1b" not in app.export_screenshot()


@pytest.mark.parametrize("state", ["failed", "aborted", "incomplete"])
async def test_an_exchange_that_is_not_whole_opens_where_the_reason_stands(state: str) -> None:
    app = viewer(ExchangeEngine(exchange(state=state)), mode="traffic")
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: "qwen2.5-coder" in screen_text(app))
        await pilot.press("enter")
        await until(pilot, lambda: "[1 Overview]" in screen_text(app))

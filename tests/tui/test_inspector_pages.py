"""What the inspector's pages say: facts, folded prompts, trees of JSON, charts, bounds, hostile content."""

from __future__ import annotations

import json
from typing import Any

import pytest
from rich.cells import cell_len

from nightdesk.core.foreign import safe
from nightdesk.model.exchange import Embeddings, Exchange, Message, MissingBytes, Prompt, ToolCall, Verdict
from nightdesk.model.inspection import ExchangeTotals, Spread
from nightdesk.tui.glyphs import ASCII, UNICODE
from nightdesk.tui.inspector.context import blocks
from nightdesk.tui.inspector.json import json_pieces
from nightdesk.tui.inspector.jsontree import tree
from nightdesk.tui.inspector.markdown import rendered
from nightdesk.tui.inspector.pages import PAGES, page_lines
from nightdesk.tui.inspector.prose import PAGE_LIMIT, Setting
from nightdesk.tui.inspector.title import title_cells
from nightdesk.tui.text import Cell
from nightdesk.tui.widgets.facts import Facts, fact_rows
from nightdesk.tui.widgets.folds import Line
from nightdesk.tui.widgets.lines import Pieces, wrap
from tests.support.exchanges import HOSTILE, MS, NS, exchange
from tests.support.viewer import NOW

NAMES = [name for name, _ in PAGES]


def setting(width: int = 100, **more: Any) -> Setting:
    return Setting(**{"glyphs": UNICODE, "now_ns": NOW, "width": width, **more})


def lines(shown: Exchange, name: str, **more: Any) -> tuple[Line, ...]:
    return page_lines(shown, NAMES.index(name), setting(**more))


def page(shown: Exchange, name: str, **more: Any) -> str:
    return text_of(lines(shown, name, **more))


def text_of(found: tuple[Line, ...] | list[Line]) -> str:
    return "\n".join(line.plain for line in found)


def visible(found: tuple[Line, ...] | list[Line]) -> str:
    """What is seen at first: without what is folded."""
    shown, hidden = [], None
    for line in found:
        if hidden is not None and line.depth > hidden:
            continue
        hidden = line.depth if line.fold and line.shut else None
        shown.append(line.plain + (f"  {line.note}" if line.fold and line.shut and line.note else ""))
    return "\n".join(shown)


# Overview and verdicts


def test_the_overview_has_findings_first_then_time_tokens_who_and_how_much() -> None:
    verdict = Verdict(kind="context_cut", evidence="8,192 of about 11,900 tokens", advice="Raise num_ctx.")
    text = page(exchange(verdicts=(verdict,), note="the body was cut", replay_of=7), "Overview")
    assert text.startswith("▲ context cut\n8,192 of about 11,900 tokens\n→ Raise num_ctx.\n")
    for words in (
        "duration      27.0s  first token 6.0s",
        "queue and load 2.0s 7 %",
        "generation 20.0s 74 %",
        "outside 1.0s 4 %",
        "state         complete  reason stop",
        "POST /api/chat  status 200",
        "python (4101)  python batch.py",
        "synthesize › item 9  synthesize-1",
        "replay of     exchange 7",
        "⇡3.1k tokens  1,033 tokens/s",
        "⇣820 tokens  41 tokens/s",
        "received      98.0 kB  821 fragments",
        "num_ctx       8192",
        "note          the body was cut",
    ):
        assert words in text


@pytest.mark.parametrize(("glyphs", "fills"), [(UNICODE, "▒▓█"), (ASCII, "=+#")])
def test_the_bar_of_the_overview_fills_the_width_with_a_sign_for_each_part(glyphs: Any, fills: str) -> None:
    found = lines(exchange(), "Overview", glyphs=glyphs, width=80)
    bar = next(line.plain.strip() for line in found if line.plain.strip().startswith(fills[0] * 2))
    assert len(bar) == 80 - 14
    assert [bar.index(fill) for fill in fills] == sorted(bar.index(fill) for fill in fills)
    assert 45 <= bar.count(fills[2]) <= 52


def test_unknown_facts_are_dashes_with_their_reason() -> None:
    bare = exchange(
        process=None, model=None, first_token_ns=None, unknown={"process": "The port was closed already."}
    )
    text = page(bare, "Overview")
    assert "process       –  The port was closed already." in text
    assert "model         –" in text
    lost = page(exchange(missing_bytes=MissingBytes(request=0, response=4300)), "Overview")
    assert "4.3 kB not captured" in lost


def test_the_verdicts_page_says_also_that_nothing_was_found() -> None:
    assert "✓ Nothing was found wrong" in page(exchange(), "Verdicts")
    found = Verdict(kind="loop", evidence="the same 40 words 12 times", advice="Lower the temperature.")
    text = page(exchange(verdicts=(found, found)), "Verdicts")
    assert text.count("▲ loop\nthe same 40 words 12 times\n→ Lower the temperature.") == 2


# Prompt


def test_the_prompt_page_shows_messages_by_role_with_images_and_tools() -> None:
    text = page(exchange(), "Prompt")
    assert text.index("── system") < text.index("You summarise.") < text.index("── user")
    assert f"image         5.0 kB  sha256 {'ef' * 32}" in text
    assert "── tools  1" in text and '"type": "function"' in text
    single = exchange(prompt=Prompt(system="Be brief.", prompt="Why?"))
    assert "Be brief." in page(single, "Prompt") and "Why?" in page(single, "Prompt")
    assert "No prompt was understood" in page(exchange(prompt=None), "Prompt")


FILES = """Look at this:
```python src/a.py
{code}
```
and at
<document path="notes/b.txt">
{notes}
</document>
<file name=c.txt>short</file>
What is wrong?"""


def test_files_in_a_prompt_are_folded_and_named() -> None:
    content = FILES.format(code="x = 1\n" * 30, notes="a note\n" * 40)
    found = lines(exchange(prompt=Prompt(messages=(Message(role="user", content=content),))), "Prompt")
    seen = visible(found)
    assert "│ python src/a.py  33 lines" in seen and "│ document notes/b.txt  43 lines" in seen
    assert "x = 1" not in seen and "a note" not in seen
    assert "Look at this:" in seen and "What is wrong?" in seen and "<file name=c.txt>short</file>" in seen
    assert text_of(found).count("x = 1") == 30


@pytest.mark.parametrize(
    "text",
    ["", "plain", FILES, "```\nnever closed", "<file>\nnever closed", "````\n```\n````\nx", "~~~ a\n~~~"],
)
def test_blocks_joined_are_the_text_again(text: str) -> None:
    assert "\n".join("\n".join(block.lines) for block in blocks(text)) == text


def test_the_rest_of_a_very_long_prompt_is_folded() -> None:
    content = "\n".join(f"line {number}" for number in range(1000))
    found = lines(exchange(prompt=Prompt(prompt=content)), "Prompt")
    seen = visible(found)
    assert "line 59" in seen and "line 60\n" not in seen and "940 more lines" in seen
    assert "line 999" in text_of(found)


def test_older_messages_of_a_long_conversation_are_folded_to_their_first_words() -> None:
    messages = tuple(Message(role="user", content=f"question {number}\nmore") for number in range(1, 31))
    seen = visible(lines(exchange(prompt=Prompt(messages=messages)), "Prompt"))
    assert "user  3 · 15 characters  question 3 more" in seen
    assert "question 30\nmore" in seen.replace("  ", "")


# Response


def test_the_response_page_shows_thinking_folded_then_text_and_tool_calls() -> None:
    found = lines(exchange(), "Response")
    seen = visible(found)
    order = ("── thinking", "── text", "All is well.", "tool call search", '"q": "minutes"')
    assert [seen.index(words) for words in order] == sorted(seen.index(words) for words in order)
    assert "25 characters  The user wants a summary." in seen
    assert "All is **well**." in page(exchange(), "Response", is_raw=True)
    assert "▶ running" in page(exchange(state="running", ended_ns=None), "Response")
    assert "The reply holds no text." in page(exchange(text="", thinking="", tool_calls=()), "Response")
    assert "3 of 768 dimensions" in page(exchange(embeddings=Embeddings(count=3, dims=768)), "Response")
    assert "✗ out of memory" in page(exchange(error="out of memory"), "Response")
    assert "limit of tokens was reached" in page(exchange(done_reason="length"), "Response")
    assert "The client left before the end." in page(
        exchange(state="aborted", aborted_by="client"), "Response"
    )


def test_thinking_is_open_while_nothing_else_has_come() -> None:
    early = exchange(state="running", text="", tool_calls=(), thinking="First, I look.\nThen I see.")
    assert "Then I see." in visible(lines(early, "Response"))


MARKDOWN = """def test_a_reply_that_is_json_is_shown_as_a_tree_and_raw_as_it_came() -> None:
    reply = exchange(text='{"title": "Minutes", "points": [{"who": "Ada"}, {"who": "Bo"}]}')
    assert '  "title": "Minutes"' in page(reply, "Response")
    assert "JSON, m changes" in page(reply, "Response")
    assert reply.text in page(reply, "Response", is_raw=True)


def test_a_json_reply_that_is_still_coming_is_already_a_tree_and_a_broken_one_is_shown_as_it_came() -> None:
    half = '{"title": "Minutes", "points": [{"who": "A'
    assert '  "title": "Minutes"' in page(exchange(text=half, state="running", ended_ns=None), "Response")
    assert half in page(exchange(text=half), "Response")
    assert "[0:00 → 0:04] All right." in page(exchange(text="[0:00 → 0:04] All right."), "Response")
    deep = "[" * 100_000
    assert "Markdown, m changes" in page(exchange(text=deep), "Response")


# Title
- one *two* `three`
> quoted **strong**

```python
x = "**"
```
| a | b |
***
[words](https://example.org) snake_case_name 2 * 3 * 4"""


def test_markdown_is_drawn_and_nothing_of_it_gets_lost() -> None:
    found = list(rendered(MARKDOWN, UNICODE))
    tones = {text: tone for line in found for text, tone in line.pieces}
    assert tones["Title"] == "strong" and tones["two"] == "strong" and tones["three"] == "primary"
    assert tones['x = "**"'] == "primary" and tones["strong"] == "strong"
    text = text_of(found)
    assert "• one two three" in text and "│ quoted strong" in text and "| a | b |" in text
    assert "words (https://example.org) snake_case_name 2 * 3 * 4" in text
    (code,) = [line for line in found if line.fold]
    assert code.plain == "│ python  1 line"


def test_a_reply_can_be_drawn_at_any_moment_of_its_growth() -> None:
    for end in range(len(MARKDOWN) + 1):
        drawn = text_of(list(rendered(MARKDOWN[:end], UNICODE)))
        assert MARKDOWN[:end].count("\n") - 3 <= drawn.count("\n") + 1


# JSON


def test_json_is_a_tree_that_folds_at_every_node() -> None:
    value = {"model": "m", "messages": [{"role": "user", "content": "x" * 900}], "n": -1.5, "e": [], "o": {}}
    found = list(tree(json.dumps(value), "j"))
    assert visible(found) == (
        '{\n  "model": "m",\n  "messages": [\n    {\n      "role": "user",\n'
        f'      "content": "{"x" * 159}… 900 characters\n    }}\n  ],\n  "n": -1.5,\n  "e": [],\n  "o": {{}}\n}}'
    )
    notes = [line.note for line in found if line.fold]
    assert notes == ["… } 5 members", "… ] 1 item", "… } 2 members", ""]
    assert "x" * 900 in text_of(found)


def test_a_long_text_in_json_reads_as_what_it_says() -> None:
    said = 'first line\nsecond "line" ' + "x" * 500
    found = text_of(list(tree(json.dumps({"prompt": said}), "j")))
    assert 'first line\nsecond "line" x' in found


def test_numbers_of_a_list_share_lines_and_many_are_folded() -> None:
    found = list(tree(json.dumps({"context": list(range(1500))}), "j"))
    assert len(found) < 100 and "1,500 items" in visible(found) and " 1, 2, 3, " in text_of(found)
    assert "700" not in visible(found)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a": [1, 2', '{\n  "a": [\n    1, 2'),
        ('{"a"', '{\n  "a"'),
        ("]}{", "]\n}\n{"),
        ('{"a":"' + "b" * 5, '{\n  "a": "bbbbb'),
        ("[[],{}]", "[\n  [],\n  {}\n]"),
        ('{"a":1}{"b":2}', '{\n  "a": 1\n}\n{\n  "b": 2\n}'),
        ("", ""),
    ],
)
def test_what_is_no_proper_json_is_shown_as_far_as_it_goes(text: str, expected: str) -> None:
    assert text_of(list(tree(text, "j"))) == expected


def test_a_stream_is_a_list_of_its_fragments_with_their_times() -> None:
    gaps = (5 * NS, 40 * MS)
    found = lines(exchange(fragment_gaps_ns=gaps), "JSON")
    seen = visible(found)
    assert '    1   +5.0s {"message":{"content":"a"}}' in seen and '    2   +40ms {"message"' in seen
    assert '"content": "a"' in text_of(found)
    sse = exchange(
        stream_format="sse", response_body='event: x\ndata: {"a": 1}\n\ndata: [DONE]\n\n', fragment_gaps_ns=()
    )
    seen = visible(lines(sse, "JSON"))
    assert '{"a": 1}' in seen and "[DONE]" in seen
    assert "Not recorded." in page(exchange(request_body=None), "JSON")
    assert "The record holds the first 55 B of 98.0 kB." in page(exchange(), "JSON")


def test_fragments_in_the_middle_of_a_long_stream_are_counted_only() -> None:
    body = "\n".join(json.dumps({"n": number}) for number in range(5000))
    text = page(exchange(response_body=body), "JSON")
    assert "… fragments 601 to 4,800 are not listed here" in text and '{"n": 4999}' in text


def test_json_has_its_own_tone_for_keys_strings_and_values() -> None:
    tones = {
        text: tone
        for text, tone in json_pieces('{"key": "a \\" b", "n": -1.5, "t": true}')
        if tone != "muted"
    }
    assert tones == {
        '"key"': "accent",
        '"a \\" b"': "ok",
        '"n"': "accent",
        "-1.5": "primary",
        '"t"': "accent",
        "true": "primary",
    }


# Timing and wire


def test_the_timing_page_tells_queue_prompt_and_generation_apart() -> None:
    text = page(exchange(), "Timing")
    assert "by the packets  27.0s" in text and "by the server's own clock  26.0s" in text
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


def test_the_timing_page_compares_with_what_is_usual_for_the_model() -> None:
    usual = ExchangeTotals(
        count=40,
        tokens_per_s=82.0,
        first_token=Spread(p50_ns=1 * NS, p95_ns=4 * NS),
        duration=Spread(p50_ns=26 * NS, p95_ns=60 * NS),
    )
    text = page(exchange(), "Timing", usual=usual)
    assert "40 complete exchanges with qwen2.5-coder:32b" in text
    assert "first token   6.0s     6.0 × as long   usually 1.0s, 95 of 100 within 4.0s" in text
    assert "duration      27.0s    as usual        usually 26.0s" in text
    assert "tokens/s      41.0     50% of usual    usually 82.0" in text
    assert "No other complete exchange" in page(exchange(), "Timing", usual=ExchangeTotals(count=1))
    assert "The store is busy." in page(exchange(), "Timing", usual_problem="The store is busy.")


@pytest.mark.parametrize("glyphs", [UNICODE, ASCII])
def test_a_stall_stands_out_in_the_chart_and_is_named(glyphs: Any) -> None:
    gaps = [5 * NS, *([20 * MS] * 300), 2 * NS, *([20 * MS] * 300)]
    shown = exchange(fragment_gaps_ns=tuple(gaps), fragments=len(gaps), reply_tokens=len(gaps))
    found = lines(shown, "Timing", glyphs=glyphs)
    text = text_of(found)
    assert "median 20.0ms, 95 of 100 within 20.0ms, longest 2.0s" in text
    assert f"{glyphs.warn} pause of 2.0s before fragment 302, at +11.0s" in text
    warned = [
        line for line in found if any(tone == "warn" and glyphs.bars[8] in text for text, tone in line.pieces)
    ]
    assert len(warned) >= 5
    assert "tokens/s over time  on average 42.9" in text
    assert all(cell_len(line.plain) <= 100 for line in found)


@pytest.mark.parametrize("gaps", [(), (1,), (0,) * 50, (1,) * 4, (NS,) * 3000, (0, 2**62, 5, 0, 0)])
def test_any_gaps_can_be_drawn(gaps: tuple[int, ...]) -> None:
    for width in (20, 60, 200):
        assert page(exchange(fragment_gaps_ns=gaps), "Timing", width=width)


def test_the_wire_page_shows_connection_sizes_packets_headers_and_both_processes() -> None:
    text = page(
        exchange(missing_bytes=MissingBytes(request=0, response=4300), text_pieces=("a", "b")), "Wire"
    )
    for words in (
        "127.0.0.1:41234 → 127.0.0.1:11434",
        "number 3 of the capture  exchange 2 on it",
        "client        python (4101)  python batch.py",
        "server        ollama (900)  ollama serve",
        f"98,000 bytes  sha256 {'cd' * 32}",
        "missing     4.3 kB  4,300 bytes never came to the capture",
        "gaps          1 within the text",
        "fragments     821  ndjson",
        "+6.0s",
    ):
        assert words in text
    assert text.index("Host: localhost") < text.index("Authorization: ⟨masked⟩") < text.index("Content-Type")


def test_the_title_says_what_it_is_and_whose() -> None:
    def words(width: int) -> str:
        return "".join(cell.plain for cell in title_cells(exchange(), UNICODE, NOW, width))

    assert words(160) == (
        "✓ complete  27.0s · first token 6.0s  qwen2.5-coder:32b  POST /api/chat · 200  synthesize › item 9"
    )
    assert words(80) == "✓ complete  27.0s  qwen2.5-coder:32b  chat · 200  synthesize › item 9"


# Bounds and hostile content


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
        tool_calls=tuple(
            ToolCall(name=f"call {number}", arguments={"n": number}) for number in range(10_000)
        ),
        verdicts=(Verdict(kind="loop", evidence=huge, advice=huge),) * 50,
    )
    text = page(shown, name)
    assert len(text) <= PAGE_LIMIT + 10_000
    if name in ("Prompt", "Response", "JSON"):
        assert "not shown here" in text


@pytest.mark.parametrize("name", NAMES)
def test_hostile_content_is_harmless_on_every_page(name: str) -> None:
    fields = ("text", "thinking", "model", "path", "method", "error", "note", "item")
    bad: dict[str, Any] = dict.fromkeys(fields, HOSTILE)
    shown = exchange(
        **bad,
        done_reason=HOSTILE,
        request_body=HOSTILE,
        response_body=json.dumps({HOSTILE: HOSTILE}) + "\n" + HOSTILE,
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
    for line in lines(shown, name):
        assert safe(line.plain) == line.plain and "\t" not in line.plain and "\n" not in line.plain
        assert safe(line.note) == line.note and "\n" not in line.note


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


def test_a_long_value_goes_on_under_its_own_beginning() -> None:
    rows = wrap((("name  ", "muted"), ("one two three four", "")), 12, 6)
    shown = ["".join(text for text, _ in row) for row in rows]
    assert shown == ["name  one ", "      two ", "      three ", "      four"]


def test_facts_are_laid_out_in_two_columns_and_their_line_ends_kept() -> None:
    shown = Facts(
        fact_rows([("command", Cell("python a.py\n--speed 1 item")), ("state", Cell("done", "ok"))], 8)
    )
    assert shown.plain.split("\n") == ["command  python a.py", "         --speed 1 item", "state    done"]
    assert shown.get_height({}, 20) == 4
    assert shown.get_height({}, 60) == 3

"""Differences of texts and exchanges: exact, bounded, and never losing a character."""

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nightdesk.core.inspection.diff import TextDiff, Words, diff_texts
from nightdesk.core.inspection.exchange_diff import diff_exchanges
from nightdesk.model.exchange import Exchange, Image, Message, MissingBytes, Prompt, ToolCall, Verdict


def sides(diff: TextDiff) -> tuple[str, str]:
    """Both texts, put together again."""
    texts = []
    for name in ("left", "right"):
        lines = [line for stretch in diff.stretches for line in getattr(stretch, name)]
        texts.append("\n".join("".join(words.text for words in line) for line in lines))
    return texts[0], texts[1]


def test_one_changed_word_is_found_within_its_line() -> None:
    diff = diff_texts("one\nthe quick fox\nthree", "one\nthe slow fox\nthree")
    assert [stretch.same for stretch in diff.stretches] == [True, False, True]
    changed = diff.stretches[1]
    assert changed.left == ((Words("the "), Words("quick", True), Words(" fox")),)
    assert changed.right == ((Words("the "), Words("slow", True), Words(" fox")),)
    assert diff.changes == 1 and not diff.is_equal


def test_added_lines_are_a_stretch_with_one_empty_side() -> None:
    diff = diff_texts("a\nb", "a\nx\ny\nb")
    assert diff.stretches[1].left == ()
    assert diff.stretches[1].right == ((Words("x", True),), (Words("y", True),))


def test_equal_and_empty_texts_have_no_changes() -> None:
    assert diff_texts("", "").stretches == ()
    assert diff_texts("a\n\nb", "a\n\nb").is_equal
    assert diff_texts("", "a").changes == 1
    assert diff_texts("a\r\nb", "a\nb").is_equal


def test_a_moved_paragraph_leaves_the_rest_equal() -> None:
    lines = [f"line {number}" for number in range(40)]
    moved = lines[10:] + lines[:10]
    equal = sum(len(s.left) for s in diff_texts("\n".join(lines), "\n".join(moved)).stretches if s.same)
    assert equal == 30


def test_foreign_texts_are_marked_in_whole_where_single_words_would_only_confuse() -> None:
    diff = diff_texts(
        "a whole sentence about minutes of meetings", "entirely other words, of food; nothing shared here"
    )
    assert diff.stretches[0].left == ((Words("a whole sentence about minutes of meetings", True),),)


@settings(max_examples=200, deadline=None)
@given(st.text("ab \n.", max_size=60), st.text("ab \n.", max_size=60))
def test_no_character_is_lost_or_made_up(left: str, right: str) -> None:
    diff = diff_texts(left, right)
    assert sides(diff) == (left, right)
    for stretch in diff.stretches:
        if stretch.same:
            assert stretch.left == stretch.right
    assert diff.is_equal == (left == right)


def _prose(seed: int, size: int, breaks: str) -> str:
    source = random.Random(seed)
    words = [f"word{source.randint(0, 4000)}" for _ in range(size // 8)]
    lines = [" ".join(words[at : at + 12]) for at in range(0, len(words), 12)]
    return breaks.join(lines)[:size]


@pytest.mark.parametrize("breaks", ["\n", " "])
def test_two_foreign_texts_of_200_kb_are_compared_within_the_bounds_and_it_says_so(breaks: str) -> None:
    left, right = _prose(1, 200_000, breaks), _prose(2, 200_000, breaks)
    diff = diff_texts(left, right)
    assert sides(diff) == (left, right)
    assert diff.note is not None and "too big" in diff.note


def test_a_change_in_each_of_many_lines_of_200_kb_is_found_by_words() -> None:
    left = _prose(1, 200_000, "\n")
    lines = left.split("\n")
    for at in range(0, len(lines), 9):
        lines[at] = "XX " + lines[at]
    diff = diff_texts(left, "\n".join(lines))
    assert diff.note is None and diff.changes == len(range(0, len(lines), 9))
    changed = [stretch for stretch in diff.stretches if not stretch.same]
    assert all(stretch.right[0][0] == Words("XX ", True) for stretch in changed)
    assert all(not words.changed for stretch in changed for line in stretch.left for words in line)


def test_alike_lines_without_end_cost_no_square() -> None:
    assert diff_texts("a\n" * 100_000, "x\n" + "a\n" * 90_000).changes >= 1


def exchange(number: int, **more: Any) -> Exchange:
    """A finished chat."""
    values: dict[str, Any] = {
        "id": number, "state": "complete", "client_addr": "127.0.0.1:4000", "server_addr": "127.0.0.1:11434",
        "connection": 1, "position": 1, "method": "POST", "path": "/api/chat", "dialect": "ollama",
        "operation": "chat", "status": 200, "streamed": True, "fragments": 3, "model": "llama3.1:8b",
        "text": "All is well.", "thinking": "", "tool_calls": (), "done": True, "done_reason": "stop",
        "prompt_tokens": 100, "reply_tokens": 20, "generation_ns": 10**9, "started_ns": 10**18,
        "first_token_ns": 10**18 + 10**9, "ended_ns": 10**18 + 2 * 10**9, "request_bytes": 10,
        "request_sha256": "", "response_bytes": 20, "response_sha256": "", "verdicts": (),
        "missing_bytes": MissingBytes(request=0, response=0),
        "prompt": Prompt(system="Be brief.", messages=(Message(role="user", content="Why?"),),
                         options={"temperature": 0.2}),
        **more,
    }  # fmt: skip
    return Exchange(**values)


def test_exchanges_are_compared_in_all_parts() -> None:
    other = exchange(
        2,
        model="qwen2.5-coder:32b",
        text="All is bad.",
        thinking="Hm.",
        reply_tokens=40,
        tool_calls=(ToolCall(name="search", arguments={"q": 1}),),
        verdicts=(Verdict(kind="context_cut", evidence="", advice=""),),
        prompt=Prompt(
            system="Be brief.",
            messages=(Message(role="user", content="Why?", images=(Image(sha256="ab", bytes=9),)),),
            options={"temperature": 0.9},
            format={"type": "object"},
            keep_alive="5m",
        ),
    )
    diff = diff_exchanges(exchange(1), other)
    titles = {(section.part, section.title): section.diff for section in diff.sections}
    assert titles["prompt", "system"].is_equal
    assert "[image of 9 bytes, sha256 ab]" in sides(titles["prompt", "prompt"])[1]
    options = sides(titles["options", "options"])
    assert options[0] == "POST /api/chat\nmodel: llama3.1:8b\ntemperature: 0.2"
    assert options[1] == 'POST /api/chat\nmodel: qwen2.5-coder:32b\nkeep_alive: "5m"\ntemperature: 0.9'
    assert sides(titles["options", "format"]) == ("", '{\n  "type": "object"\n}')
    assert sides(titles["response", "thinking"]) == ("", "Hm.")
    assert "[tool call search]" in sides(titles["response", "tool calls"])[1]
    figures = {figure.name: figure for figure in diff.figures}
    assert figures["reply tokens"].difference == 20 and figures["reply tokens"].ratio == 2
    assert figures["reply speed"].left == 20 and figures["duration"].ratio == 1
    assert "queue and load" not in figures, "unknown on both sides"
    facts = {fact.name: (fact.left, fact.right) for fact in diff.facts}
    assert facts["model"] == ("llama3.1:8b", "qwen2.5-coder:32b")
    assert facts["verdicts"] == ("none", "context cut")


def test_a_side_that_was_not_recorded_says_so() -> None:
    bare = exchange(2, prompt=None, text="", unknown={"text": "This job's content is not recorded (record)."})
    missing = {s.title: s.missing for s in diff_exchanges(exchange(1), bare).sections}
    assert missing["prompt"] == "Of exchange 2 no prompt was recorded or understood."
    assert missing["text"] == "Exchange 2: This job's content is not recorded (record)."
    assert missing["system"] is None


def test_values_nested_too_deep_do_not_stop_the_comparison() -> None:
    deep: object = 1
    for _ in range(10_000):
        deep = [deep]
    broken = exchange(2, prompt=Prompt(prompt="x", tools=(deep,), format=deep))
    assert diff_exchanges(exchange(1), broken).sections

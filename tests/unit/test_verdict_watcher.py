"""Alarms on running replies."""

from __future__ import annotations

from typing import Any

import pytest

from nightdesk.core.verdicts import DEFAULTS, Known, Watcher
from nightdesk.core.verdicts.loops import TAIL
from nightdesk.model.exchange import Exchange, Prompt
from tests.support.verdict_cases import (
    START,
    UNFINISHED,
    S,
    asked,
    han,
    loop_cases,
    made,
    objects,
    prose,
    table,
)


def running(**changes: Any) -> Exchange:
    begun = {
        **UNFINISHED,
        "state": "running",
        "ended_ns": None,
        "text": "",
        "first_token_ns": None,
        **changes,
    }
    return made(**begun)


def watched(
    pieces: list[str], *, thinking: bool = False, every_ns: int = S // 20, **changes: Any
) -> tuple[Watcher, int]:
    watcher = Watcher(running(**changes), DEFAULTS, Known())
    now = START + S
    for piece in pieces:
        watcher.feed(now, "" if thinking else piece, piece if thinking else "", START + S)
        now += every_ns
    return watcher, now


def kinds(watcher: Watcher, now: int) -> list[str]:
    return [one.kind for one in watcher.look(now)]


def words(text: str) -> list[str]:
    return [text[at : at + 5] for at in range(0, len(text), 5)]


@pytest.mark.parametrize(
    "text",
    [
        " We will keep looking at the harbour." * 30,
        " again" * 60,
        "我们会继续关注港口的情况。" * 40,
        prose(9, 4) * 12,
    ],
    ids=["sentence", "word", "Chinese", "paragraph"],
)
def test_a_loop_is_told_while_it_runs(text: str) -> None:
    watcher, now = watched(words(prose(5) + text))
    assert kinds(watcher, now) == ["loop"]
    assert "It goes on." in watcher.look(now)[0].evidence


@pytest.mark.parametrize(
    "case",
    [case for case in loop_cases() if case.name.startswith("repeats by right:")],
    ids=lambda case: case.name,
)
def test_what_repeats_by_right_raises_no_alarm_at_any_moment(case: Any) -> None:
    watcher = Watcher(running(), DEFAULTS, Known())
    text = case.exchange.text
    for at in range(0, len(text), 40):
        watcher.feed(START + S, text[at : at + 40], "", START + S)
        assert watcher.look(START + 2 * S) == (), text[max(0, at - 200) : at + 40]


def test_an_alarm_goes_when_the_model_gets_out_of_its_loop() -> None:
    watcher, now = watched(words(" We look again at it." * 60))
    assert kinds(watcher, now) == ["loop"]
    for piece in words(prose(60, 8)):
        watcher.feed(now, piece)
    assert kinds(watcher, now) == []


def test_white_space_without_end_is_told_and_a_wide_table_is_not() -> None:
    watcher, now = watched(['{"a": 1'] + ["\n", " "] * 400)
    assert kinds(watcher, now) == ["whitespace_loop"]
    for _ in range(40):
        watcher.feed(now, " " * TAIL)
    assert kinds(watcher, now) == ["whitespace_loop"]
    watcher, now = watched(["| name" + " " * 180 + "|\n"] * 9)
    assert kinds(watcher, now) == []


def test_long_thinking_is_told_only_after_long() -> None:
    watcher, now = watched(words(prose(200)), thinking=True, every_ns=S // 10)
    assert kinds(watcher, now) == []
    watcher, now = watched(words(prose(200)), thinking=True, every_ns=S)
    assert kinds(watcher, now) == ["only_thinking"]
    watcher.feed(now, "The answer")
    assert kinds(watcher, now) == []


def test_a_loop_in_the_thinking_is_forgotten_when_the_reply_begins() -> None:
    watcher, now = watched(words(" But wait, is that so?" * 60), thinking=True)
    assert watcher.look(now)[0].evidence.startswith("The thinking ends with")
    watcher.feed(now, "Yes, it is.")
    assert kinds(watcher, now) == []


def test_silence_is_told_while_it_lasts_and_afterwards() -> None:
    watcher, now = watched(words(prose(3)))
    assert kinds(watcher, now + 29 * S) == []
    assert "Silent for 40.0s" in watcher.look(now + 40 * S)[0].evidence
    watcher.feed(now + 41 * S, "more")
    assert kinds(watcher, now + 42 * S) == ["stalled"]


def test_silence_while_a_tool_call_is_written_is_normal() -> None:
    watcher, now = watched(words(prose(3)), prompt=asked(tools=({"type": "function"},)))
    assert kinds(watcher, now + 100 * S) == []
    assert kinds(watcher, now + 200 * S) == ["stalled"]


def test_a_late_first_token_is_told_and_a_late_whole_reply_is_not() -> None:
    watcher = Watcher(running(), DEFAULTS, Known())
    assert kinds(watcher, START + 19 * S) == []
    assert "No token yet after 25.0s" in watcher.look(START + 25 * S)[0].evidence
    watcher.feed(START + 26 * S, "Now", "", START + 26 * S)
    assert kinds(watcher, START + 27 * S) == []
    whole = Watcher(running(prompt=asked(options={"stream": False}), streamed=False), DEFAULTS, Known())
    assert kinds(whole, START + 300 * S) == []
    v1 = Watcher(running(dialect="openai", path="/v1/chat/completions", streamed=False), DEFAULTS, Known())
    assert kinds(v1, START + 300 * S) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"operation": "manage", "path": "/api/pull"},
        {"operation": "embed", "path": "/api/embed"},
        {"prompt": Prompt()},
    ],
    ids=["pull", "embed", "load"],
)
def test_what_writes_no_text_is_not_waited_for(changes: dict[str, Any]) -> None:
    assert kinds(Watcher(running(**changes), DEFAULTS, Known()), START + 300 * S) == []


def test_memory_does_not_grow_with_the_reply() -> None:
    watcher, _ = watched([prose(50, at) for at in range(100)])
    assert len(watcher._tail) <= TAIL and sum(map(len, watcher._pieces)) < 4 * TAIL


@pytest.mark.parametrize("text", [table(90), objects(60), han(200), "```\n" + prose(9) + "\n```"])
def test_all_cuts_of_a_text_give_the_same(text: str) -> None:
    for size in (1, 7, 400, len(text)):
        watcher, now = watched([text[at : at + size] for at in range(0, len(text), size)], every_ns=0)
        assert kinds(watcher, now) == []

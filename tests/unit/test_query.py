"""The language that lists of exchanges are filtered with, on rows in memory."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightdesk.core.inspection.completion import complete
from nightdesk.core.inspection.query import QueryError, parse, quoted
from nightdesk.model.exchange import ExchangeRow

NOW = int(datetime(2026, 11, 21, 4, 0).timestamp()) * 10**9
S = 10**9


def row(**changes: Any) -> ExchangeRow:
    given: dict[str, Any] = {
        "id": 7,
        "state": "complete",
        "started_ns": NOW - 3600 * S,
        "ended_ns": NOW - 3600 * S + 45 * S,
        "first_token_ns": NOW - 3600 * S + 6 * S,
        "operation": "chat",
        "dialect": "ollama",
        "status": 200,
        "path": "/api/chat",
        "model": "Qwen2.5-coder:32b",
        "process": "python3",
        "pid": 4711,
        "job": "transcribe",
        "run": "transcribe-12",
        "item": "talk 9.mp3",
        "fragments": 3,
        "prompt_tokens": 9000,
        "reply_tokens": 120,
        "generation_ns": 40 * S,
        "done_reason": "stop",
        "request_bytes": 800_000,
        "response_bytes": 300_000,
        "verdicts": ("context_cut",),
        "tail": "A golden river. Café",
    }
    return ExchangeRow(**(given | changes))


HITS = (
    "",
    "model:qwen",
    "model:QWEN",
    "model:llama,qwen",
    "model:=qwen2.5-coder:32b",
    "model:*",
    'item:"talk 9"',
    "job:scribe",
    "-job:synthesize",
    "run:transcribe-12",
    "path:/api",
    "process:python",
    "op:chat,generate",
    "dialect:ollama",
    "state:complete",
    "status:ok",
    "status:200",
    "status:2xx",
    "-status:error",
    "pid:4711",
    "id:1-10",
    "id:7,9",
    "verdict:context",
    "verdict:=context_cut",
    "verdict:*",
    "-mark:*",
    "-mark:good",
    "reason:stop",
    "-replay:*",
    "since:2h",
    "since:1h30m",
    "-since:30m",
    "until:30m",
    "since:02:59",
    "until:03:12",
    "since:today",
    "since:2026-11-21 until:2026-11-21",
    "since:2026-11-21T02:59",
    ">30s",
    "took>30",
    "took>=45s",
    "took:>30s",
    "<1m",
    "first>5s",
    "first<=6000ms",
    "tokens>9k",
    "prompt>8k",
    "reply<0.5k",
    "rate<5",
    "rate>=3t/s",
    "size>1mb",
    "size>=1100kb -size>1100001b",
    "coder",
    "golden",
    "riv",
    "cafe",
    '"golden river"',
    '"GOLDEN  river"',
    "qwen golden >30s",
)
MISSES = (
    "model:llama",
    "-model:qwen",
    "model:=qwen",
    "job:synthesize,validate",
    "-job:*",
    "op:embed",
    "state:running",
    "status:error",
    "status:500",
    "status:5xx",
    "pid:1",
    "id:8-100",
    "verdict:=context",
    "verdict:loop",
    "mark:*",
    "mark:bad",
    "replay:*",
    "since:30m",
    "until:2h",
    "until:yesterday",
    "since:2026-11-22",
    ">1m",
    "first>6s",
    "reply<10",
    "load>0s",
    "-golden",
    '"golden riv"',
    '"river golden"',
    "qwen zeppelin",
)


@pytest.mark.parametrize("text", HITS)
def test_a_query_finds_what_it_describes(text: str) -> None:
    assert parse(text).matches(row(), NOW)


@pytest.mark.parametrize("text", MISSES)
def test_a_query_leaves_out_what_it_does_not_describe(text: str) -> None:
    assert not parse(text).matches(row(), NOW)


def test_errors_are_failed_aborted_and_incomplete_exchanges_and_refused_requests() -> None:
    error = parse("status:error")
    found = [state for state in ("failed", "aborted", "incomplete") if error.matches(row(state=state), NOW)]
    assert found == ["failed", "aborted", "incomplete"]
    assert error.matches(row(status=404), NOW)
    assert not error.matches(row(state="running", status=None), NOW)
    assert not error.matches(row(state="partial", status=None), NOW)


def test_a_running_exchange_has_taken_the_time_until_now() -> None:
    running = row(state="running", ended_ns=None, started_ns=NOW - 31 * S)
    assert parse(">30s status:running").matches(running, NOW)
    assert not parse(">30s").matches(running, NOW - 2 * S)


def test_what_is_unknown_matches_only_where_it_is_negated() -> None:
    bare = row(model=None, job=None, reply_tokens=None, first_token_ns=None, status=None)
    for text in ("model:qwen", "job:*", "rate>0", "reply>0", "reply<10", "first<1h", "status:4xx"):
        assert not parse(text).matches(bare, NOW)
        assert parse(f"-{text}").matches(bare, NOW)


def test_text_is_looked_for_in_prompt_and_reply_where_they_are_at_hand() -> None:
    whole = row(tail="the end")
    assert not parse('"once upon"').matches(whole, NOW)
    assert parse('"once upon"').matches(whole, NOW, lambda: "Once, upon a time … the end")
    assert parse("tim").matches(whole, NOW, lambda: "Once, upon a time … the end")


def test_a_clock_time_is_the_newest_that_has_passed() -> None:
    yesterday = NOW - int(timedelta(hours=5).total_seconds()) * S  # 23:00
    assert parse("since:22:30").matches(row(started_ns=yesterday), NOW)
    assert not parse("since:23:30").matches(row(started_ns=yesterday), NOW)


@pytest.mark.parametrize(
    ("text", "message", "hint", "place"),
    [
        ("modle:qwen", "modle (at 1) is no key", "Did you mean model?", (0, 5)),
        ("job:a staus:error", "staus (at 7) is no key", "Did you mean status?", (6, 11)),
        ("frist>5s", "frist (at 1) is nothing that can be compared", "Did you mean first?", (0, 5)),
        ("state:runing", "runing (at 7) is no value of state:", "Did you mean running?", (6, 12)),
        ("status:eror", "eror (at 8) is no value of status:", "Did you mean error?", (7, 11)),
        ("first>5x", "first>5x (at 1) lacks an amount", "first>30s", (0, 8)),
        ("tokens>", "tokens> (at 1) lacks an amount", "2k", (0, 7)),
        ("tokens:5", "tokens: (at 1) needs a comparison", "tokens>500", (0, 8)),
        ("model:", "model: (at 1) lacks a value", "model:name", (0, 6)),
        ("model:a,,b", "lacks a value", "model:name", (0, 10)),
        ("since:soon", "soon (at 7) is no time", "since:2h", (6, 10)),
        ("since:25:00", "is no time", "since:2h", (6, 11)),
        ("pid:x", "pid: (at 5) is a number", "pid:120", (4, 5)),
        ('a "open', "quotation mark is missing", 'Close the text with "', (2, 7)),
        ('"..."', "no word", "letters or digits", (0, 5)),
    ],
)
def test_a_fault_is_told_with_its_place_and_a_remedy(
    text: str, message: str, hint: str, place: tuple[int, int]
) -> None:
    with pytest.raises(QueryError) as caught:
        parse(text)
    assert message in caught.value.message
    assert hint in caught.value.hint
    assert (caught.value.start, caught.value.end) == place


@given(st.text(max_size=60))
def test_any_text_is_a_query_or_a_told_fault(text: str) -> None:
    try:
        query = parse(text)
    except QueryError as fault:
        said, start, end = fault.message, fault.start, fault.end
        assert said and 0 <= start <= end <= len(text)
    else:
        query.matches(row(), NOW)


@given(st.text(alphabet='ab"\\,: >-', min_size=1, max_size=12))
def test_a_quoted_value_is_taken_as_it_is(value: str) -> None:
    assert (
        parse(f"item:{quoted(value)}").matches(row(item=f"x{value}y"), NOW) or value == "*" or value[0] == "="
    )


def test_megabytes_and_thousands_of_alternatives_are_refused() -> None:
    for text in ("a" * 10_000, "id:" + ",".join(["1"] * 200)):
        with pytest.raises(QueryError):
            parse(text)


KNOWN = {"model": ("qwen3:8b", "llama3.1:8b"), "job": ("transcribe",), "item": ("talk 9.mp3",)}


def suggested(text: str, cursor: int | None = None) -> list[str]:
    place = len(text) if cursor is None else cursor
    return [text[: one.start] + one.insert + text[one.end :] for one in complete(text, place, KNOWN)]


def test_completion_offers_keys_then_values() -> None:
    assert suggested("sta")[:2] == ["state:", "status:"]
    assert suggested("job:a -mod") == ["job:a -model:"]
    assert suggested("model:") == ["model:qwen3:8b", "model:llama3.1:8b"]
    assert suggested("model:qwen3:8b,l") == ["model:qwen3:8b,llama3.1:8b"]
    assert suggested("status:e")[0] == "status:error"
    assert suggested("mark:g") == ["mark:good"]
    assert suggested("to")[:1] == ["took>"] and "tokens>" in suggested("to")
    assert suggested("state:run op:cha", 9) == ["state:running op:cha"]


def test_completion_guesses_the_key_of_a_value_and_quotes_spaces() -> None:
    assert suggested("talk") == ['item:"talk 9.mp3"']
    assert "model:llama3.1:8b" in suggested("8b")


def test_completion_keeps_quiet_inside_quoted_text() -> None:
    assert suggested('"model:') == []


@given(st.text(alphabet='ab"\\,: >-model', max_size=20), st.integers(0, 25))
def test_completion_takes_any_text_and_cursor(text: str, cursor: int) -> None:
    for one in complete(text, min(cursor, len(text)), KNOWN):
        assert 0 <= one.start <= one.end <= len(text)

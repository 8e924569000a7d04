"""Verdicts on the labelled set: every one that is deserved is found, and no other."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from docs import verdicts as page
from nightdesk.core.verdicts import DEFAULTS, KINDS, Known, Watcher, thresholds_of, verdicts_of
from nightdesk.core.verdicts.loops import TAIL, find_loop
from nightdesk.model.config import VerdictsSection
from nightdesk.model.exchange import Exchange
from tests.support.verdict_cases import START, Case, S, all_cases, asked, cut_by, long_prompt, made, prose
from tests.support.verdict_recordings import FOLDER, LABELS, judged

CASES = all_cases()
needs_recordings = pytest.mark.skipif(not FOLDER.is_dir(), reason="the recordings are not here")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_case_gets_the_verdicts_that_it_deserves_and_no_other(case: Case) -> None:
    found = verdicts_of(case.exchange, known=case.known())
    assert {one.kind for one in found} == case.expected, found
    assert all(one.evidence.endswith(".") and one.advice for one in found)


def test_the_set_has_enough_of_both_sides_and_every_kind() -> None:
    positive = [case for case in CASES if case.expected]
    assert len(CASES) >= 200 and len(positive) >= 80 and len(CASES) - len(positive) >= 80
    assert set(KINDS) == {kind for case in CASES for kind in case.expected}


@needs_recordings
@pytest.mark.parametrize("name", LABELS)
def test_recorded_exchanges_get_the_verdicts_that_were_given_by_hand(name: str) -> None:
    labels = LABELS[name]
    for exchange, found in judged(FOLDER / f"{name}.pcap"):
        assert found == labels.get(exchange.id, frozenset()), (exchange.id, exchange.path, found)


@needs_recordings
def test_a_damaged_recording_raises_no_alarm_that_the_whole_one_does_not() -> None:
    checked = 0
    for path in sorted((FOLDER / "damaged").glob("*.pcap*")):
        whole = {
            (exchange.client_addr, exchange.position): found
            for exchange, found in judged(FOLDER / f"{path.name.partition('.')[0]}.pcap")
        }
        for exchange, found in judged(path):
            assert found <= whole[exchange.client_addr, exchange.position], (path.name, exchange.id, found)
            checked += 1
    assert checked > 100


def test_the_page_of_verdicts_has_the_figures_of_this_set() -> None:
    if not FOLDER.is_dir():
        pytest.skip("the recordings are not here")
    assert page.PAGE.read_text(encoding="utf-8") == page.page(), "run: python docs/verdicts.py"


def test_the_page_explains_every_kind() -> None:
    text = page.PAGE.read_text(encoding="utf-8")
    assert [kind for kind in KINDS if f"## `{kind}`" not in text] == []


def test_evidence_has_the_figures_and_advice_names_the_option() -> None:
    (cut,) = verdicts_of(long_prompt(48_000, 8192, 8192))
    assert cut.evidence.startswith(
        "Only 8,192 of about 12,000 prompt tokens reached the model; num_ctx 8,192"
    )
    assert "options.num_ctx to 16,384" in cut.advice
    (cut,) = verdicts_of(cut_by(60, prose(6)[:250]))
    assert cut.evidence == "Cut after 60 tokens by num_predict 60 (reason length)."
    assert "num_predict above 60" in cut.advice


def test_a_missing_model_is_answered_with_the_command_that_pulls_it() -> None:
    failed = made(state="failed", status=404, text="", done=False, error="model 'gemma3:4b' not found")
    assert verdicts_of(failed)[0].advice.endswith("ollama pull gemma3:4b")


def test_a_slow_first_token_names_its_cause_by_the_servers_durations() -> None:
    def evidence(**changes: int) -> str:
        late = made(first_token_ns=START + 40 * S, ended_ns=START + 44 * S, **changes)
        return verdicts_of(late)[0].evidence

    assert "most of it model load: model load 38.0s" in evidence(load_ns=38 * S)
    assert "most of it prompt evaluation" in evidence(prompt_ns=39 * S)
    assert "most of it queue: queue 39.8s" in evidence()


def test_what_a_model_usually_does_stands_beside_what_it_did() -> None:
    known = Known()
    for at in range(3):
        known.learn(made(started_ns=START + at, first_token_ns=START + 2 * S))
    late = made(first_token_ns=START + 40 * S, ended_ns=START + 44 * S)
    assert "usual for this model 2.0s" in verdicts_of(late, known=known)[0].evidence


def test_kinds_that_are_off_and_thresholds_are_obeyed() -> None:
    slow = made(first_token_ns=START + 12 * S, ended_ns=START + 14 * S)
    assert verdicts_of(slow) == ()
    assert (
        verdicts_of(slow, thresholds_of(VerdictsSection(slow_first_token="10s")))[0].kind
        == "slow_first_token"
    )
    off = thresholds_of(VerdictsSection(slow_first_token="10s", off=("slow_first_token",)))
    assert verdicts_of(slow, off) == ()
    short = cut_by(5, "It is a")
    assert verdicts_of(short) == ()
    assert verdicts_of(short, thresholds_of(VerdictsSection(reply_cut_above=0)))[0].kind == "reply_cut"


def test_no_word_of_the_content_is_shown_where_it_must_not_be() -> None:
    loop = cut_by(900, prose(4) + " The secret witness is the mayor." * 20)
    bad = made(text='{"secret": 1}', prompt=asked(format={"type": "object", "required": ["secret_key"]}))
    for exchange in (loop, bad):
        shown, hidden = verdicts_of(exchange), verdicts_of(exchange, quote=False)
        assert b"secret" in msgspec.json.encode(shown)
        assert [one.kind for one in hidden] == [one.kind for one in shown]
        assert b"secret" not in msgspec.json.encode(hidden)


def test_a_running_exchange_has_no_verdict_yet() -> None:
    assert verdicts_of(made(state="running", ended_ns=None, text="again " * 900)) == ()


@pytest.mark.parametrize(
    "text", ["\ud800" * 900, "\0" * 9000, "[" * 100_000, "\x1b[31m" * 2000, "a\u0301" * 5000, ""]
)
def test_odd_text_is_judged_without_a_fault(text: str) -> None:
    for prompt in (asked(), asked(format="json"), asked(format={"type": "object"}), asked(text)):
        for done in (True, False):
            verdicts_of(
                made(
                    text=text, thinking=text, prompt=prompt, done=done, done_reason="length" if done else None
                )
            )


def test_known_models_are_bounded() -> None:
    known = Known()
    for number in range(1000):
        known.learn(made(model=f"model-{number}"))
    assert known.usual_first_ns("model-999") is None
    assert len(known._models) <= 256


def test_defaults_are_those_of_the_configuration() -> None:
    assert thresholds_of(VerdictsSection()) == DEFAULTS
    assert Exchange.__struct_fields__.count("verdicts") == 1


def test_no_file_of_this_repository_looks_like_a_loop_wherever_it_is_cut() -> None:
    root, source, looked_at = Path(__file__).parents[2], Random(5), 0
    for path in sorted(
        [*root.glob("src/**/*.py"), *root.glob("docs/*.md"), *root.glob("*.toml"), *root.glob("LICENSE")]
    ):
        text = path.read_text(encoding="utf-8")
        for end in [len(text), *(source.randint(1, len(text) or 1) for _ in range(2))]:
            assert find_loop(text[:end], "cut", 20) is None, (path, end)
            assert find_loop(text[max(0, end - TAIL) : end], "running", 20) is None, (path, end)
            looked_at += 1
    assert looked_at > 300


_JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "type",
                    "required",
                    "properties",
                    "items",
                    "enum",
                    "anyOf",
                    "$ref",
                    "schema",
                    "json_schema",
                    "a",
                ]
            )
            | st.text(max_size=3),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
_NUMBERS = st.none() | st.integers(min_value=0, max_value=10**20)


@given(
    options=st.dictionaries(
        st.sampled_from(["num_ctx", "num_predict", "num_keep", "max_tokens", "stream"]), _JSON
    ),
    shape=_JSON,
    answer=_JSON,
    error=_JSON,
    keep_alive=_JSON,
    count=_NUMBERS,
    spans=st.tuples(_NUMBERS, _NUMBERS, _NUMBERS, _NUMBERS),
    state=st.sampled_from(["complete", "failed", "aborted", "partial", "incomplete", "running"]),
    status=st.sampled_from([None, 200, 404, 499, 500]),
    dialect=st.sampled_from(["ollama", "openai", "anthropic", "http"]),
)
@settings(max_examples=80, deadline=None)
def test_whatever_clients_and_servers_say_is_judged_without_a_fault(
    options: Any, shape: Any, answer: Any, error: Any, keep_alive: Any, count: Any, spans: Any, state: Any, status: Any,
    dialect: Any,
) -> None:  # fmt: skip
    first, ended, load, prompt_ns = spans
    odd = made(
        prompt=asked(options=options, format=shape, keep_alive=keep_alive), text=msgspec.json.encode(answer).decode(),
        error=error, prompt_tokens=count, reply_tokens=count, first_token_ns=first, ended_ns=ended, load_ns=load,
        prompt_ns=prompt_ns, state=state, status=status, dialect=dialect,
    )  # fmt: skip
    known = Known()
    known.set_context("llama3.1:8b", 4096, START)
    for _ in range(3):
        verdicts_of(odd, known=known)
        known.learn(odd)
    watcher = Watcher(msgspec.structs.replace(odd, state="running"), DEFAULTS, known)
    watcher.feed(START, odd.text, odd.text, first)
    watcher.look(START + 99 * S)

"""Applies the rules of a job to one output: bytes in, what each rule says out.

Patterns and compilers can take for ever, or bring the process down: whoever calls this does so in one that may die.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from nightdesk.core.outputs.texts import (
    JSON_NAMES,
    LINES_NAMES,
    Output,
    UnreadableError,
    headings,
    plain_heading,
    prose_of,
    suffix_of,
    text_of,
    values_of,
)
from nightdesk.model.base import Json
from nightdesk.model.config import OutputRules
from nightdesk.model.outputs import OUTPUT_STATES, OutputState, Rule, RuleResult
from nightdesk.model.units import format_bytes

if TYPE_CHECKING:
    from nightdesk.core.outputs.schema import Schema

FAULTS_TOLD = 3
SHOWN = 60


class Beside(NamedTuple):
    """What lies beside an output and some rules need. Absent files: None, and ``faults`` says why."""

    schema: Json = None
    golden: Output | None = None
    faults: dict[str, str] = {}
    """Rule → why its file can't be read."""


class _Said(NamedTuple):
    state: OutputState
    evidence: str
    score: float | None = None


def judged(rules: OutputRules, output: Output, size: int, beside: Beside) -> tuple[RuleResult, ...]:
    """What each rule that is asked for says. ``size`` is that of the file, of which ``output`` may be the beginning."""
    results = [RuleResult(rule="exists", state="passed", evidence="it is there", score=1.0)]
    for rule, judge in _asked(rules, output, size, beside):
        try:
            said = judge()
        except UnreadableError as fault:
            said = _Said("failed", str(fault), 0.0)
        except Exception as fault:  # noqa: BLE001 - a rule that can't cope with an output says nothing of it
            said = _Said("unknown", f"the rule can't be applied: {type(fault).__name__}: {fault}"[:300])
        results.append(result_of(rules, rule, said.state, said.evidence, said.score))
    return tuple(results)


def result_of(
    rules: OutputRules | None, rule: Rule, state: OutputState, evidence: str, score: float | None
) -> RuleResult:
    """A result, made softer where the rule only warns."""
    softer: OutputState = "doubtful" if state == "failed" and rules and rule in rules.warn else state
    return RuleResult(rule=rule, state=softer, evidence=evidence, score=score)


def summed(results: Iterable[RuleResult]) -> tuple[OutputState, float | None]:
    """(state, score) of an output: the worst of the states, the mean of the scores."""
    found = list(results)
    states = {each.state for each in found}
    state: OutputState = next((each for each in OUTPUT_STATES if each in states), "unknown")
    scores = [each.score for each in found if each.score is not None]
    return state, round(sum(scores) / len(scores), 4) if scores else None


def why_refused(results: Iterable[RuleResult]) -> str | None:
    """Why an output is not accepted, in one sentence; None where it is."""
    failed = [each for each in results if each.state == "failed"]
    if not failed:
        return None
    first = failed[0]
    more = f"; and {len(failed) - 1} more" if len(failed) > 1 else ""
    return f"{first.rule}: {first.evidence}{more}"


def _asked(
    rules: OutputRules, output: Output, size: int, beside: Beside
) -> Iterator[tuple[Rule, Callable[[], _Said]]]:
    def text() -> str:
        return text_of(output, rules.text)

    if rules.min_bytes is not None or rules.max_bytes is not None:
        yield "size", lambda: _size(rules, size)
    if rules.schema is not None:
        yield "schema", lambda: _schema(output, beside)
    if rules.headings:
        yield "headings", lambda: _headings(rules.headings, text())
    if rules.patterns:
        yield "patterns", lambda: _patterns(rules.patterns, text())
    if rules.forbidden:
        yield "forbidden", lambda: _forbidden(rules.forbidden, text())
    if rules.not_truncated:
        yield "not_truncated", lambda: _truncated(output, size, text)
    if rules.not_repeated:
        yield "not_repeated", lambda: _repeated(text())
    if rules.language is not None:
        yield "language", lambda: _language(rules.language or "", text())
    if rules.code:
        yield "code", lambda: _code(output)
    if rules.golden is not None:
        yield "golden", lambda: _golden(rules.golden_least, output, beside)


def _size(rules: OutputRules, size: int) -> _Said:
    least, most = rules.min_bytes or 1, rules.max_bytes
    if size < least:
        words = f"it has {format_bytes(size)}, at least {format_bytes(least)} are asked for"
        return _Said("failed", words, size / least)
    if most is not None and size > most:
        words = f"it has {format_bytes(size)}, at most {format_bytes(most)} are allowed"
        return _Said("failed", words, most / size)
    return _Said("passed", f"it has {format_bytes(size)}", 1.0)


def _schema(output: Output, beside: Beside) -> _Said:
    if fault := beside.faults.get("schema"):
        return _Said("unknown", fault)
    from nightdesk.core.outputs.schema import Schema, UnusableSchemaError

    try:
        return _compared(output, Schema(beside.schema))
    except UnusableSchemaError as fault:
        return _Said("unknown", f"the schema can't be used: {fault}")


def _compared(output: Output, schema: Schema) -> _Said:
    faults: list[str] = []
    values = 0
    for place, value in values_of(output):
        values += 1
        faults += [f"{place}{fault}" for fault in schema.faults(value)]
    if faults:
        more = f" and {len(faults) - FAULTS_TOLD} more" if len(faults) > FAULTS_TOLD else ""
        return _Said("failed", "; ".join(faults[:FAULTS_TOLD]) + more, 1 / (1 + len(faults)))
    if not values:
        return _Said("failed", "it holds no value", 0.0)
    return _Said(
        "passed", f"{values:,} values as the schema says" if values > 1 else "as the schema says", 1.0
    )


def _headings(wanted: tuple[str, ...], text: str) -> _Said:
    there = headings(text)
    any_level = {plain_heading(each.words) for each in there}
    exact = {(each.level, plain_heading(each.words)) for each in there}
    missing = []
    for one in wanted:
        bare = one.lstrip("#")
        level, words = len(one) - len(bare), plain_heading(bare)
        if (level, words) not in exact if level else words not in any_level:
            missing.append(one)
    return _share(wanted, missing, "lacks the heading", "headings")


def _patterns(wanted: tuple[str, ...], text: str) -> _Said:
    missing = [one for one in wanted if not re.search(one, text, re.MULTILINE)]
    return _share(wanted, missing, "does not match", "patterns")


def _share(wanted: tuple[str, ...], missing: list[str], lacks: str, what: str) -> _Said:
    score = 1 - len(missing) / len(wanted)
    if not missing:
        return _Said("passed", f"{what} found: {len(wanted)}", score)
    more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
    return _Said("failed", f"it {lacks} {missing[0][:SHOWN]}{more}", score)


def _forbidden(forbidden: tuple[str, ...], text: str) -> _Said:
    for one in forbidden:
        if match := re.search(one, text, re.MULTILINE):
            line = text.count("\n", 0, match.start()) + 1
            return _Said("failed", f"line {line} says “{' '.join(match[0].split())[:SHOWN]}”", 0.0)
    return _Said("passed", "nothing forbidden is in it", 1.0)


def _truncated(output: Output, size: int, text: Callable[[], str]) -> _Said:
    if size > len(output.body):
        return _Said("unknown", f"only its first {format_bytes(len(output.body))} are looked at")
    if suffix_of(output.name) in (*JSON_NAMES, *LINES_NAMES):
        for _ in values_of(output):
            pass  # JSON that can be read is whole; its texts may still be cut
    from nightdesk.core.outputs.prose import truncation

    fault = truncation(text())
    return _Said("failed", fault, 0.0) if fault else _Said("passed", "it has an end", 1.0)


def _repeated(text: str) -> _Said:
    from nightdesk.core.outputs.prose import repetition

    found = repetition(text)
    if found is None:
        return _Said("passed", "it does not repeat itself", 1.0)
    return _Said("failed", found.evidence, round(1 - found.share, 4))


def _language(wanted: str, text: str) -> _Said:
    from nightdesk.core.outputs.languages import NAMES, guess

    pieces = guess(prose_of(text)).pieces
    total = sum(pieces.values())
    if not total:
        return _Said("unknown", "too little text for an estimate")
    share = pieces.get(wanted, 0) / total
    others = {code: count for code, count in pieces.items() if code != wanted}
    if not others or share > 0.9:
        return _Said("passed", f"{NAMES[wanted]}, by an estimate", share)
    other, count = max(others.items(), key=lambda each: each[1])
    what = "it is" if count == total else f"{count} of its {total} parts are"
    return _Said("failed", f"{what} {NAMES[other]}, not {NAMES[wanted]}, by an estimate", share)


def _code(output: Output) -> _Said:
    from nightdesk.core.outputs.code import compiled

    made = compiled(output)
    judged_blocks = made.good + made.bad
    others = f"; {made.unknown} in languages that are not judged" if made.unknown else ""
    if made.bad:
        count = f"{made.bad} of {judged_blocks} blocks of code do" if judged_blocks > 1 else "its code does"
        words = f"{count} not compile: {made.first}"
        return _Said("failed", words[:300], made.good / judged_blocks)
    if judged_blocks:
        return _Said("passed", f"blocks of code that compile: {judged_blocks}{others}", 1.0)
    return _Said("unknown", f"it has no code that can be judged{others}")


def _golden(least: float, output: Output, beside: Beside) -> _Said:
    if beside.golden is None:
        return _Said("unknown", beside.faults.get("golden", "there is nothing to compare it with"))
    from nightdesk.core.outputs.likeness import likeness

    found = likeness(output, beside.golden)
    words = f"{_percent(found.ratio)} like {beside.golden.name}"
    if found.ratio >= least:
        return _Said("passed", words, found.ratio)
    return _Said("failed", f"{words}, {_percent(least)} are asked for; {found.first}", found.ratio)


def _percent(ratio: float) -> str:
    """Rounded down: what is not quite 90 % must not look like it."""
    return f"{int(ratio * 1000) / 10:g} %"

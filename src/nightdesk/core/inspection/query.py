"""The language in which a list of exchanges is filtered: ``model:qwen status:error took>30s "golden river"``.

Terms are joined by *and*; ``-`` in front of a term negates it. A query is a value: it is read once, matches rows in
memory, and is translated for the store elsewhere. Relative times are resolved when it is asked, not when it is read.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from nightdesk.core.foreign import safe_line
from nightdesk.core.inspection.conditions import (
    KEYS,
    MEASURES,
    NUMBER_KEYS,
    STATUS_WORDS,
    TEXT_KEYS,
    TIME_KEYS,
    WORD_KEYS,
    Began,
    Compare,
    Condition,
    Contains,
    HasStatus,
    InRange,
    OneOf,
    Phrase,
    Unit,
    Word,
    holds,
)
from nightdesk.core.inspection.words import split_words
from nightdesk.core.moments import read_moment, read_span_ns
from nightdesk.model.errors import UsageError
from nightdesk.model.exchange import ExchangeRow

_FACTORS = {
    "count": {"": 1, "k": 1e3, "m": 1e6},
    "rate": {"": 1, "t/s": 1, "k": 1e3},
    "size": {"": 1, "b": 1, "k": 1e3, "kb": 1e3, "m": 1e6, "mb": 1e6, "g": 1e9, "gb": 1e9},
}
_EXAMPLES = {
    "time": "30s, 250ms, 2m, 1h",
    "count": "500, 2k, 1m",
    "rate": "5, 41.5",
    "size": "800, 20kb, 1mb",
}

TEXT_MOST = 2000
VALUES_MOST = 100
"""Alternatives in one term: more would make a search of the store unreasonable."""

_TOKEN = re.compile(r'(?:"(?:\\.|[^"\\])*"?|[^\s"])+')
_QUOTED = re.compile(r'"((?:\\.|[^"\\])*)"', re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_KEYED = re.compile(r"([A-Za-z]+):(?!//)(.*)", re.DOTALL)
_COMPARED = re.compile(r"([A-Za-z]*)(>=|<=|>|<)(.*)", re.DOTALL)
_AMOUNT = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([a-z/]*)")
_RANGE = re.compile(r"([0-9]{1,18})(?:-([0-9]{1,18}))?")
_STATUS = re.compile(r"[1-5](?:[0-9]{2}|xx)")


class QueryError(UsageError):
    """A query can't be read. ``start`` and ``end`` are the place of the fault in its text."""

    def __init__(self, message: str, hint: str, start: int, end: int) -> None:
        super().__init__(message, hint)
        self.start = start
        self.end = end


@dataclass(frozen=True, slots=True)
class Term:
    """One condition of a query."""

    condition: Condition
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Query:
    """A read query. Without terms it matches everything."""

    terms: tuple[Term, ...] = ()

    def matches(self, row: ExchangeRow, now_ns: int, text: Callable[[], str] | None = None) -> bool:
        """Whether a row in memory matches. ``text`` gives prompt and reply; the row's tail stands in for it."""
        return all(holds(term.condition, row, now_ns, text) is not term.negated for term in self.terms)


def parse(text: str) -> Query:
    """The query that ``text`` says; empty text matches everything. Raises QueryError at the first fault."""
    if len(text) > TEXT_MOST:
        raise QueryError(
            f"A query of {len(text)} characters is too long.",
            f"{TEXT_MOST} can be read.",
            TEXT_MOST,
            len(text),
        )
    return Query(tuple(_read_term(match.group(), match.start()) for match in _TOKEN.finditer(text)))


def quoted(value: str) -> str:
    """``value`` as it must be written in a query to be taken as it is."""
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _read_term(token: str, start: int) -> Term:
    negated = token.startswith("-") and len(token) > 1
    bare = token[negated:]
    return Term(_read_condition(bare, start + negated), negated)


def _read_condition(token: str, start: int) -> Condition:
    if token.startswith('"'):
        return _read_phrase(token, start)
    if (compared := _COMPARED.fullmatch(token)) and ":" not in compared[1]:
        return _read_comparison(compared[1] or "took", compared[2], compared[3], start, token)
    if keyed := _KEYED.fullmatch(token):
        return _read_keyed(keyed[1].lower(), keyed[2], start)
    plain = _unquoted(token, start)
    words = split_words(plain)
    if not words:
        raise _wordless(token, start)
    return Word(plain, words)


def _read_phrase(token: str, start: int) -> Condition:
    plain = _unquoted(token, start)
    words = split_words(plain)
    if not words:
        raise _wordless(token, start)
    return Phrase(plain, words)


def _wordless(token: str, start: int) -> QueryError:
    return QueryError(
        f"There is no word in {safe_line(token, 60)} (at {start + 1}).",
        "Write a word or more: letters or digits.",
        start,
        start + len(token),
    )


def _unquoted(token: str, start: int) -> str:
    """``token`` without its quotation marks."""
    if not is_closed(token):
        raise QueryError(
            f"A quotation mark is missing behind {safe_line(token, 60)} (at {start + 1}).",
            'Close the text with ".',
            start,
            start + len(token),
        )
    return _QUOTED.sub(lambda match: _ESCAPED.sub(r"\1", match[1]), token)


def is_closed(text: str) -> bool:
    """Whether every quotation mark in ``text`` has its other one."""
    return '"' not in _QUOTED.sub("", text)


def _read_comparison(key: str, sign: str, amount: str, start: int, token: str) -> Condition:
    key = key.lower()
    end = start + len(token)
    if key not in MEASURES:
        raise _unknown(key, tuple(MEASURES), "nothing that can be compared", start, start + len(key))
    unit = MEASURES[key]
    value = read_span_ns(amount.lower()) if unit == "time" else _read_amount(amount.lower(), unit)
    if value is None:
        raise QueryError(
            f"{safe_line(token, 60)} (at {start + 1}) lacks an amount that can be read.",
            f"Write for example {key}{sign}{_EXAMPLES[unit].partition(',')[0]}; amounts look like {_EXAMPLES[unit]}.",
            start,
            end,
        )
    return Compare(key, sign, value)


def _read_amount(text: str, unit: Unit) -> float | None:
    match = _AMOUNT.fullmatch(text)
    factor = _FACTORS[unit].get(match[2]) if match else None
    return float(match[1]) * factor if match and factor else None


def _read_keyed(key: str, rest: str, start: int) -> Condition:
    place = start + len(key) + 1
    if key in MEASURES:
        sign = re.match(r">=|<=|>|<", rest)
        if sign:
            return _read_comparison(key, sign[0], rest[sign.end() :], start, f"{key}{rest}")
        raise QueryError(
            f"{key}: (at {start + 1}) needs a comparison.",
            f"Write for example {key}>{_EXAMPLES[MEASURES[key]].partition(',')[0]}.",
            start,
            place + len(rest),
        )
    if key not in KEYS:
        raise _unknown(key, (*KEYS, *MEASURES), "no key", start, start + len(key))
    values = tuple(_unquoted(value, place) for value in _split(rest))
    if not all(values) or not values:
        raise QueryError(f"{key}: (at {start + 1}) lacks a value.", _remedy(key), start, place + len(rest))
    if len(values) > VALUES_MOST:
        raise QueryError(
            f"{key}: (at {start + 1}) has {len(values)} alternatives.",
            f"{VALUES_MOST} can be read.",
            start,
            place,
        )
    return _READERS.get(key, _read_words)(key, values, place, place + len(rest))


def _split(rest: str) -> list[str]:
    """Alternatives at commas that stand outside quotation marks."""
    return [match.group(1) for match in re.finditer(r'((?:"(?:\\.|[^"\\])*"?|[^",])*)(?:,|$)', rest)][
        :-1
    ] or [""]


def _remedy(key: str) -> str:
    if key in WORD_KEYS:
        return f"{key}: is one of {', '.join(WORD_KEYS[key])}."
    if key == "status":
        return f"status: is one of {', '.join(STATUS_WORDS)}, a status such as 500, or a class such as 4xx."
    if key in NUMBER_KEYS:
        return f"Write for example {key}:120 or {key}:100-200."
    if key in TIME_KEYS:
        return f"Write for example {key}:2h, {key}:03:12, {key}:2026-11-21 or {key}:2026-11-21T03:12."
    return f"Write for example {key}:name, {key}:one,other or {key}:*."


def _read_contains(key: str, values: tuple[str, ...], _start: int, _end: int) -> Condition:
    return Contains(key, tuple(value.casefold() for value in values))


def _read_words(key: str, values: tuple[str, ...], start: int, end: int) -> Condition:
    lowered = tuple(value.lower() for value in values)
    for value in lowered:
        if value not in WORD_KEYS[key]:
            raise _unknown(value, WORD_KEYS[key], f"no value of {key}:", start, end)
    return OneOf(key, lowered)


def _read_status(_key: str, values: tuple[str, ...], start: int, end: int) -> Condition:
    lowered = tuple(value.lower() for value in values)
    known = (*STATUS_WORDS, *WORD_KEYS["state"])
    for value in lowered:
        if value not in known and not _STATUS.fullmatch(value):
            raise _unknown(value, known, "no value of status:", start, end)
    return HasStatus(lowered)


def _read_ranges(key: str, values: tuple[str, ...], start: int, end: int) -> Condition:
    if values == ("*",):
        return InRange(key, ())
    found = [_RANGE.fullmatch(value) for value in values]
    if not all(found):
        raise QueryError(f"{key}: (at {start + 1}) is a number.", _remedy(key), start, end)
    return InRange(key, tuple((int(match[1]), int(match[2] or match[1])) for match in found if match))


def _read_began(key: str, values: tuple[str, ...], start: int, end: int) -> Condition:
    moment = read_moment(values[0]) if len(values) == 1 else None
    if moment is None:
        raise QueryError(f"{safe_line(values[0], 40)} (at {start + 1}) is no time.", _remedy(key), start, end)
    return Began(key, moment)


_READERS: dict[str, Callable[[str, tuple[str, ...], int, int], Condition]] = {
    **dict.fromkeys(TEXT_KEYS, _read_contains),
    **dict.fromkeys(NUMBER_KEYS, _read_ranges),
    **dict.fromkeys(TIME_KEYS, _read_began),
    "status": _read_status,
}


def _unknown(word: str, known: Sequence[str], what: str, start: int, end: int) -> QueryError:
    near = difflib.get_close_matches(word, known, 1, 0.6)
    shown = safe_line(word, 40)
    hint = f"Did you mean {near[0]}? " if near else ""
    return QueryError(
        f"{shown} (at {start + 1}) is {what}.",
        f"{hint}Known: {', '.join(known)}; put text that contains : or > in quotation marks.",
        start,
        end,
    )

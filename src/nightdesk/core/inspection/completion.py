"""Suggestions while a query is typed: keys first, then the values that a key can have."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from nightdesk.core.inspection.conditions import KEYS, MEASURES, STATUS_WORDS, TIME_KEYS, WORD_KEYS
from nightdesk.core.inspection.query import is_closed, quoted

SUGGESTIONS_MOST = 12
GUESS_CHARS = 2
"""A bare word of this length also suggests values that hold it: ``qw`` → ``model:qwen3:8b``."""
GUESSED_KEYS = ("model", "job", "item", "verdict")

MEANINGS = {
    "model": "name of the model",
    "job": "job that it belongs to",
    "item": "item that it belongs to",
    "run": "run that it belongs to",
    "path": "path of the request",
    "process": "program that asked",
    "reason": "why the reply ended: stop, length …",
    "verdict": "kind of finding; * for any",
    "state": "how far it came",
    "op": "what was asked for",
    "dialect": "whose API it speaks",
    "mark": "what you think of it",
    "status": "error, ok, running, 500, 4xx",
    "id": "number, or 100-200",
    "pid": "number of the process that asked",
    "replay": "number of the exchange that was sent again; * for all replays",
    "since": "began after: 2h ago, 03:12, a date",
    "until": "began before: 2h ago, 03:12, a date",
    "took": "from begin to end: >30s",
    "first": "until the first token: >5s",
    "load": "loading the model: >1s",
    "tokens": "prompt and reply: >2k",
    "prompt": "tokens of the prompt: >8k",
    "reply": "tokens of the reply: <10",
    "rate": "tokens a second: <5",
    "size": "bytes in both directions: >1mb",
}
_MOMENTS = ("15m", "1h", "8h", "today", "yesterday")
_FRAGMENT = re.compile(r'(?:"(?:\\.|[^"\\])*"|[^\s"])*$')


@dataclass(frozen=True, slots=True)
class Suggestion:
    """Replace ``text[start:end]`` by ``insert``."""

    insert: str
    start: int
    end: int
    meaning: str = ""


def complete(text: str, cursor: int, known: Mapping[str, Sequence[str]]) -> tuple[Suggestion, ...]:
    """What may stand at ``cursor``, best first. ``known`` has the values that occur, by key (``model`` → names).

    Nothing inside quoted text, and nothing that already stands there.
    """
    before = text[:cursor]
    if not is_closed(before):
        return ()
    match = _FRAGMENT.search(before)
    fragment = (match.group() if match else "").removeprefix("-")
    key, colon, values = fragment.partition(":")
    if colon and key.lower() in KEYS:
        typed = values.rpartition(",")[2]
        found = _values(key.lower(), typed, known)
    else:
        typed = fragment
        found = _keys_and_guesses(typed, known)
    start = cursor - len(typed)
    return tuple(Suggestion(insert, start, cursor, meaning) for insert, meaning in found if insert != typed)[
        :SUGGESTIONS_MOST
    ]


def _keys_and_guesses(typed: str, known: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, str]]:
    lowered = typed.lower()
    for key in (*KEYS, *MEASURES):
        if key.startswith(lowered):
            yield key + (":" if key in KEYS else ">"), MEANINGS[key]
    if len(typed) >= GUESS_CHARS:
        for key in GUESSED_KEYS:
            for value in _ranked(lowered, known.get(key, ())):
                yield f"{key}:{_written(value)}", MEANINGS[key]


def _values(key: str, typed: str, known: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, str]]:
    possible: Iterable[str] = known.get(key, ())
    if key == "status":
        possible = (
            *STATUS_WORDS,
            *possible,
            *(word for word in WORD_KEYS["state"] if word not in STATUS_WORDS),
        )
    elif key in WORD_KEYS:
        possible = WORD_KEYS[key]
    elif key in TIME_KEYS:
        possible = _MOMENTS
    for value in _ranked(typed.lower().lstrip('"'), possible):
        yield _written(value), ""


def _ranked(typed: str, values: Iterable[str]) -> list[str]:
    """Those that hold what was typed; those that begin with it first, else in the order given."""
    held = [value for value in values if typed in value.lower()]
    return sorted(held, key=lambda value: not value.lower().startswith(typed))


def _written(value: str) -> str:
    """As it must stand behind ``key:``."""
    return quoted(value) if re.search(r'[\s",]', value) else value

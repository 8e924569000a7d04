"""How alike are an output and what it is compared with?"""

from __future__ import annotations

import re
from difflib import SequenceMatcher
from typing import NamedTuple

from nightdesk.core.foreign import safe_line
from nightdesk.core.json_values import is_same
from nightdesk.core.outputs.texts import JSON_NAMES, Output, UnreadableError, decoded, suffix_of, values_of
from nightdesk.model.base import Json

WORDS_MOST = 4_000
"""Longer texts are compared line by line."""
LINES_MOST = 20_000
_WORD = re.compile(r"\S+")


class Likeness(NamedTuple):
    """0 to 1, and where the two differ first."""

    ratio: float
    first: str


def likeness(output: Output, golden: Output) -> Likeness:
    """JSON by its values, text by its words, anything else as bytes."""
    if suffix_of(output.name) in JSON_NAMES:
        try:
            return _values(next(values_of(output))[1], next(values_of(golden))[1])
        except UnreadableError:
            pass  # then what is there of it
    try:
        return _texts(decoded(output.body), decoded(golden.body))
    except UnreadableError:
        same = output.body == golden.body
        return Likeness(float(same), "" if same else "the bytes differ")


def _values(value: Json, golden: Json) -> Likeness:
    mine, other = _leaves(value), _leaves(golden)
    places = dict.fromkeys([*other, *mine])
    if not places:
        return Likeness(1.0, "")
    wrong = [
        place
        for place in places
        if place not in mine or place not in other or not is_same(mine[place], other[place])
    ]
    first = ""
    if wrong:
        place = wrong[0]
        how = "is missing" if place not in mine else "is new" if place not in other else "differs"
        first = f"{place[:80]} {how}"
    return Likeness(1 - len(wrong) / len(places), first)


def _leaves(value: Json) -> dict[str, Json]:
    """Place → value, of all that holds no other value."""
    found: dict[str, Json] = {}
    waiting: list[tuple[str, Json]] = [("$", value)]
    while waiting:
        place, one = waiting.pop()
        if isinstance(one, dict) and one:
            waiting += [(f"{place}.{name}", inner) for name, inner in reversed(one.items())]
        elif isinstance(one, list) and one:
            waiting += [(f"{place}[{at}]", inner) for at, inner in reversed(list(enumerate(one)))]
        else:
            found[place] = one
    return found


def _texts(text: str, golden: str) -> Likeness:
    mine, other = text.split(), golden.split()
    if mine == other:
        return Likeness(1.0, "")
    by_line = max(len(mine), len(other)) > WORDS_MOST
    first = _first_difference(text, golden)
    if by_line:
        mine = [" ".join(line.split()) for line in text.splitlines()][:LINES_MOST]
        other = [" ".join(line.split()) for line in golden.splitlines()][:LINES_MOST]
    return Likeness(SequenceMatcher(None, mine, other, autojunk=by_line).ratio(), first)


def _first_difference(text: str, golden: str) -> str:
    mine = [" ".join(line.split()) for line in text.splitlines() if line.strip()]
    other = [" ".join(line.split()) for line in golden.splitlines() if line.strip()]
    for here, there in zip(mine, other, strict=False):
        if here != there:
            return f"first other line: “{safe_line(here, 60)}”"
    return "its end is missing" if len(mine) < len(other) else "it goes on behind the end"

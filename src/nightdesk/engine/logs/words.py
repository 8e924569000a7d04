"""Words in blocks of bytes, whatever their case, at nearly the speed of reading.

Folding every byte would cost more than all the rest, so the rarest letter of the words is looked for, in both its
forms, and only what stands around it is compared.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TypeAlias

Matcher: TypeAlias = Callable[[bytes, int], Iterator[int]]
"""The offsets of matching lines within the first bytes of a block; a line begins there."""
SAMPLE = 8_192
_LEAP, _LEAP_HIT = 0.06, 350.0
"""Nanoseconds a byte, and a hit, where the next letter is leapt to; only the ratios matter."""
_STEP, _STEP_HIT = 0.5, 55.0
"""The same where a pattern walks from byte to byte."""
_FOLD = 2.3
"""Nanoseconds a byte where all is folded."""


def words_matcher(text: str) -> Matcher:
    """Lines that hold ``text``, which is ASCII or has no letters with two cases."""
    raw = text.lower().encode()
    if raw == text.upper().encode():
        return lambda block, stop: _lines_of(block, _found(block, raw, stop))
    anchors = [_Anchor(raw, place) for place in _places(raw)]

    def matches(block: bytes, stop: int) -> Iterator[int]:
        middle = max(0, (stop - SAMPLE) // 2)
        sample = block[middle : min(middle + SAMPLE, stop)]
        ways = [anchor.cheapest(sample) for anchor in anchors]
        cost, finders = min(ways, key=lambda way: way[0])
        if cost > _FOLD:
            yield from _lines_of(block, _found(block[:stop].lower(), raw, stop))
            return
        hits = sorted(at for find in finders for at in find(block, stop))
        yield from _lines_of(block, iter(hits))

    return matches


def _places(raw: bytes) -> list[int]:
    """Where each different character of the words first stands."""
    return sorted({raw.index(char) for char in raw})


class _Anchor:
    """One character of the words, in one or two forms."""

    def __init__(self, raw: bytes, place: int) -> None:
        self._raw = raw
        self._place = place
        lower = raw[place : place + 1]
        self._forms = (lower,) if lower == lower.upper() else (lower, lower.upper())
        self._patterns = {form: self._pattern(form) for form in self._forms}

    def _pattern(self, form: bytes) -> re.Pattern[bytes]:
        before, behind = self._raw[: self._place], self._raw[self._place + 1 :]
        form = re.escape(form)
        back = b"(?<=" + _either(before) + form + b")" if before else b""
        return re.compile(form + back + _either(behind))

    def cheapest(self, sample: bytes) -> tuple[float, list[Callable[[bytes, int], Iterator[int]]]]:
        """What looking for it will cost, as far as a sample tells, and how to do it."""
        cost, finders = 0.0, []
        for form in self._forms:
            share = sample.count(form) / max(len(sample), 1)
            leap, step = _LEAP + _LEAP_HIT * share, _STEP + _STEP_HIT * share
            cost += min(leap, step)
            finders.append(self._leaper(form) if leap <= step else self._stepper(form))
        return cost, finders

    def _leaper(self, form: bytes) -> Callable[[bytes, int], Iterator[int]]:
        raw, place = self._raw, self._place

        def find(block: bytes, stop: int) -> Iterator[int]:
            at = block.find(form, place, stop)
            while at >= 0:
                begin = at - place
                if block[begin : begin + len(raw)].lower() == raw and begin + len(raw) <= stop:
                    yield begin
                at = block.find(form, at + 1, stop)

        return find

    def _stepper(self, form: bytes) -> Callable[[bytes, int], Iterator[int]]:
        pattern, place = self._patterns[form], self._place
        return lambda block, stop: (match.start() - place for match in pattern.finditer(block, 0, stop))


def _either(raw: bytes) -> bytes:
    """A pattern for these bytes in any case."""
    signs = (bytes((number,)) for number in raw)
    return b"".join(
        re.escape(sign) if sign == sign.upper() else b"[" + sign + sign.upper() + b"]" for sign in signs
    )


def _found(block: bytes, raw: bytes, stop: int) -> Iterator[int]:
    at = block.find(raw, 0, stop)
    while at >= 0:
        yield at
        at = block.find(raw, at + 1, stop)


def _lines_of(block: bytes, hits: Iterator[int]) -> Iterator[int]:
    """Where the lines begin that hold the hits, each once."""
    behind = -1
    for at in hits:
        if at > behind:
            yield block.rfind(b"\n", 0, at) + 1
            end = block.find(b"\n", at)
            behind = len(block) if end < 0 else end

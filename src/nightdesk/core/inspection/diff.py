"""What is different between two texts: lines first, then words within the lines that changed.

Lines are anchored on those that occur once on both sides (as in a patience diff), and only what lies between two
anchors is searched further, so that the cost grows with the size of the texts and not with its square. Beyond the
limits below a stretch counts as changed in whole, and :attr:`TextDiff.note` says so.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from typing import NamedTuple

import msgspec

CELLS = 250_000
"""Pairs of elements that a stretch between two anchors may have to be searched pair by pair."""
WORDS_CHARS = 400_000
"""Characters of changed lines, both sides together, whose words are compared."""
SEARCHED = 30_000
"""Elements between anchors that are searched pair by pair in all, so that two foreign texts cost no seconds."""
ALIKE = 0.2
"""Changed lines that have a smaller share of words in common are marked in whole: single equal words only confuse."""
TEXT_CHARS = 8_000_000
"""Longer texts are compared as far as this."""
_WORD = re.compile(r"\w+|[^\S\n]+|\n|[^\w\s]")

Span = tuple[int, int, int, int]
"""Elements ``a0:a1`` of the left are those of ``b0:b1`` of the right, or were replaced by them."""


class Words(NamedTuple):
    """A piece of a line; ``changed`` where the other side does not have it."""

    text: str
    changed: bool = False


Line = tuple[Words, ...]


class Stretch(msgspec.Struct, frozen=True, omit_defaults=True):
    """Some lines that are equal on both sides (``right`` is ``left`` then), or that differ."""

    same: bool
    left: tuple[Line, ...]
    right: tuple[Line, ...]


class TextDiff(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Two texts side by side, in order. Joined, the stretches are the texts."""

    stretches: tuple[Stretch, ...]
    note: str | None = None
    """One sentence where something was too big to be compared in full."""

    @property
    def is_equal(self) -> bool:
        """Nothing differs."""
        return all(stretch.same for stretch in self.stretches)

    @property
    def changes(self) -> int:
        """Number of places that differ."""
        return sum(not stretch.same for stretch in self.stretches)


def diff_texts(left: str, right: str) -> TextDiff:
    """The differences of two texts, by lines and words; linear in their size apart from bounded searches."""
    notes = []
    if max(len(left), len(right)) > TEXT_CHARS:
        left, right = left[:TEXT_CHARS], right[:TEXT_CHARS]
        notes.append(f"Only the first {TEXT_CHARS:,} characters of each text are compared.")
    ours, theirs = _lines(left), _lines(right)
    search = _Search()
    stretches: list[Stretch] = []
    room = WORDS_CHARS
    for same, (a0, a1, b0, b1) in search.stretches(ours, theirs):
        if same:
            lines = tuple((Words(line),) for line in ours[a0:a1])
            stretches.append(Stretch(True, lines, lines))
            continue
        size = sum(map(len, ours[a0:a1])) + sum(map(len, theirs[b0:b1]))
        if a0 == a1 or b0 == b1:
            stretches.append(_whole(ours[a0:a1], theirs[b0:b1]))
        elif size > room:
            stretches.append(_whole(ours[a0:a1], theirs[b0:b1]))
            search.is_cut = True
        else:
            room -= size
            stretches.append(_by_words(ours[a0:a1], theirs[b0:b1], search))
    if search.is_cut:
        notes.append("The changes are too big to compare all their words: some are marked in whole.")
    return TextDiff(stretches=tuple(stretches), note=" ".join(notes) or None)


def _lines(text: str) -> list[str]:
    return text.replace("\r\n", "\n").split("\n") if text else []


def _whole(ours: Sequence[str], theirs: Sequence[str]) -> Stretch:
    """Changed lines without a look at their words."""
    left, right = (tuple((Words(line, True),) for line in lines) for lines in (ours, theirs))
    return Stretch(False, left, right)


def _by_words(before: Sequence[str], after: Sequence[str], search: _Search) -> Stretch:
    ours, theirs = _WORD.findall("\n".join(before)), _WORD.findall("\n".join(after))
    spans = list(search.stretches(ours, theirs))
    equal = sum(_words(ours[a0:a1]) for same, (a0, a1, _, _) in spans if same)
    if equal < ALIKE * min(_words(ours), _words(theirs)):
        return _whole(before, after)
    left: list[Words] = []
    right: list[Words] = []
    for index, (same, (a0, a1, b0, b1)) in enumerate(spans):
        mine, other = "".join(ours[a0:a1]), "".join(theirs[b0:b1])
        # Two changes with nothing but a blank or a comma between them are easier to read as one.
        lonely = 0 < index < len(spans) - 1 and not any(map(str.isalnum, mine)) and "\n" not in mine
        for side, text in ((left, mine), (right, other)):
            if text:
                side.append(Words(text, not same or lonely))
    return Stretch(False, tuple(_split(_joined(left))), tuple(_split(_joined(right))))


def _words(pieces: Sequence[str]) -> int:
    return sum(map(str.isalnum, pieces))


def _joined(pieces: list[Words]) -> list[Words]:
    """Neighbours of one kind as one piece."""
    joined: list[Words] = []
    texts: list[str] = []
    for index, piece in enumerate(pieces):
        texts.append(piece.text)
        if index + 1 == len(pieces) or pieces[index + 1].changed != piece.changed:
            joined.append(Words("".join(texts), piece.changed))
            texts = []
    return joined


def _split(pieces: list[Words]) -> Iterator[Line]:
    """The pieces line by line."""
    line: list[Words] = []
    for text, changed in pieces:
        first, *rest = text.split("\n")
        if first:
            line.append(Words(first, changed))
        for more in rest:
            yield tuple(line)
            line = [Words(more, changed)] if more else []
    yield tuple(line)


# The search, for lines and for words.


class _Search:
    """Finds what two sequences have in common, with a bound on the work of all searches together."""

    def __init__(self) -> None:
        self.left = SEARCHED
        self.is_cut = False

    def stretches(self, a: Sequence[str], b: Sequence[str]) -> Iterator[tuple[bool, Span]]:
        """Equal and changed stretches in turn; together they cover both sequences."""
        done_a = done_b = 0
        for a0, a1, b0, b1 in _merged(self._matches(a, b)):
            if a0 > done_a or b0 > done_b:
                yield False, (done_a, a0, done_b, b0)
            yield True, (a0, a1, b0, b1)
            done_a, done_b = a1, b1
        if len(a) > done_a or len(b) > done_b:
            yield False, (done_a, len(a), done_b, len(b))

    def _matches(self, a: Sequence[str], b: Sequence[str]) -> Iterator[Span]:
        """Equal stretches in ascending order."""
        waiting: list[tuple[Span, bool]] = [((0, len(a), 0, len(b)), False)]
        while waiting:
            (a0, a1, b0, b1), is_match = waiting.pop()
            if is_match:
                yield a0, a1, b0, b1
                continue
            head = 0
            while a0 + head < a1 and b0 + head < b1 and a[a0 + head] == b[b0 + head]:
                head += 1
            tail = 0
            while a1 - tail > a0 + head and b1 - tail > b0 + head and a[a1 - tail - 1] == b[b1 - tail - 1]:
                tail += 1
            parts = self._between(a, b, (a0 + head, a1 - tail, b0 + head, b1 - tail))
            if tail:
                waiting.append(((a1 - tail, a1, b1 - tail, b1), True))
            waiting.extend(reversed(parts))
            if head:
                waiting.append(((a0, a0 + head, b0, b0 + head), True))

    def _between(self, a: Sequence[str], b: Sequence[str], span: Span) -> list[tuple[Span, bool]]:
        """Matches within ``span``, and the parts of it that are to be looked at again."""
        a0, a1, b0, b1 = span
        if a0 == a1 or b0 == b1:
            return []
        anchors = _anchors(a, b, span)
        if not anchors:
            return [(match, True) for match in self._searched(a, b, span)]
        parts: list[tuple[Span, bool]] = []
        at_a, at_b = a0, b0
        for x, y in anchors:
            parts.append(((at_a, x, at_b, y), False))
            parts.append(((x, x + 1, y, y + 1), True))
            at_a, at_b = x + 1, y + 1
        parts.append(((at_a, a1, at_b, b1), False))
        return parts

    def _searched(self, a: Sequence[str], b: Sequence[str], span: Span) -> list[Span]:
        a0, a1, b0, b1 = span
        size = a1 - a0 + b1 - b0
        if size > self.left or (a1 - a0) * (b1 - b0) > CELLS:
            self.is_cut = True
            return []
        self.left -= size
        found = SequenceMatcher(None, a[a0:a1], b[b0:b1], autojunk=True).get_matching_blocks()
        return [(a0 + x, a0 + x + size, b0 + y, b0 + y + size) for x, y, size in found if size]


def _merged(matches: Iterator[Span]) -> Iterator[Span]:
    """Matches that touch as one."""
    last: Span | None = None
    for span in matches:
        if last is not None and (last[1], last[3]) == (span[0], span[2]):
            last = (last[0], span[1], last[2], span[3])
            continue
        if last is not None:
            yield last
        last = span
    if last is not None:
        yield last


def _anchors(a: Sequence[str], b: Sequence[str], span: Span) -> list[tuple[int, int]]:
    """Pairs of elements that occur once on each side, as many as keep their order."""
    a0, a1, b0, b1 = span
    once_a = {word for word, count in Counter(a[a0:a1]).items() if count == 1}
    once = {word for word, count in Counter(b[b0:b1]).items() if count == 1} & once_a
    if not once:
        return []
    places = {b[y]: y for y in range(b0, b1) if b[y] in once}
    return _longest([(x, places[a[x]]) for x in range(a0, a1) if a[x] in once])


def _longest(pairs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The longest part of ``pairs`` (ascending in the first) that ascends in the second as well."""
    ends: list[int] = []
    at: list[int] = []
    before: list[int] = []
    for index, (_, y) in enumerate(pairs):
        place = bisect_left(ends, y)
        before.append(at[place - 1] if place else -1)
        if place == len(ends):
            ends.append(y)
            at.append(index)
        else:
            ends[place], at[place] = y, index
    chain: list[tuple[int, int]] = []
    index = at[-1] if at else -1
    while index >= 0:
        chain.append(pairs[index])
        index = before[index]
    return chain[::-1]

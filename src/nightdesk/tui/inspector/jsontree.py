"""JSON as lines that fold at every object, array and long text, without ever decoding it.

The text is read token by token into a flat list. So a body that was cut, that is no proper JSON, that is nested ten
thousand deep or that is endless is shown as far as it goes, in time that only depends on how much is shown.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from nightdesk.core.foreign import safe
from nightdesk.tui.inspector.prose import cut_line, text_lines
from nightdesk.tui.text import Tone
from nightdesk.tui.widgets.folds import Line

DEEPEST_INDENT = 24
LONG_TEXT = 400
"""A text value that is longer is folded to its beginning."""
GLIMPSE = 160
PACKED = 96
"""Cells to which numbers of a list are put in one line."""
MANY_NUMBERS = 12
"""Lines of packed numbers from which on a list is folded at first."""
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*+"?|[{}\[\],:]|[^\s"{}\[\],:]+', re.DOTALL)
_OPEN, _CLOSE = "{[", "}]"


def tree(text: str, key: str, depth: int = 0, *, shut: bool = False, most: int = 400_000) -> Iterator[Line]:
    """The lines of one JSON value. Reads at most ``most`` characters; ``shut``: folded at its outermost."""
    writer = _Writer(key, depth, shut=shut)
    end = 0
    for found in _TOKEN.finditer(text, 0, min(len(text), most)):
        writer.take(found[0])
        end = found.end()
    yield from writer.lines()
    if len(text) > most:
        yield cut_line(len(text) - max(end, most), depth)


class _Writer:
    """Puts tokens into lines."""

    def __init__(self, key: str, depth: int, *, shut: bool) -> None:
        self._key, self._base, self._shut = key, depth, shut
        self._done: list[Line] = []
        self._row: list[tuple[str, Tone]] = []
        self._row_size = 0
        self._folds: list[tuple[int, str, int]] = []
        """(line that opened it, closing sign, values so far) of each open object or array."""
        self._pending = ""
        """A text of which only what follows tells whether it is a name or a value."""

    def lines(self) -> list[Line]:
        """All lines; what is still open stays open."""
        self._settle_text()
        self._flush()
        return self._done

    def take(self, word: str) -> None:
        """One token more."""
        if word == ":" and self._pending:
            self._put(self._pending, "accent")
            self._put(": ", "muted")
            self._pending = ""
            return
        if word != ",":
            self._settle_text()
        if word in _OPEN and len(word) == 1:
            self._open(word)
        elif word in _CLOSE and len(word) == 1:
            self._close(word)
        elif word == ",":
            self._comma()
        elif word[0] == '"':
            self._pending = word
        else:
            self._value(word, "muted" if word == ":" else "primary")

    @property
    def _depth(self) -> int:
        return self._base + len(self._folds)

    def _put(self, text: str, tone: Tone) -> None:
        if not self._row:
            level = len(self._folds)
            # Deeper than this the indent starts again at the left, behind the number of the level.
            lead = "  " * level if level <= DEEPEST_INDENT else f"{level:,} "
            self._row.append((lead, "faint"))
            self._row_size = len(self._row[0][0])
        self._row.append((safe(text.replace("\n", " ").replace("\t", " ")), tone))
        self._row_size += len(text)

    def _flush(self, fold: str = "", *, shut: bool = False) -> None:
        if self._row:
            text, tone = self._row[-1]
            self._row[-1] = (text.rstrip(" "), tone) if len(self._row) > 1 else (text, tone)
            hang = len(self._row[0][0]) + 2
            self._done.append(Line(tuple(self._row), self._depth, fold, "", shut, hang))
            self._row = []

    def _open(self, word: str) -> None:
        self._count()
        if self._is_packing():
            self._flush()
        self._put(word, "muted")
        at = len(self._done)
        self._flush(f"{self._key}.{at}", shut=self._shut and not self._folds)
        self._folds.append((at, _CLOSE[_OPEN.index(word)], 0))

    def _close(self, word: str) -> None:
        self._flush()
        if not self._folds:
            self._put(word, "bad")
            self._flush()
            return
        at, sign, count = self._folds.pop()
        head = self._done[at]
        if at == len(self._done) - 1:
            # Nothing is in it: one line, nothing to fold.
            self._done.pop()
            self._row = [*head.pieces, (word, "muted")]
            return
        noun = ("item" if count == 1 else "items") if sign == "]" else ("member" if count == 1 else "members")
        numbers = sign == "]" and len(self._done) - at > MANY_NUMBERS and self._all_packed(at)
        self._done[at] = head._replace(note=f"… {word} {count:,} {noun}", shut=head.shut or numbers)
        self._put(word, "muted" if word == sign else "bad")
        # The closing sign belongs to what it closes, so it is hidden with it.
        self._done.append(Line(tuple(self._row), self._depth + 1))
        self._row = []

    def _all_packed(self, at: int) -> bool:
        depth = self._done[at].depth + 1
        held = (self._done[index] for index in range(at + 1, len(self._done)))
        return all(line.depth == depth and not line.fold for line in held)

    def _comma(self) -> None:
        self._settle_text()
        if self._row:
            self._put(", " if self._is_packing() else ",", "muted")
            if not self._is_packing() or self._row_size > PACKED:
                self._flush()
        elif self._done:
            last = self._done[-1]
            self._done[-1] = last._replace(pieces=(*last.pieces, (",", "muted")))

    def _is_packing(self) -> bool:
        return bool(self._folds) and self._folds[-1][1] == "]" and bool(self._row)

    def _value(self, word: str, tone: Tone) -> None:
        self._count()
        self._put(word, tone)

    def _count(self) -> None:
        if self._folds:
            at, sign, count = self._folds[-1]
            self._folds[-1] = (at, sign, count + 1)

    def _settle_text(self) -> None:
        """The text that waited for a colon is a value."""
        word, self._pending = self._pending, ""
        if not word:
            return
        self._count()
        if len(word) <= LONG_TEXT:
            if self._is_packing() and self._row_size + len(word) > PACKED:
                self._flush()
            self._put(word, "ok")
            return
        if self._is_packing():
            self._flush()
        self._put(word[:GLIMPSE], "ok")
        self._put("… ", "faint")
        least = "" if len(word) > 1 and word[-1] == '"' else "at least "
        self._put(f"{least}{len(word) - 2:,} characters", "faint")
        depth = self._depth
        self._flush(f"{self._key}.{len(self._done)}", shut=True)
        self._done += text_lines(_unquoted(word), "ok", depth + 1)


def _unquoted(word: str) -> str:
    """What the text says; where it is broken, as it is written."""
    try:
        value = json.loads(word, strict=False)
    except ValueError:
        return word
    return value if isinstance(value, str) else word

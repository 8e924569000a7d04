"""A page of text of any size, wrapped at the width, whose parts fold, with a cursor, search and a followed end.

The text is a flat list of :class:`Line`: what lies deeper behind a line that opens a fold belongs to that fold. So a
document nested ten thousand deep is no more work than a flat one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar, NamedTuple

from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.reactive import reactive

from nightdesk.tui.glyphs import UNICODE, Glyphs
from nightdesk.tui.widgets.lines import LineView, Pieces, wrap

GUTTER = 2
"""Cells at the left: the cursor, and the sign of a fold."""


class Line(NamedTuple):
    """One line of a document."""

    pieces: Pieces
    depth: int = 0
    fold: str = ""
    """A name, unique in the document, where this line opens a fold."""
    note: str = ""
    """What is said behind it while it is folded."""
    shut: bool = False
    """Folded at first."""
    hang: int = 0
    """Cells from the left at which its rows after the first begin."""

    @property
    def plain(self) -> str:
        """Its text."""
        return "".join(text for text, _ in self.pieces)


class FoldView(LineView):
    """Shows a document."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "f,enter",
            "fold",
            "fold",
            key_display="f",
            id="page.fold",
            tooltip="Fold or unfold what the cursor is in",
        ),
        Binding(
            "F",
            "fold_all",
            "Fold all",
            show=False,
            id="page.fold_all",
            tooltip="Fold everything, or unfold it",
        ),
        Binding("n", "find(1)", "Next match", show=False, id="page.next_match"),
        Binding("N", "find(-1)", "Previous match", show=False, id="page.match_before"),
    ]

    class Moved(Message):
        """The cursor went to a match."""

    cursor = reactive(0)
    """The row on which keys act."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's name for it
        super().__init__(id=id)
        self.document: Sequence[Line] = ()
        self.following = False
        self._toggled: dict[str, bool] = {}
        self._rows: list[tuple[int, Pieces]] = []
        """(line of the document, what the row shows) of each row."""
        self._wrapped: dict[tuple[Pieces, int], list[Pieces]] = {}
        self._width = 0
        self._matches: list[int] = []

    @property
    def glyphs(self) -> Glyphs:
        """The table of signs in use."""
        return getattr(self.app, "glyphs", UNICODE)

    @property
    def count(self) -> int:
        """Rows as folded and wrapped now."""
        return len(self._rows)

    @property
    def plain(self) -> str:
        """The whole text, unfolded."""
        return "\n".join(line.plain for line in self.document)

    def pieces(self, index: int) -> Pieces:
        """One row, with the gutter."""
        at, pieces = self._rows[index]
        line = self.document[at]
        first = index == 0 or self._rows[index - 1][0] != at
        sign = ""
        if line.fold and first:
            sign = self.glyphs.folded if self.is_shut(line) else self.glyphs.unfolded
        mark = self.glyphs.cursor if index == self.cursor and self.has_focus else " "
        return (mark, "accent"), (f"{sign:<1}", "primary"), *pieces

    # The document

    def show(self, document: Sequence[Line], *, from_top: bool = False, follow: bool = False) -> None:
        """Show ``document``: at its beginning (``from_top``), at its end (``follow``), or where one was."""
        if document == self.document and not from_top:
            return
        self.document = document
        if from_top:
            self._toggled, self.following = {}, follow
        self._lay_out()
        if self.following:
            self._to_row(self.count - 1)
        elif from_top:
            self._to_row(0)
            self.scroll_to(y=0, animate=False, immediate=True)
        self._search()

    def on_resize(self) -> None:
        """Another width is another wrapping."""
        if self.size.width != self._width:
            self._wrapped = {}
            at = self.line_at_cursor
            self._lay_out()
            self._to_row(self.count - 1 if self.following else self._row_of(at))

    def is_shut(self, line: Line) -> bool:
        """Whether the fold that this line opens hides what is in it."""
        return self._toggled.get(line.fold, line.shut)

    def _lay_out(self) -> None:
        self._width = self.size.width
        width = max(1, self._width - GUTTER)
        known, self._wrapped = self._wrapped, {}
        self._rows = []
        for index, line in self._visible():
            pieces = line.pieces
            if line.fold and line.note and self.is_shut(line):
                pieces = (*pieces, (f"  {line.note}", "faint"))
            key = (pieces, line.hang)
            rows = known.get(key) or wrap(pieces, width, line.hang)
            self._wrapped[key] = rows
            self._rows += ((index, row) for row in rows)
        self.cursor = min(self.cursor, max(0, self.count - 1))
        self.show_count()

    def _visible(self) -> Iterator[tuple[int, Line]]:
        hidden: int | None = None
        for index, line in enumerate(self.document):
            if hidden is not None and line.depth > hidden:
                continue
            hidden = line.depth if line.fold and self.is_shut(line) else None
            yield index, line

    # The cursor

    @property
    def line_at_cursor(self) -> int:
        """The line of the document under the cursor; 0 in an empty one."""
        return self._rows[self.cursor][0] if self.cursor < self.count else 0

    def _row_of(self, at: int) -> int:
        """The row in which line ``at`` begins, or the last one before it."""
        low, high = 0, self.count
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if self._rows[middle][0] < at else (low, middle)
        found = low < self.count and self._rows[low][0] == at
        return low if found else max(0, low - 1)

    def validate_cursor(self, cursor: int) -> int:
        """Within the rows."""
        return max(0, min(cursor, self.count - 1))

    def watch_cursor(self) -> None:
        """Draw it elsewhere."""
        self.refresh()

    def _to_row(self, row: int) -> None:
        """Put the cursor on a row and that on the screen."""
        self.cursor = row
        top, height = self.scroll_offset.y, max(1, self.size.height)
        if not top <= self.cursor < top + height:
            y = self.cursor if self.cursor < top else self.cursor - height + 1
            self.scroll_to(y=y, animate=False, immediate=True, force=True)

    def watch_scroll_y(self, old: float, new: float) -> None:
        """The wheel takes the cursor along; whoever leaves the end is let go."""
        super().watch_scroll_y(old, new)
        top = round(new)
        self.cursor = max(top, min(self.cursor, top + max(1, self.size.height) - 1))

    def action_line(self, by: int) -> None:
        """Up or down by rows."""
        self.following = False
        self._to_row(self.cursor + by)
        self._take_hold()

    def action_page(self, pages: float) -> None:
        """Up or down by pages, the cursor stays where it is on the screen."""
        self.following = False
        by = int(max(1, self.size.height) * pages)
        row = self.cursor + by
        self.scroll_to(y=self.scroll_offset.y + by, animate=False, immediate=True)
        self._to_row(row)
        self._take_hold()

    def action_to_top(self) -> None:
        """To the first row."""
        self.following = False
        self._to_row(0)

    def action_to_end(self) -> None:
        """To the last row; follows it if more comes."""
        self._to_row(self.count - 1)
        self._take_hold()

    def _take_hold(self) -> None:
        self.following = self.cursor >= self.count - 1

    def on_mouse_scroll_up(self) -> None:
        """Let go of the end."""
        self.following = False

    def on_click(self, event: events.Click) -> None:
        """Put the cursor there; a line that opens a fold is folded or unfolded."""
        offset = event.get_content_offset(self)
        row = self.scroll_offset.y + offset.y if offset is not None else self.count
        if row < self.count:
            self.following = False
            self.cursor = row
            if self.document[self.line_at_cursor].fold:
                self.action_fold()

    # Folding

    def action_fold(self) -> None:
        """Fold or unfold at the cursor: what its line opens, else what it lies in."""
        at = self.line_at_cursor
        while at > 0 and not self.document[at].fold:
            at = next(iter(self._around(at)), 0)
            if at == 0:
                break
        if at < len(self.document) and self.document[at].fold:
            line = self.document[at]
            self._toggled[line.fold] = not self.is_shut(line)
            self._lay_out()
            self._to_row(self._row_of(at))

    def _around(self, at: int) -> Iterator[int]:
        """The lines that open the folds in which line ``at`` lies, innermost first."""
        depth = self.document[at].depth
        for index in range(at - 1, -1, -1):
            line = self.document[index]
            if line.depth < depth:
                depth = line.depth
                if line.fold:
                    yield index
            if depth == 0:
                return

    def action_fold_all(self) -> None:
        """Fold everything; where all is folded, unfold everything."""
        folds = [line for line in self.document if line.fold]
        shut = any(not self.is_shut(line) for line in folds)
        self._toggled = {line.fold: shut for line in folds}
        at = self.line_at_cursor
        self._lay_out()
        self._to_row(self._row_of(at))

    # Finding

    def search(self, needle: str) -> None:
        """Mark ``needle`` and go to the first line from the cursor on that holds it."""
        self.needle = needle
        self._search()
        if self._matches and self.line_at_cursor not in self._matches:
            self.action_find(1)
        elif self._matches:
            self._open_to(self.line_at_cursor)

    def _search(self) -> None:
        needle = self.needle.casefold()
        lines = enumerate(self.document) if needle else ()
        self._matches = [index for index, line in lines if needle in line.plain.casefold()]

    @property
    def found(self) -> tuple[int, int]:
        """(which match the cursor is on, from 1, or 0; lines that match)."""
        at = self.line_at_cursor
        return (self._matches.index(at) + 1 if at in self._matches else 0), len(self._matches)

    def action_find(self, step: int) -> None:
        """To the next line that matches, unfolding what hides it; from the last one on to the first."""
        if not self._matches:
            return
        at = self.line_at_cursor
        later = [index for index in self._matches if (index > at if step > 0 else index < at)]
        around = self._matches[0 if step > 0 else -1]
        self.following = False
        self._open_to((later[0] if step > 0 else later[-1]) if later else around)

    def _open_to(self, at: int) -> None:
        shut = [index for index in self._around(at) if self.is_shut(self.document[index])]
        if shut:
            self._toggled.update({self.document[index].fold: False for index in shut})
            self._lay_out()
        row = self._row_of(at)
        self._to_row(self._first_hit(row, at))
        self.post_message(self.Moved())

    def _first_hit(self, row: int, at: int) -> int:
        """The row of the line in which the needle stands, for lines of many rows."""
        needle = self.needle.casefold()
        for index in range(row, self.count):
            if self._rows[index][0] != at:
                break
            if needle in "".join(text for text, _ in self._rows[index][1]).casefold():
                return index
        return row

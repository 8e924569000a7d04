"""Two texts side by side, or one below the other: pure rows for a width, and the widget that draws them.

A sign in the gutter stands beside each colour: ``-`` only at the left, ``+`` only at the right.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest
from typing import ClassVar, NamedTuple

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from nightdesk.core.foreign import safe, safe_line
from nightdesk.core.inspection.diff import Line, Stretch, TextDiff
from nightdesk.tui.glyphs import Glyphs
from nightdesk.tui.text import Tone, tone_style
from nightdesk.tui.widgets.lines import LONGEST, LineView, Pieces, wrap

CONTEXT = 3
"""Equal lines that stay on each side of a difference."""
LONG_PIECE = 600
"""Equal text within a changed line that is longer than this is folded as well."""
KEPT_CHARS = 160
ROWS_MOST = 40_000
GUTTER = 2


class DiffRow(NamedTuple):
    """One row of the screen; ``change`` counts the differences from 1 at their first rows, 0 elsewhere."""

    pieces: Pieces
    change: int = 0


class Look(NamedTuple):
    """How rows are made."""

    width: int
    is_wide: bool
    is_folded: bool
    glyphs: Glyphs


def text_rows(diff: TextDiff, look: Look, first: int = 1) -> Iterator[DiffRow]:
    """The rows of one text. ``first`` is the number of its first difference."""
    number = first
    for index, stretch in enumerate(diff.stretches):
        if stretch.same:
            is_last = index + 1 == len(diff.stretches)
            yield from _same(stretch.left, look, is_first=index == 0, is_last=is_last)
            continue
        rows = _changed_wide(stretch, look) if look.is_wide else _changed_narrow(stretch, look)
        for place, pieces in enumerate(rows):
            yield DiffRow(pieces, number if place == 0 else 0)
        number += 1
    if diff.note:
        yield DiffRow(((diff.note, "warn"),))


def _same(lines: Sequence[Line], look: Look, *, is_first: bool, is_last: bool) -> Iterator[DiffRow]:
    head = 0 if is_first else CONTEXT
    tail = 0 if is_last else CONTEXT
    hidden = len(lines) - head - tail
    if not look.is_folded or hidden < 2:
        yield from _same_lines(lines, look)
        return
    yield from _same_lines(lines[:head], look)
    words = f"{hidden:,} equal lines; f unfolds"
    yield DiffRow(((f"{look.glyphs.folded} {words}", "faint"),))
    yield from _same_lines(lines[len(lines) - tail :], look)


def _same_lines(lines: Sequence[Line], look: Look) -> Iterator[DiffRow]:
    for line in lines:
        pieces = _pieces(line, "muted", look)
        if not look.is_wide:
            for row in wrap(pieces, look.width - GUTTER):
                yield DiffRow(((" " * GUTTER, ""), *row))
            continue
        half = _half(look)
        for row in wrap(pieces, half - GUTTER):
            yield DiffRow(_joined(row, row, " ", " ", look))


def _changed_narrow(stretch: Stretch, look: Look) -> Iterator[Pieces]:
    sides: tuple[tuple[tuple[Line, ...], str, Tone], ...] = (
        (stretch.left, "- ", "bad"),
        (stretch.right, "+ ", "ok"),
    )
    for lines, sign, tone in sides:
        for line in lines:
            for row in wrap(_pieces(line, tone, look), look.width - GUTTER):
                yield ((sign, tone), *row)


def _changed_wide(stretch: Stretch, look: Look) -> Iterator[Pieces]:
    room = _half(look) - GUTTER
    for left, right in zip_longest(stretch.left, stretch.right):
        ours = [] if left is None else wrap(_pieces(left, "bad", look), room)
        theirs = [] if right is None else wrap(_pieces(right, "ok", look), room)
        for mine, other in zip_longest(ours, theirs):
            signs = "-" if mine is not None else " ", "+" if other is not None else " "
            yield _joined(mine or (), other or (), *signs, look)


def _joined(left: Pieces, right: Pieces, minus: str, plus: str, look: Look) -> Pieces:
    room = _half(look) - GUTTER
    pad = " " * max(0, room - sum(cell_len(text) for text, _ in left))
    return (
        (f"{minus} ", "bad" if minus != " " else ""),
        *left,
        (f"{pad}{look.glyphs.line}", "border"),
        (f"{plus} ", "ok" if plus != " " else ""),
        *right,
    )


def _half(look: Look) -> int:
    return max(GUTTER + 2, (look.width - 1) // 2)


def _pieces(line: Line, tone: Tone, look: Look) -> Pieces:
    """Harmless pieces: ``tone`` for what changed; everything where a whole equal line is drawn."""
    is_equal = tone == "muted"
    pieces: list[tuple[str, Tone]] = []
    for text, changed in line:
        if look.is_folded and not changed and len(text) > LONG_PIECE:
            cut = len(text) - 2 * KEPT_CHARS
            pieces.append((_safe(text[:KEPT_CHARS]), "muted" if is_equal else ""))
            pieces.append((f" {look.glyphs.folded} {cut:,} equal characters ", "faint"))
            text = text[-KEPT_CHARS:]
        pieces.append((_safe(text), tone if changed or is_equal else ""))
    return tuple(pieces)


def _safe(text: str) -> str:
    return safe(text).expandtabs(4)


class DiffView(LineView):
    """Draws rows; changed words stand out by more than colour. Scrolls to the next or previous difference."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"diff--removed", "diff--added"}
    DEFAULT_CSS = """
    DiffView {
        & > .diff--removed { color: $text-error; background: $error 20%; text-style: bold; }
        & > .diff--added { color: $text-success; background: $success 20%; text-style: bold; }
        &:ansi > .diff--removed { color: ansi_red; background: ansi_default; text-style: bold; }
        &:ansi > .diff--added { color: ansi_green; background: ansi_default; text-style: bold underline; }
    }
    """

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's name for it
        super().__init__(id=id)
        self.rows: list[DiffRow] = []
        self.change = 0
        """Number of the difference that was gone to last; 0 before the first."""
        self.is_plain = False
        """A table: tones mean what they mean elsewhere."""

    @property
    def count(self) -> int:
        """Rows."""
        return len(self.rows)

    def pieces(self, index: int) -> Pieces:
        """One row."""
        return self.rows[index].pieces

    def show(self, rows: Iterable[DiffRow], *, plain: bool = False, from_top: bool = True) -> None:
        """Draw other rows."""
        self.rows = []
        for row in rows:
            if len(self.rows) == ROWS_MOST:
                self.rows.append(
                    DiffRow((("The rest is not shown here; nightdesk diff prints all.", "warn"),))
                )
                break
            self.rows.append(row)
        self.is_plain = plain
        self.change = 0
        self.show_count()
        if from_top:
            self.scroll_to(y=0, animate=False, immediate=True)

    def go(self, step: int) -> bool:
        """To the next (1) or previous (-1) difference; False where there is none."""
        wanted = self.change + step
        place = next((at for at, row in enumerate(self.rows) if row.change == wanted and wanted), None)
        if place is None:
            return False
        self.change = wanted
        above = min(CONTEXT + 1, self.size.height // 3)
        self.scroll_to(y=max(0, place - above), animate=False, immediate=True)
        self.refresh()
        return True

    def render_line(self, y: int) -> Strip:
        """One line of the screen."""
        index = y + self.scroll_offset.y
        width, back = self.size.width, self.rich_style
        if index >= self.count:
            return Strip.blank(width, back)
        row = self.rows[index]
        segments = [
            Segment(safe_line(text, LONGEST), back + self._style(text, tone)) for text, tone in row.pieces
        ]
        if row.change and row.change == self.change and segments:
            segments[0] = Segment(
                segments[0].text, segments[0].style and segments[0].style + Style(reverse=True)
            )
        return Strip(segments).crop(0, width).adjust_cell_length(width, back)

    def _style(self, text: str, tone: Tone) -> Style:
        if self.is_plain or tone not in ("bad", "ok") or text in ("- ", "+ "):
            return tone_style(self, tone)
        name = "diff--removed" if tone == "bad" else "diff--added"
        return self.get_component_rich_style(name)

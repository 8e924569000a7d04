"""Lines of foreign text drawn one by one: only what is on the screen costs anything. Base of logs and pages."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, TypeAlias

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from nightdesk.core.foreign import safe_line
from nightdesk.tui.text import TONE_CLASSES, Tone, tone_style

Pieces: TypeAlias = tuple[tuple[str, Tone], ...]
"""One line: texts with their tones."""

CUT = "…"
SIDE_STEP = 20
LONGEST = 8192
"""Characters of a line that can be reached by moving sideways."""


class LineView(ScrollView, can_focus=True):
    """Base: subclasses say how many lines there are and what each holds."""

    ALLOW_SELECT = False
    COMPONENT_CLASSES: ClassVar[set[str]] = {"lines--match", *TONE_CLASSES}
    DEFAULT_CSS = """
    LineView {
        height: 1fr; overflow-x: hidden; overflow-y: auto; scrollbar-size-vertical: 1; background: transparent;
        & > .lines--match { color: $background; background: $accent; }
        &:ansi > .lines--match { color: ansi_default; background: ansi_default; text-style: reverse; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "line(-1)", "Up", show=False, id="lines.up"),
        Binding("down,j", "line(1)", "Down", show=False, id="lines.down"),
        Binding("home,g", "to_top", "First line", show=False, id="lines.top"),
        Binding("end,G", "to_end", "Last line", show=False, id="lines.end"),
        Binding("ctrl+d", "page(0.5)", "Half a page down", show=False, id="lines.half_down"),
        Binding("ctrl+u", "page(-0.5)", "Half a page up", show=False, id="lines.half_up"),
        Binding("pagedown,space", "page(1)", "Page down", show=False, id="lines.page_down"),
        Binding("pageup", "page(-1)", "Page up", show=False, id="lines.page_up"),
        Binding("left", "side(-1)", "To the left", show=False, id="lines.left"),
        Binding("right", "side(1)", "To the right", show=False, id="lines.right"),
    ]

    needle = reactive("")
    """Text to mark, case ignored."""
    column = reactive(0)
    """Cells that are hidden at the left."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's name for it
        self._styles: dict[Tone | None, Style] = {}
        """By tone, None for the ground: Textual works each out anew, a tenth of a millisecond a piece."""
        super().__init__(id=id)

    @property
    def count(self) -> int:
        """*override*: number of lines."""
        return 0

    @abstractmethod
    def pieces(self, index: int) -> Pieces:
        """*override*: what line ``index`` holds."""

    def show_count(self) -> None:
        """Take over a changed number of lines."""
        self.virtual_size = Size(0, self.count)
        self.refresh()

    # Moving

    def validate_column(self, column: int) -> int:
        """Not left of the beginning."""
        return max(0, min(column, LONGEST))

    @property
    def at_end(self) -> bool:
        """The last line is on the screen."""
        return self.scroll_offset.y >= self.max_scroll_y

    def action_line(self, by: int) -> None:
        """Up or down by lines."""
        self.scroll_relative(y=by, animate=False)

    def action_page(self, pages: float) -> None:
        """Up or down by pages."""
        self.scroll_relative(y=int(max(1, self.size.height) * pages), animate=False)

    def action_to_top(self) -> None:
        """To the first line."""
        self.scroll_to(y=0, animate=False)

    def action_to_end(self) -> None:
        """To the last line."""
        self.scroll_to(y=self.max_scroll_y, animate=False)

    def action_side(self, by: int) -> None:
        """Sideways, for long lines."""
        self.column += by * SIDE_STEP

    # Drawing

    def render_line(self, y: int) -> Strip:
        """One line of the screen."""
        index = y + self.scroll_offset.y
        width, back = self.size.width, self._toned(None)
        if index >= self.count:
            return Strip.blank(width, back)
        segments: list[Segment] = []
        for text, tone in self.pieces(index):
            shown = safe_line(text, LONGEST + width)
            segments += self._mark(shown, self._toned(tone))
        strip = Strip(segments)
        over = strip.cell_length > self.column + width
        strip = strip.crop(self.column, self.column + width - over)
        if over:
            strip = Strip.join([strip, Strip([Segment(CUT, self._toned("faint"))])])
        return strip.adjust_cell_length(width, back)

    def notify_style_update(self) -> None:
        """Forget old colours."""
        self._styles.clear()
        super().notify_style_update()

    def _toned(self, tone: Tone | None) -> Style:
        style = self._styles.get(tone)
        if style is None:
            back = self.rich_style
            style = self._styles[tone] = back if tone is None else back + tone_style(self, tone)
        return style

    def _mark(self, text: str, style: Style) -> list[Segment]:
        needle = self.needle.casefold()
        segments: list[Segment] = []
        while needle and (at := text.casefold().find(needle)) >= 0:
            mark = style + self.get_component_rich_style("lines--match", partial=True)
            segments += [Segment(text[:at], style), Segment(text[at : at + len(needle)], mark)]
            text = text[at + len(needle) :]
        return [*segments, Segment(text, style)]


def wrap(pieces: Pieces, width: int, hang: int = 0) -> list[Pieces]:
    """The line in rows of at most ``width`` cells, broken behind a blank where there is one in the second half.

    A word that is longer than a row, such as a path, begins where there is half a row for it.
    All rows but the first begin ``hang`` cells from the left, at most half of the width.
    """
    if sum(len(text) for text, _ in pieces) <= width // 2 or width < 2:
        return [pieces]
    hang = min(hang, width // 2)
    lead: list[tuple[str, Tone]] = [(" " * hang, "")] if hang else []
    rows: list[Pieces] = []
    row: list[tuple[str, Tone]] = []
    full = room = width
    for text, tone in pieces:
        at = 0
        while at < len(text):
            cuts = room == full or (room > full // 2 and _is_long(text, at, width - hang))
            taken = _head(text, at, room, cuts=cuts, whole=room == full)
            if taken:
                row.append((text[at : at + taken], tone))
                room -= cell_len(row[-1][0])
                at += taken
            if at < len(text):
                rows.append(tuple(row))
                row, full = [*lead], width - hang
                room = full
    return [*rows, tuple(row)] if row or not rows else rows


def _is_long(text: str, at: int, width: int) -> bool:
    """Whether the word at ``at`` has no room in a row of its own."""
    return len(text) - at > width and text.find(" ", at, at + width + 1) < 0


def _head(text: str, at: int, room: int, *, cuts: bool, whole: bool) -> int:
    """How many characters from ``at`` go into ``room`` cells; at least one where the ``whole`` row is free.

    ``cuts``: a word may be cut.
    """
    piece = text[at : at + room + 1]
    size = len(piece)
    if size > room or cell_len(piece) > room:
        size = min(size, room)
        while size and cell_len(piece[:size]) > room:
            size -= 1 + (cell_len(piece[:size]) - room - 1) // 2
        blank = piece.rfind(" ", 0, size)
        size = blank + 1 if blank >= (room // 2 if cuts else 0) else size if cuts else 0
    return max(size, int(whole))

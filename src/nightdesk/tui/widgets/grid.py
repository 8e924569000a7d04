"""A table of live rows, drawn line by line: only visible lines cost anything, unchanged ones nothing.

Rows are keyed; the cursor stays on its key while rows move. Give rows with :meth:`Grid.show_rows` as often as you
like: lines that look the same are not drawn again. 10,000 rows are fine.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.cache import LRUCache
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from nightdesk.core.foreign import safe_line
from nightdesk.tui.text import TONE_CLASSES, Cell, Tone, cells_of, fit, tone_style

GAP = 2
FLEX_LEAST = 6
DRAWN = 200
"""Lines that stay drawn, four screens; each is 40 objects that the garbage collector looks at again and again."""


class Column(NamedTuple):
    """One column: ``width`` in cells, or ``flex`` as a share of what is left.

    Shown in grids of ``least`` cells and more, but fewer than ``most``.
    """

    key: str
    title: str
    width: int = 0
    flex: int = 0
    align: Literal["left", "right"] = "left"
    least: int = 0
    most: int = 10_000


class Row(NamedTuple):
    """One line: a cell for each column; with fewer cells the last one runs on. ``tone`` is for cells that have none."""

    key: Hashable
    cells: tuple[Cell, ...]
    tone: Tone = ""


class RowList(Sequence[Row]):
    """Rows that know where a key stands, for lists that are too long to be searched."""

    @abstractmethod
    def place_of(self, key: Hashable) -> int | None:
        """*override*: the index of the row with this key; None where it is not known."""


class Grid(ScrollView, can_focus=True):
    """A table with a cursor. Set columns once, then show rows."""

    ALLOW_SELECT = False
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "grid--header",
        "grid--cursor",
        "grid--cursor-blurred",
        "grid--match",
        *TONE_CLASSES,
    }
    DEFAULT_CSS = """
    Grid {
        height: 1fr; overflow-x: hidden; overflow-y: auto; scrollbar-size-vertical: 1; background: transparent;
        & > .grid--header { color: $text-muted; text-style: none; }
        & > .grid--cursor { background: $primary 20%; }
        & > .grid--cursor-blurred { background: $foreground 7%; }
        & > .grid--match { color: $background; background: $accent; }
        &:ansi > .grid--cursor { background: ansi_default; text-style: reverse; }
        &:ansi > .grid--cursor-blurred { background: ansi_default; }
        &:ansi > .grid--match { color: ansi_default; background: ansi_default; text-style: reverse; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "step(-1)", "Up", show=False, id="grid.up"),
        Binding("down,j", "step(1)", "Down", show=False, id="grid.down"),
        Binding("home,g", "to_top", "First row", show=False, id="grid.top"),
        Binding("end,G", "to_end", "Last row", show=False, id="grid.end"),
        Binding("ctrl+d", "page(0.5)", "Half a page down", show=False, id="grid.half_down"),
        Binding("ctrl+u", "page(-0.5)", "Half a page up", show=False, id="grid.half_up"),
        Binding("pagedown", "page(1)", "Page down", show=False, id="grid.page_down"),
        Binding("pageup", "page(-1)", "Page up", show=False, id="grid.page_up"),
        Binding("enter", "open", "open", id="grid.open"),
    ]

    cursor = reactive(0, repaint=False)
    needle = reactive("", init=False)
    """Text to mark in all cells, case ignored."""

    @dataclass
    class Opened(Message):
        """Enter or a double click on a row."""

        grid: Grid
        key: Hashable

        @property
        def control(self) -> Grid:
            """The grid."""
            return self.grid

    @dataclass
    class Moved(Message):
        """The cursor is on another row (None: there are no rows)."""

        grid: Grid
        key: Hashable

        @property
        def control(self) -> Grid:
            """The grid."""
            return self.grid

    class Scrolled(Message):
        """Other lines are in view."""

        def can_replace(self, message: Message) -> bool:
            """The newest one will do."""
            return isinstance(message, Grid.Scrolled)

    @dataclass
    class Resized(Message):
        """The columns may have other widths."""

        grid: Grid

        @property
        def control(self) -> Grid:
            """The grid."""
            return self.grid

    @dataclass
    class TitleClicked(Message):
        """A click on a column's title."""

        grid: Grid
        column: str

        @property
        def control(self) -> Grid:
            """The grid."""
            return self.grid

    def __init__(
        self,
        columns: Sequence[Column],
        *,
        header: bool = True,
        follow_top: bool = False,
        opens: bool = True,
        marks: bool = False,
        sign: str = "▌",
        id: str | None = None,  # noqa: A002 - Textual's name for it
    ) -> None:
        """``follow_top``: a cursor on the first row stays on the first row when new rows come above it.
        ``opens``: enter means something. ``marks``: the cursor shows as if the grid had the focus.
        """
        super().__init__(id=id)
        self.columns = tuple(columns)
        self.header = header
        self.follow_top = follow_top
        self.opens = opens
        self.marks = marks
        self.sign = sign
        self.rows: Sequence[Row] = ()
        self.sort: tuple[str, str] | None = None
        """Key of the column that rows are sorted by, and the sign behind its title."""
        self._key: Hashable = None
        self._folded = ""
        self._strips: LRUCache[tuple[Row, int, str], Strip] = LRUCache(DRAWN)
        self._styles: dict[tuple[str, str], Style] = {}
        """By tone (``ground``: of the line itself) and state: Textual works each out anew, a tenth of a millisecond."""
        self._fitted: tuple[int, list[tuple[int, Column, int]]] | None = None

    @property
    def cursor_key(self) -> Hashable:
        """Key of the row under the cursor, None without rows."""
        return self._key if self.rows else None

    # Data in

    def show_rows(self, rows: Sequence[Row]) -> None:
        """Draw ``rows``; lines that are already on the screen as they should be are left alone."""
        old, self.rows = self.rows, rows
        before = self._key
        moved = self._place_cursor()
        if len(rows) != len(old):
            self.virtual_size = Size(0, len(rows) + self._top)
        if moved:
            self.set_reactive(Grid.cursor, moved[1])
            self.scroll_to_cursor()
        self._refresh_changed(old, moved)
        if before != self._key:
            self.post_message(self.Moved(self, self.cursor_key))

    def show_columns(self, columns: Sequence[Column]) -> None:
        """Draw other columns."""
        if self.columns != tuple(columns):
            self.columns = tuple(columns)
            self._forget()

    def show_sort(self, column: str, sign: str) -> None:
        """Put ``sign`` behind the title of the column that rows are sorted by."""
        if self.sort != (column, sign):
            self.sort = (column, sign)
            self.refresh(Region(0, 0, self.size.width, 1))

    def select_key(self, key: Hashable) -> bool:
        """Put the cursor on the row ``key``. False when it is not there."""
        index = self._index_of(key)
        if index is not None:
            self.cursor = index
        return index is not None

    @property
    def _top(self) -> int:
        return 1 if self.header else 0

    def _index_of(self, key: Hashable) -> int | None:
        if self.cursor < len(self.rows) and self.rows[self.cursor].key == key:
            return self.cursor
        if isinstance(self.rows, RowList):
            return self.rows.place_of(key)
        return next((index for index, row in enumerate(self.rows) if row.key == key), None)

    def _place_cursor(self) -> tuple[int, int] | None:
        """Old and new place of the cursor when rows moved under it."""
        if not self.rows:
            return (self.cursor, 0) if self.cursor else None
        stays_on_top = self.follow_top and self.cursor == 0
        index = 0 if stays_on_top or self._key is None else self._index_of(self._key)
        if index is None:
            index = min(self.cursor, len(self.rows) - 1)
        self._key = self.rows[index].key
        return (self.cursor, index) if index != self.cursor else None

    def _refresh_changed(self, old: Sequence[Row], moved: tuple[int, int] | None) -> None:
        first = self.scroll_offset.y
        width, height = self.size
        for y in range(self._top, height):
            index = first + y - self._top
            was = old[index] if index < len(old) else None
            now = self.rows[index] if index < len(self.rows) else None
            if (was is not now and was != now) or (moved and index in moved):
                self.refresh(Region(0, y, width, 1))

    # Cursor

    def validate_cursor(self, cursor: int) -> int:
        """Within the rows."""
        return max(0, min(cursor, len(self.rows) - 1))

    def watch_cursor(self, old: int, new: int) -> None:
        """Draw the two lines, and say so."""
        if not self.rows:
            return
        self._key = self.rows[new].key
        for index in (old, new):
            self.refresh(Region(0, index - self.scroll_offset.y + self._top, self.size.width, 1))
        self.scroll_to_cursor()
        self.post_message(self.Moved(self, self._key))

    def watch_needle(self, needle: str) -> None:
        """Marks are part of every line."""
        self._folded = needle.casefold()
        self._forget()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Tell that other lines are in view."""
        super().watch_scroll_y(old_value, new_value)
        if round(old_value) != round(new_value):
            self.post_message(self.Scrolled())

    @property
    def room(self) -> int:
        """Cells of a line: all but the scroll bar's."""
        return self.size.width - (self.styles.scrollbar_size_vertical if self.show_vertical_scrollbar else 0)

    def watch_show_vertical_scrollbar(self) -> None:
        """The bar takes a cell from every line."""
        self._forget()
        self.post_message(self.Resized(self))

    @property
    def lines_in_view(self) -> range:
        """Indices of the rows that are in view."""
        first = round(self.scroll_offset.y)
        return range(first, min(len(self.rows), first + max(1, self.size.height - self._top)))

    def scroll_to_cursor(self) -> None:
        """Bring the cursor's line into view."""
        visible = max(1, self.size.height - self._top)
        first = round(self.scroll_target_y)
        if self.cursor < first:
            self.scroll_to(y=self.cursor, animate=False)
        elif self.cursor >= first + visible:
            self.scroll_to(y=self.cursor - visible + 1, animate=False)

    def action_step(self, by: int) -> None:
        """Up or down by some rows."""
        self.cursor += by

    def action_page(self, pages: float) -> None:
        """Up or down by pages."""
        self.cursor += int(max(1, self.size.height - self._top) * pages)

    def action_to_top(self) -> None:
        """To the first row."""
        self.cursor = 0

    def action_to_end(self) -> None:
        """To the last row."""
        self.cursor = len(self.rows) - 1

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Enter only where rows can be opened."""
        return self.opens if action == "open" else super().check_action(action, parameters)

    def action_open(self) -> None:
        """Tell that the row under the cursor was chosen."""
        if self.rows:
            self.post_message(self.Opened(self, self.rows[self.cursor].key))

    def on_click(self, event: events.Click) -> None:
        """Cursor on the row; a double click opens it; a title asks for that order."""
        offset = event.get_content_offset(self)
        if offset is None:
            return
        if offset.y < self._top:
            self._click_title(offset.x)
            return
        index = offset.y - self._top + self.scroll_offset.y
        if index < len(self.rows):
            self.cursor = index
            if event.chain == 2:
                self.action_open()

    def _click_title(self, x: int) -> None:
        left = len(self.sign)
        for _, column, width in self._fit_columns():
            if left <= x < left + width + GAP:
                self.post_message(self.TitleClicked(self, column.key))
            left += width + GAP

    # Drawing

    def on_resize(self) -> None:
        """Widths depend on ours, and the cursor may have left the view."""
        self._forget()
        if self.rows:
            self.scroll_to_cursor()
        self.post_message(self.Resized(self))

    def notify_style_update(self) -> None:
        """Forget lines in old colours."""
        self._strips.clear()
        self._styles.clear()
        super().notify_style_update()

    def on_focus(self) -> None:
        """The cursor looks different."""
        self._refresh_cursor()

    def on_blur(self) -> None:
        """The cursor looks different."""
        self._refresh_cursor()

    def _refresh_cursor(self) -> None:
        self.refresh(Region(0, self.cursor - self.scroll_offset.y + self._top, self.size.width, 1))

    def _forget(self) -> None:
        self._strips.clear()
        self._styles.clear()
        self._fitted = None
        self.refresh()

    def _fit_columns(self) -> list[tuple[int, Column, int]]:
        """Visible columns with their index and width."""
        total = self.room
        if self._fitted is None or self._fitted[0] != total:
            self._fitted = (total, layout_columns(self.columns, total, len(self.sign)))
        return self._fitted[1]

    def render_line(self, y: int) -> Strip:
        """One line of the screen."""
        if y < self._top:
            return self._title_line()
        index = y - self._top + self.scroll_offset.y
        if index >= len(self.rows):
            return Strip.blank(self.size.width, self.rich_style)
        state = ""
        if index == self.cursor:
            state = "grid--cursor" if self.has_focus or self.marks else "grid--cursor-blurred"
        key = (self.rows[index], self.room, state)
        strip = self._strips.get(key)
        if strip is None:
            strip = self._strips[key] = self._draw(*key)
        return strip

    def _title_line(self) -> Strip:
        style = self.get_component_rich_style("grid--header")
        segments = [Segment(" " * len(self.sign), style)]
        for _, column, width in self._fit_columns():
            title = column.title
            if self.sort and self.sort[0] == column.key:
                title += self.sort[1]
            segments.append(Segment(fit(title, width, column.align) + " " * GAP, style))
        return Strip(segments).adjust_cell_length(self.room, self.rich_style)

    def _draw(self, row: Row, width: int, state: str) -> Strip:
        back = self._style("ground", state)
        gutter = self.sign if state == "grid--cursor" else " " * len(self.sign)
        segments = [Segment(gutter, self._style("accent", state))]
        used, blank = len(self.sign), 0
        runs_on = len(row.cells) - 1 if len(row.cells) < len(self.columns) else len(self.columns)
        for index, column, room in self._fit_columns():
            if index >= runs_on:
                rest = self._pieces(row.cells[-1], width - used - blank, row.tone, state)[0]
                segments += [Segment(" " * blank, back), *rest]
                return Strip(segments).adjust_cell_length(width, back)
            pieces, left = self._pieces(row.cells[index], room, row.tone, state)
            before, after = (left, 0) if column.align == "right" else (0, left)
            if pieces:
                if blank + before:
                    segments.append(Segment(" " * (blank + before), back))
                segments += pieces
                used, blank = used + blank + room - after, after + GAP
            else:
                blank += room + GAP
        return Strip(segments, used).adjust_cell_length(width, back)

    def _style(self, tone: Tone | Literal["ground"], state: str) -> Style:
        style = self._styles.get((tone, state))
        if style is None:
            style = self._styles[tone, state] = self._mixed(tone, state)
        return style

    def _mixed(self, tone: Tone | Literal["ground"], state: str) -> Style:
        back = self.rich_style
        if state:
            mark = self.get_component_rich_style(state)
            back += Style(bgcolor=mark.bgcolor, reverse=mark.reverse or None)
        return back if tone == "ground" else back + tone_style(self, tone)

    def _pieces(self, cell: Cell, room: int, tone: Tone, state: str) -> tuple[list[Segment], int]:
        """What of a cell has room, and how many cells it leaves."""
        segments: list[Segment] = []
        left = room
        for text, mood in ((cell.text, cell.tone), *cell.more):
            if left <= 0:
                break
            clean = safe_line(text, 4 * room)
            size = cells_of(clean)
            if size > left:
                clean, size = fit(clean, left, "left"), left
            if size:
                segments += self._mark(clean, self._style(mood or tone, state))
            left -= size
        return segments, left

    def _mark(self, text: str, style: Style) -> list[Segment]:
        at = text.casefold().find(self._folded) if self._folded else -1
        if at < 0:
            return [Segment(text, style)]
        end = at + len(self._folded)
        mark = style + self.get_component_rich_style("grid--match", partial=True)
        return [Segment(text[:at], style), Segment(text[at:end], mark), *self._mark(text[end:], style)]


def layout_columns(columns: Sequence[Column], total: int, gutter: int) -> list[tuple[int, Column, int]]:
    """Which columns fit into ``total`` cells: (index, column, width) from left to right."""
    shown = [(index, column) for index, column in enumerate(columns) if column.least <= total < column.most]
    fixed = sum(column.width for _, column in shown) + GAP * max(0, len(shown) - 1) + gutter
    shares = sum(column.flex for _, column in shown)
    room = max(0, total - fixed)
    placed, given, taken = [], 0, 0
    for index, column in shown:
        width = column.width
        if column.flex:
            given += column.flex
            width = max(FLEX_LEAST, room * given // shares - taken)
            taken = room * given // shares
        placed.append((index, column, width))
    return placed

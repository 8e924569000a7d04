"""Pane 3: what goes between the jobs and the model servers, one line an exchange, the newest first.

Selected from exchanges: the newest are here, older ones are asked for when they are looked at, also those that a
filter finds or another order brings up. Empty until something is captured: says which ports are watched.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from nightdesk.client.mirror import Mirror
from nightdesk.model.desk import ExchangeCounts, SourceState
from nightdesk.model.exchange import ExchangeRow
from nightdesk.model.units import format_count
from nightdesk.tui import asks
from nightdesk.tui.glyphs import UNICODE
from nightdesk.tui.panes.pane import LIVE, Heading, Look
from nightdesk.tui.panes.traffic_columns import (
    BARS,
    SORT_COLUMNS,
    SORTS,
    TEXT,
    Needs,
    columns_for,
    first_direction,
    sort_of_column,
    sort_words,
)
from nightdesk.tui.panes.traffic_keys import ExchangePane
from nightdesk.tui.panes.traffic_listing import Listing, known_values
from nightdesk.tui.panes.traffic_row import Style, blank_row, is_today, lead_of, row_of
from nightdesk.tui.panes.traffic_totals import TotalsLine
from nightdesk.tui.panes.traffic_window import NEWEST_FIRST, Pending, WindowRows
from nightdesk.tui.text import Cell, Part
from nightdesk.tui.widgets.grid import Grid, Row, layout_columns

if TYPE_CHECKING:
    from nightdesk.core.inspection.completion import Suggestion

CACHED = 400
"""Lines that stay drawn; each is a dozen objects that the garbage collector looks at again and again."""
ROOMY = 40
"""Cells of text from which on a line itself says what is wrong."""
LEAST_FOR_TOTALS = 8
"""Lines of the pane below which there is no room for totals."""


@dataclass(frozen=True, slots=True)
class TrafficView:
    """What the pane shows."""

    rows: WindowRows[ExchangeRow]
    style: Style
    counts: ExchangeCounts
    total: int
    newer: int = 0
    """Exchanges that came since the list stands still."""


class RowCache:
    """Lines of exchanges that are over: drawn once, as long as nothing of them changes."""

    def __init__(self) -> None:
        self._rows: dict[int, tuple[ExchangeRow, str, Row]] = {}
        self._made_for: Style | None = None

    def row(self, row: ExchangeRow, now_ns: int, style: Style, signs: str = "") -> Row:
        """The line of ``row``."""
        if self._made_for != style or len(self._rows) > CACHED:
            self._rows.clear()
            self._made_for = style
        known = self._rows.get(row.id)
        if known is not None and known[0] is row and known[1] == signs and row.state != "running":
            return known[2]
        drawn = row_of(row, now_ns, style, signs)
        self._rows[row.id] = (row, signs, drawn)
        return drawn


def ports_of(desk: Mirror) -> str:
    """The watched ports in words."""
    ports = sorted({server.address.rsplit(":", 1)[-1] for server in desk.servers})
    if not ports:
        return "the watched ports"
    return f"port{'s' if len(ports) > 1 else ''} {', '.join(ports)}"


def empty_look(ports: str, source: SourceState | None) -> Look:
    """Why there is nothing to see, and what to do."""
    if source is None or source.state == "starting":
        return Look(
            "loading", f"The capture of {ports} is starting.", (source.message or "") if source else ""
        )
    if source.state == "off":
        hint = source.message or 'Set source = "auto" under [capture] in nightdesk.toml to see exchanges.'
        return Look("empty", "The capture is off.", hint)
    if source.label == "file":
        return Look("empty", "No exchange with a model server is in this capture.", source.message or "")
    lines = [source.message] if source.message else []
    if "relay" not in source.label:
        lines.append("Whatever talks to a model server there appears here; no program needs a change.")
    where = f" ({source.label})" if source.label else ""
    return Look("empty", f"No exchange yet on {ports}{where}.", "\n".join(lines))


class TrafficPane(ExchangePane[TrafficView]):
    """All exchanges; enter opens one."""

    NUMBER = 3
    TITLE = "Ollama traffic"
    PARTS = ("exchanges", "servers")
    SOURCE = "capture"
    TICKS = True
    FAST = True
    SUGGESTS = True
    DEFAULT_CSS = """
    TrafficPane > FilterLine { dock: none; }
    """
    BINDING_GROUP_TITLE = "Traffic"
    HELP = """
## Traffic

One line for each exchange with a model server, the newest first. It is read from the network interface, so no
program has to be changed, and nothing here can slow a job down.

▶ running · ◷ waits for its first token · ✓ complete · ✗ failed · ■ aborted · ? bytes are missing · … only a part seen.
◆ marked for a diff · ▪ tagged · + good · − bad · ↻ a replay of ours.

**⇡** tokens of the prompt, **⇣** of the reply, as the server counted them. While a reply grows its fragments are
counted instead, marked with **~**. **first** is the time to the first token. **▲** is a verdict; `enter` says why.

While the cursor is on the first line, new exchanges push in from above. Move down and the list stands still;
the title counts the new ones, `g` goes back to them.

`/` filters: `model:qwen status:error job:transcribe >30s tokens>2k "golden river"`. Terms are joined by *and*, `-` in
front negates, `tab` completes. Plain words are looked for in the line and in prompts and replies.

`w` draws when each exchange waited (░), read its prompt (▒) and answered (█). The line below the list sums up what it
holds, or the lines tagged with `t`.
"""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("v", "verdict", "verdict", id="traffic.verdict", tooltip="Next line with a verdict or an error"),
        Binding("o", "order", "order", id="traffic.order", tooltip="Sort by the next column"),
        Binding("O", "reverse", "Reverse order", show=False, id="traffic.reverse", tooltip="Reverse the order"),
        Binding("c", "columns", "columns", id="traffic.columns", tooltip="Choose the columns"),
        Binding("w", "waterfall", "waterfall", id="traffic.waterfall", tooltip="Waterfall: when each one ran"),
        Binding("t", "tag", "Tag", show=False, id="traffic.tag", tooltip="Tag the line for the totals"),
        Binding("P", "profile", "Profile", show=False, id="traffic.profile", tooltip="Where the time went"),
    ]  # fmt: skip

    def __init__(self) -> None:
        super().__init__()
        self.listing = Listing(self.post_message, self._list_changed)
        self.chosen: tuple[str, ...] | None = None
        """Columns that the user chose; None: the width decides."""
        self.waterfall = False
        self._cache = RowCache()
        self._style = Style((), UNICODE)
        self._needs = Needs()
        self._missed = False

    def compose_body(self) -> ComposeResult:
        """The grid, and the totals below."""
        yield Grid(
            columns_for(None, Needs()),
            follow_top=True,
            sign=self.glyphs.cursor,
            id="traffic-grid",
        )
        yield TotalsLine()

    def on_mount(self) -> None:
        """The columns that the user chose some other day."""
        from nightdesk.tui.choices import read_choices

        self.chosen = read_choices().traffic_columns
        super().on_mount()

    @property
    def grid(self) -> Grid:
        """The list."""
        return self.query_one(Grid)

    # Drawing

    def select(self, desk: Mirror, now_ns: int) -> TrafficView:
        """The view for the present filter, order and width."""
        self.listing.update(desk, now_ns)
        self._style = style = self._style_now(desk, now_ns)
        marked, tags = getattr(self.app, "marked_exchange", None), self.listing.tags

        def make(row: ExchangeRow) -> Row:
            row = desk.exchanges.get(row.id, row)
            signs = self.glyphs.picked if row.id == marked else self.glyphs.tagged if row.id in tags else ""
            self._note(row, signs, now_ns)
            return self._cache.row(row, now_ns, style, signs)

        rows = WindowRows(
            self.listing.window, make, lambda place: blank_row(Pending(place), style), self._miss
        )
        return TrafficView(rows, style, desk.counts, len(desk.exchanges), self.listing.newer(desk))

    def _note(self, row: ExchangeRow, signs: str, now_ns: int) -> None:
        """What this line needs room for; it is drawn again with that room."""
        needs = Needs(
            dated=self._needs.dated or not is_today(row.started_ns, now_ns),
            marked=self._needs.marked or bool(signs or row.mark or row.replay_of is not None),
            named=self._needs.named and (self.source is None or self.source.label != "file"),
        )
        if needs != self._needs:
            self._needs = needs
            self.call_later(self._fit)

    def _style_now(self, desk: Mirror, now_ns: int) -> Style:
        grid = self.grid
        if not self.waterfall:
            columns = columns_for(self.chosen, self._needs)
            return Style(columns, self.glyphs, self._width_of(columns, TEXT), self._needs.dated)
        from nightdesk.tui.panes.traffic_waterfall import scale, span_of

        window = self.listing.window
        rows = [row for place in grid.lines_in_view if (row := window.row(place)) is not None]
        span = span_of(
            [desk.exchanges.get(row.id, row) for row in rows or window.head[: grid.size.height]], now_ns
        )
        columns = columns_for(self.chosen, self._needs, " ")
        width = self._width_of(columns, BARS)
        title = scale(span, width, self.glyphs) if span else " "
        columns = (*columns[:-1], columns[-1]._replace(title=title))
        return Style(columns, self.glyphs, width, self._needs.dated, span)

    def _width_of(self, columns: tuple[object, ...], key: str) -> int:
        grid = self.grid
        placed = layout_columns(columns, grid.room, len(grid.sign))  # type: ignore[arg-type]  # - they are columns
        return next((width for _, column, width in placed if column.key == key), 0)

    def look(self, view: TrafficView) -> Look:
        """Empty with the reason."""
        if len(view.rows) or self.desk is None or not self.listing.is_settled:
            return LIVE
        if self.listing.window.query:
            return Look(
                "empty", f"No exchange matches “{self.listing.window.query}”.", "Escape clears the filter."
            )
        return empty_look(ports_of(self.desk), self.source)

    def heading(self, view: TrafficView) -> Heading:
        """Counts; what is new above; the source with what it lost."""
        gap, counts = f" {self.glyphs.dot} ", view.counts
        note = [
            Cell(f"{counts.running} running", "ok" if counts.running else "muted"),
            Cell(f"{gap}{format_count(counts.done)} done", "muted"),
            Cell(f"{gap}{format_count(counts.failed)} failed", "bad" if counts.failed else "muted"),
        ]
        if view.newer:
            note.append(Cell(f"{gap}{self.glyphs.up} {view.newer} new", "accent"))
        order = self.listing.window.sort
        if order != NEWEST_FIRST and not self._sort_titles():
            note.append(Cell(f"{gap}by {sort_words(order)}{self._sort_sign}", "accent"))
        return Heading(tuple(note), self._source_words())

    def _source_words(self) -> tuple[Cell, ...]:
        source = self.source
        if source is None:
            return ()
        words = [Cell(source.label or source.state, "muted")]
        if source.dropped:
            lost = f" {self.glyphs.dot} {self.glyphs.warn} {format_count(source.dropped)} packets lost"
            words.append(Cell(lost, "warn"))
        return tuple(words)

    def remark(self) -> Part:
        """What is wrong with the exchange under the cursor, where the line has no room to say it."""
        row = self.row_under_cursor
        if row is None or (self._style.width >= ROOMY and not self.waterfall):
            return ""
        lead, tone = lead_of(row, self.glyphs)
        return Cell(lead, tone) if lead else ""

    def draw(self, view: TrafficView, old: TrafficView | None) -> None:
        """Show the rows, the order, the totals."""
        grid = self.grid
        grid.needle = self.listing.needle
        grid.show_columns(view.style.columns)
        self._show_sort(grid)
        grid.show_rows(view.rows)
        self._show_totals()
        self._look_around()
        self.call_after_refresh(self._fit)

    def _show_sort(self, grid: Grid) -> None:
        grid.show_sort(next(iter(self._sort_titles()), ""), self._sort_sign)

    @property
    def _sort_sign(self) -> str:
        falls = self.listing.window.sort.startswith("-")
        return self.glyphs.descending if falls else self.glyphs.ascending

    def _sort_titles(self) -> list[str]:
        """The columns in sight whose title can show the order; none where the heading has to."""
        grid = self.grid
        placed = layout_columns(self._style.columns, grid.room, len(grid.sign))
        keys = SORT_COLUMNS[self.listing.window.sort.removeprefix("-")]
        return [column.key for _, column, _ in placed if column.key in keys]

    def _show_totals(self) -> None:
        totals, listing = self.query_one(TotalsLine), self.listing
        totals.display = self.size.height >= LEAST_FOR_TOTALS
        of = (
            "tagged"
            if listing.summed.startswith("id:") and listing.tags
            else "found"
            if listing.window.query
            else "exchanges"
        )
        totals.show(listing.totals, of, self.glyphs)

    @on(Grid.Resized)
    def _fit(self) -> None:
        """Draw again where the table has got another width (its first layout, a scroll bar), or needs other columns."""
        if (
            self.is_mounted
            and self.desk is not None
            and self._style_now(self.desk, self.now_ns) != self._style
        ):
            self.redraw()

    @on(Grid.Scrolled)
    def _scrolled(self) -> None:
        if self.waterfall:
            self.redraw()
        else:
            self._look_around()

    def _miss(self) -> None:
        """A line was drawn whose row is not here."""
        if not self._missed:
            self._missed = True
            self.call_later(self._look_around)

    def _look_around(self) -> None:
        self._missed = False
        if self.is_mounted and self.desk is not None:
            self.listing.look_at(self.grid.lines_in_view, self.desk, self.now_ns)

    def _list_changed(self) -> None:
        if self.is_mounted:
            self.redraw()
            self.show_hint()

    # Standing still

    @on(Grid.Moved)
    def _moved(self) -> None:
        self.show_remark()
        away, listing = self.grid.cursor > 0, self.listing
        if self.desk is None:
            return
        if away and listing.window.seen is None:
            listing.stand_still(self.desk)
        elif not away and listing.window.seen is not None:
            listing.go_on()
            self.redraw()

    # Filter

    def redraw(self) -> None:
        """Draw again; with the filter as it is typed now."""
        if self.filter_text.strip() != self.listing.window.query or self.listing.fault:
            before = self.listing.window
            self.listing.filter(self.filter_text)
            if self.listing.window is not before:
                self._start_at_top()
        super().redraw()

    def _start_at_top(self) -> None:
        self._needs = Needs()
        grid = self.grid
        grid.show_rows(())
        grid.scroll_to(y=0, animate=False, immediate=True)

    def suggestions(self, text: str, cursor: int) -> tuple[Suggestion, ...]:
        """Keys and values of the filter."""
        from nightdesk.core.inspection.completion import complete

        return complete(text, cursor, known_values(self.desk) if self.desk is not None else {})

    def filter_fault(self) -> str:
        """Why the filter can't be read."""
        return self.listing.fault

    def action_clear_filter(self) -> None:
        """Take the tags away, then the filter."""
        if self.listing.tags:
            self.listing.tags.clear()
            self.redraw()
        else:
            super().action_clear_filter()

    # Order and columns

    def action_order(self) -> None:
        """Sort by the next column."""
        now = self.listing.window.sort.removeprefix("-")
        self._sort(first_direction(SORTS[(SORTS.index(now) + 1) % len(SORTS)]))

    def action_reverse(self) -> None:
        """The other way round."""
        now = self.listing.window.sort
        self._sort(now.removeprefix("-") if now.startswith("-") else f"-{now}")

    @on(Grid.TitleClicked)
    def _title_clicked(self, event: Grid.TitleClicked) -> None:
        sort = sort_of_column(event.column)
        if sort is not None:
            same = self.listing.window.sort.removeprefix("-") == sort
            self.action_reverse() if same else self._sort(first_direction(sort))

    def _sort(self, order: str) -> None:
        self.listing.sort(order)
        self._start_at_top()
        self.redraw()

    def action_columns(self) -> None:
        """Choose the columns."""
        from nightdesk.tui.screens.columns import ColumnsScreen

        placed = layout_columns(self.grid.columns, self.grid.room, len(self.grid.sign))
        shown = self.chosen or tuple(column.key.split()[0] for _, column, _ in placed)
        self.app.push_screen(ColumnsScreen(shown, self.show_columns))

    def show_columns(self, chosen: tuple[str, ...] | None) -> None:
        """Show these columns; None: as many as fit."""
        self.chosen = chosen
        self.redraw()

    def action_waterfall(self) -> None:
        """Bars in place of the text, or the text again."""
        self.waterfall = not self.waterfall
        self.redraw()

    # The lines

    @property
    def row_under_cursor(self) -> ExchangeRow | None:
        """The exchange that the keys are about."""
        key = self.grid.cursor_key
        if self.desk is None or not isinstance(key, int):
            return None
        return self.desk.exchanges.get(key) or self.listing.window.row(self.grid.cursor)

    @on(Grid.Opened)
    def _opened(self, event: Grid.Opened) -> None:
        if isinstance(event.key, int):
            self.post_message(asks.OpenExchange(event.key))

    def action_profile(self) -> None:
        """Where the time of the listed exchanges went."""
        listing = self.listing
        self.post_message(asks.OpenProfile(listing.selection if listing.tags else listing.window.query))

    def action_tag(self) -> None:
        """Tag the line for the totals, and go on to the next one."""
        if (row := self.row_under_cursor) is not None:
            self.listing.tags ^= {row.id}
            self.grid.cursor += 1
            self.redraw()

    def action_verdict(self) -> None:
        """To the next line, downwards and around, that has a verdict or an error."""
        self.listing.find_trouble(self.grid.cursor + 1, self._show_trouble)

    def _show_trouble(self, place: int | None) -> None:
        if not self.is_mounted:
            return
        if place is None:
            self.notify("No exchange here has a verdict.", markup=False)
        else:
            self.grid.cursor = place
            self.post_message(asks.VerdictsSeen())

    def go_beside(self, exchange_id: int, step: int, take: Callable[[int | None], None]) -> None:
        """Move the cursor to the line ``step`` below that of an exchange; ``take`` gets its exchange, None at the end.

        An exchange that is not in the list stands where the cursor is.
        """
        place = self.listing.window.place_of(exchange_id)

        def found(row: ExchangeRow | None) -> None:
            if row is not None and self.is_mounted:
                self.grid.select_key(row.id)
            take(row.id if row is not None else None)

        self.listing.find_row((self.grid.cursor if place is None else place) + step, found)

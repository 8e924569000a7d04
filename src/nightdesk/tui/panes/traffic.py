"""Pane 3: what goes between the jobs and the model servers, one line an exchange, the newest first.

Selected from exchanges. Empty until something is captured: says which ports are watched and what to do.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from nightdesk.client.mirror import Mirror
from nightdesk.model.desk import ExchangeCounts, SourceState
from nightdesk.model.exchange import ExchangeRow
from nightdesk.model.units import format_count
from nightdesk.tui.asks import OpenExchange
from nightdesk.tui.glyphs import Glyphs
from nightdesk.tui.panes.pane import LIVE, Heading, Look, Pane
from nightdesk.tui.panes.traffic_row import COLUMNS, TEXT, lead_of, row_of, words_of
from nightdesk.tui.text import Cell, Part
from nightdesk.tui.widgets.grid import Grid, Row, layout_columns

CACHED = 4000
ROOMY = 40
"""Cells of text from which on a line itself says what is wrong."""


@dataclass(frozen=True, slots=True)
class TrafficView:
    """What the pane shows."""

    rows: tuple[Row, ...]
    counts: ExchangeCounts
    total: int
    newer: int = 0
    """Rows above the one that was the newest when the user moved away from the top."""


class RowCache:
    """Lines of exchanges that are over: drawn once, as long as nothing of them changes."""

    def __init__(self) -> None:
        self._rows: dict[int, tuple[ExchangeRow, Row]] = {}
        self._made_for: tuple[int, Glyphs] | None = None

    def row(self, row: ExchangeRow, now_ns: int, width: int, glyphs: Glyphs) -> Row:
        """The line of ``row``."""
        if self._made_for != (width, glyphs) or len(self._rows) > CACHED:
            self._rows.clear()
            self._made_for = (width, glyphs)
        known = self._rows.get(row.id)
        if known is not None and known[0] is row and row.state != "running":
            return known[1]
        line = row_of(row, now_ns, width, glyphs)
        self._rows[row.id] = (row, line)
        return line


def select(
    desk: Mirror,
    now_ns: int,
    glyphs: Glyphs,
    *,
    width: int,
    needle: str = "",
    seen: int | None = None,
    cache: RowCache | None = None,
) -> TrafficView:
    """Newest first. ``width`` cells are there for the text; ``seen`` is the newest exchange that the user knows."""
    cache = cache or RowCache()
    found = tuple(_matching(desk, needle))
    rows = tuple(cache.row(row, now_ns, width, glyphs) for row in found)
    newer = 0 if seen is None else sum(row.id > seen for row in found)
    return TrafficView(rows, desk.counts, len(desk.exchanges), newer)


def _matching(desk: Mirror, needle: str) -> Iterator[ExchangeRow]:
    words = needle.casefold().split()
    for row in reversed(desk.exchanges.values()):
        if not words or all(word in words_of(row) for word in words):
            yield row


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
    lines = [source.message] if source.message else []
    lines.append("Whatever talks to a model server there appears here; no program has to be changed for it.")
    where = f" ({source.label})" if source.label else ""
    return Look("empty", f"No exchange yet on {ports}{where}.", "\n".join(lines))


class TrafficPane(Pane[TrafficView]):
    """All exchanges; enter opens one."""

    NUMBER = 3
    TITLE = "Ollama traffic"
    PARTS = ("exchanges", "servers")
    SOURCE = "capture"
    TICKS = True
    FAST = True
    BINDING_GROUP_TITLE = "Traffic"
    HELP = """
## Traffic

One line for each exchange with a model server, the newest first. It is read from the network interface, so no
program has to be changed, and nothing here can slow a job down.

▶ running · ◷ waits for its first token · ✓ complete · ✗ failed · ■ aborted · ? bytes are missing · … only a part seen.

**⇡** tokens of the prompt, **⇣** of the reply, as the server counted them. While a reply grows its fragments are
counted instead, marked with **~**. **first** is the time to the first token. **▲** is a verdict; `enter` says why.

While the cursor is on the first line, new exchanges push in from above. Move down and the list stands still;
the title counts the new ones, `g` goes back to them. `/` looks for all given words in model, job, item, process,
state and text.
"""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "v",
            "verdict",
            "next verdict",
            id="traffic.verdict",
            tooltip="Next line with a verdict or an error",
        ),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._seen: int | None = None
        self._cache = RowCache()
        self._width = 0
        """Cells for the text in the newest view."""

    def compose_body(self) -> ComposeResult:
        """One grid."""
        yield Grid(COLUMNS, follow_top=True, sign=self.glyphs.cursor, id="traffic-grid")

    def select(self, desk: Mirror, now_ns: int) -> TrafficView:
        """The view for the present filter and width."""
        self._width = self._text_width()
        return select(
            desk,
            now_ns,
            self.glyphs,
            width=self._width,
            needle=self.filter_text,
            seen=self._seen,
            cache=self._cache,
        )

    def _text_width(self) -> int:
        grid = self.query_one(Grid)
        placed = layout_columns(COLUMNS, grid.size.width, len(grid.sign))
        return next((width for index, _, width in placed if index == TEXT), 0)

    def look(self, view: TrafficView) -> Look:
        """Empty with the reason."""
        if view.rows or self.desk is None:
            return LIVE
        if view.total:
            return Look("empty", f"No exchange matches “{self.filter_text}”.", "Escape clears the filter.")
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
        key = self.query_one(Grid).cursor_key
        row = self.desk.exchanges.get(key) if self.desk is not None and isinstance(key, int) else None
        if row is None or self._width >= ROOMY:
            return ""
        lead, tone = lead_of(row, self.glyphs)
        return Cell(lead, tone) if lead else ""

    def draw(self, view: TrafficView, old: TrafficView | None) -> None:
        """Show the rows; whoever looks further down keeps the lines in their places."""
        grid = self.query_one(Grid)
        grid.needle = self.filter_text.split()[0] if self.filter_text.split() else ""
        before, offset = grid.cursor, grid.scroll_offset.y
        grid.show_rows(view.rows)
        moved = grid.cursor - before
        if moved > 0 and before > 0:
            grid.scroll_to(y=offset + moved, animate=False, immediate=True)
        self.call_after_refresh(self._fit)

    @on(Grid.Resized)
    def _fit(self) -> None:
        """Draw again where the table has got another width: its first layout, a scroll bar."""
        if self.is_mounted and self._text_width() != self._width:
            self.redraw()

    @on(Grid.Moved)
    def _moved(self) -> None:
        self.show_remark()
        grid = self.query_one(Grid)
        away = grid.cursor > 0
        if away and self._seen is None and grid.rows:
            self._seen = max((row.key for row in grid.rows if isinstance(row.key, int)), default=0)
        elif not away and self._seen is not None:
            self._seen = None
            self.redraw()

    @on(Grid.Opened)
    def _opened(self, event: Grid.Opened) -> None:
        if isinstance(event.key, int):
            self.post_message(OpenExchange(event.key))

    def action_verdict(self) -> None:
        """To the next line, downwards and around, that has a verdict or an error."""
        grid = self.query_one(Grid)
        count = len(grid.rows)
        for step in range(1, count + 1):
            index = (grid.cursor + step) % count
            key = grid.rows[index].key
            row = self.desk.exchanges.get(key) if self.desk is not None and isinstance(key, int) else None
            if row is not None and (row.verdicts or row.state in ("failed", "aborted", "incomplete")):
                grid.cursor = index
                return
        self.notify("No exchange here has a verdict.", markup=False)

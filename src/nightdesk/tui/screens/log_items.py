"""How long each item of a batch took, as its log tells: a chart in their order, and the list, slowest first if wanted.

Imported when its key is pressed.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from statistics import median
from typing import Any, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Static

from nightdesk.model.errors import NightdeskError
from nightdesk.model.items import ItemPage, ItemRow
from nightdesk.model.logs import LogItem, LogItems
from nightdesk.model.units import UNKNOWN, format_duration
from nightdesk.tui.asks import Ask
from nightdesk.tui.glyphs import Glyphs
from nightdesk.tui.text import Cell, Part, Tone, content, line
from nightdesk.tui.widgets.grid import Column, Grid, Row
from nightdesk.tui.widgets.sheet import Sheet

COLUMNS = (
    Column("number", "item", width=6, align="right"),
    Column("began", "began", width=8),
    Column("took", "took", width=8, align="right"),
    Column("share", "", width=20, least=60),
    Column("name", "what", flex=1),
)
AGAIN_SECONDS = 0.05
HIGH = 6
"""Lines of the chart."""
PAGE, RECORDS_MOST = 500, 5_000
"""Items of a run that the desk drives: asked for at once, and in all."""
SLOW = 2.0
"""By so many times the median an item is slow."""


class LogItemsScreen(Sheet[int]):
    """Answers with the place of the chosen item's first line in the file."""

    TALL = True
    HELP = """
Items as the counting lines of this log tell them (`[12/52] what`, `12 of 52`, bars): each took the time between its
line and the next. Where several ended between two lines, each has its share. Lines need times of their own.

The chart has one bar for each item, in their order; where there are more items than cells, a bar is the slowest of its
neighbours. Bars of items that took more than twice the median are marked.
"""
    DEFAULT_CSS = """
    LogItemsScreen { & #sheet { max-width: 150; } & Grid { height: 1fr; } & #about, & #chart { height: auto; } }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "go", "to its line", id="log_items.go", tooltip="The line where this item began"),
        Binding(
            "o", "order", "slowest first", id="log_items.order", tooltip="Slowest first, or in their order"
        ),
    ]

    def __init__(self, log: str, name: str, run: str | None = None) -> None:
        """``run``: the run that wrote it, whose own records count where the desk drives its items."""
        super().__init__()
        self.log_id = log
        self.log_name = name
        self.run_id = run
        self._records: list[LogItem] = []
        self._answer: LogItems | None = None
        self._slowest_first = False

    def compose_sheet(self) -> ComposeResult:
        """Figures, chart, list."""
        yield Static("looking through the file", id="about", markup=False)
        yield Static(id="chart", markup=False)
        yield Grid(COLUMNS, sign=self.glyphs.cursor, id="log-items")

    def on_mount(self) -> None:
        """Ask."""
        self.show_title(line("Items of ", Cell(self.log_name, "strong")))
        self.query_one(Grid).focus()
        # Not at once: an answer that comes before the screen counts as mounted would be dropped.
        self.call_after_refresh(self._ask if self.run_id is None else self._ask_records)

    def _ask_records(self, offset: int = 0) -> None:
        run = self.run_id
        if run is not None and self.is_attached:
            asked = Ask(
                lambda engine: engine.item_page(run, sort="index", offset=offset, limit=PAGE),
                lambda answer: self._take_records(offset, answer),
            )
            self.app.post_message(asked)

    def _take_records(self, offset: int, answer: ItemPage | NightdeskError) -> None:
        if not self.is_mounted:
            return
        if isinstance(answer, NightdeskError) or (offset == 0 and not answer.total):
            self._ask()
            return
        self._records += [item for row in answer.rows if (item := _of_record(row)) is not None]
        more = offset + PAGE < min(answer.total, RECORDS_MOST)
        self._answer = LogItems(
            id=self.log_id,
            generation=0,
            items=tuple(self._records),
            left_out=max(0, answer.total - RECORDS_MOST),
            scanned_bytes=min(offset + PAGE, answer.total),
            size_bytes=answer.total,
            complete=not more,
        )
        self._draw()
        if more:
            self._ask_records(offset + PAGE)

    def _ask(self) -> None:
        if self.is_attached:
            self.app.post_message(Ask(lambda engine: engine.log_items(self.log_id), self._take))

    def _take(self, answer: LogItems | NightdeskError) -> None:
        if not self.is_mounted:
            return
        if isinstance(answer, NightdeskError):
            told = f"{self.glyphs.warn} {answer.message} {answer.hint}".strip()
            self.query_one("#about", Static).update(line(Cell(told, "warn")))
            return
        self._answer = answer
        self._draw()
        if not answer.complete:
            self.set_timer(AGAIN_SECONDS, self._ask)

    def on_resize(self) -> None:
        """The chart has another width."""
        if self._answer is not None:
            self.call_after_refresh(self._draw)

    def _draw(self) -> None:
        answer = self._answer
        if answer is None:
            return
        items = answer.items
        self.query_one("#about", Static).update(line(*_about(answer, self.glyphs)))
        width = max(self.query_one("#chart", Static).size.width, 20)
        bars = bars_of([item.took_ns for item in items], width, self.glyphs)
        self.query_one("#chart", Static).update(content(*bars))
        middle, most = _middle(items), max((item.took_ns for item in items), default=0)
        order = sorted(items, key=lambda item: -item.took_ns) if self._slowest_first else items
        self.query_one(Grid).show_rows([self._row(item, middle, most) for item in order])

    def _row(self, item: LogItem, middle: float, most: int) -> Row:
        tone: Tone = "warn" if item.took_ns > SLOW * middle else ""
        filled = round(20 * item.took_ns / most) if most else 0
        return Row(
            str(item.start) + f".{item.number}",
            (
                Cell(f"{item.number:,}", "muted"),
                Cell(f"{datetime.fromtimestamp(item.started_ns / 1e9):%H:%M:%S}", "muted"),
                Cell(format_duration(item.took_ns), tone),
                Cell(self.glyphs.bars[4] * filled, tone or "accent"),
                Cell(item.name or UNKNOWN, "" if item.name else "muted"),
            ),
        )

    def action_order(self) -> None:
        """Slowest first, or in their order."""
        self._slowest_first = not self._slowest_first
        self._draw()
        self.query_one(Grid).action_to_top()

    @on(Grid.Opened)
    def action_go(self) -> None:
        """To the line where the item began."""
        key: Any = self.query_one(Grid).cursor_key
        start = int(str(key).partition(".")[0]) if key is not None else -1
        if start >= 0:
            self.dismiss(start)


def _of_record(row: ItemRow) -> LogItem | None:
    """An item that the desk drove, once it ended; where its lines stand is not known."""
    if row.started_ns is None or row.ended_ns is None or row.took_ns is None:
        return None
    return LogItem(
        number=row.index + 1, name=row.item, start=-1, started_ns=row.started_ns, took_ns=row.took_ns
    )


def _middle(items: Sequence[LogItem]) -> float:
    return median(item.took_ns for item in items) if items else 0.0


def _about(answer: LogItems, glyphs: Glyphs) -> list[Part]:
    items = answer.items
    share = answer.scanned_bytes * 100 // max(answer.size_bytes, 1)
    far = "" if answer.complete else f" {glyphs.dot} {share} % looked through"
    if not items:
        told = (
            "No item so far"
            if not answer.complete
            else "No item: no lines that count items and tell their time"
        )
        return [Cell(f"{told}{far}.", "muted")]
    slow = sum(item.took_ns > SLOW * _middle(items) for item in items)
    parts = [
        f"{len(items):,} item{'s' * (len(items) != 1)}",
        f"median {format_duration(int(_middle(items)))}",
        f"slowest {format_duration(max(item.took_ns for item in items))}",
        f"together {format_duration(sum(item.took_ns for item in items))}",
    ]
    if slow:
        parts.append(f"{slow:,} took more than twice the median")
    if answer.left_out:
        parts.append(f"{answer.left_out:,} older left out")
    return [Cell(f" {glyphs.dot} ".join(parts) + far, "muted")]


def bars_of(took: Sequence[int], width: int, glyphs: Glyphs) -> list[Part]:
    """Bars in lines from the top down, the scale in front; items above twice the median stand out."""
    if not took:
        return []
    top = max(took)
    label = f"{format_duration(top)} "
    columns = min(max(width - len(label), 8), len(took))
    values = [max(took[n * len(took) // columns : (n + 1) * len(took) // columns]) for n in range(columns)]
    middle = median(took)
    each = max(1, min(3, (width - len(label)) // columns))
    steps = len(glyphs.bars) - 1
    parts: list[Part] = []
    for row in range(HIGH - 1, -1, -1):
        front = label if row == HIGH - 1 else "0 ".rjust(len(label)) if row == 0 else " " * len(label)
        parts.append(Cell(front, "muted"))
        for value in values:
            level = value / top * HIGH * steps if top else 0
            filled = min(max(round(level - row * steps), 1 if row == 0 else 0), steps)
            tone: Tone = "warn" if value > SLOW * middle else "accent"
            parts.append(Cell(glyphs.bars[filled] * max(each - 1, 1) + " " * (each > 1), tone))
        parts.append("\n" if row else "")
    return parts

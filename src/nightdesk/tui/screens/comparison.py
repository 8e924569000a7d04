"""One request on several models: which ones, then a table that fills while they answer one after another."""

from __future__ import annotations

from typing import Any, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Static

from nightdesk.client.mirror import Mirror
from nightdesk.model.errors import NightdeskError
from nightdesk.model.exchange import TAIL_CHARS, Exchange, ExchangeRow, row_of
from nightdesk.model.inspection import OfferedModel, Replay, ReplayRequest
from nightdesk.model.units import UNKNOWN, format_count, format_duration
from nightdesk.tui.asks import Ask, CancelRequested, FeedRequested, OpenDiff, OpenExchange
from nightdesk.tui.glyphs import Glyphs
from nightdesk.tui.panes.traffic_row import state_cell
from nightdesk.tui.screens.replay import Known, model_rows
from nightdesk.tui.screens.replaying import speed_of
from nightdesk.tui.text import Cell, line, shortened
from nightdesk.tui.widgets.grid import Column, Grid, Row
from nightdesk.tui.widgets.sheet import Sheet

CHOICES = (
    Column("mark", "", width=1),
    Column("model", "model", flex=1),
    Column("size", "size", width=8, align="right"),
    Column("loaded", "", width=6),
    Column("edge", ""),
)
MODEL = 24
ORIGINAL = "  original"
COLUMNS = (
    Column("mark", "", width=1),
    Column("state", "", width=1),
    Column("model", "model", width=MODEL),
    Column("first", "first", width=6, align="right"),
    Column("tokens", "tokens", width=6, align="right"),
    Column("speed", "t/s", width=5, align="right"),
    Column("load", "load", width=6, align="right", least=90),
    Column("total", "total", width=6, align="right"),
    Column("verdicts", "verdicts", width=16, least=110),
    Column("reply", "reply", flex=1),
)


class ModelsScreen(Sheet[ReplayRequest]):
    """Answers with the request and its models, None when the user goes back."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "choose", "choose", id="models.choose", tooltip="Choose the model, or leave it out"),
        Binding("a", "all", "all", id="models.all", tooltip="Choose all, or none"),
        Binding(
            "enter", "send", "send", id="models.send", tooltip="Ask all chosen models, one after another"
        ),
    ]

    def __init__(self, known: Known) -> None:
        super().__init__()
        self.exchange, answer = known
        self.problem = answer.message if isinstance(answer, NightdeskError) else ""
        self.models: tuple[OfferedModel, ...] = () if isinstance(answer, NightdeskError) else answer
        self.chosen: list[str] = []

    def compose_sheet(self) -> ComposeResult:
        """The models, and how many are chosen."""
        yield Grid(CHOICES, opens=False, sign=self.glyphs.cursor)
        yield Static(id="count", markup=False)

    def on_mount(self) -> None:
        """All models of the server."""
        title = Cell(str(self.exchange.id), "strong")
        self.show_title(line("Compare models on the request of exchange ", title))
        grid = self.query_one(Grid)
        grid.styles.height = min(max(2, len(self._rows()) + 1), max(4, self.app.size.height - 8))
        self._show()
        grid.focus()

    def _rows(self) -> list[Row]:
        rows = model_rows(self.models, self.exchange.model)
        return [
            Row(row.key, (Cell(self.glyphs.done if row.key in self.chosen else " ", "ok"), *row.cells))
            for row in rows
        ]

    def _show(self) -> None:
        self.query_one(Grid).show_rows(self._rows())
        count = len(self.chosen)
        words = f"{count} chosen; enter asks them one after another." if count else "space chooses."
        self.query_one("#count", Static).update(
            line(Cell(self.problem or words, "warn" if self.problem else "muted"))
        )

    def action_choose(self) -> None:
        """Choose the model under the cursor, or leave it out."""
        key = self.query_one(Grid).cursor_key
        if isinstance(key, str):
            if key in self.chosen:
                self.chosen.remove(key)
            else:
                self.chosen.append(key)
            self._show()
            self.query_one(Grid).action_step(1)

    def action_all(self) -> None:
        """All, or none where all are chosen."""
        names = [str(row.key) for row in self._rows()]
        self.chosen = [] if len(self.chosen) == len(names) else names
        self._show()

    def action_send(self) -> None:
        """Ask them; the one under the cursor where none is chosen."""
        key = self.query_one(Grid).cursor_key
        models = tuple(self.chosen) or ((str(key),) if isinstance(key, str) else ())
        if models:
            self.dismiss(ReplayRequest(exchange=self.exchange.id, models=models))


class ComparisonScreen(Sheet[None]):
    """The original and one row for each model."""

    TALL = True
    DEFAULT_CSS = """
    ComparisonScreen {
        & > #sheet { width: 100%; max-width: 100%; height: 100%; max-height: 100%; }
        & > #sheet.-tall { height: 100%; }
        #about { height: 1; text-wrap: nowrap; margin-bottom: 1; }
        KeyLine { margin-top: 0; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "mark", "mark", id="comparison.mark", tooltip="Mark one of two to compare"),
        Binding(
            "d",
            "diff",
            "diff",
            id="comparison.diff",
            tooltip="Compare two marked, or this one with the original",
        ),
        Binding(
            "x", "cancel", "cancel", id="comparison.cancel", tooltip="Cancel the replay under the cursor"
        ),
        Binding(
            "X",
            "cancel_all",
            "cancel all",
            id="comparison.cancel_all",
            tooltip="Cancel all that have not ended",
        ),
    ]

    def __init__(self, original: Exchange, replay: Replay, models: tuple[str, ...]) -> None:
        super().__init__()
        self.original = original
        self.models = dict(zip(replay.exchanges, models, strict=False))
        self.left_out = replay.left_out
        self.marked: list[int] = []
        self.dropped: set[int] = set()
        """Cancelled before they were sent."""
        self._rows: dict[int, ExchangeRow] = {original.id: row_of(original)}
        self._begins: dict[int, str] = {original.id: original.text or original.thinking}
        self._now_ns = 0

    def compose_sheet(self) -> ComposeResult:
        """What is asked, the table."""
        yield Static(id="about", markup=False)
        yield Grid(COLUMNS, sign=self.glyphs.cursor)

    def on_mount(self) -> None:
        """The table, still empty."""
        self.show_title(line("Comparison on the request of exchange ", Cell(str(self.original.id), "strong")))
        if self.left_out:
            names = " and ".join(self.left_out)
            self.notify(f"Sent without {names}: only the mask was recorded.", markup=False)
        self._show()
        self.query_one(Grid).focus()
        self.app.post_message(FeedRequested())

    def feed(self, desk: Mirror | None, now_ns: int) -> None:
        """Follow the answers."""
        self._now_ns = now_ns
        if desk is None or not self.query(Grid):
            return
        for number in self.models:
            row = desk.exchanges.get(number)
            if row is None or row is self._rows.get(number):
                continue
            self._rows[number] = row
            if len(row.tail) < TAIL_CHARS:
                self._begins[number] = row.tail
            if row.ended_ns is not None:
                self._fetch(number)
        self._show()

    def _fetch(self, number: int) -> None:
        def take(answer: Any | NightdeskError) -> None:
            if isinstance(answer, Exchange) and self.query(Grid):
                self._begins[number] = answer.text or answer.thinking
                self._show()

        self.post_message(Ask(lambda engine: engine.exchange(number), take))

    def _show(self) -> None:
        numbers = [self.original.id, *self.models]
        self.query_one(Grid).show_rows([self._line(number) for number in numbers])
        ended = sum(self._has_ended(number) for number in self.models)
        words = f"{ended} of {len(self.models)} have answered"
        how = "; replays go on when you leave" if ended < len(self.models) else ""
        self.query_one("#about", Static).update(line(Cell(words, "strong"), Cell(how, "muted")))

    def _has_ended(self, number: int) -> bool:
        row = self._rows.get(number)
        return number in self.dropped or (row is not None and row.ended_ns is not None)

    def _line(self, number: int) -> Row:
        row = self._rows.get(number)
        sign = Cell(self.glyphs.done if number in self.marked else " ", "accent")
        if row is None:
            state = "cancelled, not sent" if number in self.dropped else "waits"
            model = Cell(self.models.get(number, UNKNOWN), "muted")
            blank = (Cell(""),) * 6
            return Row(number, (sign, Cell(self.glyphs.wait, "muted"), model, *blank, Cell(state, "muted")))
        begin = self._begins.get(number, "")[:400]
        cells = result_cells(row, begin, self.glyphs, self._now_ns)
        if number != self.original.id:
            return Row(number, (sign, *cells))
        name = shortened(cells[1].text, MODEL - len(ORIGINAL), self.glyphs.cut)
        model = cells[1]._replace(text=name, more=((ORIGINAL, "faint"),))
        return Row(number, (sign, cells[0], model, *cells[2:]), "muted")

    # Keys

    @property
    def _key(self) -> int | None:
        key = self.query_one(Grid).cursor_key
        return key if isinstance(key, int) else None

    @on(Grid.Opened)
    def _opened(self, event: Grid.Opened) -> None:
        if event.key in self._rows:
            self.app.post_message(OpenExchange(int(str(event.key))))

    def action_mark(self) -> None:
        """Mark a row; of more than two the newest two stay."""
        number = self._key
        if number is None:
            return
        if number in self.marked:
            self.marked.remove(number)
        else:
            self.marked = [*self.marked[-1:], number]
        self._show()

    def action_diff(self) -> None:
        """The two marked; the marked one and this; the original and this."""
        number = self._key
        if len(self.marked) == 2:
            left, right = self.marked
        else:
            left, right = (self.marked or [self.original.id])[0], number or 0
        if left == right or left not in self._rows or right not in self._rows:
            self.notify("Go to an answer and press d, or mark two with space.", markup=False)
            return
        self.app.post_message(OpenDiff(left, right))

    def action_cancel(self) -> None:
        """Cancel the replay under the cursor."""
        number = self._key
        if number not in self.models or self._has_ended(number):
            self.notify("This one has ended already.", markup=False)
        elif number in self._rows:
            self.app.post_message(CancelRequested(number))
        else:
            self._drop(number)

    def action_cancel_all(self) -> None:
        """Cancel everything that has not ended, the waiting ones first."""
        for number in reversed(self.models):
            if not self._has_ended(number):
                self._drop(number)

    def _drop(self, number: int) -> None:
        def take(answer: Any | NightdeskError) -> None:
            if isinstance(answer, NightdeskError):
                self.app.notify(line(str(answer)).plain, severity="warning", markup=False)
            elif self.query(Grid) and number not in self._rows:
                self.dropped.add(number)
                self._show()

        self.post_message(Ask(lambda engine: engine.cancel(number, "replay"), take))


def result_cells(row: ExchangeRow, begin: str, glyphs: Glyphs, now_ns: int) -> tuple[Cell, ...]:
    """One answer as a row of the table."""
    first = None if row.first_token_ns is None else row.first_token_ns - row.started_ns
    speed = speed_of(row)
    end = row.ended_ns if row.ended_ns is not None else max(now_ns, row.started_ns)
    verdicts = ", ".join(kind.replace("_", " ") for kind in row.verdicts)
    said = Cell(row.error, "bad") if row.error else Cell(" ".join(begin.split()))
    return (
        state_cell(row, now_ns, glyphs),
        Cell(row.model or UNKNOWN, "strong"),
        Cell(format_duration(first)),
        Cell(format_count(row.reply_tokens)),
        Cell(UNKNOWN if speed is None else f"{speed:,.0f}"),
        Cell(format_duration(row.load_ns)),
        Cell(format_duration(end - row.started_ns)),
        Cell(f"{glyphs.verdict} {verdicts}" if verdicts else "", "warn"),
        said,
    )

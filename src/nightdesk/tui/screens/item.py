"""One item of a run in full: how it ended and why, the end of its output, what it asked of model servers."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Static

from nightdesk.client.mirror import Mirror
from nightdesk.core.jobs.failure_advice import class_words
from nightdesk.model.errors import NightdeskError
from nightdesk.model.items import ItemDetail, ItemRow
from nightdesk.model.job import Run, StartRun
from nightdesk.model.units import NS, UNKNOWN, format_count, format_duration
from nightdesk.tui.asks import Ask, FilterTraffic, OpenFailure, StartRequested
from nightdesk.tui.energy_facts import item_energy_facts
from nightdesk.tui.glyphs import Glyphs
from nightdesk.tui.screens.job import moment, table
from nightdesk.tui.screens.run_items import open_log, query_of
from nightdesk.tui.text import Cell, line
from nightdesk.tui.widgets.lines import Pieces
from nightdesk.tui.widgets.page import Page
from nightdesk.tui.widgets.sheet import Sheet

REFRESH_NS = NS


def facts(detail: ItemDetail, glyphs: Glyphs) -> list[tuple[str, Cell]]:
    """Name and value of what is known of an item."""
    row = detail.row
    told = [("state", Cell(row.state + (f": {row.reason}" if row.reason else ""), "strong"))]
    if row.failure is not None:
        told += [
            ("failure", Cell(class_words(row.failure.kind), "bad")),
            ("evidence", Cell(row.failure.evidence, "bad")),
        ]
    began = moment(row.started_ns) if row.started_ns else UNKNOWN
    took = format_duration(row.took_ns) if row.took_ns is not None else UNKNOWN
    told.append(
        ("began", Cell(f"{began}, took {took}, {row.attempts} {'try' if row.attempts == 1 else 'tries'}"))
    )
    told.append(("exchanges", Cell(_exchange_words(detail))))
    told += item_energy_facts(detail.energy, glyphs)
    if row.fallback:
        told.append(("by", Cell("the job's fallback command")))
    if row.flight is not None and row.flight.process is not None:
        told.append(("process", Cell(str(row.flight.process.pid))))
    told.append(("log", Cell(detail.log_path or UNKNOWN)))
    if detail.folder:
        told.append(("kept", Cell(detail.folder)))
    return told


def _exchange_words(detail: ItemDetail) -> str:
    if detail.exchanges is None:
        return UNKNOWN
    if not detail.exchanges:
        return "none seen"
    prompt, reply = detail.prompt_tokens or 0, detail.reply_tokens or 0
    return f"{detail.exchanges}, {format_count(prompt)} prompt and {format_count(reply)} reply tokens"


class ItemDetailScreen(Sheet[None]):
    """Facts above, the last lines of the output below."""

    TALL = True
    DEFAULT_CSS = """
    ItemDetailScreen #item-facts { height: auto; margin-bottom: 1; }
    ItemDetailScreen Page { height: 1fr; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("F", "failure", "why it failed", id="item.failure", tooltip="Show why it failed, and its last minutes"),
        Binding("l", "log", "log", id="item.log", tooltip="Show its log in the logs pane"),
        Binding("x", "exchanges", "exchanges", id="item.exchanges", tooltip="Show its exchanges in the traffic pane"),
        Binding("t", "single", "single run", id="item.single", tooltip="Run it alone, and compare with this"),
    ]  # fmt: skip

    def __init__(self, run: Run, row: ItemRow) -> None:
        super().__init__()
        self.run_of = run
        self.row = row
        self._asked_ns = 0

    def compose_sheet(self) -> ComposeResult:
        """Facts, lines."""
        yield Static(id="item-facts", markup=False)
        yield Page()

    def on_mount(self) -> None:
        """Ask for the rest."""
        self.show_title(line("Item ", Cell(self.row.item, "strong")))
        self._show(ItemDetail(run=self.run_of.id, row=self.row))
        self.query_one(Page).focus()
        self._ask()

    def feed(self, desk: Mirror | None, now_ns: int) -> None:
        """Follow an item that is not over."""
        is_over = self.row.state in ("done", "failed", "skipped")
        if not is_over and now_ns >= self._asked_ns + REFRESH_NS and self.query(Page):
            self._asked_ns = now_ns
            self._ask()

    def _ask(self) -> None:
        run, index = self.run_of.id, self.row.index
        self.post_message(Ask(lambda engine: engine.item_detail(run, index), self._take))

    def _take(self, answer: ItemDetail | NightdeskError) -> None:
        if not self.query(Page):
            return
        if isinstance(answer, NightdeskError):
            self._show_lines([((answer.message, "warn"),)])
            return
        self.row = answer.row
        self._show(answer)
        lines: list[Pieces] = [((text, ""),) for text in answer.lines]
        self._show_lines(lines or [(("It has printed nothing.", "muted"),)])

    def _show(self, detail: ItemDetail) -> None:
        self.query_one("#item-facts", Static).update(table(facts(detail, self.glyphs)))

    def _show_lines(self, lines: list[Pieces]) -> None:
        page = self.query_one(Page)
        page.show(lines)
        page.scroll_end(animate=False)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Nothing to explain where nothing failed."""
        if action == "failure":
            return self.row.failure is not None or self.row.attempts > 1
        return super().check_action(action, parameters)

    def action_failure(self) -> None:
        """Show why the item failed."""
        self.post_message(OpenFailure(self.run_of.id, self.row.item))

    def action_log(self) -> None:
        """Show the log of the item in the logs pane."""
        open_log(self, self.run_of.id, self.row.index)

    def action_exchanges(self) -> None:
        """Show the exchanges of the item in the traffic pane."""
        self.post_message(FilterTraffic(query_of(self.run_of.id, self.row.item)))

    def action_single(self) -> None:
        """Run the item alone."""
        request = StartRun(job=self.run_of.job, mode="single", item=self.row.item)
        self.dismiss(None)
        self.app.post_message(StartRequested(request))

"""One exchange in full: what was sent, what came back and how, on six pages. Follows a reply that is still growing."""

from __future__ import annotations

from typing import Any, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Static

from nightdesk.client.mirror import Mirror
from nightdesk.model.errors import NightdeskError
from nightdesk.model.exchange import Exchange, ExchangeRow
from nightdesk.model.units import format_bytes
from nightdesk.tui.asks import Ask, FeedRequested
from nightdesk.tui.screens.exchange_pages import PAGES, page_lines, title_cells
from nightdesk.tui.text import Cell, line
from nightdesk.tui.widgets.page import Page
from nightdesk.tui.widgets.sheet import Sheet
from nightdesk.tui.widgets.tabs import TabStrip

OVERVIEW = 0
RESPONSE = next(index for index, (name, _) in enumerate(PAGES) if name == "Response")
COPIED = 100_000
"""Characters that a terminal takes by OSC 52; some take fewer and drop the rest in silence."""


class InspectorScreen(Sheet[None]):
    """Shows the exchange ``id``; n and p go to the ones beside it."""

    TALL = True
    DEFAULT_CSS = """
    InspectorScreen {
        & > #sheet { width: 100%; max-width: 100%; height: 100%; max-height: 100%; }
        & > #sheet.-tall { height: 100%; }
        #about { height: 1; text-wrap: nowrap; padding: 0 1; }
        TabStrip { margin-bottom: 1; }
        Page { padding: 0 1; }
        KeyLine { margin-top: 0; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab", "turn(1)", "next page", id="inspector.next_page"),
        Binding("shift+tab", "turn(-1)", "Page before", show=False, id="inspector.page_before"),
        *(
            Binding(
                str(number), f"page({number - 1})", f"Page {number}", show=False, id=f"inspector.page{number}"
            )
            for number in range(1, len(PAGES) + 1)
        ),
        Binding("n", "beside(1)", "next", id="inspector.next", tooltip="The exchange after this one"),
        Binding(
            "p", "beside(-1)", "previous", id="inspector.previous", tooltip="The exchange before this one"
        ),
        Binding("y", "copy", "copy", id="inspector.copy", tooltip="Copy this page"),
    ]

    def __init__(self, exchange: int) -> None:
        super().__init__()
        self.exchange_id = exchange
        self.exchange: Exchange | None = None
        self.page = RESPONSE
        self._chose_page = False
        self._desk: Mirror | None = None
        self._now_ns = 0
        self._row: ExchangeRow | None = None
        """The row as of the newest answer; another row means that there is more to ask for."""
        self._asking = False

    def compose_sheet(self) -> ComposeResult:
        """Title, tabs, page."""
        yield Static(id="about", markup=False)
        yield TabStrip()
        yield Page(id="page")

    def on_mount(self) -> None:
        """Ask for the exchange at once."""
        self.query_one(Page).focus()
        self._show_tabs()
        self.app.post_message(FeedRequested())
        self._fetch()

    # Data

    def feed(self, desk: Mirror | None, now_ns: int) -> None:
        """Ask again when the exchange has changed."""
        self._desk, self._now_ns = desk, now_ns
        if not self.is_mounted:
            return
        row = desk.exchanges.get(self.exchange_id) if desk is not None else None
        if row is not None and row is not self._row:
            self._fetch()
        elif self.exchange is not None and self.exchange.state == "running":
            self._draw()

    def _fetch(self) -> None:
        if self._asking:
            return
        self._asking = True
        number = self.exchange_id
        row = self._desk.exchanges.get(number) if self._desk is not None else None
        self.post_message(
            Ask(lambda engine: engine.exchange(number), lambda answer: self._take(number, row, answer))
        )

    def _take(self, number: int, row: ExchangeRow | None, answer: Any | NightdeskError) -> None:
        self._asking = False
        if not self.is_mounted:
            return
        if number != self.exchange_id:
            self._fetch()
            return
        self._row = row
        if isinstance(answer, Exchange):
            first = self.exchange is None
            self.exchange = answer
            broken = answer.state in ("failed", "aborted", "incomplete")
            if not self._chose_page and (answer.verdicts or answer.error is not None or broken):
                self.page = OVERVIEW
                self._show_tabs()
            self._chose_page = True
            self._now_ns = max(self._now_ns, answer.ended_ns or answer.started_ns)
            self._draw(from_top=first)
        else:
            self._show_problem(answer)

    def _show_problem(self, answer: object) -> None:
        words = str(answer) if isinstance(answer, NightdeskError) else f"Not an exchange: {answer!r}"
        self.show_title(line("Exchange ", Cell(str(self.exchange_id), "strong")))
        self.query_one(Page).show((((f"{self.glyphs.fail} {words}", "bad"),),), from_top=True)

    # Drawing

    def _draw(self, *, from_top: bool = False) -> None:
        exchange = self.exchange
        if exchange is None:
            return
        page = self.query_one(Page)
        self.show_title(line("Exchange ", Cell(str(exchange.id), "strong")))
        self.query_one("#about", Static).update(line(*title_cells(exchange, self.glyphs, self._now_ns)))
        width = page.size.width or self.app.size.width - 6
        page.show(page_lines(exchange, self.page, self.glyphs, self._now_ns, width), from_top=from_top)

    def _show_tabs(self) -> None:
        names = [(number, name) for number, (name, _) in enumerate(PAGES, 1)]
        self.query_one(TabStrip).show(names, self.page + 1)

    def on_resize(self) -> None:
        """Bars have another length."""
        if self.is_mounted:
            self.call_after_refresh(self._draw)

    # Keys

    @on(TabStrip.Chosen)
    def _tab_chosen(self, event: TabStrip.Chosen) -> None:
        self.action_page(event.number - 1)

    def action_page(self, page: int) -> None:
        """Show a page."""
        self._chose_page = True
        if page != self.page:
            self.page = page
            self._show_tabs()
            self._draw(from_top=True)

    def action_turn(self, step: int) -> None:
        """The next page."""
        self.action_page((self.page + step) % len(PAGES))

    def action_beside(self, step: int) -> None:
        """The exchange before or after this one."""
        ids = list(self._desk.exchanges) if self._desk is not None else []
        at = ids.index(self.exchange_id) + step if self.exchange_id in ids else -1
        if not 0 <= at < len(ids):
            self.notify("This is the last one." if step > 0 else "This is the first one.", markup=False)
            return
        self.exchange_id, self.exchange, self._row = ids[at], None, None
        self._fetch()

    def action_copy(self) -> None:
        """Copy the page's text; says by which way, as some terminals ignore it."""
        text = self.query_one(Page).plain
        cut = text[:COPIED]
        self.app.copy_to_clipboard(cut)
        size = format_bytes(len(cut.encode("utf-8", "replace")))
        less = f", the first of {len(text):,} characters" if len(text) > COPIED else ""
        self.notify(
            f"{size} sent to the terminal's clipboard by OSC 52{less}. Apple's Terminal ignores that; "
            "nightdesk show prints the same.",
            markup=False,
        )

"""One exchange in full: what was sent, what came back and how, on seven pages. Follows a reply that still grows."""

from __future__ import annotations

import time
from typing import Any, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.widgets import Input, Static

from nightdesk.client.mirror import Mirror
from nightdesk.model.energy import ExchangeEnergy
from nightdesk.model.errors import NightdeskError
from nightdesk.model.exchange import Exchange, ExchangeRow
from nightdesk.model.inspection import ExchangeTotals
from nightdesk.tui.asks import Ask, FeedRequested
from nightdesk.tui.inspector.deeds import Deeds
from nightdesk.tui.inspector.pages import OVERVIEW, PAGES, PROMPT, RESPONSE, TIMING, page_lines, weight
from nightdesk.tui.inspector.prose import Setting
from nightdesk.tui.inspector.title import title_cells
from nightdesk.tui.link import in_thread
from nightdesk.tui.panes.pane import FilterLine
from nightdesk.tui.panes.traffic import TrafficPane
from nightdesk.tui.text import Cell, line
from nightdesk.tui.widgets.folds import GUTTER, FoldView, Line
from nightdesk.tui.widgets.tabs import TabStrip

TWO_FROM = 150
"""Columns from which on prompt and response stand side by side."""
LIGHT = 60_000
"""Characters that are made into a page at once; more is done beside the screen."""
POLL_SECONDS = 0.25
SETTLED_NS, NEVER = 5 * 10**9, 2**63
"""So long after its end all of an exchange's energy is known."""
PATIENCE = 4
"""A running exchange is asked for again after so many times what the last answer took."""
BROKEN = ("failed", "aborted", "incomplete")


class InspectorScreen(Deeds):
    """Shows the exchange ``exchange``; ``]`` and ``[`` go to the ones below and above it in the list."""

    TALL = True
    DEFAULT_CSS = """
    InspectorScreen {
        background: $surface;
        & > #sheet { width: 100%; max-width: 100%; height: 100%; max-height: 100%; }
        & > #sheet.-tall { height: 100%; }
        #about { height: 1; text-wrap: nowrap; text-overflow: ellipsis; padding: 0 1; }
        TabStrip { margin-bottom: 1; }
        &.-low TabStrip { margin-bottom: 0; }
        #body { height: 1fr; }
        #pages { height: 1fr; }
        FoldView { width: 1fr; }
        FoldView.-away { display: none; }
        &.-two #page2 { border-left: solid $border-blurred; }
        KeyLine { margin-top: 0; }
    }
    """
    HELP = """
## An exchange

Seven pages: digits, `tab` and clicks turn them. From 150 columns on prompt and response stand side by side; `z` shows
one of them alone.

`f` or `enter` folds what the cursor is in, `F` everything. `/` searches the page, also what is folded or scrolled
away; `n` and `N` go on. A running reply is **followed** until you move up; `G` follows again.

`y` copies a part: by the system's clipboard tool where you sit at this machine, by the terminal over ssh; the notice
says which. `e`, `|` and `w` act on what the page is about. An editor that goes to the background needs a flag such as
`--wait`: the file is gone when the command ends.
"""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab", "turn(1)", "next page", id="inspector.next_page", tooltip="Next page"),
        Binding("shift+tab", "turn(-1)", "Previous page", show=False, id="inspector.page_before"),
        *(
            Binding(
                str(number), f"page({number - 1})", f"Page: {name}", show=False, id=f"inspector.page{number}"
            )
            for number, (name, _) in enumerate(PAGES, 1)
        ),
        Binding(
            "right_square_bracket",
            "beside(1)",
            "next",
            key_display="]",
            id="inspector.next",
            tooltip="Next exchange in the list",
        ),
        Binding(
            "left_square_bracket",
            "beside(-1)",
            "previous",
            key_display="[",
            id="inspector.previous",
            tooltip="Previous exchange in the list",
        ),
        Binding(
            "slash",
            "search",
            "search",
            key_display="/",
            id="inspector.search",
            tooltip="Search this page",
            priority=True,
        ),
        Binding("m", "markdown", "raw", id="inspector.raw", tooltip="The reply as Markdown, or as it is"),
        Binding(
            "z", "alone", "One column", show=False, id="inspector.alone", tooltip="One page, or two columns"
        ),
    ]

    def __init__(self, exchange: int) -> None:
        super().__init__()
        self.exchange_id = exchange
        self.exchange: Exchange | None = None
        self.page = RESPONSE
        self.is_raw = False
        self.is_alone = False
        self._chose_page = False
        self._desk: Mirror | None = None
        self._now_ns = 0
        self._row: ExchangeRow | None = None
        """The row as of the newest answer; another row means that there is more to ask for."""
        self._asking = False
        self._asked_at = self._not_before = 0.0
        self._drawn: dict[int, tuple[object, ...]] = {}
        """What each page shows: the same again needs no drawing."""
        self._making: set[int] = set()
        self._usual: dict[str, ExchangeTotals | str] = {}
        """By model: the totals of its complete exchanges, or why they can't be had."""
        self._energy: tuple[int, ExchangeEnergy | str] = (exchange, "")
        """Of which exchange, and what it used or why that is not known."""
        self._energy_due_ns = 0

    def compose_sheet(self) -> ComposeResult:
        """Title, tabs, pages, the line for searching."""
        yield Static(id="about", markup=False)
        yield TabStrip()
        with Vertical(id="body"):
            with Horizontal(id="pages"):
                for number in range(len(PAGES)):
                    yield FoldView(id=f"page{number}")
            yield FilterLine(placeholder="search this page", compact=True, id="search")

    def on_mount(self) -> None:
        """Ask for the exchange at once."""
        self._arrange()
        self.app.post_message(FeedRequested())
        self.set_interval(POLL_SECONDS, self._poll)
        self._fetch()

    # Data

    def feed(self, desk: Mirror | None, now_ns: int) -> None:
        """Ask again when the exchange has changed."""
        self._desk, self._now_ns = desk, now_ns
        if not self.is_mounted:
            return
        self._poll()
        if self.exchange is not None:
            self._ask_energy(self.exchange)
            if self.exchange.state == "running":
                self._draw()

    def _poll(self) -> None:
        row = self._desk.exchanges.get(self.exchange_id) if self._desk is not None else None
        if row is not None and row is not self._row and time.monotonic() >= self._not_before:
            self._fetch()

    def _fetch(self) -> None:
        if self._asking:
            return
        self._asking, self._asked_at = True, time.monotonic()
        number = self.exchange_id
        row = self._desk.exchanges.get(number) if self._desk is not None else None
        known = self.exchange if self.exchange is not None and self.exchange.state == "running" else None
        self.post_message(
            Ask(
                lambda engine: engine.exchange(number) if known is None else engine.grown(known),
                lambda answer: self._take(number, row, answer),
            )
        )

    def _take(self, number: int, row: ExchangeRow | None, answer: Any | NightdeskError) -> None:
        self._asking = False
        now = time.monotonic()
        self._not_before = now + PATIENCE * (now - self._asked_at)
        if not self.is_mounted:
            return
        if number != self.exchange_id:
            self._fetch()
            return
        self._row = row
        if isinstance(answer, Exchange):
            self._show_exchange(answer)
        else:
            self._show_problem(answer)

    def _show_exchange(self, exchange: Exchange) -> None:
        is_first, self.exchange = self.exchange is None, exchange
        wrong = exchange.verdicts or exchange.error is not None or exchange.state in BROKEN
        if not self._chose_page and wrong:
            self.page = OVERVIEW
            self._arrange()
        self._chose_page = True
        self._now_ns = max(self._now_ns, exchange.ended_ns or exchange.started_ns)
        self._draw(from_top=is_first)

    def _show_problem(self, answer: object) -> None:
        words = str(answer) if isinstance(answer, NightdeskError) else f"Not an exchange: {answer!r}"
        self.show_title(line("Exchange ", Cell(str(self.exchange_id), "strong")))
        for page in self._shown_pages():
            self._drawn.pop(page, None)
            self.view_of(page).show((Line(((f"{self.glyphs.fail} {words}", "bad"),)),), from_top=True)

    def _ask_usual(self, model: str) -> None:
        """Ask once what is usual for the model."""
        self._usual[model] = ""
        quoted = '"' + model.replace("\\", "\\\\").replace('"', '\\"') + '"'
        query = f"model:{quoted} state:complete -replay:*"
        self.post_message(
            Ask(lambda engine: engine.totals(query), lambda answer: self._take_usual(model, answer))
        )

    def _take_usual(self, model: str, answer: Any | NightdeskError) -> None:
        self._usual[model] = answer if isinstance(answer, ExchangeTotals) else str(answer)
        if self.is_mounted:
            self._draw()

    def _ask_energy(self, exchange: Exchange) -> None:
        """Ask now and then while it runs, and once when all samples of its time are in."""
        number, now_ns = exchange.id, self._now_ns
        if self._energy[0] != number:
            self._energy, self._energy_due_ns = (number, ""), 0
        if now_ns < self._energy_due_ns or OVERVIEW not in self._shown_pages():
            return
        is_last = exchange.ended_ns is not None and now_ns >= exchange.ended_ns + SETTLED_NS
        self._energy_due_ns = NEVER if is_last else now_ns + SETTLED_NS
        self.post_message(
            Ask(
                lambda engine: engine.exchange_energy(number),
                lambda answer: self._take_energy(number, answer),
            )
        )

    def _take_energy(self, number: int, answer: Any | NightdeskError) -> None:
        if number == self.exchange_id:
            told = answer if isinstance(answer, ExchangeEnergy) else answer.hint or str(answer)
            self._energy = (number, told)
            if self.is_mounted:
                self._draw()

    # Drawing

    def view_of(self, page: int) -> FoldView:
        """The widget that shows a page."""
        return self.query_one(f"#page{page}", FoldView)

    @property
    def view(self) -> FoldView:
        """The page that keys act on."""
        return self.view_of(self.page)

    def _shown_pages(self) -> tuple[int, ...]:
        wide = self.app.size.width >= TWO_FROM and not self.is_alone
        return (PROMPT, RESPONSE) if wide and self.page in (PROMPT, RESPONSE) else (self.page,)

    def _arrange(self) -> None:
        """Show the right pages and tabs, and give the chosen page the focus."""
        shown = self._shown_pages()
        for number in range(len(PAGES)):
            self.view_of(number).set_class(number not in shown, "-away")
        self.set_class(len(shown) == 2, "-two")
        self.set_class(self.app.size.height < 20, "-low")
        names = [(number, name) for number, (name, _) in enumerate(PAGES, 1)]
        self.query_one(TabStrip).show(names, self.page + 1)
        self.view.focus()

    def _draw(self, *, from_top: bool = False) -> None:
        exchange = self.exchange
        if exchange is None:
            return
        self.show_title(line("Exchange ", Cell(str(exchange.id), "strong")))
        about = self.query_one("#about", Static)
        about.update(line(*title_cells(exchange, self.glyphs, self._now_ns, self.app.size.width)))
        if from_top:
            self._drawn = {}
        for page in self._shown_pages():
            self._draw_page(exchange, page)
        self._say_place()

    def _setting(self, page: int) -> Setting:
        view = self.view_of(page)
        width = (view.size.width or self.app.size.width - 6) - GUTTER
        model = self.exchange.model if self.exchange is not None else None
        if page == OVERVIEW and self.exchange is not None:
            self._ask_energy(self.exchange)
        if page == TIMING and model and model not in self._usual:
            self._ask_usual(model)
        usual = self._usual.get(model or "", "")
        return Setting(
            self.glyphs,
            self._now_ns,
            max(20, width),
            self.is_raw,
            usual if isinstance(usual, ExchangeTotals) else None,
            usual if isinstance(usual, str) else "",
            self._energy[1] if self._energy[0] == self.exchange_id else "",
        )

    def _draw_page(self, exchange: Exchange, page: int) -> None:
        setting = self._setting(page)
        clock = setting.now_ns if exchange.state == "running" else 0
        asked = (setting.usual or setting.usual_problem, setting.energy)
        key = (exchange, clock, setting.width, setting.is_raw, asked, setting.glyphs)
        before = self._drawn.get(page)
        if before is not None and before[0] is exchange and before[1:] == key[1:]:
            return
        if weight(exchange, page) <= LIGHT:
            self._drawn[page] = key
            self._put(exchange, page, page_lines(exchange, page, setting), is_first=before is None)
        elif page not in self._making:
            self._making.add(page)
            if before is None:
                self.view_of(page).show((Line((("Formatting …", "muted"),)),), from_top=True)
            self._drawn[page] = key
            self.run_worker(self._make(exchange, page, setting, is_first=before is None), exit_on_error=False)

    async def _make(self, exchange: Exchange, page: int, setting: Setting, *, is_first: bool) -> None:
        """A heavy page, made beside the screen; what changed in the meantime is drawn after it."""
        lines = await in_thread(lambda: page_lines(exchange, page, setting))
        self._making.discard(page)
        if self.is_mounted and self.exchange is not None and self.exchange.id == exchange.id:
            self._put(exchange, page, lines, is_first=is_first)
            self._draw()
        elif self.is_mounted:
            self._drawn.pop(page, None)
            self._draw()

    def _put(self, exchange: Exchange, page: int, lines: tuple[Line, ...], *, is_first: bool) -> None:
        follow = page == RESPONSE and exchange.state == "running"
        self.view_of(page).show(lines, from_top=is_first, follow=follow)

    def _say_place(self) -> None:
        """On the border: how the search goes, or whether the end is followed."""
        view = self.view
        words: list[Cell] = []
        if view.needle:
            at, count = view.found
            counted = f"{at} of {count}" if at else f"{count}"
            words = [
                Cell(f"{view.needle[:40]} ", "strong"),
                Cell(f"{counted} {'line' if count == 1 else 'lines'}", "muted"),
            ]
            words += [Cell("  n N next", "muted")] if count else []
        elif self.page == RESPONSE and self.exchange is not None and self.exchange.state == "running":
            words = [Cell("following" if view.following else "G follows", "muted")]
        self.query_one("#sheet").border_subtitle = line(*words)

    def on_resize(self) -> None:
        """Bars have another length, columns may come or go."""
        if self.is_mounted:
            self._arrange()
            self.call_after_refresh(self._draw)

    # Keys

    @on(TabStrip.Chosen)
    def _tab_chosen(self, event: TabStrip.Chosen) -> None:
        self.action_page(event.number - 1)

    @on(FoldView.Moved)
    def _moved(self) -> None:
        self._say_place()

    def on_descendant_focus(self) -> None:
        """A click into the other column makes its page the chosen one."""
        for page in self._shown_pages():
            if self.view_of(page).has_focus and page != self.page:
                self.action_page(page)

    def action_page(self, page: int) -> None:
        """Show a page."""
        self._chose_page = True
        if page != self.page:
            self.page = page
            self._arrange()
            # A page that was hidden learns its width with the next layout.
            self.call_after_refresh(self._draw)

    def action_turn(self, step: int) -> None:
        """The next page."""
        self.action_page((self.page + step) % len(PAGES))

    def action_alone(self) -> None:
        """One page where there would be room for two."""
        self.is_alone = not self.is_alone
        self._arrange()
        self.call_after_refresh(self._draw)

    def action_markdown(self) -> None:
        """The reply as Markdown, or as it is."""
        self.is_raw = not self.is_raw
        self._draw()

    def action_beside(self, step: int) -> None:
        """The exchange below or above this one in the list of the traffic pane."""
        pane = self.viewer.desk_screen.query_one(TrafficPane)
        pane.go_beside(self.exchange_id, step, lambda found: self._go(found, step))

    def _go(self, found: int | None, step: int) -> None:
        """Show what stands there."""
        if not self.is_mounted:
            return
        if found is None:
            edge = "last" if step > 0 else "first"
            self.notify(f"This is the {edge} one of the list.", markup=False)
            return
        self.exchange_id, self.exchange, self._row = found, None, None
        self._fetch()

    # Searching

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """No key for searching while that is typed."""
        if action == "search" and isinstance(self.focused, FilterLine):
            return False
        return super().check_action(action, parameters)

    def action_search(self) -> None:
        """Type what to look for."""
        typed = self.query_one("#search", FilterLine)
        typed.value = self.view.needle
        typed.add_class("-open")
        self.set_focus(typed)

    @on(Input.Changed, "#search")
    def _typed(self, event: Input.Changed) -> None:
        event.stop()
        if self.query_one("#search").has_class("-open"):
            self.view.search(event.value)
            self._say_place()

    @on(Input.Submitted, "#search")
    def _searched(self, event: Input.Submitted) -> None:
        event.stop()
        self.query_one("#search").remove_class("-open")
        self.view.search(event.value)
        self.view.focus()
        self._say_place()
        if event.value and not self.view.found[1]:
            self.notify(f"{event.value} is not on this page.", markup=False)

    def action_close(self) -> None:
        """Take the search away, else back to the desk."""
        if self.view.needle:
            self.view.search("")
            self._say_place()
        else:
            self.dismiss(None)

"""A run of a single item, or a dry run: its log, its exchanges, the accelerators while it ran, what was before.

One key starts the whole job from here.
"""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widget import Widget
from textual.widgets import Static

from nightdesk.client.mirror import Mirror
from nightdesk.core.jobs.failure_advice import failure_words
from nightdesk.model.errors import NightdeskError
from nightdesk.model.items import ItemComparison
from nightdesk.model.job import ENDED, Run, StartRun
from nightdesk.model.logs import LogWindow
from nightdesk.model.units import NS, format_duration
from nightdesk.tui.asks import (
    Ask,
    FeedRequested,
    OpenExchange,
    OpenFailure,
    OpenLog,
    RunActionRequested,
    StartRequested,
)
from nightdesk.tui.panes.job_lines import state_cell
from nightdesk.tui.screens.trial_pages import (
    EXCHANGE_COLUMNS,
    accelerator_lines,
    comparison_rows,
    exchange_rows,
    samples_of,
)
from nightdesk.tui.text import Cell, Part, Tone, line
from nightdesk.tui.widgets.diffview import DiffView, Look
from nightdesk.tui.widgets.grid import Grid
from nightdesk.tui.widgets.lines import Pieces
from nightdesk.tui.widgets.page import Page
from nightdesk.tui.widgets.sheet import Sheet
from nightdesk.tui.widgets.tabs import TabStrip

LOG, EXCHANGES, ACCELERATORS, COMPARED = 1, 2, 3, 4
LOG_BYTES = 65_536
WIDE = 100
"""Cells from which on both outputs stand side by side."""


class TrialScreen(Sheet[None]):
    """Four pages on one run."""

    TALL = True
    DEFAULT_CSS = """
    TrialScreen > #sheet { width: 96%; max-width: 180; }
    TrialScreen TabStrip { padding: 0; margin-bottom: 1; }
    TrialScreen #trial-state { height: auto; max-height: 3; }
    TrialScreen Page, TrialScreen DiffView { height: 1fr; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        *(
            Binding(str(number), f"page({number})", name, show=False, id=f"trial.page{number}")
            for number, name in enumerate(("Log", "Exchanges", "Accelerators", "Before and now"), 1)
        ),
        Binding("tab", "turn(1)", "page", id="trial.next_page", tooltip="Next page"),
        Binding("shift+tab", "turn(-1)", "Previous page", show=False, id="trial.page_before"),
        Binding("s", "promote", "start the whole job", id="trial.promote", tooltip="Start all of the job"),
        Binding("t", "again", "once more", id="trial.again", tooltip="Run the same item alone once more"),
        Binding("x", "stop", "stop", id="trial.stop", tooltip="Ask the run to end, then kill what is left"),
        Binding("F", "failure", "why it failed", id="trial.failure", tooltip="Show why it failed"),
        Binding("l", "log", "log", id="trial.log", tooltip="Show its log in the logs pane"),
    ]

    def __init__(self, run: str) -> None:
        super().__init__()
        self.run_id = run
        self.page = LOG
        self._run: Run | None = None
        self._asked_ns = 0
        self._log: LogWindow | None = None
        self._is_read = False
        """The log was read after the end."""
        self._compared: ItemComparison | None = None

    def compose_sheet(self) -> ComposeResult:
        """State, names of the pages, the pages."""
        yield Static(id="trial-state", markup=False)
        yield TabStrip()
        yield Page(id="trial-log")
        yield Grid(EXCHANGE_COLUMNS, sign=self.glyphs.cursor, id="trial-exchanges")
        yield Page(id="trial-devices")
        yield DiffView(id="trial-compared")

    def on_mount(self) -> None:
        """The first page."""
        self._turn_to(LOG)
        self.app.post_message(FeedRequested())

    @property
    def pages(self) -> dict[int, Widget]:
        """The pages by number."""
        ids = ("trial-log", "trial-exchanges", "trial-devices", "trial-compared")
        return {number: self.query_one(f"#{name}") for number, name in enumerate(ids, 1)}

    # Data

    def feed(self, desk: Mirror | None, now_ns: int) -> None:
        """Follow the run."""
        if desk is None or not self.query(Grid):
            return  # not composed yet, or being taken down
        run = self._run = desk.runs.get(self.run_id, self._run)
        if run is None:
            return
        self._show_state(run, now_ns)
        exchanges = [row for row in desk.exchanges.values() if row.run == run.id]
        self._show_tabs(run, len(exchanges))
        if self.page == EXCHANGES:
            rows = exchange_rows(exchanges, now_ns, self.glyphs)
            self.query_one("#trial-exchanges", Grid).show_rows(rows)
        elif self.page == ACCELERATORS:
            pids = frozenset(row.key.pid for row in desk.processes.values() if row.run == run.id)
            lines = accelerator_lines(samples_of(desk.samples, run), pids, self.glyphs)
            self.query_one("#trial-devices", Page).show(lines)
        self._keep_up(run, now_ns)

    def _keep_up(self, run: Run, now_ns: int) -> None:
        """Ask for what the viewer is not told by itself, at most once a second."""
        if now_ns < self._asked_ns + NS and self._asked_ns:
            return
        self._asked_ns = now_ns
        is_over = run.state in ENDED
        if run.log is not None and not self._is_read:
            self._is_read = is_over
            log = run.log
            self.post_message(Ask(lambda engine: engine.log_window(log, max_bytes=LOG_BYTES), self._take_log))
        if run.mode == "single" and is_over and self._compared is None:
            self.post_message(Ask(lambda engine: engine.comparison(run.id), self._take_comparison))

    def _take_log(self, answer: LogWindow | NightdeskError) -> None:
        if not self.query("#trial-log"):
            return
        page = self.query_one("#trial-log", Page)
        if isinstance(answer, NightdeskError):
            page.show([((answer.message, "warn"),)])
            return
        texts = list(answer.lines)
        lines: list[Pieces] = [((text.rsplit("\r", 1)[-1], _tone(text)),) for text in texts]
        is_first, self._log = self._log is None, answer
        page.show(lines or [(("It has printed nothing yet.", "muted"),)])
        if is_first and self._run is not None and self._run.mode == "single":
            page.scroll_end(animate=False)

    def _take_comparison(self, answer: ItemComparison | NightdeskError) -> None:
        if self.query(DiffView) and not isinstance(answer, NightdeskError):
            self._compared = answer
            self._show_comparison()

    # Drawing

    def _show_state(self, run: Run, now_ns: int) -> None:
        kind = "Dry run of " if run.mode == "dry" else "Single run of "
        parts: list[Part] = [kind, Cell(run.job, "strong")]
        if run.item:
            parts += [f" {self.glyphs.part_of} ", Cell(run.item, "strong")]
        self.show_title(line(*parts))
        took = ""
        if run.started_ns is not None:
            took = f" {format_duration((run.ended_ns or now_ns) - run.started_ns)}"
        why = run.reason or ""
        if run.failure is not None:
            why = failure_words(run.failure)
        elif run.exit_status:
            why = f"ended with {run.exit_status}"
        told = line(
            state_cell(run.state, self.glyphs),
            Cell(f" {run.state}{took}", "strong"),
            Cell(f"  {why}", "bad" if run.failure else "muted"),
        )
        self.query_one("#trial-state", Static).update(told)
        self.refresh_bindings()

    def _show_tabs(self, run: Run, exchanges: int) -> None:
        names = [(LOG, "log"), (EXCHANGES, f"exchanges ({exchanges})"), (ACCELERATORS, "accelerators")]
        if run.mode == "single":
            names.append((COMPARED, "before and now"))
        self.query_one(TabStrip).show(names, self.page)

    def _show_comparison(self) -> None:
        if not self.query(DiffView):
            return  # being taken down
        view = self.query_one(DiffView)
        if self._compared is None:
            view.show([])
            return
        width = max(20, view.size.width - 1)
        look = Look(width, is_wide=width >= WIDE, is_folded=True, glyphs=self.glyphs)
        view.show(comparison_rows(self._compared, look))

    def on_resize(self) -> None:
        """Other widths, other lines."""
        if self._compared is not None:
            self.call_after_refresh(self._show_comparison)

    # Keys

    @on(TabStrip.Chosen)
    def _tab_chosen(self, event: TabStrip.Chosen) -> None:
        self._turn_to(event.number)

    def _turn_to(self, number: int) -> None:
        self.page = number
        for each, widget in self.pages.items():
            widget.display = each == number
        self.set_focus(self.pages[number])
        self.app.post_message(FeedRequested())
        if number == COMPARED:
            self.call_after_refresh(self._show_comparison)

    @property
    def _shown_pages(self) -> tuple[int, ...]:
        is_dry = self._run is not None and self._run.mode == "dry"
        return (LOG, EXCHANGES, ACCELERATORS) if is_dry else (LOG, EXCHANGES, ACCELERATORS, COMPARED)

    def action_page(self, number: int) -> None:
        """To a page."""
        if number in self._shown_pages:
            self._turn_to(number)

    def action_turn(self, step: int) -> None:
        """To the next page."""
        pages = self._shown_pages
        self._turn_to(pages[(pages.index(self.page) + step) % len(pages)])

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Only keys that make sense now."""
        run = self._run
        if action == "again":
            return run is not None and run.mode == "single" and run.state in ENDED
        if action == "failure":
            return run is not None and run.failure is not None
        if action == "stop":
            return run is not None and run.state not in ENDED
        return super().check_action(action, parameters)

    @on(Grid.Opened)
    def _opened(self, event: Grid.Opened) -> None:
        if isinstance(event.key, int):
            self.post_message(OpenExchange(event.key))

    def action_promote(self) -> None:
        """Start all of the job."""
        if self._run is not None:
            job = self._run.job
            self.dismiss(None)
            self.app.post_message(StartRequested(StartRun(job=job)))

    def action_again(self) -> None:
        """Run the same item alone once more."""
        run = self._run
        if run is not None:
            self.dismiss(None)
            self.app.post_message(StartRequested(StartRun(job=run.job, mode="single", item=run.item)))

    def action_stop(self) -> None:
        """Ask the run to end."""
        self.post_message(RunActionRequested(self.run_id, "stop"))

    def action_failure(self) -> None:
        """Show why it failed."""
        self.post_message(OpenFailure(self.run_id))

    def action_log(self) -> None:
        """Show the log in the logs pane."""
        if self._run is not None and self._run.log is not None:
            log, app = self._run.log, self.app
            while len(app.screen_stack) > 1:
                app.pop_screen()
            app.post_message(OpenLog(log))


def _tone(text: str) -> Tone:
    """What a dry run would pass over stands back."""
    return "muted" if text.startswith("skip  ") else ""

"""Why an attempt failed: class, evidence and what to do; below it what was kept of its last minutes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, cast

import msgspec
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import Static

from nightdesk.client.mirror import Mirror
from nightdesk.core.jobs.failure_advice import failure_words
from nightdesk.model.diagnosis import Diagnosis, FailedAttempt
from nightdesk.model.errors import NightdeskError
from nightdesk.model.items import ItemPage
from nightdesk.model.job import ENDED, ItemMove, Run, StartRun
from nightdesk.model.units import NS
from nightdesk.tui.asks import Ask, FeedRequested, OpenExchange, OpenLog, StartRequested
from nightdesk.tui.inspector import outside
from nightdesk.tui.screens.failure_pages import (
    chart_of,
    end_parts,
    log_lines,
    process_lines,
    reason_parts,
    surroundings,
)
from nightdesk.tui.screens.run_items import open_log
from nightdesk.tui.screens.trial_pages import EXCHANGE_COLUMNS, accelerator_lines, exchange_rows
from nightdesk.tui.text import Cell, Part, content, line
from nightdesk.tui.widgets.chart import Chart
from nightdesk.tui.widgets.grid import Grid
from nightdesk.tui.widgets.page import Page
from nightdesk.tui.widgets.sheet import Sheet
from nightdesk.tui.widgets.tabs import TabStrip

if TYPE_CHECKING:
    from nightdesk.tui.app import Viewer

LOG, EXCHANGES, PROCESSES, SAMPLES, AROUND = 1, 2, 3, 4, 5
PAGES = {
    LOG: "failure-log",
    EXCHANGES: "failure-exchanges",
    PROCESSES: "failure-processes",
    SAMPLES: "failure-samples",
    AROUND: "failure-around",
}
NAMES = ("Log", "Exchanges", "Processes", "Memory and accelerators", "Environment")
AGAIN_NS = NS


class FailureScreen(Sheet[None]):
    """The newest failed attempt of a run or of an item of it, and the ones before."""

    TALL = True
    DEFAULT_CSS = """
    FailureScreen > #sheet { width: 96%; max-width: 180; }
    FailureScreen > #sheet.-tall { height: 96%; max-height: 96%; }
    FailureScreen #failure-why { height: auto; max-height: 9; margin-bottom: 1; }
    FailureScreen TabStrip { padding: 0; margin-bottom: 1; }
    FailureScreen Page, FailureScreen Grid { height: 1fr; }
    FailureScreen #failure-samples, FailureScreen #failure-exchanges { height: 1fr; }
    FailureScreen #failure-none { display: none; color: $text-muted; height: auto; }
    FailureScreen Chart { height: 45%; min-height: 5; max-height: 14; margin-bottom: 1; }
    FailureScreen KeyLine { margin-top: 0; }
    """
    HELP = """
## A failed attempt

Above: the class of the failure, the line or fact that it was read from, and what to do about it. Below: what was kept
of its last minutes, in the run's folder, with secrets masked: the end of its **log**, its **exchanges** with model
servers (`enter` opens one), its **processes** as they were seen last, **memory and accelerators**, and what it had
around it.

`[` and `]` go to the failures of this run before and after. `r` does the item (or the run) again, `t` tries it alone.
`e` and `|` open the log, or all that was kept, in your editor or pager.
"""
    BINDINGS: ClassVar[list[BindingType]] = [
        *(
            Binding(str(number), f"page({number})", name, show=False, id=f"failure.page{number}")
            for number, name in enumerate(NAMES, 1)
        ),
        Binding("tab", "turn(1)", "page", id="failure.next_page", tooltip="Next page"),
        Binding("shift+tab", "turn(-1)", "Previous page", show=False, id="failure.page_before"),
        Binding("r", "again", "again", id="failure.again", tooltip="Retry the item or the run"),
        Binding("t", "single", "single run", id="failure.single", tooltip="Run the item alone, and compare"),
        Binding(
            "left_square_bracket",
            "step(-1)",
            "before",
            key_display="[",
            id="failure.before",
            tooltip="Previous failure",
        ),
        Binding(
            "right_square_bracket",
            "step(1)",
            "after",
            key_display="]",
            id="failure.after",
            tooltip="Next failure",
        ),
        Binding("l", "log", "log", id="failure.log", tooltip="Show the whole log in the logs pane"),
        *outside.keys("failure", "Open what was kept"),
    ]

    def __init__(self, run: str, item: str | None = None) -> None:
        super().__init__()
        self.run_id = run
        self.item = item
        self.page = LOG
        self.kept: Sequence[FailedAttempt] = ()
        self.found: Diagnosis | None = None
        self._run: Run | None = None
        self._single = False
        """The job can run one item alone."""
        self._asked_ns = 0

    def compose_sheet(self) -> ComposeResult:
        """Why, names of the pages, the pages."""
        yield Static(id="failure-why", markup=False)
        yield TabStrip()
        yield Page(id="failure-log")
        with Vertical(id="failure-exchanges"):
            yield Static("No exchange with a model server was seen in its last minutes.", id="failure-none")
            yield Grid(EXCHANGE_COLUMNS, sign=self.glyphs.cursor)
        yield Page(id="failure-processes")
        with Vertical(id="failure-samples"):
            yield Chart(id="failure-chart")
            yield Page(id="failure-devices")
        yield Page(id="failure-around")

    def on_mount(self) -> None:
        """Ask what was kept."""
        self._show_title()
        self.query_one("#failure-why", Static).update(line(Cell("Reading what was kept …", "muted")))
        self._turn_to(LOG)
        self._ask()

    # Data

    def feed(self, desk: Mirror | None, now_ns: int) -> None:
        """The run as it is now; what is not kept yet is asked for again."""
        if desk is None or not self.query(Grid):
            return  # not composed yet, or being taken down
        self._run = desk.runs.get(self.run_id, self._run)
        job = desk.jobs.get(self._run.job) if self._run is not None else None
        self._single = job is not None and job.has_single
        if not self.kept and now_ns >= self._asked_ns + AGAIN_NS:
            self._asked_ns = now_ns
            self._ask()
        self.refresh_bindings()

    def _ask(self) -> None:
        self.post_message(Ask(lambda engine: engine.failures(self.run_id), self._take_list))

    def _take_list(self, answer: tuple[FailedAttempt, ...] | NightdeskError) -> None:
        if not self.query("#failure-why") or self.kept:
            return
        if isinstance(answer, NightdeskError):
            self._show_why(Cell(f"{answer.message} {answer.hint}".strip(), "warn"))
            return
        self.kept = answer
        mine = [each for each in answer if self.item in (None, each.item)]
        if mine:
            self._open(mine[-1])
        else:
            self.kept = ()
            self._show_why(*self._nothing())

    def _nothing(self) -> list[Part]:
        """What is known where nothing was kept."""
        parts: list[Part] = []
        if self._run is not None and self._run.failure is not None:
            parts = [Cell(f"{self.glyphs.fail} {failure_words(self._run.failure)}", "bad"), "\n"]
        of = f" of {self.item}" if self.item else ""
        return [*parts, Cell(f"No failed attempt{of} is kept.", "muted")]

    def _open(self, what: FailedAttempt) -> None:
        self.post_message(Ask(lambda engine: engine.failure(self.run_id, what.serial), self._take))

    def _take(self, answer: Diagnosis | NightdeskError) -> None:
        if not self.query("#failure-why"):
            return
        if isinstance(answer, NightdeskError):
            self._show_why(Cell(f"{answer.message} {answer.hint}".strip(), "warn"))
            return
        self.found = answer
        self._show(answer)

    # Drawing

    def _show_title(self) -> None:
        what = self.found.what if self.found is not None else None
        item = what.item if what is not None else self.item
        parts: list[Part] = ["Why ", Cell(what.job if what is not None else self.run_id, "strong")]
        if item:
            parts += [f" {self.glyphs.part_of} ", Cell(item, "strong")]
        self.show_title(line(*parts, " failed"))

    def _show_why(self, *parts: Part) -> None:
        self.query_one("#failure-why", Static).update(content(*parts))

    def _show(self, found: Diagnosis) -> None:
        self._show_title()
        place = f"{self._place + 1} of {len(self.kept)} failures kept" if len(self.kept) > 1 else ""
        self.query_one("#sheet").border_subtitle = line(Cell(place, "muted"))
        self._show_why(*reason_parts(found.what, self.glyphs), *end_parts(found))
        log = self.query_one("#failure-log", Page)
        log.show(log_lines(found))
        log.scroll_end(animate=False)
        rows = exchange_rows(found.exchanges, found.what.ended_ns, self.glyphs)
        self.query_one(Grid).show_rows(rows)
        self.query_one("#failure-none").display = not rows
        self._page_of("failure-processes").show(process_lines(found, self.glyphs), from_top=True)
        self._page_of("failure-around").show(surroundings(found), from_top=True)
        self._show_samples(found)
        self._show_tabs()
        self.refresh_bindings()

    def _show_samples(self, found: Diagnosis) -> None:
        pids = frozenset(row.key.pid for row in found.processes)
        self._page_of("failure-devices").show(
            accelerator_lines(found.samples, pids, self.glyphs), from_top=True
        )
        chart, view = self.query_one(Chart), chart_of(found)
        chart.display = view is not None
        chart.show(None)  # one that ended a second later would be taken for the same
        chart.show(view)

    def _page_of(self, name: str) -> Page:
        return self.query_one(f"#{name}", Page)

    def _show_tabs(self) -> None:
        found = self.found
        counts = (len(found.exchanges), len(found.processes)) if found is not None else (0, 0)
        names = [
            (LOG, "log"),
            (EXCHANGES, f"exchanges ({counts[0]})"),
            (PROCESSES, f"processes ({counts[1]})"),
            (SAMPLES, "memory"),
            (AROUND, "environment"),
        ]
        self.query_one(TabStrip).show(names, self.page)

    # Keys

    @on(TabStrip.Chosen)
    def _tab_chosen(self, event: TabStrip.Chosen) -> None:
        self._turn_to(event.number)

    def _turn_to(self, number: int) -> None:
        self.page = number
        for each, name in PAGES.items():
            self.query_one(f"#{name}").display = each == number
        inner = {EXCHANGES: "Grid", SAMPLES: "#failure-devices"}
        self.set_focus(self.query_one(inner.get(number, f"#{PAGES[number]}")))
        self._show_tabs()
        self.app.post_message(FeedRequested())

    def action_page(self, number: int) -> None:
        """To a page."""
        self._turn_to(number)

    def action_turn(self, step: int) -> None:
        """To the next page."""
        self._turn_to((self.page - 1 + step) % len(PAGES) + 1)

    @property
    def _place(self) -> int:
        serial = self.found.what.serial if self.found is not None else 0
        return next((at for at, each in enumerate(self.kept) if each.serial == serial), 0)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Only keys that make sense now."""
        match action:
            case "step":
                to = self._place + (1 if parameters == (1,) else -1)
                return self.found is not None and 0 <= to < len(self.kept)
            case "again":
                return self._run is not None and (self._run.state in ENDED or self._item is not None)
            case "single":
                return self._single and self._item is not None
            case "log":
                return self._run is not None and self._run.log is not None
            case "look":
                return self.found is not None
        return super().check_action(action, parameters)

    @property
    def _item(self) -> str | None:
        return self.found.what.item if self.found is not None else self.item

    def action_step(self, by: int) -> None:
        """To the failure of the run before or after this one."""
        to = self._place + by
        if 0 <= to < len(self.kept):
            self._open(self.kept[to])

    @on(Grid.Opened)
    def _opened(self, event: Grid.Opened) -> None:
        if isinstance(event.key, int):
            self.post_message(OpenExchange(event.key))

    def action_again(self) -> None:
        """Do the item again: in its run where that goes on, else in a new one. A run without items starts anew."""
        run, item = self._run, self._item
        if run is None:
            return
        if run.mode == "full" and item is not None and run.state not in ENDED:
            move = ItemMove(items=(item,), where="again")
            self.post_message(Ask(lambda engine: engine.move_items(run.id, move), self._moved))
            return
        items = (item,) if run.mode == "full" and item is not None else ()
        single = item if run.mode == "single" else None
        request = StartRun(job=run.job, mode=run.mode, item=single, items=items, again=bool(items))
        self.post_message(StartRequested(request))

    def _moved(self, answer: Run | NightdeskError) -> None:
        if isinstance(answer, NightdeskError):
            self._viewer.tell(answer.message, answer.hint, severity="error")
        else:
            self._viewer.tell(f"{self._item} will be done again.")

    def action_single(self) -> None:
        """Run the item alone."""
        if self._run is not None and self._item is not None:
            request = StartRun(job=self._run.job, mode="single", item=self._item)
            self.post_message(StartRequested(request))

    def action_log(self) -> None:
        """Show the whole log in the logs pane: that of the item where it has one of its own."""
        run, item = self._run, self._item
        if run is None or run.log is None:
            return
        if run.mode != "full" or item is None:
            self._go_to_log(run.log)
            return

        def take(answer: ItemPage | NightdeskError) -> None:
            rows = () if isinstance(answer, NightdeskError) else answer.rows
            index = next((row.index for row in rows if row.item == item), None)
            if index is not None and self.is_mounted:
                open_log(self, run.id, index)
            elif run.log is not None:
                self._go_to_log(run.log)

        self.post_message(Ask(lambda engine: engine.item_page(run.id, text=item), take))

    def _go_to_log(self, log: str) -> None:
        app = self.app
        while len(app.screen_stack) > 1:
            app.pop_screen()
        app.post_message(OpenLog(log))

    @property
    def _viewer(self) -> Viewer:
        return cast("Viewer", self.app)

    def action_look(self, kind: outside.Kind) -> None:
        """Open the end of the log, or on other pages all that was kept, in the editor or the pager."""
        found = self.found
        if found is None:
            return
        name, text = "log.txt", found.log_tail
        if self.page != LOG:
            kept = msgspec.structs.replace(found, log_tail="")
            name, text = "failure.json", msgspec.json.format(msgspec.json.encode(kept)).decode()
        try:
            command = outside.command_of(kind, os.environ, lambda program: shutil.which(program) is not None)
            words = outside.look_at(self.app, kind, command, name, text)
        except NightdeskError as error:
            self._viewer.tell(error.message, error.hint, severity="error")
            return
        if words:
            self._viewer.tell(words)

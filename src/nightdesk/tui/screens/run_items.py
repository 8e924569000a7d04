"""The items of a run: each with its state, in any number; moved, passed over, done again, looked into.

Asks the engine for the part that is looked at, at most once a second while the run goes on.
"""

from __future__ import annotations

from typing import Any, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Input, Static

from nightdesk.client.mirror import Mirror
from nightdesk.core.inspection.query import quoted
from nightdesk.core.jobs.failure_advice import failure_words
from nightdesk.model.errors import NightdeskError
from nightdesk.model.items import ItemPage, ItemRow
from nightdesk.model.job import ENDED, ItemMove, Run, StartRun
from nightdesk.model.logs import LogFile
from nightdesk.model.units import NS
from nightdesk.tui.asks import (
    Ask,
    FilterTraffic,
    OpenFailure,
    OpenLog,
    OpenOutputs,
    RetryRequested,
    StartRequested,
)
from nightdesk.tui.panes.job_lines import bar_of
from nightdesk.tui.panes.traffic_window import Pending, WindowRows
from nightdesk.tui.screens.item_rows import (
    COLUMN_OF_SORT,
    COLUMNS,
    SORT_OF_COLUMN,
    SORT_WORDS,
    SORTS,
    VIEWS,
    blank_line,
    counts_line,
    item_line,
)
from nightdesk.tui.screens.item_window import ItemWindow, Wanted
from nightdesk.tui.text import Cell, line
from nightdesk.tui.widgets.field import Field
from nightdesk.tui.widgets.grid import Grid
from nightdesk.tui.widgets.sheet import Sheet

REFRESH_NS = NS
BAR = 24


class RunItemsScreen(Sheet[None]):
    """The table. The line above counts; the line below says in full what is wrong with the item under the cursor."""

    TALL = True
    DEFAULT_CSS = """
    RunItemsScreen > #sheet { width: 100%; max-width: 100%; }
    RunItemsScreen > #sheet.-tall { height: 100%; max-height: 100%; }
    RunItemsScreen #counts { height: 1; text-wrap: nowrap; text-overflow: ellipsis; }
    RunItemsScreen #words { display: none; height: 1; border: none; padding: 0; background: $boost; }
    RunItemsScreen #words.-open { display: block; }
    RunItemsScreen #item-remark { height: auto; max-height: 3; }
    """
    HELP = """
## Items of a run

One line for each item: ▶ in progress, ↻ tried again later, · waits, ◷ held back (it waits for an item of another job),
✓ done, ✗ failed, ▒ skipped. While the run goes on the lines follow it.

`f` and `e` move an item to the front or the end of the queue, `s` skips it, `a` does it again. With tags
(`space`) they act on all tagged items. `r` does all again that failed. In a run that has ended, `a` and `r` start a
new run of just those items.

`v` goes through the states, `/` looks for words in names and failures, `o` sorts.
"""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("F", "failure", "why it failed", id="run_items.failure", tooltip="Show why it failed"),
        # At once, so that what is typed right behind it is text already.
        Binding("slash", "words", "filter", key_display="/", priority=True, id="run_items.filter", tooltip="By text"),
        Binding("v", "view(1)", "state", id="run_items.state", tooltip="Show the items of the next state"),
        Binding("V", "view(-1)", "Previous state", show=False, id="run_items.state_before"),
        Binding("o", "order", "order", id="run_items.order", tooltip="Sort by the next key"),
        Binding("O", "reverse", "Reverse order", show=False, id="run_items.reverse", tooltip="Reverse the order"),
        Binding("space", "tag", "tag", id="run_items.tag", tooltip="Tag or untag the item"),
        Binding("u", "untag", "Untag all", show=False, id="run_items.untag", tooltip="Remove all tags"),
        Binding("f", "move('first')", "first", id="run_items.first", tooltip="Move it to the front"),
        Binding("e", "move('last')", "end", id="run_items.last", tooltip="Move it to the end"),
        Binding("s", "move('skip')", "skip", id="run_items.skip", tooltip="Skip it"),
        Binding("a", "move('again')", "again", id="run_items.again", tooltip="Run it again"),
        Binding("r", "retry", "retry failed", id="run_items.retry", tooltip="Retry all that failed"),
        Binding("t", "single", "Single run", show=False, id="run_items.single", tooltip="Run it alone, and compare"),
        Binding("l", "log", "log", id="run_items.log", tooltip="Show its log in the logs pane"),
        Binding("c", "outputs", "checks", id="run_items.outputs", tooltip="What the job's rules say of its outputs"),
        Binding("x", "exchanges", "exchanges", id="run_items.exchanges", tooltip="Show its exchanges"),
    ]  # fmt: skip

    def __init__(self, run: str) -> None:
        super().__init__()
        self.run_id = run
        self.window = ItemWindow()
        self.tags: dict[int, str] = {}
        """Place in the run → item."""
        self._run: Run | None = None
        self._seen: Run | None = None
        """The run as it was when the rows were asked for."""
        self._view = VIEWS[0]
        self._now_ns = 0
        self._asked_ns = 0
        self._asking = 0
        self._fault = ""
        self._validates = False
        """Its job says what its outputs must be."""
        self._from_top = False
        """Another list was asked for: it is shown from its beginning."""

    def compose_sheet(self) -> ComposeResult:
        """Counts, the words to look for, the list, a remark."""
        yield Static(id="counts", markup=False)
        yield Field(placeholder="words in names and failures", compact=True, id="words")
        yield Grid(COLUMNS, sign=self.glyphs.cursor)
        yield Static(id="item-remark", markup=False)

    def on_mount(self) -> None:
        """The first part."""
        self.show_title(line("Items of ", Cell(self.run_id, "strong")))
        self.grid.focus()
        self._look_around()

    @property
    def grid(self) -> Grid:
        """The list."""
        return self.query_one(Grid)

    # The run moves on

    def feed(self, desk: Mirror | None, now_ns: int) -> None:
        """Follow the run: ask again where it has changed, at most once a second."""
        if desk is None or not self.query(Grid):
            return  # not composed yet, or being taken down
        self._now_ns = now_ns
        self._run = desk.runs.get(self.run_id, self._run)
        job = desk.jobs.get(self._run.job) if self._run is not None else None
        self._validates = job is not None and job.validates
        if self._run is not self._seen and now_ns >= self._asked_ns + REFRESH_NS:
            self._renew()
        self._draw()

    def _renew(self) -> None:
        """Ask again for what is looked at."""
        self._seen, self._asked_ns = self._run, self._now_ns
        self.window.moved_on()
        self._look_around()

    @on(Grid.Scrolled)
    @on(Grid.Resized)
    def _look_around(self) -> None:
        if not self.query(Grid):
            return
        lines = range(1) if self._from_top else self.grid.lines_in_view
        while self._asking < 2 and (wanted := self.window.wanted(lines.start, max(0, lines.stop - 1))):
            self._ask_for(wanted)

    def _ask_for(self, wanted: Wanted) -> None:
        window, run = self.window, self.run_id
        self._asking += 1

        def take(answer: Any) -> None:
            self._asking -= 1
            if not self.query(Grid):
                return
            if window is self.window:
                self._take(answer)
            else:
                self._look_around()  # it held up the questions about what is listed now

        call = lambda engine: engine.item_page(run, **wanted._asdict())  # noqa: E731 - it has to be given twice its values
        self.post_message(Ask(call, take))

    def _take(self, answer: ItemPage | NightdeskError) -> None:
        if isinstance(answer, NightdeskError):
            self.window.failed()
            self._fault = f"{answer.message} {answer.hint}".strip()
        else:
            self._fault = ""
            self.window.take(answer)
            self._look_around()
        self._draw()

    # Drawing

    def _draw(self) -> None:
        run, glyphs = self._run, self.glyphs
        if run is None:
            self._show_fault()
            return

        def make(row: ItemRow) -> Any:
            return item_line(row, run, self._now_ns, glyphs, is_tagged=row.index in self.tags)

        def blank(place: int) -> Any:
            return blank_line(Pending(place))

        if self.window.total is not None:  # until then the list before stays
            self.grid.show_rows(WindowRows(self.window, make, blank, self._miss))
            if self._from_top:
                self._from_top = False
                self.grid.action_to_top()
        falls = self.window.sort.startswith("-")
        sign = glyphs.descending if falls else glyphs.ascending
        self.grid.show_sort(COLUMN_OF_SORT[self.window.sort.removeprefix("-")], sign)
        self._show_counts(run)
        self._show_remark()

    def _miss(self) -> None:
        """A line was drawn whose row is not here."""
        self.call_later(self._look_around)

    def _show_counts(self, run: Run) -> None:
        parts = counts_line(self.window.counts, self._view, self.glyphs)
        shown = "" if not (self._view.states or self.window.text) else f"shown: {self.window.total or 0:,}  "
        tagged = f"{len(self.tags)} tagged" if self.tags else ""
        done = bar_of(run, run.items_done, run.items_total, BAR, self.glyphs)
        bar = (done, "  ") if self.size.width >= 110 else ()
        counts = line(Cell(tagged, "accent"), "  " if tagged else "", *bar, *parts, Cell(shown, "muted"))
        self.query_one("#counts", Static).update(counts, layout=False)
        order = SORT_WORDS[self.window.sort.removeprefix("-")]
        self.query_one("#sheet").border_subtitle = line(Cell(order, "muted"))
        state = f" {self.glyphs.dot} {run.state}" + (f": {run.reason}" if run.reason else "")
        self.show_title(line("Items of ", Cell(self.run_id, "strong"), Cell(state, "muted")))

    @on(Grid.Moved)
    def _show_remark(self) -> None:
        if not self.query("#item-remark"):
            return  # being taken down
        if self._fault:
            self._show_fault()
            return
        row = self.row
        remark = Cell("")
        if row is not None and row.failure is not None:
            remark = Cell(failure_words(row.failure), "bad")
        elif row is not None and row.reason:
            remark = Cell(row.reason, "muted")
        elif not len(self.window) and self.window.total is not None:
            remark = Cell("No item matches.", "muted")
        self.query_one("#item-remark", Static).update(line(remark))
        self.refresh_bindings()

    def _show_fault(self) -> None:
        words = Cell(self._fault or "This run is no longer known.", "warn")
        self.query_one("#item-remark", Static).update(line(words))

    @property
    def row(self) -> ItemRow | None:
        """The item under the cursor; None where it is not here."""
        return self.window.row(self.grid.cursor)

    # What is listed

    def _list(self, *, text: str | None = None, sort: str | None = None) -> None:
        """List something else."""
        old = self.window
        self.window = ItemWindow(
            self._view.asked, old.text if text is None else text, old.sort if sort is None else sort
        )
        self.window.counts = old.counts
        self._from_top = True
        self._look_around()
        self._draw()

    def action_view(self, step: int) -> None:
        """The items of the next state that occurs."""
        counts = self.window.counts
        views = [v for v in VIEWS if not v.states or v is self._view or any(counts.get(s) for s in v.states)]
        self._view = views[(views.index(self._view) + step) % len(views)]
        self._list()

    def action_order(self) -> None:
        """Sort in the next way."""
        name = self.window.sort.removeprefix("-")
        after = SORTS[(SORTS.index(name) + 1) % len(SORTS)]
        self._list(sort=f"-{after}" if after in ("took", "attempts") else after)

    def action_reverse(self) -> None:
        """The other way round."""
        sort = self.window.sort
        self._list(sort=sort.removeprefix("-") if sort.startswith("-") else f"-{sort}")

    @on(Grid.TitleClicked)
    def _title_clicked(self, event: Grid.TitleClicked) -> None:
        wanted = SORT_OF_COLUMN.get(event.column)
        if wanted == self.window.sort.removeprefix("-"):
            self.action_reverse()
        elif wanted:
            self._list(sort=wanted)

    def action_words(self) -> None:
        """Type words to look for."""
        field = self.query_one("#words", Input)
        field.add_class("-open")
        self.set_focus(field)

    @on(Input.Changed, "#words")
    def _typed(self, event: Input.Changed) -> None:
        if event.value.strip() != self.window.text:
            self._list(text=event.value.strip())

    @on(Input.Submitted, "#words")
    def _typing_done(self) -> None:
        self.query_one("#words", Input).set_class(bool(self.window.text), "-open")
        self.set_focus(self.grid)

    def action_close(self) -> None:
        """Clear the words first, then the choice of a state, then go back."""
        field = self.query_one("#words", Input)
        if field.has_class("-open"):
            field.value = ""
            field.remove_class("-open")
            self.set_focus(self.grid)
        elif self._view.states:
            self._view = VIEWS[0]
            self._list()
        else:
            self.dismiss(None)

    # Tags and moves

    def action_tag(self) -> None:
        """Tag the item, or take the tag away."""
        row = self.row
        if row is not None:
            if self.tags.pop(row.index, None) is None:
                self.tags[row.index] = row.item
            self.grid.action_step(1)
            self._draw()

    def action_untag(self) -> None:
        """Take all tags away."""
        self.tags.clear()
        self._draw()

    @property
    def _chosen(self) -> tuple[str, ...]:
        """The tagged items in the order of the run, or the one under the cursor."""
        if self.tags:
            return tuple(self.tags[index] for index in sorted(self.tags))
        return (self.row.item,) if self.row is not None else ()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Only keys that make sense for the run."""
        run = self._run
        if action == "words":
            return not isinstance(self.focused, Input)
        if action == "move":
            goes_on = run is not None and run.state not in ENDED
            return goes_on or parameters == ("again",)
        if action == "failure" and self.query(Grid):
            return self.row is not None and (self.row.failure is not None or self.row.attempts > 1)
        if action == "outputs":
            return self._validates
        if action == "retry":
            return run is not None and run.mode == "full" and run.items_failed > 0
        return super().check_action(action, parameters)

    def action_move(self, where: Any) -> None:
        """Do the chosen items first or last, pass over them, or do them again."""
        run, chosen = self._run, self._chosen
        if run is None or not chosen:
            return
        if run.state in ENDED:
            self.post_message(StartRequested(StartRun(job=run.job, items=chosen, again=True)))
        else:
            move = ItemMove(items=chosen, where=where)
            self.post_message(Ask(lambda engine: engine.move_items(run.id, move), self._moved))
        self.tags.clear()
        self._draw()

    def _moved(self, answer: Run | NightdeskError) -> None:
        if isinstance(answer, NightdeskError):
            self._tell(answer)
        elif self.query(Grid):
            self._renew()

    def _tell(self, error: NightdeskError) -> None:
        self.notify(f"{error.message} {error.hint}".strip(), severity="error", markup=False)

    def action_retry(self) -> None:
        """Do all again that failed."""
        if self._run is not None:
            self.post_message(RetryRequested(self._run))
            self._asked_ns = 0

    def action_single(self) -> None:
        """Run the item alone."""
        if self._run is not None and self.row is not None:
            request = StartRun(job=self._run.job, mode="single", item=self.row.item)
            self.post_message(StartRequested(request))

    # What an item left

    @on(Grid.Opened)
    def _opened(self) -> None:
        from nightdesk.tui.screens.item import ItemDetailScreen

        if self.row is not None and self._run is not None:
            self.app.push_screen(ItemDetailScreen(self._run, self.row))

    def action_failure(self) -> None:
        """Show why the item failed."""
        if self.row is not None:
            self.post_message(OpenFailure(self.run_id, self.row.item))

    def action_outputs(self) -> None:
        """Show what the rules of the job say of its outputs."""
        if self._run is not None:
            self.post_message(OpenOutputs(self._run.job))

    def action_log(self) -> None:
        """Show the log of the item in the logs pane."""
        if self.row is not None:
            open_log(self, self.run_id, self.row.index)

    def action_exchanges(self) -> None:
        """Show the exchanges of the item in the traffic pane."""
        if self.row is not None:
            self.post_message(FilterTraffic(query_of(self.run_id, self.row.item)))


def open_log(screen: Sheet[Any], run: str, index: int) -> None:
    """Go to the log that holds the output of an item; what lies over the desk is closed."""
    app = screen.app

    def show(answer: LogFile | NightdeskError) -> None:
        if isinstance(answer, NightdeskError):
            screen.notify(f"{answer.message} {answer.hint}".strip(), severity="warning", markup=False)
            return
        while len(app.screen_stack) > 1:
            app.pop_screen()
        app.post_message(OpenLog(answer.id))

    screen.post_message(Ask(lambda engine: engine.item_log(run, index), show))


def query_of(run: str, item: str) -> str:
    """The query that finds the exchanges of an item in a run."""
    plain = not any(character in item for character in ' ,"*=')
    return f"run:{run} item:{item if plain else quoted(item)}"

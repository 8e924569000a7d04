"""Pane 4: processes as a tree, ours first: orphans, runs, watched ones, model servers; the rest under one line.

Selected from processes. Empty only before the first sample.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from nightdesk.client.mirror import Mirror
from nightdesk.model.base import ProcessKey
from nightdesk.model.process import ProcessRow, TreeAction
from nightdesk.tui.asks import ProcessesRequested
from nightdesk.tui.panes.pane import LIVE, LOADING, Heading, Look, Pane
from nightdesk.tui.panes.processes_columns import ORDERS, RISING, columns_for
from nightdesk.tui.panes.processes_view import (
    FOLD,
    NO_FILTER,
    Filter,
    ProcessesView,
    Settings,
    fold_target,
    select,
)
from nightdesk.tui.text import Cell, Part
from nightdesk.tui.widgets.grid import Grid

if TYPE_CHECKING:
    from nightdesk.core.inspection.completion import Suggestion


class ProcessesPane(Pane[ProcessesView]):
    """The process tree; pause, stop or kill exactly one branch of it, or several that are tagged."""

    NUMBER = 4
    TITLE = "Processes"
    PARTS = ("processes",)
    SOURCE = "processes"
    TICKS = False
    SUGGESTS = True
    BINDING_GROUP_TITLE = "Processes"
    DEFAULT_CSS = """
    ProcessesPane > FilterLine { dock: none; }
    """
    HELP = """
## Processes

First what belongs to this desk: **orphans** (left behind by a run that is gone, with the reason), processes of
**runs**, **watched** ones and model **services**. Everything else is folded into one line; `a` unfolds it.
The column *for* tells whose each one is: a job, another desk, a part of Nightdesk (engine, capture, sensors, keeper of
a run), else its user. `-` folds what is below a process into its line, with the sum of what that uses.

Pause, stop and kill hit the process under the cursor *and everything below it*, and nothing else; with `space`
several are tagged and hit together. Before stop and kill you see the whole tree with the memory that comes back. A
process is remembered by number and start time: if its number has been used again meanwhile, nothing is hit. The first
process of a run stands for the run: pausing it pauses the run.

`enter` shows one process in full: what it has open, what it waits for, how it was during the last hour. `S` shows where
the threads of a Python process stand (with py-spy). `X` ends all orphans, after showing them.

`/` filters: `name:python owner:orphan port:11434 cpu>50 mem>1gb age>1h`. Terms are joined by *and*, `-` in front
negates, `tab` completes. Plain words are looked for in number, command, owner, job and user.
"""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("p", "pause", "pause", id="processes.pause", tooltip="Pause or resume the tree"),
        Binding("x", "signal('stop')", "stop", id="processes.stop", tooltip="Ask the tree to end, then kill"),
        Binding("K", "signal('kill')", "kill", id="processes.kill", tooltip="Kill the tree at once"),
        Binding("space", "tag", "tag", id="processes.tag", tooltip="Tag for actions on several"),
        Binding("minus", "fold", "fold", show=False, id="processes.fold", tooltip="Fold or unfold a branch"),
        Binding("t", "tree", "tree", id="processes.tree", tooltip="Tree or flat list"),
        Binding("o", "order", "order", id="processes.order", tooltip="Sort by the next column"),
        Binding("O", "reverse", "Reverse order", show=False, id="processes.reverse", tooltip="Reverse the order"),
        Binding("a", "everything", "all", id="processes.all", tooltip="Show or fold what is not ours"),
        Binding("c", "columns", "columns", show=False, id="processes.columns", tooltip="Choose the columns"),
        Binding("S", "stacks", "stacks", show=False, id="processes.stacks", tooltip="Show the stacks of its threads"),
        Binding("X", "clean", "Clean up", show=False, id="processes.clean", tooltip="End all orphans"),
        Binding("E", "stop_all", "Stop all", show=False, id="processes.stop_all", tooltip="Stop all that we started"),
    ]  # fmt: skip

    def __init__(self) -> None:
        super().__init__()
        self.settings = Settings()
        self.tags: set[ProcessKey] = set()
        self.folded: set[ProcessKey] = set()
        self._sought = NO_FILTER
        self._typed = ""
        self._fault = ""

    def compose_body(self) -> ComposeResult:
        """One grid."""
        yield Grid(columns_for(None, ()), sign=self.glyphs.cursor, id="processes-grid")

    def on_mount(self) -> None:
        """The columns that the user chose some other day."""
        from nightdesk.tui.choices import read_choices

        self.settings = replace(self.settings, columns=read_choices().processes_columns)
        super().on_mount()

    def select(self, desk: Mirror, now_ns: int) -> ProcessesView:
        """The view for the present settings, filter and tags."""
        self.tags &= desk.processes.keys()
        self.folded &= desk.processes.keys()
        tags, folded = frozenset(self.tags), frozenset(self.folded)
        return select(desk, now_ns, self.settings, self.glyphs, self._sought, tags, folded)

    def look(self, view: ProcessesView) -> Look:
        """Loading before the first sample; empty when nothing matches."""
        if view.rows:
            return LIVE
        if view.total:
            return Look("empty", f"No process matches “{view.sought.text}”.", "Escape clears the filter.")
        return LOADING

    def heading(self, view: ProcessesView) -> Heading:
        """How it is arranged, and how many there are."""
        gap = f" {self.glyphs.dot} "
        shape = "tree" if view.settings.tree and not view.sought.text else "flat"
        way = f" {self.glyphs.ascending}" if view.settings.reverse else ""
        note = gap.join(
            (shape, "all" if view.settings.everything else "ours", f"by {view.settings.order}{way}")
        )
        right: list[Cell] = []
        if view.tagged:
            # Alone: where the border is too short for all of it, nothing of it would be seen.
            return Heading(
                (Cell(note, "muted"),), (Cell(f"{self.glyphs.tagged} {view.tagged} tagged", "accent"),)
            )
        if view.orphans:
            noun = "orphan" if view.orphans == 1 else "orphans"
            right.append(Cell(f"{self.glyphs.warn} {view.orphans} {noun}{gap}", "warn"))
        count = len(view.rows) if view.sought.text else view.ours
        right.append(Cell(f"{count} of {view.total}", "muted"))
        return Heading((Cell(note, "muted"),), tuple(right))

    def remark(self) -> Part:
        """Why the process under the cursor is an orphan."""
        row = self.current
        if row is None or not row.orphan_reason:
            return ""
        return Cell(f"{self.glyphs.warn} {row.key.pid}: {row.orphan_reason}", "warn")

    def draw(self, view: ProcessesView, old: ProcessesView | None) -> None:
        """Show the rows."""
        grid = self.query_one(Grid)
        grid.needle = view.sought.words
        grid.show_columns(view.columns)
        chosen = view.settings
        rising = (chosen.order in RISING) is not chosen.reverse
        grid.show_sort(chosen.order, " " + (self.glyphs.ascending if rising else self.glyphs.descending))
        grid.show_rows(view.rows)

    # The filter

    def redraw(self) -> None:
        """Draw again; with the filter as it is typed now. One that can't be read changes nothing but the fault."""
        if self.filter_text != self._typed:
            self._typed = self.filter_text
            self._read_filter()
        super().redraw()

    def _read_filter(self) -> None:
        from nightdesk.core.inspection.query import QueryError
        from nightdesk.core.processes.query import parse

        text = self.filter_text
        try:
            query = parse(text)
        except QueryError as fault:
            self._fault = f"{fault.message} {fault.hint}".strip()
            return
        self._fault = ""
        self._sought = Filter(text, query.matches, query.words) if text.strip() else NO_FILTER

    def suggestions(self, text: str, cursor: int) -> tuple[Suggestion, ...]:
        """Keys and values of the filter."""
        from nightdesk.core.processes.query import complete

        return complete(text, cursor, self.desk.processes.values() if self.desk is not None else ())

    def filter_fault(self) -> str:
        """Why the filter can't be read."""
        return self._fault

    def action_clear_filter(self) -> None:
        """Take the tags away, then the filter."""
        if self.tags:
            self.tags.clear()
            self.redraw()
        else:
            super().action_clear_filter()

    # Keys

    @property
    def current(self) -> ProcessRow | None:
        """The process under the cursor."""
        key = self.query_one(Grid).cursor_key
        return self.desk.processes.get(key) if self.desk is not None and isinstance(key, ProcessKey) else None

    @property
    def chosen(self) -> tuple[ProcessRow, ...]:
        """What the keys are about: the tagged ones, else the one under the cursor."""
        if self.desk is not None and self.tags:
            return tuple(self.desk.processes[key] for key in sorted(self.tags) if key in self.desk.processes)
        return (self.current,) if self.current is not None else ()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Nothing to signal on the line that counts the others."""
        if action in ("pause", "signal") and self.is_mounted:
            return bool(self.chosen)
        if action in ("tag", "stacks") and self.is_mounted:
            return self.current is not None
        return super().check_action(action, parameters)

    @on(Grid.Moved)
    def _moved(self) -> None:
        self.show_remark()

    @on(Grid.Opened)
    def _opened(self, event: Grid.Opened) -> None:
        if event.key == FOLD:
            self.action_everything()
        elif isinstance(event.key, ProcessKey):
            self.post_message(ProcessesRequested("open", (event.key,)))

    @on(Grid.TitleClicked)
    def _title_clicked(self, event: Grid.TitleClicked) -> None:
        if event.column in ORDERS:
            same = event.column == self.settings.order
            self._set(replace(self.settings, order=event.column, reverse=same and not self.settings.reverse))

    def action_pause(self) -> None:
        """Pause trees, or resume them where all are paused."""
        rows = self.chosen
        if rows:
            self.action_signal("resume" if all(row.state == "T" for row in rows) else "pause")

    def action_signal(self, action: TreeAction) -> None:
        """Ask for a signal to the trees that are tagged, else to the one under the cursor."""
        if rows := self.chosen:
            keys = tuple(row.key for row in rows)
            self.post_message(ProcessesRequested("signal", keys, action))

    def action_tag(self) -> None:
        """Tag the process, and go on to the next line."""
        if (row := self.current) is not None:
            self.tags ^= {row.key}
            self.query_one(Grid).cursor += 1
            self.redraw()

    def action_fold(self) -> None:
        """Fold what is below the process, or unfold it; from one without children, the branch that it is in."""
        grid, row = self.query_one(Grid), self.current
        if row is None or self.desk is None or not self.settings.tree or self._sought.text:
            return
        if (key := fold_target(row, grid.rows, self.desk)) is not None:
            self.folded ^= {key}
            grid.select_key(key)
            self.redraw()

    def action_stacks(self) -> None:
        """Where its threads stand."""
        if (row := self.current) is not None:
            self.post_message(ProcessesRequested("stacks", (row.key,)))

    def action_clean(self) -> None:
        """End all orphans, after showing them."""
        self.post_message(ProcessesRequested("clean"))

    def action_stop_all(self) -> None:
        """Stop everything that the desk has started, after showing it."""
        self.post_message(ProcessesRequested("stop_all"))

    def action_tree(self) -> None:
        """Tree or flat list."""
        self._set(replace(self.settings, tree=not self.settings.tree))

    def action_order(self) -> None:
        """The next order."""
        orders = list(ORDERS)
        after = orders[(orders.index(self.settings.order) + 1) % len(orders)]
        self._set(replace(self.settings, order=after, reverse=False))

    def action_reverse(self) -> None:
        """The other way round."""
        self._set(replace(self.settings, reverse=not self.settings.reverse))

    def action_everything(self) -> None:
        """Show or fold what is not ours."""
        self._set(replace(self.settings, everything=not self.settings.everything))

    def action_columns(self) -> None:
        """Choose the columns."""
        from nightdesk.tui.screens.columns import ColumnsScreen

        shown = self.settings.columns or tuple(column.key for column in self.query_one(Grid).columns)
        self.app.push_screen(ColumnsScreen(shown, self.show_columns, "processes"))

    def show_columns(self, chosen: tuple[str, ...] | None) -> None:
        """Show these columns; None: as many as fit."""
        self._set(replace(self.settings, columns=chosen))

    def _set(self, settings: Settings) -> None:
        self.settings = settings
        self.redraw()

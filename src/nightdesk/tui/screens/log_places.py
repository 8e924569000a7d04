"""Where to go in a log: a line, a time, a share of the file, or one of its errors."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Input, Static

from nightdesk.model.errors import NightdeskError
from nightdesk.model.logs import LogErrorGroup, LogErrors
from nightdesk.tui.asks import Ask
from nightdesk.tui.text import Cell, line
from nightdesk.tui.widgets.field import Field
from nightdesk.tui.widgets.grid import Column, Grid, Row
from nightdesk.tui.widgets.sheet import Sheet

COLUMNS = (
    Column("times", "times", width=6, align="right"),
    Column("first", "first", width=8),
    Column("last", "last", width=8),
    Column("cause", "cause", flex=3),
    Column("where", "where", flex=1),
)
AGAIN_SECONDS = 0.05


class GoToScreen(Sheet[str]):
    """Answers with what was typed."""

    DEFAULT_CSS = "GoToScreen #sheet { width: 60; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "go", "go", id="log_place.go", tooltip="Go there"),
        Binding("escape", "close", "back", key_display="esc", id="log_place.close", tooltip="Stay here"),
    ]

    def compose_sheet(self) -> ComposeResult:
        """The line to type in."""
        yield Field(placeholder="1234 · 03:12 · 2h · 40%", compact=True, id="place", max_length=40)
        yield Static("A line, a time of the newest day, how long ago, or a share of the file.", markup=False)

    def on_mount(self) -> None:
        """Type at once."""
        self.show_title(line("Go to"))
        self.query_one(Input).focus()

    @on(Input.Submitted)
    def action_go(self) -> None:
        """Answer."""
        self.dismiss(self.query_one(Input).value.strip())


class LogErrorsScreen(Sheet[int]):
    """Answers with the place of the chosen error in the file."""

    TALL = True
    DEFAULT_CSS = (
        "LogErrorsScreen { & #sheet { max-width: 150; } & Grid { height: 1fr; } & #about { height: auto; } }"
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "first", "go to the first", id="log_errors.first", tooltip="The first of this kind"),
        Binding("N", "last", "to the last", id="log_errors.last", tooltip="The newest of this kind"),
    ]

    def __init__(self, log: str, name: str) -> None:
        super().__init__()
        self.log_id = log
        self.log_name = name
        self.groups: dict[str, LogErrorGroup] = {}

    def compose_sheet(self) -> ComposeResult:
        """What there is, and the list."""
        yield Static("searching the file", id="about", markup=False)
        yield Grid(COLUMNS, marks=True, sign=self.glyphs.cursor, id="log-errors")

    def on_mount(self) -> None:
        """Ask."""
        self.show_title(line("Errors of ", Cell(self.log_name, "strong")))
        self.query_one(Grid).focus()
        # Not at once: an answer that comes before the screen counts as mounted would be dropped.
        self.call_after_refresh(self._ask)

    def _ask(self) -> None:
        if self.is_attached:
            self.app.post_message(Ask(lambda engine: engine.log_errors(self.log_id), self._take))

    def _take(self, answer: Any) -> None:
        if not self.is_mounted:
            return
        about = self.query_one("#about", Static)
        if isinstance(answer, NightdeskError):
            about.update(line(Cell(f"{self.glyphs.warn} {answer.message}", "warn")))
            return
        self.groups = {str(group.first): group for group in answer.groups}
        self.query_one(Grid).show_rows([self._row(key, group) for key, group in self.groups.items()])
        about.update(line(Cell(_about(answer), "muted")))
        if not answer.complete:
            self.set_timer(AGAIN_SECONDS, self._ask)

    def _row(self, key: str, group: LogErrorGroup) -> Row:
        return Row(
            key,
            (
                Cell(f"{group.times:,}", "bad"),
                Cell(_clock(group.first_ns), "muted"),
                Cell(_clock(group.last_ns), "muted"),
                Cell(group.cause),
                Cell(group.where, "muted"),
            ),
        )

    @on(Grid.Opened)
    def action_first(self) -> None:
        """To the first error of this kind."""
        if (group := self._chosen()) is not None:
            self.dismiss(group.first)

    def action_last(self) -> None:
        """To the newest error of this kind."""
        if (group := self._chosen()) is not None:
            self.dismiss(group.last)

    def _chosen(self) -> LogErrorGroup | None:
        return self.groups.get(str(self.query_one(Grid).cursor_key))


def _about(answer: LogErrors) -> str:
    share = answer.scanned_bytes * 100 // max(answer.size_bytes, 1)
    far = "" if answer.complete else f", {share} % searched"
    count = sum(group.times for group in answer.groups)
    if not count:
        return f"No error{far}." if answer.complete else f"No error so far{far}."
    kinds = len(answer.groups)
    told = f"{count:,} error{'s' * (count != 1)} of {kinds} kind{'s' * (kinds != 1)}"
    return f"{told}; the first of the night stands at the top{far}."


def _clock(at_ns: int | None) -> str:
    return f"{datetime.fromtimestamp(at_ns / 1e9):%H:%M:%S}" if at_ns is not None else ""

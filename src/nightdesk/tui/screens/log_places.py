"""Where to go in a log: a line, a time, a share of the file, or one of its errors."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar, NamedTuple

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Input, Static

from nightdesk.model.errors import NightdeskError
from nightdesk.model.logs import LogErrorGroup, LogErrors, LogFile, LogView
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


class Found(NamedTuple):
    """An error that was chosen: where it stands in the view of a query; without one, in the file."""

    query: str | None
    at: int


class Reach(NamedTuple):
    """Whose errors are listed: those of a log by its id, or of what a query asks for."""

    name: str
    log: str
    query: str | None = None


def reaches(file: LogFile, query: str | None) -> tuple[Reach, ...]:
    """What is on the screen, then the run that wrote it, then all logs of the night."""
    shown = Reach(file.name, file.id, query)
    of_run = (Reach(f"run {file.run}", "", f"run:{file.run} level:error"),) if file.run is not None else ()
    return (shown, *of_run, Reach("all logs", "", "level:error"))


class LogErrorsScreen(Sheet[Found]):
    """Answers with the chosen error."""

    TALL = True
    DEFAULT_CSS = (
        "LogErrorsScreen { & #sheet { max-width: 150; } & Grid { height: 1fr; } & #about { height: auto; } }"
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "first", "go to the first", id="log_errors.first", tooltip="The first of this kind"),
        Binding("N", "last", "to the last", id="log_errors.last", tooltip="The newest of this kind"),
        Binding("a", "reach", "wider", id="log_errors.reach", tooltip="Of this log, of its run, of all logs"),
    ]

    def __init__(self, reaches: tuple[Reach, ...]) -> None:
        super().__init__()
        self._reaches = reaches
        self._place = 0
        self._serial = 0
        """Grows with each reach; answers to older ones are left alone."""
        self.groups: dict[str, LogErrorGroup] = {}

    def compose_sheet(self) -> ComposeResult:
        """What there is, and the list."""
        yield Static("searching the file", id="about", markup=False)
        yield Grid(COLUMNS, marks=True, sign=self.glyphs.cursor, id="log-errors")

    def on_mount(self) -> None:
        """Ask."""
        self.query_one(Grid).focus()
        # Not at once: an answer that comes before the screen counts as mounted would be dropped.
        self.call_after_refresh(self._begin)

    def _begin(self) -> None:
        self._serial += 1
        self.show_title(line("Errors of ", Cell(self._reaches[self._place].name, "strong")))
        self._ask(self._serial)

    def _ask(self, serial: int) -> None:
        if not self.is_attached or serial != self._serial:
            return
        _, log, query = self._reaches[self._place]
        if log:
            self._ask_errors(serial, log, whole=True)
            return
        view = Ask(
            lambda engine: engine.log_view(query or ""), lambda answer: self._take_view(serial, answer)
        )
        self.app.post_message(view)

    def _take_view(self, serial: int, answer: LogView | NightdeskError) -> None:
        if not self.is_mounted or serial != self._serial:
            return
        if isinstance(answer, NightdeskError):
            self._take(serial, answer, whole=True)
        else:
            self._ask_errors(serial, answer.id, whole=answer.complete or answer.full)

    def _ask_errors(self, serial: int, log: str, *, whole: bool) -> None:
        asked = Ask(
            lambda engine: engine.log_errors(log), lambda answer: self._take(serial, answer, whole=whole)
        )
        self.app.post_message(asked)

    def _take(self, serial: int, answer: LogErrors | NightdeskError, *, whole: bool) -> None:
        if not self.is_mounted or serial != self._serial:
            return
        about = self.query_one("#about", Static)
        if isinstance(answer, NightdeskError):
            about.update(line(Cell(f"{self.glyphs.warn} {answer.message}", "warn")))
            return
        self.groups = {str(group.first): group for group in answer.groups}
        self.query_one(Grid).show_rows([self._row(key, group) for key, group in self.groups.items()])
        about.update(line(Cell(_about(answer, whole=whole), "muted")))
        if not answer.complete or not whole:
            self.set_timer(AGAIN_SECONDS, lambda: self._ask(serial))

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
            self.dismiss(Found(self._reaches[self._place].query, group.first))

    def action_last(self) -> None:
        """To the newest error of this kind."""
        if (group := self._chosen()) is not None:
            self.dismiss(Found(self._reaches[self._place].query, group.last))

    def action_reach(self) -> None:
        """The errors of the run, of all logs, of this log again."""
        self._place = (self._place + 1) % len(self._reaches)
        self.query_one("#about", Static).update("searching the logs")
        self._begin()

    def _chosen(self) -> LogErrorGroup | None:
        return self.groups.get(str(self.query_one(Grid).cursor_key))


def _about(answer: LogErrors, *, whole: bool) -> str:
    share = answer.scanned_bytes * 100 // max(answer.size_bytes, 1)
    far = ", still searching" if not whole else "" if answer.complete else f", {share} % searched"
    count = sum(group.times for group in answer.groups)
    if not count:
        return f"No error so far{far}." if far else "No error."
    kinds = len(answer.groups)
    told = f"{count:,} error{'s' * (count != 1)} of {kinds} kind{'s' * (kinds != 1)}"
    return f"{told}; the first of the night stands at the top{far}."


def _clock(at_ns: int | None) -> str:
    return f"{datetime.fromtimestamp(at_ns / 1e9):%H:%M:%S}" if at_ns is not None else ""

"""Starts a job later: a line to type the time in, and what it means beneath."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Input, Static

from nightdesk.client.mirror import Mirror
from nightdesk.core.jobs.start_times import HINT, read_start_ns, start_words
from nightdesk.model.errors import UsageError
from nightdesk.model.units import format_duration
from nightdesk.tui.text import Cell, line
from nightdesk.tui.widgets.field import Field
from nightdesk.tui.widgets.sheet import Sheet


class StartAtScreen(Sheet[int]):
    """Answers with the moment in nanoseconds since the epoch, None when the user goes back."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "enter",
            "start",
            "start then",
            priority=True,
            id="start_at.start",
            tooltip="Start the job at that time",
        ),
        Binding("escape", "close", "back", key_display="esc", id="start_at.close", tooltip="Start nothing"),
    ]

    def __init__(self, job: str) -> None:
        super().__init__()
        self.job = job

    def compose_sheet(self) -> ComposeResult:
        """The line to type in, and what it means."""
        yield Field(placeholder="23:30, 2h, 2026-11-22T01:00", compact=True, id="at")
        yield Static(id="means", markup=False)

    def on_mount(self) -> None:
        """Type at once."""
        self.show_title(line("Start later: ", Cell(self.job, "strong")))
        self.query_one(Input).focus()
        self._show()

    def feed(self, desk: Mirror | None, now_ns: int) -> None:
        """Time goes on."""
        if self.query(Input):
            self._show()

    @property
    def _now_ns(self) -> int:
        clock: Callable[[], int] = getattr(self.app, "clock", time.time_ns)
        return clock()

    @on(Input.Changed)
    def _show(self) -> None:
        typed, now_ns = self.query_one(Input).value, self._now_ns
        try:
            at_ns = read_start_ns(typed, now_ns)
        except UsageError as error:
            said = Cell(error.message if typed else HINT, "muted")
        else:
            said = Cell(f"Starts {start_words(at_ns, now_ns)}, in {format_duration(at_ns - now_ns)}.", "ok")
        self.query_one("#means", Static).update(line(said))

    @on(Input.Submitted)
    def _submitted(self) -> None:
        self.action_start()

    def action_start(self) -> None:
        """Answer with the time; what is none keeps the line open."""
        try:
            self.dismiss(read_start_ns(self.query_one(Input).value, self._now_ns))
        except UsageError as error:
            self.query_one("#means", Static).update(line(Cell(f"{error.message} {error.hint}", "bad")))

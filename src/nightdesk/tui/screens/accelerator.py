"""One line of the accelerators pane in full: every value with its origin, its mean and peak, and who uses it."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.widgets import Static

from nightdesk.client.mirror import Mirror
from nightdesk.tui.asks import FeedRequested
from nightdesk.tui.panes.accelerators_facts import facts_of, lists_of
from nightdesk.tui.text import Cell, line
from nightdesk.tui.widgets.facts import Facts, Row, fact_rows, lines_of
from nightdesk.tui.widgets.sheet import Sheet

NAMES = 11
LIST_HANG = 4


class AcceleratorScreen(Sheet[None]):
    """Follows the newest sample as long as it is shown."""

    TALL = True
    DEFAULT_CSS = """
    AcceleratorScreen #facts-box { height: 1fr; }
    """
    HELP = """
## A line of the accelerators pane

Every value stands with its mean and its peak over the last ten minutes, and with what it is: **measured**, **derived**
(computed from other counters, as watts from energy and time) or an **estimate**. What is not known says why.

**active** is the share of time in which the device did anything; **capacity** is the same weighted by its clock.
Below stand the processes that hold memory there, the greatest first.
"""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "scroll(1)", "Down", show=False, id="accelerator.down"),
        Binding("k", "scroll(-1)", "Up", show=False, id="accelerator.up"),
    ]

    def __init__(self, key: str) -> None:
        super().__init__()
        self.key = key

    def compose_sheet(self) -> ComposeResult:
        """The facts, which scroll."""
        with VerticalScroll(id="facts-box"):
            yield Static(id="facts", markup=False)

    def on_mount(self) -> None:
        """Ask for the desk as it is now."""
        self.query_one("#facts-box").focus()
        self.app.post_message(FeedRequested())

    def feed(self, desk: Mirror | None, now_ns: int) -> None:
        """Draw the newest sample."""
        if desk is None or not self.query("#facts"):
            return  # not composed yet, or being taken down
        title, facts = facts_of(desk, self.key, now_ns, self.glyphs)
        self.show_title(line(Cell(title, "strong")))
        rows = fact_rows(facts, NAMES)
        for heading, lines in lists_of(desk, self.key):
            rows += [Row(()), Row(((heading, "muted"),))]
            rows += (Row(pieces, LIST_HANG) for each in lines for pieces in lines_of(each))
        self.query_one("#facts", Static).update(Facts(rows))

    def action_scroll(self, by: int) -> None:
        """Scroll by a line."""
        self.query_one("#facts-box", VerticalScroll).scroll_relative(y=by, animate=False)

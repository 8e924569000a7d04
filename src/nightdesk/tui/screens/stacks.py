"""Where the threads of a Python process stand, read again with a key: a program that hangs shows the same each time."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.widgets import Static

from nightdesk.model.base import ProcessKey
from nightdesk.model.errors import NightdeskError
from nightdesk.model.inspected import Stacks
from nightdesk.model.units import NS, format_duration
from nightdesk.tui.asks import Ask
from nightdesk.tui.text import Cell, Part, content, line
from nightdesk.tui.widgets.sheet import Sheet


def shown_stacks(text: str) -> list[Part]:
    """The text of py-spy with threads and places set off."""
    parts: list[Part] = []
    for row in text.splitlines():
        if row.startswith("Thread"):
            busy = "(active" in row
            parts.append(Cell(row, "ok" if busy else "accent"))
        elif row.startswith("    "):
            name, bracket, place = row.partition(" (")
            parts.append(Cell(name, "", ((bracket + place, "muted"),)))
        else:
            parts.append(Cell(row, "faint"))
        parts.append("\n")
    return parts[:-1]


class StacksScreen(Sheet[None]):
    """One block a thread, the innermost call first."""

    TALL = True
    DEFAULT_CSS = """
    StacksScreen #stacks-box { height: 1fr; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("r", "again", "again", id="stacks.again", tooltip="Read them again"),
        Binding("j", "scroll(1)", "Down", show=False, id="stacks.down"),
        Binding("k", "scroll(-1)", "Up", show=False, id="stacks.up"),
    ]

    def __init__(self, key: ProcessKey) -> None:
        super().__init__()
        self.key = key
        self.before: str | None = None
        """The text of the reading before."""

    def compose_sheet(self) -> ComposeResult:
        """What was said, and the stacks."""
        yield Static(id="stacks-note", markup=False)
        with VerticalScroll(id="stacks-box"):
            yield Static(id="stacks-text", markup=False)

    def on_mount(self) -> None:
        """Read them."""
        self.show_title(line("Stacks of process ", Cell(str(self.key.pid), "strong")))
        self.query_one(VerticalScroll).focus()
        self.action_again()

    def action_again(self) -> None:
        """Read them (again)."""
        self.query_one("#stacks-note", Static).update(
            line(Cell(f"{self.glyphs.wait} py-spy reads …", "muted"))
        )
        self.post_message(Ask(lambda engine: engine.stacks(self.key), self._show))

    def _show(self, answer: Stacks | NightdeskError) -> None:
        if not self.is_mounted:
            return
        note, text = self.query_one("#stacks-note", Static), self.query_one("#stacks-text", Static)
        if isinstance(answer, NightdeskError):
            note.update(line(Cell(f"{self.glyphs.fail} {answer.message}", "bad")))
            text.update(content(Cell(answer.hint, "muted")))
            return
        clock = datetime.fromtimestamp(answer.at_ns / NS).strftime("%H:%M:%S")
        said: list[Part] = [Cell(f"at {clock}, read in {format_duration(answer.took_ns)}", "muted")]
        if self.before is not None:
            same = self.before == answer.text
            words = "  exactly as before: it may hang there" if same else "  not as before: it goes on"
            said.append(Cell(words, "warn" if same else "ok"))
        self.before = answer.text
        note.update(line(*said))
        text.update(content(*shown_stacks(answer.text)))

    def action_scroll(self, by: int) -> None:
        """Scroll by a line."""
        self.query_one(VerticalScroll).scroll_relative(y=by, animate=False)

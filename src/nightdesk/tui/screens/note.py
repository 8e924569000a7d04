"""What the user thinks of an exchange: a mark and a note."""

from __future__ import annotations

from typing import ClassVar, get_args

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Input, Static

from nightdesk.model.inspection import Feedback, Mark
from nightdesk.tui.text import Cell, line
from nightdesk.tui.widgets.field import Field
from nightdesk.tui.widgets.sheet import Sheet

MARKS: tuple[Mark | None, ...] = (None, *get_args(Mark))
NOTE_MOST = 2000


class NoteScreen(Sheet[Feedback]):
    """Answers with the feedback, None when the user goes back."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab,up", "turn", "mark", key_display="tab", id="note.mark", tooltip="Good, bad, no mark"),
        # Before the field's own enter, which the line of keys would not show.
        Binding("enter", "save", "save", id="note.save", tooltip="Save mark and note", priority=True),
        Binding("escape", "close", "back", key_display="esc", id="note.close", tooltip="Leave it as it was"),
    ]
    DEFAULT_CSS = """
    NoteScreen #mark { height: 1; margin-bottom: 1; }
    """

    def __init__(self, exchange: int, feedback: Feedback) -> None:
        super().__init__()
        self.exchange = exchange
        self.note = feedback.note
        self.mark: Mark | None = feedback.mark

    def compose_sheet(self) -> ComposeResult:
        """The mark, the line to type in."""
        yield Static(id="mark", markup=False)
        yield Field(
            value=self.note,
            placeholder="note",
            compact=True,
            id="note",
            max_length=NOTE_MOST,
            select_on_focus=False,
        )

    def on_mount(self) -> None:
        """Type at once."""
        self.show_title(line("Exchange ", Cell(str(self.exchange), "strong")))
        self._show_mark()
        self.query_one(Input).focus()

    def _show_mark(self) -> None:
        words = {"good": f"{self.glyphs.done} good", "bad": f"{self.glyphs.fail} bad", None: "no mark"}
        parts = []
        for mark in MARKS:
            chosen = mark == self.mark
            parts.append(
                Cell(f"[{words[mark]}]" if chosen else f" {words[mark]} ", "accent" if chosen else "muted")
            )
        self.query_one("#mark", Static).update(line("Mark  ", *parts))

    def action_turn(self) -> None:
        """The next mark."""
        self.mark = MARKS[(MARKS.index(self.mark) + 1) % len(MARKS)]
        self._show_mark()

    def action_save(self) -> None:
        """Answer with mark and note."""
        self.dismiss(Feedback(mark=self.mark, note=self.query_one(Input).value.strip()))

"""Chooses a part of an exchange, and what to do with it: copy, open in the editor or the pager, save."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal, NamedTuple

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Static

from nightdesk.tui.inspector.parts import Part
from nightdesk.tui.text import Cell, line
from nightdesk.tui.widgets.grid import Column, Grid, Row
from nightdesk.tui.widgets.sheet import Sheet

Deed = Literal["copy", "editor", "pager", "save"]
LETTERS = {
    "v": "page",
    "p": "prompt",
    "s": "system",
    "r": "reply",
    "t": "thinking",
    "i": "request",
    "o": "response",
    "c": "curl",
    "y": "python",
    "l": "line",
}
COLUMNS = (Column("key", "", 1), Column("part", "", 22), Column("note", "", flex=1))


class Choice(NamedTuple):
    """What to do with which part."""

    deed: Deed
    part: Part


class PartsScreen(Sheet[Choice]):
    """A letter copies its part at once; other keys act on the marked one."""

    BINDINGS: ClassVar[list[BindingType]] = [
        *(
            Binding(letter, f"copy('{letter}')", f"Copy: {name}", show=False, id=f"parts.{name}")
            for letter, name in LETTERS.items()
        ),
        Binding(
            "e", "take('editor')", "editor", id="parts.editor", tooltip="Open the marked part in the editor"
        ),
        Binding(
            "vertical_line",
            "take('pager')",
            "pager",
            key_display="|",
            id="parts.pager",
            tooltip="Open the marked part in the pager",
        ),
        Binding("w", "take('save')", "save", id="parts.save", tooltip="Save the marked part to a file"),
    ]

    def __init__(self, parts: Sequence[Part], usual: str) -> None:
        super().__init__()
        self.parts = parts
        self.usual = usual

    def compose_sheet(self) -> ComposeResult:
        """The list, and how it is used."""
        yield Grid(COLUMNS, header=False, marks=True, sign=self.glyphs.cursor)
        yield Static(id="how", markup=False)

    def on_mount(self) -> None:
        """Mark what the page is about."""
        self.show_title(line("Copy"))
        grid = self.query_one(Grid)
        grid.styles.height = min(len(self.parts), max(3, self.app.size.height - 8))
        grid.show_rows([self._row(part) for part in self.parts])
        keys = [part.key for part in self.parts]
        grid.cursor = keys.index(self.usual) if self.usual in keys else 0
        grid.focus()
        how = self.query_one("#how", Static)
        how.update(line(Cell("enter or a letter copies; e | w act on the marked one", "muted")))

    def _row(self, part: Part) -> Row:
        return Row(part.key, (Cell(part.key, "accent"), Cell(part.name), Cell(" ".join(part.notes), "warn")))

    def _done(self, deed: Deed, key: str) -> None:
        part = next((each for each in self.parts if each.key == key), None)
        if part is not None:
            self.dismiss(Choice(deed, part))

    def action_copy(self, key: str) -> None:
        """Copy a part by its letter."""
        self._done("copy", key)

    def action_take(self, deed: Deed) -> None:
        """Do something with the marked part."""
        self._done(deed, str(self.query_one(Grid).cursor_key))

    @on(Grid.Opened)
    def _opened(self, event: Grid.Opened) -> None:
        self._done("copy", str(event.key))

"""Chooses one item of a job: a filtered list, or an item typed in full."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Input, Static

from nightdesk.tui.text import Cell, line
from nightdesk.tui.widgets.field import Field
from nightdesk.tui.widgets.grid import Column, Grid, Row
from nightdesk.tui.widgets.sheet import Sheet

COLUMNS = (Column("item", "", flex=1),)


class ItemScreen(Sheet[str]):
    """Answers with the item, None when the user goes back."""

    TALL = True
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "step(-1)", "Up", show=False, id="items.up"),
        Binding("down", "step(1)", "Down", show=False, id="items.down"),
        Binding("pageup", "step(-10)", "Up", show=False, id="items.page_up"),
        Binding("pagedown", "step(10)", "Down", show=False, id="items.page_down"),
    ]

    def __init__(self, job: str, items: tuple[str, ...]) -> None:
        super().__init__()
        self.job = job
        self.items = items

    def compose_sheet(self) -> ComposeResult:
        """The line to type in, the list."""
        yield Field(placeholder="type to filter, or a whole item", compact=True, id="typed")
        yield Static(id="count", markup=False)
        yield Grid(COLUMNS, header=False, marks=True, sign=self.glyphs.cursor, id="items")

    def on_mount(self) -> None:
        """All items."""
        self.show_title(line("One item of ", Cell(self.job, "strong")))
        self._show("")
        self.query_one(Input).focus()

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        self._show(event.value)

    def _show(self, needle: str) -> None:
        found = [item for item in self.items if needle.casefold() in item.casefold()]
        grid = self.query_one(Grid)
        grid.needle = needle
        grid.show_rows([Row(item, (Cell(item),)) for item in found])
        if found:
            words = f"{len(found)} of {len(self.items)} items; enter runs the marked one"
        elif needle:
            words = "enter runs exactly what is typed"
        else:
            words = "The job lists no items: type one."
        self.query_one("#count", Static).update(line(Cell(words, "muted")))

    def action_step(self, by: int) -> None:
        """Move the mark while the typing goes on."""
        self.query_one(Grid).cursor += by

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        key = self.query_one(Grid).cursor_key
        chosen = key if isinstance(key, str) else event.value.strip()
        if chosen:
            self.dismiss(chosen)

    @on(Grid.Opened)
    def _opened(self, event: Grid.Opened) -> None:
        self.dismiss(str(event.key))

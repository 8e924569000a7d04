"""Chooses the columns of a pane and their order. What is chosen shows at once, and is found again next time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, Literal

from msgspec.structs import replace
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from nightdesk.model.errors import NightdeskError
from nightdesk.tui.choices import read_choices, save_choices
from nightdesk.tui.panes import processes_columns, traffic_columns
from nightdesk.tui.text import Cell, line
from nightdesk.tui.widgets.grid import Column, Grid, Row
from nightdesk.tui.widgets.sheet import Sheet

OFFERED: Mapping[str, dict[str, tuple[str, Column]]] = {
    "traffic": traffic_columns.CHOICES,
    "processes": processes_columns.CHOICES,
}
COLUMNS = (
    Column("shown", "", width=1),
    Column("name", "column", width=10),
    Column("about", "shows", flex=1),
)


def arranged(shown: Sequence[str], offered: Sequence[str]) -> list[str]:
    """All columns: those that are shown as they stand, each other one behind the one that it usually follows."""
    order = [key for key in shown if key in offered]
    for index, key in enumerate(offered):
        if key not in order:
            order.insert(order.index(offered[index - 1]) + 1 if index else 0, key)
    return order


class ColumnsScreen(Sheet[None]):
    """A line for each column, from left to right; space shows or hides it, arrows move it."""

    DEFAULT_CSS = """
    ColumnsScreen #sheet { width: 76; }
    ColumnsScreen Grid { height: 16; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space,enter", "switch", "show or hide", key_display="space", id="columns.toggle"),
        Binding(
            "left,shift+up",
            "move(-1)",
            "to the left",
            key_display="←",
            id="columns.left",
            tooltip="Move the column to the left",
        ),
        Binding(
            "right,shift+down",
            "move(1)",
            "right",
            key_display="→",
            id="columns.right",
            tooltip="Move the column to the right",
        ),
        Binding(
            "u", "usual", "usual ones", id="columns.usual", tooltip="As many as fit, the usual ones first"
        ),
    ]

    def __init__(
        self,
        shown: tuple[str, ...],
        tell: Callable[[tuple[str, ...] | None], None],
        pane: Literal["traffic", "processes"] = "traffic",
    ) -> None:
        """``tell`` hears of each change; None: the usual ones."""
        super().__init__()
        self.pane = pane
        self.offered = OFFERED[pane]
        self.order = arranged(shown, list(self.offered))
        self.shown = set(shown) & set(self.offered)
        self._tell = tell

    def compose_sheet(self) -> ComposeResult:
        """The list."""
        yield Grid(COLUMNS, opens=False, marks=True, sign=self.glyphs.cursor, id="columns")

    def on_mount(self) -> None:
        """All columns."""
        self.show_title(line("Columns of ", Cell(self.pane, "strong")))
        self._draw()
        self.query_one(Grid).focus()

    def _draw(self) -> None:
        rows = []
        for key in self.order:
            about, column = self.offered[key]
            shown = key in self.shown
            sign = Cell(self.glyphs.done if shown else self.glyphs.idle, "ok" if shown else "faint")
            rows.append(Row(key, (sign, Cell(column.title, "" if shown else "muted"), Cell(about, "muted"))))
        self.query_one(Grid).show_rows(rows)

    def action_switch(self) -> None:
        """Show or hide the column under the cursor; one always stays."""
        key = self.query_one(Grid).cursor_key
        if isinstance(key, str) and self.shown != {key}:
            self.shown ^= {key}
            self._save(self._chosen)

    @property
    def _chosen(self) -> tuple[str, ...]:
        return tuple(key for key in self.order if key in self.shown)

    def action_move(self, by: int) -> None:
        """The column under the cursor changes places with its neighbour."""
        key = self.query_one(Grid).cursor_key
        if not isinstance(key, str):
            return
        at = self.order.index(key)
        to = at + by
        if 0 <= to < len(self.order):
            before = self._chosen
            self.order[at], self.order[to] = self.order[to], self.order[at]
            if self._chosen != before:
                self._save(self._chosen)
            else:
                self._draw()

    @on(Grid.Opened)
    def _opened(self) -> None:
        self.action_switch()

    def action_usual(self) -> None:
        """Let the width decide again."""
        self._save(None)
        self.dismiss(None)

    def _save(self, chosen: tuple[str, ...] | None) -> None:
        self._draw()
        self._tell(chosen)
        try:
            save_choices(replace(read_choices(), **{f"{self.pane}_columns": chosen}))
        except NightdeskError as fault:
            self.notify(f"{fault.message} {fault.hint}", severity="warning", markup=False)

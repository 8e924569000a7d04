"""Asks before something is stopped or killed, and shows exactly what will be hit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Static

from nightdesk.model.base import ProcessKey
from nightdesk.model.process import TreeMember
from nightdesk.model.units import format_bytes
from nightdesk.tui.text import Cell, content, line
from nightdesk.tui.widgets.grid import Column, Grid, Row
from nightdesk.tui.widgets.sheet import Sheet

COLUMNS = (
    Column("pid", "pid", width=7, align="right"),
    Column("mem", "memory", width=8, align="right"),
    Column("command", "command", flex=1),
)
ROWS_SHOWN = 14


@dataclass(frozen=True, slots=True)
class Question:
    """What will happen, to whom. ``members`` root first."""

    action: Literal["stop", "kill"]
    subject: str
    members: tuple[TreeMember, ...]
    note: str = ""
    """One more sentence."""
    reasons: Mapping[ProcessKey, str] = field(default_factory=dict)
    """Why some of them are to be ended."""

    @property
    def memory(self) -> str:
        """The memory that comes back, as far as it is known."""
        known = [member.rss_bytes for member in self.members if member.rss_bytes is not None]
        return format_bytes(sum(known)) if known else "an unknown amount"

    @property
    def effect(self) -> str:
        """One sentence on what the key does."""
        count = len(self.members)
        if not count:
            return "No process is hit."
        them = "this process" if count == 1 else f"these {count} processes"
        if self.action == "kill":
            return f"SIGKILL to {them} at once: no chance to save anything. Nothing else is hit."
        return f"SIGTERM to {them}, then SIGKILL to what is left after the grace period. Nothing else is hit."


def rows_of(
    members: Sequence[TreeMember], reasons: Mapping[ProcessKey, str] | None = None, sign: str = ""
) -> list[Row]:
    """One row a process, indented by its depth, with the reason where there is one."""
    reasons = reasons or {}
    return [
        Row(
            member.key,
            (
                Cell(str(member.key.pid), "muted"),
                Cell(format_bytes(member.rss_bytes)),
                Cell(
                    "  " * min(member.depth, 12),
                    "",
                    (
                        (f"{member.name}  " if member.key in reasons else "", "strong"),
                        (f"{sign} {reasons[member.key]}  " if member.key in reasons else "", "warn"),
                        (member.command or member.name, ""),
                    ),
                ),
            ),
        )
        for member in members
    ]


class ConfirmScreen(Sheet[bool]):
    """Answers True only for the letter that is written on the screen."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "yes", "yes", id="confirm.yes"),
        Binding("n", "no", "no", id="confirm.no"),
    ]

    def __init__(self, question: Question) -> None:
        super().__init__()
        self.question = question

    def compose_sheet(self) -> ComposeResult:
        """What is hit, and what comes back."""
        yield Static(id="effect", markup=False)
        yield Grid(COLUMNS, opens=False, sign=self.glyphs.cursor)
        yield Static(id="sum", markup=False)

    def on_mount(self) -> None:
        """Fill in the tree."""
        asked = self.question
        sheet = self.query_one("#sheet")
        sheet.set_class(asked.action == "kill", "-hard")
        verb = asked.action.capitalize()
        self.show_title(line(Cell(f"{self.glyphs.warn} {verb} ", "bad"), Cell(asked.subject, "strong"), "?"))
        self.query_one("#effect", Static).update(content(" ".join(filter(None, (asked.effect, asked.note)))))
        grid = self.query_one(Grid)
        grid.styles.height = min(len(asked.members), ROWS_SHOWN) + 1
        grid.styles.margin = (1, 0)
        grid.show_rows(rows_of(asked.members, asked.reasons, self.glyphs.warn))
        grid.focus()
        self.query_one("#sum", Static).update(
            line(
                Cell(asked.memory, "strong"),
                " of memory come back. ",
                Cell("y", "accent"),
                f" {asked.action}s, anything else leaves it alone.",
            )
        )

    def action_yes(self) -> None:
        """Do it."""
        self.dismiss(True)

    def action_no(self) -> None:
        """Leave it alone."""
        self.dismiss(False)

    def action_close(self) -> None:
        """Leave it alone."""
        self.dismiss(False)

"""Asks before something is stopped or killed, and shows exactly what will be hit."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Static

from nightdesk.client.mirror import Mirror
from nightdesk.core.processes.reports import coming_back
from nightdesk.model.base import ProcessKey
from nightdesk.model.errors import NightdeskError
from nightdesk.model.process import TreeMember
from nightdesk.model.units import format_bytes
from nightdesk.tui.asks import Ask
from nightdesk.tui.panes.processes_view import owner_cell
from nightdesk.tui.text import Cell, content, line
from nightdesk.tui.widgets.grid import Column, Grid, Row
from nightdesk.tui.widgets.sheet import Sheet

COLUMNS = (
    Column("pid", "pid", width=7, align="right"),
    Column("mem", "memory", width=8, align="right"),
    Column("command", "command", flex=1),
)
WITH_OWNERS = (*COLUMNS[:2], Column("owner", "for", width=12, least=70), COLUMNS[2])
ROWS_SHOWN = 14
AGAIN_NS = 2 * 10**9
"""Between two looks at what would be hit, while the question stands."""
Whose = Callable[[ProcessKey], Cell]


@dataclass(frozen=True, slots=True)
class Question:
    """What will happen, to whom. ``members`` root first; ``again`` asks anew who they are."""

    action: Literal["stop", "kill"]
    subject: str
    members: tuple[TreeMember, ...]
    note: str = ""
    """One more sentence."""
    reasons: Mapping[ProcessKey, str] = field(default_factory=dict)
    """Why some of them are to be ended."""
    again: Callable[[], Awaitable[Question]] | None = None

    @property
    def effect(self) -> str:
        """One sentence on what the key does."""
        count = len(self.members)
        if not count:
            return "Nothing of it runs: no process is hit."
        them = "this process" if count == 1 else f"these {count} processes"
        if self.action == "kill":
            return f"SIGKILL to {them} at once: no chance to save anything. Nothing else is hit."
        return f"SIGTERM to {them}, then SIGKILL to what is left after the grace period. Nothing else is hit."


def rows_of(
    members: Sequence[TreeMember],
    reasons: Mapping[ProcessKey, str] | None = None,
    sign: str = "",
    whose: Whose | None = None,
) -> list[Row]:
    """One row a process, indented by its depth, with its part of the memory, and the reason where there is one."""
    reasons = reasons or {}
    return [
        Row(
            member.key,
            (
                Cell(str(member.key.pid), "muted"),
                Cell(format_bytes(member.rss_bytes if member.share_bytes is None else member.share_bytes)),
                *((whose(member.key),) if whose else ()),
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

    def __init__(self, question: Question, desk: Mirror | None = None) -> None:
        """``desk`` knows whose each process is."""
        super().__init__()
        self.question = question
        self._desk = desk
        self._asked_ns: int | None = None

    def compose_sheet(self) -> ComposeResult:
        """What is hit, and what comes back."""
        yield Static(id="effect", markup=False)
        yield Grid(WITH_OWNERS, opens=False, sign=self.glyphs.cursor)
        yield Static(id="sum", markup=False)

    def on_mount(self) -> None:
        """Fill in the tree."""
        asked = self.question
        sheet = self.query_one("#sheet")
        sheet.set_class(asked.action == "kill", "-hard")
        verb = asked.action.capitalize()
        self.show_title(line(Cell(f"{self.glyphs.warn} {verb} ", "bad"), Cell(asked.subject, "strong"), "?"))
        self.query_one(Grid).styles.margin = (1, 0)
        self._show()
        self.query_one(Grid).focus()

    def feed(self, desk: Mirror | None, now_ns: int) -> None:
        """Look again now and then: what is shown must be what would be hit."""
        again = self.question.again
        if self._asked_ns is None:
            self._asked_ns = now_ns
        elif again is not None and now_ns - self._asked_ns >= AGAIN_NS:
            self._asked_ns = now_ns
            self.post_message(Ask(lambda _: again(), self._renew))

    def _renew(self, answer: Question | NightdeskError) -> None:
        if not self.is_mounted or not self.query("#sum"):
            return
        if isinstance(answer, NightdeskError):
            answer = replace(self.question, members=(), note="")
        self.question = answer
        self._show()

    def _show(self) -> None:
        asked = self.question
        self.query_one("#effect", Static).update(content(" ".join(filter(None, (asked.effect, asked.note)))))
        grid = self.query_one(Grid)
        grid.styles.height = min(len(asked.members), ROWS_SHOWN) + 1
        grid.show_rows(rows_of(asked.members, asked.reasons, self.glyphs.warn, self._whose))
        back = coming_back(asked.members) + " " if asked.members else ""
        keys = (Cell("y", "accent"), f" {asked.action}s, anything else leaves it alone.")
        self.query_one("#sum", Static).update(line(Cell(back, "strong"), *keys))

    def _whose(self, key: ProcessKey) -> Cell:
        row = self._desk.processes.get(key) if self._desk is not None else None
        return owner_cell(row, self.glyphs) if row is not None else Cell("")

    def action_yes(self) -> None:
        """Do it."""
        self.dismiss(True)

    def action_no(self) -> None:
        """Leave it alone."""
        self.dismiss(False)

    def action_close(self) -> None:
        """Leave it alone."""
        self.dismiss(False)

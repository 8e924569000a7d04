"""Pane 4: processes as a tree, ours first: orphans, runs, watched ones, model servers; the rest under one line.

Selected from processes. Empty only before the first sample.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from nightdesk.client.mirror import Mirror
from nightdesk.model.base import ProcessKey
from nightdesk.model.process import ProcessRow, TreeAction
from nightdesk.model.units import UNKNOWN, format_bytes, format_duration, format_percent
from nightdesk.tui.asks import SignalRequested
from nightdesk.tui.glyphs import Glyphs
from nightdesk.tui.panes.pane import LIVE, LOADING, Heading, Look, Pane
from nightdesk.tui.text import Cell, Part, Tone
from nightdesk.tui.widgets.grid import Column, Grid, Row

COLUMNS = (
    Column("pid", "pid", width=7, align="right"),
    Column("cpu", "cpu", width=5, align="right"),
    Column("mem", "memory", width=8, align="right"),
    Column("state", "s", width=1, least=70),
    Column("age", "age", width=6, align="right", least=90),
    Column("owner", "for", width=12, least=64),
    Column("command", "command", flex=1),
)
RANKS = {"orphan": 0, "run": 1, "watched": 2, "service": 3, "other": 4}
ORDERS: dict[str, Callable[[ProcessRow], Any]] = {
    "cpu": lambda row: -(row.cpu_ratio or 0),
    "mem": lambda row: -(row.rss_bytes or 0),
    "age": lambda row: row.key.started_ns,
    "pid": lambda row: row.key.pid,
}
"""Column → key of the order among siblings."""
FOLD = "others"
"""Key of the line that stands for the processes that are not ours."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the user chose."""

    tree: bool = True
    order: str = "cpu"
    everything: bool = False
    needle: str = ""


@dataclass(frozen=True, slots=True)
class ProcessesView:
    """What the pane shows."""

    rows: tuple[Row, ...]
    ours: int
    total: int
    orphans: int
    settings: Settings


def select(desk: Mirror, now_ns: int, settings: Settings, glyphs: Glyphs) -> ProcessesView:
    """Ours, then the others or a line that counts them. A filter looks at all and shows a flat list."""
    every = list(desk.processes.values())
    ours = [row for row in every if row.owner != "other"]
    others = len(every) - len(ours)
    shown = every if settings.everything or settings.needle else ours
    if settings.needle:
        needle = settings.needle.casefold()
        shown = [row for row in shown if needle in _words(row)]
    tree = settings.tree and not settings.needle
    placed = (
        arrange(shown, settings.order) if tree else ((row, "") for row in _ordered(shown, settings.order))
    )
    rows = [
        Row(row.key, _cells(row, lead, now_ns, glyphs), _tone(row)) for row, lead in _drawn(placed, glyphs)
    ]
    if others and not settings.everything and not settings.needle:
        rows.append(_fold_row(others, glyphs))
    orphans = sum(row.owner == "orphan" for row in ours)
    return ProcessesView(tuple(rows), len(ours), len(every), orphans, settings)


def _words(row: ProcessRow) -> str:
    return f"{row.key.pid} {row.name} {row.command} {row.owner} {row.job or ''} {row.user}".casefold()


def _ordered(rows: Iterable[ProcessRow], order: str) -> list[ProcessRow]:
    key = ORDERS[order]
    return sorted(rows, key=lambda row: (RANKS[row.owner], key(row), row.key.pid))


def arrange(rows: Iterable[ProcessRow], order: str) -> Iterator[tuple[ProcessRow, str]]:
    """Depth first, each row with the shape of its branch: one letter per level, see :func:`_drawn`.

    A parent that is not among ``rows`` makes a row a root; circles (a number used again) are cut.
    """
    rows = list(rows)
    pids = {row.key.pid for row in rows}
    children: dict[int, list[ProcessRow]] = defaultdict(list)
    roots = []
    for row in rows:
        if row.ppid in pids and row.ppid != row.key.pid:
            children[row.ppid].append(row)
        else:
            roots.append(row)
    seen: set[ProcessKey] = set()
    yield from _walk(_ordered(roots, order), children, order, seen)
    yield from _walk(_ordered((row for row in rows if row.key not in seen), order), {}, order, seen)


def _walk(
    roots: list[ProcessRow], children: dict[int, list[ProcessRow]], order: str, seen: set[ProcessKey]
) -> Iterator[tuple[ProcessRow, str]]:
    stack = [(row, "") for row in reversed(roots)]
    while stack:
        row, shape = stack.pop()
        if row.key in seen:
            continue
        seen.add(row.key)
        yield row, shape
        below = _ordered(children.get(row.key.pid, ()), order)
        outer = shape[:-1] + {"m": "|", "l": " "}.get(shape[-1:], "")
        stack += [(child, outer + ("l" if child is below[-1] else "m")) for child in reversed(below)]


def _drawn(placed: Iterable[tuple[ProcessRow, str]], glyphs: Glyphs) -> Iterator[tuple[ProcessRow, str]]:
    signs = {
        "m": glyphs.branch + glyphs.dash + " ",
        "l": glyphs.last + glyphs.dash + " ",
        "|": glyphs.line + "  ",
        " ": "   ",
    }
    for row, shape in placed:
        yield row, "".join(signs[letter] for letter in shape[-12:])


def _tone(row: ProcessRow) -> Tone:
    return "muted" if row.owner == "other" else ""


def _cells(row: ProcessRow, lead: str, now_ns: int, glyphs: Glyphs) -> tuple[Cell, ...]:
    why = f"  {glyphs.warn} {row.orphan_reason}" if row.orphan_reason else ""
    state: Tone = (
        "bad" if row.state in "ZD" else "warn" if row.state == "T" else "ok" if row.state == "R" else "faint"
    )
    return (
        Cell(str(row.key.pid), "muted"),
        Cell(format_percent(row.cpu_ratio), _cpu_tone(row.cpu_ratio)),
        Cell(format_bytes(row.rss_bytes)),
        Cell(row.state, state),
        Cell(format_duration(max(0, now_ns - row.key.started_ns) // 10**9 * 10**9), "muted"),
        _owner_cell(row, glyphs),
        Cell(lead, "faint", ((command_of(row), ""), (why, "warn"))),
    )


def command_of(row: ProcessRow) -> str:
    """The command line without the folder of its program: what tells one from another comes behind it."""
    program, blank, rest = row.command.partition(" ")
    last = program.rpartition("/")[2]
    if program.startswith("/") and row.name and last.startswith(row.name):
        return last + blank + rest
    return row.command or row.name or UNKNOWN


def _cpu_tone(ratio: float | None) -> Tone:
    return "faint" if not ratio or ratio < 0.005 else "strong" if ratio >= 0.5 else ""


def _owner_cell(row: ProcessRow, glyphs: Glyphs) -> Cell:
    match row.owner:
        case "orphan":
            return Cell(f"{glyphs.warn} orphan", "warn")
        case "run":
            return Cell(row.job or row.run or "run", "accent")
        case "other":
            return Cell(row.user, "faint")
        case _:
            return Cell(row.owner, "muted")


def _fold_row(count: int, glyphs: Glyphs) -> Row:
    words = Cell(f"{glyphs.folded} {count} others", "muted", (("  a shows them", "faint"),))
    return Row(FOLD, (*(Cell("") for _ in COLUMNS[:-1]), words))


class ProcessesPane(Pane[ProcessesView]):
    """The process tree; pause, stop or kill exactly one branch of it."""

    NUMBER = 4
    TITLE = "Processes"
    PARTS = ("processes",)
    SOURCE = "processes"
    TICKS = False
    BINDING_GROUP_TITLE = "Processes"
    HELP = """
## Processes

First what belongs to this desk: **orphans** (left behind by a run that is gone, with the reason), processes of
**runs**, **watched** ones and model **services**. Everything else is folded into one line; `a` unfolds it.

Pause, stop and kill hit the process under the cursor *and everything below it*, and nothing else. Before stop and
kill you see the whole tree with the memory that comes back. A process is remembered by number and start time:
if its number has been used again meanwhile, nothing is hit.
"""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("p", "pause", "pause", id="processes.pause", tooltip="Pause or resume the tree"),
        Binding("x", "signal('stop')", "stop", id="processes.stop", tooltip="Ask the tree to end, then kill"),
        Binding("K", "signal('kill')", "kill", id="processes.kill", tooltip="Kill the tree at once"),
        Binding("t", "tree", "tree", id="processes.tree", tooltip="Tree or flat list"),
        Binding("o", "order", "order", id="processes.order", tooltip="By cpu, memory, age or pid"),
        Binding("a", "everything", "all", id="processes.all", tooltip="Show or fold what is not ours"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.settings = Settings()

    def compose_body(self) -> ComposeResult:
        """One grid."""
        yield Grid(COLUMNS, sign=self.glyphs.cursor, id="processes-grid")

    def select(self, desk: Mirror, now_ns: int) -> ProcessesView:
        """The view for the present settings and filter."""
        chosen = self.settings
        settings = Settings(chosen.tree, chosen.order, chosen.everything, self.filter_text)
        return select(desk, now_ns, settings, self.glyphs)

    def look(self, view: ProcessesView) -> Look:
        """Loading before the first sample; empty when nothing matches."""
        if view.rows:
            return LIVE
        if view.total:
            return Look("empty", f"No process matches “{self.filter_text}”.", "Escape clears the filter.")
        return LOADING

    def heading(self, view: ProcessesView) -> Heading:
        """How it is arranged, and how many there are."""
        gap = f" {self.glyphs.dot} "
        shape = "tree" if view.settings.tree and not view.settings.needle else "flat"
        note = gap.join((shape, "all" if view.settings.everything else "ours", f"by {view.settings.order}"))
        right: list[Cell] = []
        if view.orphans:
            noun = "orphan" if view.orphans == 1 else "orphans"
            right.append(Cell(f"{self.glyphs.warn} {view.orphans} {noun}{gap}", "warn"))
        right.append(Cell(f"{view.ours} of {view.total}", "muted"))
        return Heading((Cell(note, "muted"),), tuple(right))

    def remark(self) -> Part:
        """Why the process under the cursor is an orphan."""
        row = self.current
        if row is None or not row.orphan_reason:
            return ""
        return Cell(f"{self.glyphs.warn} {row.key.pid}: {row.orphan_reason}", "warn")

    def draw(self, view: ProcessesView, old: ProcessesView | None) -> None:
        """Show the rows."""
        grid = self.query_one(Grid)
        grid.needle = view.settings.needle
        if old is None or old.settings.order != view.settings.order:
            grid.show_sort(view.settings.order, " " + self.glyphs.descending)
        grid.show_rows(view.rows)

    # Keys

    @property
    def current(self) -> ProcessRow | None:
        """The process under the cursor."""
        key = self.query_one(Grid).cursor_key
        return self.desk.processes.get(key) if self.desk is not None and isinstance(key, ProcessKey) else None

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Nothing to signal on the line that counts the others."""
        if action in ("pause", "signal") and self.is_mounted:
            return self.current is not None
        return super().check_action(action, parameters)

    @on(Grid.Moved)
    def _moved(self, event: Grid.Moved) -> None:
        event.grid.opens = event.key == FOLD
        self.show_remark()

    @on(Grid.Opened)
    def _opened(self, event: Grid.Opened) -> None:
        if event.key == FOLD:
            self.action_everything()

    @on(Grid.TitleClicked)
    def _title_clicked(self, event: Grid.TitleClicked) -> None:
        if event.column in ORDERS:
            self._set(order=event.column)

    def action_pause(self) -> None:
        """Pause a tree, or resume a paused one."""
        row = self.current
        if row is not None:
            self.action_signal("resume" if row.state == "T" else "pause")

    def action_signal(self, action: TreeAction) -> None:
        """Ask for a signal to the tree under the cursor."""
        row = self.current
        if row is not None:
            self.post_message(SignalRequested(row.key, row.name, action))

    def action_tree(self) -> None:
        """Tree or flat list."""
        self._set(tree=not self.settings.tree)

    def action_order(self) -> None:
        """The next order."""
        orders = list(ORDERS)
        self._set(order=orders[(orders.index(self.settings.order) + 1) % len(orders)])

    def action_everything(self) -> None:
        """Show or fold what is not ours."""
        self._set(everything=not self.settings.everything)

    def _set(
        self, *, tree: bool | None = None, order: str | None = None, everything: bool | None = None
    ) -> None:
        now = self.settings
        self.settings = Settings(
            now.tree if tree is None else tree,
            order or now.order,
            now.everything if everything is None else everything,
        )
        self.redraw()

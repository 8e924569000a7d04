"""What the processes pane shows: which rows, in which order, with which branches of the tree, as cells."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from nightdesk.client.mirror import Mirror
from nightdesk.model.base import ProcessKey
from nightdesk.model.process import RANKS, ProcessRow
from nightdesk.model.units import UNKNOWN, counted, format_bytes, format_duration, format_percent
from nightdesk.tui.glyphs import Glyphs
from nightdesk.tui.panes.processes_columns import ORDERS, columns_for
from nightdesk.tui.text import Cell, Tone
from nightdesk.tui.widgets.grid import Column, Row

FOLD = "others"
"""Key of the line that stands for the processes that are not ours."""
PORTS_SHOWN = 2


@dataclass(frozen=True, slots=True)
class Settings:
    """What the user chose."""

    tree: bool = True
    order: str = "cpu"
    reverse: bool = False
    everything: bool = False
    columns: tuple[str, ...] | None = None
    """Keys of columns; None: the width decides."""


@dataclass(frozen=True, slots=True)
class Filter:
    """What is looked for: a test, and the plain words of it that are marked in the list."""

    text: str = ""
    matches: Callable[[ProcessRow, int], bool] = field(default=lambda row, now_ns: True, compare=False)
    words: str = ""


NO_FILTER = Filter()


@dataclass(frozen=True, slots=True)
class ProcessesView:
    """What the pane shows."""

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    ours: int
    total: int
    orphans: int
    tagged: int
    settings: Settings
    sought: Filter


def select(
    desk: Mirror,
    now_ns: int,
    settings: Settings,
    glyphs: Glyphs,
    sought: Filter = NO_FILTER,
    tags: frozenset[ProcessKey] = frozenset(),
    folded: frozenset[ProcessKey] = frozenset(),
) -> ProcessesView:
    """Ours, then the others or a line that counts them. A filter looks at all and shows a flat list.

    Of a ``folded`` process only the sum of what is below it is shown.
    """
    every = list(desk.processes.values())
    ours = [row for row in every if row.owner != "other"]
    others = len(every) - len(ours)
    shown = every if settings.everything or sought.text else ours
    if sought.text:
        shown = [row for row in shown if sought.matches(row, now_ns)]
    columns = columns_for(settings.columns, shown)
    rows = [
        Row(row.key, _cells(row, columns, lead, now_ns, glyphs, row.key in tags, below), _tone(row))
        for row, lead, below in _drawn(_placed(shown, settings, sought, folded), glyphs)
    ]
    if others and not settings.everything and not sought.text:
        rows.append(_fold_row(others, columns, glyphs))
    orphans = sum(row.owner == "orphan" for row in ours)
    tagged = sum(key in desk.processes for key in tags)
    return ProcessesView(columns, tuple(rows), len(ours), len(every), orphans, tagged, settings, sought)


Placed = tuple[ProcessRow, str, Sequence[ProcessRow]]
"""A row, the shape of its branch, and what is folded below it."""


def _placed(
    shown: list[ProcessRow], settings: Settings, sought: Filter, folded: frozenset[ProcessKey]
) -> Iterator[Placed]:
    if settings.tree and not sought.text:
        yield from _fold(arrange(shown, settings.order, settings.reverse), folded)
    else:
        for row in _ordered(shown, settings.order, settings.reverse):
            yield row, "", ()


def _fold(placed: Iterable[tuple[ProcessRow, str]], folded: frozenset[ProcessKey]) -> Iterator[Placed]:
    """Rows below a folded one go along with it."""
    top: tuple[ProcessRow, str] | None = None
    below: list[ProcessRow] = []
    for row, shape in placed:
        if top is not None and len(shape) > len(top[1]):
            below.append(row)
            continue
        if top is not None:
            yield *top, below
        top, below = None, []
        if row.key in folded:
            top = (row, shape)
        else:
            yield row, shape, ()
    if top is not None:
        yield *top, below


def fold_target(row: ProcessRow, rows: Sequence[Row], desk: Mirror) -> ProcessKey | None:
    """What is folded from ``row``: itself where something is below it, else its parent; None where none is shown."""
    if any(each.ppid == row.key.pid for each in desk.processes.values()):
        return row.key
    shown = (desk.processes.get(each.key) for each in rows if isinstance(each.key, ProcessKey))
    return next((each.key for each in shown if each is not None and each.key.pid == row.ppid), None)


def _ordered(rows: Iterable[ProcessRow], order: str, reverse: bool) -> list[ProcessRow]:
    """Ours first, whichever way round the rest is sorted."""
    key = ORDERS[order]
    found = sorted(rows, key=lambda row: row.key.pid)
    found.sort(key=key, reverse=reverse)
    found.sort(key=lambda row: RANKS[row.owner])
    return found


def arrange(
    rows: Iterable[ProcessRow], order: str, reverse: bool = False
) -> Iterator[tuple[ProcessRow, str]]:
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
    children = {pid: _ordered(below, order, reverse) for pid, below in children.items()}
    seen: set[ProcessKey] = set()
    yield from _walk(_ordered(roots, order, reverse), children, seen)
    yield from _walk(_ordered((row for row in rows if row.key not in seen), order, reverse), {}, seen)


def _walk(
    roots: list[ProcessRow], children: dict[int, list[ProcessRow]], seen: set[ProcessKey]
) -> Iterator[tuple[ProcessRow, str]]:
    stack = [(row, "") for row in reversed(roots)]
    while stack:
        row, shape = stack.pop()
        if row.key in seen:
            continue
        seen.add(row.key)
        yield row, shape
        below = children.get(row.key.pid, [])
        outer = shape[:-1] + {"m": "|", "l": " "}.get(shape[-1:], "")
        stack += [(child, outer + ("l" if child is below[-1] else "m")) for child in reversed(below)]


def _drawn(placed: Iterable[Placed], glyphs: Glyphs) -> Iterator[Placed]:
    signs = {
        "m": glyphs.branch + glyphs.dash + " ",
        "l": glyphs.last + glyphs.dash + " ",
        "|": glyphs.line + "  ",
        " ": "   ",
    }
    for row, shape, below in placed:
        yield row, "".join(signs[letter] for letter in shape[-12:]), below


def _tone(row: ProcessRow) -> Tone:
    return "muted" if row.owner == "other" else ""


def _cells(
    row: ProcessRow,
    columns: tuple[Column, ...],
    lead: str,
    now_ns: int,
    glyphs: Glyphs,
    tagged: bool,
    below: Sequence[ProcessRow],
) -> tuple[Cell, ...]:
    cells = tuple(_cell(column.key, row, lead, now_ns, glyphs, tagged) for column in columns)
    if not below:
        return cells
    lead_cell = cells[-1]
    return (*cells[:-1], Cell(lead_cell.text, "faint", (*_folded_words(below, glyphs), *lead_cell.more)))


def _folded_words(below: Sequence[ProcessRow], glyphs: Glyphs) -> tuple[tuple[str, Tone], ...]:
    """How many are folded, and what all of them use."""
    cpu = sum(row.cpu_ratio or 0 for row in below)
    memory = sum(row.rss_bytes or 0 for row in below)
    words = f"{glyphs.folded} {len(below)} below: {format_percent(cpu)}, {format_bytes(memory)}  "
    return ((words, "accent"),)


def _cell(key: str, row: ProcessRow, lead: str, now_ns: int, glyphs: Glyphs, tagged: bool) -> Cell:
    match key:
        case "pid":
            number = str(row.key.pid)
            return Cell(f"{glyphs.tagged} ", "accent", ((number, ""),)) if tagged else Cell(number, "muted")
        case "ppid":
            return Cell(str(row.ppid), "faint")
        case "user":
            return Cell(row.user, "muted")
        case "cpu":
            return Cell(format_percent(row.cpu_ratio), _cpu_tone(row.cpu_ratio))
        case "mem":
            return Cell(format_bytes(row.rss_bytes))
        case "gpu":
            return Cell("" if row.device_bytes is None else format_bytes(row.device_bytes), "accent")
        case "threads":
            return Cell(UNKNOWN if row.threads is None else str(row.threads), "muted")
        case "state":
            return Cell(row.state, _state_tone(row.state))
        case "age":
            return Cell(age_of(row, now_ns), "muted")
        case "ports":
            return Cell(ports_of(row, glyphs))
        case "owner":
            return owner_cell(row, glyphs)
        case "run":
            return Cell(row.run or "", "muted")
        case _:
            why = f"  {glyphs.warn} {row.orphan_reason}" if row.orphan_reason else ""
            return Cell(lead, "faint", ((command_of(row), ""), (why, "warn")))


def age_of(row: ProcessRow, now_ns: int) -> str:
    """How long it runs, in whole seconds."""
    seconds = max(0, now_ns - row.key.started_ns) // 10**9
    return f"{seconds}s" if seconds < 60 else format_duration(seconds * 10**9)


def ports_of(row: ProcessRow, glyphs: Glyphs) -> str:
    """The first ports that it listens on."""
    more = glyphs.cut if len(row.ports) > PORTS_SHOWN else ""
    return ",".join(map(str, row.ports[:PORTS_SHOWN])) + more


def command_of(row: ProcessRow) -> str:
    """The command line without the folder of its program: what tells one from another comes behind it."""
    begin = row.command.find(f"/{row.name}") if row.name and row.command.startswith("/") else -1
    # The folder may have blanks in its name, as on a Mac; what follows a blank and begins with / or - is an argument.
    while begin >= 0 and " /" not in row.command[: begin + 1] and " -" not in row.command[:begin]:
        if "/" not in row.command[begin + 1 :].partition(" ")[0]:
            return row.command[begin + 1 :]
        begin = row.command.find(f"/{row.name}", begin + 1)
    return row.command or row.name or UNKNOWN


def _cpu_tone(ratio: float | None) -> Tone:
    return "faint" if not ratio or ratio < 0.005 else "strong" if ratio >= 0.5 else ""


def _state_tone(state: str) -> Tone:
    return "bad" if state in "ZD" else "warn" if state == "T" else "ok" if state == "R" else "faint"


def owner_cell(row: ProcessRow, glyphs: Glyphs) -> Cell:
    """Whose it is: the job of its run, an orphan, of another desk, watched, a service, Nightdesk, or its user."""
    match row.owner:
        case "orphan":
            return Cell(f"{glyphs.warn} orphan", "warn")
        case "run":
            return Cell(row.job or row.run or "run", "accent")
        case "service":
            return Cell(row.owner, "muted")
        case _ if row.desk:
            return Cell("desk ", "faint", ((row.desk, "muted"),))
        case "other":
            return Cell(row.part, "muted") if row.part else Cell(row.user, "faint")
        case _:
            return Cell(row.owner, "muted")


def _fold_row(count: int, columns: tuple[Column, ...], glyphs: Glyphs) -> Row:
    words = Cell(f"{glyphs.folded} {counted(count, 'other')}", "muted", (("  a shows them", "faint"),))
    return Row(FOLD, (*(Cell("") for _ in columns[:-1]), words))

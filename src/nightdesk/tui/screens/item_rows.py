"""The lines of a run's items, and the line that counts them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import NamedTuple

from nightdesk.core.jobs.failure_advice import failure_words
from nightdesk.model.items import ItemRow, ItemStage
from nightdesk.model.job import ENDED, Run
from nightdesk.model.units import NS, UNKNOWN, format_count, format_duration, format_joules
from nightdesk.tui.glyphs import Glyphs
from nightdesk.tui.panes.job_lines import clock
from nightdesk.tui.text import Cell, Part, Tone
from nightdesk.tui.widgets.grid import Column, Row

COLUMNS = (
    Column("state", "", width=1),
    Column("tag", "", width=1),
    Column("index", "no.", width=6, align="right"),
    Column("item", "item", flex=1),
    Column("tries", "tries", width=5, align="right", least=76),
    Column("began", "began", width=5, least=100),
    Column("took", "took", width=7, align="right"),
    Column("energy", "energy", width=7, align="right", least=88),
    Column("note", "", flex=1, least=56),
)
SORT_OF_COLUMN = {"state": "state", "index": "index", "item": "item", "tries": "attempts", "took": "took"}
COLUMN_OF_SORT = {order: column for column, order in SORT_OF_COLUMN.items()} | {"order": "note"}
SORTS = ("index", "order", "took", "state", "item", "attempts")
SORT_WORDS = {
    "index": "in the order of the list",
    "order": "in the order of work",
    "took": "by duration",
    "state": "by state",
    "item": "by name",
    "attempts": "by tries",
}
TONES: dict[ItemStage, Tone] = {
    "running": "ok",
    "delayed": "warn",
    "waiting": "muted",
    "closed": "muted",
    "failed": "bad",
    "done": "ok",
    "skipped": "muted",
}


class View(NamedTuple):
    """One of the lists that ``v`` goes through."""

    name: str
    states: tuple[ItemStage, ...]

    @property
    def asked(self) -> str:
        """As the engine takes it."""
        return ",".join(self.states)


VIEWS = (
    View("all", ()),
    View("failed", ("failed",)),
    View("running", ("running", "delayed")),
    View("waiting", ("waiting", "closed")),
    View("done", ("done",)),
    View("skipped", ("skipped",)),
)


def stage_sign(stage: ItemStage, glyphs: Glyphs) -> str:
    """The sign of an item's state."""
    return {
        "running": glyphs.run,
        "delayed": glyphs.again,
        "waiting": glyphs.idle,
        "closed": glyphs.wait,
        "failed": glyphs.fail,
        "done": glyphs.done,
        "skipped": glyphs.shade,
    }[stage]


def item_line(row: ItemRow, run: Run, now_ns: int, glyphs: Glyphs, *, is_tagged: bool = False) -> Row:
    """The line of an item."""
    quiet: Tone = "muted" if row.state in ("skipped", "waiting", "closed") else ""
    return Row(
        row.index,
        (
            Cell(stage_sign(row.state, glyphs), TONES[row.state]),
            Cell(glyphs.tagged if is_tagged else "", "accent"),
            Cell(str(row.index + 1), "muted"),
            Cell(row.item, quiet),
            Cell(str(row.attempts) if row.attempts else "", "warn" if row.attempts > 1 else "muted"),
            Cell(clock(row.started_ns), "muted"),
            Cell(took(row, run, now_ns), quiet),
            Cell(format_joules(row.energy_j) if row.energy_j is not None else "", "muted"),
            note(row, run, now_ns),
        ),
    )


def blank_line(key: Hashable) -> Row:
    """A line whose row is not here yet."""
    empty = Cell("")
    return Row(key, (Cell(" "), empty, empty, Cell("…", "faint"), *[empty] * 5))


def took(row: ItemRow, run: Run, now_ns: int) -> str:
    """How long it took, or has taken so far."""
    if row.state == "running" and row.started_ns is not None and run.state == "running":
        return format_duration(max(0, now_ns - row.started_ns) // NS * NS)
    return "" if row.took_ns is None else format_duration(row.took_ns)


def note(row: ItemRow, run: Run, now_ns: int) -> Cell:
    """What else there is to say of an item in half a line."""
    fallback = " by the fallback command" if row.fallback else ""
    match row.state:
        case "failed":
            failure = row.failure
            return Cell(failure_words(failure) if failure else "failed", "bad")
        case "running":
            return Cell(f"attempt {row.attempts}{fallback}" if row.attempts > 1 or fallback else "", "muted")
        case "delayed":
            left = max(0, (row.due_ns or now_ns) - now_ns)
            when = f"in {format_duration(left // NS * NS)}" if left >= NS else "as soon as there is room"
            return Cell(f"tries that failed: {row.attempts}; again {when}{fallback}", "warn")
        case "waiting" if run.state in ENDED:
            return Cell("not reached", "muted")
        case "waiting":
            return Cell("next" if row.place == 0 else "", "muted")
        case "closed":
            return Cell(row.reason or "waits for another job", "muted")
        case "skipped":
            return Cell("skipped", "muted")
        case "done":
            return Cell(fallback.strip(), "muted")
    raise AssertionError("unreachable")


def counts_line(counts: Mapping[ItemStage, int], view: View, glyphs: Glyphs) -> list[Part]:
    """How many items there are in each state; the shown ones stand out."""
    parts: list[Part] = []
    for stage in ("running", "delayed", "waiting", "closed", "failed", "done", "skipped"):
        count = counts.get(stage, 0)
        if count:
            is_shown = not view.states or stage in view.states
            words = "held back" if stage == "closed" else "tried again" if stage == "delayed" else stage
            tone: Tone = (TONES[stage] if stage in ("failed", "delayed") else "") if is_shown else "faint"
            parts.append(Cell(f"{stage_sign(stage, glyphs)} {format_count(count)} {words}  ", tone))
    return parts or [Cell(UNKNOWN, "faint")]

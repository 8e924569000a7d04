"""A profile as lines of a table: pure functions of the profile and a width."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from nightdesk.core.inspection.query import quoted
from nightdesk.model.profile import Finding, Leader, Parts, Profile, ProfileGroup
from nightdesk.model.units import UNKNOWN, format_count, format_duration, format_joules, format_percent
from nightdesk.tui.glyphs import ASCII, Glyphs
from nightdesk.tui.text import Cell, Part, Tone
from nightdesk.tui.widgets.grid import Column, Row
from nightdesk.tui.widgets.stack import Share, stacked_bar

COLUMNS = (
    Column("name", "", flex=3),
    Column("count", "count", width=6, align="right"),
    Column("time", "time", width=7, align="right"),
    Column("pauses", "pauses", width=7, align="right", least=110),
    Column("in", "⇡ in", width=6, align="right", least=90),
    Column("out", "⇣ out", width=6, align="right", least=90),
    Column("rate", "t/s", width=5, align="right", least=110),
    Column("errors", "failed", width=6, align="right", least=130),
    Column("energy", "energy", width=8, align="right", least=140),
    Column("bar", "where it went", flex=2),
    Column("shares", "", flex=3, least=130),
)
BAR = next(index for index, column in enumerate(COLUMNS) if column.key == "bar")


class Piece(NamedTuple):
    """How a part is drawn and named."""

    field: str
    name: str
    sign: str
    plain: str
    tone: Tone


PIECES = (
    Piece("queue_ns", "queue", "╌", "q", "warn"),
    Piece("load_ns", "load", "▒", "L", "bad"),
    Piece("prompt_ns", "prompt", "▓", "p", "primary"),
    Piece("generation_ns", "generation", "█", "g", "ok"),
    Piece("unsplit_ns", "first token", "░", "w", "muted"),
    Piece("other_ns", "other", "·", "-", "faint"),
)


def parts_bar(parts: Parts, width: int, glyphs: Glyphs) -> Cell:
    """The parts as a bar."""
    plain = glyphs is ASCII
    shares = [Share(getattr(parts, one.field), one.plain if plain else one.sign, one.tone) for one in PIECES]
    return stacked_bar(shares, width)


def share_words(parts: Parts, most: int = 9) -> list[tuple[str, Tone, str]]:
    """(sign's field, tone, words) of each part of one percent and more, the greatest first."""
    whole = parts.total_ns
    spent = [(getattr(parts, one.field), one) for one in PIECES]
    kept = sorted((each for each in spent if whole and each[0] / whole >= 0.01), key=lambda each: -each[0])
    return [(one.field, one.tone, f"{one.name} {format_percent(ns / whole)}") for ns, one in kept[:most]]


def legend(parts: Parts, width: int, glyphs: Glyphs) -> list[Part]:
    """Sign, name and share of each part of the whole, in as many lines of ``width`` cells as that takes."""
    signs = {one.field: one.plain if glyphs is ASCII else one.sign for one in PIECES}
    line: list[Part] = []
    used = 0
    for field, tone, words in share_words(parts):
        size = len(words) + 6
        if used and used + size - 3 > width:
            line.append("\n")
            used = 0
        used += size
        line += [Cell(signs[field] * 2, tone), f" {words}   "]
    return line


def summary(made: Profile, glyphs: Glyphs) -> list[Part]:
    """Counts and sums; the sum of the durations and the time on the clock are two things."""
    total, dot = made.total, f"  {glyphs.dot}  "
    parts: list[Part] = [Cell("1 exchange" if total.count == 1 else f"{total.count:,} exchanges", "strong")]
    if total.running:
        parts.append(Cell(f", {total.running} running", "ok"))
    if total.errors:
        parts.append(Cell(f", {total.errors} failed or left", "bad"))
    parts += [
        f"{dot}{format_duration(total.parts.total_ns)} in them, {format_duration(total.covered_ns)} of "
        f"{format_duration(total.last_ns - total.first_ns)} on the clock",
        Cell(f"{dot}client pauses {format_duration(total.pause_ns)}", "" if total.pause_ns else "muted"),
        Cell(
            f"{dot}{glyphs.up}{format_count(total.prompt_tokens)} {glyphs.down}{format_count(total.reply_tokens)}",
            "muted",
        ),
    ]
    if total.energy_count:
        parts.append(Cell(f"{dot}{energy_words(total)}", "muted"))
    if made.replays:
        parts.append(
            Cell(f"{dot}{made.replays:,} {'replay' if made.replays == 1 else 'replays'} left out", "faint")
        )
    return parts


def energy_words(group: ProfileGroup) -> str:
    """``12.3 kJ, 0.81 tokens/J``, and of how many exchanges where not all were measured."""
    joules = group.energy_mj / 1000
    rate = f", {group.energy_tokens / joules:.2g} tokens/J" if joules and group.energy_tokens else ""
    part = "" if group.energy_count == group.count else f" for {group.energy_count:,} of them"
    return f"{format_joules(joules)}{rate}{part}"


def rows_of(made: Profile, bar_width: int, glyphs: Glyphs) -> list[Row]:
    """All lines: models, jobs, the slowest, the biggest, verdicts. Keys tell what enter opens."""
    rows = [
        *_groups("by model", made.models, bar_width, glyphs),
        *_groups("by job", made.jobs, bar_width, glyphs),
        *_leaders("slowest", made.slowest, glyphs),
        *_leaders("biggest", made.biggest, glyphs),
    ]
    if made.total.findings:
        rows.append(_title("verdicts"))
        rows += [_finding(made.query, each, glyphs) for each in made.total.findings]
    return rows


def _title(words: str) -> Row:
    return Row(("title", words), (Cell(words, "accent"),))


def _groups(title: str, groups: tuple[ProfileGroup, ...], bar_width: int, glyphs: Glyphs) -> Iterator[Row]:
    if not groups:
        return
    yield _title(title)
    for group in groups:
        rate = "" if group.reply_rate is None else f"{group.reply_rate:.0f}"
        running = f" {glyphs.run}{group.running}" if group.running else ""
        name = Cell(f"  {group.name or UNKNOWN}", "" if group.name else "faint", ((running, "ok"),))
        words = "  ".join(words for _, _, words in share_words(group.parts))
        yield Row(
            (title, group.name),
            (
                name,
                Cell(f"{group.count:,}"),
                Cell(format_duration(group.parts.total_ns), "strong"),
                Cell(format_duration(group.pause_ns), "" if group.pause_ns else "faint"),
                Cell(format_count(group.prompt_tokens), "muted"),
                Cell(format_count(group.reply_tokens), "muted"),
                Cell(rate, "muted"),
                Cell(str(group.errors) if group.errors else "", "bad"),
                Cell(format_joules(group.energy_mj / 1000) if group.energy_count else "", "muted"),
                parts_bar(group.parts, bar_width, glyphs),
                Cell(words, "muted"),
            ),
        )


def _leaders(title: str, leaders: tuple[Leader, ...], glyphs: Glyphs) -> Iterator[Row]:
    if not leaders:
        return
    yield _title(title)
    for leader in leaders:
        item = (leader.item or "").rstrip("/").rsplit("/", 1)[-1]
        whose = f" {glyphs.part_of} ".join(part for part in (leader.job, item) if part)
        value = format_duration(leader.value) if leader.unit == "ns" else f"{format_count(leader.value)}t"
        model = Cell(leader.model or UNKNOWN, "muted")
        cells = {"name": Cell(f"  {whose or leader.model or UNKNOWN}"), "bar": model if whose else Cell("")}
        cells |= {"count": Cell(f"#{leader.exchange}", "faint"), "time": Cell(value, "strong")}
        row = tuple(cells.get(column.key, Cell("")) for column in COLUMNS)
        yield Row(("exchange", title, leader.exchange), row)


def _finding(query: str, found: Finding, glyphs: Glyphs) -> Row:
    term = f"{query} verdict:{quoted('=' + found.kind)}".strip()
    words = f"  {glyphs.verdict} {found.kind.replace('_', ' ')}"
    cells = {"name": Cell(words, "warn"), "count": Cell(f"{found.count:,}")}
    cells["time"] = Cell(format_duration(found.took_ns), "strong")
    row = tuple(cells.get(column.key, Cell("")) for column in COLUMNS)
    return Row(("verdict", term, found.example), row)


def group_at(made: Profile, key: object) -> ProfileGroup | None:
    """The group whose line has this key."""
    if not isinstance(key, tuple) or len(key) != 2:
        return None
    groups = {"by model": made.models, "by job": made.jobs}.get(key[0], ())
    return next((group for group in groups if group.name == key[1]), None)

"""What rules say of outputs, as lines: the list, the evidence, scores, the course. Pure functions of it and a width."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from nightdesk.core.foreign import safe_line
from nightdesk.core.outputs.results import merged
from nightdesk.model.outputs import (
    BINS,
    OUTPUT_STATES,
    CourseStep,
    OutputPage,
    OutputResult,
    OutputState,
    RuleResult,
)
from nightdesk.model.units import NS, format_bytes, format_count
from nightdesk.tui.glyphs import Glyphs
from nightdesk.tui.text import Cell, Part, Tone
from nightdesk.tui.widgets.grid import Column, Row

COLUMNS = (
    Column("state", "", width=1),
    Column("flag", "", width=1),
    Column("item", "item", flex=3),
    Column("score", "score", width=5, align="right"),
    Column("rules", "breaks", width=16, least=100),
    Column("why", "", flex=4, least=56),
    Column("at", "at", width=5, least=76),
)
SIGNS: dict[OutputState, tuple[str, Tone]] = {
    "failed": ("fail", "bad"),
    "doubtful": ("warn", "warn"),
    "unknown": ("lost", "muted"),
    "passed": ("done", "ok"),
}
BIN_CELLS = 3
"""Width of a tenth in the histogram."""
HISTOGRAM_CELLS = BINS * BIN_CELLS
DAY_NS = 86_400 * NS


def result_row(result: OutputResult, glyphs: Glyphs) -> Row:
    """The line of an output; its key is the item."""
    sign, tone = SIGNS[result.state]
    told = result.broken or tuple(each for each in result.results if each.state == "unknown")
    why = safe_line(told[0].evidence, 300) if told else ""
    if result.note:
        why = f"{safe_line(result.note, 80)}  {why}"
    rules = ", ".join(each.rule for each in result.broken)
    score = f"{result.score:.2f}" if result.score is not None else ""
    quiet: Tone = "muted" if result.state == "passed" else ""
    return Row(
        result.item,
        (
            Cell(getattr(glyphs, sign), tone),
            Cell(glyphs.picked if result.flagged else "", "accent"),
            Cell(safe_line(result.item), quiet),
            Cell(score, tone if result.state != "passed" else "muted"),
            Cell(rules, tone),
            Cell(why, "muted"),
            Cell(_clock(result.at_ns), "faint"),
        ),
    )


def counts_line(page: OutputPage, shown: Sequence[OutputState], glyphs: Glyphs) -> list[Part]:
    """How many outputs are in which state; those that are not shown are faint."""
    parts: list[Part] = []
    for state in OUTPUT_STATES:
        if count := page.counts.get(state, 0):
            sign, tone = SIGNS[state]
            is_shown = not shown or state in shown
            words = f"{getattr(glyphs, sign)} {format_count(count)} {state}  "
            parts.append(Cell(words, tone if is_shown else "faint"))
    if page.flagged:
        parts.append(Cell(f"{glyphs.picked} {page.flagged} flagged  ", "accent"))
    return parts or [Cell("Nothing was looked at yet.", "muted")]


def rules_line(page: OutputPage, chosen: str | None, glyphs: Glyphs) -> list[Part]:
    """How many outputs break which rule."""
    if not page.rules:
        return [Cell(f"{glyphs.done} no rule is broken" if page.counts else "", "muted")]
    parts: list[Part] = [Cell("breaks  ", "muted")]
    for rule, count in page.rules.items():
        tone: Tone = "strong" if rule == chosen else "" if chosen is None else "faint"
        parts.append(Cell(f"{rule} {count}  ", tone))
    return parts


def evidence(result: OutputResult, glyphs: Glyphs) -> list[list[Part]]:
    """What each rule says of an output, the worst first: a line for each."""
    ordered = sorted(result.results, key=lambda each: OUTPUT_STATES.index(each.state))
    return [_rule_line(each, glyphs) for each in ordered]


def _rule_line(result: RuleResult, glyphs: Glyphs) -> list[Part]:
    sign, tone = SIGNS[result.state]
    score = f"{result.score:.2f}" if result.score is not None else ""
    quiet: Tone = "muted" if result.state == "passed" else ""
    return [
        Cell(f"{getattr(glyphs, sign)} {result.rule:<13} ", tone),
        Cell(f"{score:>4}  ", "muted"),
        Cell(safe_line(result.evidence, 300), quiet),
    ]


def about(result: OutputResult, glyphs: Glyphs) -> list[Part]:
    """Which file this is, and when it was looked at."""
    size = f" {glyphs.dot} {format_bytes(result.output_bytes)}" if result.output_bytes is not None else ""
    who = f"after {result.run}" if result.run else "by hand"
    when = datetime.fromtimestamp(result.at_ns / NS).strftime("%Y-%m-%d %H:%M:%S")
    words = f"{safe_line(result.output, 200)}{size} {glyphs.dot} looked at {who}, {when}"
    return [Cell(words, "muted")]


def histogram(page: OutputPage, height: int, glyphs: Glyphs) -> list[list[Part]]:
    """How many outputs have which score: ``height`` lines of bars, an axis below."""
    most = max(page.histogram, default=0)
    if not most:
        return [[Cell("no scores yet", "faint")]]
    steps = len(glyphs.bars) - 1
    lines: list[list[Part]] = []
    for level in reversed(range(height)):
        parts: list[Part] = []
        for place, count in enumerate(page.histogram):
            eighths = max(1, round(count / most * steps * height)) if count else 0
            bar = glyphs.bars[max(0, min(steps, eighths - level * steps))]
            tone: Tone = "ok" if place == BINS - 1 else "warn" if place >= BINS // 2 else "bad"
            parts.append(Cell(bar * (BIN_CELLS - 1) + " ", tone))
        lines.append(parts)
    mean = f" mean {page.mean:.2f} " if page.mean is not None else ""
    lines.append([Cell("0" + mean.center(HISTOGRAM_CELLS - 3) + "1", "muted")])
    return lines


def course(steps: Sequence[CourseStep], width: int, height: int, glyphs: Glyphs) -> list[list[Part]]:
    """Pass and fail over time: the share that failed as a bar, or that is doubtful; a dot where all passed."""
    if not steps or width < 20:
        return [[Cell("", "faint")]]
    shown = merged(steps, width)
    lines = [
        [_course_cell(step, level, height, glyphs) for step in shown] for level in reversed(range(height))
    ]
    return [*lines, [Cell(_axis(steps, min(width, max(len(shown), 40))), "muted")]]


def _axis(steps: Sequence[CourseStep], width: int) -> str:
    """When the first was looked at, how many, when the last."""
    begin, end = steps[0].from_ns, steps[-1].until_ns
    form = "%m-%d" if end - begin > DAY_NS else "%H:%M"
    first, last = (datetime.fromtimestamp(each / NS).strftime(form) for each in (begin, end))
    count = f"{format_count(sum(step.count for step in steps))} looked at"
    room = width - len(first) - len(last)
    return f"{first}{count.center(room) if len(count) + 2 <= room else ' ' * max(1, room)}{last}"


def _course_cell(step: CourseStep, level: int, height: int, glyphs: Glyphs) -> Part:
    bad = step.failed or step.doubtful
    if not bad:
        return Cell(glyphs.dot if not level else " ", "ok")
    top = len(glyphs.bars) - 1
    eighths = max(1, round(bad / step.count * top * height))
    return Cell(glyphs.bars[max(0, min(top, eighths - level * top))], "bad" if step.failed else "warn")


def _clock(at_ns: int) -> str:
    return datetime.fromtimestamp(at_ns / NS).strftime("%H:%M")

"""What the sheet of a trial run shows: its exchanges, the accelerators while it ran, and what was before."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from nightdesk.core.inspection.diff import diff_texts
from nightdesk.core.jobs.failure_advice import failure_words
from nightdesk.model.exchange import ExchangeRow
from nightdesk.model.items import ItemComparison, ItemOutcome
from nightdesk.model.job import Run
from nightdesk.model.sample import Device, Sample
from nightdesk.model.units import (
    UNKNOWN,
    format_bytes,
    format_count,
    format_duration,
    format_percent,
    format_watts,
)
from nightdesk.tui.glyphs import Glyphs
from nightdesk.tui.panes.job_lines import clock
from nightdesk.tui.text import Cell, Tone
from nightdesk.tui.widgets.diffview import DiffRow, Look, text_rows
from nightdesk.tui.widgets.grid import Column, Row
from nightdesk.tui.widgets.lines import Pieces

EXCHANGE_COLUMNS = (
    Column("state", "", width=1),
    Column("began", "began", width=5),
    Column("operation", "", width=8, least=60),
    Column("model", "model", flex=1),
    Column("prompt", "prompt", width=6, align="right"),
    Column("reply", "reply", width=6, align="right"),
    Column("took", "took", width=7, align="right"),
    Column("said", "", flex=2, least=60),
)
NAME = 14
BARS = 60


def exchange_rows(rows: Iterable[ExchangeRow], now_ns: int, glyphs: Glyphs) -> list[Row]:
    """One line for each exchange, in the order in which they began."""
    signs: dict[str, tuple[str, Tone]] = {
        "running": (glyphs.run, "ok"),
        "complete": (glyphs.done, "ok"),
        "failed": (glyphs.fail, "bad"),
        "aborted": (glyphs.stop, "warn"),
        "incomplete": (glyphs.lost, "warn"),
    }
    found = []
    for row in rows:
        sign, tone = signs.get(row.state, (glyphs.cut, "muted"))
        said = f"{glyphs.verdict} {', '.join(row.verdicts)}" if row.verdicts else row.error or row.tail
        found.append(
            Row(
                row.id,
                (
                    Cell(sign, tone),
                    Cell(clock(row.started_ns), "muted"),
                    Cell(row.operation),
                    Cell(row.model or UNKNOWN),
                    Cell(format_count(row.prompt_tokens)),
                    Cell(format_count(row.reply_tokens)),
                    Cell(format_duration((row.ended_ns or now_ns) - row.started_ns)),
                    Cell(said, "warn" if row.verdicts or row.error else "muted"),
                ),
            )
        )
    return found


class Series(NamedTuple):
    """Some measurements of one device."""

    ratios: list[float]
    watts: list[float]
    used: list[int]
    own: list[int]
    """Memory that the processes of the run held."""


def accelerator_lines(samples: Iterable[Sample], pids: frozenset[int], glyphs: Glyphs) -> list[Pieces]:
    """What each device did in these samples; ``pids`` are the processes of the run."""
    taken = list(samples)
    if not taken:
        return [(("Nothing was measured while it ran.", "muted"),)]
    lines: list[Pieces] = []
    devices: dict[str, list[Device]] = {}
    for sample in taken:
        for device in sample.devices:
            devices.setdefault(device.id, []).append(device)
    for seen in devices.values():
        lines += _device_lines(seen, pids, glyphs)
    if not devices:
        lines.append((("This machine shows no accelerator.", "muted"),))
    cpu = [sample.cpu.ratio for sample in taken if sample.cpu is not None and sample.cpu.ratio is not None]
    if cpu:
        lines += [(), (("CPU".ljust(NAME), "muted"), (_shares(cpu), "")), _bars(cpu, glyphs)]
    memory = [each.memory_used_bytes for each in taken if each.memory_used_bytes is not None]
    if memory:
        lines.append((("memory".ljust(NAME), "muted"), (_sizes(memory), "")))
    span = taken[-1].at_ns - taken[0].at_ns
    words = f"{len(taken)} samples over {format_duration(span)}; of the whole machine, not of this run alone."
    return [*lines, (), ((words, "faint"),)]


def _device_lines(seen: Sequence[Device], pids: frozenset[int], glyphs: Glyphs) -> Iterator[Pieces]:
    yield ((f"{seen[0].kind.upper()} {seen[0].name}", "strong"),)
    ratios = [each.active_ratio for each in seen if each.active_ratio is not None]
    watts = [each.power_w for each in seen if each.power_w is not None]
    used = [each.memory_used_bytes for each in seen if each.memory_used_bytes is not None]
    own = [
        sum(p.memory_bytes or 0 for p in each.processes if p.pid in pids) for each in seen if each.processes
    ]
    if ratios:
        guess = " (estimate)" if "active_ratio" in seen[-1].estimated else ""
        yield (("active".ljust(NAME), "muted"), (_shares(ratios) + guess, ""))
        yield _bars(ratios, glyphs)
    if watts:
        mean = sum(watts) / len(watts)
        words = f"{format_watts(mean)} on average, at most {format_watts(max(watts))}"
        yield (("power".ljust(NAME), "muted"), (words, ""))
    if used:
        yield (("memory".ljust(NAME), "muted"), (_sizes(used), ""))
    if any(own):
        words = f"at most {format_bytes(max(own))}"
        yield (("of the run".ljust(NAME), "muted"), (words, ""))
    if not (ratios or watts or used):
        reason = next(iter(seen[-1].unknown.values()), "nothing is known of it")
        yield ((UNKNOWN.ljust(NAME), "muted"), (reason, "muted"))


def _shares(ratios: Sequence[float]) -> str:
    mean = sum(ratios) / len(ratios)
    return f"{format_percent(mean)} on average, at most {format_percent(max(ratios))}"


def _sizes(sizes: Sequence[int]) -> str:
    return f"{format_bytes(sizes[0])} at first, at most {format_bytes(max(sizes))}"


def _bars(ratios: Sequence[float], glyphs: Glyphs) -> Pieces:
    """The course of a share, the newest at the right; each bar is the highest of its span."""
    step = max(1, -(-len(ratios) // BARS))
    tops = [max(ratios[at : at + step]) for at in range(0, len(ratios), step)]
    last = len(glyphs.bars) - 1
    drawn = "".join(glyphs.bars[max(1, min(last, round(top * last)))] for top in tops)
    return ((" " * NAME, ""), (drawn, "primary"))


def comparison_rows(compared: ItemComparison, look: Look) -> Iterator[DiffRow]:
    """What the item gave now beside what it gave before, then the two outputs."""
    now, before = compared.now, compared.before
    room = max(24, min(44, (look.width - NAME) // 2))
    yield DiffRow((("".ljust(NAME), ""), ("before".ljust(room), "muted"), ("now", "strong")))
    for name, left, right, tone in _facts(before, now):
        mark: Tone = tone if left != right else ""
        yield DiffRow(((name.ljust(NAME), "muted"), (left[: room - 1].ljust(room), "muted"), (right, mark)))
    if before is None:
        yield DiffRow((("No earlier run of this item is on record.", "muted"),))
    yield DiffRow(())
    if compared.output_path is None:
        yield DiffRow(((compared.note or "", "muted"),))
        return
    yield DiffRow((("output".ljust(NAME), "muted"), (compared.output_path, "strong")))
    if compared.note:
        yield DiffRow(((compared.note, "warn"),))
    yield from _output_rows(compared, look)


def _output_rows(compared: ItemComparison, look: Look) -> Iterator[DiffRow]:
    left, right = compared.output_before, compared.output_now
    if left is None and right is None:
        yield DiffRow((("There was no output before, and there is none now.", "muted"),))
    elif left is None and right is not None:
        yield DiffRow((("There was no output before; this is the new one.", "muted"),))
        for text in right.splitlines():
            yield DiffRow((("+ ", "ok"), (text, "")))
    elif right is None:
        yield DiffRow((("Its earlier output is gone.", "warn"),))
    elif left == right:
        yield DiffRow((("It is identical to the earlier output, byte for byte.", "ok"),))
    else:
        yield from text_rows(diff_texts(left or "", right), look)


def _facts(before: ItemOutcome | None, now: ItemOutcome) -> Iterator[tuple[str, str, str, Tone]]:
    yield "run", before.run if before else UNKNOWN, now.run, ""
    tone: Tone = "bad" if now.state in ("failed", "lost") else "ok"
    yield "state", before.state if before else UNKNOWN, now.state, tone
    yield "took", _took(before), _took(now), ""
    if now.failure or (before and before.failure):
        yield "failure", _failure(before), _failure(now), "bad"
    yield "exchanges", _count(before, "exchanges"), _count(now, "exchanges"), ""
    yield "prompt tokens", _count(before, "prompt_tokens"), _count(now, "prompt_tokens"), ""
    yield "reply tokens", _count(before, "reply_tokens"), _count(now, "reply_tokens"), ""


def _took(outcome: ItemOutcome | None) -> str:
    return format_duration(outcome.took_ns) if outcome and outcome.took_ns is not None else UNKNOWN


def _failure(outcome: ItemOutcome | None) -> str:
    return failure_words(outcome.failure) if outcome and outcome.failure else "none"


def _count(outcome: ItemOutcome | None, name: str) -> str:
    value = getattr(outcome, name) if outcome else None
    return UNKNOWN if value is None else f"{value:,}"


def samples_of(samples: Iterable[Sample], run: Run) -> list[Sample]:
    """Those that were taken while a run went on."""
    if run.started_ns is None:
        return []
    end = run.ended_ns or 2**63
    return [sample for sample in samples if run.started_ns <= sample.at_ns <= end + sample.elapsed_ns]

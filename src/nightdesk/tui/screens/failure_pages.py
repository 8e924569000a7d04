"""What the sheet of a failed attempt shows: why in words, its processes, samples and surroundings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from nightdesk.core.jobs.failure_advice import advice, class_words, end_words
from nightdesk.core.processes.tree import descendants
from nightdesk.model.diagnosis import Diagnosis, FailedAttempt
from nightdesk.model.process import ProcessRow
from nightdesk.model.sample import Sample
from nightdesk.model.units import (
    NS,
    UNKNOWN,
    format_bytes,
    format_duration,
    format_percent,
)
from nightdesk.tui.glyphs import Glyphs
from nightdesk.tui.text import Cell, Part, Tone
from nightdesk.tui.widgets.chart import MINUTE_NS, ChartView, Mark, Series, nice_top
from nightdesk.tui.widgets.lines import Pieces

NAME = 14
OUR_NAMES = ("NIGHTDESK_", "OLLAMA_", "CUDA_", "PYTHON")
"""Variables that say most about a run: they stand first."""

BY_DESK = frozenset({"timeout", "stalled"})
"""Classes of attempts that the desk has ended: the signal was ours."""


def moment(at_ns: int) -> str:
    """Day and time to the second, in local time."""
    return datetime.fromtimestamp(at_ns / NS).strftime("%Y-%m-%d %H:%M:%S")


def reason_parts(what: FailedAttempt, glyphs: Glyphs) -> list[Part]:
    """The class with its evidence, and what to do about it: a line each."""
    failure = what.failure
    kind = "" if failure.kind == "error" else f"{class_words(failure.kind)}  "
    words = Cell(f"{glyphs.fail} {kind}", "bad", ((failure.evidence, "strong"),))
    said = advice(failure.kind)
    return [words, "\n", Cell(f"{glyphs.arrow} {said}", "accent")] if said else [words]


def end_parts(found: Diagnosis) -> list[Part]:
    """When and how it ended, and which try it was."""
    what = found.what
    took = format_duration(max(0, what.ended_ns - (found.started_ns or found.launched_ns)))
    how = "ended by the desk" if what.failure.kind in BY_DESK else end_words(found.exit_status, found.signal)
    words = (
        f"{moment(what.ended_ns)}, after {took}, {how}; try {what.attempt}, attempt {what.serial} of the run"
    )
    return ["\n", Cell(words, "muted")]


def log_lines(found: Diagnosis) -> list[Pieces]:
    """The last lines of its output; of a progress bar only its last state."""
    lines: list[Pieces] = []
    for text in found.log_tail.removesuffix("\n").split("\n") if found.log_tail else ():
        shown = text.rstrip("\r").rsplit("\r", 1)[-1]
        tone: Tone = "bad" if shown.strip() and shown.strip() in found.what.failure.evidence else ""
        lines.append(((shown, tone),))
    return lines or [(("It has printed nothing.", "muted"),)]


def process_lines(found: Diagnosis, glyphs: Glyphs) -> list[Pieces]:
    """Its processes as a tree, as they were seen last."""
    if not found.processes:
        return [(("None was seen: it ended before the next look at the processes.", "muted"),)]
    seen_ns = found.processes_at_ns or found.what.ended_ns
    age = format_duration(max(0, found.what.ended_ns - seen_ns))
    head = f"{'pid':>8}  {'':1}  {'cpu':>6}  {'memory':>9}  {'accel.':>9}  command"
    lines: list[Pieces] = [((f"As seen {age} before the end.", "muted"),), (), ((head, "muted"),)]
    return lines + [_process_line(row, depth, glyphs) for row, depth in _tree(found.processes)]


def _tree(rows: Sequence[ProcessRow]) -> Iterator[tuple[ProcessRow, int]]:
    by_pid = {row.key.pid: row for row in rows}
    parents = {pid: row.ppid for pid, row in by_pid.items()}
    roots = tuple(pid for pid, row in by_pid.items() if row.ppid not in by_pid)
    return ((by_pid[pid], depth) for pid, depth in descendants(roots, parents) if pid in by_pid)


def _process_line(row: ProcessRow, depth: int, glyphs: Glyphs) -> Pieces:
    held = format_bytes(row.device_bytes) if row.device_bytes is not None else ""
    cpu, size = format_percent(row.cpu_ratio), format_bytes(row.rss_bytes)
    branch = "  " * (min(depth, 12) - 1) + f"{glyphs.last} " if depth else ""
    return (
        (f"{row.key.pid:>8}  {row.state:1}  {cpu:>6}  {size:>9}  {held:>9}  ", "muted"),
        (branch, "faint"),
        (row.command or row.name, ""),
    )


def surroundings(found: Diagnosis) -> list[Pieces]:
    """Command, folder, versions and environment; secrets were masked when this was kept."""
    lines: list[Pieces] = [
        _named("command", " ".join(found.command)),
        _named("in", found.working_folder),
        _named("log", found.log_path or UNKNOWN),
        _named("kept in", found.folder),
        (),
    ]
    lines += [_named(name, version) for name, version in found.versions.items()]
    lines += [(), ((f"{len(found.environment)} variables; secrets are masked", "muted"),)]
    lines += [((f"{name}=", "accent"), (value, "")) for name, value in _ordered(found.environment.items())]
    return lines


def _ordered(variables: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    return sorted(variables, key=lambda pair: (not pair[0].startswith(OUR_NAMES), pair[0]))


def _named(name: str, value: str) -> Pieces:
    return ((f"{name:<{NAME}} ", "muted"), (value, ""))


def chart_of(found: Diagnosis) -> ChartView | None:
    """How busy accelerator or machine were, and how full their memory. None without two samples."""
    samples = found.samples
    if len(samples) < 2:
        return None
    end_ns = max(found.what.ended_ns, samples[-1].at_ns)
    minutes = -(-(end_ns - samples[0].at_ns) // MINUTE_NS)
    mark = Mark(found.started_ns or found.launched_ns, found.what.ended_ns, found.what.item or found.what.job)
    return ChartView(
        (_busy(samples), _memory(samples)), end_ns, max(1, minutes) * MINUTE_NS, (mark,), end="end"
    )


def _busy(samples: Sequence[Sample]) -> Series:
    """The most used accelerator, or the processor where none says how busy it is."""
    device = [
        max((each.active_ratio for each in sample.devices if each.active_ratio is not None), default=None)
        for sample in samples
    ]
    if any(value is not None for value in device):
        return Series("accelerator", " %", "primary", 100.0, _points(samples, device, 0.01))
    cpu = [sample.cpu.ratio if sample.cpu is not None else None for sample in samples]
    return Series("cpu", " %", "primary", 100.0, _points(samples, cpu, 0.01))


def _memory(samples: Sequence[Sample]) -> Series:
    """The memory of accelerators, or of the machine where they have none of their own."""
    pairs = [
        [(each.memory_used_bytes, each.memory_total_bytes) for each in sample.devices] for sample in samples
    ]
    used: list[float | None] = [
        sum(one or 0 for one, _ in each) if any(one for one, _ in each) else None for each in pairs
    ]
    total: float = max((sum(whole or 0 for _, whole in each) for each in pairs), default=0)
    name = "its memory"
    if not any(used):
        used = [sample.memory_used_bytes for sample in samples]
        total, name = max((sample.memory_total_bytes or 0 for sample in samples), default=0), "memory"
    most = max((value or 0 for value in used), default=0)
    return Series(name, " GB", "warn", nice_top(max(total, most, 1.0) / 1e9), _points(samples, used, 1e9))


def _points(
    samples: Sequence[Sample], values: Sequence[float | None], unit: float
) -> tuple[tuple[int, float | None], ...]:
    return tuple(
        (sample.at_ns, None if value is None else value / unit)
        for sample, value in zip(samples, values, strict=True)
    )

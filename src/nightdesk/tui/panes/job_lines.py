"""The lines of the jobs pane: what there is to say about a job and its run in the width of a line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from nightdesk.client.mirror import Mirror
from nightdesk.core.jobs.failure_advice import class_words
from nightdesk.core.jobs.graph import run_shown
from nightdesk.core.jobs.start_times import waiting_brief
from nightdesk.model.job import ENDED, JobView, Run
from nightdesk.model.units import NS, format_duration
from nightdesk.tui.glyphs import Glyphs
from nightdesk.tui.text import Cell, Tone, cells_of, shortened
from nightdesk.tui.widgets.grid import Column, Row
from nightdesk.tui.widgets.meter import format_rate, is_percent, items_bar, progress_bar

BAR, SHORT_BAR = 16, 8
BARS_FROM = 48
"""Cells of grid from which on there is room for a bar."""
BRIEF_BELOW = 64
"""Cells of grid below which there is no room for a rate, and little for a name."""
WIDE = 74
"""Cells of grid from which on there is room for a bar of full length."""
VERY_WIDE = 110
LEAST_NAME, LEAST_COUNT = 6, 5
STATE_TONES: dict[str, Tone] = {
    "running": "ok",
    "paused": "warn",
    "waiting": "muted",
    "stopping": "warn",
    "done": "ok",
    "failed": "bad",
    "stopped": "muted",
    "lost": "bad",
}


class JobLine(NamedTuple):
    """A job with the run that its line tells of."""

    job: JobView
    run: Run | None


@dataclass(frozen=True, slots=True)
class JobsView:
    """What the pane shows."""

    rows: tuple[Row, ...]
    lines: tuple[JobLine, ...]
    counts: tuple[tuple[str, int], ...]
    """State → number of runs in it, for those that are not over."""
    jobs: int
    columns: tuple[Column, ...]


def select(
    desk: Mirror,
    now_ns: int,
    glyphs: Glyphs,
    needle: str = "",
    asked: Mapping[str, str] | None = None,
    room: int = WIDE,
) -> JobsView:
    """Jobs in the order of the file; a job with several active runs has a line for each.

    ``asked``: run or job → what was asked of it and is not answered yet. ``room``: cells of a line.
    """
    lines = [line for job in desk.jobs.values() for line in _lines_of(job, desk)]
    found = [line for line in lines if _matches(line, needle)]
    states = [line.run.state for line in lines if line.run is not None and line.run.state not in ENDED]
    order = ("running", "paused", "waiting", "stopping")
    columns = columns_of(found, room)
    rows, seen = [], set[str]()
    for line in found:
        key = (line.job.name, line.run.id if line.run and line.job.name in seen else "")
        seen.add(line.job.name)
        cells = _cells(line, now_ns, glyphs, columns)
        said = (asked or {}).get(line.run.id if line.run else "") or (asked or {}).get(line.job.name)
        if said:
            cells = (*cells[:-1], Cell(said, "warn"))
        rows.append(Row(key, cells))
    counts = tuple((state, states.count(state)) for state in order if state in states)
    return JobsView(tuple(rows), tuple(found), counts, len(desk.jobs), columns)


def columns_of(lines: Sequence[JobLine], room: int) -> tuple[Column, ...]:
    """Columns for ``room`` cells: names and counts take no more than these lines need."""
    most = 13 if room < BRIEF_BELOW else 18 if room < VERY_WIDE else 32
    names = max((cells_of(line.job.name) + len(_mode(line)) for line in lines), default=0)
    counts = max((len(_count_of(line.run)) for line in lines if line.run is not None), default=0)
    bar = Column("bar", "", width=BAR if room >= WIDE else SHORT_BAR)
    return (
        Column("state", "", width=1),
        Column("job", "job", width=min(most, max(LEAST_NAME, names))),
        *((bar,) if room >= BARS_FROM else ()),
        Column("count", "done", width=max(LEAST_COUNT, counts), align="right"),
        Column("note" if room >= BRIEF_BELOW else "brief", "", flex=1),
    )


def _lines_of(job: JobView, desk: Mirror) -> list[JobLine]:
    runs = [run for run in desk.runs.values() if run.job == job.name]
    active = [run for run in runs if run.state not in ENDED]
    if active:
        return [JobLine(job, run) for run in reversed(active)]
    return [JobLine(job, run_shown(runs, job.name))]


def _matches(line: JobLine, needle: str) -> bool:
    words = f"{line.job.name} {line.job.command} {line.run.state if line.run else ''}"
    return needle.casefold() in words.casefold()


def is_whispering(run: Run) -> bool:
    """Whether a run looks as if it transcribes: by its command, or by the positions in audio that it prints."""
    words = run.command.lower()
    unit = run.progress.unit if run.progress is not None else ""
    return "whisper" in words or "transcri" in words or unit == "s of audio"


def state_cell(state: str, glyphs: Glyphs) -> Cell:
    """The sign of a run's state."""
    signs = {
        "running": glyphs.run,
        "paused": glyphs.pause,
        "waiting": glyphs.wait,
        "stopping": glyphs.stop,
        "done": glyphs.done,
        "failed": glyphs.fail,
        "stopped": glyphs.stop,
        "lost": glyphs.lost,
    }
    return Cell(signs.get(state, glyphs.idle), STATE_TONES.get(state, "muted"))


def _mode(line: JobLine) -> str:
    return {"single": " (1)", "dry": " (dry)"}.get(line.run.mode, "") if line.run is not None else ""


def _cells(line: JobLine, now_ns: int, glyphs: Glyphs, columns: Sequence[Column]) -> tuple[Cell, ...]:
    """A cell for each column; where there is no progress to tell of, what there is to say takes its room."""
    job, run = line
    if run is None:
        return Cell(glyphs.idle, "faint"), Cell(job.name), Cell(job.description or "not started yet", "faint")
    mode, widths = _mode(line), {column.key: column.width for column in columns}
    name = shortened(job.name, widths["job"] - len(mode), glyphs.cut) + mode
    note = note_of(run, now_ns, glyphs, brief="brief" in widths)
    head = (state_cell(run.state, glyphs), Cell(name, "strong"))
    bar, count = progress_cells(run, glyphs, widths.get("bar", 0))
    if not count.text:
        return (*head, note)
    return (*head, *((bar,) if "bar" in widths else ()), count, note)


def progress_cells(run: Run, glyphs: Glyphs, width: int = BAR) -> tuple[Cell, Cell]:
    """A bar of ``width`` cells and ``37/52``; empty where nothing is known of the run's progress."""
    done, total = _done_of(run)
    words = _count_of(run)
    if done is None or not words:
        return Cell(""), Cell("")
    ended = run.state in ENDED
    tone: Tone = "muted" if run.state == "paused" or ended else "primary"
    return bar_of(run, done, total, width, glyphs, tone), Cell(words, "muted" if ended else "")


def _count_of(run: Run) -> str:
    done, total = _done_of(run)
    if done is None or (run.state in ENDED and run.state != "failed" and not total):
        return ""
    if run.items_total is None and run.progress is not None and is_percent(run.progress):
        return f"{done:.0f} %"
    return f"{done:g}" + (f"/{total:g}" if total else "")


def bar_of(
    run: Run, done: float, total: float | None, width: int, glyphs: Glyphs, tone: Tone = "primary"
) -> Cell:
    """How far a run is; items that were passed over and items that failed stand apart."""
    if run.items_total is None:
        return progress_bar(done / total if total else None, width, glyphs, tone)
    done_now = run.items_done - run.items_skipped
    return items_bar((done_now, run.items_skipped, run.items_failed), run.items_total, width, glyphs, tone)


def _done_of(run: Run) -> tuple[float | None, float | None]:
    if run.items_total is not None:
        return run.items_done, run.items_total
    if run.progress is not None:
        total = run.progress.total
        if run.mode == "single" and run.state == "done" and total:
            return total, total  # whatever its progress file says of the batch
        return run.progress.done_of_whole(run.state == "done"), total
    return None, None


def note_of(run: Run, now_ns: int, glyphs: Glyphs, *, brief: bool = False) -> Cell:
    """What there is to say about a run in half a line; ``brief`` leaves out the rate."""
    match run.state:
        case "running" | "stopping":
            return _running_note(run, now_ns, glyphs, brief)
        case "paused":
            since = f"paused {clock(run.paused_ns)}" if run.paused_ns else "paused"
            return Cell(since, "warn", ((f" {glyphs.dot} {run.reason}" if run.reason else "", "muted"),))
        case "waiting":
            left, reason = waiting_brief(run, now_ns)
            return Cell(left, "", ((f" {glyphs.dot} " if left else "", "muted"), (reason, "muted")))
        case "failed" | "lost":
            return _failed_note(run, brief)
        case _:
            return _ended_note(run)


def _running_note(run: Run, now_ns: int, glyphs: Glyphs, brief: bool) -> Cell:
    words: list[str] = ["stopping"] if run.state == "stopping" else []
    if run.holding:
        words.append("pauses after this item" if len(run.flights) < 2 else "pauses after these")
    progress = run.progress
    if progress is not None and progress.eta_ns is not None:
        left = max(0, progress.eta_ns - max(0, now_ns - progress.at_ns))
        words.append(f"ETA {format_duration(left)}" if left > NS else "ETA passed")
    elif run.started_ns is not None:
        words.append(f"for {format_duration(max(0, now_ns - run.started_ns) // NS * NS)}")
    if not brief and progress is not None and progress.rate_per_s and not is_percent(progress):
        words.append(format_rate(progress.rate_per_s, progress.unit))
    item = run.item or (progress.item if progress else None)
    more = f" +{len(run.flights) - 1}" if item and len(run.flights) > 1 else ""
    gap = f" {glyphs.dot} "
    return Cell(gap.join(words), "", (*_apart(run), (f"  {item}{more}" if item else "", "muted")))


def _apart(run: Run) -> tuple[tuple[str, Tone], ...]:
    """The items that failed and those that were passed over."""
    failed = f"  {run.items_failed} failed" if run.items_failed else ""
    skipped = f"  {run.items_skipped} skipped" if run.items_skipped else ""
    return (failed, "bad"), (skipped, "muted")


def _failed_note(run: Run, brief: bool) -> Cell:
    """When, the class of the failure, its evidence: what comes last may be cut."""
    when = f"{clock(run.ended_ns)} " if run.ended_ns and not brief else ""
    if run.failure is None:
        return Cell(when, "muted", ((run.reason or run.state, "bad"),))
    kind, evidence = run.failure.kind, run.failure.evidence
    words = f"{run.items_failed} failed" if kind == "items" else class_words(kind)
    if kind == "error" or evidence.casefold().startswith(words):
        return Cell(when, "muted", ((evidence, "bad"),))
    evidence = evidence.rpartition("failed: ")[2] if kind == "items" else evidence
    return Cell(when, "muted", ((words, "bad"), (f": {evidence}", "muted")))


def _ended_note(run: Run) -> Cell:
    words = f"{run.state} {clock(run.ended_ns)}" if run.ended_ns else run.state
    if run.started_ns is not None and run.ended_ns is not None:
        words += f" in {format_duration(run.ended_ns - run.started_ns)}"
    return Cell(words, "muted", _apart(run))


def clock(at_ns: int | None) -> str:
    """A moment as ``02:10`` in local time."""
    return "" if at_ns is None else datetime.fromtimestamp(at_ns / NS).strftime("%H:%M")

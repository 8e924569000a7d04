"""Pane 1: every job of the desk, its run in progress or its last one.

Selected from jobs and runs. Empty when the desk has no jobs.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, NamedTuple

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from nightdesk.client.mirror import Mirror
from nightdesk.model.job import ENDED, JobView, Run, RunAction, RunMode, StartRun
from nightdesk.model.units import NS, format_duration
from nightdesk.tui.asks import OpenJob, RunActionRequested, SingleRequested, StartRequested
from nightdesk.tui.glyphs import Glyphs
from nightdesk.tui.panes.pane import LIVE, Heading, Look, Pane
from nightdesk.tui.text import Cell, Part, Tone, shortened
from nightdesk.tui.widgets.grid import Column, Grid, Row
from nightdesk.tui.widgets.meter import format_rate, is_percent, progress_bar

NAME, BAR, SHORT_BAR = 13, 16, 8
WIDE = 74
"""Cells of grid from which on there is room for a bar of full length."""
BRIEF_BELOW = 64
"""Cells of grid below which there is no room for a rate."""
COLUMNS = (
    Column("state", "", width=1),
    Column("job", "job", width=NAME),
    Column("short", "", width=SHORT_BAR, least=48, most=WIDE),
    Column("bar", "", width=BAR, least=WIDE),
    Column("count", "done", width=8, align="right"),
    Column("brief", "", flex=1, most=BRIEF_BELOW),
    Column("note", "", flex=1, least=BRIEF_BELOW),
)
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


def select(desk: Mirror, now_ns: int, glyphs: Glyphs, needle: str = "") -> JobsView:
    """Jobs in the order of the file; a job with several active runs has a line for each."""
    lines = [line for job in desk.jobs.values() for line in _lines_of(job, desk)]
    found = [line for line in lines if _matches(line, needle)]
    states = [line.run.state for line in lines if line.run is not None and line.run.state not in ENDED]
    order = ("running", "paused", "waiting", "stopping")
    rows, seen = [], set[str]()
    for line in found:
        key = (line.job.name, line.run.id if line.run and line.job.name in seen else "")
        seen.add(line.job.name)
        rows.append(Row(key, _cells(line, now_ns, glyphs)))
    counts = tuple((state, states.count(state)) for state in order if state in states)
    return JobsView(tuple(rows), tuple(found), counts, len(desk.jobs))


def _lines_of(job: JobView, desk: Mirror) -> list[JobLine]:
    runs = [run for run in desk.runs.values() if run.job == job.name]
    active = [run for run in runs if run.state not in ENDED]
    if active:
        return [JobLine(job, run) for run in reversed(active)]
    return [JobLine(job, max(runs, key=lambda run: run.created_ns, default=None))]


def _matches(line: JobLine, needle: str) -> bool:
    words = f"{line.job.name} {line.job.command} {line.run.state if line.run else ''}"
    return needle.casefold() in words.casefold()


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


def _cells(line: JobLine, now_ns: int, glyphs: Glyphs) -> tuple[Cell, ...]:
    job, run = line
    if run is None:
        note = job.description or "not started yet"
        told = Cell(note, "faint")
        return Cell(glyphs.idle, "faint"), Cell(job.name), *[Cell("")] * 3, told, told
    mode = {"single": " (1)", "dry": " (dry)"}.get(run.mode, "")
    name = shortened(job.name, NAME - len(mode), glyphs.cut) + mode
    short, bar, count = progress_cells(run, glyphs)
    return (
        state_cell(run.state, glyphs),
        Cell(name, "strong"),
        short,
        bar,
        count,
        note_of(run, now_ns, glyphs, brief=True),
        note_of(run, now_ns, glyphs),
    )


def progress_cells(run: Run, glyphs: Glyphs) -> tuple[Cell, Cell, Cell]:
    """A short bar, a long one and ``37/52``; empty where nothing is known of the run's progress."""
    done, total = _done_of(run)
    if done is None or (run.state in ENDED and run.state != "failed" and not total):
        return Cell(""), Cell(""), Cell("")
    ended = run.state in ENDED
    tone: Tone = "muted" if run.state == "paused" or ended else "primary"
    ratio = done / total if total else None
    short, bar = (progress_bar(ratio, width, glyphs, tone) for width in (SHORT_BAR, BAR))
    words = f"{done:g}" + (f"/{total:g}" if total else "")
    if run.items_total is None and run.progress is not None and is_percent(run.progress):
        words = f"{done:.0f} %"
    return short, bar, Cell(words, "muted" if ended else "")


def _done_of(run: Run) -> tuple[float | None, float | None]:
    if run.items_total is not None:
        return run.items_done, run.items_total
    if run.progress is not None:
        return run.progress.done_of_whole(run.state == "done"), run.progress.total
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
            return Cell(run.reason or "waits", "muted")
        case "failed" | "lost":
            why = f"{run.failure.kind}: {run.failure.evidence}" if run.failure else run.reason or run.state
            return Cell(why, "bad")
        case _:
            return _ended_note(run)


def _running_note(run: Run, now_ns: int, glyphs: Glyphs, brief: bool) -> Cell:
    words: list[str] = ["stopping"] if run.state == "stopping" else []
    progress = run.progress
    if progress is not None and progress.eta_ns is not None:
        left = max(0, progress.eta_ns - max(0, now_ns - progress.at_ns))
        words.append(f"ETA {format_duration(left)}" if left > NS else "ETA now")
    elif run.started_ns is not None:
        words.append(f"for {format_duration(max(0, now_ns - run.started_ns) // NS * NS)}")
    if not brief and progress is not None and progress.rate_per_s and not is_percent(progress):
        words.append(format_rate(progress.rate_per_s, progress.unit))
    item = run.item or (progress.item if progress else None)
    failed = f"  {run.items_failed} failed" if run.items_failed else ""
    gap = f" {glyphs.dot} "
    return Cell(gap.join(words), "", ((failed, "bad"), (f"  {item}" if item else "", "muted")))


def _ended_note(run: Run) -> Cell:
    words = f"{run.state} {clock(run.ended_ns)}" if run.ended_ns else run.state
    if run.started_ns is not None and run.ended_ns is not None:
        words += f" in {format_duration(run.ended_ns - run.started_ns)}"
    failed = f"  {run.items_failed} failed" if run.items_failed else ""
    return Cell(words, "muted", ((failed, "bad"),))


def clock(at_ns: int | None) -> str:
    """A moment as ``02:10`` in local time."""
    return "" if at_ns is None else datetime.fromtimestamp(at_ns / NS).strftime("%H:%M")


class JobsPane(Pane[JobsView]):
    """All jobs; start, pause, stop, try one item."""

    NUMBER = 1
    TITLE = "Jobs"
    PARTS = ("jobs", "runs")
    SOURCE = "jobs"
    TICKS = True
    BINDING_GROUP_TITLE = "Jobs"
    HELP = """
## Jobs

Each line is a job of `nightdesk.toml` with its run in progress, or its last one.

A run belongs to the engine: it goes on when you leave. **Pause** freezes every process of a run, memory and
video memory stay taken. **Stop** asks the processes to end, waits, then kills what is left; **kill** does not wait.
Both show first what they will hit.

**Single item** tries the job on one input before the night begins.
"""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("s", "start", "start", id="jobs.start", tooltip="Start the whole job"),
        Binding("t", "single", "single item", id="jobs.single", tooltip="Run one item alone"),
        Binding("d", "dry", "dry run", id="jobs.dry", tooltip="Run the job's dry_run command"),
        Binding("p", "pause", "pause", id="jobs.pause", tooltip="Pause or resume the run"),
        Binding("x", "stop", "stop", id="jobs.stop", tooltip="Ask the run to end, then kill what is left"),
        Binding("K", "kill", "kill", id="jobs.kill", tooltip="Kill every process of the run at once"),
    ]

    def compose_body(self) -> ComposeResult:
        """One grid."""
        yield Grid(COLUMNS, header=False, sign=self.glyphs.cursor, id="jobs-grid")

    def select(self, desk: Mirror, now_ns: int) -> JobsView:
        """The view for the present filter."""
        return select(desk, now_ns, self.glyphs, self.filter_text)

    def look(self, view: JobsView) -> Look:
        """Empty without jobs, or when the filter hides all."""
        if view.rows:
            return LIVE
        if view.jobs:
            return Look("empty", f"No job matches “{self.filter_text}”.", "Escape clears the filter.")
        return Look(
            "empty",
            "This desk has no jobs yet.",
            'Write one into nightdesk.toml, for example:\n\n[jobs.night]\ncommand = "python batch.py"',
        )

    def heading(self, view: JobsView) -> Heading:
        """How many runs are in which state."""
        words = f" {self.glyphs.dot} ".join(f"{count} {state}" for state, count in view.counts)
        return Heading(right=(Cell(words, "muted"),) if words else ())

    def remark(self) -> Part:
        """Why the run under the cursor failed or stands still, in full."""
        run = self.current.run if self.current is not None else None
        if run is None or run.state in ("running", "done"):
            return ""
        if run.failure is not None:
            return Cell(f"{run.failure.kind}: {run.failure.evidence}", "bad")
        return Cell(run.reason or "", "muted") if run.reason else ""

    def draw(self, view: JobsView, old: JobsView | None) -> None:
        """Show the lines."""
        grid = self.query_one(Grid)
        grid.needle = self.filter_text
        grid.show_rows(view.rows)
        if old is None or old.lines != view.lines:
            self.refresh_bindings()

    # Keys

    @property
    def current(self) -> JobLine | None:
        """The line under the cursor."""
        grid = self.query_one(Grid)
        if self.view is None or not grid.rows or grid.cursor >= len(self.view.lines):
            return None
        return self.view.lines[grid.cursor]

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Only keys that make sense for the line."""
        if action in _NEEDS and self.is_mounted:
            line = self.current
            return line is not None and _NEEDS[action](line)
        return super().check_action(action, parameters)

    @on(Grid.Moved)
    def _moved(self) -> None:
        self.show_remark()

    @on(Grid.Opened)
    def open(self) -> None:
        """Show command, log, result and runs of the job."""
        if self.current is not None:
            self.post_message(OpenJob(self.current.job.name))

    def action_start(self) -> None:
        """Start the whole job."""
        self._start("full")

    def action_dry(self) -> None:
        """Run the job's dry run."""
        self._start("dry")

    def _start(self, mode: RunMode) -> None:
        if self.current is not None:
            self.post_message(StartRequested(StartRun(job=self.current.job.name, mode=mode)))

    def action_single(self) -> None:
        """Choose one item and run it alone."""
        if self.current is not None:
            self.post_message(SingleRequested(self.current.job.name))

    def action_pause(self) -> None:
        """Pause a running run, resume a paused one."""
        if self.current is not None and self.current.run is not None:
            action: RunAction = "resume" if self.current.run.state == "paused" else "pause"
            self.post_message(RunActionRequested(self.current.run.id, action))

    def action_stop(self) -> None:
        """Ask the run to end."""
        if self.current is not None and self.current.run is not None:
            self.post_message(RunActionRequested(self.current.run.id, "stop"))

    def action_kill(self) -> None:
        """Kill the run."""
        if self.current is not None and self.current.run is not None:
            self.post_message(RunActionRequested(self.current.run.id, "kill"))


def _is_active(line: JobLine) -> bool:
    return line.run is not None and line.run.state not in ENDED


_NEEDS = {
    "start": lambda line: True,
    "single": lambda line: line.job.has_single,
    "dry": lambda line: line.job.has_dry_run,
    "pause": lambda line: line.run is not None and line.run.state in ("running", "paused"),
    "stop": _is_active,
    "kill": _is_active,
}

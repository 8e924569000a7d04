"""Pane 1: every job of the desk, its run in progress or its last one.

Selected from jobs and runs. Empty when the desk has no jobs.
"""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from nightdesk.client.mirror import Mirror
from nightdesk.core.jobs.failure_advice import failure_words
from nightdesk.model.job import ENDED, RunAction, RunMode, StartRun
from nightdesk.tui.asks import (
    OpenFailure,
    OpenGraph,
    OpenItems,
    OpenJob,
    OpenOutputs,
    OpenWhisper,
    RetryRequested,
    RunActionRequested,
    SingleRequested,
    StartRequested,
)
from nightdesk.tui.panes.job_lines import JobLine, JobsView, columns_of, is_whispering, select
from nightdesk.tui.panes.pane import LIVE, Heading, Look, Pane
from nightdesk.tui.text import Cell, Part
from nightdesk.tui.widgets.grid import Grid


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

**Hold** (`h`) lets the items in progress finish, then pauses; `p` goes on, and so does `h` again.

A job whose command names `{item}` is driven item by item: `i` shows each of them with its state. In the bar █ is
done, ▒ was skipped because its output was valid already, × failed. `r` does only those again that failed or were
not reached.

**Start later** (`a`) asks for a time: 23:30, 2h. The run waits as long as the engine works.

**Why it failed** (`F`) shows the class of a failure with its evidence, what to do about it, and what was kept of the
last minutes of the attempt: log, exchanges, processes, memory.

**Whisper** (`v`) shows what a transcription hears as it comes, how sure the model is, and loops.

**Checks** (`c`) shows what the rules of a job say of its outputs: a list to look through and flag.

A run that **waits** says first how long still: `in about 12 min` is an estimate from the time left of the runs ahead,
with its range in brackets where that is known; `in 9m12s` is certain. Then it says for what. A failure says its class
first. When nothing goes on, a job shows its newest run of everything; tries of one item are in its sheet (`enter`).

**What waits** (`w`) draws all jobs with lines for what each needs; the arrows walk along them.

**Single item** tries the job on one input before the night begins, and shows what came of it beside what that item
gave before. **Dry run** shows what would be done, and why the rest would not.
"""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("s", "start", "start", id="jobs.start", tooltip="Start the whole job"),
        Binding(
            "F",
            "failure",
            "why it failed",
            id="jobs.failure",
            tooltip="Show why it failed, and its last minutes",
        ),
        Binding("p", "pause", "pause", id="jobs.pause", tooltip="Pause or resume the run"),
        Binding("x", "stop", "stop", id="jobs.stop", tooltip="Ask the run to end, then kill what is left"),
        Binding(
            "i", "items", "items", id="jobs.items", tooltip="Show the items of the run, each with its state"
        ),
        Binding("r", "retry", "retry", id="jobs.retry", tooltip="Retry what failed or was not reached"),
        Binding("t", "single", "single item", id="jobs.single", tooltip="Run one item alone"),
        Binding("d", "dry", "dry run", id="jobs.dry", tooltip="Run the job's dry_run command"),
        Binding(
            "h", "hold", "hold", id="jobs.hold", tooltip="Pause after the items in progress, or cancel that"
        ),
        Binding("v", "whisper", "Whisper", id="jobs.whisper", tooltip="Show what a transcription hears"),
        Binding(
            "c", "outputs", "checks", id="jobs.outputs", tooltip="Show what its rules say of its outputs"
        ),
        Binding("w", "graph", "what waits", id="jobs.graph", tooltip="Show which job waits for which"),
        Binding("K", "kill", "kill", id="jobs.kill", tooltip="Kill every process of the run at once"),
        Binding("a", "later", "Start later", show=False, id="jobs.later", tooltip="Start the job at a time"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.asked: dict[str, str] = {}
        """Run or job → what was asked of it and is not answered yet."""

    def compose_body(self) -> ComposeResult:
        """One grid."""
        yield Grid(columns_of((), 0), header=False, sign=self.glyphs.cursor, id="jobs-grid")

    def select(self, desk: Mirror, now_ns: int) -> JobsView:
        """The view for the present filter."""
        room = self.query_one(Grid).room
        return select(desk, now_ns, self.glyphs, self.filter_text, self.asked, room)

    def look(self, view: JobsView) -> Look:
        """Empty without jobs, or when the filter hides all."""
        if view.rows:
            return LIVE
        if view.jobs:
            return Look("empty", f"No job matches “{self.filter_text}”.", "Escape clears the filter.")
        return Look(
            "empty",
            "This desk has no jobs yet.",
            "nightdesk init, in the folder of your scripts, writes a nightdesk.toml from what it finds there; "
            'nightdesk demo shows a desk at work. A job is two lines:\n\n[jobs.night]\ncommand = "python batch.py"',
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
            return Cell(failure_words(run.failure), "bad")
        return Cell(run.reason or "", "muted") if run.reason else ""

    def draw(self, view: JobsView, old: JobsView | None) -> None:
        """Show the lines."""
        grid = self.query_one(Grid)
        grid.needle = self.filter_text
        grid.show_columns(view.columns)
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

    @on(Grid.Resized)
    def _resized(self) -> None:
        self.redraw()

    @on(Grid.Moved)
    def _moved(self) -> None:
        self.show_remark()

    @on(Grid.Opened)
    def open(self) -> None:
        """Show command, log, result and runs of the job."""
        if self.current is not None:
            self.post_message(OpenJob(self.current.job.name))

    def say(self, subject: str, words: str) -> None:
        """Show at once what was asked of a run or a job; nothing: it is answered."""
        self.asked = {name: said for name, said in self.asked.items() if name != subject}
        if words:
            self.asked[subject] = words
        self.redraw()

    def action_start(self) -> None:
        """Start the whole job."""
        self._start("full")

    def action_dry(self) -> None:
        """Run the job's dry run."""
        self._start("dry")

    def _start(self, mode: RunMode) -> None:
        if self.current is not None:
            self.post_message(StartRequested(StartRun(job=self.current.job.name, mode=mode)))

    def action_later(self) -> None:
        """Ask for a time and start the whole job then."""
        from nightdesk.tui.screens.start_at import StartAtScreen

        if self.current is None:
            return
        job = self.current.job.name

        def start(at_ns: int | None) -> None:
            if at_ns is not None:
                self.post_message(StartRequested(StartRun(job=job, at_ns=at_ns)))

        self.app.push_screen(StartAtScreen(job), start)

    def action_graph(self) -> None:
        """Show which job waits for which."""
        self.post_message(OpenGraph(self.current.job.name if self.current is not None else ""))

    def action_single(self) -> None:
        """Choose one item and run it alone."""
        if self.current is not None:
            self.post_message(SingleRequested(self.current.job.name))

    def action_pause(self) -> None:
        """Pause a running run, resume a paused one."""
        if self.current is not None and self.current.run is not None:
            action: RunAction = "resume" if self.current.run.state == "paused" else "pause"
            self.post_message(RunActionRequested(self.current.run.id, action))

    def action_hold(self) -> None:
        """Stand still after the items in work; the second time, go on after all."""
        if self.current is not None and self.current.run is not None:
            action: RunAction = "resume" if self.current.run.holding else "hold"
            self.post_message(RunActionRequested(self.current.run.id, action))

    def action_items(self) -> None:
        """Show the items of the run."""
        if self.current is not None and self.current.run is not None:
            self.post_message(OpenItems(self.current.run.id))

    def action_outputs(self) -> None:
        """Show what the rules of the job say of its outputs."""
        if self.current is not None:
            self.post_message(OpenOutputs(self.current.job.name))

    def action_failure(self) -> None:
        """Show why the run, or the newest item of it that failed, failed."""
        if self.current is not None and self.current.run is not None:
            self.post_message(OpenFailure(self.current.run.id))

    def action_whisper(self) -> None:
        """Show the text, quality and alarms of a transcription."""
        if self.current is not None and self.current.run is not None:
            self.post_message(OpenWhisper(self.current.run.id))

    def action_retry(self) -> None:
        """Start a run of what failed or was not reached; in a run that goes on, put it back into the queue."""
        if self.current is not None and self.current.run is not None:
            self.post_message(RetryRequested(self.current.run))

    def action_stop(self) -> None:
        """Ask the run to end."""
        if self.current is not None and self.current.run is not None:
            self.post_message(RunActionRequested(self.current.run.id, "stop"))

    def action_kill(self) -> None:
        """Kill the run."""
        if self.current is not None and self.current.run is not None:
            self.post_message(RunActionRequested(self.current.run.id, "kill"))


def _has_items(line: JobLine) -> bool:
    return line.run is not None and line.run.items_total is not None


def _may_hold(line: JobLine) -> bool:
    return _has_items(line) and line.run is not None and line.run.state == "running"


def _has_unfinished(line: JobLine) -> bool:
    """Something failed, or was not reached before the run ended."""
    run = line.run
    if run is None or run.items_total is None or run.mode != "full":
        return False
    left = run.items_total - run.items_done - run.items_failed
    return run.items_failed > 0 or (run.state in ENDED and left > 0)


def _has_failed(line: JobLine) -> bool:
    run = line.run
    return run is not None and (run.failure is not None or run.items_failed > 0 or run.attempt > 1)


def _is_active(line: JobLine) -> bool:
    return line.run is not None and line.run.state not in ENDED


_NEEDS = {
    "start": lambda line: True,
    "single": lambda line: line.job.has_single,
    "dry": lambda line: line.job.has_dry_run,
    "pause": lambda line: line.run is not None and line.run.state in ("running", "paused"),
    "hold": _may_hold,
    "items": _has_items,
    "failure": _has_failed,
    "outputs": lambda line: line.job.validates,
    "retry": _has_unfinished,
    "whisper": lambda line: line.run is not None and is_whispering(line.run),
    "stop": _is_active,
    "kill": _is_active,
}

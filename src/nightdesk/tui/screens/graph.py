"""What waits for what: the jobs of the desk as a graph that can be walked."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Static

from nightdesk.client.mirror import Mirror
from nightdesk.core.jobs.failure_advice import failure_words
from nightdesk.core.jobs.graph import graph_of, run_shown
from nightdesk.core.jobs.start_times import waiting_words
from nightdesk.model.job import ENDED, JobView, Run, StartRun
from nightdesk.tui.asks import FeedRequested, OpenFailure, OpenJob, StartRequested
from nightdesk.tui.glyphs import ASCII, Glyphs
from nightdesk.tui.panes.job_lines import note_of, progress_cells, state_cell
from nightdesk.tui.text import Cell, content, line
from nightdesk.tui.widgets.jobgraph import BoxText, GraphView, JobGraphView
from nightdesk.tui.widgets.sheet import Sheet


def select(desk: Mirror, now_ns: int, glyphs: Glyphs) -> GraphView:
    """Every job with the run that tells how it stands."""
    runs = list(desk.runs.values())
    jobs = list(desk.jobs.values())
    texts = {job.name: box_text(job, run_shown(runs, job.name), now_ns, glyphs) for job in jobs}
    return GraphView(graph_of(jobs), texts)


def box_text(job: JobView, run: Run | None, now_ns: int, glyphs: Glyphs) -> BoxText:
    """What the box of a job says."""
    if run is None:
        return BoxText(Cell(glyphs.idle, "faint"), job.name, "", Cell("not started", "faint"))
    note = note_of(run, now_ns, glyphs, brief=True)
    return BoxText(state_cell(run.state, glyphs), job.name, progress_cells(run, glyphs)[1].text, note)


def words_of(job: JobView, run: Run | None, needed_by: tuple[str, ...], now_ns: int) -> tuple[Cell, Cell]:
    """How a job stands, and what it has to do with others: two lines."""
    if run is None:
        state = Cell("has not run yet", "muted")
    elif run.state == "waiting":
        state = Cell(waiting_words(run, now_ns))
    elif run.failure is not None and run.state in ENDED:
        state = Cell(f"{run.state}: {failure_words(run.failure)}", "bad")
    else:
        state = Cell(run.state, "", ((f": {run.reason}" if run.reason else "", "muted"),))
    said = [f"priority {job.priority}"]
    for words, names in (("needs", job.needs), ("needs items of", job.needs_items), ("needed by", needed_by)):
        if names:
            said.append(f"{words} {', '.join(names)}")
    if job.uses:
        said.append("uses " + ", ".join(f"{amount} {slot}" for slot, amount in job.uses.items()))
    return state, Cell("; ".join(said), "muted")


class GraphScreen(Sheet[None]):
    """The graph above, the selected job in words below."""

    TALL = True
    DEFAULT_CSS = """
    GraphScreen > #sheet { width: 98%; max-width: 200; }
    GraphScreen > #sheet.-tall { height: 96%; max-height: 96%; }
    GraphScreen #graph-words { height: auto; max-height: 5; margin-top: 1; }
    GraphScreen KeyLine { margin-top: 0; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("s", "start", "start", id="graph.start", tooltip="Start the selected job"),
        Binding("F", "failure", "why it failed", id="graph.failure", tooltip="Show why its run failed"),
    ]

    def __init__(self, job: str = "") -> None:
        """``job`` is selected first."""
        super().__init__()
        self._first = job
        self._desk: Mirror | None = None
        self._now_ns = 0

    def compose_sheet(self) -> ComposeResult:
        """Graph and words."""
        yield JobGraphView(self.glyphs, id="graph")
        yield Static(id="graph-words", markup=False)

    def on_mount(self) -> None:
        """Ask for the desk as it is now."""
        dash, dots = ("-", ".") if self.glyphs is ASCII else ("─", "┄")
        legend = f"  {dash}{dash} needs the job  {dots}{dots} needs its items"
        self.show_title(line("What waits for what", Cell(legend, "muted")))
        self.query_one("#graph-words", Static).update(line(Cell("Waiting for the engine.", "muted")))
        self.app.post_message(FeedRequested())
        self.query_one(JobGraphView).focus()

    def feed(self, desk: Mirror | None, now_ns: int) -> None:
        """Draw the jobs as they are now."""
        graph = next(iter(self.query(JobGraphView)), None)
        if desk is None or graph is None:
            return
        self._desk, self._now_ns = desk, now_ns
        graph.show(select(desk, now_ns, self.glyphs))
        if self._first:
            graph.select(self._first)
            self._first = ""
        self._show_words()

    @on(JobGraphView.Moved)
    def _show_words(self) -> None:
        graph = self.query_one(JobGraphView)
        job = self._desk.jobs.get(graph.selected) if self._desk else None
        words = self.query_one("#graph-words", Static)
        if self._desk is None or job is None or graph.view is None:
            words.update(
                line(Cell("This desk has no jobs: [jobs.NAME] in nightdesk.toml describes one.", "muted"))
            )
            return
        run = run_shown(self._desk.runs.values(), job.name)
        state, relations = words_of(job, run, graph.view.graph.needed_by(job.name), self._now_ns)
        self.refresh_bindings()
        words.update(content(Cell(f"{job.name}  ", "strong"), state, "\n", relations))

    @on(JobGraphView.Opened)
    def _open(self, event: JobGraphView.Opened) -> None:
        self.app.post_message(OpenJob(event.job))

    @property
    def _failed(self) -> Run | None:
        """The run of the selected job, where it failed."""
        graph = next(iter(self.query(JobGraphView)), None)
        run = run_shown(self._desk.runs.values(), graph.selected or "") if self._desk and graph else None
        return run if run is not None and run.failure is not None else None

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Nothing to explain where nothing failed."""
        if action == "failure":
            return self._failed is not None
        return super().check_action(action, parameters)

    def action_failure(self) -> None:
        """Show why the run of the selected job failed."""
        if (run := self._failed) is not None:
            self.app.post_message(OpenFailure(run.id))

    def action_start(self) -> None:
        """Start the selected job."""
        if job := self.query_one(JobGraphView).selected:
            self.app.post_message(StartRequested(StartRun(job=job)))

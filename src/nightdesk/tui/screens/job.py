"""One job in full: command, needs, and its runs with folder, log, result and the evidence of a failure."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.widgets import Static

from nightdesk.client.mirror import Mirror
from nightdesk.core.jobs.failure_advice import advice, failure_words
from nightdesk.core.jobs.start_times import expected_words, is_certain
from nightdesk.model.energy import RunEnergy
from nightdesk.model.errors import NightdeskError
from nightdesk.model.job import ENDED, JobView, Run
from nightdesk.model.units import NS, UNKNOWN, format_bytes, format_duration
from nightdesk.tui.asks import Ask, FeedRequested, OpenFailure, OpenItems, OpenLog, OpenTrial
from nightdesk.tui.glyphs import Glyphs
from nightdesk.tui.panes.job_lines import note_of, progress_cells, state_cell
from nightdesk.tui.text import Cell, line
from nightdesk.tui.widgets.facts import Facts, fact_rows
from nightdesk.tui.widgets.grid import Column, Grid, Row
from nightdesk.tui.widgets.sheet import Sheet

COLUMNS = (
    Column("state", "", width=1),
    Column("started", "started", width=16),
    Column("mode", "mode", width=6),
    Column("count", "done", width=8, align="right"),
    Column("note", "result", flex=1),
)


RUNS_SHOWN = 8
ENERGY_NS = 10 * NS
NEVER = 2**63
NAMES = 9
"""Cells of the names of facts."""


def runs_of(desk: Mirror, job: str) -> list[Run]:
    """The job's runs, newest first."""
    return [run for run in reversed(desk.runs.values()) if run.job == job]


def run_rows(runs: list[Run], now_ns: int, glyphs: Glyphs) -> list[Row]:
    """One row a run."""
    return [
        Row(
            run.id,
            (
                state_cell(run.state, glyphs),
                Cell(moment(run.started_ns or run.created_ns), "muted"),
                Cell(run.mode),
                progress_cells(run, glyphs)[1],
                note_of(run, now_ns, glyphs),
            ),
        )
        for run in runs
    ]


def moment(at_ns: int | None) -> str:
    """A moment in local time: ``2025-11-21 02:14``."""
    return UNKNOWN if at_ns is None else datetime.fromtimestamp(at_ns / NS).strftime("%Y-%m-%d %H:%M")


def job_facts(job: JobView) -> list[tuple[str, Cell]]:
    """Name and value of what the configuration says."""
    ways = [word for word, has in (("single item", job.has_single), ("dry run", job.has_dry_run)) if has]
    return [
        ("command", Cell(job.command)),
        ("about", Cell(job.description or UNKNOWN, "" if job.description else "faint")),
        (
            "items",
            Cell("the desk drives them one by one" if job.drives_items else "handled by the command itself"),
        ),
        ("needs", Cell(_needs_words(job))),
        ("uses", Cell(", ".join(f"{amount} {slot}" for slot, amount in job.uses.items()) or "no slot")),
        ("priority", Cell(job.priority)),
        ("also", Cell(", ".join(ways) or UNKNOWN)),
    ]


def _needs_words(job: JobView) -> str:
    items = [f"the items of {name}" for name in job.needs_items]
    return ", ".join((*job.needs, *items)) or "nothing"


def run_facts(run: Run, now_ns: int) -> list[tuple[str, Cell]]:
    """Name and value of what is known of a run."""
    facts = [
        ("run", Cell(run.id, "strong")),
        ("state", Cell(run.state + (f": {run.reason}" if run.reason else ""))),
        *_failure_facts(run),
        ("command", Cell(run.command)),
        ("item" if len(run.flights) < 2 else "items", Cell(_in_work(run))),
        ("folder", Cell(run.folder)),
        ("log", Cell(run.log_path or UNKNOWN)),
        ("process", Cell(str(run.process.pid) if run.process and run.state not in ENDED else UNKNOWN)),
        ("ended", Cell(f"{moment(run.ended_ns)}  {_exit_words(run)}" if run.state in ENDED else UNKNOWN)),
        ("attempt", Cell(f"{run.attempt}{', by the fallback command' if run.fallback else ''}")),
    ]
    if run.items_total is not None:
        counts = f"{run.items_done - run.items_skipped} done, {run.items_skipped} skipped, "
        facts.append(("counts", Cell(f"{counts}{run.items_failed} failed of {run.items_total}")))
    if run.expected_ns is not None:
        certainly = "" if is_certain(run) else "probably "
        facts.append(("starts", Cell(certainly + expected_words(run, now_ns))))
    if run.handover is not None:
        facts.append(("models", Cell(run.handover)))
    if run.usage is not None:
        spent = format_duration(run.usage.user_ns + run.usage.system_ns)
        facts.append(("used", Cell(f"{spent} of CPU, at most {format_bytes(run.usage.max_rss_bytes)}")))
    return facts


def _failure_facts(run: Run) -> list[tuple[str, Cell]]:
    if run.failure is None:
        return []
    said = advice(run.failure.kind)
    facts = [("failure", Cell(failure_words(run.failure), "bad"))]
    return [*facts, ("advice", Cell(said, "accent"))] if said else facts


def _in_work(run: Run) -> str:
    """The items in work, each with its process."""
    if len(run.flights) < 2:
        return run.item or UNKNOWN
    return ", ".join(
        f"{each.item} ({each.process.pid})" if each.process else str(each.item) for each in run.flights
    )


def _exit_words(run: Run) -> str:
    if run.signal is not None:
        return f"by signal {run.signal}"
    return "" if run.exit_status is None else f"with status {run.exit_status}"


class JobScreen(Sheet[None]):
    """The job's configuration above, its runs below; the facts of the run under the cursor at the end."""

    TALL = True
    DEFAULT_CSS = """
    JobScreen Grid { margin: 1 0; }
    JobScreen #job-facts { height: auto; }
    JobScreen #run-box { height: 1fr; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("i", "items", "items", id="job.items", tooltip="Show the items of the run"),
        Binding("F", "failure", "why it failed", id="job.failure", tooltip="Show why the run failed"),
        Binding("l", "log", "log", id="job.log", tooltip="Show the run's log in the logs pane"),
    ]

    def __init__(self, job: str) -> None:
        super().__init__()
        self.job = job
        self._runs: list[Run] = []
        self._now_ns = 0
        self._energy: dict[str, list[tuple[str, Cell]]] = {}
        """By run: what the engine said last."""
        self._asked_ns: dict[str, int] = {}

    def compose_sheet(self) -> ComposeResult:
        """Facts, runs, facts."""
        yield Static(id="job-facts", markup=False)
        yield Grid(COLUMNS, sign=self.glyphs.cursor)
        with VerticalScroll(id="run-box"):
            yield Static(id="run-facts", markup=False)

    def on_mount(self) -> None:
        """Ask for the desk as it is now."""
        self.app.post_message(FeedRequested())
        self.query_one(Grid).focus()

    def feed(self, desk: Mirror | None, now_ns: int) -> None:
        """Draw the job as it is now."""
        if desk is None or not self.query("#run-facts"):
            return  # not composed yet, or being taken down
        job = desk.jobs.get(self.job)
        self.show_title(line("Job ", Cell(self.job, "strong")))
        known = job_facts(job) if job else [("", Cell("This job is no longer in nightdesk.toml.", "warn"))]
        self.query_one("#job-facts", Static).update(table(known))
        self._runs, self._now_ns = runs_of(desk, self.job), now_ns
        grid = self.query_one(Grid)
        grid.styles.height = 1 + max(1, min(len(self._runs), RUNS_SHOWN))
        grid.show_rows(run_rows(self._runs, now_ns, self.glyphs))
        self._show_run()

    @on(Grid.Moved)
    def _show_run(self) -> None:
        if not self.query("#run-facts"):
            return  # being taken down
        run = self._run
        facts = run_facts(run, self._now_ns) if run else [("", Cell("It has not run yet.", "muted"))]
        if run is not None:
            self._ask_energy(run)
            facts += self._energy.get(run.id, [])
        self.query_one("#run-facts", Static).update(table(facts))
        self.refresh_bindings()

    def _ask_energy(self, run: Run) -> None:
        """Once for a run that has ended, every ten seconds for one in work."""
        asked_ns = self._asked_ns.get(run.id)
        known = asked_ns is not None and (
            self._now_ns - asked_ns < ENERGY_NS or asked_ns > (run.ended_ns or NEVER)
        )
        if run.started_ns is None or known:
            return
        self._asked_ns[run.id] = self._now_ns
        self.post_message(
            Ask(lambda engine: engine.run_energy(run.id), lambda told: self._take_energy(run.id, told))
        )

    def _take_energy(self, run_id: str, told: RunEnergy | NightdeskError) -> None:
        from nightdesk.tui.energy_facts import energy_facts, no_energy

        if isinstance(told, NightdeskError):
            self._energy[run_id] = no_energy(told.hint)
        else:
            self._energy[run_id] = energy_facts(told, self.glyphs)
        if self.is_mounted:
            self._show_run()

    @property
    def _run(self) -> Run | None:
        key = self.query_one(Grid).cursor_key
        return next((run for run in self._runs if run.id == key), None)

    @on(Grid.Opened)
    def open(self) -> None:
        """Show the items of the run under the cursor, else why it failed, else its log."""
        run = self._run
        if run is None or run.mode != "full" or run.items_total is not None:
            self.action_items()
        elif run.failure is not None:
            self.action_failure()
        else:
            self.action_log()

    def action_items(self) -> None:
        """Show the items of the run under the cursor; of a single or dry run its own sheet."""
        run = self._run
        if run is not None and run.mode != "full":
            self.post_message(OpenTrial(run.id))
        elif run is not None and run.items_total is not None:
            self.post_message(OpenItems(run.id))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Items only where there are any."""
        if action == "items" and self.is_mounted:
            run = self._run
            return run is not None and (run.items_total is not None or run.mode != "full")
        if action == "failure" and self.is_mounted:
            run = self._run
            return run is not None and (run.failure is not None or run.items_failed > 0)
        return super().check_action(action, parameters)

    def action_failure(self) -> None:
        """Show why the run under the cursor failed."""
        if self._run is not None:
            self.post_message(OpenFailure(self._run.id))

    def action_log(self) -> None:
        """Show the log of the run under the cursor in the logs pane."""
        run = self._run
        if run is not None and run.log is not None:
            self.dismiss(None)
            self.app.post_message(OpenLog(run.log))


def table(facts: list[tuple[str, Cell]]) -> Facts:
    """Names and values below each other."""
    return Facts(fact_rows(facts, NAMES))

"""``nightdesk run``, ``jobs``, ``pause``, ``resume``, ``stop``, ``kill``, ``wait``."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import click

from nightdesk.cli.completion import complete_items, complete_jobs, complete_runs
from nightdesk.cli.desk import DeskChoice, json_option, pass_choice

if TYPE_CHECKING:
    from nightdesk.client.engine import Engine
    from nightdesk.model.job import Run, RunAction, RunMode
    from nightdesk.model.process import TreeAction

WAIT_SECONDS = 0.2
AWAY_SECONDS = 300.0
"""So long a run is waited for without an engine."""
LOST_STATUS = 1
LATE_STATUS = 124
"""As timeout(1) reports a command that it ended."""
STOPPED_STATUS = 130
"""As a shell reports a command that the user interrupted."""


@click.command()
@json_option
@pass_choice
def jobs(choice: DeskChoice, as_json: bool) -> None:
    """List the jobs of this desk."""
    from nightdesk.cli.output import print_json_lines, print_line, print_table

    engine = choice.started()
    listed = engine.jobs()
    if as_json:
        print_json_lines(listed)
    elif listed:
        cells = [
            (job.name, ", ".join(job.needs), job.active_run or job.last_run or "", job.command)
            for job in listed
        ]
        print_table(("JOB", "NEEDS", "RUN", "COMMAND"), cells)
    else:
        print_line("This desk has no jobs; [jobs.NAME] in nightdesk.toml describes one.")


@click.command()
@click.argument("job", shell_complete=complete_jobs)
@click.argument("items", nargs=-1, metavar="[ITEM]...", shell_complete=complete_items)
@click.option(
    "--item",
    "--single",
    "item",
    metavar="ITEM",
    shell_complete=complete_items,
    help="Only this item, in a run of its own.",
)
@click.option("--items", "only", is_flag=True, help="Only the items named after it, in that order.")
@click.option("--retry", is_flag=True, help="Only what failed or was not reached in the newest run.")
@click.option("--dry-run", is_flag=True, help="Show what would be done.")
@click.option("--at", "at", metavar="TIME", help="Not before TIME: 23:30, 2h, 2026-11-22T01:00.")
@click.option("--wait", "waits", is_flag=True, help="Wait for the end; the exit status is the run's.")
@json_option
@pass_choice
def run(
    choice: DeskChoice,
    job: str,
    items: tuple[str, ...],
    item: str | None,
    only: bool,
    retry: bool,
    dry_run: bool,
    at: str | None,
    waits: bool,
    as_json: bool,
) -> None:
    """Start a job: all of it, one item, or a dry run; at once, or at a time. It goes on when this terminal closes.

    A run with a time waits as long as the engine works; after a restart of the engine it waits to be resumed.
    """
    from nightdesk.cli.output import print_json, print_line
    from nightdesk.cli.status import outcome
    from nightdesk.model.errors import UsageError
    from nightdesk.model.job import StartRun

    ways = [("--item", item is not None), ("--dry-run", dry_run), ("--items", only), ("--retry", retry)]
    chosen = [name for name, is_given in ways if is_given]
    if len(chosen) > 1:
        raise UsageError(f"{chosen[0]} and {chosen[1]} exclude each other.")
    if only is not bool(items):
        raise UsageError("Items are named after --items.", f"nightdesk run {job} --items ITEM ITEM")
    at_ns = _start_ns(at) if at is not None else None
    engine = choice.started()
    mode: RunMode = "dry" if dry_run else "single" if item is not None else "full"
    started = engine.start(StartRun(job=job, mode=mode, item=item, items=items, retry=retry, at_ns=at_ns))
    if as_json and not waits:
        print_json(started)
    elif not as_json:
        why = outcome(started) if started.reason or started.failure else ""
        print_line(f"{started.id} {started.state}" + (f": {why}" if why else ""))
    if waits:
        wait_for(engine, started, as_json)


def _start_ns(at: str) -> int:
    from nightdesk.core.jobs.start_times import read_start_ns

    return read_start_ns(at, time.time_ns())


@click.command()
@click.argument("target", shell_complete=complete_runs)
@json_option
@pass_choice
def wait(choice: DeskChoice, target: str, as_json: bool) -> None:
    r"""Wait for TARGET (a run, or a job's newest run) and end with its exit status.

    \b
    0        done
    1        some items failed, or the run was lost
    124      ended by the desk: it took too long, or showed no sign of life
    126,127  its command could not be started; there is no such program
    128+N    ended by signal N; 130 where it was stopped before its command ran
    else     what the command ended with
    2, 3     wrong usage; no engine
    """
    engine = choice.started()
    wait_for(engine, find_run(engine, target), as_json)


def wait_for(engine: Engine, waited: Run, as_json: bool) -> None:
    """Wait for the end of a run, tell it, and end with its exit status."""
    from nightdesk.cli.output import print_json, print_line
    from nightdesk.cli.status import outcome
    from nightdesk.model.job import ENDED

    while waited.state not in ENDED:
        time.sleep(WAIT_SECONDS)
        waited = _look_again(engine, waited)
    if as_json:
        print_json(waited)
    else:
        print_line(f"{waited.id} {waited.state} {outcome(waited)}".rstrip())
    sys.exit(exit_status(waited))


def _look_again(engine: Engine, run: Run) -> Run:
    """The run as it is now. Runs go on without their engine, so one that is started anew meanwhile is waited for."""
    from nightdesk.cli.output import print_note
    from nightdesk.model.errors import EngineUnavailableError

    limit = None
    while True:
        try:
            return engine.run(run.id)
        except EngineUnavailableError:
            if limit is None:
                print_note(
                    f"The engine is away; {run.id} goes on without it. nightdesk up starts another one."
                )
                limit = time.monotonic() + AWAY_SECONDS
            if time.monotonic() > limit:
                raise
            time.sleep(WAIT_SECONDS * 5)


def exit_status(ended: Run) -> int:
    """What a shell would have reported for the command of an ended run."""
    failure = ended.failure
    if failure is not None and failure.kind in ("timeout", "stalled"):
        return LATE_STATUS
    if failure is not None and failure.shell_status is not None and ended.exit_status is None:
        return failure.shell_status
    if ended.signal is not None:
        return 128 + ended.signal
    if ended.exit_status is not None:
        return ended.exit_status
    return {"done": 0, "stopped": STOPPED_STATUS}.get(ended.state, LOST_STATUS)


def _verb(action: TreeAction, help_text: str) -> click.Command:
    @click.command(name=action, help=help_text)
    @click.argument("target", required=action != "stop", shell_complete=complete_runs)
    @click.option("--yes", "-y", is_flag=True, help="Do not ask.")
    @json_option
    @pass_choice
    def verb(
        choice: DeskChoice,
        target: str | None,
        yes: bool,
        as_json: bool,
        everything: bool = False,
        after_item: bool = False,
    ) -> None:
        from nightdesk.cli.processes import signal_tree, stop_everything
        from nightdesk.model.errors import UsageError

        if everything is (target is not None):
            raise UsageError("stop takes a target or --all.", "A target is a run, a job or a process.")
        engine = choice.started()
        if target is None:
            stop_everything(engine, yes, as_json)
        elif target.isascii() and target.isdigit() and not after_item:
            signal_tree(engine, int(target), action, yes, as_json)
        else:
            _act_on_run(engine, target, "hold" if after_item else action, as_json)

    return verb


def _act_on_run(engine: Engine, target: str, action: RunAction, as_json: bool) -> None:
    from nightdesk.cli.output import print_json, print_line

    acted = engine.act(find_run(engine, target).id, action)
    if as_json:
        print_json(acted)
    else:
        print_line(f"{acted.id} {acted.state}" + (f": {acted.reason}" if acted.reason else ""))


def find_run(engine: Engine, target: str, *, with_items: bool = False) -> Run:
    """The run of that id, or the newest run of that job, an active one first. Raises UsageError.

    ``with_items``: of a job only a full run that drives its items, where it has one.
    """
    from nightdesk.model.errors import UsageError
    from nightdesk.model.job import ENDED

    runs = engine.runs()
    named = [r for r in runs if r.id == target]
    of_job = sorted((r for r in runs if r.job == target), key=lambda r: (r.state not in ENDED, r.created_ns))
    if with_items:
        of_job = [r for r in of_job if r.mode == "full" and r.items_total is not None] or of_job
    if not (named or of_job):
        raise UsageError(f"There is no run or job with runs named {target}.", "nightdesk status lists them.")
    return (named or of_job)[-1]


pause = _verb(
    "pause", "Pause a run (by id or job) or a process tree (by pid): SIGSTOP to every process of it."
)
click.option("--after-item", is_flag=True, help="Pause once the items in progress are done.")(pause)
resume = _verb("resume", "Let a paused run or process tree go on: SIGCONT to every process of it.")
stop = _verb(
    "stop",
    "End a run or a process tree: SIGTERM, a grace period, SIGKILL, then a check that nothing is left.",
)
click.option("--all", "everything", is_flag=True, help="All that the desk has started; models are unloaded.")(
    stop
)
kill = _verb("kill", "Kill a run or a process tree at once: SIGKILL to every process of it.")

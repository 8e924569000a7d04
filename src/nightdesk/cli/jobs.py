"""``nightdesk run``, ``jobs``, ``pause``, ``resume``, ``stop``, ``kill``, ``wait``."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import click

from nightdesk.cli.desk import DeskChoice, json_option, pass_choice

if TYPE_CHECKING:
    from nightdesk.client.engine import Engine
    from nightdesk.model.job import Run, RunAction, RunMode
    from nightdesk.model.process import TreeAction

WAIT_SECONDS = 0.2
LOST_STATUS = 1
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
@click.argument("job")
@click.option("--item", "--single", "item", metavar="ITEM", help="Only this item, in a run of its own.")
@click.option("--dry-run", is_flag=True, help="Show what would be done.")
@click.option("--at", "at", metavar="TIME", help="Not before TIME: 23:30, 2h, 2026-11-22T01:00.")
@click.option("--wait", "waits", is_flag=True, help="Wait for the end; the exit status is the run's.")
@json_option
@pass_choice
def run(
    choice: DeskChoice,
    job: str,
    item: str | None,
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
    from nightdesk.core.start_times import read_start_ns
    from nightdesk.model.errors import UsageError
    from nightdesk.model.job import StartRun

    if item is not None and dry_run:
        raise UsageError("--item and --dry-run exclude each other.")
    at_ns = read_start_ns(at, time.time_ns()) if at is not None else None
    engine = choice.started()
    mode: RunMode = "dry" if dry_run else "single" if item is not None else "full"
    started = engine.start(StartRun(job=job, mode=mode, item=item, at_ns=at_ns))
    if as_json and not waits:
        print_json(started)
    elif not as_json:
        print_line(f"{started.id} {started.state}" + (f": {outcome(started)}" if started.reason else ""))
    if waits:
        _wait(engine, started, as_json)


@click.command()
@click.argument("target")
@json_option
@pass_choice
def wait(choice: DeskChoice, target: str, as_json: bool) -> None:
    """Wait for TARGET (a run, or a job's newest run) and end with its exit status."""
    engine = choice.started()
    _wait(engine, _find_run(engine, target), as_json)


def _wait(engine: Engine, waited: Run, as_json: bool) -> None:
    from nightdesk.cli.output import print_json, print_line
    from nightdesk.cli.status import outcome
    from nightdesk.model.job import ENDED

    while waited.state not in ENDED:
        time.sleep(WAIT_SECONDS)
        waited = engine.run(waited.id)
    if as_json:
        print_json(waited)
    else:
        print_line(f"{waited.id} {waited.state} {outcome(waited)}".rstrip())
    sys.exit(exit_status(waited))


def exit_status(ended: Run) -> int:
    """What a shell would have reported for the command of an ended run."""
    if ended.signal is not None:
        return 128 + ended.signal
    if ended.exit_status is not None:
        return ended.exit_status
    return {"done": 0, "stopped": STOPPED_STATUS}.get(ended.state, LOST_STATUS)


def _verb(action: TreeAction, help_text: str) -> click.Command:
    @click.command(name=action, help=help_text)
    @click.argument("target", required=action != "stop")
    @click.option("--yes", "-y", is_flag=True, help="Do not ask.")
    @json_option
    @pass_choice
    def verb(
        choice: DeskChoice, target: str | None, yes: bool, as_json: bool, everything: bool = False
    ) -> None:
        from nightdesk.cli.processes import signal_tree, stop_everything
        from nightdesk.model.errors import UsageError

        if everything is (target is not None):
            raise UsageError("stop takes a target or --all.", "A target is a run, a job or a process.")
        engine = choice.started()
        if target is None:
            stop_everything(engine, yes, as_json)
        elif target.isascii() and target.isdigit():
            signal_tree(engine, int(target), action, yes, as_json)
        else:
            _act_on_run(engine, target, action, as_json)

    return verb


def _act_on_run(engine: Engine, target: str, action: RunAction, as_json: bool) -> None:
    from nightdesk.cli.output import print_json, print_line

    acted = engine.act(_find_run(engine, target).id, action)
    if as_json:
        print_json(acted)
    else:
        print_line(f"{acted.id} {acted.state}")


def _find_run(engine: Engine, target: str) -> Run:
    """The run of that id, or the newest run of that job, an active one first. Raises UsageError."""
    from nightdesk.model.errors import UsageError
    from nightdesk.model.job import ENDED

    runs = engine.runs()
    named = [r for r in runs if r.id == target]
    of_job = sorted((r for r in runs if r.job == target), key=lambda r: (r.state not in ENDED, r.created_ns))
    if not (named or of_job):
        raise UsageError(f"There is no run or job with runs named {target}.", "nightdesk status lists them.")
    return (named or of_job)[-1]


pause = _verb(
    "pause", "Pause a run (by id or job) or a process tree (by pid): SIGSTOP to every process of it."
)
resume = _verb("resume", "Let a paused run or process tree go on: SIGCONT to every process of it.")
stop = _verb(
    "stop",
    "End a run or a process tree: SIGTERM, a grace period, SIGKILL, then a check that nothing is left.",
)
click.option(
    "--all", "everything", is_flag=True, help="All that the desk has started; models are unloaded."
)(stop)
kill = _verb("kill", "Kill a run or a process tree at once: SIGKILL to every process of it.")

"""``nightdesk completion``: what a shell needs to complete verbs, options and names of jobs, runs and items."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from pathlib import Path

    from nightdesk.client.desk import Desk

RUNS_MOST, ITEMS_MOST = 50, 1000
SHELLS = ("bash", "zsh", "fish")
VARIABLE = "_NIGHTDESK_COMPLETE"
"""By this variable the shell asks the program what could follow; the name is click's."""
HELP = """Print the completion script for SHELL.

\b
bash: eval "$(nightdesk completion bash)"              in ~/.bashrc
zsh:  eval "$(nightdesk completion zsh)"               in ~/.zshrc, after compinit
fish: nightdesk completion fish | source               in ~/.config/fish/config.fish
"""


@click.command(help=HELP)
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print the completion script for a shell."""
    from click.shell_completion import get_completion_class

    from nightdesk.cli.main import nightdesk
    from nightdesk.cli.output import print_line

    chosen = get_completion_class(shell)
    assert chosen is not None
    # Not through source(): for bash that starts one to look at its version, which may be another one.
    maker = chosen(nightdesk, {}, "nightdesk", VARIABLE)
    print_line(maker.source_template % maker.source_vars())


def complete_jobs(ctx: click.Context, _parameter: click.Parameter, typed: str) -> list[str]:
    """Names of the desk's jobs that begin so; none where there is no desk that can be read."""
    desk = _desk(ctx)
    return [name for name in desk.config.jobs if name.startswith(typed)] if desk else []


def complete_runs(ctx: click.Context, parameter: click.Parameter, typed: str) -> list[str]:
    """Names of jobs, and the ids of runs that have a folder, the newest first."""
    desk = _desk(ctx)
    runs = [path.name for path in _runs(desk, typed)[:RUNS_MOST]] if desk else []
    return complete_jobs(ctx, parameter, typed) + runs


def complete_items(ctx: click.Context, _parameter: click.Parameter, typed: str) -> list[str]:
    """Items of the job, or of the run, that the line names. A command that lists items is not run for this: then those
    of the newest run count.
    """
    desk = _desk(ctx)
    named = ctx.params.get("job") or ctx.params.get("target") or (_job_typed(desk) if desk else None)
    if desk is None or not named:
        return []
    # A shell takes one candidate a line.
    return [each for each in _items(desk, named) if each.startswith(typed) and "\n" not in each][:ITEMS_MOST]


def _job_typed(desk: Desk) -> str | None:
    """The job on the line: click forgets the words before an option that has no value yet."""
    words = os.environ.get("COMP_WORDS", "").split()
    return next((word for word in words if word in desk.config.jobs), None)


def _items(desk: Desk, named: str) -> tuple[str, ...]:
    from nightdesk.core.jobs.plans import Plan
    from nightdesk.engine.jobs.items import find_items
    from nightdesk.engine.jobs.runs import Folder
    from nightdesk.model.errors import UsageError

    section = desk.config.jobs.get(named)
    if section is not None and getattr(section.items, "command", None) is None:
        try:
            return find_items(desk.folder / section.folder, section.items)
        except UsageError:
            return ()
    for path in _runs(desk, named):
        plan = Folder(path).read("plan.json", Plan)
        if plan is not None and plan.items and named in (plan.job, path.name):
            return plan.items
    return ()


def _runs(desk: Desk, begins: str) -> list[Path]:
    """The folders of runs whose names begin so, the newest first: they end with date, time and microsecond."""
    found = desk.runs.iterdir() if desk.runs.is_dir() else iter(())
    return sorted((path for path in found if path.name.startswith(begins)), key=_stamp, reverse=True)


def _stamp(run: Path) -> str:
    return run.name[-22:]


def _desk(ctx: click.Context) -> Desk | None:
    from nightdesk.client.desk import find_desk
    from nightdesk.model.errors import NightdeskError

    try:
        return find_desk(ctx.find_root().params.get("desk_path"))
    except NightdeskError:
        return None

"""``nightdesk ps``, ``clean`` and ``stacks``, and what the other verbs do to process trees."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import click

from nightdesk.cli.desk import DeskChoice, json_option, pass_choice

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from nightdesk.client.engine import Engine
    from nightdesk.model.process import OrphanTree, ProcessRow, SignalReport, TreeAction, TreeMember


@click.command()
@click.argument("pid", type=click.IntRange(min=1), required=False, metavar="[PID]")
@click.option("--all", "show_all", is_flag=True, help="Every process of the machine.")
@click.option("--port", type=click.IntRange(1, 65535), help="Who listens on this TCP port.")
@click.option("--orphans", is_flag=True, help="Only what was left behind, with the reason.")
@click.option("--filter", "query", default="", metavar="QUERY", help='As in the pane: "name:python mem>1gb".')
@json_option
@pass_choice
def ps(
    choice: DeskChoice,
    pid: int | None,
    show_all: bool,
    port: int | None,
    orphans: bool,
    query: str,
    as_json: bool,
) -> None:
    """List processes: orphans, those of runs, watched ones, model servers; --all for the rest.

    With a PID show that one in full: what it does or waits for, what is below it, its sockets and files.
    """
    if pid is not None:
        _show_process(choice.running(), pid, as_json)
        return
    from nightdesk.cli.output import print_json_lines, print_line, print_table
    from nightdesk.core.processes.query import parse
    from nightdesk.model.process import RANKS

    wanted = parse(query)
    now_ns = time.time_ns()
    rows = choice.running().processes(fresh=port is not None)
    searched = show_all or port is not None or bool(query)
    shown = [
        row
        for row in sorted(rows, key=lambda row: RANKS[row.owner])
        if (searched or row.owner != "other")
        and (port is None or port in row.ports)
        and (not orphans or row.owner == "orphan")
        and wanted.matches(row, now_ns)
    ]
    if as_json:
        print_json_lines(shown)
    elif shown:
        titles = ("PID", "PPID", "OWNER", "JOB", "STATE", "CPU", "MEMORY", "AGE", "PORTS", "COMMAND")
        print_table(titles, [_process_cells(row, now_ns) for row in shown])
    else:
        print_line(_nothing(len(rows), port, orphans, query))
    if not shown and port is not None:
        sys.exit(1)


def _show_process(engine: Engine, pid: int, as_json: bool) -> None:
    from nightdesk.cli.output import print_json, print_line
    from nightdesk.core.processes.account import LINES_MOST, facts_of, lists_of
    from nightdesk.model.units import format_duration

    detail = engine.detail(find_process(engine, pid).key)
    if as_json:
        print_json(detail)
        return
    began_ns = detail.row.key.started_ns
    clock = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(began_ns / 1e9))
    for fact in facts_of(detail, f"{clock}, {format_duration(max(0, detail.at_ns - began_ns))} ago"):
        print_line(f"{fact.name:<9} {fact.words}")
    for title, lines in lists_of(detail):
        print_line()
        print_line(title)
        for each in lines[:LINES_MOST]:
            print_line(f"{each.front}{each.text}{each.rest}")
        if len(lines) > LINES_MOST:
            print_line(f"… and {len(lines) - LINES_MOST} more; --json gives all")


def _nothing(count: int, port: int | None, orphans: bool, query: str) -> str:
    if port is not None:
        return (
            f"No process that the engine may inspect listens on TCP port {port}; "
            f"sudo ss -ltnp 'sport = :{port}' also shows those of other users."
        )
    if orphans:
        return f"None of {count} processes is an orphan."
    if query:
        return f"None of {count} processes matches {query}."
    return f"None of {count} processes is ours; nightdesk ps --all lists them."


def _process_cells(row: ProcessRow, now_ns: int) -> tuple[str, ...]:
    from nightdesk.model.units import format_bytes, format_duration, format_percent

    command = f"{row.command or row.name}" + (f"   ← {row.orphan_reason}" if row.orphan_reason else "")
    return (
        str(row.key.pid),
        str(row.ppid),
        row.owner,
        row.job or row.part or (f"desk {row.desk}" if row.desk else ""),
        row.state,
        format_percent(row.cpu_ratio),
        format_bytes(row.rss_bytes),
        format_duration(now_ns - row.key.started_ns),
        ",".join(map(str, row.ports)),
        command,
    )


@click.command()
@click.argument("pids", nargs=-1, type=click.IntRange(min=2), metavar="[PID]...")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@json_option
@pass_choice
def clean(choice: DeskChoice, pids: tuple[int, ...], yes: bool, as_json: bool) -> None:
    """End orphans with everything below them: all, or those named. The list comes first, with what comes back.

    With --json and without --yes it only prints the list, one object an orphan.
    """
    from nightdesk.cli.output import print_json, print_json_lines, print_line
    from nightdesk.model.errors import UsageError

    engine = choice.started()
    trees = [tree for tree in engine.orphans() if not pids or tree.root.key.pid in pids]
    if missing := set(pids) - {tree.root.key.pid for tree in trees}:
        names = ", ".join(map(str, sorted(missing)))
        raise UsageError(f"No orphan has the number {names}.", "nightdesk ps --orphans lists them.")
    if as_json and not yes:
        print_json_lines(trees)
        return
    if not as_json:
        _print_trees(trees)
    if not trees:
        return
    _ask("clean", sum(len(tree.members) for tree in trees), yes)
    report = engine.clean(tuple(tree.root.key for tree in trees))
    if as_json:
        print_json(report)
    else:
        print_line(_told(report))
    _end(report)


def _print_trees(trees: Sequence[OrphanTree]) -> None:
    from nightdesk.cli.output import print_line
    from nightdesk.core.processes.reports import coming_back, many
    from nightdesk.model.units import format_bytes

    if not trees:
        print_line("There are no orphans.")
        return
    for tree in trees:
        print_line(f"{tree.root.key.pid} {tree.root.name}: {tree.root.orphan_reason}")
        held = [format_bytes(tree.rss_bytes)]
        held += [f"{format_bytes(tree.device_bytes)} on accelerators"] if tree.device_bytes else []
        held += [f"port {', '.join(map(str, tree.ports))}"] if tree.ports else []
        print_line(f"  holds {', '.join(held)}")
        print_members(tree.members)
    members = {member.key: member for tree in trees for member in tree.members}
    print_line(f"{many(len(trees), 'orphan')}. {coming_back(members.values())}")


def print_members(members: Iterable[TreeMember]) -> None:
    """One line a process, indented by its depth, with its part of the memory."""
    from nightdesk.cli.output import print_line
    from nightdesk.model.units import format_bytes

    for member in members:
        size = format_bytes(member.rss_bytes if member.share_bytes is None else member.share_bytes)
        print_line(f"{member.key.pid:>8}  {size:>8}  {'  ' * member.depth}{member.command or member.name}")


@click.command()
@click.argument("pid", type=click.IntRange(min=2))
@json_option
@pass_choice
def stacks(choice: DeskChoice, pid: int, as_json: bool) -> None:
    """Print where the threads of a Python process stand. Needs py-spy: pip install py-spy."""
    from nightdesk.cli.output import print_json, print_line

    engine = choice.started()
    found = engine.stacks(find_process(engine, pid).key)
    if as_json:
        print_json(found)
    else:
        print_line(found.text.rstrip("\n"))


def signal_tree(engine: Engine, pid: int, action: TreeAction, yes: bool, as_json: bool) -> None:
    """Pause, resume, stop or kill a process and everything below it; ends with 1 where that was not all done."""
    from nightdesk.cli.output import print_json, print_line
    from nightdesk.core.processes.reports import coming_back
    from nightdesk.core.processes.tree import run_of_root

    row = find_process(engine, pid)
    run = run_of_root(engine.runs(), row.key)
    members = engine.tree(row.key) if run is None else engine.run_tree(run.id)
    if not as_json:
        if run is not None:
            print_line(f"{pid} is the first process of run {run.id}: the run is meant.")
        print_members(members)
        if action in ("stop", "kill"):
            print_line(coming_back(members))
    if action in ("stop", "kill"):
        _ask(f"{action} {pid}", len(members), yes)
    report = engine.signal(row.key, action)
    if as_json:
        print_json(report)
    else:
        print_line(_told(report))
    _end(report)


def stop_everything(engine: Engine, yes: bool, as_json: bool) -> None:
    """Stop all that the desk has started, and unload the models; ends with 1 where something is left."""
    from nightdesk.cli.output import print_json, print_line
    from nightdesk.core.processes.reports import coming_back, told_all

    members = engine.everything()
    if not as_json:
        print_members(members)
        if members:
            print_line(coming_back(members))
    _ask("stop --all", len(members), yes)
    report = engine.stop_all()
    if as_json:
        print_json(report)
    else:
        print_line(told_all(report))
    if report.still or report.processes.left:
        sys.exit(1)


def _ask(what: str, count: int, yes: bool) -> None:
    from nightdesk.core.processes.reports import many
    from nightdesk.model.errors import NightdeskError

    if yes:
        return
    hit = many(count, "process", "processes")
    if not sys.stdin.isatty():
        raise NightdeskError(f"{what} hits {hit}.", "Give --yes to go ahead without being asked.")
    click.confirm(f"{what}: end {hit}?", abort=True)


def _told(report: SignalReport) -> str:
    from nightdesk.core.processes.reports import told

    return (f"{report.run}: " if report.run else "") + told(report)


def _end(report: SignalReport) -> None:
    from nightdesk.cli.output import print_note

    for sentence in report.refused:
        print_note(sentence)
    if report.left or report.refused:
        sys.exit(1)


def find_process(engine: Engine, pid: int) -> ProcessRow:
    """The row of that number. Raises UsageError where there is none."""
    from nightdesk.model.errors import UsageError

    for row in engine.processes():
        if row.key.pid == pid:
            return row
    raise UsageError(f"There is no process {pid}.", "nightdesk ps --all lists them.")

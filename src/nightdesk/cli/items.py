"""``nightdesk items`` and ``retry``: the items of a run, listed, moved, done again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from nightdesk.cli.completion import complete_items, complete_runs
from nightdesk.cli.desk import DeskChoice, json_option, pass_choice

if TYPE_CHECKING:
    from nightdesk.client.engine import Engine
    from nightdesk.model.items import ItemRow
    from nightdesk.model.job import Run

PAGE = 20_000
MOVES = ("first", "last", "skip", "again")


@click.command()
@click.argument("target", shell_complete=complete_runs)
@click.argument("items", nargs=-1, metavar="[ITEM]...", shell_complete=complete_items)
@click.option(
    "--state", "states", metavar="STATES", default="", help="Only these: failed, or running,delayed."
)
@click.option("--text", "-t", default="", help="Only items with these words in their name or failure.")
@click.option(
    "--sort", default="index", help="index, order, item, state, took or attempts; -took: the longest first."
)
@click.option("--first", "moves", flag_value="first", multiple=True, help="Move the items to the front.")
@click.option("--last", "moves", flag_value="last", multiple=True, help="Move the items to the end.")
@click.option("--skip", "moves", flag_value="skip", multiple=True, help="Skip the items.")
@click.option(
    "--again", "moves", flag_value="again", multiple=True, help="Run the items again, even finished ones."
)
@json_option
@pass_choice
def items(
    choice: DeskChoice,
    target: str,
    items: tuple[str, ...],
    states: str,
    text: str,
    sort: str,
    moves: tuple[str, ...],
    as_json: bool,
) -> None:
    """List the items of TARGET (a run, or a job's newest run), or move the named ones.

    Items of a run that has ended can only be done --again: a new run does just those.
    """
    from nightdesk.cli.jobs import find_run
    from nightdesk.model.errors import UsageError

    if len(moves) > 1:
        raise UsageError(f"--{moves[0]} and --{moves[1]} exclude each other.")
    if bool(moves) is not bool(items):
        missing = "names no item" if moves else "does not say what to do with its items"
        raise UsageError(
            f"This {missing}.", "nightdesk items RUN --first ITEM; also --last, --skip, --again."
        )
    engine = choice.started()
    run = find_run(engine, target, with_items=True)
    if moves:
        _move(engine, run, moves[0], items, as_json)
    else:
        _list(engine, run, (states, text, sort), as_json)


def _move(engine: Engine, run: Run, where: str, items: tuple[str, ...], as_json: bool) -> None:
    from nightdesk.cli.output import print_json, print_line
    from nightdesk.model.job import ENDED, ItemMove, StartRun

    if run.state in ENDED and where == "again":
        after = engine.start(StartRun(job=run.job, items=items, again=True))
    else:
        after = engine.move_items(run.id, ItemMove(items=items, where=where))  # type: ignore[arg-type]  # - one of MOVES
    if as_json:
        print_json(after)
    else:
        print_line(f"{after.id} {after.state}: {where} {', '.join(items)}")


def _list(engine: Engine, run: Run, wanted: tuple[str, str, str], as_json: bool) -> None:
    from nightdesk.cli.output import print_json_lines, print_note, print_table

    if as_json:
        print_json_lines(_rows(engine, run, *wanted))
        return
    cells = [_cells(row) for row in _rows(engine, run, *wanted)]
    print_table(("NO", "STATE", "TRIES", "TOOK", "ITEM", ""), cells)
    counts = engine.item_page(run.id, limit=1).counts
    told = ", ".join(f"{count} {state}" for state, count in counts.items())
    print_note(f"{run.id} {run.state}: {told}")


def _rows(engine: Engine, run: Run, states: str, text: str, sort: str) -> Iterator[ItemRow]:
    offset = 0
    while True:
        page = engine.item_page(run.id, state=states, text=text, sort=sort, offset=offset, limit=PAGE)
        yield from page.rows
        offset += len(page.rows)
        if not page.rows or offset >= page.total:
            return


def _cells(row: ItemRow) -> tuple[str, ...]:
    from nightdesk.core.jobs.failure_advice import failure_words
    from nightdesk.model.units import format_duration

    note = failure_words(row.failure) if row.failure else row.reason or ""
    took = format_duration(row.took_ns) if row.took_ns is not None else ""
    return str(row.index + 1), row.state, str(row.attempts or ""), took, row.item, note


@click.command()
@click.argument("target", shell_complete=complete_runs)
@click.option("--wait", "waits", is_flag=True, help="Wait for the end; the exit status is the run's.")
@json_option
@pass_choice
def retry(choice: DeskChoice, target: str, waits: bool, as_json: bool) -> None:
    """Do again what failed in the newest run of TARGET (a job, or a run); after its end also what was not reached.

    A run that goes on takes its failed items back into its queue; after its end a new run does just those.
    """
    from nightdesk.cli.jobs import find_run, wait_for
    from nightdesk.cli.output import print_json, print_line
    from nightdesk.model.job import ENDED, ItemMove, StartRun

    engine = choice.started()
    run = find_run(engine, target, with_items=True)
    if run.state in ENDED:
        after = engine.start(StartRun(job=run.job, retry=True))
        count = after.items_total or 0
    else:
        after = engine.move_items(run.id, ItemMove(where="again", failed=True))
        count = run.items_failed - after.items_failed
    if as_json and not waits:
        print_json(after)
    elif not as_json:
        print_line(f"{after.id} {after.state}: {count} item{'s' if count != 1 else ''} again")
    if waits:
        wait_for(engine, after, as_json)

"""``nightdesk validate``: what the rules of a job say of its outputs, looked at now."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from nightdesk.cli.completion import complete_jobs
from nightdesk.cli.desk import DeskChoice, json_option, pass_choice

if TYPE_CHECKING:
    from nightdesk.client.engine import Engine
    from nightdesk.model.outputs import OutputPage, OutputResult

PAGE = 1000
AT_ONCE = 20
"""Outputs that are looked at for one answer."""


@click.command()
@click.argument("job", shell_complete=complete_jobs)
@click.argument("items", nargs=-1, metavar="[ITEM]...")
@click.option("--last", "only_last", is_flag=True, help="What was found last; nothing is looked at now.")
@click.option("--state", default="", metavar="STATES", help="Only these: failed, or failed,doubtful.")
@click.option("--rule", default="", help="Only outputs that break this rule: schema, headings …")
@click.option("--text", "-t", default="", help="Only items with these words in name or evidence.")
@click.option("--flagged", is_flag=True, help="Only flagged ones.")
@click.option("--flag", "note", metavar="WHY", help="Flag the items: their outputs are not believed.")
@click.option("--unflag", is_flag=True, help="Take the flags of the items away.")
@json_option
@pass_choice
def validate(
    choice: DeskChoice,
    job: str,
    items: tuple[str, ...],
    only_last: bool,
    state: str,
    rule: str,
    text: str,
    flagged: bool,
    note: str | None,
    unflag: bool,
    as_json: bool,
) -> None:
    """Look at the outputs of JOB, or of the named items, and list what is wrong with them.

    Ends with 1 where an output fails. A flagged output is not believed: its item is done again by the next run, and
    by `nightdesk retry`.
    """
    from nightdesk.core.outputs.results import wanted
    from nightdesk.model.errors import UsageError
    from nightdesk.model.outputs import OutputsFlagged

    asked = wanted(state, rule, text, flagged=flagged)
    engine = choice.started()
    if note is not None or unflag:
        if not items or (note is not None and unflag):
            raise UsageError(
                "This names no item to flag, or to take the flag of.",
                "nightdesk validate JOB ITEM --flag WHY",
            )
        engine.flag_outputs(job, OutputsFlagged(items=items, flagged=not unflag, note=note or ""))
        only_last = True
    if not only_last:
        _look(engine, job, items or engine.output_items(job))
    found = [each for each in _results(engine, job) if not items or each.item in items]
    listed = [each for each in found if asked.fits(each)]
    _print(engine.outputs(job, limit=1), listed, as_json)
    raise SystemExit(1 if any(each.state == "failed" for each in found) else 0)


def _look(engine: Engine, job: str, items: tuple[str, ...]) -> None:
    from nightdesk.cli.output import print_note

    if not items:
        print_note(f"{job} has no outputs to look at.")
    for place in range(0, len(items), AT_ONCE):
        engine.look_at_outputs(job, items[place : place + AT_ONCE])


def _results(engine: Engine, job: str) -> Iterator[OutputResult]:
    offset = 0
    while True:
        page = engine.outputs(job, offset=offset, limit=PAGE)
        yield from page.rows
        offset += len(page.rows)
        if not page.rows or offset >= page.total:
            return


def _print(page: OutputPage, listed: list[OutputResult], as_json: bool) -> None:
    from nightdesk.cli.output import print_json_lines, print_note, print_table

    if as_json:
        print_json_lines(listed)
        return
    print_table(("STATE", "FLAG", "SCORE", "ITEM", "EVIDENCE"), [_cells(each) for each in listed])
    counts = (
        ", ".join(f"{count} {state}" for state, count in page.counts.items()) or "nothing was looked at yet"
    )
    mean = f"; mean score {page.mean:.2f}" if page.mean is not None else ""
    print_note(f"{page.job}: {counts}{mean}")
    if page.rules:
        broken = ", ".join(f"{rule} {count}" for rule, count in page.rules.items())
        print_note(f"broken rules: {broken}")


def _cells(result: OutputResult) -> tuple[str, ...]:
    told = result.broken or tuple(each for each in result.results if each.state == "unknown")
    words = "; ".join(f"{each.rule}: {each.evidence}" for each in told)
    note = f" [{result.note}]" if result.note else ""
    score = f"{result.score:.2f}" if result.score is not None else ""
    return result.state, "flag" if result.flagged else "", score, result.item, words + note

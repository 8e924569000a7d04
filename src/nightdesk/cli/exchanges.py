"""``nightdesk diff``, ``nightdesk replay`` and ``nightdesk cancel``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nightdesk.cli.desk import DeskChoice, json_option, pass_choice

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nightdesk.client.engine import Engine
    from nightdesk.core.inspection.diff import Line, TextDiff
    from nightdesk.core.inspection.exchange_diff import ExchangeDiff
    from nightdesk.model.exchange import Exchange
    from nightdesk.model.inspection import CancelWays

POLL_SECONDS = 0.2


@click.command()
@click.argument("left", type=int)
@click.argument("right", type=int)
@json_option
@pass_choice
def diff(choice: DeskChoice, left: int, right: int, as_json: bool) -> None:
    """Compare two exchanges: prompt, options, response, timing. --json gives the differences only."""
    from nightdesk.cli.output import print_json, print_line
    from nightdesk.core.inspection.exchange_diff import diff_exchanges

    engine = choice.running()
    found = diff_exchanges(engine.exchange(left), engine.exchange(right))
    if as_json:
        print_json(_only_differences(found))
        return
    for fact in found.facts:
        same = fact.left == fact.right
        print_line(f"{fact.name:<22} {fact.left}" + ("" if same else f"  →  {fact.right}"))
    for section in found.sections:
        count = section.diff.changes
        words = "equal" if not count else "1 difference" if count == 1 else f"{count} differences"
        print_line(f"\n── {section.part} › {section.title}: {words}")
        for line in _unified(section.diff):
            print_line(line)
    print_line("")
    for figure in found.figures:
        ratio = "" if figure.ratio is None else f"×{figure.ratio:.2f}"
        values = (_figure(figure.unit, value) for value in (figure.left, figure.right))
        print_line(f"{figure.name:<22} {next(values):>12} {next(values):>12}  {ratio}".rstrip())


def _unified(found: TextDiff) -> Iterator[str]:
    for stretch in found.stretches:
        if stretch.same:
            if len(stretch.left) > 2:
                yield f"  … {len(stretch.left)} equal lines …"
            else:
                yield from (f"  {_plain(line)}" for line in stretch.left)
            continue
        yield from (f"- {_plain(line)}" for line in stretch.left)
        yield from (f"+ {_plain(line)}" for line in stretch.right)
    if found.note:
        yield found.note


def _plain(line: Line) -> str:
    return "".join(words.text for words in line)


def _figure(unit: str, value: float | None) -> str:
    from nightdesk.model.units import UNKNOWN, format_bytes, format_duration

    if value is None:
        return UNKNOWN
    if unit == "ns":
        return format_duration(round(value))
    return format_bytes(round(value)) if unit == "bytes" else f"{value:,.1f}".removesuffix(".0")


def _only_differences(found: ExchangeDiff) -> dict[str, Any]:
    """The comparison without what is equal; lines as plain texts."""
    sections = [
        {
            "part": section.part,
            "title": section.title,
            "equal": section.diff.is_equal,
            "changes": [
                {"left": [*map(_plain, stretch.left)], "right": [*map(_plain, stretch.right)]}
                for stretch in section.diff.stretches
                if not stretch.same
            ],
            "note": section.diff.note or section.missing,
        }
        for section in found.sections
    ]
    figures = [
        {"name": f.name, "unit": f.unit, "left": f.left, "right": f.right, "ratio": f.ratio}
        for f in found.figures
    ]
    return {
        "left": found.left,
        "right": found.right,
        "facts": found.facts,
        "sections": sections,
        "figures": figures,
    }


@click.command()
@click.argument("number", metavar="ID", type=int)
@click.option(
    "--model",
    "-m",
    "models",
    multiple=True,
    help="Another model; repeat the option for more, asked one after another.",
)
@click.option(
    "--body",
    type=click.Path(path_type=Path, allow_dash=True),
    help="A file with the JSON body to send; - reads it.",
)
@json_option
@pass_choice
def replay(
    choice: DeskChoice, number: int, models: tuple[str, ...], body: Path | None, as_json: bool
) -> None:
    """Send the request of an exchange again and print the replies. Ends with 1 when one fails."""
    import sys

    from nightdesk.cli.output import print_json, print_line, print_note
    from nightdesk.core.inspection.replays import parse_body
    from nightdesk.model.inspection import ReplayRequest

    edited = None
    if body is not None:
        edited = parse_body(sys.stdin.read() if str(body) == "-" else body.read_text(encoding="utf-8"))
    engine = choice.running()
    begun = engine.replay(ReplayRequest(exchange=number, models=models, body=edited))
    if begun.left_out:
        print_note(f"Sent without {' and '.join(begun.left_out)}: only the mask was recorded.")
    has_failed = False
    for replayed in begun.exchanges:
        exchange = _ended(engine, replayed)
        has_failed |= exchange.state != "complete"
        if as_json:
            print_json(exchange)
        else:
            from nightdesk.cli.traffic import exchange_line
            from nightdesk.model.exchange import row_of

            print_line(exchange_line(row_of(exchange)))
            print_line(exchange.text or str(exchange.error or ""))
    sys.exit(1 if has_failed else 0)


def _ended(engine: Engine, number: int) -> Exchange:
    """The exchange, once it has ended. ctrl+c cancels it."""
    from nightdesk.model.errors import UsageError

    try:
        while True:
            try:
                exchange = engine.exchange(number)
            except UsageError:
                time.sleep(POLL_SECONDS)  # it waits for its turn
                continue
            if exchange.state != "running":
                return exchange
            time.sleep(POLL_SECONDS)
    except KeyboardInterrupt:
        engine.cancel(number, "replay")
        raise


@click.command()
@click.argument("number", metavar="ID", type=int)
@click.option(
    "--process", "by_process", is_flag=True, help="Stop the client's process instead of its connection."
)
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@json_option
@pass_choice
def cancel(choice: DeskChoice, number: int, by_process: bool, yes: bool, as_json: bool) -> None:
    """End a running exchange, and tell whether the server stopped. Ends with 1 when it goes on."""
    import sys

    from nightdesk.cli.output import print_json, print_line
    from nightdesk.model.errors import UsageError

    engine = choice.running()
    ways = engine.ways_to_cancel(number)
    if not ways.running:
        raise UsageError(f"Exchange {number} is not running.", "nightdesk traffic lists them.")
    way = next((w for w in ways.ways if w.possible and (w.how == "process") == by_process), None)
    if way is None:
        raise UsageError(f"Exchange {number} was left alone. {_why_not(ways, by_process)}", _other_way(ways))
    for member in () if as_json else way.members:
        print_line(f"  {'  ' * member.depth}{member.key.pid} {member.command or member.name}")
    question = (
        f"Stop {len(way.members)} processes?" if by_process else f"Close the connection of exchange {number}?"
    )
    if not yes:
        click.confirm(question, abort=True, err=True)
    report = engine.cancel(number, way.how)
    if as_json:
        print_json(report)
    else:
        print_line(report.message)
    sys.exit(0 if report.ended else 1)


def _why_not(ways: CancelWays, by_process: bool) -> str:
    reasons = (way.reason for way in ways.ways if (way.how == "process") == by_process and way.reason)
    return next(reasons, "There is no such way to end it.")


def _other_way(ways: CancelWays) -> str:
    open_way = next((way for way in ways.ways if way.possible), None)
    if open_way is None:
        return "It ends with its client."
    return (
        "--process stops its client."
        if open_way.how == "process"
        else "Without --process its connection is closed."
    )

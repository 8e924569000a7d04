"""``nightdesk traffic``, ``nightdesk show`` and ``nightdesk feedback``."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from nightdesk.cli.desk import DeskChoice, json_option, pass_choice
from nightdesk.cli.filters import Choice, filter_options

if TYPE_CHECKING:
    from nightdesk.client.engine import Engine
    from nightdesk.core.inspection.query import Query
    from nightdesk.model.desk import Change, Snapshot
    from nightdesk.model.exchange import Exchange, ExchangeRow
    from nightdesk.model.inspection import Feedback, Mark

GLYPHS = {"running": "▶", "complete": "✓", "incomplete": "◌", "aborted": "✗", "partial": "◐", "failed": "✗"}


@click.command()
@click.option("--limit", "-n", default=30, show_default=True, type=click.IntRange(1, 1000))
@click.option(
    "--sort",
    metavar="KEY",
    help="started, took, first, tokens, prompt, reply, rate, size, model, job, state; -took: greatest first.",
)
@click.option("--follow", "-f", is_flag=True, help="Keep printing exchanges as they end.")
@filter_options
@json_option
@pass_choice
def traffic(
    choice: DeskChoice, wanted: Choice, limit: int, sort: str | None, follow: bool, as_json: bool
) -> None:
    """List exchanges with model servers: the newest, oldest first, or the first ones of another order.

    --json prints whole exchanges, JSON Lines.
    """
    from nightdesk.cli.output import print_line

    query = wanted.read()
    engine = choice.running()
    changes = _subscribed(engine) if follow else None
    rows = engine.page(wanted.text, sort=sort or "-started", limit=limit).rows
    for row in rows if sort else reversed(rows):
        _print_row(engine, row, as_json)
    if not rows and not follow and not as_json:
        print_line(_nothing(engine, wanted))
    if changes:
        _follow(engine, changes, query, {row.id for row in rows if row.ended_ns is not None}, as_json)


def _nothing(engine: Engine, wanted: Choice) -> str:
    if wanted.text and engine.page(limit=1).total:
        return f"No exchange matches {wanted.text}."
    return "No exchange was recorded yet. nightdesk status says whether the capture is live."


def _subscribed(engine: Engine) -> Iterator[Snapshot | Change]:
    """Changes from now on: nothing that ends while the list is asked for is missed."""
    changes = engine.changes()
    next(changes, None)
    return changes


def _follow(
    engine: Engine, changes: Iterator[Snapshot | Change], query: Query, ended: set[int], as_json: bool
) -> None:
    """Print exchanges as they end, but for those that ended before."""
    from nightdesk.model.desk import ExchangeChanged

    for change in changes:
        if not isinstance(change, ExchangeChanged) or change.row.ended_ns is None or change.row.id in ended:
            continue
        # Marks and late findings change a row once more.
        ended.add(change.row.id)
        if _is_wanted(engine, query, change.row):
            _print_row(engine, change.row, as_json)


def _is_wanted(engine: Engine, query: Query, row: ExchangeRow) -> bool:
    from nightdesk.core.inspection.searched import searched_text

    return query.matches(row, time.time_ns(), lambda: searched_text(engine.exchange(row.id)))


def _print_row(engine: Engine, row: ExchangeRow, as_json: bool) -> None:
    from nightdesk.cli.output import print_json, print_line
    from nightdesk.model.errors import UsageError

    if not as_json:
        print_line(exchange_line(row))
        return
    # One may leave the store between the list and this question.
    with contextlib.suppress(UsageError):
        print_json(engine.exchange(row.id))


def exchange_line(row: ExchangeRow) -> str:
    """An exchange as one line for people."""
    from nightdesk.core.foreign import safe_line
    from nightdesk.model.units import format_count, format_duration

    clock = time.strftime("%H:%M:%S", time.localtime(row.started_ns / 1e9))
    whose = " › ".join(part for part in (row.job, row.item) if part) or row.process or ""
    took = format_duration(row.ended_ns - row.started_ns if row.ended_ns else None)
    tokens = f"⇡{format_count(row.prompt_tokens)} ⇣{format_count(row.reply_tokens)}"
    said = row.error or " ".join(f"▲ {verdict}" for verdict in row.verdicts) or row.tail
    head = f"{row.id:>6} {clock} {GLYPHS[row.state]} {row.operation:<8} {row.model or row.path or '':<22}"
    return safe_line(f"{head} {whose:<28} {tokens:<14} {took:>7}  {said}", 240)


@click.command()
@click.argument("number", type=int)
@json_option
@pass_choice
def show(choice: DeskChoice, number: int, as_json: bool) -> None:
    """Print one exchange: prompt, reply, counts, timing."""
    from nightdesk.cli.output import print_json

    engine = choice.running()
    exchange = engine.exchange(number)
    if as_json:
        print_json(exchange)
    else:
        _print_exchange(exchange, engine.feedback(number), _energy_words(engine, number))


def _energy_words(engine: Engine, number: int) -> str:
    """What the exchange used; why that is not known, where it is not."""
    from nightdesk.model.errors import UsageError
    from nightdesk.model.units import UNKNOWN, format_joules

    try:
        told = engine.exchange_energy(number)
    except UsageError as fault:
        return f"{UNKNOWN} ({fault.hint})"
    used = told.energy.energy_j
    words = [f"{format_joules(used)} above idle"] if used is not None else []
    words.append(f"{format_joules(told.energy.gross_j)} in all")
    words += [f"{told.tokens_per_joule:.2g} tokens/J"] if told.tokens_per_joule is not None else []
    return f"{' · '.join(words)}. {told.basis}"


def _print_exchange(exchange: Exchange, feedback: Feedback, energy: str) -> None:
    from nightdesk.cli.output import print_line
    from nightdesk.model.exchange import row_of
    from nightdesk.model.units import format_duration

    print_line(exchange_line(row_of(exchange)))
    if exchange.process:
        print_line(f"process  {exchange.process.pid} {exchange.process.command or exchange.process.name}")
    spans = {
        "first token": exchange.first_token_ns and exchange.first_token_ns - exchange.started_ns,
        "load": exchange.load_ns,
        "prompt": exchange.prompt_ns,
        "generation": exchange.generation_ns,
    }
    print_line("timing   " + " · ".join(f"{name} {format_duration(ns)}" for name, ns in spans.items()))
    print_line(f"energy   {energy}")
    for verdict in exchange.verdicts:
        print_line(f"▲ {verdict.kind}: {verdict.evidence} {verdict.advice}")
    if exchange.note:
        print_line(f"note     {exchange.note}")
    if feedback.mark or feedback.note:
        print_line("feedback " + " · ".join(word for word in (feedback.mark, feedback.note) if word))
    for title, text in _parts(exchange):
        print_line(f"\n── {title} " + "─" * max(0, 72 - len(title)))
        print_line(text)


def _parts(exchange: Exchange) -> list[tuple[str, str]]:
    from nightdesk.model.exchange import error_text

    prompt = exchange.prompt
    parts: list[tuple[str, str | None]] = []
    if prompt:
        parts += [("system", prompt.system), ("prompt", prompt.prompt)]
        parts += [(message.role, message.content) for message in prompt.messages]
    parts += [("thinking", exchange.thinking), ("reply", exchange.text)]
    parts += [(f"tool call {call.name}", str(call.arguments)) for call in exchange.tool_calls]
    if exchange.error is not None:
        parts.append(("error", error_text(exchange.error)))
    return [(title, text) for title, text in parts if text]


@click.command()
@click.argument("number", type=int)
@click.argument("mark", type=click.Choice(["good", "bad", "clear"]), required=False)
@click.option("--note", help="A sentence of yours; an empty one removes the note.")
@json_option
@pass_choice
def feedback(choice: DeskChoice, number: int, mark: str | None, note: str | None, as_json: bool) -> None:
    """Mark an exchange as good or bad, note something, or clear both. Without either: print what was said.

    nightdesk export --dataset writes the good ones. What has a mark or a note is not deleted for its age.
    """
    from nightdesk.cli.output import print_json, print_line

    engine = choice.running()
    said = engine.feedback(number)
    if mark or note is not None:
        said = engine.give_feedback(number, _changed(said, mark, note))
    if as_json:
        print_json(said)
    else:
        words = " · ".join(word for word in (said.mark, said.note) if word)
        print_line(f"{number}: {words or 'no feedback'}")


def _changed(said: Feedback, mark: str | None, note: str | None) -> Feedback:
    from nightdesk.model.inspection import Feedback

    marks: dict[str | None, Mark | None] = {"good": "good", "bad": "bad", "clear": None}
    kept = "" if mark == "clear" else said.note
    return Feedback(mark=marks.get(mark, said.mark), note=kept if note is None else note)

"""``nightdesk traffic`` and ``nightdesk show``."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

import click

from nightdesk.cli.desk import DeskChoice, json_option, pass_choice

if TYPE_CHECKING:
    from nightdesk.model.exchange import Exchange, ExchangeRow

GLYPHS = {"running": "▶", "complete": "✓", "incomplete": "◌", "aborted": "✗", "partial": "◐", "failed": "✗"}


@click.command()
@click.option("--limit", "-n", default=30, show_default=True, type=click.IntRange(1, 1000))
@click.option("--text", default="", help="Only exchanges whose prompt or reply holds this text.")
@click.option("--follow", "-f", is_flag=True, help="Go on with exchanges as they end.")
@json_option
@pass_choice
def traffic(choice: DeskChoice, limit: int, text: str, follow: bool, as_json: bool) -> None:
    """List exchanges with model servers, oldest first. --json prints whole exchanges, JSON Lines."""
    from nightdesk.cli.output import print_json, print_line
    from nightdesk.model.desk import ExchangeChanged
    from nightdesk.model.errors import UsageError

    engine = choice.running()
    from nightdesk.core.query import quoted

    listed = tuple(reversed(engine.page(quoted(text) if text else "", limit=limit).rows))
    for row in listed:
        if as_json:
            # One may leave the store between the list and this question.
            with contextlib.suppress(UsageError):
                print_json(engine.exchange(row.id))
        else:
            print_line(exchange_line(row))
    if not listed and not follow and not as_json:
        print_line("No exchange was recorded yet. nightdesk status says whether the capture is live.")
    if not follow:
        return
    for change in engine.changes():
        if isinstance(change, ExchangeChanged) and change.row.ended_ns is not None:
            if as_json:
                with contextlib.suppress(UsageError):
                    print_json(engine.exchange(change.row.id))
            else:
                print_line(exchange_line(change.row))


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
        _print_exchange(exchange)


def _print_exchange(exchange: Exchange) -> None:
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
    for verdict in exchange.verdicts:
        print_line(f"▲ {verdict.kind}: {verdict.evidence} {verdict.advice}")
    if exchange.note:
        print_line(f"note     {exchange.note}")
    for title, text in _parts(exchange):
        print_line(f"\n── {title} " + "─" * max(0, 72 - len(title)))
        print_line(text)


def _parts(exchange: Exchange) -> list[tuple[str, str]]:
    prompt = exchange.prompt
    parts: list[tuple[str, str | None]] = []
    if prompt:
        parts += [("system", prompt.system), ("prompt", prompt.prompt)]
        parts += [(message.role, message.content) for message in prompt.messages]
    parts += [("thinking", exchange.thinking), ("reply", exchange.text)]
    parts += [(f"tool call {call.name}", str(call.arguments)) for call in exchange.tool_calls]
    if exchange.error is not None:
        parts.append(("error", str(exchange.error)))
    return [(title, text) for title, text in parts if text]

"""``nightdesk capture FILE``: the exchanges in a capture file or on standard input, as lines or as JSON Lines."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from io import BufferedReader
from pathlib import Path
from typing import IO, TYPE_CHECKING, BinaryIO, Protocol

import click

from nightdesk.cli.desk import DeskChoice, pass_choice

if TYPE_CHECKING:
    from nightdesk.core.capture.exchanges import Assembler, CaptureEvent
    from nightdesk.core.verdicts import Thresholds
    from nightdesk.model.exchange import Exchange

BLOCK_BYTES = 1 << 20
"""Bursts of this size are parsed together; more gains nothing and costs memory."""
SPOOL_BYTES = 8 << 20
"""Lines that wait for an older exchange to end stay in memory up to this, then in a temporary file."""
GLYPHS = {"complete": "✓", "failed": "✗", "aborted": "⊘", "incomplete": "◌", "partial": "◐", "running": "▶"}


def parse_ports(_: click.Context, __: click.Parameter, value: str | None) -> frozenset[int] | None:
    """The ports of ``11434,8080``; None where the option is absent."""
    if value is None:
        return None
    try:
        ports = frozenset(int(word) for word in value.split(","))
    except ValueError:
        ports = frozenset({0})
    if not all(0 < port < 65_536 for port in ports):
        raise click.BadParameter("give port numbers joined by commas, for example 11434,8080")
    return ports


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="JSON Lines: every exchange with all its fields.")
@click.option(
    "--ports",
    callback=parse_ports,
    metavar="PORT[,PORT…]",
    help="Ports of the model servers; guessed where absent.",
)
@pass_choice
def capture(choice: DeskChoice, file: Path, as_json: bool, ports: frozenset[int] | None) -> None:
    """Print the exchanges in a capture FILE (pcap or pcapng; - reads standard input).

    They come in the order in which their requests began. What was read before a fault in the file is printed.
    """
    exchanges = ended_exchanges(file, ports, thresholds(choice))
    write_in_order(InOrder(sys.stdout.buffer), exchanges, lambda one: _line(one, as_json))


def thresholds(choice: DeskChoice) -> Thresholds:
    """When the desk of this folder gives a verdict; the usual limits where its configuration can't be read."""
    from nightdesk.cli.output import print_note
    from nightdesk.core.verdicts import DEFAULTS, thresholds_of
    from nightdesk.model.errors import ConfigError

    try:
        return thresholds_of(choice.desk().config.verdicts)
    except ConfigError as fault:
        print_note(f"{fault.message} The usual limits of verdicts are in force.")
        return DEFAULTS


def write_in_order(
    lines: InOrder, exchanges: Iterator[Exchange], line_of: Callable[[Exchange], bytes]
) -> None:
    """Write a line for each exchange in the order of their ids, also those before a fault of the capture."""
    from nightdesk.model.errors import CaptureError

    try:
        for exchange in exchanges:
            lines.put(exchange.id, line_of(exchange))
    except CaptureError:
        lines.close()
        raise
    lines.close()


def ended_exchanges(
    file: Path, ports: frozenset[int] | None, limits: Thresholds | None = None
) -> Iterator[Exchange]:
    """The exchanges in a capture file (``-``: standard input) as they end; their ids tell the order of their begin.

    What was read before a fault in the file comes first. Raises CaptureError.
    """
    from nightdesk.core.capture.exchanges import Assembler
    from nightdesk.model.errors import CaptureError

    judged = Judged(limits)
    try:
        with _opened(file) as source:
            for events in _events(source, Assembler(ports, grow_every_ns=None)):
                yield from judged.exchanges(events)
    except OSError as error:
        raise CaptureError(f"Reading {file} failed: {error.strerror or error}.") from error


def _opened(file: Path) -> BinaryIO:
    return sys.stdin.buffer if str(file) == "-" else file.open("rb")


def _events(source: BinaryIO, assembler: Assembler) -> Iterator[list[CaptureEvent]]:
    """Events block by block. The open exchanges are reported before a fault of the file is raised."""
    from nightdesk.core.capture.pcap import PcapReader
    from nightdesk.model.errors import CaptureError

    reader = PcapReader()
    try:
        while block := _block(source):
            yield assembler.feed_bursts(reader.bursts(block))
        reader.finish()
    except (CaptureError, OSError):
        yield assembler.finish(0)
        raise
    yield assembler.finish(0)


def _block(source: BinaryIO) -> bytes:
    """What is there: a pipe must not wait for a whole block."""
    return source.read1(BLOCK_BYTES) if isinstance(source, BufferedReader) else source.read(BLOCK_BYTES)


class Judged:
    """Gives ended exchanges their verdicts; what one teaches about its model helps to judge the next."""

    def __init__(self, limits: Thresholds | None = None) -> None:
        from nightdesk.core.verdicts import DEFAULTS, Known

        self._limits = limits or DEFAULTS
        self._known = Known()

    def exchanges(self, events: list[CaptureEvent]) -> Iterator[Exchange]:
        """The ended exchanges among ``events``, in the order in which they ended."""
        import msgspec

        from nightdesk.core.verdicts import verdicts_of
        from nightdesk.model.exchange import ExchangeSeen

        for event in events:
            if isinstance(event, ExchangeSeen) and event.exchange.state != "running":
                verdicts = verdicts_of(event.exchange, self._limits, self._known)
                self._known.learn(event.exchange, self._limits.reload_ns)
                yield msgspec.structs.replace(event.exchange, verdicts=verdicts)


def _line(exchange: Exchange, as_json: bool) -> bytes:
    from nightdesk.cli.output import encodable, json_line
    from nightdesk.model.exchange import capture_encoder

    if as_json:
        return json_line(capture_encoder.encode(exchange))
    return encodable(readable(exchange)).encode(sys.stdout.encoding)


class Output(Protocol):
    """Where lines go."""

    def write(self, line: bytes, /) -> object:
        """Takes a line with its end."""

    def flush(self) -> None:
        """Hands on what was written."""


class InOrder:
    """Writes lines in the order of their numbers, 1 first. Lines that must wait are spooled."""

    def __init__(self, out: Output) -> None:
        self._next = 1
        self._spool: IO[bytes] = tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES)  # noqa: SIM115 - close() is ours
        self._places: dict[int, tuple[int, int]] = {}
        self._out = out

    def put(self, number: int, line: bytes) -> None:
        """Writes the line, or keeps it until all older ones were written."""
        if number != self._next:
            start = self._spool.seek(0, 2)
            self._spool.write(line)
            self._places[number] = (start, len(line))
            return
        self._out.write(line + b"\n")
        self._next += 1
        while self._next in self._places:
            self._print_spooled(self._next)
            self._next += 1
        if not self._places:
            self._spool.seek(0)
            self._spool.truncate()
        self._out.flush()

    def _print_spooled(self, number: int) -> None:
        start, size = self._places.pop(number)
        self._spool.seek(start)
        self._out.write(self._spool.read(size) + b"\n")

    def close(self) -> None:
        """Writes what is left and frees the temporary file."""
        for number in sorted(self._places):
            self._print_spooled(number)
        self._out.flush()
        self._spool.close()


def readable(exchange: Exchange) -> str:
    """One harmless line: time, state, operation, model, tokens, speed, time to the first token, end of the reply."""
    from datetime import datetime

    from nightdesk.core.foreign import safe_line
    from nightdesk.model.units import format_count, format_duration

    began = datetime.fromtimestamp(exchange.started_ns / 1e9).astimezone()
    first = exchange.first_token_ns and exchange.first_token_ns - exchange.started_ns
    took = exchange.ended_ns and exchange.ended_ns - exchange.started_ns
    words = [
        began.strftime("%H:%M:%S"),
        GLYPHS[exchange.state],
        f"{exchange.state:<10}",
        f"{_operation(exchange):<9}",
        f"{safe_line(exchange.model or '–', 40):<20}",
        f"⇡{format_count(exchange.prompt_tokens):<5} ⇣{format_count(exchange.reply_tokens):<5}",
        f"{_speed(exchange):>9}",
        f"first {format_duration(first):<6}",
        f"took {format_duration(took):<6}",
    ]
    return safe_line("  ".join([*words, _tail(exchange)]), 400).rstrip()


def _operation(exchange: Exchange) -> str:
    if exchange.operation in ("manage", "other"):
        return f"{exchange.method or '?'} {exchange.path or '?'}"
    return exchange.operation


def _speed(exchange: Exchange) -> str:
    tokens, span_ns = exchange.reply_tokens, exchange.generation_ns
    return f"{tokens / span_ns * 1e9:.0f} t/s" if tokens and span_ns else "– t/s"


def _tail(exchange: Exchange) -> str:
    missing = exchange.missing_bytes.request + exchange.missing_bytes.response
    words = [f"▲ {verdict.kind.replace('_', ' ')}" for verdict in exchange.verdicts]
    if missing:
        words.append(f"{missing} bytes missing")
    if exchange.aborted_by:
        words.append(f"{exchange.aborted_by} left")
    if exchange.error is not None or (exchange.status or 0) >= 400:
        words.append(
            f"{exchange.status or '–'} {exchange.error if exchange.error is not None else ''}".strip()
        )
    reply = exchange.text or exchange.thinking
    if reply:
        words.append(f"▏{reply[-120:]}")
    return "  ".join(words)

"""``nightdesk export``: recorded exchanges, or those of a capture file, as JSON Lines, HAR or a dataset."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click

from nightdesk.cli.capture import parse_ports
from nightdesk.cli.desk import DeskChoice, pass_choice
from nightdesk.cli.filters import Choice, filter_options

if TYPE_CHECKING:
    from nightdesk.core.inspection.query import Query
    from nightdesk.export.formats import Format
    from nightdesk.export.redaction import Redactor
    from nightdesk.model.config import VerdictsSection
    from nightdesk.model.errors import CaptureError
    from nightdesk.model.exchange import Exchange

MARKED_GOOD = "mark:good"
"""What a dataset is made of where nothing else is asked for."""


@click.command()
@click.option(
    "--jsonl", "form", flag_value="jsonl", help="JSON Lines: whole exchanges with all their fields."
)
@click.option(
    "--har", "form", flag_value="har", help="HTTP archive (HAR 1.2) for network tools and browsers."
)
@click.option(
    "--dataset",
    "form",
    flag_value="dataset",
    help="Chat JSON Lines for fine-tuning; without a filter those marked good.",
)
@click.option(
    "--from",
    "source",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Exchanges of a capture file (pcap or pcapng; - reads standard input) instead of the recorded ones.",
)
@click.option(
    "--ports", callback=parse_ports, metavar="PORT[,PORT…]", help="With --from: ports of the servers."
)
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write there, all of it or nothing.",
)
@click.option(
    "--redact",
    is_flag=True,
    help="Take out keys, tokens, e-mail addresses and names in home paths; [export] redact has your own patterns.",
)
@filter_options
@pass_choice
def export(
    choice: DeskChoice,
    form: str | None,
    wanted: Choice,
    source: Path | None,
    ports: frozenset[int] | None,
    output: Path | None,
    redact: bool,
) -> None:
    """Write exchanges in the order in which they began, for other programs."""
    from nightdesk.export.formats import DATASET, HAR, JSONL
    from nightdesk.export.redaction import Redactor

    if form is None:
        raise click.UsageError("Say what to write: --jsonl, --har or --dataset.")
    if form == "dataset" and source is None and not wanted.text:
        wanted = Choice(MARKED_GOOD, "", {})
    query = wanted.read()
    config = choice.desk().config
    redactor = Redactor(config.export.redact, built_in=redact)
    fault: CaptureError | None = None
    with _opened(output) as out:
        writer = Writer(out, {"jsonl": JSONL, "har": HAR, "dataset": DATASET}[form], redactor)
        if source is not None:
            fault = _from_capture(writer, source, ports, query, config.verdicts)
        else:
            for document in choice.running().documents(wanted.text):
                writer.put_document(document)
        writer.close()
    _tell(writer, output, wanted)
    if fault:
        raise fault


class Writer:
    """Writes exchanges in one format as they come."""

    def __init__(self, out: IO[bytes], form: Format, redactor: Redactor) -> None:
        import msgspec

        from nightdesk.model.exchange import Exchange

        self.written = self.left_out = 0
        self._out = out
        self._form = form
        self._redactor = redactor
        self._decode = msgspec.json.Decoder(Exchange).decode
        self._out.write(form.head)

    def put_document(self, document: bytes) -> None:
        """Write an exchange that comes as JSON."""
        self.write(self.encoded(self._decode(document)) or b"")

    def encoded(self, exchange: Exchange) -> bytes | None:
        """What the exchange becomes; None where it has no place in the format."""
        piece = self._form.encoded(exchange, self._redactor)
        self.left_out += piece is None
        return piece

    def write(self, piece: bytes) -> None:
        """Write what an exchange became; an empty piece is none."""
        if piece := piece.rstrip(b"\n"):
            if self.written:
                self._out.write(self._form.joint)
            self._out.write(_terminal_safe(piece) if self._out is sys.stdout.buffer else piece)
            self.written += 1

    def flush(self) -> None:
        """Hand on what was written."""
        self._out.flush()

    def close(self) -> None:
        """Write the end of the format."""
        if self.written or self._form.head:
            self._out.write(self._form.tail)
        self._out.flush()


def _terminal_safe(piece: bytes) -> bytes:
    from nightdesk.cli.output import json_line

    return json_line(piece)


def _from_capture(
    writer: Writer, source: Path, ports: frozenset[int] | None, query: Query, verdicts: VerdictsSection
) -> CaptureError | None:
    """Write the exchanges of a capture. The fault at which reading ended, if any: what came before it is whole."""
    from nightdesk.cli.capture import InOrder, ended_exchanges, write_in_order
    from nightdesk.core.inspection.searched import searched_text
    from nightdesk.core.verdicts import thresholds_of
    from nightdesk.model.errors import CaptureError
    from nightdesk.model.exchange import row_of

    now_ns = time.time_ns()

    def piece_of(exchange: Exchange) -> bytes:
        found = query.matches(row_of(exchange), now_ns, lambda: searched_text(exchange))
        return (writer.encoded(exchange) if found else None) or b""

    try:
        write_in_order(InOrder(writer), ended_exchanges(source, ports, thresholds_of(verdicts)), piece_of)
    except CaptureError as fault:
        return fault
    return None


@contextlib.contextmanager
def _opened(output: Path | None) -> Iterator[IO[bytes]]:
    """Standard output, or a private file that takes the place of ``output`` when all is written."""
    from nightdesk.model.errors import NightdeskError

    if output is None:
        yield sys.stdout.buffer
        return
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{output.name}.", dir=output.parent)
    except OSError as fault:
        raise NightdeskError(
            f"{output} can't be written: {fault.strerror}.", "Choose another place with -o."
        ) from fault
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
        Path(name).replace(output)
    except OSError as fault:
        raise NightdeskError(
            f"Writing {output} failed: {fault.strerror}.", "Check the free space there."
        ) from fault
    finally:
        with contextlib.suppress(FileNotFoundError):
            Path(name).unlink()


def _tell(writer: Writer, output: Path | None, wanted: Choice) -> None:
    from nightdesk.cli.output import print_note

    where = f" to {output}" if output else ""
    if output or not writer.written:
        filtered = f" that match {wanted.text}" if wanted.text else ""
        print_note(f"{writer.written} exchanges{filtered} written{where}.")
    if writer.left_out:
        print_note(
            f"{writer.left_out} left out: not whole, without a reply, with images, or recorded without content."
        )

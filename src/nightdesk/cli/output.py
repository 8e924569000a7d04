"""Plain output: tables, JSON, errors. Everything foreign passes the filter of core.foreign on its way."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

import msgspec

from nightdesk.core.foreign import escape_json, safe, safe_line
from nightdesk.model.errors import ConfigError, NightdeskError

COLUMN_MOST = 60


def print_json(value: object) -> None:
    """One JSON object on one line. What a terminal could obey is escaped; the JSON means the same."""
    print_json_lines((value,))


def print_json_lines(values: Iterable[object]) -> None:
    """JSON Lines: one object a line."""
    for value in values:
        sys.stdout.buffer.write(json_line(msgspec.json.encode(value)) + b"\n")
    sys.stdout.buffer.flush()


def json_line(encoded: bytes) -> bytes:
    """Encoded JSON as the output can take it."""
    return escape_json(encoded, ascii_only=sys.stdout.encoding.lower() != "utf-8")


def print_line(text: str = "") -> None:
    """A line for people."""
    sys.stdout.write(encodable(safe(text)) + "\n")


def print_table(titles: Sequence[str], rows: Iterable[Sequence[str]], last_most: int = 4096) -> None:
    """Columns as wide as their content, the last one as long as it is."""
    table = [
        [safe_line(cell, COLUMN_MOST) for cell in row[:-1]] + [safe_line(row[-1], last_most)] for row in rows
    ]
    widths = [max(map(len, column)) for column in zip(titles, *table, strict=True)]
    for row in [list(titles), *table]:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        print_line("  ".join(cells).rstrip())


def print_error(fault: NightdeskError) -> None:
    """One sentence and the next step, on stderr."""
    lines = [f"nightdesk: {fault.message}"]
    if isinstance(fault, ConfigError):
        lines += [f"  {problem}" for problem in fault.problems]
    if fault.hint:
        lines.append(f"  {fault.hint}")
    sys.stderr.write(encodable(safe("\n".join(lines)), sys.stderr.encoding) + "\n")


def print_note(text: str) -> None:
    """A line beside the output, on stderr."""
    sys.stderr.write(encodable(safe_line(text), sys.stderr.encoding) + "\n")


def encodable(text: str, encoding: str | None = None) -> str:
    """What the output's encoding can't express becomes ``?``: a terminal without UTF-8 must not end a command."""
    wanted = encoding or sys.stdout.encoding
    return text.encode(wanted, errors="replace").decode(wanted)

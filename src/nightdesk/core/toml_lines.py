"""On which line of a TOML text each table and key stands; the TOML reader of the standard library does not tell.

The text must be valid TOML: it is read by tomllib first. Keys inside a value (inline tables) count as on the line where
the value begins.
"""

from __future__ import annotations

import re
import tomllib
from typing import Any

Path = tuple[str, ...]

_WORD = r"""(?:[A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.)*"|'[^'\n]*')"""
_KEY = re.compile(rf"{_WORD}(?:[ \t]*\.[ \t]*{_WORD})*")
_BLANK = re.compile(r"(?:\s|#[^\n]*)*")
_HEADER = re.compile(rf"\[\[?[ \t]*({_KEY.pattern})[ \t]*\]\]?")
_VALUE_PART = re.compile(
    r'''"""(?:[^\\]|\\.)*?"{3,5}|\'\'\'.*?'{3,5}|"(?:[^"\\\n]|\\.)*"|'[^'\n]*'|\#[^\n]*|[\[\]{}\n]|[^"'\#\[\]{}\n]+''',
    re.DOTALL,
)


def lines_of(text: str) -> dict[Path, int]:
    """Line numbers from 1, by the path of the table or key: ``("jobs", "transcribe", "command")``."""
    found: dict[Path, int] = {}
    table: Path = ()
    at = _skip_blank(text, 0)
    while at < len(text):
        line = text.count("\n", 0, at) + 1
        if header := _HEADER.match(text, at):
            table = _path(header[1])
            found.setdefault(table, line)
            at = header.end()
        elif key := _KEY.match(text, at):
            path = table + _path(key[0])
            for length in range(len(table) + 1, len(path) + 1):
                found.setdefault(path[:length], line)
            at = _value_end(text, text.index("=", key.end()) + 1)
        else:
            break
        at = _skip_blank(text, at)
    return found


def nearest_line(lines: dict[Path, int], path: Path) -> int | None:
    """The line of ``path``, or of the innermost table around it that has one."""
    for length in range(len(path), 0, -1):
        if path[:length] in lines:
            return lines[path[:length]]
    return None


def _skip_blank(text: str, at: int) -> int:
    blank = _BLANK.match(text, at)
    return blank.end() if blank else at


def _path(key: str) -> Path:
    """The parts of a dotted key, unquoted by the TOML reader itself."""
    parts: list[str] = []
    level: Any = tomllib.loads(f"{key} = 0")
    while isinstance(level, dict):
        name = next(iter(level))
        parts.append(name)
        level = level[name]
    return tuple(parts)


def _value_end(text: str, at: int) -> int:
    depth = 0
    while part := _VALUE_PART.match(text, at):
        if part[0] in ("[", "{"):
            depth += 1
        elif part[0] in ("]", "}"):
            depth -= 1
        elif part[0] == "\n" and depth == 0:
            return part.end()
        at = part.end()
    return len(text)

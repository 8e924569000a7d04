"""Which lines of which logs are wanted: ``job:transcribe level:error since:02:10 "no voice" ~took [0-9]+ ms``.

Terms are joined by *and*. What follows ``~`` is a pattern up to the end; words count whatever their case.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from nightdesk.core.logs.levels import Level
from nightdesk.core.moments import read_moment
from nightdesk.model.errors import UsageError

TEXT_MOST = 1_000
KEYS = ("file", "job", "run", "item", "level", "since", "until")
_TOKEN = re.compile(r'(?:([a-z]+):)?("(?:[^"]*)"?|\S+)')
_LEAST: dict[str, Level] = {"error": "error", "errors": "error", "warning": "warning", "warnings": "warning"}


class LogQuery(NamedTuple):
    """A question, read. Empty parts ask for everything."""

    files: tuple[str, ...] = ()
    """Parts of names."""
    jobs: tuple[str, ...] = ()
    runs: tuple[str, ...] = ()
    items: tuple[str, ...] = ()
    least: Level = ""
    since_ns: int | None = None
    until_ns: int | None = None
    words: tuple[str, ...] = ()
    """All of them stand in a record."""
    pattern: str = ""

    @property
    def chooses_lines(self) -> bool:
        """Lines are left out, and not only by when they were written."""
        return bool(self.items or self.least or self.words or self.pattern)


def read_log_query(text: str, now_ns: int) -> LogQuery:
    """The question that ``text`` asks; relative times count from ``now_ns``. Raises UsageError."""
    if len(text) > TEXT_MOST or "\0" in text:
        raise UsageError(f"A choice of lines has at most {TEXT_MOST:,} characters.")
    terms, _, pattern = text.partition("~")
    found: dict[str, list[str]] = {key: [] for key in (*KEYS, "")}
    for match in _TOKEN.finditer(terms):
        key, value = match[1] or "", match[2].strip('"')
        if key not in found:
            key, value = "", f"{key}:{value}"
        if value:
            found[key].append(value.casefold() if key not in ("run",) else value)
    return LogQuery(
        files=tuple(found["file"]),
        jobs=tuple(found["job"]),
        runs=tuple(found["run"]),
        items=tuple(found["item"]),
        least=_least(found["level"]),
        since_ns=_moment(found["since"], now_ns, is_end=False),
        until_ns=_moment(found["until"], now_ns, is_end=True),
        words=tuple(found[""]),
        pattern=pattern.strip(),
    )


def _least(given: list[str]) -> Level:
    if not given:
        return ""
    if given[-1] not in _LEAST:
        raise UsageError(f"There is no level {given[-1]!r} to choose.", "level:error or level:warning.")
    return _LEAST[given[-1]]


def _moment(given: list[str], now_ns: int, *, is_end: bool) -> int | None:
    if not given:
        return None
    moment = read_moment(given[-1])
    if moment is None:
        raise UsageError(
            f"{given[-1]!r} is not a point in time.",
            "For example since:02:10, since:2h, since:2026-11-21T03:12.",
        )
    return moment.at_ns(now_ns, is_end=is_end)

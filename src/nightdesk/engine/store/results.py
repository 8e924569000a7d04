"""What the rules of jobs said of outputs, and which of them the user flagged."""

from __future__ import annotations

import sqlite3

import msgspec
from msgspec.structs import replace

from nightdesk.model.outputs import OutputResult

RESULTS_MOST = 20_000
"""Of one job: the newest count."""
_encode = msgspec.json.Encoder().encode
_decoder = msgspec.json.Decoder(OutputResult)


def write_result(database: sqlite3.Connection, result: OutputResult) -> None:
    """Keep a result. A run has one for each item, the newest; those by hand count as one run."""
    values = (result.job, result.run or "", result.item, result.at_ns, _encode(result))
    database.execute("INSERT OR REPLACE INTO output_results VALUES (?, ?, ?, ?, ?)", values)


def write_flag(database: sqlite3.Connection, job: str, item: str, at_ns: int, note: str | None) -> None:
    """Flag an item, with a note that may be empty; None takes the flag away."""
    database.execute("DELETE FROM output_flags WHERE job = ? AND item = ?", (job, item))
    if note is not None:
        database.execute("INSERT INTO output_flags VALUES (?, ?, ?, ?)", (job, item, at_ns, note))


def read_results(database: sqlite3.Connection, job: str) -> list[OutputResult]:
    """The newest results of a job, oldest first, without flags."""
    rows = database.execute(
        "SELECT result FROM output_results WHERE job = ? ORDER BY at_ns DESC LIMIT ?", (job, RESULTS_MOST)
    ).fetchall()
    return [_decoder.decode(row[0]) for row in reversed(rows)]


def read_flags(database: sqlite3.Connection) -> dict[tuple[str, str], tuple[int, str]]:
    """(job, item) → when it was flagged, and the note."""
    rows = database.execute("SELECT job, item, at_ns, note FROM output_flags")
    return {(job, item): (at_ns, note) for job, item, at_ns, note in rows}


def with_flag(result: OutputResult, flag: tuple[int, str] | None) -> OutputResult:
    """The result as the user has flagged it."""
    return replace(result, flagged=True, note=flag[1]) if flag else result


def prune_results(database: sqlite3.Connection, before_ns: int) -> None:
    """Forget old results. What is flagged stays, and so do the flags."""
    database.execute(
        "DELETE FROM output_results WHERE at_ns < ? AND NOT EXISTS (SELECT 1 FROM output_flags AS flag "
        "WHERE flag.job = output_results.job AND flag.item = output_results.item)",
        (before_ns,),
    )

"""Reading lists of recorded exchanges: pages in any order, totals, whole ones in a row. Blocks; belongs in a thread.

What is not written yet (running exchanges, a writer's queue) is given as rows and takes its place among the stored.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import cast

import msgspec

from nightdesk.core.conditions import holds_words, measure
from nightdesk.core.query import Query
from nightdesk.core.words import split_words
from nightdesk.engine.store.recording import searched_texts, unpacked
from nightdesk.engine.store.search import Clause, order, where
from nightdesk.model.exchange import ExchangeRow
from nightdesk.model.inspection import ExchangePage, ExchangeTotals, Mark, Spread

_row_decoder = msgspec.json.Decoder(ExchangeRow)
_numbers_decoder = msgspec.json.Decoder(list[int])

Sorted = tuple[str | float | None, int, ExchangeRow | Mark | None]


@dataclass(frozen=True, slots=True)
class Fresh:
    """An exchange that is not in the database yet."""

    row: ExchangeRow
    text: Callable[[], str]
    """Prompt and reply, for queries that ask for them."""


@dataclass(frozen=True, slots=True)
class Question:
    """A query and what it is asked of."""

    query: Query
    now_ns: int
    can_search: bool
    fresh: tuple[Fresh, ...] = ()

    @property
    def clause(self) -> Clause:
        """The query for the store."""
        return where(self.query, self.now_ns, can_search=self.can_search)


def page(
    database: sqlite3.Connection, question: Question, *, sort: str, offset: int, limit: int
) -> ExchangePage:
    """One page of the exchanges that match. Raises UsageError for an unknown order."""
    ordered = order(sort)
    clause = question.clause
    with _snapshot(database):
        fresh = _matching(database, question)
        stored = _count(database, clause)
        begin = max(0, offset - len(fresh))
        found: list[Sorted] = database.execute(
            f"SELECT {ordered.column}, id, mark FROM exchange_facts WHERE {clause.sql} "  # noqa: S608 - fixed words
            f"ORDER BY {ordered.sql} LIMIT ? OFFSET ?",
            (*clause.values, offset + limit - begin, begin),
        ).fetchall()
        merged = _merged(found, fresh, sort, question.now_ns)
        if begin:
            # Fresh ones in front of the first stored one that was read push it back, and all behind it.
            before = next((place for place, one in enumerate(merged) if one is found[0]), 0) if found else 0
            merged = merged[before:]
            begin += before
        rows = _rows(database, merged[offset - begin : offset - begin + limit])
    return ExchangePage(rows=rows, offset=offset, total=stored + len(fresh))


def newest(database: sqlite3.Connection, limit: int) -> tuple[ExchangeRow, ...]:
    """The newest rows without their marks, oldest first."""
    found = database.execute("SELECT summary FROM exchanges ORDER BY id DESC LIMIT ?", (limit,)).fetchall()
    return tuple(_row_decoder.decode(one[0]) for one in reversed(found))


def totals(database: sqlite3.Connection, question: Question) -> ExchangeTotals:
    """Sums over the exchanges that match."""
    clause = question.clause
    with _snapshot(database):
        rows = _matching(database, question)
        groups = database.execute(
            "SELECT state, verdicts, count(*), sum(prompt_tokens), sum(reply_tokens), "  # noqa: S608 - fixed words
            "sum(CASE WHEN rate IS NOT NULL THEN reply_tokens END), "
            "sum(CASE WHEN rate IS NOT NULL THEN generation_ns END) "
            f"FROM exchange_facts WHERE {clause.sql} GROUP BY state, verdicts",
            clause.values,
        ).fetchall()
        spans = [_numbers(database, column, clause) for column in ("first_ns", "took_ns")]
    states, verdicts = Counter[str](), Counter[str]()
    sums = [0, 0, 0, 0]
    for state, kinds, count, *counted in groups:
        states[state] += count
        for kind in set(kinds.split()):
            verdicts[kind] += count
        sums = [total + (one or 0) for total, one in zip(sums, counted, strict=True)]
    for row in rows:
        states[row.state] += 1
        verdicts.update(set(row.verdicts))
        rated = measure(row, "rate", 0) is not None
        given = (row.prompt_tokens, row.reply_tokens, rated and row.reply_tokens, rated and row.generation_ns)
        sums = [total + (one or 0) for total, one in zip(sums, given, strict=True)]
        for numbers, key in zip(spans, ("first", "took"), strict=True):
            span = measure(row, key, question.now_ns)
            if span is not None:
                numbers.append(int(span))
    return ExchangeTotals(
        count=states.total(),
        states=dict(states),
        verdicts=dict(verdicts.most_common()),
        prompt_tokens=sums[0],
        reply_tokens=sums[1],
        tokens_per_s=sums[2] * 1e9 / sums[3] if sums[3] else None,
        first_token=_spread(spans[0]),
        duration=_spread(spans[1]),
    )


@contextlib.contextmanager
def _snapshot(database: sqlite3.Connection) -> Iterator[None]:
    """All reads inside see the database at one moment."""
    database.execute("BEGIN")
    try:
        yield
    finally:
        database.execute("COMMIT")


def _matching(database: sqlite3.Connection, question: Question) -> list[ExchangeRow]:
    """The fresh ones that match and were not written meanwhile."""
    if not question.fresh:
        return []
    written = _among(database, (one.row.id for one in question.fresh))
    return [
        one.row
        for one in question.fresh
        if one.row.id not in written and question.query.matches(one.row, question.now_ns, one.text)
    ]


def _among(database: sqlite3.Connection, ids: Iterable[int]) -> set[int]:
    given = msgspec.json.encode(list(ids)).decode()
    found = database.execute(
        "SELECT id FROM exchange_facts WHERE id IN (SELECT value FROM json_each(?))", (given,)
    )
    return {row[0] for row in found}


def _count(database: sqlite3.Connection, clause: Clause) -> int:
    (count,) = database.execute(
        f"SELECT count(*) FROM exchange_facts WHERE {clause.sql}",  # noqa: S608 - fixed words
        clause.values,
    ).fetchone()
    return int(count)


def _merged(found: list[Sorted], fresh: list[ExchangeRow], sort: str, now_ns: int) -> list[Sorted]:
    """Stored and fresh ones in one order."""
    if not fresh:
        return found
    name, falls = sort.removeprefix("-"), sort.startswith("-")
    merged = [*found, *((_sort_value(row, name, now_ns), row.id, row) for row in fresh)]
    merged.sort(key=lambda one: one[1], reverse=falls or name != "started")
    known = [one for one in merged if one[0] is not None]
    known.sort(key=lambda one: cast("float", one[0]), reverse=falls)
    return known + [one for one in merged if one[0] is None]


def _sort_value(row: ExchangeRow, name: str, now_ns: int) -> str | float | None:
    match name:
        case "started":
            return row.started_ns
        case "state":
            return row.state
        case "model":
            return row.model.casefold() if row.model else None
        case "job":
            return row.job.casefold() if row.job else None
        case _:
            return measure(row, name, now_ns)


def _rows(database: sqlite3.Connection, wanted: list[Sorted]) -> tuple[ExchangeRow, ...]:
    """The rows for a page; one that was deleted meanwhile is left out."""
    stored = {number: mark for _, number, mark in wanted if not isinstance(mark, ExchangeRow)}
    given = msgspec.json.encode(list(stored)).decode()
    found = database.execute(
        "SELECT id, summary FROM exchanges WHERE id IN (SELECT value FROM json_each(?))", (given,)
    )
    known = {number: _marked(_row_decoder.decode(summary), stored[number]) for number, summary in found}
    known.update((number, row) for _, number, row in wanted if isinstance(row, ExchangeRow))
    return tuple(known[number] for _, number, _ in wanted if number in known)


def _marked(row: ExchangeRow, mark: Mark | None) -> ExchangeRow:
    return row if row.mark == mark else msgspec.structs.replace(row, mark=mark)


def _numbers(database: sqlite3.Connection, column: str, clause: Clause) -> list[int]:
    # One long text is many times faster to fetch than as many rows.
    (joined,) = database.execute(
        f"SELECT group_concat({column}) FROM exchange_facts WHERE {clause.sql}",  # noqa: S608 - fixed words
        clause.values,
    ).fetchone()
    return _numbers_decoder.decode(f"[{joined or ''}]")


def _spread(numbers: list[int]) -> Spread:
    if not numbers:
        return Spread()
    numbers.sort()
    last = len(numbers) - 1
    return Spread(p50_ns=numbers[round(last * 0.5)], p95_ns=numbers[round(last * 0.95)], max_ns=numbers[-1])


def content_holds(content: bytes, text: str, begins: int) -> bool:
    """A function for SQL where this SQLite has no text index: whether an exchange holds words in a row."""
    wanted = split_words(text)
    return any(holds_words(wanted, one, begins=bool(begins)) for one in searched_texts(unpacked(content)))

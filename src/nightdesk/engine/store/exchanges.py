"""Reading lists of recorded exchanges: pages in any order, totals, whole ones in a row. Blocks; belongs in a thread.

What is not written yet (running exchanges, a writer's queue) is given as rows and takes its place among the stored.
"""

from __future__ import annotations

import contextlib
import sqlite3
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import cast, get_args

import msgspec

from nightdesk.core.inspection.conditions import TROUBLE, holds_words, measure, row_words
from nightdesk.core.inspection.query import Query
from nightdesk.core.inspection.searched import searched_texts
from nightdesk.core.inspection.words import split_words
from nightdesk.engine.store.recording import unpacked
from nightdesk.engine.store.search import Clause, order, text_only, where
from nightdesk.model.exchange import ExchangeRow, ExchangeState, row_of
from nightdesk.model.inspection import ExchangePage, ExchangeTotals, Mark, Spread

_row_decoder = msgspec.json.Decoder(ExchangeRow)
_numbers_decoder = msgspec.json.Decoder(list[int])

WALKED_FROM = 2000
"""From so many matches on, going through all rows in their order finds a page sooner than looking each match up."""
OCCURRING = {
    "model": "model",
    "job": "job",
    "item": "item",
    "run": "run",
    "path": "path",
    "process": "process",
    "reason": "reason",
    "verdict": "verdicts",
}
OCCURRING_MOST = 200
_SPREAD = {"first": "first_ns", "took": "took_ns"}
STATES = get_args(ExchangeState)
_COUNTED = ", ".join(f"sum(state = '{state}')" for state in STATES)

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

    @property
    def walking_clause(self) -> Clause:
        """The same for many matches in an order."""
        return where(self.query, self.now_ns, can_search=self.can_search, walks=True)


def page(
    database: sqlite3.Connection, question: Question, *, sort: str, offset: int, limit: int
) -> ExchangePage:
    """One page of the exchanges that match. Raises UsageError for an unknown order."""
    ordered = order(sort)
    with _snapshot(database):
        fresh = _matching(database, question)
        stored = _count(database, question)
        clause = question.walking_clause if stored > WALKED_FROM else question.clause
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


def trouble(database: sqlite3.Connection, question: Question, *, sort: str, offset: int) -> int | None:
    """The first place from ``offset`` on where a stored exchange has a verdict or did not end well."""
    ordered = order(sort)
    states = ", ".join("?" for _ in TROUBLE)
    with _snapshot(database):
        fresh = _matching(database, question)
        clause = question.walking_clause
        begin = max(0, offset - len(fresh))
        rows = database.execute(
            f"SELECT {ordered.column}, id, verdicts <> '' OR state IN ({states}) FROM exchange_facts "  # noqa: S608 - fixed words
            f"WHERE {clause.sql} ORDER BY {ordered.sql} LIMIT -1 OFFSET ?",
            (*TROUBLE, *clause.values, begin),
        )
        for stored, (value, number, is_wrong) in enumerate(rows, begin):
            if not is_wrong:
                continue
            one: Sorted = (value, number, None)
            place = stored + _merged([one], fresh, sort, question.now_ns).index(one)
            if place >= offset:
                return place
    return None


def newest(database: sqlite3.Connection, limit: int) -> tuple[ExchangeRow, ...]:
    """The newest rows without their marks, oldest first."""
    found = database.execute("SELECT summary FROM exchanges ORDER BY id DESC LIMIT ?", (limit,)).fetchall()
    return tuple(_row_decoder.decode(one[0]) for one in reversed(found))


def ids(database: sqlite3.Connection, question: Question) -> list[int]:
    """Ids of the stored exchanges that match, in the order in which they began."""
    clause = question.clause
    found = database.execute(
        f"SELECT id FROM exchange_facts WHERE {clause.sql} ORDER BY started_ns, id",  # noqa: S608 - fixed words
        clause.values,
    )
    return [row[0] for row in found]


def documents(database: sqlite3.Connection, wanted: Sequence[int]) -> list[bytes]:
    """Whole exchanges as JSON, in the order of ``wanted``; those that were deleted meanwhile are left out."""
    given = msgspec.json.encode(wanted).decode()
    found = dict(
        database.execute(
            "SELECT id, content FROM exchanges WHERE id IN (SELECT value FROM json_each(?))", (given,)
        )
    )
    return [zlib.decompress(found[number]) for number in wanted if number in found]


def occurring(database: sqlite3.Connection) -> dict[str, tuple[str, ...]]:
    """The values that occur, by key of a query, the most frequent first."""
    found = {}
    for key, column in OCCURRING.items():
        rows = database.execute(
            f"SELECT {column}, count(*) FROM exchange_facts WHERE {column} <> '' GROUP BY 1 "  # noqa: S608 - fixed words
            "ORDER BY 2 DESC, 1 LIMIT ?",
            (OCCURRING_MOST,),
        ).fetchall()
        words = [word for value, _ in rows for word in (value.split() if key == "verdict" else [value])]
        found[key] = tuple(dict.fromkeys(words))
    return found


def totals(database: sqlite3.Connection, question: Question) -> ExchangeTotals:
    """Sums over the exchanges that match."""
    clause = question.clause
    with _snapshot(database):
        rows = _matching(database, question)
        sums = _Sums(database, clause)
        for row in rows:
            sums.add(row, question.now_ns)
        spreads = [_spread(database, column, key, rows, question) for key, column in _SPREAD.items()]
    prompt, reply, rated, generation = sums.tokens
    return ExchangeTotals(
        count=sums.states.total(),
        states=dict(sums.states),
        verdicts=dict(sums.verdicts.most_common()),
        prompt_tokens=prompt,
        reply_tokens=reply,
        tokens_per_s=rated * 1e9 / generation if generation else None,
        first_token=spreads[0],
        duration=spreads[1],
    )


class _Sums:
    """Totals in the making."""

    def __init__(self, database: sqlite3.Connection, clause: Clause) -> None:
        *counts, prompt, reply, rated, generation = database.execute(
            f"SELECT {_COUNTED}, sum(prompt_tokens), sum(reply_tokens), "  # noqa: S608 - fixed words
            "sum(iif(rate IS NULL, 0, reply_tokens)), sum(iif(rate IS NULL, 0, generation_ns)) "
            f"FROM exchange_facts WHERE {clause.sql}",
            clause.values,
        ).fetchone()
        self.states = Counter({state: count for state, count in zip(STATES, counts, strict=True) if count})
        self.tokens = [number or 0 for number in (prompt, reply, rated, generation)]
        self.verdicts = Counter[str]()
        for kinds, count in database.execute(
            f"SELECT verdicts, count(*) FROM exchange_facts WHERE verdicts <> '' AND {clause.sql} GROUP BY verdicts",  # noqa: S608 - fixed words
            clause.values,
        ):
            self.verdicts.update(dict.fromkeys(kinds.split(), count))

    def add(self, row: ExchangeRow, now_ns: int) -> None:
        """Count one that is not stored."""
        self.states[row.state] += 1
        self.verdicts.update(set(row.verdicts))
        rated = measure(row, "rate", now_ns) is not None
        given = (row.prompt_tokens, row.reply_tokens, rated and row.reply_tokens, rated and row.generation_ns)
        self.tokens = [total + (one or 0) for total, one in zip(self.tokens, given, strict=True)]


def _spread(
    database: sqlite3.Connection, column: str, key: str, rows: list[ExchangeRow], question: Question
) -> Spread:
    """How a duration is spread over stored and fresh ones."""
    fresh = [int(span) for row in rows if (span := measure(row, key, question.now_ns)) is not None]
    stored = _Indexed(database, column) if not question.query.terms else _Listed(database, column, question)
    count = stored.count + len(fresh)
    if not count:
        return Spread()
    ranks = (round((count - 1) * 0.5), round((count - 1) * 0.95), count - 1)
    p50, p95, most = (_at_rank(stored, fresh, rank) for rank in ranks)
    return Spread(p50_ns=p50, p95_ns=p95, max_ns=most)


def _at_rank(stored: _Indexed | _Listed, fresh: list[int], rank: int) -> int:
    """The number with so many below it, among stored and fresh ones."""
    # No more fresh ones than there are can stand in front of it: the stored ones before that need not be read.
    begin = max(0, rank - len(fresh))
    return sorted([*stored.ranks(begin, rank + 1), *fresh])[rank - begin]


class _Indexed:
    """All known numbers of a column in order, read where they stand in its index."""

    def __init__(self, database: sqlite3.Connection, column: str) -> None:
        self._database = database
        self._column = column
        (self.count,) = database.execute(
            f"SELECT count(*) FROM exchange_facts WHERE {column} IS NOT NULL"  # noqa: S608 - fixed words
        ).fetchone()

    def ranks(self, begin: int, end: int) -> list[int]:
        """The numbers from one rank to another."""
        found = self._database.execute(
            f"SELECT {self._column} FROM exchange_facts WHERE {self._column} IS NOT NULL "  # noqa: S608 - fixed words
            f"ORDER BY {self._column} LIMIT ? OFFSET ?",
            (end - begin, begin),
        )
        return [row[0] for row in found]


class _Listed:
    """The numbers of a column that belong to a query, in order."""

    def __init__(self, database: sqlite3.Connection, column: str, question: Question) -> None:
        # One long text of numbers is many times faster to fetch than as many rows.
        clause = question.clause
        (joined,) = database.execute(
            f"SELECT group_concat({column}) FROM exchange_facts WHERE {clause.sql}",  # noqa: S608 - fixed words
            clause.values,
        ).fetchone()
        self._numbers = sorted(_numbers_decoder.decode(f"[{joined or ''}]"))
        self.count = len(self._numbers)

    def ranks(self, begin: int, end: int) -> list[int]:
        """The numbers from one rank to another."""
        return self._numbers[begin:end]


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


def _count(database: sqlite3.Connection, question: Question) -> int:
    text = text_only(question.query) if question.can_search else None
    table, clause = ("exchange_index", text) if text else ("exchange_facts", question.clause)
    (count,) = database.execute(
        f"SELECT count(*) FROM {table} WHERE {clause.sql}",  # noqa: S608 - fixed words
        clause.values,
    ).fetchone()
    return int(count)


def _merged(found: list[Sorted], fresh: list[ExchangeRow], sort: str, now_ns: int) -> list[Sorted]:
    """Stored and fresh ones in one order."""
    if not fresh:
        return found
    name, falls = sort.removeprefix("-"), sort.startswith("-")
    merged = [*found, *((_sort_value(row, name, now_ns), row.id, row) for row in fresh)]
    merged.sort(key=lambda one: one[1], reverse=falls)
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


def content_holds(content: bytes, text: str, begins: int, in_words: int) -> bool:
    """A function for SQL where this SQLite has no text index: whether an exchange holds words in a row."""
    exchange, wanted = unpacked(content), split_words(text)
    texts = (*searched_texts(exchange), row_words(row_of(exchange)) if in_words else "")
    return bool(wanted) and any(holds_words(wanted, one, begins=bool(begins)) for one in texts)

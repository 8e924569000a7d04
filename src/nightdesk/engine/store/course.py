"""All recorded exchanges in the order in which they began, one after another: for sums over a whole night."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from pathlib import Path

import msgspec

from nightdesk.core.inspection.conditions import Began
from nightdesk.core.inspection.query import Query
from nightdesk.engine.store.database import connect
from nightdesk.engine.store.exchanges import Question
from nightdesk.model.exchange import ExchangeRow

Seen = tuple[ExchangeRow, bool]

_row_decoder = msgspec.json.Decoder(ExchangeRow)


def read_course(path: Path, question: Question, before_ns: int) -> Iterator[Seen]:
    """Rows with whether they match. Of those that began before the time asked for, the last ``before_ns`` only.

    Read on a connection of its own, so that lists and totals need not wait for the end.
    """
    database = connect(path)
    try:
        clause = question.clause
        since_ns, until_ns = _span(question.query, question.now_ns)
        # In the order of an index, one after another: nothing is gathered and sorted first.
        found = database.execute(
            "SELECT (SELECT summary FROM exchanges WHERE exchanges.id = exchange_facts.id), "  # noqa: S608 - fixed words
            f"{clause.sql} FROM exchange_facts WHERE started_ns BETWEEN ? AND ? ORDER BY started_ns, id",
            (*clause.values, since_ns - before_ns, until_ns),
        )
        stored = _decoded(found)
        fresh = sorted((one for one in question.fresh), key=lambda one: (one.row.started_ns, one.row.id))
        waiting = (
            (one.row, question.query.matches(one.row, question.now_ns, one.text))
            for one in fresh
            if since_ns - before_ns <= one.row.started_ns <= until_ns
        )
        yield from _once(heapq.merge(stored, waiting, key=lambda seen: (seen[0].started_ns, seen[0].id)))
    finally:
        database.close()


def _decoded(found: Iterator[tuple[bytes | None, int]]) -> Iterator[Seen]:
    for summary, matching in found:
        if summary is None:
            continue  # deleted meanwhile
        yield _row_decoder.decode(summary), bool(matching)


def _once(course: Iterator[Seen]) -> Iterator[Seen]:
    """Without the second of two: what was written meanwhile is among the stored and the fresh."""
    last: int | None = None
    for seen in course:
        if seen[0].id != last:
            yield seen
        last = seen[0].id


def _span(query: Query, now_ns: int) -> tuple[int, int]:
    """The times within which rows can match."""
    since_ns, until_ns = 0, 2**62
    for term in query.terms:
        condition = term.condition
        if not isinstance(condition, Began) or term.negated:
            continue
        at_ns = condition.moment.at_ns(now_ns, is_end=condition.key == "until")
        if condition.key == "since":
            since_ns = max(since_ns, at_ns)
        else:
            until_ns = min(until_ns, at_ns)
    return since_ns, until_ns

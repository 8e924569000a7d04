"""Queries as SQL over ``exchange_facts``: fixed words of ours joined, everything of the user's a parameter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nightdesk.core.conditions import (
    TROUBLE,
    Began,
    Compare,
    Condition,
    Contains,
    HasStatus,
    InRange,
    OneOf,
    Phrase,
    Word,
    exact_value,
)
from nightdesk.core.query import Query
from nightdesk.model.errors import UsageError
from nightdesk.model.inspection import SORTS

Value = str | int | float


@dataclass(frozen=True, slots=True)
class Clause:
    """A piece of SQL and the values of its parameters."""

    sql: str
    values: tuple[Value, ...] = ()


def where(query: Query, now_ns: int, *, can_search: bool) -> Clause:
    """The condition that rows of ``exchange_facts`` meet exactly where they match."""
    clauses = []
    for term in query.terms:
        clause = _clause(term.condition, now_ns, can_search)
        clauses.append(Clause(f"NOT {clause.sql}", clause.values) if term.negated else clause)
    return _joined(" AND ", clauses) if clauses else Clause("1")


def _joined(word: str, clauses: Sequence[Clause]) -> Clause:
    values = tuple(value for clause in clauses for value in clause.values)
    return Clause(f"({word.join(clause.sql for clause in clauses)})", values)


# No clause is ever NULL: what is unknown does not match, and its negation does.


def _clause(condition: Condition, now_ns: int, can_search: bool) -> Clause:
    match condition:
        case Contains():
            column = _TEXTS[condition.key]
            return _joined(" OR ", [_text_clause(column, value) for value in condition.values])
        case OneOf():
            return _joined(" OR ", [_word_clause(_WORDS[condition.key], value) for value in condition.values])
        case HasStatus():
            return _joined(" OR ", [_status_clause(value) for value in condition.values])
        case InRange():
            column = _NUMBERS[condition.key]
            known = Clause(f"{column} IS NOT NULL")
            ranges = [Clause(f"{column} BETWEEN ? AND ?", ends) for ends in condition.ranges]
            return _joined(" AND ", [known, _joined(" OR ", ranges)]) if ranges else known
        case Compare():
            column = MEASURES[condition.key]
            sql = f"({column} IS NOT NULL AND {column} {_SIGNS[condition.sign]} ?)"
            return Clause(sql, (condition.amount,))
        case Began():
            at_ns = condition.moment.at_ns(now_ns, is_end=condition.key == "until")
            return Clause(f"(started_ns {'>=' if condition.key == 'since' else '<='} ?)", (at_ns,))
        case Phrase():
            return _search(condition.text, "{prompt reply} : ", begins=False, can_search=can_search)
        case Word():
            return _search(condition.text, "", begins=condition.begins, can_search=can_search)


def _text_clause(column: str, value: str) -> Clause:
    exact = exact_value(value)
    if value == "*":
        return Clause(f"{column} <> ''")
    if column == "verdicts":
        return Clause("instr(verdicts, ?) > 0", (value if exact is None else f"\n{exact}\n",))
    return Clause(f"instr({column}, ?) > 0", (value,)) if exact is None else Clause(f"{column} = ?", (exact,))


def _word_clause(column: str, value: str) -> Clause:
    return Clause(f"{column} IS NOT NULL") if value == "*" else Clause(f"{column} IS ?", (value,))


def _status_clause(value: str) -> Clause:
    match value:
        case "error":
            places = ", ".join("?" for _ in TROUBLE)
            return Clause(f"(state IN ({places}) OR ifnull(status, 0) >= 400)", TROUBLE)
        case "ok":
            return Clause("(state = ? AND ifnull(status, 0) < 400)", ("complete",))
        case _ if value.endswith("xx"):
            return Clause("ifnull(status, 0) / 100 = ?", (int(value[0]),))
        case _ if value.isdecimal():
            return Clause("status IS ?", (int(value),))
        case _:
            return Clause("state = ?", (value,))


def _search(text: str, columns: str, *, begins: bool, can_search: bool) -> Clause:
    if not can_search:
        in_words = not columns
        sql = "id IN (SELECT id FROM exchanges WHERE content_holds(content, ?, ?, ?))"
        return Clause(f"({sql})", (text, begins, in_words))
    phrase = '"' + text.replace('"', " ").replace("\0", " ") + '"'
    wanted = f"{columns}{phrase} *" if begins else columns + phrase
    return Clause("(id IN (SELECT rowid FROM exchange_index WHERE exchange_index MATCH ?))", (wanted,))


_TEXTS = {
    "model": "model",
    "job": "job",
    "item": "item",
    "run": "run",
    "path": "path",
    "process": "process",
    "reason": "reason",
    "verdict": "verdicts",
}
_WORDS = {"state": "state", "op": "operation", "dialect": "dialect", "mark": "mark"}
_NUMBERS = {"id": "id", "pid": "pid", "replay": "replay_of"}
MEASURES = {
    "took": "took_ns",
    "first": "first_ns",
    "load": "load_ns",
    "tokens": "tokens",
    "prompt": "prompt_tokens",
    "reply": "reply_tokens",
    "rate": "rate",
    "size": "size",
}
_SIGNS = {">": ">", ">=": ">=", "<": "<", "<=": "<="}


@dataclass(frozen=True, slots=True)
class Order:
    """An order of rows: unknown values last, equal ones newest first."""

    sql: str
    column: str
    descending: bool


_SORTED_BY = {
    "started": "started_ns",
    **{name: MEASURES[name] for name in ("took", "first", "tokens", "prompt", "reply", "rate", "size")},
    "model": "nullif(model, '')",
    "job": "nullif(job, '')",
    "state": "state",
}


def order(sort: str) -> Order:
    """The order that a word of SORTS, perhaps with ``-``, asks for. Raises UsageError for another word."""
    name = sort.removeprefix("-")
    if name not in _SORTED_BY:
        raise UsageError(
            f"Exchanges can't be sorted by {name[:40]!r}.",
            f"Known are {', '.join(SORTS)}, each also with - in front.",
        )
    column = _SORTED_BY[name]
    way = "DESC" if sort.startswith("-") else "ASC"
    if name == "started":
        return Order(f"started_ns {way}, id {way}", column, way == "DESC")
    unknown = "" if name == "state" else " NULLS LAST"
    return Order(f"{column} {way}{unknown}, id DESC", column, way == "DESC")

"""Queries as SQL over ``exchange_facts``: fixed words of ours joined, everything of the user's a parameter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nightdesk.core.inspection.conditions import (
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
from nightdesk.core.inspection.query import Query
from nightdesk.model.errors import UsageError
from nightdesk.model.inspection import SORTS

Value = str | int | float


@dataclass(frozen=True, slots=True)
class Clause:
    """A piece of SQL and the values of its parameters."""

    sql: str
    values: tuple[Value, ...] = ()


def where(query: Query, now_ns: int, *, can_search: bool, walks: bool = False) -> Clause:
    """The condition that rows of ``exchange_facts`` meet exactly where they match.

    With ``walks`` the rows are gone through in their order until there are enough, and each is looked up among those
    that hold a text; else each that holds the text is looked up among the rows, which is quicker for few.
    """
    clauses = []
    for term in query.terms:
        clause = _clause(term.condition, now_ns, can_search)
        clauses.append(Clause(f"NOT {clause.sql}", clause.values) if term.negated else clause)
    whole = _joined(" AND ", clauses) if clauses else Clause("1")
    return Clause(whole.sql.replace(_LOOKED_UP, "+" + _LOOKED_UP), whole.values) if walks else whole


def text_only(query: Query) -> Clause | None:
    """For a query that looks for text and nothing else: the condition for the text index itself."""
    if len(query.terms) != 1 or query.terms[0].negated:
        return None
    match query.terms[0].condition:
        case Phrase() | Word() as condition:
            return Clause("exchange_index MATCH ?", (_wanted(condition),))
        case _:
            return None


def _joined(word: str, clauses: Sequence[Clause]) -> Clause:
    values = tuple(value for clause in clauses for value in clause.values)
    return Clause(f"({word.join(clause.sql for clause in clauses)})", values)


# No clause is ever NULL: what is unknown does not match, and its negation does. A + before a column keeps SQLite from
# its index, which is there for orders: most values match most comparisons, and reading all rows is quicker.


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
            sql = f"(+{column} IS NOT NULL AND +{column} {_SIGNS[condition.sign]} ?)"
            return Clause(sql, (condition.amount,))
        case Began():
            at_ns = condition.moment.at_ns(now_ns, is_end=condition.key == "until")
            return Clause(f"(started_ns {'>=' if condition.key == 'since' else '<='} ?)", (at_ns,))
        case Phrase() | Word():
            return _search(condition, can_search)


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
            return Clause(f"(+state IN ({places}) OR ifnull(status, 0) >= 400)", TROUBLE)
        case "ok":
            return Clause("(+state = ? AND ifnull(status, 0) < 400)", ("complete",))
        case _ if value.endswith("xx"):
            return Clause("ifnull(status, 0) / 100 = ?", (int(value[0]),))
        case _ if value.isdecimal():
            return Clause("status IS ?", (int(value),))
        case _:
            return Clause("+state = ?", (value,))


def _search(condition: Phrase | Word, can_search: bool) -> Clause:
    if can_search:
        sql = f"({_LOOKED_UP} (SELECT rowid FROM exchange_index WHERE exchange_index MATCH ?))"  # noqa: S608 - fixed words
        return Clause(sql, (_wanted(condition),))
    is_word = isinstance(condition, Word)
    begins = isinstance(condition, Word) and condition.begins
    sql = "id IN (SELECT id FROM exchanges WHERE content_holds(content, ?, ?, ?))"
    return Clause(f"({sql})", (condition.text, begins, is_word))


def _wanted(condition: Phrase | Word) -> str:
    """In the language of the text index. The text stands in quotation marks, so nothing in it is part of that."""
    phrase = '"' + condition.text.replace('"', " ").replace("\0", " ") + '"'
    if isinstance(condition, Phrase):
        return "{prompt reply} : " + phrase
    return f"{phrase} *" if condition.begins else phrase


_LOOKED_UP = "id IN"
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
_WORDS = {"state": "+state", "op": "operation", "dialect": "dialect", "mark": "mark"}
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
    """An order of rows: unknown values last, equal ones by id."""

    sql: str
    column: str


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
            f"Known: {', '.join(SORTS)}, each also with - in front.",
        )
    column = _SORTED_BY[name]
    way = "DESC" if sort.startswith("-") else "ASC"
    unknown = "" if name in ("started", "state") else " NULLS LAST"
    return Order(f"{column} {way}{unknown}, id {way}", column)

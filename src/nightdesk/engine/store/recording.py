"""How an exchange is written: its line for the list, the columns that queries look at, its content, its words."""

from __future__ import annotations

import sqlite3
import zlib

import msgspec

from nightdesk.core.inspection.conditions import measure, row_words
from nightdesk.core.inspection.searched import searched_texts
from nightdesk.model.exchange import Exchange, ExchangeRow, row_of

encode = msgspec.json.Encoder().encode
_exchange_decoder = msgspec.json.Decoder(Exchange)

FACTS = (
    "id, started_ns, state, status, operation, dialect, model, job, item, run, path, process, reason, pid, "
    "replay_of, mark, verdicts, took_ns, first_ns, load_ns, tokens, prompt_tokens, reply_tokens, "
    "generation_ns, rate, size, indexed"
)
_INSERT_FACTS = (
    f"INSERT OR REPLACE INTO exchange_facts ({FACTS}) "  # noqa: S608 - fixed words of ours
    f"VALUES ({', '.join('?' * len(FACTS.split(',')))})"
)


def write_exchange(database: sqlite3.Connection, exchange: Exchange, *, searchable: bool) -> None:
    """Write an ended exchange, or write it again."""
    row = row_of(exchange)
    known = database.execute("SELECT indexed FROM exchange_facts WHERE id = ?", (exchange.id,)).fetchone()
    if searchable and known and known[0]:
        erase_words(database, unpacked(_content_of(database, exchange.id)))
    database.execute(
        "INSERT OR REPLACE INTO exchanges VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            exchange.id,
            exchange.started_ns,
            exchange.ended_ns,
            exchange.state,
            exchange.model,
            exchange.run,
            exchange.job,
            exchange.item,
            encode(row),
            zlib.compress(encode(exchange), 1),
        ),
    )
    index_exchange(database, exchange, row, searchable=searchable)


def index_exchange(
    database: sqlite3.Connection, exchange: Exchange, row: ExchangeRow, *, searchable: bool
) -> None:
    """Write what queries look at, for an exchange that is not in the text index. The mark is the feedback's."""
    given = database.execute("SELECT mark FROM feedback WHERE id = ?", (row.id,)).fetchone()
    database.execute(_INSERT_FACTS, (*_facts(row, given[0] if given else None), searchable))
    if searchable:
        database.execute(
            "INSERT INTO exchange_index (rowid, words, prompt, reply) VALUES (?, ?, ?, ?)",
            (exchange.id, row_words(row_of(exchange)), *searched_texts(exchange)),
        )


def erase_exchange(database: sqlite3.Connection, exchange_id: int, *, can_search: bool) -> None:
    """Delete an exchange, its words, its feedback and its energy."""
    known = database.execute("SELECT indexed FROM exchange_facts WHERE id = ?", (exchange_id,)).fetchone()
    if can_search and known and known[0]:
        erase_words(database, unpacked(_content_of(database, exchange_id)))
    for table in ("exchanges", "exchange_facts", "feedback", "exchange_energy"):
        database.execute(f"DELETE FROM {table} WHERE id = ?", (exchange_id,))  # noqa: S608 - one of four words


def _content_of(database: sqlite3.Connection, exchange_id: int) -> bytes:
    (content,) = database.execute("SELECT content FROM exchanges WHERE id = ?", (exchange_id,)).fetchone()
    return bytes(content)


def _facts(row: ExchangeRow, mark: str | None) -> tuple[str | int | float | None, ...]:
    texts = (row.model, row.job, row.item, row.run, row.path, row.process, row.done_reason)
    measured = [
        measure(row, key, row.ended_ns or row.started_ns) for key in ("took", "first", "load", "tokens")
    ]
    return (
        row.id,
        row.started_ns,
        row.state,
        row.status,
        row.operation,
        row.dialect,
        *((text or "").casefold() for text in texts),
        row.pid,
        row.replay_of,
        mark,
        "".join(f"\n{verdict.casefold()}\n" for verdict in row.verdicts),
        *measured,
        row.prompt_tokens,
        row.reply_tokens,
        row.generation_ns,
        measure(row, "rate", 0),
        row.request_bytes + row.response_bytes,
    )


def erase_words(database: sqlite3.Connection, exchange: Exchange) -> None:
    """Take an exchange out of the text index, which must be told the very texts that were added."""
    database.execute(
        "INSERT INTO exchange_index (exchange_index, rowid, words, prompt, reply) VALUES ('delete', ?, ?, ?, ?)",
        (exchange.id, row_words(row_of(exchange)), *searched_texts(exchange)),
    )


def unpacked(content: bytes) -> Exchange:
    """The exchange in a ``content`` column."""
    return _exchange_decoder.decode(zlib.decompress(content))

"""Bringing what an older Nightdesk recorded to the present form, a few exchanges at a time, the newest first."""

from __future__ import annotations

import sqlite3

from nightdesk.engine.store.recording import encode, index_exchange, unpacked
from nightdesk.model.exchange import row_of

STEP_ROWS = 50
"""About 20 ms of work: recording goes on in between."""


def is_pending(database: sqlite3.Connection) -> bool:
    """Whether exchanges wait for :func:`upgrade_some`."""
    return database.execute("SELECT 1 FROM upgrades").fetchone() is not None


def upgrade_some(database: sqlite3.Connection, *, can_search: bool) -> bool:
    """Upgrade one step's worth. True when there is more to do."""
    below = database.execute("SELECT below FROM upgrades WHERE name = 'facts'").fetchone()
    if below is None:
        return False
    rows = database.execute(
        "SELECT id, content FROM exchanges WHERE id < ? ORDER BY id DESC LIMIT ?", (below[0], STEP_ROWS)
    ).fetchall()
    for number, content in rows:
        _upgrade(database, number, content, can_search=can_search)
    if len(rows) == STEP_ROWS:
        database.execute("UPDATE upgrades SET below = ? WHERE name = 'facts'", (rows[-1][0],))
        return True
    database.execute("DROP TABLE IF EXISTS exchange_text")
    database.execute("DELETE FROM upgrades WHERE name = 'facts'")
    return False


def _upgrade(database: sqlite3.Connection, number: int, content: bytes, *, can_search: bool) -> None:
    if database.execute("SELECT 1 FROM exchange_facts WHERE id = ?", (number,)).fetchone():
        return
    exchange = unpacked(content)
    row = row_of(exchange)
    index_exchange(database, exchange, row, searchable=can_search)
    database.execute("UPDATE exchanges SET summary = ? WHERE id = ?", (encode(row), number))

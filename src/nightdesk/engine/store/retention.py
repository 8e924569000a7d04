"""What is forgotten: samples and exchanges beyond their age, and the oldest exchanges while the database is too big.

An exchange with feedback is kept whatever its age. Where the size demands it, those without feedback go first.
"""

from __future__ import annotations

import sqlite3

from nightdesk.engine.store.recording import erase_exchange
from nightdesk.engine.store.results import prune_results
from nightdesk.engine.store.samples import TIERS

PRUNE_ROWS = 200
"""Deleted in one step, so that no writer waits long."""


def prune(
    database: sqlite3.Connection, now_ns: int, *, keep_ns: int, max_bytes: int, can_search: bool
) -> bool:
    """Forget one step's worth. True when there is more to forget."""
    for seconds, kept in TIERS:
        database.execute(
            "DELETE FROM samples WHERE resolution_s = ? AND at_ns < ?", (seconds, now_ns - kept * 10**9)
        )
    prune_results(database, now_ns - keep_ns)
    old = _oldest(database, now_ns - keep_ns, is_marked=False)
    if not old and _used_bytes(database) > max_bytes:
        old = _oldest(database, now_ns, is_marked=False) or _oldest(database, now_ns, is_marked=True)
    for exchange_id in old:
        erase_exchange(database, exchange_id, can_search=can_search)
    return len(old) == PRUNE_ROWS


def _oldest(database: sqlite3.Connection, before_ns: int, *, is_marked: bool) -> list[int]:
    found = database.execute(
        "SELECT id FROM exchanges WHERE started_ns < ? AND (id IN (SELECT id FROM feedback)) = ? "
        "ORDER BY started_ns LIMIT ?",
        (before_ns, is_marked, PRUNE_ROWS),
    )
    return [row[0] for row in found]


def _used_bytes(database: sqlite3.Connection) -> int:
    pages, free, size = (
        database.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)

"""Opening the database: private from the first byte, checked, brought to the newest version."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from nightdesk.engine.store.exchanges import content_holds
from nightdesk.engine.store.migrations import migrate

BUSY_MS = 4000
MAPPED_BYTES = 1 << 28
"""Read in place: a list of a hundred thousand exchanges is looked through again and again."""


def remedy(fault: sqlite3.OperationalError) -> str:
    """What to do about a database that can't be opened although it is not damaged."""
    match fault.sqlite_errorcode & 0xFF:
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return "Another program holds it; end that one, or move the file away."
        case sqlite3.SQLITE_FULL | sqlite3.SQLITE_IOERR:
            return "Check the free space there."
        case _:
            return "Check its rights and those of its folder."


def open_checked(path: Path) -> sqlite3.Connection:
    """The database for its writer. Raises sqlite3.DatabaseError for a damaged one, StoreError for a newer one."""
    # The file is made with its final rights before SQLite sees it; WAL and shared memory files copy them.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    database = connect(path)
    try:
        (verdict,) = database.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise sqlite3.DatabaseError(verdict)
        migrate(database)
    except BaseException:
        database.close()
        raise
    return database


def connect(path: Path) -> sqlite3.Connection:
    """One more connection."""
    database = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=BUSY_MS / 1000)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = NORMAL")
    database.execute(f"PRAGMA mmap_size = {MAPPED_BYTES}")
    database.create_function("content_holds", 4, content_holds, deterministic=True)
    return database

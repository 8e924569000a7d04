"""The schema of the store, one script for each version. A released script is never changed; a new one is added."""

from __future__ import annotations

import sqlite3

from nightdesk.model.errors import StoreError

MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE exchanges (
        id INTEGER PRIMARY KEY,
        started_ns INTEGER NOT NULL,
        ended_ns INTEGER,
        state TEXT NOT NULL,
        model TEXT,
        run TEXT,
        job TEXT,
        item TEXT,
        summary BLOB NOT NULL,
        content BLOB NOT NULL
    );
    CREATE INDEX exchanges_started ON exchanges (started_ns);
    CREATE INDEX exchanges_run ON exchanges (run) WHERE run IS NOT NULL;
    CREATE TABLE samples (
        resolution_s INTEGER NOT NULL,
        at_ns INTEGER NOT NULL,
        sample BLOB NOT NULL,
        PRIMARY KEY (resolution_s, at_ns)
    ) WITHOUT ROWID;
    CREATE TABLE runs (
        id TEXT PRIMARY KEY,
        job TEXT NOT NULL,
        created_ns INTEGER NOT NULL,
        state TEXT NOT NULL,
        run BLOB NOT NULL
    ) WITHOUT ROWID;
    """,
)

SEARCH_SCRIPT = """
    CREATE VIRTUAL TABLE IF NOT EXISTS exchange_text USING fts5 (prompt, reply, content='', contentless_delete=1);
"""
SEARCH_SCRIPT_OLD = """
    CREATE VIRTUAL TABLE IF NOT EXISTS exchange_text USING fts5 (prompt, reply, content='');
"""
"""For SQLite before 3.43, which can't delete from a table without content."""


def migrate(database: sqlite3.Connection) -> None:
    """Bring the database to the newest version. Raises StoreError for one from a newer Nightdesk."""
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if version > len(MIGRATIONS):
        raise StoreError(
            f"The database is of version {version}, this Nightdesk knows versions up to {len(MIGRATIONS)}.",
            "Update Nightdesk, or move .nightdesk/desk.db away to begin a new one.",
        )
    for number, script in enumerate(MIGRATIONS[version:], version + 1):
        database.executescript(f"BEGIN; {script} PRAGMA user_version = {number}; COMMIT;")


def make_search(database: sqlite3.Connection) -> bool:
    """Make the full-text index. False where this SQLite lacks FTS5: search then reads everything."""
    for script in (SEARCH_SCRIPT, SEARCH_SCRIPT_OLD):
        try:
            database.executescript(script)
        except sqlite3.OperationalError:
            continue
        return True
    return False

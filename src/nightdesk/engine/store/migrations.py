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
    # What lists are sorted and filtered by lies apart from the contents: a query reads it all in a few milliseconds.
    # Texts are casefolded, unknown ones are empty; unknown numbers are NULL.
    """
    CREATE TABLE exchange_facts (
        id INTEGER PRIMARY KEY,
        started_ns INTEGER NOT NULL,
        state TEXT NOT NULL,
        status INTEGER,
        operation TEXT NOT NULL,
        dialect TEXT NOT NULL,
        model TEXT NOT NULL,
        job TEXT NOT NULL,
        item TEXT NOT NULL,
        run TEXT NOT NULL,
        path TEXT NOT NULL,
        process TEXT NOT NULL,
        reason TEXT NOT NULL,
        pid INTEGER,
        replay_of INTEGER,
        mark TEXT,
        verdicts TEXT NOT NULL,
        took_ns INTEGER,
        first_ns INTEGER,
        load_ns INTEGER,
        tokens INTEGER,
        prompt_tokens INTEGER,
        reply_tokens INTEGER,
        generation_ns INTEGER,
        rate REAL,
        size INTEGER NOT NULL,
        indexed INTEGER NOT NULL
    );
    CREATE INDEX exchange_facts_started ON exchange_facts (started_ns);
    CREATE INDEX exchange_facts_took ON exchange_facts (took_ns);
    CREATE INDEX exchange_facts_first ON exchange_facts (first_ns);
    CREATE INDEX exchange_facts_tokens ON exchange_facts (tokens);
    CREATE INDEX exchange_facts_prompt ON exchange_facts (prompt_tokens);
    CREATE INDEX exchange_facts_reply ON exchange_facts (reply_tokens);
    CREATE INDEX exchange_facts_rate ON exchange_facts (rate);
    CREATE INDEX exchange_facts_size ON exchange_facts (size);
    CREATE INDEX exchange_facts_model ON exchange_facts (nullif(model, ''));
    CREATE INDEX exchange_facts_job ON exchange_facts (nullif(job, ''));
    CREATE INDEX exchange_facts_state ON exchange_facts (state);
    CREATE TABLE feedback (
        id INTEGER PRIMARY KEY,
        at_ns INTEGER NOT NULL,
        mark TEXT,
        note TEXT NOT NULL
    );
    CREATE TABLE upgrades (name TEXT PRIMARY KEY, below INTEGER NOT NULL) WITHOUT ROWID;
    INSERT INTO upgrades SELECT 'facts', max(id) + 1 FROM exchanges HAVING max(id) IS NOT NULL;
    """,
    # Joules above idle where that is known, else all; the tally has the rest.
    """
    CREATE TABLE exchange_energy (
        id INTEGER PRIMARY KEY,
        joules REAL NOT NULL,
        tally BLOB NOT NULL,
        parts TEXT NOT NULL,
        idle_w REAL
    );
    """,
    # A result by hand has an empty run. Flags stay when results are forgotten.
    """
    CREATE TABLE output_results (
        job TEXT NOT NULL,
        run TEXT NOT NULL,
        item TEXT NOT NULL,
        at_ns INTEGER NOT NULL,
        result BLOB NOT NULL,
        PRIMARY KEY (job, run, item)
    ) WITHOUT ROWID;
    CREATE INDEX output_results_at ON output_results (job, at_ns);
    CREATE TABLE output_flags (
        job TEXT NOT NULL,
        item TEXT NOT NULL,
        at_ns INTEGER NOT NULL,
        note TEXT NOT NULL,
        PRIMARY KEY (job, item)
    ) WITHOUT ROWID;
    """,
)

SEARCH_SCRIPT = """
    CREATE VIRTUAL TABLE IF NOT EXISTS exchange_index USING fts5 (words, prompt, reply, content='');
"""


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
    try:
        database.executescript(SEARCH_SCRIPT)
    except sqlite3.OperationalError:
        return False
    return True

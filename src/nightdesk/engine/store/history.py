"""The history of a desk in SQLite (WAL): one writer thread, changes grouped, readers on a connection of their own.

A store that can't write (full disk, damaged or locked file) says so through ``on_state`` and drops what it was
given: recording degrades, jobs and viewers go on.
"""

from __future__ import annotations

import contextlib
import os
import queue
import sqlite3
import threading
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from nightdesk.engine.store.migrations import make_search, migrate
from nightdesk.model.errors import StoreError
from nightdesk.model.exchange import Exchange, ExchangeRow, row_of
from nightdesk.model.job import Run
from nightdesk.model.sample import Sample

GROUP_SECONDS = 0.25
BUSY_MS = 4000
QUEUE_LIMIT = 20_000
"""Writes that may wait; beyond, the oldest recording policy applies: new ones are dropped and counted."""
SEARCH_CHARS = 200_000
"""Of each prompt and reply, the part that the text index sees."""
TIERS = ((1, 3600), (10, 2 * 86_400), (60, 31 * 86_400))
"""(seconds between samples, seconds they are kept)"""
PRUNE_SECONDS = 60.0
BATCH_ROWS = 200
"""Read in one step where there is no search index."""
PRUNE_ROWS = 200
"""Deleted in one step, so that no writer waits long."""

_encode = msgspec.json.Encoder().encode
_exchange_decoder = msgspec.json.Decoder(Exchange)
_row_decoder = msgspec.json.Decoder(ExchangeRow)
_run_decoder = msgspec.json.Decoder(Run)
_sample_decoder = msgspec.json.Decoder(Sample)

Write = Callable[[sqlite3.Connection], object]


@dataclass(frozen=True, slots=True)
class _Recording:
    """The write of one exchange."""

    exchange: Exchange
    searchable: bool

    def __call__(self, database: sqlite3.Connection) -> None:
        _write_exchange(database, self.exchange, self.searchable)


class History:
    """The store. Writing methods return at once; reading methods block and belong in a thread."""

    def __init__(
        self,
        path: Path,
        *,
        keep_ns: int,
        max_bytes: int,
        on_state: Callable[[str, str | None], None] = lambda _state, _message: None,
    ) -> None:
        self.path = path
        self.notice: str | None = None
        """What happened to a damaged database, one sentence."""
        self._keep_ns = keep_ns
        self._max_bytes = max_bytes
        self._on_state = on_state
        self._writes: queue.Queue[Write | threading.Event | None] = queue.Queue(QUEUE_LIMIT)
        self._unsaved: dict[int, Exchange] = {}
        """Given, not yet written: readers find them here."""
        self._dropped = 0
        self._state = "live"
        self._tier_ends = dict.fromkeys((seconds for seconds, _ in TIERS), 0)
        self._reader_lock = threading.Lock()
        self._writer = self._open()
        self.can_search = make_search(self._writer)
        self._reader = _connect(path)
        self._thread = threading.Thread(target=self._write_loop, name="store", daemon=True)
        self._thread.start()

    def _open(self) -> sqlite3.Connection:
        try:
            return _open_checked(self.path)
        except sqlite3.OperationalError as fault:
            raise StoreError(f"The database {self.path} can't be opened: {fault}.", _remedy(fault)) from fault
        except OSError as fault:
            raise StoreError(
                f"The database {self.path} can't be opened: {fault.strerror}.", "Check its rights."
            ) from fault
        except sqlite3.DatabaseError as fault:
            aside = self.path.with_name(f"{self.path.name}.damaged-{time.time_ns() // 10**9}")
            for suffix in ("", "-wal", "-shm"):
                with contextlib.suppress(FileNotFoundError):
                    Path(f"{self.path}{suffix}").rename(f"{aside}{suffix}")
            self.notice = f"The database was damaged ({fault}); it was moved to {aside} and a new one begun."
            return _open_checked(self.path)

    # writing

    def save_exchange(self, exchange: Exchange, *, searchable: bool = True) -> None:
        """Record an ended exchange; it can be read from now on."""
        self._unsaved[exchange.id] = exchange
        self._put(_Recording(exchange, searchable and self.can_search))

    def save_run(self, run: Run) -> None:
        """Record the present state of a run."""
        values = (run.id, run.job, run.created_ns, run.state, _encode(run))
        self._put(lambda db: db.execute("INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?)", values))

    def save_sample(self, sample: Sample) -> None:
        """Record a sample in every resolution whose step has passed."""
        due = [s for s, end in self._tier_ends.items() if sample.at_ns >= end]
        for seconds in due:
            self._tier_ends[seconds] = sample.at_ns + seconds * 10**9 - 10**8
        if due:
            rows = [(seconds, sample.at_ns, _encode(sample)) for seconds in due]
            self._put(lambda db: db.executemany("INSERT OR REPLACE INTO samples VALUES (?, ?, ?)", rows))

    def close(self) -> None:
        """Write what waits, then close."""
        self._writes.put(None)
        self._thread.join(timeout=10)
        self._reader.close()

    def flush(self) -> None:
        """Wait until everything given so far is written. For tests and shutdown."""
        done = threading.Event()
        self._writes.put(done)
        done.wait(10)

    def _put(self, write: Write) -> None:
        try:
            self._writes.put_nowait(write)
        except queue.Full:
            self._dropped += 1
            self._forget([write])
            self._tell("degraded", f"The store is too slow: {self._dropped} records were dropped.")

    def _write_loop(self) -> None:
        last_prune = 0.0
        while True:
            group = self._next_group()
            self._write_group([write for write in group if callable(write)])
            for mark in group:
                if isinstance(mark, threading.Event):
                    mark.set()
            if None in group:
                break
            if time.monotonic() - last_prune > PRUNE_SECONDS:
                last_prune = time.monotonic()
                self._write_group([self._prune])
        self._writer.close()

    def _next_group(self) -> list[Write | threading.Event | None]:
        group = [self._writes.get()]
        if callable(group[0]):
            time.sleep(GROUP_SECONDS)
        while len(group) < QUEUE_LIMIT:
            try:
                group.append(self._writes.get_nowait())
            except queue.Empty:
                break
        return group

    def _write_group(self, group: list[Write]) -> None:
        try:
            with self._writer:
                self._writer.execute("BEGIN")
                for write in group:
                    write(self._writer)
        except (sqlite3.Error, OverflowError, ValueError) as fault:
            self._dropped += len(group)
            self._tell(
                "degraded",
                f"{len(group)} records could not be written ({fault}); recording is tried again. "
                f"Check the free space of {self.path.parent}.",
            )
        else:
            self._tell("live", self.notice)
        self._forget(group)

    def _forget(self, group: list[Write]) -> None:
        """These are in the database now, or lost."""
        for write in group:
            if isinstance(write, _Recording) and self._unsaved.get(write.exchange.id) is write.exchange:
                del self._unsaved[write.exchange.id]

    def _tell(self, state: str, message: str | None) -> None:
        if state != self._state:
            self._state = state
            self._on_state(state, message)

    def _prune(self, database: sqlite3.Connection) -> None:
        now = time.time_ns()
        for seconds, kept in TIERS:
            database.execute(
                "DELETE FROM samples WHERE resolution_s = ? AND at_ns < ?", (seconds, now - kept * 10**9)
            )
        (pages,) = database.execute("PRAGMA page_count").fetchone()
        (free,) = database.execute("PRAGMA freelist_count").fetchone()
        (size,) = database.execute("PRAGMA page_size").fetchone()
        limit = now if (pages - free) * size > self._max_bytes else now - self._keep_ns
        old = [
            row[0]
            for row in database.execute(
                "SELECT id FROM exchanges WHERE started_ns < ? ORDER BY started_ns LIMIT ?",
                (limit, PRUNE_ROWS),
            )
        ]
        for exchange_id in old:
            database.execute("DELETE FROM exchanges WHERE id = ?", (exchange_id,))
            with contextlib.suppress(sqlite3.Error):
                database.execute("DELETE FROM exchange_text WHERE rowid = ?", (exchange_id,))

    # reading

    def next_exchange_id(self) -> int:
        """One more than the newest exchange's."""
        with self._reader_lock:
            (newest,) = self._reader.execute("SELECT max(id) FROM exchanges").fetchone()
        return (newest or 0) + 1

    def exchange(self, exchange_id: int) -> Exchange | None:
        """An exchange with its bodies."""
        if exchange_id >= 2**63:
            return None
        if unsaved := self._unsaved.get(exchange_id):
            return unsaved
        with self._reader_lock:
            row = self._reader.execute(
                "SELECT content FROM exchanges WHERE id = ?", (exchange_id,)
            ).fetchone()
        return _exchange_decoder.decode(zlib.decompress(row[0])) if row else None

    def exchanges(
        self, limit: int = 100, before: int | None = None, text: str = "", run: str | None = None
    ) -> tuple[ExchangeRow, ...]:
        """The newest ``limit`` summaries with an id below ``before``, oldest first."""
        if text and not self.can_search:
            return self._exchanges_read_through(limit, before, text, run)
        where, values = ["id < ?"], [before or 2**62]
        arguments: list[object] = list(values)
        if run:
            where.append("run = ?")
            arguments.append(run)
        if text:
            where.append("id IN (SELECT rowid FROM exchange_text WHERE exchange_text MATCH ?)")
            arguments.append('"' + text.replace('"', '""') + '"')
        query = f"SELECT summary FROM exchanges WHERE {' AND '.join(where)} ORDER BY id DESC LIMIT ?"  # noqa: S608 - only fixed words are joined
        with self._reader_lock:
            rows = self._reader.execute(query, (*arguments, limit)).fetchall()
        return tuple(_row_decoder.decode(row[0]) for row in reversed(rows))

    def _exchanges_read_through(
        self, limit: int, before: int | None, text: str, run: str | None
    ) -> tuple[ExchangeRow, ...]:
        """The same without an index: every exchange is read, newest first, until there are enough."""
        found: list[ExchangeRow] = []
        wanted = text.casefold()
        while len(found) < limit:
            batch = self._exchanges_below(before, run)
            if not batch:
                break
            found += [
                row_of(exchange)
                for exchange in batch
                if wanted in f"{prompt_text(exchange)}\n{exchange.text}".casefold()
            ]
            before = batch[-1].id
        return tuple(reversed(found[:limit]))

    def _exchanges_below(self, before: int | None, run: str | None) -> list[Exchange]:
        query = (
            "SELECT content FROM exchanges WHERE id < ? AND (? IS NULL OR run = ?) ORDER BY id DESC LIMIT ?"
        )
        with self._reader_lock:
            rows = self._reader.execute(query, (before or 2**62, run, run, BATCH_ROWS)).fetchall()
        return [_exchange_decoder.decode(zlib.decompress(row[0])) for row in rows]

    def runs(self, limit: int = 100) -> tuple[Run, ...]:
        """The newest runs, oldest first."""
        with self._reader_lock:
            rows = self._reader.execute(
                "SELECT run FROM runs ORDER BY created_ns DESC LIMIT ?", (limit,)
            ).fetchall()
        return tuple(_run_decoder.decode(row[0]) for row in reversed(rows))

    def samples(self, since_ns: int, until_ns: int, resolution_s: int = 1) -> tuple[Sample, ...]:
        """Samples of a span in one resolution, oldest first."""
        with self._reader_lock:
            rows = self._reader.execute(
                "SELECT sample FROM samples WHERE resolution_s = ? AND at_ns BETWEEN ? AND ? ORDER BY at_ns",
                (resolution_s, since_ns, until_ns),
            ).fetchall()
        return tuple(_sample_decoder.decode(row[0]) for row in rows)


def _write_exchange(database: sqlite3.Connection, exchange: Exchange, searchable: bool) -> None:
    summary = _encode(row_of(exchange))
    content = zlib.compress(_encode(exchange), 1)
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
            summary,
            content,
        ),
    )
    if searchable:
        database.execute(
            "INSERT INTO exchange_text (rowid, prompt, reply) VALUES (?, ?, ?)",
            (exchange.id, prompt_text(exchange)[:SEARCH_CHARS], exchange.text[:SEARCH_CHARS]),
        )


def prompt_text(exchange: Exchange) -> str:
    """What the client asked, as one text: system, prompt, messages."""
    if exchange.prompt is None:
        return ""
    parts = [exchange.prompt.system or "", exchange.prompt.prompt or ""]
    parts += [message.content for message in exchange.prompt.messages]
    return "\n".join(part for part in parts if part)


def _remedy(fault: sqlite3.OperationalError) -> str:
    """What to do about a database that can't be opened although it is not damaged."""
    match fault.sqlite_errorcode & 0xFF:
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return "Another program holds it; end that one, or move the file away."
        case sqlite3.SQLITE_FULL | sqlite3.SQLITE_IOERR:
            return "Check the free space there."
        case _:
            return "Check its rights and those of its folder."


def _open_checked(path: Path) -> sqlite3.Connection:
    # The file is made with its final rights before SQLite sees it; WAL and shared memory files copy them.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    database = _connect(path)
    try:
        (verdict,) = database.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise sqlite3.DatabaseError(verdict)
        migrate(database)
    except BaseException:
        database.close()
        raise
    return database


def _connect(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=BUSY_MS / 1000)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = NORMAL")
    return database

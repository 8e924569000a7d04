"""The history of a desk in SQLite (WAL): one writer thread, changes grouped, readers on connections of their own.

A store that can't write (full disk, damaged or locked file) says so through ``on_state`` and drops what it was
given: recording degrades, jobs and viewers go on.
"""

from __future__ import annotations

import contextlib
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from nightdesk.core.inspection.query import Query
from nightdesk.core.inspection.searched import searched_text
from nightdesk.engine.store import exchanges
from nightdesk.engine.store.course import read_course
from nightdesk.engine.store.database import connect, open_checked, remedy
from nightdesk.engine.store.energies import KeptEnergy, read_energy, read_joules, write_energy
from nightdesk.engine.store.exchanges import Fresh, Question
from nightdesk.engine.store.migrations import make_search
from nightdesk.engine.store.recording import unpacked, write_exchange
from nightdesk.engine.store.results import read_flags, read_results, with_flag, write_flag, write_result
from nightdesk.engine.store.retention import prune
from nightdesk.engine.store.samples import Tiers, read_samples
from nightdesk.engine.store.upgrade import is_pending, upgrade_some
from nightdesk.model.errors import StoreError
from nightdesk.model.exchange import Exchange, ExchangeRow, row_of
from nightdesk.model.inspection import ExchangePage, ExchangeTotals, Feedback
from nightdesk.model.job import Run
from nightdesk.model.outputs import OutputResult
from nightdesk.model.sample import Sample

GROUP_SECONDS = 0.25
QUEUE_LIMIT = 20_000
"""Writes that may wait; beyond, the oldest recording policy applies: new ones are dropped and counted."""
PRUNE_SECONDS = 60.0
STEP_SECONDS = 0.05
"""Pause between two steps of pruning or upgrading, in which writes have their turn."""
BATCH_ROWS = 20
"""Whole exchanges read in one step: some hold megabytes."""
READERS = 3
"""A page need not wait for totals."""

_encode = msgspec.json.Encoder().encode
_run_decoder = msgspec.json.Decoder(Run)

Write = Callable[[sqlite3.Connection], object]


@dataclass(frozen=True, slots=True)
class _Recording:
    """The write of one exchange."""

    exchange: Exchange
    searchable: bool

    def __call__(self, database: sqlite3.Connection) -> None:
        write_exchange(database, self.exchange, searchable=self.searchable)


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
        self._tiers = Tiers()
        self._writer = self._open()
        self.can_search = make_search(self._writer)
        self._feedback = _read_feedback(self._writer)
        self._flags = read_flags(self._writer)
        self._readers: queue.SimpleQueue[sqlite3.Connection] = queue.SimpleQueue()
        for _ in range(READERS):
            self._readers.put(connect(path))
        self._thread = threading.Thread(target=self._write_loop, name="store", daemon=True)
        self._thread.start()

    def _open(self) -> sqlite3.Connection:
        try:
            return open_checked(self.path)
        except sqlite3.OperationalError as fault:
            raise StoreError(f"The database {self.path} can't be opened: {fault}.", remedy(fault)) from fault
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
            return open_checked(self.path)

    # writing

    def save_exchange(self, exchange: Exchange, *, searchable: bool = True) -> None:
        """Record an ended exchange; it can be read from now on."""
        self._unsaved[exchange.id] = exchange
        self._put(_Recording(exchange, searchable and self.can_search))

    def save_feedback(self, exchange_id: int, feedback: Feedback) -> None:
        """Record what the user thinks of an exchange; neither mark nor note takes it back."""
        if feedback.mark or feedback.note:
            self._feedback[exchange_id] = feedback
        else:
            self._feedback.pop(exchange_id, None)
        self._put(lambda db: _write_feedback(db, exchange_id, feedback))

    def save_energy(self, exchange_id: int, kept: KeptEnergy) -> None:
        """Record what an exchange used that was given before."""
        self._put(lambda db: write_energy(db, exchange_id, kept))

    def save_result(self, result: OutputResult) -> None:
        """Record what the rules of a job say of an output."""
        self._put(lambda db: write_result(db, result))

    def save_flag(self, job: str, item: str, note: str | None, at_ns: int) -> None:
        """Flag the output of an item, with a note that may be empty; None takes the flag away."""
        self._flags.pop((job, item), None)
        if note is not None:
            self._flags[job, item] = (at_ns, note)
        self._put(lambda db: write_flag(db, job, item, at_ns, note))

    def save_run(self, run: Run) -> None:
        """Record the present state of a run."""
        values = (run.id, run.job, run.created_ns, run.state, _encode(run))
        self._put(lambda db: db.execute("INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?)", values))

    def save_sample(self, sample: Sample) -> None:
        """Record a sample in every resolution whose step has passed."""
        if rows := self._tiers.due(sample):
            self._put(lambda db: db.executemany("INSERT OR REPLACE INTO samples VALUES (?, ?, ?)", rows))

    def close(self) -> None:
        """Write what waits, then close."""
        self._writes.put(None)
        self._thread.join(timeout=10)
        for _ in range(READERS):
            self._readers.get().close()

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
        next_prune = 0.0
        is_upgrading = is_pending(self._writer)
        while True:
            group = self._next_group(is_upgrading)
            if group:
                self._write_group([write for write in group if callable(write)])
            for mark in group:
                if isinstance(mark, threading.Event):
                    mark.set()
            if None in group:
                break
            if is_upgrading:
                is_upgrading = self._step(lambda db: upgrade_some(db, can_search=self.can_search))
            if time.monotonic() > next_prune:
                more = self._step(self._prune)
                next_prune = time.monotonic() + (STEP_SECONDS if more else PRUNE_SECONDS)
        self._writer.close()

    def _next_group(self, is_upgrading: bool) -> list[Write | threading.Event | None]:
        try:
            group = [self._writes.get(timeout=STEP_SECONDS if is_upgrading else None)]
        except queue.Empty:
            return []
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

    def _step(self, step: Callable[[sqlite3.Connection], bool]) -> bool:
        """Do one step of work that can wait. True when there is more of it."""
        more: list[bool] = [False]

        def work(database: sqlite3.Connection) -> None:
            more[0] = step(database)

        self._write_group([work])
        return more[0]

    def _prune(self, database: sqlite3.Connection) -> bool:
        return prune(
            database,
            time.time_ns(),
            keep_ns=self._keep_ns,
            max_bytes=self._max_bytes,
            can_search=self.can_search,
        )

    def _forget(self, group: list[Write]) -> None:
        """These are in the database now, or lost."""
        for write in group:
            if isinstance(write, _Recording) and self._unsaved.get(write.exchange.id) is write.exchange:
                del self._unsaved[write.exchange.id]

    def _tell(self, state: str, message: str | None) -> None:
        if state != self._state:
            self._state = state
            self._on_state(state, message)

    # reading

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        reader = self._readers.get()
        try:
            yield reader
        finally:
            self._readers.put(reader)

    def next_exchange_id(self) -> int:
        """One more than the newest exchange's."""
        with self._reading() as reader:
            (newest,) = reader.execute("SELECT max(id) FROM exchanges").fetchone()
        return (newest or 0) + 1

    def exchange(self, exchange_id: int) -> Exchange | None:
        """An exchange with its bodies."""
        if exchange_id >= 2**63:
            return None
        if unsaved := self._unsaved.get(exchange_id):
            return unsaved
        with self._reading() as reader:
            row = reader.execute("SELECT content FROM exchanges WHERE id = ?", (exchange_id,)).fetchone()
        return unpacked(row[0]) if row else None

    def recent(self, limit: int = 100, max_bytes: int = 64_000) -> tuple[Exchange, ...]:
        """The newest exchanges with their bodies, newest first, without those that lie there with more bytes."""
        wanted = "SELECT content FROM exchanges WHERE length(content) <= ? ORDER BY id DESC LIMIT ?"
        with self._reading() as reader:
            rows = reader.execute(wanted, (max_bytes, limit)).fetchall()
        return tuple(unpacked(content) for (content,) in rows)

    def newest(self, limit: int) -> tuple[ExchangeRow, ...]:
        """The newest rows, oldest first, also of what is not upgraded yet."""
        with self._reading() as reader:
            rows = exchanges.newest(reader, limit)
        return tuple(
            msgspec.structs.replace(row, mark=mark) if (mark := self.feedback(row.id).mark) else row
            for row in rows
        )

    def page(
        self,
        query: Query,
        *,
        now_ns: int,
        sort: str = "-started",
        offset: int = 0,
        limit: int = 200,
        running: tuple[Fresh, ...] = (),
    ) -> ExchangePage:
        """One page of the exchanges that match, ``running`` ones among them. Raises UsageError for an unknown order."""
        question = self._question(query, now_ns, running)
        with self._reading() as reader:
            return exchanges.page(reader, question, sort=sort, offset=offset, limit=limit)

    def trouble(
        self, query: Query, *, now_ns: int, sort: str, offset: int, running: tuple[Fresh, ...] = ()
    ) -> int | None:
        """The first place from ``offset`` on with a verdict or an error. Raises UsageError for an unknown order."""
        question = self._question(query, now_ns, running)
        with self._reading() as reader:
            return exchanges.trouble(reader, question, sort=sort, offset=offset)

    def totals(self, query: Query, *, now_ns: int, running: tuple[Fresh, ...] = ()) -> ExchangeTotals:
        """Sums over the exchanges that match."""
        question = self._question(query, now_ns, running)
        with self._reading() as reader:
            return exchanges.totals(reader, question)

    def course(
        self, query: Query, *, now_ns: int, before_ns: int, running: tuple[Fresh, ...] = ()
    ) -> Iterator[tuple[ExchangeRow, bool]]:
        """All rows in the order in which they began, from ``before_ns`` before the query's time on: do they match?"""
        return read_course(self.path, self._question(query, now_ns, running), before_ns)

    def documents(self, query: Query, *, now_ns: int) -> Iterator[list[bytes]]:
        """The ended exchanges that match, as JSON, in the order in which they began, a few at a time."""
        self.flush()
        with self._reading() as reader:
            wanted = exchanges.ids(reader, Question(query, now_ns, self.can_search))
        for place in range(0, len(wanted), BATCH_ROWS):
            with self._reading() as reader:
                yield exchanges.documents(reader, wanted[place : place + BATCH_ROWS])

    def occurring(self) -> dict[str, tuple[str, ...]]:
        """The values that occur, by key of a query, the most frequent first."""
        with self._reading() as reader:
            return exchanges.occurring(reader)

    def feedback(self, exchange_id: int) -> Feedback:
        """What the user thinks of an exchange; empty where nothing was said."""
        return self._feedback.get(exchange_id, Feedback())

    def _question(self, query: Query, now_ns: int, running: tuple[Fresh, ...]) -> Question:
        unsaved = tuple(_fresh(exchange) for exchange in list(self._unsaved.values()))
        known = {one.row.id for one in unsaved}
        fresh = (*unsaved, *(one for one in running if one.row.id not in known))
        marked = tuple(self._marked(one) for one in fresh)
        return Question(query, now_ns, self.can_search, marked)

    def _marked(self, fresh: Fresh) -> Fresh:
        mark = self.feedback(fresh.row.id).mark
        return Fresh(msgspec.structs.replace(fresh.row, mark=mark), fresh.text) if mark else fresh

    def energy(self, exchange_id: int) -> KeptEnergy | None:
        """What an exchange used, None where none was measured."""
        if exchange_id >= 2**63:
            return None
        with self._reading() as reader:
            return read_energy(reader, exchange_id)

    def joules(self) -> dict[int, float]:
        """Joules of the recorded exchanges of which they were measured, by id."""
        with self._reading() as reader:
            return read_joules(reader)

    def results(self, job: str) -> list[OutputResult]:
        """What the rules of a job said of its outputs, oldest first, flagged as they are now."""
        self.flush()
        with self._reading() as reader:
            found = read_results(reader, job)
        return [with_flag(each, self._flags.get((job, each.item))) for each in found]

    def flags(self, job: str) -> dict[str, int]:
        """The flagged items of a job, and since when they are."""
        return {item: at_ns for (owner, item), (at_ns, _) in list(self._flags.items()) if owner == job}

    def runs(self, limit: int = 100) -> tuple[Run, ...]:
        """The newest runs, oldest first."""
        with self._reading() as reader:
            rows = reader.execute(
                "SELECT run FROM runs ORDER BY created_ns DESC LIMIT ?", (limit,)
            ).fetchall()
        return tuple(_run_decoder.decode(row[0]) for row in reversed(rows))

    def samples(self, since_ns: int, until_ns: int, resolution_s: int = 1) -> tuple[Sample, ...]:
        """Samples of a span in one resolution, oldest first."""
        with self._reading() as reader:
            return read_samples(reader, since_ns, until_ns, resolution_s)


def _fresh(exchange: Exchange) -> Fresh:
    return Fresh(row_of(exchange), lambda: searched_text(exchange))


def _read_feedback(database: sqlite3.Connection) -> dict[int, Feedback]:
    rows = database.execute("SELECT id, at_ns, mark, note FROM feedback")
    return {number: Feedback(at_ns=at_ns, mark=mark, note=note) for number, at_ns, mark, note in rows}


def _write_feedback(database: sqlite3.Connection, exchange_id: int, feedback: Feedback) -> None:
    database.execute("DELETE FROM feedback WHERE id = ?", (exchange_id,))
    if feedback.mark or feedback.note:
        values = (exchange_id, feedback.at_ns, feedback.mark, feedback.note)
        database.execute("INSERT INTO feedback (id, at_ns, mark, note) VALUES (?, ?, ?, ?)", values)
    database.execute("UPDATE exchange_facts SET mark = ? WHERE id = ?", (feedback.mark, exchange_id))

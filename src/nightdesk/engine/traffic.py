"""The engine's book of exchanges: gives them ids, ties them to run, job and item, and tells bus and store.

The capture process speaks of an exchange by its own number; after a restart of that process the numbers begin again.
The book maps (generation of the capture process, number) to the id that users see.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from nightdesk.core.jobs.item_course import ItemCourse
from nightdesk.engine.alarms import Judge
from nightdesk.model.desk import Change, ExchangeChanged, ExchangeCounts
from nightdesk.model.exchange import (
    TAIL_CHARS,
    CaptureLine,
    CaptureStatus,
    Exchange,
    ExchangeGrew,
    ExchangeRow,
    ExchangeSeen,
    row_of,
)
from nightdesk.model.inspection import Mark
from nightdesk.model.job import Run
from nightdesk.model.logs import Progress

ROWS_KEPT = 500
"""Rows in a snapshot; older ones are read from the store."""
LATE_NS = 5 * 10**9
ENDED_KEPT = 16
"""Ended exchanges that may be given to another item, and for how long."""
FLUSH_SECONDS = 0.2
ALARM_SECONDS = 1.0
TROUBLE = frozenset({"failed", "aborted", "incomplete"})
Record = str


@dataclass(slots=True)
class _Open:
    """A running exchange: as first seen, and what has grown since."""

    exchange: Exchange
    text: list[str] = field(default_factory=list)
    thinking: list[str] = field(default_factory=list)
    row: ExchangeRow | None = None
    owned: bool = False
    """Its process names the item; else it is taken from what the run prints."""


class TrafficBook:
    """All exchanges since the engine began. Used from the event loop only."""

    def __init__(
        self,
        publish: Callable[[Change], None],
        save: Callable[[Exchange, bool], None],
        next_id: int,
        run_of: Callable[[str], Run | None],
        record_of: Callable[[str], Record],
        judge: Judge | None = None,
    ) -> None:
        self._publish = publish
        self._save = save
        self._next_id = next_id
        self._run_of = run_of
        self._record_of = record_of
        self._judge = judge or Judge()
        self._course = ItemCourse()
        self._ended: deque[Exchange] = deque(maxlen=ENDED_KEPT)
        """Of runs that print their items, and so new that the line of their item may not have been read yet."""
        self._generation = 0
        self._ids: dict[tuple[int, int], int] = {}
        self._open: dict[int, _Open] = {}
        self._unrecorded: OrderedDict[int, Exchange] = OrderedDict()
        """Ended ones that must not be recorded, without content: to look at as long as they are in the list."""
        self._rows: OrderedDict[int, ExchangeRow] = OrderedDict()
        self._marks: dict[int, Mark] = {}
        """Given since the engine began."""
        self._dirty: set[int] = set()
        self._grown = asyncio.Event()
        self._busy = asyncio.Event()
        """Set while something runs."""
        self._done = self._failed = self._verdicts = 0

    @property
    def counts(self) -> ExchangeCounts:
        """Exchanges since the engine began."""
        return ExchangeCounts(
            running=len(self._open), done=self._done, failed=self._failed, verdicts=self._verdicts
        )

    def load(self, rows: tuple[ExchangeRow, ...]) -> None:
        """Begin with what the store remembers, so that a restart of the engine empties no screen."""
        self._rows.update((row.id, row) for row in rows)

    def rows(self) -> tuple[ExchangeRow, ...]:
        """The newest rows, oldest first."""
        self.flush()
        return tuple(self._rows.values())

    def held(self, exchange_id: int) -> Exchange | None:
        """An exchange that the store does not have: a running one with all that has come so far, or an unrecorded."""
        entry = self._open.get(exchange_id)
        if entry is None:
            return self._unrecorded.get(exchange_id)
        return msgspec.structs.replace(
            entry.exchange,
            text=entry.exchange.text + "".join(entry.text),
            thinking=entry.exchange.thinking + "".join(entry.thinking),
            verdicts=self._judge.alarms(exchange_id),
            fragments=entry.row.fragments if entry.row else entry.exchange.fragments,
            first_token_ns=entry.row.first_token_ns if entry.row else entry.exchange.first_token_ns,
        )

    def unstored(self) -> tuple[ExchangeRow, ...]:
        """Rows of the exchanges that the store does not have: running ones and unrecorded ones."""
        running = [entry.row for entry in self._open.values() if entry.row]
        ended = [self._rows[number] for number in self._unrecorded if number in self._rows]
        return (*ended, *running)

    def mark(self, exchange_id: int, mark: Mark | None) -> None:
        """Show what the user thinks of an exchange."""
        if mark:
            self._marks[exchange_id] = mark
        else:
            self._marks.pop(exchange_id, None)
        entry, row = self._open.get(exchange_id), self._rows.get(exchange_id)
        if entry and entry.row:
            entry.row = msgspec.structs.replace(entry.row, mark=mark)
        if row:
            self._rows[exchange_id] = msgspec.structs.replace(row, mark=mark)
            self._publish(ExchangeChanged(row=self._rows[exchange_id], counts=self.counts))

    def _marked(self, row: ExchangeRow) -> ExchangeRow:
        mark = self._marks.get(row.id)
        return msgspec.structs.replace(row, mark=mark) if mark else row

    def take(self, line: CaptureLine) -> None:
        """Take in what the capture process printed."""
        match line:
            case ExchangeSeen():
                self._seen(line.exchange)
            case ExchangeGrew():
                self._grew(line)
            case CaptureStatus():
                pass

    def progressed(self, run_id: str, progress: Progress, after_ns: int | None) -> None:
        """Take in what item a batch says it works on; the line was written after ``after_ns``, and soon answered for.

        What still runs and began since then was asked for that item: its line is read later than it was written.
        """
        if progress.source == "tqdm" or not self._course.tell(run_id, progress.item, progress.at_ns):
            return
        since_ns = progress.at_ns if after_ns is None else after_ns
        for entry in self._open.values():
            if entry.exchange.run == run_id and not entry.owned and entry.exchange.started_ns > since_ns:
                self._rename(entry, progress.item)
        for exchange in list(self._ended):
            if exchange.run == run_id and exchange.started_ns >= progress.at_ns:
                self._rename_ended(exchange, progress.item)

    def _rename(self, entry: _Open, item: str | None) -> None:
        entry.exchange = msgspec.structs.replace(entry.exchange, item=item)
        if entry.row:
            entry.row = self._relabelled(entry.row, item)

    def _rename_ended(self, exchange: Exchange, item: str | None) -> None:
        """One so short that it had ended before the line of its item was read."""
        renamed = msgspec.structs.replace(exchange, item=item)
        self._ended[self._ended.index(exchange)] = renamed
        if row := self._rows.get(exchange.id):
            self._relabelled(row, item)
        self._keep(renamed)

    def _relabelled(self, row: ExchangeRow, item: str | None) -> ExchangeRow:
        row = msgspec.structs.replace(row, item=item)
        self._show(row)
        self._publish(ExchangeChanged(row=row, counts=self.counts))
        return row

    def capture_ended(self, reason: str) -> None:
        """The capture process is gone: what it was watching is known in part."""
        for exchange_id in list(self._open):
            exchange = self.held(exchange_id)
            assert exchange
            if exchange.replay_of is not None:
                continue
            partial = msgspec.structs.replace(
                exchange, state="partial", ended_ns=time.time_ns(), note=f"The capture stopped: {reason}."
            )
            self._end(self._judge.ended(partial, self._is_recorded(exchange)))
        self._generation += 1
        self._ids = {key: number for key, number in self._ids.items() if key[1] < 0}

    def reserve(self, number: int) -> int:
        """The id for an exchange that the engine itself will report; its ``number`` is below 0, never used again."""
        self._ids[self._key(number)] = self._next_id
        self._next_id += 1
        return self._next_id - 1

    def activity(self, run_id: str) -> int:
        """A number that changes when something of an exchange of this run was captured."""
        rows = (row for row in self._rows.values() if row.run == run_id)
        return sum(1 + row.fragments + (row.ended_ns is not None) for row in rows)

    def number_of(self, exchange_id: int) -> int | None:
        """The number by which the capture process knows a running exchange."""
        return next((key[1] for key, known in self._ids.items() if known == exchange_id), None)

    def running(self) -> tuple[Exchange, ...]:
        """All exchanges in work, as first seen."""
        return tuple(entry.exchange for entry in self._open.values())

    def _key(self, number: int) -> tuple[int, int]:
        """Numbers below 0 are the engine's own and outlive the capture process."""
        return (0 if number < 0 else self._generation, number)

    async def flush_often(self) -> None:
        """Publish what grows, at most five times a second, until cancelled."""
        while True:
            await self._grown.wait()
            self._grown.clear()
            self.flush()
            await asyncio.sleep(FLUSH_SECONDS)

    async def watch_often(self) -> None:
        """Look for alarms once a second while something runs, until cancelled."""
        while True:
            await self._busy.wait()
            await asyncio.sleep(ALARM_SECONDS)
            self.watch(time.time_ns())
            if not self._open:
                self._busy.clear()

    def watch(self, now_ns: int) -> None:
        """Publish the rows whose alarms came or went."""
        for exchange_id in self._judge.look(now_ns):
            entry = self._open.get(exchange_id)
            if entry and entry.row:
                kinds = tuple(alarm.kind for alarm in self._judge.alarms(exchange_id))
                entry.row = msgspec.structs.replace(entry.row, verdicts=kinds)
                self._show(entry.row)
                self._publish(ExchangeChanged(row=entry.row, counts=self.counts))

    def flush(self) -> None:
        """Publish the rows that grew since the last time."""
        for exchange_id in self._dirty:
            row = self._rows.get(exchange_id)
            if row:
                self._publish(ExchangeChanged(row=row, counts=self.counts))
        self._dirty.clear()

    def _seen(self, exchange: Exchange) -> None:
        key = self._key(exchange.id)
        known = key in self._ids
        if not known:
            self._ids[key] = self._next_id
            self._next_id += 1
        owned = exchange.item is not None
        named = self._named(msgspec.structs.replace(exchange, id=self._ids[key]))
        if named.ended_ns is not None:
            del self._ids[key]
            ended = self._without_content(self._judge.ended(named, self._is_recorded(named)))
            if ended.run and not owned:
                self._may_be_of_the_next_item(ended)
            self._end(ended)
            return
        self._judge.begun(named, self._is_recorded(named))
        self._busy.set()
        placed = self._without_content(msgspec.structs.replace(named, verdicts=self._judge.alarms(named.id)))
        row = self._marked(row_of(placed))
        self._open[placed.id] = _Open(exchange=placed, row=row, owned=owned)
        self._show(row)
        self._publish(ExchangeChanged(row=row, counts=self.counts))

    def _grew(self, line: ExchangeGrew) -> None:
        exchange_id = self._ids.get(self._key(line.id))
        entry = self._open.get(exchange_id) if exchange_id is not None else None
        if entry is None or entry.row is None:
            return
        self._judge.grew(entry.exchange.id, line)
        if self._is_recorded(entry.exchange):
            entry.text.append(line.text)
            entry.thinking.append(line.thinking)
        tail = _tail(entry)
        entry.row = msgspec.structs.replace(
            entry.row, fragments=line.fragments, tail=tail, first_token_ns=line.first_token_ns
        )
        self._show(entry.row)
        self._dirty.add(entry.row.id)
        self._grown.set()

    def _end(self, exchange: Exchange) -> None:
        self._open.pop(exchange.id, None)
        self._dirty.discard(exchange.id)
        if exchange.state in TROUBLE:
            self._failed += 1
        else:
            self._done += 1
        self._verdicts += bool(exchange.verdicts)
        row = self._marked(row_of(exchange))
        self._show(row)
        self._publish(ExchangeChanged(row=row, counts=self.counts))
        self._keep(exchange)

    def _may_be_of_the_next_item(self, exchange: Exchange) -> None:
        newest_ns = exchange.ended_ns or 0
        while self._ended and (self._ended[0].ended_ns or 0) < newest_ns - LATE_NS:
            self._ended.popleft()
        self._ended.append(exchange)

    def _keep(self, exchange: Exchange) -> None:
        record = self._record_of(exchange.job or "")
        if record != "none":
            self._save(exchange, record == "full")
            return
        self._unrecorded[exchange.id] = exchange
        while len(self._unrecorded) > ROWS_KEPT:
            self._unrecorded.popitem(last=False)

    def _is_recorded(self, exchange: Exchange) -> bool:
        return self._record_of(exchange.job or "") == "full"

    def _named(self, exchange: Exchange) -> Exchange:
        """The exchange with job and item of its run."""
        run = self._run_of(exchange.run) if exchange.run else None
        if run is None:
            return exchange
        entry = self._open.get(exchange.id)
        known = entry.exchange.item if entry else self._item_of(run, exchange.started_ns)
        return msgspec.structs.replace(exchange, job=run.job, item=exchange.item or known)

    def _item_of(self, run: Run, moment_ns: int) -> str | None:
        """The item in work at a moment. A bar's label is no item: ``Loading weights: 37 %`` names a phase."""
        if len(run.flights) > 1:
            # Only the process can tell which of them asked.
            return None
        if run.item or run.progress is None:
            return run.item
        if run.progress.source == "tqdm":
            return None
        return self._course.item_at(run.id, moment_ns) or run.progress.item

    def _without_content(self, exchange: Exchange) -> Exchange:
        """The exchange without what its job does not want recorded."""
        if self._is_recorded(exchange):
            return exchange
        return msgspec.structs.replace(
            exchange,
            text="",
            thinking="",
            tool_calls=(),
            text_pieces=None,
            prompt=None,
            request_body=None,
            response_body=None,
            unknown={**exchange.unknown, "text": "This job's content is not recorded (record)."},
        )

    def _show(self, row: ExchangeRow) -> None:
        self._rows[row.id] = row
        while len(self._rows) > ROWS_KEPT:
            self._rows.popitem(last=False)


def _tail(entry: _Open) -> str:
    """The newest characters of the reply, or of the thinking before the reply begins."""
    for first, grown in ((entry.exchange.text, entry.text), (entry.exchange.thinking, entry.thinking)):
        tail = ""
        for piece in reversed(grown):
            tail = piece + tail
            if len(tail) >= TAIL_CHARS:
                return tail[-TAIL_CHARS:]
        if tail or first:
            return (first + tail)[-TAIL_CHARS:]
    return ""

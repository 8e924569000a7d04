"""A run with all that is known of it: what is in work, what waits, what is over."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

from msgspec import structs

from nightdesk.core.jobs.plans import Plan
from nightdesk.model.base import Noun, ProcessKey
from nightdesk.model.job import ENDED, Failure, ItemRecord, Run, Usage

GONE = "What was kept of it is gone: the folder of its run was removed."
End = Literal["stop", "kill", "timeout", "stalled"]


class Attempt(Noun, frozen=True, kw_only=True):
    """An attempt in work."""

    serial: int
    """Number within the run: tells the files of one attempt from those of another."""
    index: int | None = None
    """Of its item; None where the run has none."""
    tries: int
    """1 for the first try of the item or command."""
    launched_ns: int
    started_ns: int | None = None
    keeper: ProcessKey | None = None
    process: ProcessKey | None = None
    log_offset: int = 0
    """Where its output begins in the log."""
    log_path: str | None = None
    """Its own log, where it does not write to the run's."""
    still_ns: int = 0
    """How long it was paused, or the machine slept."""
    asked: End | None = None
    """Why the desk ends it."""
    evidence: str = ""
    """For a stall: what was seen."""
    fallback: bool = False
    """By the job's fallback command."""


class Delayed(Noun, frozen=True, kw_only=True):
    """An item, or the command, that is tried again later."""

    index: int | None
    tries: int
    due_ns: int
    fallback: bool = False
    """Then by the job's fallback command."""


class Sweep(Noun, frozen=True, kw_only=True):
    """What is left of an attempt that is over is being ended."""

    serial: int
    root: ProcessKey | None = None


class Ledger(Noun, frozen=True, kw_only=True):
    """What a run has behind it, beyond what viewers see. Kept beside the run after each step."""

    serial: int = 0
    """Attempts launched in the life of the run."""
    attempts: tuple[Attempt, ...] = ()
    """In work, oldest first."""
    delayed: tuple[Delayed, ...] = ()
    admitted: bool = False
    """The queue has let the run start."""
    unloading: bool = False
    """Before it starts, the model servers free their models."""
    restarted: bool = False
    """The engine went away meanwhile: nothing new is started until the user says so."""
    holding: bool = False
    """The user wants it to stand still after the items in work."""
    pausing: bool = False
    """The user wants it to stand still at once, and not all of its processes may do so yet."""
    frozen_ns: int | None = None
    """Since when processes of it may stand still: from then on no time of its attempts counts."""
    sweeps: tuple[Sweep, ...] = ()
    ending: Literal["stop", "kill"] | None = None
    """The user ended the run."""
    doomed: Failure | None = None
    """A failure that makes all other items hopeless: nothing new is started."""
    first: tuple[int, ...] = ()
    last: tuple[int, ...] = ()
    """Items that the user moved."""
    broken_off: tuple[str, ...] = ()
    """Items that were in work when the user ended the run."""
    worked: int = 0
    """Items that really ran, for the rate."""
    worked_ns: int = 0

    def attempt(self, serial: int) -> Attempt | None:
        """The attempt in work with this number."""
        return next((each for each in self.attempts if each.serial == serial), None)


@dataclass(frozen=True, slots=True)
class ItemQueue:
    """Which items wait, in the order of work, and how many are over. ``pending`` holds indexes into the plan."""

    pending: tuple[int, ...] = ()
    closed: frozenset[int] = frozenset()
    """Of these: can't be worked on yet."""
    why_closed: str = ""
    failed: tuple[int, ...] = ()
    skipped: frozenset[int] = frozenset()
    again: frozenset[int] = frozenset()
    """The user wants these done whatever their outputs say."""
    done: int = 0

    def open(self) -> Iterator[int]:
        """The items that can be worked on now, in order."""
        return (index for index in self.pending if index not in self.closed)

    def without(self, indexes: Iterable[int]) -> tuple[int, ...]:
        """``pending`` without these."""
        gone = set(indexes)
        if len(gone) == 1 and self.pending and self.pending[0] in gone:
            return self.pending[1:]
        return tuple(index for index in self.pending if index not in gone)


@dataclass(frozen=True, slots=True)
class Work:
    """A run, its plan, its ledger and its items."""

    run: Run
    plan: Plan
    ledger: Ledger
    queue: ItemQueue = ItemQueue()

    def with_run(self, **changes: object) -> Work:
        """The same with these fields of the run."""
        return Work(structs.replace(self.run, **changes), self.plan, self.ledger, self.queue)

    def with_ledger(self, **changes: object) -> Work:
        """The same with these fields of the ledger."""
        return Work(self.run, self.plan, structs.replace(self.ledger, **changes), self.queue)

    def with_queue(self, **changes: Any) -> Work:
        """The same with these fields of the item queue."""
        return Work(self.run, self.plan, self.ledger, replace(self.queue, **changes))

    def with_attempt(self, attempt: Attempt) -> Work:
        """The same with this attempt in place of the one with its number."""
        attempts = (attempt if each.serial == attempt.serial else each for each in self.ledger.attempts)
        return self.with_ledger(attempts=tuple(attempts))

    def without_attempt(self, attempt: Attempt) -> Work:
        """The same without the attempt with this number."""
        attempts = tuple(each for each in self.ledger.attempts if each.serial != attempt.serial)
        return self.with_ledger(attempts=attempts)

    @property
    def remaining(self) -> int:
        """Items that have not been tried to the end."""
        if self.plan.items is None:
            return 0
        in_work = sum(each.index is not None for each in self.ledger.attempts)
        return len(self.queue.pending) + in_work + len(self.ledger.delayed)

    def delayed(self, index: int | None) -> Delayed | None:
        """The pause of an item, or of the command; None where it has none."""
        return next((each for each in self.ledger.delayed if each.index == index), None)

    @property
    def in_flight(self) -> bool:
        """An attempt was launched and its end is not known yet."""
        return bool(self.ledger.attempts)

    @property
    def room(self) -> int:
        """Attempts that may be started now."""
        ledger = self.ledger
        if self.run.state in ENDED or self.run.state in ("paused", "stopping") or not ledger.admitted:
            return 0
        if ledger.restarted or ledger.holding or ledger.pausing or ledger.ending or ledger.doomed:
            return 0
        if ledger.unloading:
            return 0
        return max(0, self.plan.parallel - len(ledger.attempts))

    @property
    def goes_on(self) -> bool:
        """Its attempts run. While it is being paused they may stand still already."""
        return self.run.state == "running" and not self.ledger.pausing

    def limit_ns(self, attempt: Attempt) -> int | None:
        """When an attempt has used up its time. Time in which it was paused, or the machine slept, does not count."""
        timeout = self.plan.timeout_ns
        if timeout is None or not self.goes_on or attempt.asked or attempt.started_ns is None:
            return None
        return attempt.launched_ns + attempt.still_ns + timeout

    def next_items(self, now_ns: int) -> Iterator[int]:
        """The items to work on next: those whose pause is over, then the ones that wait."""
        due = sorted((d for d in self.ledger.delayed if d.due_ns <= now_ns), key=lambda d: d.due_ns)
        yield from (d.index for d in due if d.index is not None)
        yield from self.queue.open()

    @property
    def due_ns(self) -> int | None:
        """When something of it can be started: 0 for now, None where only others can change that."""
        if self.plan.items is None:
            return self.ledger.delayed[0].due_ns if self.ledger.delayed else 0
        if next(self.queue.open(), None) is not None:
            return 0
        return min((delayed.due_ns for delayed in self.ledger.delayed), default=None)


def queue_of(plan: Plan, ledger: Ledger, records: Iterable[ItemRecord]) -> tuple[Ledger, ItemQueue]:
    """Ledger and queue of a run that is read from disk.

    The records are written before the ledger, so they win: an attempt or pause of an item that is over is dropped.
    """
    if plan.items is None:
        return ledger, ItemQueue()
    newest: dict[int, ItemRecord] = {}
    for record in records:
        if record.index is not None and record.index < len(plan.items):
            newest[record.index] = record
    over = {index: record for index, record in newest.items() if record.state != "again"}
    attempts = tuple(
        a for a in ledger.attempts if a.index not in over or a.serial > (over[a.index].serial or 0)
    )
    in_work = {each.index for each in attempts}
    delayed = tuple(d for d in ledger.delayed if d.index not in over and d.index not in in_work)
    busy = in_work | {each.index for each in delayed}
    over = {index: record for index, record in over.items() if index not in busy}
    waiting = [index for index in range(len(plan.items)) if index not in busy and index not in over]
    pending = arranged(waiting, ledger.first, ledger.last)
    queue = ItemQueue(
        pending=pending,
        failed=tuple(index for index, record in over.items() if record.state == "failed"),
        skipped=frozenset(index for index, record in over.items() if record.state == "skipped"),
        again=frozenset(index for index, record in newest.items() if record.state == "again"),
        done=sum(record.state == "done" for record in over.values()),
    )
    return structs.replace(ledger, attempts=attempts, delayed=delayed), queue


def arranged(waiting: Iterable[int], first: tuple[int, ...], last: tuple[int, ...]) -> tuple[int, ...]:
    """Waiting items in the order of work: what the user moved to the front, the others, what was moved back."""
    left = set(waiting)
    front = [index for index in first if index in left]
    back = [index for index in last if index in left and index not in set(front)]
    moved = {*front, *back}
    return (*front, *sorted(left - moved), *back)


def records_of(work: Work, at_ns: int) -> tuple[ItemRecord, ...]:
    """What is over of a run, as its queue knows it, for the case that its records are gone. It says less than they."""
    items, queue = work.plan.items or (), work.queue
    busy = {*queue.pending, *(a.index for a in work.ledger.attempts), *(d.index for d in work.ledger.delayed)}
    failed = frozenset(queue.failed)
    return tuple(
        ItemRecord(
            item=item,
            index=index,
            state="failed" if index in failed else "skipped" if index in queue.skipped else "done",
            ended_ns=at_ns,
            failure=Failure(kind="lost", evidence=GONE) if index in failed else None,
        )
        for index, item in enumerate(items)
        if index not in busy
    )


def added_usage(before: Usage | None, now: Usage | None) -> Usage | None:
    """Resources of all attempts together; memory is that of the largest."""
    if before is None or now is None:
        return now or before
    return Usage(
        user_ns=before.user_ns + now.user_ns,
        system_ns=before.system_ns + now.system_ns,
        max_rss_bytes=max(before.max_rss_bytes, now.max_rss_bytes),
    )

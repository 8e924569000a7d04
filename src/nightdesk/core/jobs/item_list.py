"""The items of a run as a list: the state of each, filtered, sorted, cut into pages.

Made anew when a run moves on. 100,000 items take some tens of milliseconds: callers keep what is made.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import replace

from nightdesk.core.jobs.work import Attempt, Delayed, Work
from nightdesk.model.errors import UsageError
from nightdesk.model.items import STAGES, ItemPage, ItemRow, ItemStage
from nightdesk.model.job import ItemRecord

SORTS = ("index", "order", "item", "state", "took", "attempts")
"""``order``: as they are worked on, what is over first."""
LAST = 2**62
SORTED_KEPT = 8


@dataclass(frozen=True)
class ItemList:
    """The items of a run at one moment. ``stages`` holds the state of each by its place in the run."""

    work: Work
    records: Mapping[int, ItemRecord]
    """The newest record of each item that is over."""
    stages: tuple[ItemStage, ...]
    places: Mapping[int, int]
    attempts: Mapping[int, Attempt]
    delayed: Mapping[int, Delayed]
    _sorted: dict[tuple[str, str, str], list[int]] = field(default_factory=dict)

    @property
    def items(self) -> tuple[str, ...]:
        """All items, in the order of the run."""
        return self.work.plan.items or ()

    def page(self, states: str, text: str, sort: str, offset: int, limit: int, now_ns: int) -> ItemPage:
        """Some of the items that match. ``states`` are words with commas between, none: all.

        Raises UsageError for an unknown state or order.
        """
        found = self._found(states, text, sort, now_ns)
        rows = tuple(self.row(index, now_ns) for index in found[offset : offset + limit])
        return ItemPage(rows=rows, offset=offset, total=len(found), counts=dict(Counter(self.stages)))

    def _found(self, states: str, text: str, sort: str, now_ns: int) -> list[int]:
        key = (states, text, sort)
        known = self._sorted.get(key)
        if known is None:
            if len(self._sorted) >= SORTED_KEPT:
                self._sorted.clear()
            known = self._sorted[key] = self._search(_stages(states), text, sort, now_ns)
        return known

    def _search(self, wanted: frozenset[str], text: str, sort: str, now_ns: int) -> list[int]:
        words = text.casefold().split()
        indexes: Iterable[int] = range(len(self.items))
        if wanted:
            indexes = (index for index in indexes if self.stages[index] in wanted)
        if words:
            indexes = (index for index in indexes if self._holds(index, words))
        name = sort.removeprefix("-")
        if name not in SORTS:
            raise UsageError(f"Items can't be sorted by {name}.", f"Orders are: {', '.join(SORTS)}.")
        found = list(indexes)
        if name != "index":
            found.sort(key=self._key(name, now_ns))
        return found[::-1] if sort.startswith("-") else found

    def _holds(self, index: int, words: list[str]) -> bool:
        said = self.items[index].casefold()
        if all(word in said for word in words):
            return True
        record = self.records.get(index)
        if record is None or record.failure is None or self.stages[index] != "failed":
            return False
        said = f"{said} {record.failure.kind} {record.failure.evidence}".casefold()
        return all(word in said for word in words)

    def _key(self, name: str, now_ns: int) -> Callable[[int], Any]:
        if name == "item":
            return lambda index: self.items[index]
        if name == "state":
            ranks = {stage: rank for rank, stage in enumerate(STAGES)}
            return lambda index: ranks[self.stages[index]]
        if name == "took":
            return lambda index: self._took_ns(index, now_ns) or -1
        if name == "attempts":
            return self._tries
        return self._turn

    def _turn(self, index: int) -> tuple[int, int]:
        """When it is, or was, its turn."""
        match self.stages[index]:
            case "running":
                return 1, self.attempts[index].launched_ns
            case "delayed":
                return 2, self.delayed[index].due_ns
            case "waiting" | "closed":
                return 3, self.places.get(index, LAST)
            case _:
                record = self.records.get(index)
                return 0, record.ended_ns if record else 0

    def _tries(self, index: int) -> int:
        if attempt := self.attempts.get(index):
            return attempt.tries
        if delayed := self.delayed.get(index):
            return delayed.tries
        record = self._record(index)
        return record.attempts if record else 0

    def _record(self, index: int) -> ItemRecord | None:
        """Its record, if it is over."""
        return self.records.get(index) if self.stages[index] in ("done", "failed", "skipped") else None

    def _took_ns(self, index: int, now_ns: int) -> int | None:
        if attempt := self.attempts.get(index):
            return (
                None if attempt.started_ns is None else max(0, now_ns - attempt.started_ns - attempt.still_ns)
            )
        record = self._record(index)
        if record is None or record.started_ns is None:
            return None
        return max(0, record.ended_ns - record.started_ns)

    def row(self, index: int, now_ns: int) -> ItemRow:
        """One item. Raises UsageError where there is none at this place."""
        if not 0 <= index < len(self.items):
            raise UsageError(f"{self.work.run.id} has no item number {index}.", "They are counted from 0.")
        stage = self.stages[index]
        plain = ItemRow(
            index=index,
            item=self.items[index],
            state=stage,
            attempts=self._tries(index),
            place=self.places.get(index),
            took_ns=self._took_ns(index, now_ns),
            reason=self.work.queue.why_closed or None if stage == "closed" else None,
        )
        if attempt := self.attempts.get(index):
            return self._in_work(plain, attempt)
        if delayed := self.delayed.get(index):
            return replace(plain, due_ns=delayed.due_ns, fallback=delayed.fallback)
        record = self._record(index)
        return _over(plain, record) if record else plain

    def _in_work(self, plain: ItemRow, attempt: Attempt) -> ItemRow:
        flights = (each for each in self.work.run.flights if each.serial == attempt.serial)
        return replace(
            plain,
            started_ns=attempt.started_ns,
            log_path=attempt.log_path,
            fallback=attempt.fallback,
            flight=next(flights, None),
        )

    def span(self, index: int) -> tuple[str | None, int | None, int | None]:
        """The log that holds the output of an item, where it begins there and where it ends, as far as known."""
        source = self.attempts.get(index) or self.records.get(index)
        if source is None:
            return None, None, None
        if source.log_path is not None:
            return source.log_path, source.log_offset, None
        start = source.log_offset
        if start is None:
            return self.work.run.log_path, None, None
        begins = [each.log_offset for each in self.records.values() if each.log_path is None]
        begins += [each.log_offset for each in self.attempts.values() if each.log_path is None]
        end = min((each for each in begins if each is not None and each > start), default=None)
        return self.work.run.log_path, start, end


def _over(plain: ItemRow, record: ItemRecord) -> ItemRow:
    return replace(
        plain,
        started_ns=record.started_ns,
        ended_ns=record.ended_ns,
        failure=record.failure,
        log_path=record.log_path,
        fallback=record.fallback,
    )


def _stages(states: str) -> frozenset[str]:
    wanted = frozenset(word for word in states.replace(",", " ").split() if word)
    unknown = next(iter(wanted - set(STAGES)), None)
    if unknown is not None:
        raise UsageError(f"There is no state {unknown} of items.", f"States are: {', '.join(STAGES)}.")
    return wanted


def list_items(work: Work, records: Mapping[int, ItemRecord]) -> ItemList:
    """The items of a run as they stand. Raises UsageError for a run that drives none."""
    items, queue, ledger = work.plan.items, work.queue, work.ledger
    if items is None:
        raise UsageError(f"{work.run.id} drives no items.", "Its script decides what it does.")
    stages: list[ItemStage] = ["done"] * len(items)
    for index in queue.failed:
        stages[index] = "failed"
    for index in queue.skipped:
        stages[index] = "skipped"
    for index in queue.pending:
        stages[index] = "closed" if index in queue.closed else "waiting"
    attempts = {each.index: each for each in ledger.attempts if each.index is not None}
    delayed = {each.index: each for each in ledger.delayed if each.index is not None}
    for index in delayed:
        stages[index] = "delayed"
    for index in attempts:
        stages[index] = "running"
    places = {index: place for place, index in enumerate(queue.pending)}
    return ItemList(work, records, tuple(stages), places, attempts, delayed)

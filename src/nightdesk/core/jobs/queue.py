"""Which waiting runs may start now, why the others wait, and when they are expected to start.

Nothing waits for ever: who waits long moves up, and what the first in line waits for is not given to others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import get_args

from nightdesk.core.jobs.admission import Memory, can_ever_fit, fits, reserved, shortage
from nightdesk.core.jobs.slots import capacity
from nightdesk.core.jobs.start_times import STARTS, Expected, latest, start_words
from nightdesk.core.jobs.work import Work
from nightdesk.model.job import ENDED, Priority, Run

AGEING_NS = 30 * 60 * 10**9
"""A run that waited this long moves up by one priority; from then on all that it needs is kept for it."""
_RANKS: dict[str, int] = {name: rank for rank, name in enumerate(get_args(Priority))}
_HOW = {"paused": ", which is paused", "waiting": ", which waits too"}
MEMORY = "\0memory"
"""Stands among the slots for the machine's memory; no key of a file can hold a NUL."""


@dataclass(frozen=True, slots=True)
class Admission:
    """The answer of :func:`admit`."""

    start: tuple[str, ...]
    """Ids of the runs that may start, in order."""
    reasons: Mapping[str, str]
    """One sentence for each run that goes on waiting for others."""
    expected: Mapping[str, Expected] = field(default_factory=dict)
    """When a run that waits will probably start; absent where that is not known."""


@dataclass(frozen=True, slots=True)
class _Wait:
    """Why a run does not start."""

    reason: str
    expected: Expected | None = None
    lacks: frozenset[str] = frozenset()
    """What it waits for and others may not take; empty where it could not use it anyway."""


def admit(
    works: Iterable[Work],
    newest_full: Mapping[str, Run],
    at_ns: int,
    *,
    slots: Mapping[str, int] | None = None,
    memory: Memory | None = None,
) -> Admission:
    """Decides about all waiting runs.

    ``newest_full`` holds the newest full run of each job that ever ran, ``slots`` how much there is of what runs
    share; without ``memory`` nobody waits for it.
    """
    return _Round(tuple(works), newest_full, at_ns, slots or {}, memory).decide()


class _Round:
    """One decision: who holds what, and what is kept for whom."""

    def __init__(
        self,
        works: tuple[Work, ...],
        newest_full: Mapping[str, Run],
        at_ns: int,
        slots: Mapping[str, int],
        memory: Memory | None,
    ) -> None:
        self._works = works
        self._newest_full = newest_full
        self._at_ns = at_ns
        self._slots = slots
        self._memory = memory
        self._holders = [work for work in works if is_holding(work)]
        self._reserved = reserved(works, memory, at_ns) if memory else {}
        self._jobs = {work.run.id: work.run.job for work in works}
        self._kept: dict[str, Work] = {}
        """Slot → the run that it is kept for."""

    def decide(self) -> Admission:
        start: list[str] = []
        reasons: dict[str, str] = {}
        expected: dict[str, Expected] = {}
        for work in sorted(filter(_is_waiting, self._works), key=self._rank):
            wait = self._wait_of(work)
            if wait is None:
                start.append(work.run.id)
                self._give(work)
                continue
            self._keep(work, wait)
            if wait.reason:
                reasons[work.run.id] = wait.reason
            if wait.expected is not None:
                expected[work.run.id] = wait.expected
        return Admission(tuple(start), reasons, expected)

    def _give(self, work: Work) -> None:
        self._holders.append(work)
        if work.plan.memory_bytes:
            self._reserved[work.run.id] = work.plan.memory_bytes

    def _keep(self, work: Work, wait: _Wait) -> None:
        """What it lacks is kept for it; after a long time all that it needs, so that it is free together one day."""
        lacks = wait.lacks
        if lacks and self._waited_ns(work) >= AGEING_NS:
            lacks |= work.plan.uses.keys() | ({MEMORY} if work.plan.memory_bytes else set())
        for slot in lacks:
            self._kept.setdefault(slot, work)

    def _wait_of(self, work: Work) -> _Wait | None:
        due_ns = work.due_ns
        if due_ns is None:
            return _Wait(work.queue.why_closed)
        if due_ns > self._at_ns:
            return _Wait("", Expected.exactly(due_ns))
        if not work.ledger.serial and (wait := self._start_wait(work) or self._needs_wait(work)):
            return wait
        waits = [*self._slot_waits(work), *self._memory_waits(work)]
        if not waits:
            return None
        known = [wait.expected for wait in waits if wait.expected is not None]
        expected = latest(known) if len(known) == len(waits) else None
        impossible = any(not wait.lacks for wait in waits)
        lacks = frozenset[str]() if impossible else frozenset[str]().union(*(wait.lacks for wait in waits))
        return _Wait(waits[0].reason, expected, lacks)

    # What it waits for

    def _start_wait(self, work: Work) -> _Wait | None:
        start_ns = work.plan.start_ns
        if start_ns is None or start_ns <= self._at_ns:
            return None
        return _Wait(f"{STARTS}{start_words(start_ns, self._at_ns)}.", Expected.exactly(start_ns))

    def _needs_wait(self, work: Work) -> _Wait | None:
        going: list[str] = []
        for need in work.plan.needs:
            run = self._newest_full.get(need)
            if run is None:
                return _Wait(f"Waits for {need}, which has not run yet.")
            if run.state not in ENDED:
                going.append(need + _HOW.get(run.state, ""))
            elif run.state != "done":
                return _Wait(f"Waits for {need}: its last run ended as {run.state}.")
        return _Wait(f"Waits for {' and '.join(going)}.", self._needed(work)) if going else None

    def _needed(self, work: Work) -> Expected | None:
        """When the last of the jobs that it needs will probably be done."""
        ends: list[Expected] = []
        for need in work.plan.needs:
            run = self._newest_full.get(need)
            if run is None or (run.state in ENDED and run.state != "done"):
                return None
            if run.state == "done":
                continue
            end = expected_end(run, self._at_ns)
            if end is None:
                return None
            ends.append(end)
        return latest(ends)

    def _slot_waits(self, work: Work) -> Iterator[_Wait]:
        for slot, wanted in work.plan.uses.items():
            there = capacity(slot, self._slots)
            holders = [other for other in self._holders if other.plan.uses.get(slot)]
            free = there - sum(other.plan.uses[slot] for other in holders)
            ahead = self._kept.get(slot)
            if wanted > there:
                yield _Wait(
                    f"Needs {wanted} of the {slot}, and there is {there}: [slots] in nightdesk.toml says so."
                )
            elif wanted > free:
                expected = None if ahead else self._freed(slot, wanted - free, holders)
                yield _Wait(_taken_words(slot, wanted, free, there, holders), expected, frozenset({slot}))
            elif ahead is not None:
                yield _Wait(
                    f"Waits for the {slot}, which is kept for {ahead.run.job}.", None, frozenset({slot})
                )

    def _freed(self, slot: str, missing: int, holders: list[Work]) -> Expected | None:
        """When ``missing`` of a slot will probably have been given back."""
        ends = [(end, h) for h in holders if (end := expected_end(h.run, self._at_ns)) is not None]
        for end, holder in sorted(ends, key=lambda pair: pair[0].at_ns):
            missing -= holder.plan.uses[slot]
            if missing <= 0:
                return end
        return None

    def _memory_waits(self, work: Work) -> Iterator[_Wait]:
        memory = self._memory
        if memory is None or not work.plan.memory_bytes:
            return
        ahead = self._kept.get(MEMORY)
        if not can_ever_fit(work, memory):
            yield _Wait(shortage(work, memory, self._reserved, self._jobs))
        elif not fits(work, memory, self._reserved):
            yield _Wait(shortage(work, memory, self._reserved, self._jobs), None, frozenset({MEMORY}))
        elif ahead is not None:
            yield _Wait(f"Waits for memory, which is kept for {ahead.run.job}.", None, frozenset({MEMORY}))

    # Order

    def _waited_ns(self, work: Work) -> int:
        return max(0, self._at_ns - max(work.run.created_ns, work.plan.start_ns or 0))

    def _rank(self, work: Work) -> tuple[int, int, str]:
        rank = _RANKS[work.plan.priority] - self._waited_ns(work) // AGEING_NS
        return rank, work.run.created_ns, work.run.id


def is_holding(work: Work) -> bool:
    """Whether the run keeps what it uses from others: from its start to its end, except while it waits to retry."""
    state = work.run.state
    return work.in_flight or (work.ledger.admitted and state not in ENDED and state != "paused")


def expected_end(run: Run, at_ns: int) -> Expected | None:
    """When a run will probably end, by its own progress; None where that is not known."""
    progress = run.progress
    if run.state != "running" or progress is None or progress.eta_ns is None:
        return None
    ends = (progress.eta_ns, progress.eta_low_ns, progress.eta_high_ns)
    likely, low, high = (None if left is None else max(at_ns, progress.at_ns + left) for left in ends)
    return Expected(likely, low, high) if likely is not None and likely > at_ns else Expected(at_ns)


def _is_waiting(work: Work) -> bool:
    return work.run.state == "waiting" and not work.ledger.admitted


def _taken_words(slot: str, wanted: int, free: int, there: int, holders: list[Work]) -> str:
    users = list(dict.fromkeys(holder.run.job for holder in holders))
    names = users[0] if len(users) == 1 else f"{', '.join(users[:-1])} and {users[-1]}"
    verb = "uses" if len(users) == 1 else "use"
    if there == 1:
        return f"Waits for the {slot}, which {names} {verb}."
    return f"Waits for {wanted} of the {slot}: {max(0, free)} of {there} are free, {names} {verb} the rest."

"""Which waiting runs may start now, and why the others wait."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import get_args

from nightdesk.core.work import Work
from nightdesk.model.job import ENDED, Priority, Run

CAPACITY = 1
"""Of each resource that a job can name under ``uses``."""
AGEING_NS = 30 * 60 * 10**9
"""A run that waited this long moves up by one priority, so that nothing waits for ever."""
_RANKS: dict[str, int] = {name: rank for rank, name in enumerate(get_args(Priority))}


@dataclass(frozen=True, slots=True)
class Admission:
    """The answer of :func:`admit`."""

    start: tuple[str, ...]
    """Ids of the runs that may start, in order."""
    reasons: Mapping[str, str]
    """One sentence for each run that goes on waiting for others."""


def admit(works: Iterable[Work], newest_full: Mapping[str, Run], at_ns: int) -> Admission:
    """Decides about all waiting runs. ``newest_full`` holds the newest full run of each job that ever ran."""
    works = tuple(works)
    holders = [(resource, work.run.id) for work in works if is_holding(work) for resource in work.plan.uses]
    start: list[str] = []
    reasons: dict[str, str] = {}
    for work in sorted(filter(lambda w: _is_candidate(w, at_ns), works), key=lambda w: _rank(w, at_ns)):
        reason = _needs_reason(work, newest_full) or _slot_reason(work, holders)
        if reason is None:
            start.append(work.run.id)
            holders += [(resource, work.run.id) for resource in work.plan.uses]
        else:
            reasons[work.run.id] = reason
    closed = (work for work in works if work.run.state == "waiting" and work.due_ns is None)
    reasons |= {work.run.id: work.queue.why_closed for work in closed if work.queue.why_closed}
    return Admission(tuple(start), reasons)


def is_holding(work: Work) -> bool:
    """Whether the run keeps what it uses from others: from its start to its end, except while it waits to retry."""
    state = work.run.state
    return work.in_flight or (work.ledger.admitted and state not in ENDED and state != "paused")


def _is_candidate(work: Work, at_ns: int) -> bool:
    due_ns = work.due_ns
    is_due = due_ns is not None and due_ns <= at_ns
    return work.run.state == "waiting" and not work.ledger.admitted and is_due


def _rank(work: Work, at_ns: int) -> tuple[int, int, str]:
    waited = max(0, at_ns - work.run.created_ns)
    return _RANKS[work.plan.priority] - waited // AGEING_NS, work.run.created_ns, work.run.id


def _needs_reason(work: Work, newest_full: Mapping[str, Run]) -> str | None:
    if work.ledger.serial:
        return None
    for need in work.plan.needs:
        run = newest_full.get(need)
        if run is None:
            return f"Waits for {need}, which has not run yet."
        if run.state not in ENDED:
            return f"Waits for {need}."
        if run.state != "done":
            return f"Waits for {need}: its last run ended as {run.state}."
    return None


def _slot_reason(work: Work, holders: list[tuple[str, str]]) -> str | None:
    for resource, wanted in work.plan.uses.items():
        using = [run for name, run in holders if name == resource]
        if wanted and len(using) >= CAPACITY:
            return f"Waits for the {resource}, which {using[0]} uses."
    return None

"""A run as viewers see it: the attempts in work, the counts of its items, its progress."""

from __future__ import annotations

from nightdesk.core.jobs.plans import Plan
from nightdesk.core.jobs.work import Attempt, Work
from nightdesk.model.job import Flight
from nightdesk.model.logs import Progress


def shown(before: Work, work: Work) -> Work:
    """The run with the attempts in work, and with its progress where items came or went."""
    attempts, queue = work.ledger.attempts, work.queue
    if attempts is not before.ledger.attempts:
        flights = tuple(_flight(work.plan, each) for each in attempts)
        work = work.with_run(flights=flights)
        if attempts:
            oldest = attempts[0]
            work = work.with_run(keeper=oldest.keeper, process=oldest.process, attempt=oldest.tries)
            work = work.with_run(item=flights[0].item, fallback=attempts[-1].fallback)
    if queue is not before.queue and work.plan.items is not None:
        work = counted(work)
    return work if work.ledger.holding is work.run.holding else work.with_run(holding=work.ledger.holding)


def counted(work: Work) -> Work:
    """The run with the counts of its items as the queue has them."""
    queue = work.queue
    if work.plan.items is None:
        return work
    return work.with_run(
        items_done=queue.done + len(queue.skipped),
        items_skipped=len(queue.skipped),
        items_failed=len(queue.failed),
    )


def _flight(plan: Plan, attempt: Attempt) -> Flight:
    item = plan.item
    if attempt.index is not None and plan.items is not None:
        item = plan.items[attempt.index]
    return Flight(
        serial=attempt.serial,
        item=item,
        index=attempt.index,
        attempt=attempt.tries,
        started_ns=attempt.started_ns,
        process=attempt.process,
        log_path=attempt.log_path,
        fallback=attempt.fallback,
    )


def with_progress(work: Work, at_ns: int) -> Work:
    """How far a run is that drives its items; the rate is that of the items that really ran."""
    if work.plan.items is None:
        return work
    ledger, queue, items = work.ledger, work.queue, work.plan.items
    rate = ledger.worked / ledger.worked_ns * 1e9 if ledger.worked and ledger.worked_ns else None
    if rate is not None:
        rate *= max(1, min(work.plan.parallel, work.remaining))
    in_work = next((each.index for each in ledger.attempts if each.index is not None), None)
    progress = Progress(
        done=queue.done + len(queue.skipped) + len(queue.failed),
        total=len(items),
        unit="items",
        item=None if in_work is None else items[in_work],
        rate_per_s=rate,
        eta_ns=round(work.remaining / rate * 1e9) if rate else None,
        at_ns=at_ns,
        source="items",
    )
    return work.with_run(progress=progress)

"""What the user and the disk do to the items that wait: passed over, moved, held back, put back."""

from __future__ import annotations

from nightdesk.core.jobs.events import ItemsClosed, ItemsMoved, ItemsSkipped, Record
from nightdesk.core.jobs.work import Work, arranged
from nightdesk.model.job import ItemRecord, ItemState


def skipped(work: Work, event: ItemsSkipped) -> tuple[Work, tuple[Record, ...]]:
    """These items need no work."""
    return _passed_over(work, event.indexes, event.at_ns)


def closed(work: Work, event: ItemsClosed) -> Work:
    """Only these of the waiting items can't be worked on yet."""
    return work.with_queue(closed=event.indexes, why_closed=event.reason)


def moved(work: Work, event: ItemsMoved) -> tuple[Work, tuple[Record, ...]]:
    """The user's wish for these items; those that are in work, or already as wished, stay as they are."""
    match event.where:
        case "skip":
            return _passed_over(work, event.indexes, event.at_ns)
        case "again":
            return _again(work, event.indexes, event.at_ns)
        case "first":
            return _ahead(work, event.indexes), ()
        case "last":
            ledger, chosen = work.ledger, set(event.indexes)
            first = tuple(index for index in ledger.first if index not in chosen)
            last = (*(index for index in ledger.last if index not in chosen), *event.indexes)
            return _arranged(work, first, last), ()


def _ahead(work: Work, indexes: tuple[int, ...]) -> Work:
    ledger, chosen = work.ledger, set(indexes)
    first = (*indexes, *(index for index in ledger.first if index not in chosen))
    return _arranged(work, first, tuple(index for index in ledger.last if index not in chosen))


def _arranged(work: Work, first: tuple[int, ...], last: tuple[int, ...]) -> Work:
    pending = arranged(work.queue.pending, first, last)
    waiting = set(pending)
    # What is over needs no place any more: the ledger is written after each step.
    first = tuple(index for index in first if index in waiting)
    last = tuple(index for index in last if index in waiting)
    return work.with_ledger(first=first, last=last).with_queue(pending=pending)


def _passed_over(work: Work, indexes: tuple[int, ...], at_ns: int) -> tuple[Work, tuple[Record, ...]]:
    waiting = set(work.queue.pending)
    delayed = {each.index for each in work.ledger.delayed}
    chosen = tuple(index for index in indexes if index in waiting or index in delayed)
    if not chosen:
        return work, ()
    gone = set(chosen)
    work = work.with_ledger(delayed=tuple(d for d in work.ledger.delayed if d.index not in gone))
    queue = work.queue
    work = work.with_queue(pending=queue.without(chosen), skipped=queue.skipped | gone)
    return work, tuple(_record(work, index, "skipped", at_ns) for index in chosen)


def _again(work: Work, indexes: tuple[int, ...], at_ns: int) -> tuple[Work, tuple[Record, ...]]:
    """Items that are over go back to the front of the queue."""
    queue, items = work.queue, work.plan.items or ()
    busy = {*queue.pending, *(d.index for d in work.ledger.delayed), *(a.index for a in work.ledger.attempts)}
    chosen = tuple(index for index in indexes if index not in busy and 0 <= index < len(items))
    if not chosen:
        return work, ()
    gone = set(chosen)
    failed = tuple(index for index in queue.failed if index not in gone)
    skipped = queue.skipped - gone
    were_done = len(chosen) - (len(queue.failed) - len(failed)) - (len(queue.skipped) - len(skipped))
    work = work.with_queue(
        pending=(*chosen, *queue.pending),
        failed=failed,
        skipped=skipped,
        again=queue.again | gone,
        done=queue.done - were_done,
    )
    return _ahead(work, chosen), tuple(_record(work, index, "again", at_ns) for index in chosen)


def _record(work: Work, index: int, state: ItemState, at_ns: int) -> Record:
    items = work.plan.items or ()
    return Record(ItemRecord(item=items[index], index=index, state=state, ended_ns=at_ns))

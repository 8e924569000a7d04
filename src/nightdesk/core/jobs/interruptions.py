"""What becomes of a run when an engine, a keeper or the room on the disk goes away in the middle of it."""

from __future__ import annotations

from msgspec.structs import replace

from nightdesk.core.jobs.events import NeverBegan, Signal
from nightdesk.core.jobs.start_times import start_words
from nightdesk.core.jobs.work import Attempt, Delayed, Sweep, Work

RESTARTED = "The engine was restarted"


def stand_still(work: Work, why: str, at_ns: int) -> Work:
    """Nothing is in work and nothing starts by itself."""
    left = work.remaining
    what = (
        f"goes on with {left} item{'s' if left != 1 else ''}" if work.plan.items is not None else "starts it"
    )
    if work.plan.start_ns is not None and work.plan.start_ns > at_ns and not work.ledger.serial:
        what = f"lets it start {start_words(work.plan.start_ns, at_ns)}"
    work = work.with_run(
        state="paused", paused_ns=work.run.paused_ns or at_ns, reason=f"{why}; resume {what}."
    )
    return work.with_ledger(admitted=False, holding=False, unloading=False, pausing=False, frozen_ns=None)


def recounted(work: Work, at_ns: int) -> Work:
    """The same, where what stands still says how many items are left: they may have become more or fewer."""
    why, counts, _ = (work.run.reason or "").partition("; resume goes on with ")
    return stand_still(work, why, at_ns) if counts and work.run.state == "paused" else work


def put_back(work: Work, event: NeverBegan) -> Work:
    """An attempt of which nothing ever ran: as if it had not been launched."""
    attempt = work.ledger.attempt(event.serial)
    if attempt is None:
        return work
    work = work.without_attempt(attempt)
    if attempt.index is None or attempt.tries > 1 or event.pause_ns:
        due_ns = event.at_ns + event.pause_ns if event.pause_ns else 0
        again = Delayed(
            index=attempt.index, tries=attempt.tries - 1, due_ns=due_ns, fallback=attempt.fallback
        )
        work = work.with_ledger(delayed=(*work.ledger.delayed, again))
    else:
        work = work.with_queue(pending=(attempt.index, *work.queue.pending))
    if event.pause_ns:
        return work.with_run(state="waiting", reason=event.reason) if not work.in_flight else work
    if attempt.index is None:
        work = stand_still(work, RESTARTED, attempt.launched_ns)
    return work


def broken_off(work: Work, *indexes: int | None) -> Work:
    """Items that were begun and did not come to an end: what they left is no output."""
    items = work.plan.items or ()
    left = tuple(items[index] for index in indexes if index is not None and index < len(items))
    return work.with_ledger(broken_off=(*work.ledger.broken_off, *left)) if left else work


def swept_after(work: Work, attempt: Attempt) -> tuple[Work, Signal]:
    """What is left of an attempt is ended before anything else: it must not work on beside the next one.

    Kept in the ledger until it is done, so that the next engine does it where this one is killed meanwhile.
    """
    sweep = Sweep(serial=attempt.serial, root=attempt.process)
    work = work.with_ledger(sweeps=(*work.ledger.sweeps, sweep))
    return work, Signal("kill", sweep.serial, sweep.root)


def without_sweep(work: Work, serial: int) -> Work:
    """Nothing is left of that attempt."""
    return work.with_ledger(sweeps=tuple(each for each in work.ledger.sweeps if each.serial != serial))


def paused_by_restart(work: Work, at_ns: int, said: str) -> Work:
    """A run that has not come to its end, found by a new engine: nothing new is started until the user says so."""
    if work.in_flight:
        more = work.remaining > len(work.ledger.attempts) and work.run.state == "running"
        return work.with_run(reason=said if more else work.run.reason).with_ledger(restarted=True)
    if work.run.state == "paused":
        return work
    return stand_still(work, RESTARTED, at_ns)


def after_jump(work: Work, by_ns: int) -> Work:
    """Time in which nothing could run counts for no attempt. Where it stands still all time is left out anyway."""
    if work.ledger.frozen_ns is not None or not work.in_flight:
        return work
    attempts = tuple(replace(each, still_ns=each.still_ns + by_ns) for each in work.ledger.attempts)
    return work.with_ledger(attempts=attempts)


def resumed_attempts(work: Work, at_ns: int) -> Work:
    """The time of the pause does not count for the attempts in work."""
    still = max(0, at_ns - (work.ledger.frozen_ns or work.run.paused_ns or at_ns))
    attempts = tuple(replace(each, still_ns=each.still_ns + still) for each in work.ledger.attempts)
    return work.with_ledger(attempts=attempts, frozen_ns=None)

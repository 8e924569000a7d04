"""The life of one run as a state machine: what happened goes in, what to do comes out.

Nothing here starts or signals anything. :func:`advance` takes what a run is (:class:`Work`) and one event and gives
what it is now and the commands that the engine has to obey. All times are nanoseconds since the epoch.
"""

from __future__ import annotations

from typing import Literal, TypeAlias, assert_never

from msgspec.structs import replace

from nightdesk.core.jobs.events import (
    Admitted,
    Asked,
    ClockJumped,
    Command,
    Ended,
    EngineRestarted,
    Event,
    FreeModels,
    HandedOver,
    HeldBack,
    ItemsClosed,
    ItemsMoved,
    ItemsSkipped,
    KeeperLost,
    Launch,
    Launched,
    NeverBegan,
    Paused,
    Record,
    Remarked,
    Resumed,
    Signal,
    Stalled,
    Started,
    Swept,
    Ticked,
)
from nightdesk.core.jobs.failures import items_failure, stall_failure, timeout_failure
from nightdesk.core.jobs.interruptions import (
    RESTARTED,
    after_jump,
    broken_off,
    paused_by_restart,
    put_back,
    recounted,
    resumed_attempts,
    stand_still,
    swept_after,
    without_sweep,
)
from nightdesk.core.jobs.item_moves import closed, moved, skipped
from nightdesk.core.jobs.retries import NextTry, next_try
from nightdesk.core.jobs.start_times import Expected
from nightdesk.core.jobs.view import counted, shown, with_progress
from nightdesk.core.jobs.work import Attempt, Delayed, Work, added_usage
from nightdesk.model.errors import UsageError
from nightdesk.model.job import ENDED, Failure, ItemRecord, Run, RunAction, RunState
from nightdesk.model.units import format_duration

STANDS_AFTER_ITEM = "The engine was restarted: after this item the run pauses until it is resumed."
HELD = "Held before its start; resume lets it start."
PAUSING = "Is being paused."
HOLDING = "Pauses after the items in progress."
SAME_NS, NEAR_NS = 30 * 10**9, 5 * 10**9
"""Two estimates of a start that are nearer than this say the same; the second is for a start that is near."""
LOST_TRIES = 2
"""So often more than the job allows an item is tried again when its keeper was lost, which is not the item's fault."""

Step: TypeAlias = tuple[Work, tuple[Command, ...]]


def advance(work: Work, event: Event) -> Step:
    """The run after ``event``, and what has to be done. An event that comes too late changes nothing."""
    if work.run.state in ENDED:
        return (without_sweep(work, event.serial) if isinstance(event, Swept) else work), ()
    after, commands = _advanced(work, event)
    if after.run.expected_ns is not None and (after.run.state != "waiting" or after.ledger.admitted):
        after = after.with_run(expected_ns=None, expected_low_ns=None, expected_high_ns=None)
    return shown(work, after), commands


def _advanced(work: Work, event: Event) -> Step:
    match event:
        case Admitted():
            return _admitted(work)
        case HeldBack():
            return _held_back(work, event), ()
        case HandedOver():
            return _handed_over(work, event)
        case Remarked():
            return work.with_run(reason=event.reason), ()
        case ItemsSkipped():
            return _then(skipped(work, event), event.at_ns)
        case ItemsClosed():
            return _then((closed(work, event), ()), event.at_ns)
        case ItemsMoved():
            return _then(moved(work, event), event.at_ns)
        case Launched():
            return _launched(work, event), ()
        case Started():
            return _started(work, event), ()
        case Ended():
            return _ended(work, event)
        case KeeperLost():
            return _lost(work, event)
        case NeverBegan():
            work = put_back(work, event)
            return (work, ()) if event.pause_ns else _then((work, ()), event.at_ns)
        case Swept():
            return without_sweep(work, event.serial), ()
        case Stalled():
            return _stalled(work, event)
        case Asked():
            return _asked(work, event)
        case Paused():
            return _paused(work, event), ()
        case Resumed():
            return _resumed(work, event)
        case Ticked():
            return _ticked(work, event)
        case ClockJumped():
            return after_jump(work, event.by_ns), ()
        case EngineRestarted():
            return _restarted(work, event)
        case _:
            assert_never(event)


def check_action(run: Run, action: RunAction) -> None:
    """Raises UsageError where a run in this state can't do what was asked."""
    if run.state in ENDED:
        raise UsageError(
            f"{run.id} can't be changed by {action}: it has ended ({run.state}).", "Start the job again."
        )
    if run.state == "stopping" and action not in ("stop", "kill"):
        raise UsageError(f"{run.id} can't do {action}: it is being stopped.", "Wait for its end, or kill it.")
    if action == "hold" and run.items_total is None:
        raise UsageError(f"{run.id} can't be held after an item: it has no items.", "Pause it instead.")


def next_deadline_ns(work: Work) -> int | None:
    """When the run has to be looked at again although nothing happened; None where never."""
    limits = [limit for each in work.ledger.attempts if (limit := work.limit_ns(each)) is not None]
    is_waiting = work.run.state == "waiting" and not work.in_flight
    if is_waiting or work.room:
        limits += [delayed.due_ns for delayed in work.ledger.delayed]
    if is_waiting and work.plan.start_ns is not None and not work.ledger.serial:
        limits.append(work.plan.start_ns)
    return min(limits, default=None)


# Starting


def _admitted(work: Work) -> Step:
    if work.run.state != "waiting" or work.in_flight:
        return work, ()
    work = work.with_run(reason="Is being started.")
    if work.plan.items is None:
        work = work.with_ledger(delayed=tuple(replace(each, due_ns=0) for each in work.ledger.delayed))
    if work.plan.unload_ns is not None:
        work = work.with_run(reason="Asks the model servers what they hold.")
        return work.with_ledger(admitted=True, unloading=True), (FreeModels(),)
    return work.with_ledger(admitted=True), (Launch(),)


def _held_back(work: Work, event: HeldBack) -> Work:
    """A new estimate that says about the same as the one before is none."""
    run, new = work.run, event.expected
    work = work.with_run(reason=event.reason or run.reason)
    if new is None:
        return work.with_run(expected_ns=None, expected_low_ns=None, expected_high_ns=None)
    if run.expected_ns is not None and new != Expected.exactly(new.at_ns):
        same_ns = min(SAME_NS, max(NEAR_NS, (new.at_ns - event.at_ns) // 10))
        if abs(new.at_ns - run.expected_ns) < same_ns:
            return work
    return work.with_run(expected_ns=new.at_ns, expected_low_ns=new.low_ns, expected_high_ns=new.high_ns)


def _handed_over(work: Work, event: HandedOver) -> Step:
    """Too late where the user has paused or ended the run meanwhile, or it was started since."""
    if not work.ledger.unloading or not work.ledger.admitted:
        return work, ()
    work = work.with_run(reason="Is being started.", handover=event.said)
    return work.with_ledger(unloading=False), (Launch(),)


def _launched(work: Work, event: Launched) -> Work:
    ledger = work.ledger
    before = work.delayed(event.index)
    attempt = Attempt(
        serial=ledger.serial + 1,
        index=event.index,
        tries=before.tries + 1 if before else 1,
        launched_ns=event.at_ns,
        log_offset=event.log_offset,
        log_path=event.log_path,
        fallback=before is not None and before.fallback,
    )
    delayed = tuple(each for each in ledger.delayed if each is not before)
    work = work.with_ledger(serial=attempt.serial, attempts=(*ledger.attempts, attempt), delayed=delayed)
    work = work.with_ledger(frozen_ns=None)
    if event.index is not None and before is None:
        work = work.with_queue(pending=work.queue.without([event.index]))
    return work.with_run(command=event.command)


def _started(work: Work, event: Started) -> Work:
    attempt = work.ledger.attempt(event.serial)
    if attempt is None:
        return work
    attempt = replace(attempt, keeper=event.keeper, process=event.process, started_ns=event.at_ns)
    work = with_progress(work.with_attempt(attempt), event.at_ns)
    work = work.with_run(started_ns=work.run.started_ns or event.at_ns)
    if work.run.state in ("stopping", "paused"):
        return work
    kept = work.run.reason if work.ledger.restarted else None
    return work.with_run(state="running", reason=HOLDING if work.ledger.holding else kept)


# Ends


def _ended(work: Work, event: Ended) -> Step:
    attempt = work.ledger.attempt(event.serial)
    if attempt is None:
        return work, ()
    usage = added_usage(work.run.usage, event.usage)
    work = work.with_run(exit_status=event.exit_status, signal=event.signal, usage=usage)
    work = work.without_attempt(attempt)
    if work.ledger.ending is not None:
        return _stopped_one(work, attempt, event.at_ns, is_whole=event.exit_status == 0)
    failure = event.failure
    if attempt.asked == "timeout" and work.plan.timeout_ns is not None:
        failure = timeout_failure(work.plan.timeout_ns)
    elif attempt.asked == "stalled":
        failure = stall_failure(attempt.evidence)
    if failure is None:
        return _succeeded(work, attempt, event)
    following = next_try(work.plan, attempt, failure)
    if following is None and attempt.index is None:
        return _finished(work, event.at_ns, "failed", failure), ()
    ends: tuple[Command, ...] = ()
    if failure.kind != "not_found":
        work, end = swept_after(work, attempt)
        ends = (end,)
    if following is not None:
        work, commands = _tried_later(work, attempt, failure, following, event.at_ns)
    else:
        work, commands = _item_over(work, attempt, failure, event)
    return work, (*ends, *commands)


def _succeeded(work: Work, attempt: Attempt, event: Ended) -> Step:
    if attempt.index is None:
        return _finished(work, event.at_ns, "done"), ()
    return _item_over(work, attempt, None, event)


def _stopped_one(work: Work, attempt: Attempt, at_ns: int, *, is_whole: bool = False) -> Step:
    """The user ends the run: what was in work is not done, and nobody says that it failed."""
    if attempt.index is not None:
        work = work.with_queue(pending=(attempt.index, *work.queue.pending))
        work = work if is_whole else broken_off(work, attempt.index)
    return (work if work.in_flight else _finished(work, at_ns, "stopped")), ()


def _item_over(work: Work, attempt: Attempt, failure: Failure | None, event: Ended) -> Step:
    """After the last attempt of an item."""
    items, queue, index = work.plan.items or (), work.queue, attempt.index or 0
    worked_ns = max(0, event.at_ns - attempt.launched_ns - attempt.still_ns)
    ledger = work.ledger
    work = work.with_ledger(worked=ledger.worked + 1, worked_ns=ledger.worked_ns + worked_ns)
    if failure is None:
        work = work.with_queue(done=queue.done + 1)
    else:
        work = work.with_queue(failed=(*queue.failed, index))
        if failure.kind == "not_found":
            work = work.with_ledger(doomed=failure)
    record = ItemRecord(
        item=items[index],
        index=index,
        state="failed" if failure else "done",
        attempts=attempt.tries,
        serial=attempt.serial,
        started_ns=attempt.started_ns,
        ended_ns=event.at_ns,
        failure=failure,
        log_path=attempt.log_path,
        log_offset=attempt.log_offset,
        fallback=attempt.fallback,
    )
    return _then((work, (Record(record),)), event.at_ns)


def _tried_later(work: Work, attempt: Attempt, failure: Failure, following: NextTry, at_ns: int) -> Step:
    plan, due_ns = work.plan, at_ns + following.pause_ns
    delayed = Delayed(index=attempt.index, tries=attempt.tries, due_ns=due_ns, fallback=following.fallback)
    work = work.with_ledger(delayed=(*work.ledger.delayed, delayed))
    said = f"Attempt {attempt.tries} of {plan.attempts} failed ({failure.evidence})"
    if attempt.index is not None:
        work, commands = _then((work, ()), at_ns)
        quiet = work.run.state == "waiting" or (work.run.state == "running" and not work.ledger.restarted)
        item = (plan.items or ())[attempt.index]
        said = f"{item}: {said}; {following.words}."
        return (work.with_run(reason=said) if quiet else work), commands
    if work.run.state == "paused" or work.ledger.restarted:
        work = work.with_run(state="paused", paused_ns=at_ns, reason=f"{said}; resume tries again.")
    else:
        work = work.with_run(state="waiting", reason=f"{said}; {following.words}.")
    return work.with_ledger(admitted=False), ()


def _then(step: Step, at_ns: int) -> Step:
    """What follows once items came or went: more of them, a pause, or the end."""
    work, commands = step
    if work.run.state in ENDED or work.plan.items is None:
        return step
    work = with_progress(work, at_ns)
    ledger = work.ledger
    if work.in_flight:
        return work, (*commands, Launch()) if work.room and _has_next(work, at_ns) else commands
    if ledger.doomed:
        return _finished(work, at_ns, "failed", ledger.doomed), commands
    if not work.remaining:
        return _finished(work, at_ns), commands
    if not ledger.admitted:
        return recounted(work, at_ns), commands
    if ledger.restarted:
        return stand_still(work, RESTARTED, at_ns), commands
    if work.run.state == "paused" or ledger.holding:
        return stand_still(work, "It was paused", at_ns), commands
    if _has_next(work, at_ns):
        return work, (*commands, Launch())
    reason = work.queue.why_closed or work.run.reason
    return work.with_run(state="waiting", reason=reason).with_ledger(admitted=False), commands


def _has_next(work: Work, at_ns: int) -> bool:
    return next(work.next_items(at_ns), None) is not None


def _finished(work: Work, at_ns: int, state: RunState | None = None, failure: Failure | None = None) -> Work:
    """The run at its end. Without a ``state`` its items decide."""
    items, failed = work.plan.items or (), work.queue.failed
    if state is None:
        state = "failed" if failed else "done"
        if failed:
            failure = items_failure([items[index] for index in failed[:6]], len(failed), len(items))
    remark = work.run.reason if work.run.state == "stopping" else None
    if work.plan.items is not None:
        # Of many attempts none speaks for the run.
        work = work.with_run(exit_status={"done": 0, "failed": 1}.get(state), signal=None)
    work = broken_off(work, *(each.index for each in work.ledger.delayed))
    work = work.with_ledger(attempts=(), delayed=(), admitted=False, pausing=False)
    if work.run.flights:
        work = work.with_run(flights=())
    return work.with_run(state=state, failure=failure, ended_ns=at_ns, paused_ns=None, reason=remark)


def _lost(work: Work, event: KeeperLost) -> Step:
    attempt = work.ledger.attempt(event.serial)
    if attempt is None:
        return work, ()
    if attempt.index is None:
        lost = Failure(kind="lost", evidence=event.reason)
        return _finished(work, event.at_ns, "lost", lost).with_run(reason=event.reason), ()
    work, end = swept_after(work, attempt)
    if work.ledger.ending is not None:
        work, commands = _stopped_one(work.without_attempt(attempt), attempt, event.at_ns)
        return work, (end, *commands)
    if attempt.tries < work.plan.attempts + LOST_TRIES:
        again = Delayed(
            index=attempt.index, tries=attempt.tries, due_ns=event.at_ns, fallback=attempt.fallback
        )
        work = work.without_attempt(attempt).with_ledger(delayed=(*work.ledger.delayed, again))
        work, commands = _then((work, ()), event.at_ns)
        return work, (end, *commands)
    failure = Failure(kind="lost", evidence=event.reason)
    over = Ended(attempt.serial, event.at_ns, failure=failure)
    work, commands = _item_over(work.without_attempt(attempt), attempt, failure, over)
    return work, (end, *commands)


# What the user asks


def _asked(work: Work, event: Asked) -> Step:
    check_action(work.run, event.action)
    match event.action:
        case "pause":
            return _ask_pause(work, event.at_ns)
        case "resume":
            return _ask_resume(work, event.at_ns)
        case "hold":
            return _ask_hold(work, event.at_ns)
        case "stop" | "kill":
            return _ask_end(work, event.action, event.at_ns)


def _ask_pause(work: Work, at_ns: int) -> Step:
    if work.run.state == "paused":
        return work, ()
    if work.in_flight:
        frozen_ns = work.ledger.frozen_ns or at_ns
        work = work.with_run(reason=PAUSING).with_ledger(pausing=True, frozen_ns=frozen_ns)
        return work, (Signal("pause"),)
    held = work.with_run(state="paused", paused_ns=at_ns, reason=HELD)
    return held.with_ledger(admitted=False, unloading=False), ()


def _ask_hold(work: Work, at_ns: int) -> Step:
    if not work.in_flight:
        return _ask_pause(work, at_ns)
    return work.with_run(reason=HOLDING).with_ledger(holding=True), ()


def _ask_resume(work: Work, at_ns: int) -> Step:
    paused = work.run.state == "paused" or work.ledger.pausing
    work = work.with_ledger(restarted=False, holding=False, pausing=False)
    if work.in_flight:
        if paused:
            return work, (Signal("resume"),)
        return _then((work.with_run(reason=None), ()), at_ns)
    return (_queued_again(work) if paused else work), ()


def _queued_again(work: Work) -> Work:
    """A run that was paused and has nothing in work waits for its turn; nothing in it waits longer than that."""
    work = work.with_run(state="waiting", paused_ns=None, reason=None)
    delayed = tuple(replace(each, due_ns=0) for each in work.ledger.delayed)
    return work.with_ledger(admitted=False, delayed=delayed)


def _ask_end(work: Work, action: Literal["stop", "kill"], at_ns: int) -> Step:
    if not work.in_flight:
        return _finished(work, at_ns, "stopped"), ()
    return work.with_run(state="stopping", reason=None).with_ledger(ending=action), (Signal(action),)


def _paused(work: Work, event: Paused) -> Work:
    if work.ledger.ending:
        return work
    frozen_ns = work.ledger.frozen_ns or event.at_ns
    work = work.with_ledger(pausing=False, frozen_ns=frozen_ns)
    return work.with_run(state="paused", paused_ns=event.at_ns, reason=None)


def _resumed(work: Work, event: Resumed) -> Step:
    if work.ledger.ending:
        return work, ()
    if not work.in_flight:
        # Its last attempt ended before it was woken.
        return (_queued_again(work) if work.run.state == "paused" else work), ()
    work = resumed_attempts(work, event.at_ns)
    return _then((work.with_run(state="running", paused_ns=None, reason=None), ()), event.at_ns)


# Time


def _ticked(work: Work, event: Ticked) -> Step:
    commands: list[Command] = []
    for attempt in work.ledger.attempts:
        limit = work.limit_ns(attempt)
        if limit is not None and event.at_ns >= limit:
            reason = f"Is being ended: it was not done within {format_duration(work.plan.timeout_ns)}."
            work = work.with_run(reason=reason).with_attempt(replace(attempt, asked="timeout"))
            commands.append(Signal("stop", _serial(work, attempt)))
    due = any(each.due_ns <= event.at_ns for each in work.ledger.delayed)
    if due and work.room:
        commands.append(Launch())
    return work, tuple(commands)


def _stalled(work: Work, event: Stalled) -> Step:
    attempt = work.ledger.attempt(event.serial)
    if attempt is None or attempt.asked or work.ledger.ending or not work.goes_on:
        return work, ()
    reason = f"Is being ended: {event.evidence}"
    stalled = replace(attempt, asked="stalled", evidence=event.evidence)
    work = work.with_run(reason=reason).with_attempt(stalled)
    return work, (Signal("stop", _serial(work, attempt)),)


def _serial(work: Work, attempt: Attempt) -> int | None:
    """Where only one attempt can be in work, all processes of the run are its own."""
    return attempt.serial if work.plan.parallel > 1 else None


def _restarted(work: Work, event: EngineRestarted) -> Step:
    work = counted(work)
    if not work.in_flight and work.ledger.ending:
        return _finished(work, event.at_ns, "stopped"), ()
    if not work.in_flight and work.plan.items is not None and not work.remaining:
        return _finished(work, event.at_ns), ()
    return paused_by_restart(work, event.at_ns, STANDS_AFTER_ITEM), ()

"""The life of one run as a state machine: what happened goes in, what to do comes out.

Nothing here starts or signals anything. :func:`advance` takes what a run is (:class:`Work`) and one event and gives
what it is now and the commands that the engine has to obey. All times are nanoseconds since the epoch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, assert_never

from msgspec.structs import replace

from nightdesk.core.failures import FINAL, items_failure, timeout_failure
from nightdesk.core.plans import Plan
from nightdesk.model.base import Noun, ProcessKey
from nightdesk.model.errors import UsageError
from nightdesk.model.job import ENDED, Failure, Run, RunAction, RunState, Usage
from nightdesk.model.logs import Progress
from nightdesk.model.process import TreeAction
from nightdesk.model.units import format_duration

STANDS_AFTER_ITEM = "The engine was restarted: after this item the run stands still until it is resumed."
HELD = "Held before its start; resume lets it start."


class Ledger(Noun, frozen=True, kw_only=True):
    """What a run has behind it, beyond what viewers see. Kept beside the run after each step."""

    serial: int = 0
    """Attempts launched in the life of the run: tells the files of one attempt from those of another."""
    position: int = 0
    """Index of the item in work, or of the next one."""
    tries: int = 0
    """Attempts of this item, or of the command."""
    in_flight: bool = False
    """An attempt was launched and its end is not known yet."""
    admitted: bool = False
    """The queue has let the run start."""
    restarted: bool = False
    """The engine went away meanwhile: nothing new is started until the user says so."""
    retry_at_ns: int | None = None
    launched_ns: int | None = None
    still_ns: int = 0
    """How long the attempt in work was paused."""
    log_offset: int = 0
    """Where the output of the attempt in work begins in the log."""
    asked: Literal["stop", "kill", "timeout"] | None = None
    failed: tuple[str, ...] = ()
    skipped: int = 0
    worked: int = 0
    """Items that really ran, for the rate."""
    worked_ns: int = 0


@dataclass(frozen=True, slots=True)
class Work:
    """A run with all that is known of it."""

    run: Run
    plan: Plan
    ledger: Ledger

    @property
    def remaining(self) -> int:
        """Items that have not been tried to the end."""
        return len(self.plan.items) - self.ledger.position if self.plan.items is not None else 0


@dataclass(frozen=True, slots=True)
class Admitted:
    """The queue lets the run start."""


@dataclass(frozen=True, slots=True)
class HeldBack:
    """The queue does not let it start, and why."""

    reason: str


@dataclass(frozen=True, slots=True)
class ItemsSkipped:
    """The next items have valid outputs already."""

    count: int
    at_ns: int


@dataclass(frozen=True, slots=True)
class Launched:
    """A keeper is being started."""

    command: str
    log_offset: int
    at_ns: int


@dataclass(frozen=True, slots=True)
class Started:
    """The user's command runs."""

    keeper: ProcessKey
    process: ProcessKey
    at_ns: int


@dataclass(frozen=True, slots=True)
class Ended:
    """The attempt is over. ``failure`` is None where it succeeded."""

    at_ns: int
    exit_status: int | None = None
    signal: int | None = None
    usage: Usage | None = None
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class KeeperLost:
    """The keeper went away without a result."""

    reason: str
    at_ns: int


@dataclass(frozen=True, slots=True)
class Asked:
    """The user asked for something."""

    action: RunAction
    at_ns: int


@dataclass(frozen=True, slots=True)
class Paused:
    """All processes of the run stand still."""

    at_ns: int


@dataclass(frozen=True, slots=True)
class Resumed:
    """They go on."""

    at_ns: int


@dataclass(frozen=True, slots=True)
class Remarked:
    """Something the user should know about the run."""

    reason: str


@dataclass(frozen=True, slots=True)
class Ticked:
    """Time went by."""

    at_ns: int


@dataclass(frozen=True, slots=True)
class EngineRestarted:
    """A new engine found the run."""

    at_ns: int


Event: TypeAlias = (
    Admitted
    | HeldBack
    | ItemsSkipped
    | Launched
    | Started
    | Ended
    | KeeperLost
    | Asked
    | Paused
    | Resumed
    | Remarked
    | Ticked
    | EngineRestarted
)


@dataclass(frozen=True, slots=True)
class Launch:
    """Start an attempt of the item at the ledger's position, or of the command."""


@dataclass(frozen=True, slots=True)
class Signal:
    """Signal every process of the run."""

    action: TreeAction


Command: TypeAlias = Launch | Signal
Step: TypeAlias = tuple[Work, tuple[Command, ...]]


def advance(work: Work, event: Event) -> Step:
    """The run after ``event``, and what has to be done. An event that comes too late changes nothing."""
    if work.run.state in ENDED:
        return work, ()
    match event:
        case Admitted():
            return _admitted(work)
        case HeldBack() | Remarked():
            return _with(work, reason=event.reason), ()
        case ItemsSkipped():
            return _skipped(work, event)
        case Launched():
            return _launched(work, event), ()
        case Started():
            return _started(work, event), ()
        case Ended():
            return _ended(work, event)
        case KeeperLost():
            return _lost(work, event), ()
        case Asked():
            return _asked(work, event)
        case Paused():
            return _with(work, state="paused", paused_ns=event.at_ns, reason=None), ()
        case Resumed():
            return _resumed(work, event), ()
        case Ticked():
            return _ticked(work, event)
        case EngineRestarted():
            return _restarted(work, event), ()
        case _:
            assert_never(event)


def check_action(run: Run, action: RunAction) -> None:
    """Raises UsageError where a run in this state can't do what was asked."""
    if run.state in ENDED:
        raise UsageError(
            f"{run.id} can't be changed by {action}: it has ended ({run.state}).", "Start the job again."
        )
    if run.state == "stopping" and action in ("pause", "resume"):
        raise UsageError(f"{run.id} can't do {action}: it is being stopped.", "Wait for its end, or kill it.")


def next_deadline_ns(work: Work) -> int | None:
    """When the run has to be looked at again although nothing happened; None where never."""
    if work.run.state == "waiting" and not work.ledger.in_flight:
        return work.ledger.retry_at_ns
    return _time_limit_ns(work)


def retry_pause_ns(plan: Plan, tries: int) -> int:
    """How long to wait after this many failed attempts: doubled each time, up to the longest."""
    return min(plan.backoff_ns << min(tries - 1, 30), plan.longest_pause_ns)


def _with(work: Work, /, **changes: object) -> Work:
    return Work(replace(work.run, **changes), work.plan, work.ledger)


def _noted(work: Work, /, **changes: object) -> Work:
    return Work(work.run, work.plan, replace(work.ledger, **changes))


def _admitted(work: Work) -> Step:
    if work.run.state != "waiting" or work.ledger.in_flight:
        return work, ()
    return _noted(_with(work, reason="Is being started."), admitted=True, retry_at_ns=None), (Launch(),)


def _skipped(work: Work, event: ItemsSkipped) -> Step:
    ledger = work.ledger
    work = _noted(work, position=ledger.position + event.count, skipped=ledger.skipped + event.count, tries=0)
    work = _with(work, items_done=work.run.items_done + event.count)
    work = _with(work, progress=_progress(work, event.at_ns))
    return (work if work.remaining else _finished(work, event.at_ns)), ()


def _launched(work: Work, event: Launched) -> Work:
    ledger = work.ledger
    work = _noted(
        work,
        serial=ledger.serial + 1,
        tries=ledger.tries + 1,
        in_flight=True,
        launched_ns=event.at_ns,
        log_offset=event.log_offset,
        still_ns=0,
        asked=None,
    )
    items = work.plan.items
    item = items[ledger.position] if items is not None else work.plan.item
    attempt = work.ledger.tries
    return _with(work, item=item, command=event.command, attempt=attempt, keeper=None, process=None)


def _started(work: Work, event: Started) -> Work:
    if not work.ledger.in_flight:
        return work
    work = _with(
        work, keeper=event.keeper, process=event.process, started_ns=work.run.started_ns or event.at_ns
    )
    if work.plan.items is not None:
        work = _with(work, progress=_progress(work, event.at_ns))
    return work if work.run.state == "stopping" else _with(work, state="running", reason=None)


def _ended(work: Work, event: Ended) -> Step:
    if not work.ledger.in_flight:
        return work, ()
    asked = work.ledger.asked
    usage = _sum(work.run.usage, event.usage)
    worked_ns = event.at_ns - (work.ledger.launched_ns or event.at_ns) - work.ledger.still_ns
    work = _with(work, exit_status=event.exit_status, signal=event.signal, usage=usage)
    work = _noted(work, in_flight=False, asked=None)
    if asked in ("stop", "kill"):
        return _finished(work, event.at_ns, "stopped"), ()
    failure = event.failure
    if asked == "timeout" and work.plan.timeout_ns is not None:
        failure = timeout_failure(work.plan.timeout_ns)
    if failure is not None and _may_retry(work, failure):
        return _retried_later(work, failure, event.at_ns), ()
    if work.plan.items is None:
        return _finished(work, event.at_ns, "failed" if failure else "done", failure), ()
    work = _noted(work, worked=work.ledger.worked + 1, worked_ns=work.ledger.worked_ns + max(0, worked_ns))
    return _item_over(work, failure, event.at_ns)


def _may_retry(work: Work, failure: Failure) -> bool:
    return failure.kind not in FINAL and work.ledger.tries < work.plan.attempts


def _retried_later(work: Work, failure: Failure, at_ns: int) -> Work:
    ledger, plan = work.ledger, work.plan
    pause = retry_pause_ns(plan, ledger.tries)
    said = f"Attempt {ledger.tries} of {plan.attempts} failed ({failure.evidence})"
    if work.run.state == "paused" or ledger.restarted:
        work = _with(work, state="paused", paused_ns=at_ns, reason=f"{said}; resume tries again.")
        return _noted(work, admitted=False)
    work = _with(work, state="waiting", reason=f"{said}; tries again after {format_duration(pause)}.")
    return _noted(work, admitted=False, retry_at_ns=at_ns + pause)


def _item_over(work: Work, failure: Failure | None, at_ns: int) -> Step:
    """After the last attempt of an item: on to the next one, unless there is none or something stands against it."""
    run, ledger = work.run, work.ledger
    items = work.plan.items or ()
    if failure is None:
        work = _with(work, items_done=run.items_done + 1)
    else:
        work = _with(work, items_failed=run.items_failed + 1)
        work = _noted(work, failed=(*ledger.failed, items[ledger.position]))
    work = _noted(work, position=ledger.position + 1, tries=0)
    work = _with(work, progress=_progress(work, at_ns))
    if failure is not None and failure.kind == "not_found":
        return _finished(work, at_ns, "failed", failure), ()
    if not work.remaining:
        return _finished(work, at_ns), ()
    if ledger.restarted:
        return _stand_still(work, "The engine was restarted", at_ns), ()
    if run.state == "paused":
        return _stand_still(work, "It was paused", at_ns), ()
    return work, (Launch(),)


def _finished(work: Work, at_ns: int, state: RunState | None = None, failure: Failure | None = None) -> Work:
    """The run at its end. Without a ``state`` its items decide."""
    if state is None:
        state = "failed" if work.ledger.failed else "done"
        if work.ledger.failed:
            failure = items_failure(work.ledger.failed, len(work.plan.items or ()))
    remark = work.run.reason if work.run.state == "stopping" else None
    work = _noted(work, in_flight=False, admitted=False, retry_at_ns=None)
    return _with(work, state=state, failure=failure, ended_ns=at_ns, paused_ns=None, reason=remark)


def _lost(work: Work, event: KeeperLost) -> Work:
    work = _finished(work, event.at_ns, "lost", Failure(kind="lost", evidence=event.reason))
    return _with(work, reason=event.reason)


def _asked(work: Work, event: Asked) -> Step:
    check_action(work.run, event.action)
    match event.action:
        case "pause":
            return _ask_pause(work, event.at_ns)
        case "resume":
            return _ask_resume(work)
        case "stop" | "kill":
            return _ask_end(work, event.action, event.at_ns)


def _ask_pause(work: Work, at_ns: int) -> Step:
    if work.run.state == "paused":
        return work, ()
    if work.ledger.in_flight:
        return work, (Signal("pause"),)
    held = _with(work, state="paused", paused_ns=at_ns, reason=HELD)
    return _noted(held, admitted=False), ()


def _ask_resume(work: Work) -> Step:
    paused = work.run.state == "paused"
    work = _noted(work, restarted=False)
    if work.ledger.in_flight:
        return (work, (Signal("resume"),)) if paused else (_with(work, reason=None), ())
    if paused:
        work = _with(work, state="waiting", paused_ns=None, reason=None)
        work = _noted(work, admitted=False, retry_at_ns=None)
    return work, ()


def _ask_end(work: Work, action: Literal["stop", "kill"], at_ns: int) -> Step:
    if not work.ledger.in_flight:
        return _finished(work, at_ns, "stopped"), ()
    return _noted(_with(work, state="stopping", reason=None), asked=action), (Signal(action),)


def _resumed(work: Work, event: Resumed) -> Work:
    still = event.at_ns - (work.run.paused_ns or event.at_ns)
    work = _noted(work, still_ns=work.ledger.still_ns + max(0, still))
    return _with(work, state="running", paused_ns=None, reason=None)


def _ticked(work: Work, event: Ticked) -> Step:
    limit = _time_limit_ns(work)
    if limit is None or event.at_ns < limit:
        return work, ()
    reason = f"Is being ended: it was not done within {format_duration(work.plan.timeout_ns)}."
    return _noted(_with(work, reason=reason), asked="timeout"), (Signal("stop"),)


def _time_limit_ns(work: Work) -> int | None:
    """When the attempt in work has used up its time. Time in which it was paused does not count."""
    ledger, timeout = work.ledger, work.plan.timeout_ns
    if timeout is None or work.run.state != "running" or not ledger.in_flight or ledger.asked is not None:
        return None
    return (ledger.launched_ns or 0) + ledger.still_ns + timeout


def _restarted(work: Work, event: EngineRestarted) -> Work:
    if work.ledger.in_flight:
        reason = STANDS_AFTER_ITEM if work.remaining > 1 and work.run.state == "running" else work.run.reason
        return _noted(_with(work, reason=reason), restarted=True)
    if work.run.state == "paused":
        return work
    return _stand_still(work, "The engine was restarted", event.at_ns)


def _stand_still(work: Work, why: str, at_ns: int) -> Work:
    """Nothing is in work and nothing starts by itself."""
    left = work.remaining
    what = (
        f"goes on with {left} item{'s' if left != 1 else ''}" if work.plan.items is not None else "starts it"
    )
    work = _with(work, state="paused", paused_ns=work.run.paused_ns or at_ns, reason=f"{why}; resume {what}.")
    return _noted(work, admitted=False)


def _progress(work: Work, at_ns: int) -> Progress:
    """How far a run is that drives its items; the rate is that of the items that really ran."""
    ledger = work.ledger
    rate = ledger.worked / ledger.worked_ns * 1e9 if ledger.worked and ledger.worked_ns else None
    items = work.plan.items or ()
    return Progress(
        done=ledger.position,
        total=len(items),
        unit="items",
        item=items[ledger.position] if ledger.in_flight and ledger.position < len(items) else None,
        rate_per_s=rate,
        eta_ns=round(work.remaining / rate * 1e9) if rate else None,
        at_ns=at_ns,
        source="items",
    )


def _sum(before: Usage | None, now: Usage | None) -> Usage | None:
    """Resources of all attempts together; memory is that of the largest."""
    if before is None or now is None:
        return now or before
    return Usage(
        user_ns=before.user_ns + now.user_ns,
        system_ns=before.system_ns + now.system_ns,
        max_rss_bytes=max(before.max_rss_bytes, now.max_rss_bytes),
    )

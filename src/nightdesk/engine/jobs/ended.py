"""A failed attempt as its run knew it, for those who keep what was known of it."""

from __future__ import annotations

from dataclasses import dataclass

from nightdesk.core.jobs.events import Ended, KeeperLost
from nightdesk.core.jobs.failures import stall_failure, timeout_failure
from nightdesk.core.jobs.work import Attempt, Work
from nightdesk.engine.jobs.runs import RunFolder
from nightdesk.model.base import ProcessKey
from nightdesk.model.diagnosis import FailedAttempt
from nightdesk.model.job import Failure


@dataclass(frozen=True, slots=True)
class EndedAttempt:
    """An attempt that failed."""

    what: FailedAttempt
    folder: RunFolder
    log_path: str
    log_offset: int
    """Where its output begins in the log."""
    launched_ns: int
    started_ns: int | None
    exit_status: int | None
    signal: int | None
    process: ProcessKey | None
    is_alone: bool
    """No other attempt of the run was in work beside it."""


def failed_attempt(
    work: Work, attempt: Attempt, event: Ended | KeeperLost, folder: RunFolder, log_path: str
) -> EndedAttempt | None:
    """The attempt as it failed; None where it did not, or the user ended it. ``work`` is the run before."""
    failure = failure_in(work, attempt, event)
    if failure is None or work.ledger.ending:
        return None
    items = work.plan.items
    what = FailedAttempt(
        run=work.run.id,
        job=work.run.job,
        serial=attempt.serial,
        item=work.plan.item if attempt.index is None or items is None else items[attempt.index],
        attempt=attempt.tries,
        ended_ns=event.at_ns,
        failure=failure,
    )
    return EndedAttempt(
        what=what,
        folder=folder,
        log_path=log_path,
        log_offset=attempt.log_offset,
        launched_ns=attempt.launched_ns,
        started_ns=attempt.started_ns,
        exit_status=event.exit_status if isinstance(event, Ended) else None,
        signal=event.signal if isinstance(event, Ended) else None,
        process=attempt.process,
        is_alone=work.plan.parallel == 1,
    )


def failure_in(work: Work, attempt: Attempt, event: Ended | KeeperLost) -> Failure | None:
    """Why the attempt failed, as its record says it."""
    if isinstance(event, KeeperLost):
        return Failure(kind="lost", evidence=event.reason)
    if attempt.asked == "timeout" and work.plan.timeout_ns is not None:
        return timeout_failure(work.plan.timeout_ns)
    return stall_failure(attempt.evidence) if attempt.asked == "stalled" else event.failure

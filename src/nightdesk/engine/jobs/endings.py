"""Says how an attempt ended, from what is left of it: its result, its log, its processes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from nightdesk.core.jobs.failures import end_failure, invalid_failure, start_failure
from nightdesk.core.jobs.work import Attempt, Work
from nightdesk.engine.jobs.items import missing_output
from nightdesk.engine.jobs.outputs import OutputJudge
from nightdesk.engine.jobs.runs import AttemptFolder, Result, RunFolder
from nightdesk.engine.processes.signals import is_alive
from nightdesk.model.job import Failure
from nightdesk.model.process import SignalReport


def failure_of(
    work: Work,
    folder: RunFolder,
    log: Path,
    attempt: Attempt,
    result: Result,
    unwanted: Callable[[], bool],
    judge: OutputJudge,
) -> Failure | None:
    """Why an attempt failed; None where it succeeded. Reads the end of the log; looks whether the job's rules and its
    check accept the output, which is broken off when ``unwanted`` becomes true.
    """
    plan = work.plan
    if result.step is not None:
        return start_failure(result.step, result.errno, plan.arguments[0], plan.folder)
    if result.exit_status == 0:
        if work.ledger.ending:
            return None
        if attempt.index is None:
            reason = judge.refuses_batch(plan, folder.path, unwanted)
        else:
            reason = missing_output(plan, attempt.index) if plan.rules is None else None
            reason = reason or judge.refuses(plan, attempt.index, folder.path, unwanted)
        return invalid_failure(reason) if reason else None
    tail = folder.log_tail(log, attempt.log_offset)
    return end_failure(result.exit_status, result.signal, tail)


def lost_reason(attempt: Attempt, folder: AttemptFolder) -> str:
    """Why nothing is known of the end of an attempt, and what still runs of it."""
    reason = "Its keeper ended without a result: it was killed, or the machine was restarted"
    if not folder.path.exists():
        reason = "Its folder was removed while it worked, and with it what became of it"
    if attempt.process is not None and is_alive(attempt.process):
        return f"{reason}. Its command still runs as process {attempt.process.pid}."
    return f"{reason}."


def remark_of(report: SignalReport) -> str | None:
    """What a signal could not do, if anything."""
    if report.left:
        pids = ", ".join(str(member.key.pid) for member in report.left)
        return f"These processes could not be ended: {pids}."
    return " ".join(report.refused) or None

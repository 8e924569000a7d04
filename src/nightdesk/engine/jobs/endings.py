"""Says how an attempt ended, from what is left of it: its result, its log, its processes."""

from __future__ import annotations

from nightdesk.core.failures import end_failure, start_failure
from nightdesk.core.jobs import Work
from nightdesk.engine.jobs.active import ActiveRun
from nightdesk.engine.jobs.runs import Result
from nightdesk.engine.processes.signals import is_alive
from nightdesk.model.job import Failure
from nightdesk.model.process import SignalReport


def failure_of(active: ActiveRun, result: Result) -> Failure | None:
    """Why the attempt in work failed; None where it succeeded. Reads the end of the log."""
    if result.step is not None:
        plan = active.work.plan
        return start_failure(result.step, result.errno, plan.arguments[0], plan.folder)
    if result.exit_status == 0:
        return None
    tail = active.folder.log_tail(active.log, active.work.ledger.log_offset)
    return end_failure(result.exit_status, result.signal, tail)


def lost_reason(work: Work) -> str:
    """Why nothing is known of the end of an attempt, and what still runs of it."""
    run = work.run
    reason = "Its keeper went away without a result: it was killed, or the machine was started again"
    if run.process is not None and is_alive(run.process):
        return f"{reason}. Its command still runs as process {run.process.pid}."
    return f"{reason}."


def remark_of(report: SignalReport) -> str | None:
    """What a signal could not do, if anything."""
    if report.left:
        pids = ", ".join(str(member.key.pid) for member in report.left)
        return f"These processes could not be ended: {pids}."
    return " ".join(report.refused) or None

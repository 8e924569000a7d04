"""What follows a failed attempt: the same again after a pause, the fallback, or nothing."""

from __future__ import annotations

from dataclasses import dataclass

from nightdesk.core.failures import FINAL
from nightdesk.core.plans import Plan
from nightdesk.core.work import Attempt
from nightdesk.model.job import Failure
from nightdesk.model.units import format_duration


@dataclass(frozen=True, slots=True)
class NextTry:
    """Another attempt."""

    pause_ns: int
    fallback: bool
    """By the job's fallback command."""

    @property
    def words(self) -> str:
        """For the end of a sentence."""
        when = f" after {format_duration(self.pause_ns)}" if self.pause_ns else " at once"
        return f"the fallback follows{when}" if self.fallback else f"tries again{when}"


def next_try(plan: Plan, attempt: Attempt, failure: Failure) -> NextTry | None:
    """The attempt after a failed one; None where none is left, or none could end otherwise.

    What the same command can't mend (a model that is not there) the fallback may, and needs no pause for it.
    """
    if attempt.tries >= plan.attempts:
        return None
    is_final = failure.kind in FINAL
    can_change = bool(plan.fallback) and not attempt.fallback
    if is_final:
        return NextTry(0, fallback=True) if can_change else None
    falls_back = attempt.fallback or (can_change and attempt.tries >= plan.fallback_after)
    return NextTry(retry_pause_ns(plan, attempt.tries), falls_back)


def retry_pause_ns(plan: Plan, tries: int) -> int:
    """How long to wait after this many failed attempts: doubled each time, up to the longest."""
    return min(plan.backoff_ns << min(tries - 1, 30), plan.longest_pause_ns)

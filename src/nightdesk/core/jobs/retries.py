"""What follows a failed attempt: the same again after a pause, the fallback, or nothing."""

from __future__ import annotations

from dataclasses import dataclass
from zlib import crc32

from nightdesk.core.jobs.failures import FINAL
from nightdesk.core.jobs.plans import Plan
from nightdesk.core.jobs.work import Attempt
from nightdesk.model.job import Failure
from nightdesk.model.units import format_duration

SPREAD = 5
"""The pause of an item is shortened by up to a fifth: what failed together should not come back together."""


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

    What the same command can't mend (a model that is not there, a context that is too small) the fallback may, and
    needs no pause for it.
    """
    if attempt.tries >= plan.attempts:
        return None
    can_change = bool(plan.fallback) and not attempt.fallback
    if can_change and failure.kind in (*FINAL, "context_cut"):
        return NextTry(0, fallback=True)
    if failure.kind in FINAL:
        return None
    falls_back = attempt.fallback or (can_change and attempt.tries >= plan.fallback_after)
    return NextTry(_spread(retry_pause_ns(plan, attempt.tries), attempt), falls_back)


def retry_pause_ns(plan: Plan, tries: int) -> int:
    """How long to wait after this many failed attempts: doubled each time, up to the longest."""
    return min(plan.backoff_ns << min(tries - 1, 30), plan.longest_pause_ns)


def _spread(pause_ns: int, attempt: Attempt) -> int:
    """By the item and its attempt, not by chance: the same events always give the same run."""
    if attempt.index is None:
        return pause_ns
    share = crc32(f"{attempt.index} {attempt.tries} {attempt.launched_ns}".encode()) / 2**32
    return pause_ns - int(pause_ns * share / SPREAD)

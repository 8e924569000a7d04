"""Looks for the cause of a failure that the log does not tell: in the verdicts on the exchanges of the attempt."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from nightdesk.core.jobs.failures import UNEXPLAINED, context_failure
from nightdesk.core.jobs.work import Attempt, Work
from nightdesk.model.job import Failure

CutContext: TypeAlias = Callable[[str, str | None, int], Awaitable[str | None]]
"""Given run, item and since when; gives evidence that a prompt did not fit, None where none is known."""
LOOKS, PAUSE_SECONDS = 10, 0.1
"""A reply that came right before the end is read a moment after it."""


async def _none_known(run_id: str, item: str | None, since_ns: int) -> str | None:
    return None


class Causes:
    """What exchanges tell of failures."""

    def __init__(
        self, traffic: Callable[[str], int] = lambda run: 0, cut_context: CutContext = _none_known
    ) -> None:
        """``traffic`` gives 0 for a run that has not talked to a model server."""
        self._traffic = traffic
        self._cut_context = cut_context

    async def explained(
        self, work: Work, attempt: Attempt, failure: Failure | None, unwanted: Callable[[], bool]
    ) -> Failure | None:
        """The failure, with a cut context as its class where the log gives no better reason.

        Takes a second where the run has talked and nothing is found; ends early when ``unwanted`` becomes true.
        """
        if failure is None or failure.kind not in UNEXPLAINED or attempt.asked:
            return failure
        items = work.plan.items
        item = work.plan.item if attempt.index is None or items is None else items[attempt.index]
        for _ in range(LOOKS if self._traffic(work.run.id) else 0):
            if found := await self._cut_context(work.run.id, item, attempt.launched_ns):
                return context_failure(found, failure)
            if unwanted():
                break
            await asyncio.sleep(PAUSE_SECONDS)
        return failure

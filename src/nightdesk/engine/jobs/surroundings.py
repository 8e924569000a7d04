"""What the driver of a run needs of the supervisor of all."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from nightdesk.engine.jobs.causes import Causes
from nightdesk.engine.jobs.ended import EndedAttempt
from nightdesk.engine.jobs.outputs import OutputJudge
from nightdesk.model.job import Run
from nightdesk.model.process import SignalReport

if TYPE_CHECKING:
    from nightdesk.engine.jobs.driver import RunDriver

FreeModelsCall: TypeAlias = Callable[[int, Callable[[str], None]], Awaitable[str]]
"""Given a time limit in nanoseconds and who wants to hear what goes on; gives a sentence on what became of it."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Handed to each driver."""

    desk: Path
    now: Callable[[], int]
    environment: Callable[[], dict[str, str]]
    changed: Callable[[RunDriver, Run], None]
    """The run differs from the one given, as it was before."""
    on_attempt_log: Callable[[Run, str], object]
    """An attempt writes to a log of its own."""
    spawn: Callable[[Coroutine[object, object, None]], None]
    threads: Callable[[], ThreadPoolExecutor | None]
    consider: Callable[[], None]
    """Others may be able to start now."""
    on_attempt_failed: Callable[[EndedAttempt], None]
    signalled: Callable[[str, SignalReport], None]
    """What a signal to the processes of a run did."""
    free_models: FreeModelsCall
    judge: OutputJudge
    """Says whether outputs are accepted."""
    causes: Causes
    """Knows what exchanges tell of a failure."""

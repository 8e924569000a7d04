"""What can happen to a run, and what the engine has to do about it: the two sides of ``core.jobs.life.advance``.

All times are nanoseconds since the epoch. ``serial`` is the number of an attempt within its run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from nightdesk.core.jobs.start_times import Expected
from nightdesk.model.base import ProcessKey
from nightdesk.model.job import Failure, ItemRecord, RunAction, Usage
from nightdesk.model.process import TreeAction


@dataclass(frozen=True, slots=True)
class Admitted:
    """The queue lets the run start."""


@dataclass(frozen=True, slots=True)
class HeldBack:
    """The queue does not let it start at ``at_ns``, why (None: what it says already), and when it is expected to."""

    reason: str | None
    expected: Expected | None = None
    at_ns: int = 0


@dataclass(frozen=True, slots=True)
class HandedOver:
    """The model servers have freed their models, or had the time to; what became of it in one sentence."""

    said: str


@dataclass(frozen=True, slots=True)
class ItemsSkipped:
    """These items have valid outputs already."""

    indexes: tuple[int, ...]
    at_ns: int


@dataclass(frozen=True, slots=True)
class ItemsClosed:
    """Only these of the items that wait can't be worked on yet, and why."""

    indexes: frozenset[int]
    reason: str
    at_ns: int


@dataclass(frozen=True, slots=True)
class ItemsMoved:
    """The user wants these items done first or last, passed over, or done again."""

    indexes: tuple[int, ...]
    where: Literal["first", "last", "skip", "again"]
    at_ns: int


@dataclass(frozen=True, slots=True)
class Launched:
    """A keeper is being started. Its attempt gets the next serial number of the run."""

    command: str
    log_offset: int
    at_ns: int
    index: int | None = None
    """The item; None for a run without items."""
    log_path: str | None = None
    """The attempt's own log, where it does not write to the run's."""


@dataclass(frozen=True, slots=True)
class Started:
    """The user's command runs."""

    serial: int
    keeper: ProcessKey
    process: ProcessKey
    at_ns: int


@dataclass(frozen=True, slots=True)
class Ended:
    """The attempt is over. ``failure`` is None where it succeeded."""

    serial: int
    at_ns: int
    exit_status: int | None = None
    signal: int | None = None
    usage: Usage | None = None
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class KeeperLost:
    """The keeper went away without a result."""

    serial: int
    reason: str
    at_ns: int


@dataclass(frozen=True, slots=True)
class NeverBegan:
    """Nothing of this attempt ever ran: the engine went away before, or there was no room to start it."""

    serial: int
    at_ns: int
    reason: str | None = None
    pause_ns: int = 0
    """Where it is started again by itself: after so long, and why."""


@dataclass(frozen=True, slots=True)
class Swept:
    """Nothing is left of an attempt that is over."""

    serial: int


@dataclass(frozen=True, slots=True)
class Stalled:
    """The attempt shows no sign of life."""

    serial: int
    evidence: str
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
class ClockJumped:
    """The clock went on by so much more than time went by: the machine slept, or its clock was set."""

    by_ns: int


@dataclass(frozen=True, slots=True)
class EngineRestarted:
    """A new engine found the run."""

    at_ns: int


Event: TypeAlias = (
    Admitted
    | HeldBack
    | HandedOver
    | ItemsSkipped
    | ItemsClosed
    | ItemsMoved
    | Launched
    | Started
    | Ended
    | KeeperLost
    | NeverBegan
    | Swept
    | Stalled
    | Asked
    | Paused
    | Resumed
    | Remarked
    | Ticked
    | ClockJumped
    | EngineRestarted
)


@dataclass(frozen=True, slots=True)
class Launch:
    """Start attempts: of the items that are next, as many as the run has room for, or of the command."""


@dataclass(frozen=True, slots=True)
class FreeModels:
    """Ask the model servers to free their models; :class:`HandedOver` is the answer."""


@dataclass(frozen=True, slots=True)
class Signal:
    """Signal every process of the run, or of one attempt of it."""

    action: TreeAction
    serial: int | None = None
    root: ProcessKey | None = None
    """Of the attempt, where it is no longer in work."""


@dataclass(frozen=True, slots=True)
class Record:
    """Keep on disk what became of an item, before anything else is done."""

    record: ItemRecord


Command: TypeAlias = Launch | FreeModels | Signal | Record

"""What is kept of a failed attempt, so that the morning can tell why."""

from __future__ import annotations

from nightdesk.model.base import Noun
from nightdesk.model.exchange import ExchangeRow
from nightdesk.model.job import Failure
from nightdesk.model.process import ProcessRow
from nightdesk.model.sample import Sample


class FailedAttempt(Noun, frozen=True, kw_only=True):
    """A failed attempt in a list of them."""

    run: str
    job: str
    serial: int
    """Number of the attempt in its run."""
    item: str | None = None
    attempt: int
    """1 for the first try of the item or command."""
    ended_ns: int
    failure: Failure


class Diagnosis(Noun, frozen=True, kw_only=True):
    """A failed attempt and its last minutes."""

    what: FailedAttempt
    folder: str
    """Where this is kept: ``failure.json`` and ``log.txt``."""
    launched_ns: int
    started_ns: int | None = None
    exit_status: int | None = None
    signal: int | None = None
    command: tuple[str, ...] = ()
    """Its arguments, secrets masked."""
    working_folder: str = ""
    environment: dict[str, str] = {}
    """What the command got, secrets masked."""
    log_path: str | None = None
    log_tail: str = ""
    """The last lines of its output, secrets masked."""
    processes: tuple[ProcessRow, ...] = ()
    """Its processes as they were seen last, a parent before its children."""
    processes_at_ns: int | None = None
    exchanges: tuple[ExchangeRow, ...] = ()
    """Of its last minutes, oldest first."""
    samples: tuple[Sample, ...] = ()
    """Memory and accelerators in its last minutes, oldest first."""
    versions: dict[str, str] = {}
    """Of Nightdesk, Python, the system and the model servers."""

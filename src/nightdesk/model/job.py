"""Jobs, runs, items and attempts."""

from __future__ import annotations

from typing import Literal

from nightdesk.model.base import Noun, ProcessKey
from nightdesk.model.logs import Progress

RunMode = Literal["full", "single", "dry"]
RunState = Literal["waiting", "running", "paused", "stopping", "done", "failed", "stopped", "lost"]
"""``stopped``: ended because the user asked. ``lost``: the keeper went away without a result."""

ENDED: frozenset[str] = frozenset({"done", "failed", "stopped", "lost"})

Priority = Literal["training", "interactive", "analysis", "scheduled"]


class JobView(Noun, frozen=True, kw_only=True):
    """A job of the desk, as viewers see it."""

    name: str
    command: str
    """As a person would type it."""
    drives_items: bool
    """True when the command holds ``{item}``: the desk drives the items one by one."""
    has_single: bool
    has_dry_run: bool
    needs: tuple[str, ...] = ()
    needs_items: tuple[str, ...] = ()
    uses: dict[str, int] = {}
    """Slot → how much of it a run takes."""
    priority: Priority = "analysis"
    description: str | None = None
    validates: bool = False
    """Its outputs are looked at: it has rules for them, or a check."""
    last_run: str | None = None
    active_run: str | None = None


ItemState = Literal["done", "failed", "skipped", "again"]


class ItemRecord(Noun, frozen=True, kw_only=True):
    """What became of an item of a run. The newest record of an item counts; ``again`` puts it back into the queue."""

    item: str
    index: int | None = None
    """Place of the item in the run, from 0."""
    state: ItemState
    attempts: int = 0
    serial: int | None = None
    """Number of the attempt that decided it."""
    started_ns: int | None = None
    ended_ns: int
    failure: Failure | None = None
    log_path: str | None = None
    """Its own log, where the run's log does not hold its output."""
    log_offset: int | None = None
    """Where its output begins in that log."""
    fallback: bool = False
    """The job's fallback command decided it."""


class ItemMove(Noun, frozen=True, kw_only=True):
    """Request: what to do with items of a run that wait or are over."""

    items: tuple[str, ...] = ()
    where: Literal["first", "last", "skip", "again"]
    failed: bool = False
    """All items that failed so far, beside the named ones."""


class Flight(Noun, frozen=True, kw_only=True):
    """An attempt in work, as viewers see it."""

    serial: int
    item: str | None = None
    index: int | None = None
    attempt: int
    started_ns: int | None = None
    process: ProcessKey | None = None
    log_path: str | None = None
    fallback: bool = False
    """By the job's fallback command."""


class Usage(Noun, frozen=True, kw_only=True):
    """Resources of a finished attempt: the command and the children it waited for, as the kernel counted."""

    user_ns: int
    system_ns: int
    max_rss_bytes: int


class Failure(Noun, frozen=True, kw_only=True):
    """Why a run failed: a class that policies can depend on, and the evidence."""

    kind: str
    """``error``, ``killed``, ``oom``, ``timeout``, ``stalled``, ``not_found``, ``lost`` …"""
    evidence: str
    shell_status: int | None = None
    """Of a command that never ran: what a shell reports for it, 127 where there is no such program, else 126."""


class Run(Noun, frozen=True, kw_only=True):
    """One execution of a job."""

    id: str
    """Sorts by time, down to the microsecond: ``transcribe-20251121-230000-048213``."""
    job: str
    mode: RunMode
    item: str | None = None
    """The item of a single run; of a full run that drives items, the one in work."""
    state: RunState
    reason: str | None = None
    """Why it waits, stands still or was lost; one sentence."""
    command: str
    """The command as started, as a person would type it."""
    folder: str
    log: str | None = None
    """Id of its log file."""
    log_path: str | None = None
    created_ns: int
    started_ns: int | None = None
    ended_ns: int | None = None
    keeper: ProcessKey | None = None
    process: ProcessKey | None = None
    """The user's command."""
    attempt: int = 1
    items_total: int | None = None
    items_done: int = 0
    items_failed: int = 0
    exit_status: int | None = None
    """0 to 255, when the command ended by itself."""
    signal: int | None = None
    """Number of the signal that ended it."""
    failure: Failure | None = None
    usage: Usage | None = None
    progress: Progress | None = None
    paused_ns: int | None = None
    """Since when it is paused."""
    flights: tuple[Flight, ...] = ()
    """The attempts in work, oldest first; ``item``, ``process``, ``keeper`` and ``attempt`` are the oldest one's."""
    items_skipped: int = 0
    """Of the done ones: their outputs were valid already, or the user passed over them."""
    holding: bool = False
    """It stands still after the items in work."""
    expected_ns: int | None = None
    """When it is expected to start, as far as that is known; only of a run that waits."""
    expected_low_ns: int | None = None
    """Between this and :attr:`expected_high_ns` it starts in about four of five cases; both the same: at that time."""
    expected_high_ns: int | None = None
    handover: str | None = None
    """What became of the models that the servers held when it started; one sentence."""
    fallback: bool = False
    """The newest attempt uses the job's fallback command."""


class StartRun(Noun, frozen=True, kw_only=True):
    """Request: start a job."""

    job: str
    mode: RunMode = "full"
    item: str | None = None
    """The item of a single run."""
    items: tuple[str, ...] = ()
    """Only these items of a full run that drives them, in this order; empty: all."""
    retry: bool = False
    """Only the items that failed, or were not reached, in the job's newest full run."""
    again: bool = False
    """The items are worked on whatever their outputs say."""
    at_ns: int | None = None
    """Not before this moment."""


RunAction = Literal["pause", "resume", "stop", "kill", "hold"]
"""``hold``: stand still after the items in work."""

"""The items of a run as a list that is looked at in parts, one item in full, and what two tries of it gave."""

from __future__ import annotations

from typing import Literal, get_args

from nightdesk.model.base import Noun
from nightdesk.model.energy import Energy
from nightdesk.model.job import Failure, Flight

ItemStage = Literal["running", "delayed", "waiting", "closed", "failed", "done", "skipped"]
"""``delayed``: waits for its next attempt. ``closed``: waits for an item of another job."""
STAGES: tuple[ItemStage, ...] = get_args(ItemStage)


class ItemRow(Noun, frozen=True, kw_only=True):
    """An item of a run."""

    index: int
    """Place in the run, from 0."""
    item: str
    state: ItemStage
    attempts: int = 0
    """Tries so far, the one in work among them."""
    place: int | None = None
    """Of an item that waits: how many are worked on before it."""
    started_ns: int | None = None
    """Of its newest attempt."""
    ended_ns: int | None = None
    took_ns: int | None = None
    """Of the attempt that decided it; of one in work, up to the moment of the answer."""
    due_ns: int | None = None
    """When it is tried again."""
    failure: Failure | None = None
    reason: str | None = None
    """Why it can't be worked on yet."""
    log_path: str | None = None
    """Its own log, where the run's log does not hold its output."""
    fallback: bool = False
    """By the job's fallback command."""
    flight: Flight | None = None
    """The attempt in work."""
    energy_j: float | None = None
    """What all its tries used, above idle where that is known; absent where nothing was measured."""


class ItemPage(Noun, frozen=True, kw_only=True):
    """A part of the items of a run that match, and how many there are in each state."""

    rows: tuple[ItemRow, ...]
    offset: int
    total: int
    """Items that match."""
    counts: dict[ItemStage, int]
    """All items of the run by state; states that do not occur are absent."""


class ItemDetail(Noun, frozen=True, kw_only=True):
    """One item of a run in full."""

    run: str
    row: ItemRow
    log_path: str | None = None
    """The file that holds its output."""
    log_start: int | None = None
    """The byte at which its output begins there, where that is known."""
    lines: tuple[str, ...] = ()
    """The last lines of its output."""
    folder: str | None = None
    """What was kept of its failed attempt for diagnosis."""
    exchanges: int | None = None
    """With model servers, by this item in this run."""
    prompt_tokens: int | None = None
    reply_tokens: int | None = None
    energy: Energy | None = None
    """What all its tries used; absent where nothing was measured."""


class ItemOutcome(Noun, frozen=True, kw_only=True):
    """What came of one try of an item."""

    run: str
    state: str
    ended_ns: int | None = None
    took_ns: int | None = None
    failure: Failure | None = None
    exchanges: int | None = None
    prompt_tokens: int | None = None
    reply_tokens: int | None = None


class ItemComparison(Noun, frozen=True, kw_only=True):
    """A run of a single item beside what the item gave before."""

    item: str
    now: ItemOutcome
    before: ItemOutcome | None = None
    """None where no run that is remembered worked on it."""
    output_path: str | None = None
    """None where the job does not say where its output is."""
    output_before: str | None = None
    """As it was when the single run began, its first part where it is long."""
    output_now: str | None = None
    note: str | None = None
    """Why there is nothing, or not all, to compare."""

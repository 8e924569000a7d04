"""What is asked of the recorded exchanges: pages of a list, totals, feedback, replays, cancelled ones."""

from __future__ import annotations

from typing import Literal

from nightdesk.model.base import Json, Noun
from nightdesk.model.exchange import ExchangeRow
from nightdesk.model.process import ProcessRef, TreeMember

SORTS = ("started", "took", "first", "tokens", "prompt", "reply", "rate", "size", "model", "job", "state")
"""What a list can be sorted by; with ``-`` in front: the greatest first. ``-started`` is the usual order."""


class ExchangePage(Noun, frozen=True, kw_only=True):
    """Rows ``offset`` to ``offset + len(rows)`` of the exchanges that match a query, in the order asked for."""

    rows: tuple[ExchangeRow, ...]
    offset: int
    total: int
    """Exchanges that match."""


class ExchangePlace(Noun, frozen=True, kw_only=True):
    """Where an exchange stands in a list, from 0; absent where none was found."""

    place: int | None = None


class Spread(Noun, frozen=True, kw_only=True):
    """How a duration is spread over many exchanges, in nanoseconds; absent where none is known."""

    p50_ns: int | None = None
    p95_ns: int | None = None
    max_ns: int | None = None


class ExchangeTotals(Noun, frozen=True, kw_only=True):
    """Sums over the exchanges that match a query."""

    count: int
    states: dict[str, int] = {}
    """Exchanges by state; states that do not occur are absent."""
    verdicts: dict[str, int] = {}
    """Exchanges by kind of verdict."""
    prompt_tokens: int = 0
    reply_tokens: int = 0
    tokens_per_s: float | None = None
    """Reply tokens by the time that servers spent generating them."""
    first_token: Spread = Spread()
    duration: Spread = Spread()


Mark = Literal["good", "bad"]


class Feedback(Noun, frozen=True, kw_only=True):
    """What the user thinks of an exchange. Neither mark nor note: the feedback is taken back."""

    mark: Mark | None = None
    note: str = ""
    at_ns: int = 0
    """When it was given; set by the engine."""


class ReplayRequest(Noun, frozen=True, kw_only=True):
    """Send the request of an exchange again, once for each model. The engine sends them one after another."""

    exchange: int
    models: tuple[str, ...] = ()
    """Empty: the model of the exchange."""
    body: Json = None
    """An edited request body; absent: the recorded one."""


class Replay(Noun, frozen=True, kw_only=True):
    """A replay that was begun. Its exchanges carry ``replay_of`` and come like all others, growing."""

    of: int
    exchanges: tuple[int, ...]
    """Ids, in the order of the models. One that waits for its turn is not in any list yet."""
    left_out: tuple[str, ...] = ()
    """Headers that were not sent again, because only their mask was recorded."""


class OfferedModel(Noun, frozen=True, kw_only=True):
    """A model that a server can answer with."""

    name: str
    size_bytes: int | None = None
    loaded: bool = False
    """In memory now."""


CancelHow = Literal["relay", "replay", "process"]
"""Close the connection in the relay, close our own replay, or stop the client's process."""


class CancelWay(Noun, frozen=True, kw_only=True):
    """One way to end a running exchange, or why it can't be gone."""

    how: CancelHow
    possible: bool
    reason: str = ""
    """One sentence, where it is not possible."""
    members: tuple[TreeMember, ...] = ()
    """For ``process``: exactly what would be stopped, root first."""


class CancelWays(Noun, frozen=True, kw_only=True):
    """How a running exchange can be ended; the mildest way first."""

    exchange: int
    running: bool
    ways: tuple[CancelWay, ...]


class CancelRequest(Noun, frozen=True, kw_only=True):
    """End a running exchange by this way."""

    how: CancelHow


class CancelReport(Noun, frozen=True, kw_only=True):
    """What came of an attempt to end a running exchange."""

    exchange: int
    how: Literal["relay", "replay", "process"]
    """Closed in the relay, closed as our own replay, or by stopping the client's process."""
    ended: bool
    """The client's connection is closed."""
    server_stopped: bool | None = None
    """The server is known to have stopped working on it; absent: it can't be told."""
    process: ProcessRef | None = None
    message: str
    """One sentence: what was done, and what the server does now."""

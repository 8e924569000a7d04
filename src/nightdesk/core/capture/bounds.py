"""How much memory the traffic in work may take, and what is given up first when it takes more.

Three heaps are bounded one by one, because each is made smaller in another way: segments that wait for lost ones
(the oldest hole becomes a gap), contents of running exchanges (the biggest lose their bodies), and what can't be
made smaller, heads, unfinished lines and the exchanges themselves (the idlest connections are given up).
Nothing disappears silently: each exchange that loses something says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from nightdesk.core.capture.connections import Connection
from nightdesk.core.capture.drafts import DRAFT_BYTES
from nightdesk.core.capture.streams import Flow

CHECK_BYTES = 4 << 20
"""Bytes of packets and of new exchanges between two looks at the bounds; so much they may be exceeded."""
WAITING_BYTES = 32 << 20
"""Waiting segments of all connections: eight of them may wait for a whole window at a time."""
TOTAL_BYTES = 64 << 20
"""Contents of all running exchanges together; hashes and counts go on without them."""
FIXED_BYTES = 32 << 20
"""Heads, unfinished messages, and the bare exchanges: some thousand running ones."""


class Tracked(Protocol):
    """A connection as the bounds see it."""

    http: Connection
    flow: Flow | None


def bound(tracked: Iterable[Tracked], at_ns: int, forget: Callable[[Flow], None]) -> None:
    """Brings all three heaps below their bounds. ``forget`` ends a connection with its exchanges."""
    everything = list(tracked)
    _bound_waiting(everything, at_ns)
    _bound_contents(everything)
    _bound_fixed(everything, forget)


def _bound_waiting(everything: list[Tracked], at_ns: int) -> None:
    waiting = [(each.flow, each.http) for each in everything if each.flow and each.flow.waiting_bytes]
    excess = sum(flow.waiting_bytes for flow, _ in waiting) - WAITING_BYTES
    for flow, http in sorted(waiting, key=lambda pair: pair[0].waits_since_ns) if excess > 0 else ():
        if excess <= 0:
            return
        excess -= flow.waiting_bytes
        flow.give_up(at_ns)
        for draft in http.waiting:
            draft.note("Packets that were missing were not waited for: too many others waited for them.")


def _bound_contents(everything: list[Tracked]) -> None:
    drafts = [draft for each in everything for draft in each.http.waiting]
    excess = sum(draft.held_bytes for draft in drafts) - TOTAL_BYTES
    for draft in sorted(drafts, key=lambda draft: -draft.held_bytes) if excess > 0 else ():
        if excess <= 0:
            return
        excess -= draft.shed()


def _bound_fixed(everything: list[Tracked], forget: Callable[[Flow], None]) -> None:
    excess = sum(_fixed(each.http) for each in everything) - FIXED_BYTES
    if excess <= 0:
        return
    followed = [(each.flow, each.http) for each in everything if each.flow]
    for flow, http in sorted(followed, key=lambda pair: pair[0].last_ns):
        if excess <= 0:
            return
        excess -= _fixed(http)
        for draft in http.waiting:
            draft.note("Given up: too much was in flight at once.")
        if _fixed(http):
            forget(flow)


def _fixed(http: Connection) -> int:
    return http.held_bytes + len(http.waiting) * DRAFT_BYTES

"""The bus for now: numbered changes to any number of subscribers, none of whom can hold the engine up.

Each subscriber has a bounded queue. One that falls behind loses its whole queue, and its next event is a new
snapshot. A change is encoded once, however many subscribers there are.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, Callable

from nightdesk.model.desk import Change, Snapshot, change_encoder

QUEUE_LIMIT = 4096
"""About 5 MB of changes at worst; a viewer that is this far behind is better served by a snapshot."""
KEEP_ALIVE_SECONDS = 15.0


class Subscriber:
    """One viewer's queue of encoded events."""

    def __init__(self) -> None:
        self._events: deque[bytes] = deque()
        self._wake = asyncio.Event()
        self.needs_snapshot = True
        self.lost = 0

    def put(self, event: bytes) -> None:
        """Queue an event; drop everything when the queue is full."""
        if self.needs_snapshot:
            return
        if len(self._events) >= QUEUE_LIMIT:
            self.lost += len(self._events) + 1
            self._events.clear()
            self.needs_snapshot = True
        else:
            self._events.append(event)
        self._wake.set()

    async def take(self) -> bytes | None:
        """All queued events joined, or None after a silence of :data:`KEEP_ALIVE_SECONDS`."""
        if not self._events and not self.needs_snapshot:
            self._wake.clear()
            try:
                async with asyncio.timeout(KEEP_ALIVE_SECONDS):
                    await self._wake.wait()
            except TimeoutError:
                return None
        joined = b"".join(self._events)
        self._events.clear()
        return joined


class Bus:
    """Numbers the changes and hands them out."""

    def __init__(self) -> None:
        self.seq = 0
        self.arrivals = 0
        """How many viewers ever came."""
        self._subscribers: set[Subscriber] = set()
        self._closed = False
        self._arrival = asyncio.Event()

    @property
    def subscribers(self) -> int:
        """How many viewers are attached."""
        return len(self._subscribers)

    def publish(self, change: Change) -> None:
        """Tell everybody. Call from the event loop's thread only."""
        self.seq += 1
        if self._subscribers:
            event = b"event: change\nid: %d\ndata: %b\n\n" % (self.seq, change_encoder.encode(change))
            for subscriber in self._subscribers:
                subscriber.put(event)

    async def pause(self, watched: float, unwatched: float) -> None:
        """Sleep ``watched`` seconds while a viewer looks, else ``unwatched``, but only until one comes."""
        if self._subscribers:
            await asyncio.sleep(watched)
            return
        self._arrival.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(unwatched):
                await self._arrival.wait()

    def close(self) -> None:
        """End all subscriptions."""
        self._closed = True
        for subscriber in self._subscribers:
            subscriber.put(b"")

    async def events(self, snapshot: Callable[[], Snapshot]) -> AsyncGenerator[bytes, None]:
        """Server-sent events for one subscriber: a snapshot first, and again after loss."""
        subscriber = Subscriber()
        self._subscribers.add(subscriber)
        self.arrivals += 1
        self._arrival.set()
        try:
            while not self._closed:
                if subscriber.needs_snapshot:
                    subscriber.needs_snapshot = False
                    now = snapshot()
                    yield b": lost %d\nevent: snapshot\nid: %d\ndata: %b\n\n" % (
                        subscriber.lost,
                        now.seq,
                        change_encoder.encode(now),
                    )
                events = await subscriber.take()
                yield b": still here\n\n" if events is None else events
        finally:
            self._subscribers.discard(subscriber)

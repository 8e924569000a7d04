"""Questions about exchanges: the book knows the running ones, the store the ended ones."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from itertools import islice

import msgspec

from nightdesk.core.inspection.query import parse, quoted
from nightdesk.core.inspection.searched import searched_text
from nightdesk.engine.store.exchanges import Fresh
from nightdesk.engine.store.history import History
from nightdesk.engine.traffic import TrafficBook
from nightdesk.model.errors import UsageError
from nightdesk.model.exchange import Exchange, ExchangeRow
from nightdesk.model.inspection import ExchangePage, ExchangePlace, ExchangeTotals, Feedback

LAST_ROWS, LAST_EXCHANGES = 50, 3
"""A prompt that was cut hours before the end of a batch is not why it failed."""


class Exchanges:
    """Every exchange of the desk, wherever it is kept. Used from the event loop; the store is read in threads."""

    def __init__(self, book: TrafficBook, store: History) -> None:
        self._book = book
        self._store = store

    async def page(self, query: str, sort: str, offset: int, limit: int) -> ExchangePage:
        """One page of the exchanges that match. Raises QueryError, and UsageError for an unknown order."""
        read = parse(query)
        return await asyncio.to_thread(
            self._store.page,
            read,
            now_ns=time.time_ns(),
            sort=sort,
            offset=offset,
            limit=limit,
            running=self.unstored(),
        )

    async def newest_of(self, run_id: str, limit: int) -> tuple[ExchangeRow, ...]:
        """The newest exchanges of a run, the newest first, running ones among them."""
        return (await self.page(f"run:={quoted(run_id)}", "-started", 0, limit)).rows

    def cut_reply(self, run_id: str, item: str) -> str | None:
        """Evidence that the newest reply to an item of a run was cut; None where it was not. Blocks: for a thread."""
        query = parse(f"run:={quoted(run_id)} item:={quoted(item)}")
        found = self._store.page(query, now_ns=time.time_ns(), sort="-started", limit=1).rows
        if not found or "reply_cut" not in found[0].verdicts:
            return None
        return f"the model's reply was cut by a limit: exchange {found[0].id}"

    async def cut_context(self, run_id: str, item: str | None, since_ns: int) -> str | None:
        """Evidence that one of the last prompts since ``since_ns`` did not fit its context; None without any."""
        rows = await self.newest_of(run_id, LAST_ROWS)
        own = (r for r in rows if r.started_ns >= since_ns and (item is None or r.item in (None, item)))
        for row in islice(own, LAST_EXCHANGES):
            if "context_cut" in row.verdicts:
                found = next(v for v in (await self.one(row.id)).verdicts if v.kind == "context_cut")
                return f"{found.evidence.removesuffix('.')} (exchange {row.id})."
        return None

    async def trouble(self, query: str, sort: str, offset: int) -> ExchangePlace:
        """The first place from ``offset`` on with a verdict or an error. Raises like :meth:`page`."""
        read = parse(query)
        place = await asyncio.to_thread(
            self._store.trouble,
            read,
            now_ns=time.time_ns(),
            sort=sort,
            offset=offset,
            running=self.unstored(),
        )
        return ExchangePlace(place=place)

    async def totals(self, query: str) -> ExchangeTotals:
        """Sums over the exchanges that match. Raises QueryError."""
        read = parse(query)
        return await asyncio.to_thread(
            self._store.totals, read, now_ns=time.time_ns(), running=self.unstored()
        )

    async def documents(self, query: str) -> AsyncIterator[bytes]:
        """The ended exchanges that match as JSON Lines, oldest first, in pieces; an empty line says that it was all.

        Raises QueryError at once.
        """
        batches = self._store.documents(parse(query), now_ns=time.time_ns())

        async def pieces() -> AsyncIterator[bytes]:
            while (batch := await asyncio.to_thread(next, batches, None)) is not None:
                yield b"".join(document + b"\n" for document in batch)
            yield b"\n"

        return pieces()

    async def occurring(self) -> dict[str, tuple[str, ...]]:
        """The values that occur, by key of a query, the most frequent first."""
        return await asyncio.to_thread(self._store.occurring)

    async def one(self, exchange_id: int) -> Exchange:
        """An exchange with its bodies. Raises UsageError for an unknown id."""
        found = self._book.held(exchange_id) or await asyncio.to_thread(self._store.exchange, exchange_id)
        if found is None:
            raise UsageError(
                f"There is no exchange {exchange_id}.", "nightdesk traffic lists the recorded ones."
            )
        return found

    async def since(self, exchange_id: int, text_from: int, thinking_from: int) -> Exchange:
        """Like :meth:`one`; of a running one only what is new, where the caller has the beginning."""
        found = await self.one(exchange_id)
        if found.state != "running" or not (text_from or thinking_from):
            return found
        return msgspec.structs.replace(
            found,
            text=found.text[text_from:],
            thinking=found.thinking[thinking_from:],
            prompt=None,
            request_body=None,
        )

    async def feedback(self, exchange_id: int) -> Feedback:
        """What the user thinks of an exchange. Raises UsageError for an unknown id."""
        await self.one(exchange_id)
        return self._store.feedback(exchange_id)

    async def give_feedback(self, exchange_id: int, feedback: Feedback) -> Feedback:
        """Record feedback and show it in the list. Raises UsageError for an unknown id."""
        await self.one(exchange_id)
        given = msgspec.structs.replace(feedback, at_ns=time.time_ns())
        self._store.save_feedback(exchange_id, given)
        self._book.mark(exchange_id, given.mark)
        return given

    def unstored(self) -> tuple[Fresh, ...]:
        """What the store does not have: running exchanges, and those that must not be recorded."""
        return tuple(Fresh(row, self._text_of(row.id)) for row in self._book.unstored())

    def _text_of(self, exchange_id: int) -> Callable[[], str]:
        return lambda: searched_text(held) if (held := self._book.held(exchange_id)) else ""

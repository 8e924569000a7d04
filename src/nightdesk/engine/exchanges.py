"""Questions about exchanges: the book knows the running ones, the store the ended ones."""

from __future__ import annotations

import asyncio

from nightdesk.engine.store.history import History
from nightdesk.engine.traffic import TrafficBook
from nightdesk.model.errors import UsageError
from nightdesk.model.exchange import Exchange, ExchangeRow


class Exchanges:
    """Every exchange of the desk, wherever it is kept. Used from the event loop; the store is read in threads."""

    def __init__(self, book: TrafficBook, store: History) -> None:
        self._book = book
        self._store = store

    async def newest(
        self, limit: int, before: int | None, text: str, run: str | None
    ) -> tuple[ExchangeRow, ...]:
        """Recorded exchanges, and the running ones among them where no text is searched; oldest first."""
        stored = await asyncio.to_thread(self._store.exchanges, limit, before, text, run)
        if text:
            return stored
        known = {row.id: row for row in stored}
        low = min(known, default=0)
        for row in self._book.rows():
            if row.id >= low and (before is None or row.id < before) and run in (None, row.run):
                known[row.id] = row
        return tuple(known[number] for number in sorted(known)[-limit:])

    async def one(self, exchange_id: int) -> Exchange:
        """An exchange with its bodies. Raises UsageError for an unknown id."""
        found = self._book.held(exchange_id) or await asyncio.to_thread(self._store.exchange, exchange_id)
        if found is None:
            raise UsageError(
                f"There is no exchange {exchange_id}.", "nightdesk traffic lists the recorded ones."
            )
        return found

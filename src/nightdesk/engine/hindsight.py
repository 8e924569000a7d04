"""Looking back over many exchanges: where their time went, and what a client and a model said to each other."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence

import msgspec

from nightdesk.core.inspection.conversations import Tie, conversation, tie_of
from nightdesk.core.inspection.profile import BREAK_NS, Profiler
from nightdesk.core.inspection.query import Query, parse, quoted
from nightdesk.engine.energy import EnergyKeeper
from nightdesk.engine.exchanges import Exchanges
from nightdesk.engine.store.exchanges import Fresh
from nightdesk.engine.store.history import History
from nightdesk.engine.traffic import TrafficBook
from nightdesk.model.conversation import Conversation
from nightdesk.model.exchange import Exchange, ExchangeRow
from nightdesk.model.profile import Profile

TURNS_MOST = 100
"""Exchanges before the chosen one, and as many behind it."""
NEIGHBOURS = 1000
"""Exchanges around the chosen one among which those of the same connection are looked for."""

Find = Callable[[int], Exchange | None]


class Hindsight:
    """Used from the event loop; the store is read in threads."""

    def __init__(self, book: TrafficBook, store: History, exchanges: Exchanges, energy: EnergyKeeper) -> None:
        self._book = book
        self._store = store
        self._exchanges = exchanges
        self._energy = energy

    async def profile(self, query: str) -> Profile:
        """Where the time of the exchanges went that match ``query``. Raises QueryError."""
        read = parse(query)
        running = self._exchanges.unstored()
        return await asyncio.to_thread(
            self._profile, query.strip(), read, running, self._find([one.row.id for one in running])
        )

    def _profile(self, text: str, query: Query, running: tuple[Fresh, ...], find: Find) -> Profile:
        now_ns = time.time_ns()
        profiler = Profiler(now_ns, text, self._energy.joules().get)
        for row, matches in self._store.course(query, now_ns=now_ns, before_ns=BREAK_NS, running=running):
            profiler.add(row, counted=matches)
        asked = {number: find(number) for number in profiler.questions()}
        made = profiler.finish({number: found for number, found in asked.items() if found is not None})
        return msgspec.structs.replace(
            made, energy_basis=self._energy.basis if made.total.energy_count else ""
        )

    async def conversation(self, exchange_id: int) -> Conversation:
        """The exchanges of the same client around one, as a conversation. Raises UsageError for an unknown id."""
        chosen = await self._exchanges.one(exchange_id)
        tie = tie_of(chosen)
        before, earlier = await self._of_client(
            tie, chosen, (max(0, exchange_id - NEIGHBOURS), exchange_id - 1)
        )
        after, later = await self._of_client(tie, chosen, (exchange_id + 1, exchange_id + NEIGHBOURS))
        ids = [*reversed(before), exchange_id, *after]
        turns = self._turns(ids, tie, self._find(ids))
        return await asyncio.to_thread(
            conversation, exchange_id, tie, turns, earlier=earlier - len(before), later=later - len(after)
        )

    async def _of_client(self, tie: Tie, chosen: Exchange, near: tuple[int, int]) -> tuple[list[int], int]:
        """Ids of the nearest exchanges of the same client on one side of the chosen, and how many there are."""
        back = near[0] < chosen.id
        sort = "-started" if back else "started"
        if near[0] > near[1] or tie.by == "alone":
            return [], 0
        if tie.by == "connection":
            page = await self._exchanges.page(f"id:{near[0]}-{near[1]}", sort, 0, NEIGHBOURS)
            found = [row.id for row in page.rows if _is_of(row, tie)]
            return found[:TURNS_MOST], len(found)
        side = f"id:0-{chosen.id - 1}" if back else f"id:{chosen.id + 1}-{10**18 - 1}"
        whose = f"run:{quoted('=' + (chosen.run or ''))}" if tie.by == "run" else f"pid:{tie.key[1]}"
        page = await self._exchanges.page(f"{whose} {side}", sort, 0, TURNS_MOST)
        return [row.id for row in page.rows if _is_of(row, tie)], page.total

    def _find(self, ids: Sequence[int]) -> Find:
        """How to look up an exchange in a thread. What the store lacks is taken along."""
        held = {number: found for number in ids if (found := self._book.held(number)) is not None}
        return lambda number: held.get(number) or self._store.exchange(number)

    @staticmethod
    def _turns(ids: Sequence[int], tie: Tie, find: Find) -> Iterator[Exchange]:
        """The exchanges one by one; a process number that was used again belongs to somebody else."""
        for number in ids:
            found = find(number)
            if found is not None and tie_of(found).key == tie.key:
                yield found


def _is_of(row: ExchangeRow, tie: Tie) -> bool:
    match tie.by:
        case "run":
            return row.run == tie.key[1]
        case "process":
            return row.pid == tie.key[1] and row.run is None
        case _:
            return row.client_addr == tie.key[1] and row.run is None

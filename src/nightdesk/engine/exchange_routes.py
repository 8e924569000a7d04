"""Questions about exchanges, as paths of the engine's API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from litestar import get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import Parameter
from litestar.response import Stream

from nightdesk.model.exchange import Exchange
from nightdesk.model.inspection import ExchangePage, ExchangePlace, ExchangeTotals, Feedback

if TYPE_CHECKING:
    from nightdesk.engine.service import Service

LIMIT_MOST = 1000
Offset = Annotated[int, Parameter(ge=0, le=2**60)]
Limit = Annotated[int, Parameter(ge=1, le=LIMIT_MOST)]
QueryText = Annotated[str, Parameter(query="query")]
"""Litestar keeps the name ``query`` of an argument for itself."""


def exchange_routes(service: Service) -> list[HTTPRouteHandler]:
    """All paths below ``/exchanges``."""
    return [*_list_routes(service), *_feedback_routes(service)]


def _list_routes(service: Service) -> list[HTTPRouteHandler]:
    @get("/exchanges/page")
    async def page(
        wanted: QueryText = "", sort: str = "-started", offset: Offset = 0, limit: Limit = 200
    ) -> ExchangePage:
        """Summaries of the exchanges that match a query, running ones among them."""
        return await service.exchanges.page(wanted, sort, offset, limit)

    @get("/exchanges/trouble")
    async def trouble(wanted: QueryText = "", sort: str = "-started", offset: Offset = 0) -> ExchangePlace:
        """The first place from ``offset`` on, of the recorded ones in this order, with a verdict or an error."""
        return await service.exchanges.trouble(wanted, sort, offset)

    @get("/exchanges/totals")
    async def totals(wanted: QueryText = "") -> ExchangeTotals:
        """Sums over the exchanges that match a query."""
        return await service.exchanges.totals(wanted)

    @get("/exchanges/documents")
    async def documents(wanted: QueryText = "") -> Stream:
        """Whole ended exchanges that match a query, oldest first, as JSON Lines; an empty line says it was all."""
        return Stream(await service.exchanges.documents(wanted), media_type="application/jsonl")

    @get("/exchanges/words")
    async def words() -> dict[str, tuple[str, ...]]:
        """The values that occur, by key of a query, the most frequent first: for completion."""
        return await service.exchanges.occurring()

    @get("/exchanges/{exchange_id:int}")
    async def exchange(exchange_id: int, text_from: Offset = 0, thinking_from: Offset = 0) -> Exchange:
        """One exchange with its bodies; of a running one, what has come so far.

        Of a running one, text and thinking can be had from a character on: then without prompt and request body.
        """
        return await service.exchanges.since(exchange_id, text_from, thinking_from)

    return [page, trouble, totals, documents, words, exchange]


def _feedback_routes(service: Service) -> list[HTTPRouteHandler]:
    @get("/exchanges/{exchange_id:int}/feedback")
    async def feedback(exchange_id: int) -> Feedback:
        """What the user thinks of an exchange; empty where nothing was said."""
        return await service.exchanges.feedback(exchange_id)

    @post("/exchanges/{exchange_id:int}/feedback", status_code=200)
    async def give_feedback(exchange_id: int, data: Feedback) -> Feedback:
        """Mark an exchange as good or bad, or note something; neither takes the feedback back."""
        return await service.exchanges.give_feedback(exchange_id, data)

    return [feedback, give_feedback]

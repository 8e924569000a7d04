"""The API's questions about sending an exchange again and about ending a running one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from litestar import get, post
from litestar.handlers import HTTPRouteHandler

from nightdesk.model.inspection import (
    CancelReport,
    CancelRequest,
    CancelWays,
    OfferedModel,
    Replay,
    ReplayRequest,
)

if TYPE_CHECKING:
    from nightdesk.engine.service import Service


def replay_routes(service: Service) -> list[HTTPRouteHandler]:
    """Replays and cancelled exchanges."""

    @post("/exchanges/replay")
    async def replay(data: ReplayRequest) -> Replay:
        """Send the request of an exchange again, once for each model; the answers come as exchanges."""
        return service.replays.begin(await service.exchanges.one(data.exchange), data)

    @get("/exchanges/{exchange_id:int}/models")
    async def models(exchange_id: int) -> tuple[OfferedModel, ...]:
        """What the server of this exchange can answer with."""
        exchange = await service.exchanges.one(exchange_id)
        return await service.replays.models(exchange.server_addr)

    @get("/exchanges/{exchange_id:int}/cancel")
    async def ways(exchange_id: int) -> CancelWays:
        """How a running exchange can be ended."""
        return await service.cancels.ways(exchange_id)

    @post("/exchanges/{exchange_id:int}/cancel", status_code=200)
    async def cancel(exchange_id: int, data: CancelRequest) -> CancelReport:
        """End a running exchange, and tell whether the server stopped. Takes some seconds."""
        return await service.cancels.cancel(exchange_id, data.how)

    return [replay, models, ways, cancel]

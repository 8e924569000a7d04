"""Profiles and conversations, as paths of the engine's API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from litestar import get
from litestar.handlers import HTTPRouteHandler

from nightdesk.engine.exchange_routes import QueryText
from nightdesk.engine.hindsight import Hindsight
from nightdesk.model.conversation import Conversation
from nightdesk.model.profile import Profile

if TYPE_CHECKING:
    from nightdesk.engine.service import Service


def hindsight_routes(service: Service) -> list[HTTPRouteHandler]:
    """Paths below ``/exchanges`` that look at many of them."""
    hindsight = Hindsight(service.traffic, service.store, service.exchanges, service.energy)

    @get("/exchanges/profile")
    async def profile(wanted: QueryText = "") -> Profile:
        """Where the time of the exchanges went that match a query, with advice."""
        return await hindsight.profile(wanted)

    @get("/exchanges/{exchange_id:int}/conversation")
    async def conversation(exchange_id: int) -> Conversation:
        """The exchanges of the same run, process or connection around this one, in order."""
        return await hindsight.conversation(exchange_id)

    return [profile, conversation]

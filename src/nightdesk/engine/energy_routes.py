"""Energy, as paths of the engine's API."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from litestar import get
from litestar.handlers import HTTPRouteHandler

from nightdesk.model.energy import EnergyReport, ExchangeEnergy, RunEnergy

if TYPE_CHECKING:
    from nightdesk.engine.service import Service


def energy_routes(service: Service) -> list[HTTPRouteHandler]:
    """The energy of a run and of an exchange."""

    @get("/energy")
    async def energy() -> EnergyReport:
        """The energy of the night and of the newest runs."""
        return service.energy.report()

    @get("/runs/{run_id:str}/energy")
    async def run_energy(run_id: str) -> RunEnergy:
        """Joules of a run and its items, what they cost, and reply tokens for each."""
        run = service.run_by_id(run_id)
        totals = await service.exchanges.totals(f"run:{run.id}")
        return service.energy.run(run.id, totals.reply_tokens or None)

    @get("/exchanges/{exchange_id:int}/energy")
    async def exchange_energy(exchange_id: int) -> ExchangeEnergy:
        """Joules of an exchange, also of one that an engine before this one saw."""
        exchange = await service.exchanges.since(exchange_id, 0, 0)
        return await asyncio.to_thread(service.energy.exchange, exchange_id, exchange.reply_tokens)

    return [energy, run_energy, exchange_energy]

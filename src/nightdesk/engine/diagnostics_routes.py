"""Questions about failed attempts, as paths of the engine's API."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from litestar import get
from litestar.handlers import HTTPRouteHandler

from nightdesk.engine.diagnostics import kept_failure, kept_failures
from nightdesk.engine.jobs.runs import RunFolder
from nightdesk.model.diagnosis import Diagnosis, FailedAttempt

if TYPE_CHECKING:
    from nightdesk.engine.service import Service


def diagnostics_routes(service: Service) -> list[HTTPRouteHandler]:
    """The paths below ``/runs/ID/failures``."""

    @get("/runs/{run_id:str}/failures")
    async def failures(run_id: str) -> tuple[FailedAttempt, ...]:
        """The failed attempts of a run of which something was kept, oldest first."""
        folder = RunFolder(Path(service.run_by_id(run_id).folder))
        return await asyncio.to_thread(kept_failures, folder)

    @get("/runs/{run_id:str}/failures/{serial:int}")
    async def failure(run_id: str, serial: int) -> Diagnosis:
        """What was kept of one failed attempt."""
        folder = RunFolder(Path(service.run_by_id(run_id).folder))
        return await asyncio.to_thread(kept_failure, folder, serial)

    return [failures, failure]

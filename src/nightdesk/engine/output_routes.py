"""Outputs of jobs: what their rules say, looked at by hand, flagged; as paths of the engine's API."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Annotated

from litestar import get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import Parameter
from msgspec.structs import replace

from nightdesk.core.jobs.plans import Plan, missing_item
from nightdesk.core.outputs.results import page, wanted
from nightdesk.engine.jobs.outputs import OutputJudge
from nightdesk.model.outputs import OutputPage, OutputResult, OutputsAsked, OutputsFlagged

if TYPE_CHECKING:
    from nightdesk.engine.service import Service

Offset = Annotated[int, Parameter(ge=0, le=2**31)]
Limit = Annotated[int, Parameter(ge=1, le=1000)]
States = Annotated[str, Parameter(query="state")]
"""Litestar keeps the name ``state`` of an argument for itself."""


def output_routes(service: Service) -> list[HTTPRouteHandler]:
    """All paths below ``/jobs/{job}/outputs``."""

    @get("/jobs/{job:str}/outputs")
    async def outputs(
        job: str,
        states: States = "",
        rule: str = "",
        text: str = "",
        flagged: bool = False,
        offset: Offset = 0,
        limit: Limit = 200,
    ) -> OutputPage:
        """A part of the newest results of a job's items that match, the worst first, and all summed up."""
        asked = wanted(states, rule, text, flagged=flagged)
        found = await asyncio.to_thread(service.store.results, job)
        return page(job, found, asked, offset=offset, limit=limit)

    @get("/jobs/{job:str}/outputs/items", sync_to_thread=True)
    def items(job: str) -> tuple[str, ...]:
        """The items whose outputs the job's rules are for."""
        return service.supervisor.outputs_plan(job).items or ()

    @post("/jobs/{job:str}/outputs", status_code=200)
    async def look(job: str, data: OutputsAsked) -> tuple[OutputResult, ...]:
        """Look at the outputs of these items now; what comes of it is kept."""
        plan = await asyncio.to_thread(service.supervisor.outputs_plan, job)
        found = await asyncio.to_thread(_looked, service.supervisor.judge, plan, data.items)
        flags = service.store.flags(job)
        return tuple(replace(each, flagged=each.item in flags) for each in found)

    @post("/jobs/{job:str}/outputs/flags", status_code=200)
    async def flag(job: str, data: OutputsFlagged) -> OutputPage:
        """Flag the outputs of items, or take their flags away; all summed up."""
        for item in data.items:
            service.store.save_flag(job, item, data.note if data.flagged else None, time.time_ns())
        found = await asyncio.to_thread(service.store.results, job)
        return replace(page(job, found, wanted("", "", "", flagged=False), limit=1), rows=())

    return [outputs, items, look, flag]


def _looked(judge: OutputJudge, plan: Plan, items: tuple[str, ...]) -> tuple[OutputResult, ...]:
    """Raises UsageError for an item that the job does not have."""
    known = plan.items or ()
    places = {item: index for index, item in enumerate(known)}
    unknown = next((item for item in items if item not in places), None)
    if unknown is not None:
        raise missing_item(unknown, known)
    return tuple(judge.judge(plan, places[item], None, lambda: False) for item in items)

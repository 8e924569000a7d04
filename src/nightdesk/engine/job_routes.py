"""Questions about jobs, runs and items, as paths of the engine's API."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Annotated

from litestar import get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import Parameter
from msgspec.structs import replace

from nightdesk.core.inspection.query import quoted
from nightdesk.engine.jobs.item_lists import ItemLists
from nightdesk.engine.jobs.trials import compare
from nightdesk.model.energy import Energy
from nightdesk.model.items import ItemComparison, ItemDetail, ItemOutcome, ItemPage, ItemRow
from nightdesk.model.job import ItemMove, ItemRecord, JobView, Run, RunAction, StartRun
from nightdesk.model.logs import LogFile
from nightdesk.model.process import TreeMember

if TYPE_CHECKING:
    from nightdesk.engine.service import Service

LIMIT_MOST = 20_000
Offset = Annotated[int, Parameter(ge=0, le=2**60)]
Limit = Annotated[int, Parameter(ge=1, le=LIMIT_MOST)]
States = Annotated[str, Parameter(query="state")]
"""Litestar keeps the name ``state`` of an argument for itself."""


def job_routes(service: Service) -> list[HTTPRouteHandler]:
    """All paths below ``/jobs`` and ``/runs``."""
    return [*_run_routes(service), *_item_routes(service)]


def _run_routes(service: Service) -> list[HTTPRouteHandler]:
    @get("/jobs", sync_to_thread=False)
    def jobs() -> tuple[JobView, ...]:
        """The desk's jobs."""
        service.heed_config()
        return service.supervisor.jobs()

    @get("/jobs/{job:str}/items", sync_to_thread=True)
    def items(job: str) -> tuple[str, ...]:
        """The items of a job, as its source names them now."""
        return service.supervisor.items(job)

    @get("/runs", sync_to_thread=False)
    def runs() -> tuple[Run, ...]:
        """The newest runs, oldest first."""
        return service.supervisor.runs()

    @get("/runs/{run_id:str}", sync_to_thread=False)
    def run(run_id: str) -> Run:
        """One run."""
        return service.run_by_id(run_id)

    @get("/runs/{run_id:str}/tree")
    async def run_tree(run_id: str) -> tuple[TreeMember, ...]:
        """Every process of a run, as a stop or a kill would hit them."""
        return await service.run_tree(run_id)

    @post("/runs")
    async def start(data: StartRun) -> Run:
        """Start a job."""
        service.heed_config()
        return await service.supervisor.start(data)

    @post("/runs/{run_id:str}/{action:str}", status_code=200)
    async def act(run_id: str, action: RunAction) -> Run:
        """Pause, resume, stop or kill a run, or let it stand still after the items in work."""
        return await service.supervisor.act(run_id, action)

    return [jobs, items, runs, run, run_tree, start, act]


def _item_routes(service: Service) -> list[HTTPRouteHandler]:
    lists = ItemLists(service.run_by_id, service.supervisor.active_work)

    @get("/runs/{run_id:str}/items")
    async def item_records(run_id: str) -> tuple[ItemRecord, ...]:
        """What became of the items of a run so far, in the order of time."""
        return await asyncio.to_thread(service.supervisor.item_records, run_id)

    @post("/runs/{run_id:str}/items", status_code=200)
    async def move_items(run_id: str, data: ItemMove) -> Run:
        """Do items first or last, pass over them, or do them again."""
        return await service.supervisor.move_items(run_id, data)

    @get("/runs/{run_id:str}/items/page")
    async def page(
        run_id: str,
        states: States = "",
        text: str = "",
        sort: str = "index",
        offset: Offset = 0,
        limit: Limit = 200,
    ) -> ItemPage:
        """A part of the items of a run that match, and how many there are in each state."""
        now = time.time_ns()
        found = await asyncio.to_thread(lists.page, run_id, states, text, sort, offset, limit, now)
        used = service.energy.items(run_id)
        rows = tuple(_with_energy(row, used.get(row.item)) for row in found.rows) if used else found.rows
        return replace(found, rows=rows)

    @get("/runs/{run_id:str}/items/{index:int}")
    async def item(run_id: str, index: int) -> ItemDetail:
        """One item with its failure, the end of its output, and its exchanges summed up."""
        detail = await asyncio.to_thread(lists.detail, run_id, index, time.time_ns())
        sums = await _sums(service, _exactly(run_id, detail.row.item))
        return replace(detail, **sums, energy=service.energy.items(run_id).get(detail.row.item))

    @post("/runs/{run_id:str}/items/{index:int}/log", status_code=200)
    async def item_log(run_id: str, index: int) -> LogFile:
        """Follow the log that holds the output of an item, so that it can be read."""
        path = await asyncio.to_thread(lists.log_path, run_id, index)
        return service.follow_attempt(service.run_by_id(run_id), path)

    @get("/runs/{run_id:str}/comparison")
    async def comparison(run_id: str) -> ItemComparison:
        """A run of a single item beside what the item gave before."""
        run = service.run_by_id(run_id)
        runs = service.supervisor.runs()
        found = await asyncio.to_thread(compare, run, runs, lists.record)
        return await _with_sums(service, found)

    return [item_records, move_items, page, item, item_log, comparison]


async def _with_sums(service: Service, found: ItemComparison) -> ItemComparison:
    async def summed(outcome: ItemOutcome) -> ItemOutcome:
        return replace(outcome, **await _sums(service, _exactly(outcome.run, found.item)))

    before = await summed(found.before) if found.before else None
    return replace(found, now=await summed(found.now), before=before)


async def _sums(service: Service, query: str) -> dict[str, int]:
    """Exchanges and tokens; nothing is said of tokens where there was no exchange."""
    totals = await service.exchanges.totals(query)
    if not totals.count:
        return {"exchanges": 0}
    tokens = {"prompt_tokens": totals.prompt_tokens, "reply_tokens": totals.reply_tokens}
    return {"exchanges": totals.count, **tokens}


def _with_energy(row: ItemRow, used: Energy | None) -> ItemRow:
    if used is None:
        return row
    return replace(row, energy_j=used.gross_j if used.energy_j is None else used.energy_j)


def _exactly(run_id: str, item: str) -> str:
    """The query that finds the exchanges of one item in one run."""
    return f"run:={quoted(run_id)} item:={quoted(item)}"

"""Questions about processes and signals to them, as paths of the engine's API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from litestar import get, post
from litestar.handlers import HTTPRouteHandler

from nightdesk.model.base import ProcessKey
from nightdesk.model.inspected import ProcessDetail, Stacks
from nightdesk.model.process import (
    OrphanTree,
    ProcessRow,
    SignalReport,
    SignalRequest,
    StopAllReport,
    TreeAction,
    TreeMember,
)

if TYPE_CHECKING:
    from nightdesk.engine.service import Service


def process_routes(service: Service) -> list[HTTPRouteHandler]:
    """All paths below ``/processes``, the orphans, and the end of everything."""
    return [*_questions(service), *_deeds(service)]


def _questions(service: Service) -> list[HTTPRouteHandler]:
    @get("/processes")
    async def processes(fresh: bool = False) -> tuple[ProcessRow, ...]:
        """The process table as of the newest sample, or as it is now."""
        return await service.care.rows(fresh=fresh)

    @get("/processes/{pid:int}/{started_ns:int}/tree")
    async def tree(pid: int, started_ns: int) -> tuple[TreeMember, ...]:
        """A process and everything below it, root first."""
        return await service.care.tree(ProcessKey(pid=pid, started_ns=started_ns))

    @get("/processes/{pid:int}/{started_ns:int}/detail")
    async def detail(pid: int, started_ns: int) -> ProcessDetail:
        """One process in full, with the last hour of it."""
        return await service.care.detail(ProcessKey(pid=pid, started_ns=started_ns))

    @get("/processes/{pid:int}/{started_ns:int}/stacks")
    async def stacks(pid: int, started_ns: int) -> Stacks:
        """Where the threads of a Python process stand."""
        return await service.care.stacks(ProcessKey(pid=pid, started_ns=started_ns))

    @get("/orphans")
    async def orphans() -> tuple[OrphanTree, ...]:
        """What was left behind, the largest first, with everything below."""
        return await service.care.orphans()

    @get("/stop-all")
    async def everything() -> tuple[TreeMember, ...]:
        """What a stop of everything would end."""
        return await service.care.everything()

    return [processes, tree, detail, stacks, orphans, everything]


def _deeds(service: Service) -> list[HTTPRouteHandler]:
    @post("/processes/{pid:int}/{started_ns:int}/{action:str}", status_code=200)
    async def signal(pid: int, started_ns: int, action: TreeAction) -> SignalReport:
        """Pause, resume, stop or kill one tree."""
        return await service.care.signal((ProcessKey(pid=pid, started_ns=started_ns),), action)

    @post("/processes/{action:str}", status_code=200)
    async def signal_several(action: TreeAction, data: SignalRequest) -> SignalReport:
        """Pause, resume, stop or kill several trees."""
        return await service.care.signal(data.keys, action)

    @post("/orphans/clean", status_code=200)
    async def clean(data: SignalRequest) -> SignalReport:
        """End those of the named processes that are orphans, with everything below."""
        return await service.care.clean(data.keys)

    @post("/stop-all", status_code=200)
    async def stop_all() -> StopAllReport:
        """Stop all runs, end what earlier runs left behind, unload the models. Waits until that is done."""
        return await service.care.stop_all()

    return [signal, signal_several, clean, stop_all]

"""The engine's API: plain HTTP and JSON on a Unix socket, OpenAPI at ``/schema``.

Handlers translate; all decisions are the service's. Errors leave as :class:`ErrorBody` with one sentence and hint.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from litestar import Litestar, Request, Response, Router, get, post
from litestar.datastructures import State
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import OpenAPIConfig
from litestar.response import Stream

from nightdesk import __version__
from nightdesk.engine.diagnostics_routes import diagnostics_routes
from nightdesk.engine.energy_routes import energy_routes
from nightdesk.engine.exchange_routes import exchange_routes
from nightdesk.engine.hindsight_routes import hindsight_routes
from nightdesk.engine.job_routes import job_routes
from nightdesk.engine.log_routes import log_routes
from nightdesk.engine.output_routes import output_routes
from nightdesk.engine.process_routes import process_routes
from nightdesk.engine.replay_routes import replay_routes
from nightdesk.engine.whisper_routes import whisper_routes
from nightdesk.model.desk import ErrorBody, Snapshot, Status
from nightdesk.model.errors import NightdeskError, UsageError
from nightdesk.model.sample import Sample

if TYPE_CHECKING:
    from nightdesk.engine.service import Service

logger = logging.getLogger(__name__)

AnyRequest = Request[Any, Any, State]


def make_app(service: Service) -> Litestar:
    """The ASGI application of one engine."""
    routes = [
        *_desk_routes(service),
        *process_routes(service),
        *diagnostics_routes(service),
        *job_routes(service),
        *output_routes(service),
        *exchange_routes(service),
        *hindsight_routes(service),
        *replay_routes(service),
        *log_routes(service),
        *energy_routes(service),
        *whisper_routes(service),
    ]
    return Litestar(
        route_handlers=[Router(path="/v1", route_handlers=routes)],
        openapi_config=OpenAPIConfig(title="Nightdesk engine", version=__version__, path="/schema"),
        exception_handlers={
            NightdeskError: _refuse,
            HTTPException: _refuse_request,
            Exception: _fail,
        },
        logging_config=None,
    )


def _refuse(_request: AnyRequest, error: NightdeskError) -> Response[ErrorBody]:
    status = 409 if isinstance(error, UsageError) else 500
    return Response(ErrorBody(message=error.message, hint=error.hint), status_code=status)


def _refuse_request(_request: AnyRequest, error: HTTPException) -> Response[ErrorBody]:
    return Response(ErrorBody(message=error.detail), status_code=error.status_code)


def _fail(request: AnyRequest, error: Exception) -> Response[ErrorBody]:
    logger.error("%s %s failed", request.method, request.url.path, exc_info=error)
    message = f"The engine failed at {request.method} {request.url.path}: {type(error).__name__}: {error}."
    return Response(ErrorBody(message=message, hint="Its log has the details."), status_code=500)


def _desk_routes(service: Service) -> list[HTTPRouteHandler]:
    @get("/status", sync_to_thread=False)
    def status() -> Status:
        """The desk in one object."""
        return service.status()

    @get("/snapshot", sync_to_thread=False)
    def snapshot() -> Snapshot:
        """Everything that a viewer draws."""
        return service.snapshot()

    @get("/events")
    async def events() -> Stream:
        """Server-sent events: a snapshot, then numbered changes."""
        headers = {"Cache-Control": "no-store"}
        return Stream(service.bus.events(service.snapshot), media_type="text/event-stream", headers=headers)

    @get("/samples")
    async def samples(since_ns: int, until_ns: int = 2**62, resolution_s: int = 1) -> tuple[Sample, ...]:
        """Recorded samples of a span; resolutions are 1, 10 and 60 seconds."""
        return await asyncio.to_thread(service.store.samples, since_ns, until_ns, resolution_s)

    @post("/shutdown", sync_to_thread=False, status_code=200)
    def shutdown() -> Status:
        """End the engine. Runs go on."""
        now = service.status()
        service.stop()
        return now

    return [status, snapshot, events, samples, shutdown]

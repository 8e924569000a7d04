"""Transcriptions, as a path of the engine's API."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Annotated

from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.params import Parameter

from nightdesk.engine.transcriptions import Transcriptions
from nightdesk.model.whisper import Transcription

if TYPE_CHECKING:
    from nightdesk.engine.service import Service

Count = Annotated[int, Parameter(ge=0, le=2**31)]


def whisper_routes(service: Service) -> list[HTTPRouteHandler]:
    """What the transcriptions of a run have come to."""
    transcriptions = Transcriptions(service.run_by_id, service.supervisor.active_work)

    @get("/runs/{run_id:str}/whisper")
    async def whisper(run_id: str, file: Count | None = None, after: Count = 0) -> Transcription:
        """All files of a run, and the segments of one from a number on; without ``file`` of the one in work."""
        return await asyncio.to_thread(transcriptions.view, run_id, file, after, time.time_ns())

    return [whisper]

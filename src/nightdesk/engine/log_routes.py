"""Log files, as paths of the engine's API."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.params import Parameter

from nightdesk.engine.logs.item_spans import item_spans
from nightdesk.engine.logs.reader import LogReader
from nightdesk.engine.logs.views import LogViews
from nightdesk.engine.logs.window import MAX_WINDOW
from nightdesk.model.logs import (
    LogErrors,
    LogFile,
    LogIndex,
    LogItems,
    LogLevels,
    LogSearch,
    LogView,
    LogWindow,
)

if TYPE_CHECKING:
    from nightdesk.engine.service import Service

MaxBytes = Annotated[int, Parameter(ge=1, le=MAX_WINDOW)]
Asked = Annotated[str, Parameter(query="query")]
Number = Annotated[int, Parameter(ge=1, le=2**60)]


def log_routes(service: Service) -> list[HTTPRouteHandler]:
    """All paths below ``/logs``."""
    views = LogViews(
        service.logs.files,
        lambda run: _job_of(service, run),
        lambda file, items: item_spans(service, file, items),
    )
    reader = LogReader(service.logs, views)
    return [*_window_routes(service, reader), *_search_routes(reader)]


def _window_routes(service: Service, reader: LogReader) -> list[HTTPRouteHandler]:
    @get("/logs", sync_to_thread=False)
    def logs() -> tuple[LogFile, ...]:
        """The followed files."""
        return service.logs.files()

    @get("/logs/view")
    async def view(asked: Asked = "") -> LogView:
        """Several logs in one: merged by time, only the lines that ``query`` asks for; asking again goes on.

        Its id is asked for windows, searches, errors and levels like that of a file.
        """
        return await asyncio.to_thread(reader.view, asked)

    @get("/logs/{log_id:str}/window")
    async def window(
        log_id: str, start: int | None = None, end: int | None = None, max_bytes: MaxBytes = 65536
    ) -> LogWindow:
        """Whole lines of a followed file: forwards from ``start``, or backwards from ``end``."""
        return await asyncio.to_thread(reader.window, log_id, start=start, end=end, max_bytes=max_bytes)

    @get("/logs/{log_id:str}/line")
    async def line(log_id: str, number: Number, max_bytes: MaxBytes = 65536) -> LogWindow:
        """Lines from a line on, given by its number from 1; the last line where there are fewer."""
        return await asyncio.to_thread(reader.line, log_id, number, max_bytes)

    @get("/logs/{log_id:str}/moment")
    async def moment(log_id: str, at_ns: int, max_bytes: MaxBytes = 65536) -> LogWindow:
        """Lines from the first one on that was written at a moment or later."""
        return await asyncio.to_thread(reader.moment, log_id, at_ns, max_bytes)

    @get("/logs/{log_id:str}/index")
    async def index(log_id: str) -> LogIndex:
        """How many lines the file has, as far as they are counted."""
        return await asyncio.to_thread(reader.index, log_id)

    return [logs, view, window, line, moment, index]


def _search_routes(reader: LogReader) -> list[HTTPRouteHandler]:
    @get("/logs/{log_id:str}/search")
    async def search(log_id: str, text: str, regex: bool = False, at: int = -1) -> LogSearch:
        """Lines that hold a text, and the nearest ones before and behind the line that starts at ``at``.

        An answer that is not complete says how far the search is; asking again goes on.
        """
        return await asyncio.to_thread(reader.search, log_id, text, regex=regex, at=at)

    @get("/logs/{log_id:str}/errors")
    async def errors(log_id: str) -> LogErrors:
        """The errors of a file, alike ones put together; asking again goes on where it is not complete."""
        return await asyncio.to_thread(reader.errors, log_id)

    @get("/logs/{log_id:str}/items")
    async def items(log_id: str) -> LogItems:
        """How long the items took that a file counts in its lines; asking again goes on where it is not complete."""
        return await asyncio.to_thread(reader.items, log_id)

    @get("/logs/{log_id:str}/levels")
    async def levels(log_id: str) -> LogLevels:
        """How many errors, warnings and other lines there are, from the file's beginning to its end."""
        return await asyncio.to_thread(reader.levels, log_id)

    return [search, errors, items, levels]


def _job_of(service: Service, run: str) -> str | None:
    return next((each.job for each in service.supervisor.runs() if each.id == run), None)

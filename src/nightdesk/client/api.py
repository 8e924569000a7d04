"""Typed clients of the engine's API: :class:`Engine` for commands, :class:`AsyncEngine` for the viewer.

Both speak plain HTTP and JSON over the desk's Unix socket, so everything here can be done with
``curl --unix-socket`` as well. They raise EngineUnavailableError when nobody answers, and NightdeskError with the
engine's own sentence when it refuses.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TypeVar

import httpx
import msgspec

from nightdesk.model.base import ProcessKey
from nightdesk.model.desk import (
    API_VERSION,
    Change,
    ErrorBody,
    Snapshot,
    Status,
    change_decoder,
    snapshot_decoder,
)
from nightdesk.model.errors import EngineUnavailableError, NightdeskError, UsageError
from nightdesk.model.exchange import Exchange, ExchangeRow
from nightdesk.model.job import JobView, Run, RunAction, StartRun
from nightdesk.model.logs import LogFile, LogWindow
from nightdesk.model.process import ProcessRow, SignalReport, TreeAction, TreeMember

BASE = "http://nightdesk"
"""Any host will do: the socket decides who answers."""
PREFIX = "/v1"
CONNECT_SECONDS = 2.0
ANSWER_SECONDS = 30.0
"""Stopping a tree may wait for its grace period; everything else answers at once."""
SILENCE_SECONDS = 40.0
"""The engine says something on the event stream at least every 15 s."""

T = TypeVar("T")


class Engine:
    """The engine as a command sees it: one call, one answer."""

    def __init__(self, socket: Path) -> None:
        self.socket = socket
        self._http = httpx.Client(
            transport=httpx.HTTPTransport(uds=str(socket)),
            base_url=BASE,
            timeout=httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS),
        )

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def status(self) -> Status:
        """The desk in one object."""
        return self._get("/status", Status)

    def snapshot(self) -> Snapshot:
        """Everything that a viewer draws."""
        return self._get("/snapshot", Snapshot)

    def processes(self) -> tuple[ProcessRow, ...]:
        """The process table as of the newest sample."""
        return self._get("/processes", tuple[ProcessRow, ...])

    def tree(self, key: ProcessKey) -> tuple[TreeMember, ...]:
        """The process and everything below it, root first."""
        return self._get(f"/processes/{key.pid}/{key.started_ns}/tree", tuple[TreeMember, ...])

    def signal(self, key: ProcessKey, action: TreeAction) -> SignalReport:
        """Pause, resume, stop or kill one tree."""
        return self._post(f"/processes/{key.pid}/{key.started_ns}/{action}", SignalReport)

    def jobs(self) -> tuple[JobView, ...]:
        """The desk's jobs."""
        return self._get("/jobs", tuple[JobView, ...])

    def items(self, job: str) -> tuple[str, ...]:
        """The items of a job, as its glob finds them now."""
        return self._get(f"/jobs/{job}/items", tuple[str, ...])

    def runs(self) -> tuple[Run, ...]:
        """The newest runs, oldest first."""
        return self._get("/runs", tuple[Run, ...])

    def run(self, run_id: str) -> Run:
        """One run."""
        return self._get(f"/runs/{run_id}", Run)

    def start(self, request: StartRun) -> Run:
        """Start a job."""
        return self._post("/runs", Run, request)

    def act(self, run_id: str, action: RunAction) -> Run:
        """Pause, resume, stop or kill a run."""
        return self._post(f"/runs/{run_id}/{action}", Run)

    def exchanges(
        self, limit: int = 100, before: int | None = None, text: str = ""
    ) -> tuple[ExchangeRow, ...]:
        """Exchanges, oldest first: the newest ``limit`` with an id below ``before`` that hold ``text``."""
        query: dict[str, str | int] = {"limit": limit}
        if before is not None:
            query["before"] = before
        if text:
            query["text"] = text
        return self._get("/exchanges", tuple[ExchangeRow, ...], query)

    def exchange(self, exchange_id: int) -> Exchange:
        """One exchange with its bodies."""
        return self._get(f"/exchanges/{exchange_id}", Exchange)

    def logs(self) -> tuple[LogFile, ...]:
        """The followed files."""
        return self._get("/logs", tuple[LogFile, ...])

    def log_window(
        self, log_id: str, *, start: int | None = None, end: int | None = None, max_bytes: int = 65536
    ) -> LogWindow:
        """Whole lines of a followed file: forwards from ``start``, or backwards from ``end`` (None: its end)."""
        return self._get(f"/logs/{log_id}/window", LogWindow, _window_query(start, end, max_bytes))

    def shutdown(self) -> Status:
        """Ask the engine to end. Runs go on."""
        return self._post("/shutdown", Status)

    def changes(self) -> Iterator[Snapshot | Change]:
        """A snapshot, then changes, until the engine ends."""
        with (
            _named(self.socket),
            self._http.stream("GET", PREFIX + "/events", timeout=SILENCE_SECONDS) as answer,
        ):
            parser = EventParser()
            for chunk in answer.iter_bytes():
                yield from parser.feed(chunk)

    def _get(self, path: str, kind: type[T], query: dict[str, str | int] | None = None) -> T:
        with _named(self.socket):
            answer = self._http.get(PREFIX + path, params=query)
        return _decode(answer, kind)

    def _post(self, path: str, kind: type[T], body: object = None) -> T:
        with _named(self.socket):
            answer = self._http.post(PREFIX + path, content=msgspec.json.encode(body), headers=_JSON)
        return _decode(answer, kind)


class AsyncEngine:
    """The engine as the viewer sees it. Same calls as :class:`Engine`, without blocking the screen."""

    def __init__(self, socket: Path) -> None:
        self.socket = socket
        self._http = httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport(uds=str(socket)),
            base_url=BASE,
            timeout=httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS),
        )

    async def aclose(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def status(self) -> Status:
        """The desk in one object."""
        return await self._get("/status", Status)

    async def tree(self, key: ProcessKey) -> tuple[TreeMember, ...]:
        """The process and everything below it, root first."""
        return await self._get(f"/processes/{key.pid}/{key.started_ns}/tree", tuple[TreeMember, ...])

    async def signal(self, key: ProcessKey, action: TreeAction) -> SignalReport:
        """Pause, resume, stop or kill one tree."""
        return await self._post(f"/processes/{key.pid}/{key.started_ns}/{action}", SignalReport)

    async def run_tree(self, run_id: str) -> tuple[TreeMember, ...]:
        """Every process of a run, as a stop or a kill would hit them."""
        return await self._get(f"/runs/{run_id}/tree", tuple[TreeMember, ...])

    async def items(self, job: str) -> tuple[str, ...]:
        """The items of a job, as its glob finds them now."""
        return await self._get(f"/jobs/{job}/items", tuple[str, ...])

    async def start(self, request: StartRun) -> Run:
        """Start a job."""
        return await self._post("/runs", Run, request)

    async def act(self, run_id: str, action: RunAction) -> Run:
        """Pause, resume, stop or kill a run."""
        return await self._post(f"/runs/{run_id}/{action}", Run)

    async def exchange(self, exchange_id: int) -> Exchange:
        """One exchange with its bodies; of a running one, what has come so far."""
        return await self._get(f"/exchanges/{exchange_id}", Exchange)

    async def log_window(
        self, log_id: str, *, start: int | None = None, end: int | None = None, max_bytes: int = 65536
    ) -> LogWindow:
        """Whole lines of a followed file: forwards from ``start``, or backwards from ``end`` (None: its end)."""
        return await self._get(f"/logs/{log_id}/window", LogWindow, _window_query(start, end, max_bytes))

    async def changes(self) -> AsyncIterator[Snapshot | Change]:
        """A snapshot, then changes; a new snapshot after changes were lost. Ends when the engine ends."""
        with _named(self.socket):
            async with self._http.stream("GET", PREFIX + "/events", timeout=SILENCE_SECONDS) as answer:
                parser = EventParser()
                async for chunk in answer.aiter_bytes():
                    for event in parser.feed(chunk):
                        yield event

    async def _get(self, path: str, kind: type[T], query: dict[str, str | int] | None = None) -> T:
        with _named(self.socket):
            answer = await self._http.get(PREFIX + path, params=query)
        return _decode(answer, kind)

    async def _post(self, path: str, kind: type[T], body: object = None) -> T:
        with _named(self.socket):
            answer = await self._http.post(PREFIX + path, content=msgspec.json.encode(body), headers=_JSON)
        return _decode(answer, kind)


class EventParser:
    """Server-sent events of the engine → snapshots and changes. Comments (keep-alives) are skipped."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def feed(self, data: bytes) -> Iterator[Snapshot | Change]:
        """The events that are complete with ``data``."""
        self._parts.append(data)
        if b"\n" not in data:
            return
        *blocks, rest = b"".join(self._parts).split(b"\n\n")
        self._parts = [rest]
        for block in blocks:
            event = _parse_event(block)
            if event is not None:
                yield event


def _parse_event(block: bytes) -> Snapshot | Change | None:
    kind = payload = b""
    for line in block.split(b"\n"):
        name, _, value = line.partition(b": ")
        if name == b"event":
            kind = value
        elif name == b"data":
            payload = value
    if kind == b"snapshot":
        snapshot = snapshot_decoder.decode(payload)
        _check_version(snapshot.desk.api_version)
        return snapshot
    try:
        return change_decoder.decode(payload) if kind == b"change" else None
    except msgspec.ValidationError:
        # A newer engine may tell of things that this viewer does not know yet.
        return None


def _check_version(theirs: int) -> None:
    if theirs == API_VERSION:
        return
    older = "The running engine" if theirs < API_VERSION else "This viewer"
    raise NightdeskError(
        f"Engine and viewer speak different versions of the API ({theirs} and {API_VERSION}).",
        f"{older} is the older one: run `nightdesk down` (runs go on) and start Nightdesk again.",
    )


_JSON = {"Content-Type": "application/json"}


def _window_query(start: int | None, end: int | None, max_bytes: int) -> dict[str, str | int]:
    given = {"start": start, "end": end, "max_bytes": max_bytes}
    return {name: value for name, value in given.items() if value is not None}


def _decode(answer: httpx.Response, kind: type[T]) -> T:
    if answer.is_success:
        return msgspec.json.decode(answer.content, type=kind)
    try:
        said = msgspec.json.decode(answer.content, type=ErrorBody)
    except msgspec.DecodeError:
        said = ErrorBody(message=f"The engine answered {answer.status_code} to {answer.request.url.path}.")
    error = UsageError if answer.status_code in (400, 404, 409) else NightdeskError
    raise error(said.message, said.hint)


class _named:  # noqa: N801 - reads as a function in a with statement
    """Turns transport errors into a sentence that names the socket."""

    def __init__(self, socket: Path) -> None:
        self.socket = socket

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, httpx.TimeoutException):
            raise EngineUnavailableError(
                f"The engine at {self.socket} did not answer in time.",
                "Look at its log: nightdesk doctor names the file.",
            ) from error
        if isinstance(error, httpx.TransportError):
            raise EngineUnavailableError(
                f"No engine answers at {self.socket}.", "Start one with: nightdesk up"
            ) from error

"""Asks the model servers on the watched ports which version they are and which models they hold.

Two small GETs every few seconds, a third once a minute, on one kept connection, with our own User-Agent, which the
capture leaves out.
"""

from __future__ import annotations

import asyncio
import http.client
import time
from collections.abc import Awaitable, Callable
from datetime import datetime

import msgspec
from msgspec.structs import replace

from nightdesk import __version__
from nightdesk.model.desk import LoadedModel, ModelServer
from nightdesk.model.process import ProcessRef

INTERVAL_SECONDS = 3.0
IDLE_INTERVAL_SECONDS = 15.0
"""While no viewer looks."""
ANSWER_SECONDS = 2.0
BODY_LIMIT = 4_000_000
LIST_NS = 60 * 10**9
"""Between two looks at the list of all models: it changes when somebody pulls one."""


class _RunningModel(msgspec.Struct):
    name: str
    size: int | None = None
    size_vram: int | None = None
    context_length: int | None = None
    expires_at: str | None = None


class _RunningModels(msgspec.Struct):
    models: list[_RunningModel] | None = None


class _InstalledModel(msgspec.Struct):
    name: str


class _InstalledModels(msgspec.Struct):
    models: list[_InstalledModel] | None = None


class _Version(msgspec.Struct):
    version: str


class ServerWatch:
    """Knows the model servers. ``publish`` hears of them when anything but the time is different.

    ``pause(watched, unwatched)`` sleeps so many seconds, depending on whether a viewer looks.
    """

    def __init__(
        self,
        ports: tuple[int, ...],
        publish: Callable[[tuple[ModelServer, ...]], None],
        pause: Callable[[float, float], Awaitable[None]],
        owner: Callable[[int], ProcessRef | None] = lambda port: None,
    ) -> None:
        """``owner`` tells who listens on a port."""
        self.servers: tuple[ModelServer, ...] = ()
        self._ports = ports
        self._publish = publish
        self._pause = pause
        self._owner = owner

    async def run(self) -> None:
        """Ask until cancelled."""
        asked = [_Kept(port) for port in self._ports]
        try:
            while True:
                answers = [await asyncio.to_thread(server.ask) for server in asked]
                servers = tuple(
                    replace(answer, process=self._owner(server.port))
                    for server, answer in zip(asked, answers, strict=True)
                )
                if _without_time(servers) != _without_time(self.servers):
                    self._publish(servers)
                self.servers = servers
                await self._pause(INTERVAL_SECONDS, IDLE_INTERVAL_SECONDS)
        finally:
            for server in asked:
                server.close()


class _Kept:
    """The connection to one server, kept between questions. Blocking."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._installed: tuple[str, ...] = ()
        self._listed_ns = 0
        self._http = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_SECONDS)

    def close(self) -> None:
        """Hang up."""
        self._http.close()

    def ask(self) -> ModelServer:
        """The server as it is now."""
        at_ns = time.time_ns()
        address = f"127.0.0.1:{self.port}"
        try:
            version, running = self._get("/api/version"), self._get("/api/ps")
            if at_ns - self._listed_ns > LIST_NS:
                self._installed = installed_models(self._get("/api/tags"))
                self._listed_ns = at_ns
        except (OSError, http.client.HTTPException) as fault:
            self.close()
            why = "nobody listens" if isinstance(fault, ConnectionRefusedError) else type(fault).__name__
            return ModelServer(
                address=address, state="down", message=f"Port {self.port}: {why}.", at_ns=at_ns
            )
        return replace(_server(address, version, running, at_ns), installed=self._installed)

    def _get(self, path: str) -> bytes:
        """The body; once more where the server closed the kept connection meanwhile. Raises OSError, HTTPException."""
        was_open = self._http.sock is not None
        try:
            return self._get_once(path)
        except (ConnectionResetError, BrokenPipeError, http.client.RemoteDisconnected):
            self.close()
            if not was_open:
                raise
            return self._get_once(path)

    def _get_once(self, path: str) -> bytes:
        self._http.request("GET", path, headers={"User-Agent": f"nightdesk/{__version__}"})
        with self._http.getresponse() as answer:
            return answer.read(BODY_LIMIT)


def loaded_models(body: bytes) -> tuple[LoadedModel, ...]:
    """What ``/api/ps`` lists. Raises msgspec.DecodeError, a ValueError."""
    return tuple(map(_loaded, msgspec.json.decode(body, type=_RunningModels).models or ()))


def installed_models(body: bytes) -> tuple[str, ...]:
    """The names that ``/api/tags`` lists; none where the answer is something else."""
    try:
        models = msgspec.json.decode(body, type=_InstalledModels).models or ()
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ()
    return tuple(model.name for model in models)


def _server(address: str, version: bytes, running: bytes, at_ns: int) -> ModelServer:
    try:
        return ModelServer(
            address=address,
            state="up",
            version=msgspec.json.decode(version, type=_Version).version,
            models=loaded_models(running),
            at_ns=at_ns,
        )
    except (msgspec.DecodeError, UnicodeDecodeError):
        # Something else than Ollama listens there: it is up, and nothing more is known.
        return ModelServer(address=address, state="up", message="Not an Ollama server.", at_ns=at_ns)


def _loaded(model: _RunningModel) -> LoadedModel:
    return LoadedModel(
        name=model.name,
        size_bytes=model.size,
        vram_bytes=model.size_vram,
        context=model.context_length,
        expires_ns=_time_ns(model.expires_at),
    )


def _time_ns(text: str | None) -> int | None:
    try:
        return int(datetime.fromisoformat(text).timestamp()) * 10**9 if text else None
    except ValueError:
        return None


def _without_time(servers: tuple[ModelServer, ...]) -> list[tuple[object, ...]]:
    return [
        (
            s.address,
            s.state,
            s.version,
            s.installed,
            s.process,
            tuple((m.name, m.size_bytes, m.vram_bytes, m.context) for m in s.models),
        )
        for s in servers
    ]

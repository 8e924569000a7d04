"""Asks the model servers on the watched ports which version they are and which models they hold.

Two small GETs every few seconds, on one kept connection, with our own User-Agent, which the capture leaves out.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from datetime import datetime

import httpx
import msgspec

from nightdesk import __version__
from nightdesk.model.desk import LoadedModel, ModelServer

INTERVAL_SECONDS = 3.0
IDLE_INTERVAL_SECONDS = 15.0
"""While no viewer looks."""
ANSWER_SECONDS = 2.0


class _RunningModel(msgspec.Struct):
    name: str
    size: int | None = None
    size_vram: int | None = None
    context_length: int | None = None
    expires_at: str | None = None


class _RunningModels(msgspec.Struct):
    models: list[_RunningModel] | None = None


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
    ) -> None:
        self.servers: tuple[ModelServer, ...] = ()
        self._ports = ports
        self._publish = publish
        self._pause = pause

    async def run(self) -> None:
        """Ask until cancelled."""
        async with httpx.AsyncClient(
            timeout=ANSWER_SECONDS, headers={"User-Agent": f"nightdesk/{__version__}"}, trust_env=False
        ) as http:
            while True:
                servers = tuple([await _ask(http, port) for port in self._ports])
                if _without_time(servers) != _without_time(self.servers):
                    self._publish(servers)
                self.servers = servers
                await self._pause(INTERVAL_SECONDS, IDLE_INTERVAL_SECONDS)


async def _ask(http: httpx.AsyncClient, port: int) -> ModelServer:
    address = f"127.0.0.1:{port}"
    at_ns = time.time_ns()
    try:
        version = await http.get(f"http://{address}/api/version")
        running = await http.get(f"http://{address}/api/ps")
    except httpx.HTTPError as fault:
        why = "nobody listens" if isinstance(fault, httpx.ConnectError) else type(fault).__name__
        return ModelServer(address=address, state="down", message=f"Port {port}: {why}.", at_ns=at_ns)
    try:
        return ModelServer(
            address=address,
            state="up",
            version=msgspec.json.decode(version.content, type=_Version).version,
            models=tuple(
                map(_loaded, msgspec.json.decode(running.content, type=_RunningModels).models or ())
            ),
            at_ns=at_ns,
        )
    except msgspec.DecodeError:
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
        (s.address, s.state, s.version, tuple((m.name, m.size_bytes, m.vram_bytes) for m in s.models))
        for s in servers
    ]

"""The demo's model server: Ollama's wire format on loopback, with text made up from a seed.

It depends on asyncio and msgspec only. Nobody but this machine can reach it: it listens on 127.0.0.1, and refuses
foreign ``Host`` and ``Origin`` headers as Ollama does.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import re
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TextIO
from urllib.parse import urlsplit

from nightdesk.demo import anthropic, openai
from nightdesk.demo.generation import RefusedError
from nightdesk.demo.models import Shelf
from nightdesk.demo.ollama import GONE, OllamaDialect
from nightdesk.demo.wire import (
    HEAD_LIMIT,
    JSON,
    PLAIN_JSON,
    ClientGoneError,
    Reply,
    Request,
    WireError,
    encode,
    read_request,
)

LOOPBACK = "127.0.0.1"
DEFAULT_SPEED = 40.0
DEFAULT_LOAD_S = 1.5

Handler = Callable[[Reply], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Settings:
    """How the server behaves."""

    port: int = 0
    """0 takes a free one."""
    speed: float = DEFAULT_SPEED
    """Tokens a second of a model with pace 1; 0 writes without pauses."""
    load_s: float = DEFAULT_LOAD_S
    """Seconds that loading a model of about 5 GB takes."""
    log: TextIO | None = None
    """Gets an access log in Ollama's form."""


class ModelServer:
    """A model server for one event loop. Use :meth:`start`, :attr:`address` and :meth:`stop`."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.shelf = Shelf(settings.load_s)
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._in_work = 0
        self._last_used = time.monotonic()
        self._routes = self._make_routes()

    @property
    def port(self) -> int:
        """The port it listens on. Only after :meth:`start`."""
        assert self._server is not None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    @property
    def address(self) -> str:
        """``http://127.0.0.1:PORT``."""
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def idle_s(self) -> float:
        """Seconds since the last request ended; 0 while one is in work."""
        return 0.0 if self._in_work else time.monotonic() - self._last_used

    async def start(self) -> None:
        """Begins to listen. Raises OSError where the port is taken."""
        self._server = await asyncio.start_server(
            self._serve, LOOPBACK, self.settings.port, limit=HEAD_LIMIT, backlog=128
        )
        self._say(f'level=INFO source=routes.go msg="Listening on {LOOPBACK}:{self.port} (nightdesk demo)"')

    async def stop(self) -> None:
        """Stops listening and drops all connections."""
        assert self._server is not None
        self._server.close()
        for writer in list(self._writers):
            writer.close()
        await self._server.wait_closed()

    def _make_routes(self) -> dict[str, dict[str, Handler]]:
        ollama = OllamaDialect(self.shelf, self.settings.speed, self._warn)
        compatible = openai.OpenAIDialect(ollama)
        get: dict[str, Handler] = {
            "/": _running,
            "/api/tags": ollama.tags,
            "/api/ps": ollama.ps,
            "/api/version": ollama.version,
            "/v1/models": compatible.models,
        }
        post: dict[str, Handler] = {
            "/api/generate": ollama.generate,
            "/api/chat": ollama.chat,
            "/api/embed": ollama.embed,
            "/api/embeddings": ollama.embeddings,
            "/api/show": ollama.show,
            "/v1/chat/completions": compatible.chat,
            "/v1/completions": compatible.completions,
            "/v1/embeddings": compatible.embeddings,
            "/v1/messages": anthropic.AnthropicDialect(ollama).messages,
        }
        both = {path: {"HEAD": handler, "GET": handler} for path, handler in get.items()}
        return both | {path: {"POST": handler} for path, handler in post.items()}

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while not writer.is_closing() and await self._serve_one(reader, writer):
                pass
        except (ClientGoneError, ConnectionError, asyncio.CancelledError):
            pass  # the client, or the server as a whole, has ended: nothing is left to be told
        finally:
            self._writers.discard(writer)
            writer.close()
            with contextlib.suppress(ConnectionError, asyncio.CancelledError):
                await writer.wait_closed()

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        try:
            request = await read_request(reader, writer)
        except WireError as fault:
            text = str(fault)
            head = f"HTTP/1.1 {text}\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n{text}"
            writer.write(head.encode())
            return False
        if request is None:
            return False
        reply = Reply(reader, writer, request)
        began = time.monotonic_ns()
        self._in_work += 1
        try:
            await self._dispatch(reply)
        finally:
            self._in_work -= 1
            self._last_used = time.monotonic()
            self._log_access(reply, time.monotonic_ns() - began)
        return not reply.close

    async def _dispatch(self, reply: Reply) -> None:
        request = reply.request
        if not _is_local(request):
            await reply.body(b"", 403)
            return
        handlers = self._routes.get(request.path)
        if handlers is None:
            await reply.body(b"404 page not found", 404, "text/plain")
        elif (handler := handlers.get(request.method)) is None:
            allowed = {"Allow": ", ".join(handlers)}
            await reply.body(b"405 method not allowed", 405, "text/plain", allowed)
        else:
            await self._handle(handler, reply)

    async def _handle(self, handler: Handler, reply: Reply) -> None:
        try:
            await handler(reply)
        except RefusedError as fault:
            reply.status = fault.status
            await reply.body(
                _refusal(reply.request.path, fault), fault.status, _refusal_kind(reply.request, fault)
            )
        except ClientGoneError:
            if not reply.began:
                await reply.json({"error": GONE}, 500)
            raise

    def _warn(self, message: str) -> None:
        self._say(f"level=WARN source=llama_server.go:317 {message}")

    def _say(self, message: str) -> None:
        if self.settings.log is not None:
            now = time.time_ns()
            at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now // 10**9))
            print(f"time={at}.{now // 10**6 % 1000:03}Z {message}", file=self.settings.log, flush=True)

    def _log_access(self, reply: Reply, took_ns: int) -> None:
        if self.settings.log is not None:
            at = time.strftime("%Y/%m/%d - %H:%M:%S")
            took = f"{took_ns / 1e6:.6f}ms" if took_ns < 10**9 else f"{took_ns / 1e9:.9f}s"
            request = reply.request
            line = f'[GIN] {at} | {reply.status} | {took:>13} | {LOOPBACK:>15} | {request.method:<8} "{request.path}"'
            print(line, file=self.settings.log, flush=True)


async def _running(reply: Reply) -> None:
    await reply.body(b"Ollama is running", 200, "text/plain; charset=utf-8")


def _is_local(request: Request) -> bool:
    origin = request.headers.get("origin")
    hosts = [request.headers.get("host", ""), *([urlsplit(origin).netloc] if origin else [])]
    return all(_is_local_host(re.sub(r":\d+$", "", host).strip("[]").lower()) for host in hosts)


def _is_local_host(host: str) -> bool:
    if host in ("", "localhost") or host.endswith((".localhost", ".local", ".internal")):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _refusal(path: str, fault: RefusedError) -> bytes:
    if path == "/v1/messages":
        return encode(anthropic.refusal(fault.status, fault.message))
    if path.startswith("/v1/"):
        return encode(openai.refusal(fault.status, fault.message))
    return encode({"error": fault.message})


def _refusal_kind(request: Request, fault: RefusedError) -> str:
    return PLAIN_JSON if request.path.startswith("/v1/") and fault.status != 400 else JSON


async def serve(
    settings: Settings,
    ready: Callable[[str], None],
    unwanted: Callable[[ModelServer], Awaitable[None]] | None = None,
) -> None:
    """Serves until SIGTERM or SIGINT, or until ``unwanted`` returns.

    ``ready`` gets the address once the server listens. Raises OSError where the port is taken.
    """
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    server = ModelServer(settings)
    await server.start()
    ready(server.address)
    watch = asyncio.ensure_future(unwanted(server)) if unwanted else None
    if watch:
        watch.add_done_callback(lambda _: stopped.set())
    await stopped.wait()
    if watch:
        watch.cancel()
    await server.stop()

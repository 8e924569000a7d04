"""Model servers and a book of exchanges in this process, for replays and cancelled exchanges."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

from nightdesk.demo.server import ModelServer, Settings
from nightdesk.engine.replay import Replays
from nightdesk.engine.traffic import TrafficBook
from nightdesk.model.config import CaptureSection
from nightdesk.model.desk import Change
from nightdesk.model.exchange import Exchange, MissingBytes, Prompt

PATIENCE = 20.0
LLAMA = "llama3.1:8b"


@contextlib.contextmanager
def demo_server(**settings: Any) -> Iterator[ModelServer]:
    """The demo's model server in a thread of its own."""
    server, loop = ModelServer(Settings(**settings)), asyncio.new_event_loop()
    ready, over = threading.Event(), asyncio.Event()

    async def serve() -> None:
        await server.start()
        ready.set()
        await over.wait()
        await server.stop()

    def run() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(serve())

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert ready.wait(PATIENCE)
        yield server
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(PATIENCE)


WORKER = """
import select, socket, sys, time
manners = sys.argv[1]
listening = socket.create_server(("127.0.0.1", 0))
print(listening.getsockname()[1], flush=True)
while True:
    client, _ = listening.accept()
    client.recv(65536)
    client.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Type: application/x-ndjson\\r\\n")
    client.sendall(b"Transfer-Encoding: chunked\\r\\n\\r\\n")
    line = b'{"model":"m","response":"a","done":false}\\n'
    client.sendall(b"%x\\r\\n%s\\r\\n" % (len(line), line))
    end = time.monotonic() + 20
    while time.monotonic() < end:
        sum(range(20000))
        if manners == "polite" and select.select([client], [], [], 0)[0]:
            break
    client.close()
"""


@contextlib.contextmanager
def working_server(manners: str) -> Iterator[tuple[int, int]]:
    """(port, pid) of a server that computes for 20 s; a ``polite`` one stops when its client has gone."""
    with subprocess.Popen(
        [sys.executable, "-c", WORKER, manners], stdout=subprocess.PIPE, text=True
    ) as child:
        try:
            assert child.stdout
            yield int(child.stdout.readline()), child.pid
        finally:
            child.kill()


class Bench:
    """A book, replays that go to ``ports``, and what was saved."""

    def __init__(self, *ports: int, record: str = "full") -> None:
        self.saved: dict[int, Exchange] = {}
        self.changes: list[Change] = []
        self.book = TrafficBook(self.changes.append, self._save, 100, lambda run: None, lambda job: record)
        self.replays = Replays(self.book, lambda: CaptureSection(ports=ports), lambda job: record)

    def _save(self, exchange: Exchange, searchable: bool) -> None:
        self.saved[exchange.id] = exchange

    @contextlib.asynccontextmanager
    async def running(self) -> Any:
        """The replays at work."""
        async with asyncio.TaskGroup() as tasks:
            work = tasks.create_task(self.replays.run())
            try:
                yield self
            finally:
                work.cancel()

    async def ended(self, *ids: int) -> list[Exchange]:
        """The exchanges, once all have been saved."""
        await until(lambda: all(number in self.saved for number in ids), f"the end of {ids}")
        return [self.saved[number] for number in ids]


async def until(condition: Any, what: str) -> None:
    """Wait for a condition."""
    limit = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < limit, f"waited for {what}"
        await asyncio.sleep(0.02)


def recorded(port: int, body: object = None, number: int = 7, **more: Any) -> Exchange:
    """A chat of a job as the capture records it."""
    value = body or {"model": LLAMA, "messages": [{"role": "user", "content": "Why is the sky blue?"}]}
    text = json.dumps(value)
    values: dict[str, Any] = {
        "id": number, "state": "complete", "client_addr": "127.0.0.1:4000", "server_addr": f"127.0.0.1:{port}",
        "connection": 1, "position": 1, "method": "POST", "path": "/api/chat", "dialect": "ollama",
        "operation": "chat", "status": 200, "streamed": True, "fragments": 3, "model": LLAMA,
        "text": "Because.", "thinking": "", "tool_calls": (), "done": True, "done_reason": "stop",
        "started_ns": 10**18, "ended_ns": 10**18 + 2 * 10**9, "request_bytes": len(text),
        "request_sha256": hashlib.sha256(text.encode()).hexdigest(), "response_bytes": 20,
        "response_sha256": "", "verdicts": (), "missing_bytes": MissingBytes(request=0, response=0),
        "run": "synthesize-1", "job": "synthesize", "item": "item 9", "prompt": Prompt(),
        "request_body": text,
        "request_headers": (("Host", f"127.0.0.1:{port}"), ("User-Agent", "ollama-python/0.4"),
                            ("Content-Type", "application/json"), ("Content-Length", str(len(text)))),
        **more,
    }  # fmt: skip
    return Exchange(**values)

"""A whole desk for the viewer's tests: demo model server, engine with a relay, and recorded exchanges."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from nightdesk.client.api import AsyncEngine
from nightdesk.client.desk import Desk, find_desk
from nightdesk.client.engine import Engine
from nightdesk.client.launch import ensure_engine
from nightdesk.model.exchange import ExchangeRow
from nightdesk.tui.app import Viewer
from tests.support.replay import LLAMA

PATIENCE = 20.0


def wait_for(condition: Callable[[], Any], what: str) -> Any:
    """The first true value of ``condition``."""
    limit = time.monotonic() + PATIENCE
    while not (value := condition()):
        assert time.monotonic() < limit, f"waited for {what}"
        time.sleep(0.02)
    return value


SERVER = """
import asyncio, sys
from nightdesk.demo.server import ModelServer, Settings
async def serve():
    server = ModelServer(Settings(speed=float(sys.argv[1]), load_s=0))
    await server.start()
    print(server.port, flush=True)
    await asyncio.Event().wait()
asyncio.run(serve())
"""
CLIENT = """
import http.client, sys
server = http.client.HTTPConnection(sys.argv[1])
server.request("POST", "/api/chat", sys.argv[2], {"Content-Type": "application/json"})
try:
    server.getresponse().read()
except (OSError, http.client.HTTPException):
    sys.exit(7)
"""


@contextlib.contextmanager
def server_process(speed: float) -> Iterator[int]:
    """The port of a demo model server in a process of its own: what it computes is nobody else's work."""
    with subprocess.Popen([sys.executable, "-c", SERVER, str(speed)], stdout=subprocess.PIPE) as child:
        try:
            assert child.stdout
            yield int(child.stdout.readline())
        finally:
            child.kill()


class LiveDesk:
    """A desk whose traffic goes through the relay of its engine."""

    def __init__(self, desk: Desk, engine: Engine) -> None:
        self.desk = desk
        self.engine = engine

        def relay() -> str:
            capture = next((s for s in engine.status().sources if s.name == "capture"), None)
            message = capture.message if capture is not None and capture.message else ""
            told = re.search(r"OLLAMA_HOST=([\d.]+:\d+)", message)
            return told[1] if told else ""

        self.relay: str = wait_for(relay, "the relay")

    def chat(self, words: str, model: str = LLAMA, **options: Any) -> int:
        """Ask the model through the relay; the id of the exchange."""
        body = {"model": model, "messages": [{"role": "user", "content": words}], "options": options}
        before = {row.id for row in self.engine.page().rows}
        client = http.client.HTTPConnection(self.relay)
        with contextlib.closing(client):
            client.request("POST", "/api/chat", json.dumps(body), {"Content-Type": "application/json"})
            client.getresponse().read()

        def fresh() -> ExchangeRow | None:
            rows = [row for row in self.engine.page().rows if row.id not in before]
            return next((row for row in rows if row.path == "/api/chat" and row.ended_ns), None)

        row: ExchangeRow = wait_for(fresh, "the exchange")
        return row.id

    @contextlib.contextmanager
    def asking(self, words: str, **options: Any) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
        """A process that asks and reads; with the id of its exchange, once it is running."""
        body = {"model": LLAMA, "messages": [{"role": "user", "content": words}], "options": options}
        with subprocess.Popen([sys.executable, "-c", CLIENT, self.relay, json.dumps(body)]) as client:
            try:
                yield client, self._running()
            finally:
                client.kill()

    def _running(self) -> int:

        def running() -> ExchangeRow | None:
            return next((row for row in self.engine.page().rows if row.state == "running" and row.pid), None)

        row: ExchangeRow = wait_for(running, "the running exchange")
        return row.id

    def viewer(self) -> Viewer:
        """A viewer on the real engine."""
        return Viewer("test", lambda: AsyncEngine(self.desk.socket))


@contextlib.contextmanager
def live_desk(folder: Path, monkeypatch: pytest.MonkeyPatch, speed: float = 0) -> Iterator[LiveDesk]:
    """A desk in ``folder``; ended with everything that it started."""
    runtime = folder / "run"
    runtime.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    with server_process(speed) as port:
        (folder / "nightdesk.toml").write_text(
            f'[capture]\nsource = "relay"\nports = [{port}]\n[sensors]\nsource = "off"\n'
        )
        desk = find_desk(folder)
        engine = ensure_engine(desk)
        try:
            yield LiveDesk(desk, engine)
        finally:
            pid = engine.shutdown().desk.engine.pid
            wait_for(lambda: not psutil.pid_exists(pid), "the engine's end")

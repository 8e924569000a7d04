"""The capture process as a child, and a model server for it to watch."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TypeVar

from nightdesk.model.exchange import (
    CaptureLine,
    CaptureStatus,
    Exchange,
    ExchangeSeen,
    capture_decoder,
)

Found = TypeVar("Found")
PATIENCE = 30.0


class Capture:
    """A running capture process. Its lines are read by a thread, so that it never waits for the test."""

    def __init__(self, *argv: str, launcher: tuple[str, ...] = (), **env: str) -> None:
        self.lines: list[CaptureLine] = []
        self._news = threading.Condition()
        self.process = subprocess.Popen(
            [*launcher, sys.executable, "-m", "nightdesk.engine.capture", *argv],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **env},
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        with self.process.stdout as lines:
            for line in lines:
                with self._news:
                    self.lines.append(capture_decoder.decode(line))
                    self._news.notify_all()

    def until(self, look: Callable[[], Found | None], what: str) -> Found:
        """The first thing that ``look`` finds, in the lines or elsewhere."""
        limit = time.monotonic() + PATIENCE
        with self._news:
            while (found := look()) is None:
                if time.monotonic() > limit:
                    raise AssertionError(f"no {what} within {PATIENCE} s: {self.lines}")
                self._news.wait(0.05)
            return found

    def live(self) -> CaptureStatus:
        """The first status of a source that works."""
        return self.until(
            lambda: next((s for s in self.statuses() if s.state == "live"), None), "status of a live source"
        )

    def statuses(self) -> list[CaptureStatus]:
        return [line for line in self.lines if isinstance(line, CaptureStatus)]

    def seen(self, path: str) -> list[Exchange]:
        """All that was said of the exchanges with this path, in order."""
        return [s.exchange for s in self.lines if isinstance(s, ExchangeSeen) and s.exchange.path == path]

    def exchange(self, path: str, *states: str) -> Exchange:
        """The first exchange with this path that is in one of the states."""
        return self.until(
            lambda: next((e for e in self.seen(path) if e.state in states), None), f"{states} exchange {path}"
        )

    def end(self) -> int:
        """Close its input; returns its exit code."""
        assert self.process.stdin
        self.process.stdin.close()
        code = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        return code


@contextmanager
def capturing(*argv: str, launcher: tuple[str, ...] = (), **env: str) -> Iterator[Capture]:
    """A capture process that lives as long as the block; ready when the block begins."""
    child = Capture(*argv, launcher=launcher, **env)
    try:
        child.live()
        yield child
    finally:
        child.end()


class ModelServer:
    """Streams replies in Ollama's form on loopback. ``hold`` keeps the second half of each reply back."""

    def __init__(self) -> None:
        self.words = [f"word{i} " for i in range(40)]
        self.go_on = threading.Event()
        self.go_on.set()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_request(self, *args: object) -> None:
                pass

            def do_GET(self) -> None:
                body = b'{"version":"0.12.6"}'
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(200)
                self.send_header("Content-Type", "application/x-ndjson")
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                for position, word in enumerate(outer.words):
                    if position == len(outer.words) // 2:
                        outer.go_on.wait(PATIENCE)
                    self._chunk({"model": "m", "response": word, "done": False})
                self._chunk(
                    {"model": "m", "response": "", "done": True, "done_reason": "stop", "eval_count": 40}
                )
                self.wfile.write(b"0\r\n\r\n")

            def _chunk(self, fragment: dict[str, object]) -> None:
                line = json.dumps(fragment).encode() + b"\n"
                self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
                self.wfile.flush()

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        # Clients that leave in the middle are what is tested; nobody wants to read of it.
        setattr(self.server, "handle_error", lambda *_: None)  # noqa: B010 - it is a method
        self.port = int(self.server.server_address[1])

    @property
    def text(self) -> str:
        return "".join(self.words)


@contextmanager
def model_server() -> Iterator[ModelServer]:
    """A model server for the block."""
    served = ModelServer()
    thread = threading.Thread(target=served.server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield served
    finally:
        served.go_on.set()
        served.server.shutdown()
        thread.join()
        served.server.server_close()


CLIENT = """
import http.client, json, sys
c = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]))
for path in sys.argv[2:]:
    c.request("POST", path, json.dumps({"model": "m", "prompt": "Why?"}), {"Content-Type": "application/json"})
    r = c.getresponse()
    for line in r:
        sys.stdout.write(json.loads(line)["response"])
"""


def start_client(port: int, *paths: str, **env: str) -> subprocess.Popen[str]:
    """A process that asks for each path on one connection and prints the replies."""
    return subprocess.Popen(
        [sys.executable, "-c", CLIENT, str(port), *paths],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **env},
    )


def ask(port: int, *paths: str, **env: str) -> tuple[int, str]:
    """The number of a client process and what it printed."""
    with start_client(port, *paths, **env) as client:
        said, _ = client.communicate(timeout=PATIENCE)
    assert client.returncode == 0
    return client.pid, said


def capture_refusal() -> str | None:
    """Why this machine lets us capture nothing on loopback; None where it does."""
    import socket

    if not sys.platform.startswith("linux"):
        return "raw capture is only tried on Linux"
    with contextlib.suppress(PermissionError), socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0):
        return None
    return "capture on loopback needs root or CAP_NET_RAW"

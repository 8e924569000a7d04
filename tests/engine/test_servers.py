"""What the engine knows of the model servers."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from nightdesk.engine.servers import ServerWatch
from nightdesk.model.desk import ModelServer
from nightdesk.model.process import ProcessRef

ANSWERS = {
    "/api/version": b'{"version":"0.12.6"}',
    "/api/ps": b'{"models":[{"name":"tiny","size":5}]}',
    "/api/tags": b'{"models":[{"name":"tiny"},{"name":"large"}]}',
}


@contextmanager
def server(answers: dict[str, bytes], *, keeps: bool = True) -> Iterator[int]:
    """A server with these answers; without ``keeps`` it hangs up after each, although it promised to stay."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = answers.get(self.path, b"hello")
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            self.close_connection = not keeps

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class calls it so
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield http.server_address[1]
        http.shutdown()


def listener(pid: int, port: int) -> ProcessRef:
    return ProcessRef(pid=pid, started_ns=1, name="ollama", command=f"ollama serve {port}")


def looked_at(port: int, times: int) -> list[ModelServer]:
    """What the watch knows of a port after each of so many looks."""
    seen: list[ModelServer] = []

    async def pause(_watched: float, _unwatched: float) -> None:
        seen.append(watch.servers[0])
        if len(seen) == times:
            raise asyncio.CancelledError

    watch = ServerWatch((port,), lambda servers: None, pause, lambda port: listener(os.getpid(), port))

    async def look() -> None:
        with suppress(asyncio.CancelledError):
            await watch.run()

    asyncio.run(look())
    return seen


def test_a_server_tells_its_version_and_models_at_each_look() -> None:
    with server(ANSWERS) as port:
        for found in looked_at(port, 3):
            assert (found.state, found.version) == ("up", "0.12.6")
            assert [(model.name, model.size_bytes) for model in found.models] == [("tiny", 5)]
            assert found.installed == ("tiny", "large")
            assert found.process == listener(os.getpid(), port)


def test_a_server_that_hangs_up_after_each_answer_is_up_all_the_same() -> None:
    with server(ANSWERS, keeps=False) as port:
        assert [found.state for found in looked_at(port, 3)] == ["up"] * 3


def test_a_port_without_a_server_says_that_nobody_listens() -> None:
    with server(ANSWERS) as port:
        pass
    (found,) = looked_at(port, 1)
    assert (found.state, found.message) == ("down", f"Port {port}: nobody listens.")


def test_something_else_than_a_model_server_is_up_and_nothing_more_is_known() -> None:
    with server({}) as port:
        (found,) = looked_at(port, 1)
    assert (found.state, found.message) == ("up", "Not an Ollama server.")

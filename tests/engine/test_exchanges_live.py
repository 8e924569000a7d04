"""A running exchange, seen through the relay, stands among the recorded ones in every list."""

import asyncio
import contextlib
import http.client
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from nightdesk.client.api import AsyncEngine
from nightdesk.client.desk import find_desk
from nightdesk.client.engine import Engine
from nightdesk.client.launch import ensure_engine
from nightdesk.model.exchange import Exchange
from nightdesk.model.inspection import Feedback
from tests.support.world import until

NIGHTDESK = str(Path(sys.executable).with_name("nightdesk"))
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as bound:
        return int(bound.getsockname()[1])


def chunk(text: str, *, done: bool) -> bytes:
    line = json.dumps(
        {"model": "tiny", "response": text, "done": done, "done_reason": "stop" if done else None}
    )
    return b"%x\r\n%s\n\r\n" % (len(line) + 1, line.encode())


@contextlib.contextmanager
def halting_server() -> Iterator[tuple[int, threading.Event]]:
    """A model server that says one word and goes on only when it is told to."""
    go_on = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    client, _ = listening.accept()
                    with client:
                        if b"/api/generate" in client.recv(65536):
                            client.sendall(ANSWER + chunk("Lanterns ", done=False))
                            go_on.wait(60)
                            client.sendall(chunk("everywhere.", done=True) + b"0\r\n\r\n")

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listening.getsockname()[1], go_on
        go_on.set()
        listening.shutdown(socket.SHUT_RDWR)
    thread.join(10)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_running_exchange_is_listed_counted_marked_and_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = tmp_path / "run"
    runtime.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    with halting_server() as (port, go_on):
        relay = free_port()
        (tmp_path / "nightdesk.toml").write_text(
            f'[capture]\nsource = "relay"\nports = [{port}]\nrelay_port = {relay}\n[sensors]\nsource = "off"\n'
        )
        engine = ensure_engine(find_desk(tmp_path))
        try:
            until(lambda: ("capture", "live") in states(engine), "the relay")
            client = http.client.HTTPConnection("127.0.0.1", relay, timeout=60)
            body = json.dumps({"model": "tiny", "prompt": "Where are the zeppelins?"})
            client.request("POST", "/api/generate", body, {"Content-Type": "application/json"})
            listed = until(lambda: engine.page("status:running lanterns").rows, "the running exchange")
            check_running(engine, listed[0].id)
            check_growth(engine, listed[0].id)
            with subprocess.Popen(
                [NIGHTDESK, "traffic", "--follow", "--json", "-q", "zeppelins mark:good"],
                cwd=tmp_path,
                stdout=subprocess.PIPE,
                text=True,
            ) as following:
                assert following.stdout
                first = json.loads(following.stdout.readline())
                assert (first["state"], first["text"]) == ("running", "Lanterns ")
                go_on.set()
                assert json.loads(client.getresponse().read().splitlines()[-1])["done"]
                ended = json.loads(following.stdout.readline())
                following.terminate()
            client.close()
            assert (ended["id"], ended["text"]) == (first["id"], "Lanterns everywhere.")
            check_ended(engine, first["id"])
        finally:
            pid = engine.shutdown().desk.engine.pid
            until(lambda: not is_alive(pid), "the engine's end")


def states(engine: Engine) -> set[tuple[str, str]]:
    return {(one.name, one.state) for one in engine.status().sources}


def check_running(engine: Engine, number: int) -> None:
    assert engine.page('"where are the zeppelins" took>0s').total == 1
    assert engine.page("status:error").total == engine.page("status:ok").total == 0
    totals = engine.totals()
    assert totals.states == {"running": 1} and totals.duration.p50_ns
    assert list(engine.documents()) == []
    engine.give_feedback(number, Feedback(mark="good"))
    assert [row.mark for row in engine.page("mark:good").rows] == ["good"]


def check_growth(engine: Engine, number: int) -> None:
    """Whoever has the beginning is sent the rest."""

    async def ask() -> tuple[Exchange, Exchange]:
        client = AsyncEngine(engine.socket)
        try:
            known = await client.exchange(number)
            return known, await client.grown(known)
        finally:
            await client.aclose()

    known, grown = asyncio.run(ask())
    assert grown == known and grown.text == "Lanterns " and grown.prompt is not None


def check_ended(engine: Engine, number: int) -> None:
    page = engine.page("mark:good everywhere status:ok")
    assert [(row.id, row.mark) for row in page.rows] == [(number, "good")]
    assert engine.totals().states == {"complete": 1}
    assert len(list(engine.documents("zeppelins"))) == 1
    snapshot = engine.snapshot()
    assert [(row.id, row.mark) for row in snapshot.exchanges] == [(number, "good")]

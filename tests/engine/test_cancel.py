"""Ending a running exchange, and whether the server really stopped."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import msgspec
import psutil
import pytest

from nightdesk.engine import cancel as module
from nightdesk.engine.cancel import Cancels
from nightdesk.engine.processes.signals import start_time_ns
from nightdesk.model.errors import UsageError
from nightdesk.model.exchange import Exchange, ExchangeSeen
from nightdesk.model.inspection import CancelReport, ReplayRequest
from nightdesk.model.process import ProcessRef
from tests.support.replay import LLAMA, Bench, demo_server, recorded, until, working_server

STORY = {"model": LLAMA, "prompt": "Tell a long story.", "options": {"num_predict": 4000}}


@pytest.fixture(autouse=True)
def _short_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WATCH_SECONDS", 2.0)


def cancels(bench: Bench, *, relayed: bool = False) -> tuple[Cancels, list[bytes]]:
    sent: list[bytes] = []
    return Cancels(bench.book, bench.replays, sent.append, lambda: relayed), sent


async def cancelled_replay(port: int) -> CancelReport:
    """A long replay on ``port``, cancelled while it is in work."""
    bench = Bench(port)
    ends, _ = cancels(bench)
    async with bench.running():
        original = recorded(port, STORY, path="/api/generate", operation="generate")
        number = bench.replays.begin(original, ReplayRequest(exchange=7)).exchanges[0]
        await until(lambda: (held := bench.book.held(number)) and held.first_byte_ns, "the first byte")
        found = await ends.ways(number)
        assert [way.how for way in found.ways] == ["replay"] and found.running
        report = await ends.cancel(number, "replay")
        assert (await bench.ended(number))[0].state == "aborted"
        return report


def test_a_server_that_stops_is_seen_to_be_idle_by_its_processor_time() -> None:
    with working_server("polite") as (port, _):
        report = asyncio.run(cancelled_replay(port))
    assert (report.ended, report.server_stopped) == (True, True)
    assert report.message.startswith("The connection of the replay is closed. The server is idle again after")


def test_a_server_that_works_on_for_nobody_is_found_out() -> None:
    with working_server("rude") as (port, _):
        report = asyncio.run(cancelled_replay(port))
    assert (report.ended, report.server_stopped) == (True, False)
    assert "The server is still working after" in report.message and "% of a core" in report.message


def test_a_server_that_lets_go_of_the_model_has_stopped() -> None:
    with demo_server(speed=4, load_s=0) as server:
        report = asyncio.run(cancelled_replay(server.port))
    assert (report.ended, report.server_stopped) == (True, True), report.message


def test_a_waiting_replay_is_taken_out_of_the_queue() -> None:
    with demo_server(speed=4, load_s=0) as server:
        bench = Bench(server.port)
        ends, _ = cancels(bench)

        async def play() -> None:
            async with bench.running():
                original = recorded(server.port, STORY, path="/api/generate", operation="generate")
                replay = bench.replays.begin(original, ReplayRequest(exchange=7, models=(LLAMA, LLAMA)))
                await until(lambda: bench.book.held(replay.exchanges[0]), "the first")
                report = await ends.cancel(replay.exchanges[1], "replay")
                assert report.ended and report.message == "Taken out of the queue; it was not sent."

        asyncio.run(play())


CLIENT = "import time; print('on', flush=True); time.sleep(600)"


@contextlib.contextmanager
def client_process() -> Iterator[ProcessRef]:
    """A process that waits, as a client does for its answer."""
    with subprocess.Popen([sys.executable, "-c", CLIENT], stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout and child.stdout.readline()
            began = start_time_ns(child.pid)
            assert began
            yield ProcessRef(pid=child.pid, started_ns=began, name="python", command="python client.py")
        finally:
            child.kill()


def running(bench: Bench, exchange: Exchange) -> int:
    """The exchange as the capture process reports it; its id."""
    bench.book.take(ExchangeSeen(exchange=exchange))
    return bench.book.running()[-1].id


def chat(port: int, **more: Any) -> Exchange:
    return recorded(port, number=3, state="running", ended_ns=None, **more)


def test_the_process_of_a_client_is_stopped_by_choice_and_nothing_else() -> None:
    bench = Bench(1)
    ends, sent = cancels(bench)

    async def play(process: ProcessRef) -> None:
        number = running(bench, chat(1, process=process))
        found = await ends.ways(number)
        assert [(way.how, way.possible) for way in found.ways] == [("relay", False), ("process", True)]
        assert [member.key.pid for member in found.ways[1].members] == [process.pid]
        with pytest.raises(UsageError, match="does not go through the relay"):
            await ends.cancel(number, "relay")
        report = await ends.cancel(number, "process")
        assert report.message.startswith("1 process stopped.") and report.process == process
        assert not report.ended, "nobody told the book that the connection has ended"
        assert report.server_stopped is None

    with client_process() as process:
        module_seconds = module.END_SECONDS
        try:
            module.END_SECONDS = 0.2
            asyncio.run(play(process))
        finally:
            module.END_SECONDS = module_seconds
        assert psutil.Process(process.pid).status() == psutil.STATUS_ZOMBIE
    assert not sent


def test_the_model_server_is_never_stopped_as_a_client() -> None:
    bench = Bench(1)
    ends, _ = cancels(bench)

    async def play(process: ProcessRef) -> None:
        number = running(bench, chat(1, process=process, server_process=process))
        way = (await ends.ways(number)).ways[1]
        assert not way.possible and way.reason == "Its client is the model server itself."
        with pytest.raises(UsageError):
            await ends.cancel(number, "process")

    with client_process() as process:
        asyncio.run(play(process))
        assert psutil.pid_exists(process.pid)


def test_through_the_relay_the_capture_process_is_told_its_own_number() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        bench = Bench(port)

        def hear(line: bytes) -> None:
            assert line == b'{"cancel":3}'
            over = chat(port, aborted_by="client")
            over = msgspec.structs.replace(over, state="aborted", ended_ns=10**18 + 1)
            bench.book.take(ExchangeSeen(exchange=over))

        ends = Cancels(bench.book, bench.replays, hear, lambda: True)

        async def play() -> None:
            running(bench, chat(port, model=None))
            other = running(bench, recorded(port, number=4, state="running", ended_ns=None, model=None))
            found = await ends.ways(100)
            assert [way.how for way in found.ways if way.possible] == ["relay"]
            report = await ends.cancel(100, "relay")
            assert report.ended and report.server_stopped is None
            assert "another request is in work there" in report.message
            assert other == 101

        asyncio.run(play())


def test_an_ended_exchange_can_not_be_ended() -> None:
    bench = Bench(1)
    ends, _ = cancels(bench)
    with pytest.raises(UsageError, match="is not running"):
        asyncio.run(ends.cancel(5, "relay"))

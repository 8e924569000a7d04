"""Real runs that wait for slots, memory, their time or for models to go, with a real model server."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from nightdesk.client.desk import Desk
from nightdesk.core.jobs.admission import Memory
from nightdesk.demo.models import Shelf
from nightdesk.demo.server import ModelServer, Settings
from nightdesk.engine.jobs.handover import DeviceMemory, ModelHandover
from nightdesk.engine.jobs.memory import MemoryWatch
from nightdesk.engine.jobs.supervisor import Supervisor
from nightdesk.model.base import ProcessKey
from nightdesk.model.config import DeskConfig, Fallback, JobSection, Retry
from nightdesk.model.process import ProcessRow
from tests.engine.test_supervisor import SLEEPER, World, job, log_of, nothing_left, play, python

__all__ = ["nothing_left"]

LLAMA, EMBEDDER = "llama3.1:8b", "nomic-embed-text:latest"
HELD = "import http.client, sys; c = http.client.HTTPConnection('127.0.0.1', int(sys.argv[1]));"
HELD += "c.request('GET', '/api/ps'); print('held', c.getresponse().read().decode())"


@contextlib.asynccontextmanager
async def desk(folder: Path, jobs: dict[str, JobSection], **more: Any) -> AsyncIterator[World]:
    """A supervisor with more surroundings."""
    world = World(folder, {})
    slots = more.pop("slots", {})
    world.desk = Desk(folder=folder, config_path=None, config=DeskConfig(jobs=jobs, slots=slots))
    world.supervisor = Supervisor(world.desk, world.changes.append, now_ns=time.time_ns, **more)
    await world.supervisor.adopt()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(world.supervisor.run())
        await world.supervisor.running.wait()
        yield world
        task.cancel()


@contextlib.asynccontextmanager
async def model_server() -> AsyncIterator[ModelServer]:
    server = ModelServer(Settings(speed=0, load_s=0))
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


@pytest.fixture
def stubborn(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server says that it unloads a model and does not."""
    monkeypatch.setattr(Shelf, "unload", lambda shelf, card: None)


async def load(server: ModelServer, model: str) -> None:
    path, body = "/api/generate", {"model": model, "prompt": "Hi", "stream": False}
    if model == EMBEDDER:
        path, body = "/api/embed", {"model": model, "input": "Hi"}

    def ask() -> None:
        client = http.client.HTTPConnection("127.0.0.1", server.port)
        with contextlib.closing(client):
            client.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
            assert client.getresponse().status == 200

    await asyncio.to_thread(ask)


def handover(
    server: ModelServer, devices: Callable[[], DeviceMemory | None] = lambda: None
) -> Callable[..., Any]:
    return ModelHandover(lambda: (server.port,), devices).free


def reasons(world: World, run_id: str) -> list[str]:
    told = [change.run for change in world.changes if hasattr(change, "run")]
    return [run.reason or "" for run in told if run.id == run_id]


def test_models_are_gone_before_the_command_starts(tmp_path: Path) -> None:
    async def scene() -> None:
        async with model_server() as server:
            await load(server, LLAMA)
            await load(server, EMBEDDER)
            section = job(python(HELD, str(server.port)), unload_models=True)
            async with desk(tmp_path, {"whisper": section}, free_models=handover(server)) as world:
                run = await world.start("whisper")
                done = await world.ended(run)
                assert json.loads(log_of(done).removeprefix("held ")) == {"models": []}
                assert done.handover is not None
                assert done.handover.startswith("Unloaded ")
                assert LLAMA in done.handover
                assert EMBEDDER in done.handover
                assert any(r.startswith("Unloads ") and "GB" in r for r in reasons(world, run.id))

    play(scene())


def test_without_models_or_without_a_server_the_command_starts_at_once(tmp_path: Path) -> None:
    async def scene() -> None:
        section = job(python("print(1)"), unload_models=True)
        free = ModelHandover(lambda: (1,), lambda: None).free
        async with desk(tmp_path, {"a": section}, free_models=free) as world:
            done = await world.ended(await world.start("a"))
            assert (done.state, done.handover) == ("done", "The model servers held no model.")

    play(scene())


def test_a_model_that_stays_is_waited_for_only_so_long_and_the_run_says_so(
    tmp_path: Path, stubborn: None
) -> None:
    async def scene() -> None:
        async with model_server() as server:
            await load(server, LLAMA)
            section = job(python("print(1)"), unload_models=True, unload_within="300ms")
            async with desk(tmp_path, {"a": section}, free_models=handover(server)) as world:
                done = await world.ended(await world.start("a"))
                assert done.state == "done"
                assert done.handover is not None
                assert f"{LLAMA} (" in done.handover
                assert done.handover.endswith("it started anyway.")

    play(scene())


def test_a_run_can_be_stopped_while_it_waits_for_models(tmp_path: Path, stubborn: None) -> None:
    async def scene() -> None:
        async with model_server() as server:
            await load(server, LLAMA)
            section = job(python("open('ran', 'w')"), unload_models=True)
            async with desk(tmp_path, {"a": section}, free_models=handover(server)) as world:
                run = await world.start("a")
                assert run.state == "waiting"
                await world.until(lambda: (world.get(run).reason or "").startswith("Unloads "))
                stopped = await world.supervisor.act(run.id, "stop")
                assert stopped.state == "stopped"
        assert not (tmp_path / "ran").exists()

    play(scene())


def test_the_accelerators_memory_is_looked_at_where_it_is_known() -> None:
    async def scene() -> None:
        async with model_server() as server:
            await load(server, LLAMA)
            held = [20 * 10**9]

            def devices() -> DeviceMemory:
                used = held[0] if server.shelf.loaded() else 10**9
                return DeviceMemory(time.time_ns(), used)

            told: list[str] = []
            said = await ModelHandover(lambda: (server.port,), devices).free(10 * 10**9, told.append)
            assert said.endswith(" The accelerators have 19.0 GB back.")
            assert told[-1] == "The models are unloaded; waits for the accelerator's memory."

    play(scene())


def test_two_of_three_run_and_the_third_says_what_it_waits_for(tmp_path: Path) -> None:
    async def scene() -> None:
        sections = {name: job(python(SLEEPER), uses={"whisper": 1}) for name in "abc"}
        async with desk(tmp_path, sections, slots={"whisper": 2}) as world:
            runs = [await world.start(name) for name in "abc"]
            assert [run.state for run in runs] == ["running", "running", "waiting"]
            assert runs[2].reason == "Waits for 1 of the whisper: 0 of 2 are free, a and b use the rest."
            await world.supervisor.act(runs[0].id, "kill")
            await world.until(lambda: world.get(runs[2]).state == "running")
            for run in runs[1:]:
                await world.supervisor.act(run.id, "kill")
                await world.ended(run)

    play(scene())


def test_a_run_waits_for_memory_and_starts_when_it_comes_free(tmp_path: Path) -> None:
    async def scene() -> None:
        free = [7 * 10**9]
        sections = {"a": job(python("print(1)"), memory="20GB")}
        memory = lambda: Memory(free[0], 64 * 10**9)  # noqa: E731 - it reads the list each time
        async with desk(tmp_path, sections, memory=memory) as world:
            run = await world.start("a")
            assert (run.state, run.reason) == ("waiting", "Waits for 20.0 GB of memory: 7.0 GB are free.")
            free[0] = 30 * 10**9
            assert (await world.ended(run)).state == "done"

    play(scene())


def test_a_run_starts_at_its_time(tmp_path: Path) -> None:
    async def scene() -> None:
        async with desk(tmp_path, {"a": job(python("print(1)"))}) as world:
            at_ns = time.time_ns() + 400_000_000
            run = await world.start("a", at_ns=at_ns)
            assert (run.state, run.expected_ns) == ("waiting", at_ns)
            assert (run.reason or "").startswith("Starts at ")
            done = await world.ended(run)
            assert done.started_ns is not None
            assert done.started_ns >= at_ns
            assert done.expected_ns is None

    play(scene())


def test_a_run_with_a_time_stands_still_after_a_restart_until_it_is_resumed(tmp_path: Path) -> None:
    async def scene() -> None:
        sections = {"a": job(python("print(1)"))}
        async with desk(tmp_path, sections) as world:
            run = await world.start("a", at_ns=time.time_ns() + 3600 * 10**9)
        async with desk(tmp_path, sections) as world:
            again = world.get(run)
            assert again.state == "paused"
            assert "resume lets it start at " in (again.reason or "")
            resumed = await world.supervisor.act(run.id, "resume")
            assert resumed.state == "waiting"
            await world.until(lambda: (world.get(run).reason or "").startswith("Starts at "))
            await world.supervisor.act(run.id, "stop")

    play(scene())


def test_the_fallback_command_runs_after_the_failures_and_the_record_says_so(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / f"{name}.txt").touch()
    big = "import sys; print('big', sys.argv[1]); sys.exit(sys.argv[1] == 'b.txt')"

    async def scene() -> None:
        section = job(
            python(big, "{item}"),
            items="*.txt",
            fallback=Fallback(command=python("import sys; print('small', sys.argv[1])", "{item}")),
            retry=Retry(backoff="1ms"),
        )
        async with desk(tmp_path, {"a": section}) as world:
            done = await world.ended(await world.start("a"))
            assert (done.state, done.items_done) == ("done", 2)
            assert log_of(done).split("\n")[:3] == ["big a.txt", "big b.txt", "small b.txt"]
            records = {each.item: each for each in world.supervisor.item_records(done.id)}
            assert {item: each.fallback for item, each in records.items()} == {"a.txt": False, "b.txt": True}

    play(scene())


def test_the_machine_tells_its_memory_and_what_runs_hold() -> None:
    row = ProcessRow(
        key=ProcessKey(pid=os.getpid(), started_ns=1),
        ppid=1,
        name="x",
        command="x",
        user="me",
        state="R",
        rss_bytes=5,
        run="a-1",
    )
    memory = MemoryWatch(lambda: (row, row), tuple, tuple).read()
    assert memory is not None
    assert 0 < memory.free < memory.total
    assert memory.used == {"a-1": 10}

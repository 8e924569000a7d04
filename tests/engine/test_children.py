import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import psutil

from nightdesk.engine import children
from nightdesk.engine.children import ChildProcess

PRINTS_AND_WAITS = "import os, sys; print(os.getpid(), flush=True); sys.stdin.read()"


async def until(condition: Callable[[], object], seconds: float = 10) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def running(child: ChildProcess) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(child.run())
        yield
        task.cancel()


def test_a_child_that_dies_is_started_again_after_growing_pauses_and_says_why() -> None:
    ends: list[tuple[str, int, float]] = []

    async def scenario() -> None:
        child = ChildProcess(
            "short",
            ["-c", "import sys; print('boom', file=sys.stderr); sys.exit(3)"],
            lambda _line: None,
            lambda *end: ends.append(end),
        )
        async with running(child):
            await until(lambda: len(ends) >= 2)

    asyncio.run(scenario())
    assert ends[0] == ("it ended with status 3: boom", 1, children.FIRST_PAUSE)
    assert ends[1][2] == 2 * children.FIRST_PAUSE


def test_nothing_is_left_when_the_engine_ends_it() -> None:
    pids: list[int] = []

    async def scenario() -> None:
        child = ChildProcess(
            "waits", ["-c", PRINTS_AND_WAITS], lambda line: pids.append(int(line)), lambda *_: None
        )
        async with running(child):
            await until(lambda: pids)

    asyncio.run(scenario())
    assert not psutil.pid_exists(pids[0])


def test_a_line_that_cannot_be_used_does_not_end_the_child() -> None:
    got: list[bytes] = []

    def refuse_first(line: bytes) -> None:
        got.append(line)
        if len(got) == 1:
            raise ValueError("no JSON")

    async def scenario() -> None:
        child = ChildProcess("lines", ["-c", "print(1); print(2)"], refuse_first, lambda *_: None)
        async with running(child):
            await until(lambda: len(got) >= 2)

    asyncio.run(scenario())
    assert got[:2] == [b"1\n", b"2\n"]


def test_what_is_sent_reaches_the_child() -> None:
    got: list[bytes] = []
    echo = "import sys\nprint('ready', flush=True)\nfor line in sys.stdin: print(line.strip(), flush=True)"

    async def scenario() -> None:
        child = ChildProcess("echo", ["-c", echo], got.append, lambda *_: None)
        async with running(child):
            await until(lambda: got)
            child.send(b'{"interval_ms": 5000}')
            await until(lambda: len(got) == 2)

    asyncio.run(scenario())
    assert got[1] == b'{"interval_ms": 5000}\n'

"""The machine stays awake while runs go on: with programs of the test's own in place of the system's."""

from __future__ import annotations

import asyncio
import functools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from nightdesk.engine import awake
from nightdesk.engine.awake import Awake, awake_argv

INHIBIT = """#!/bin/sh
echo $$ > "$0.pid"
for word in "$@"; do echo "$word"; done > "$0.new"
mv "$0.new" "$0.args"
while [ "${1#--}" != "$1" ]; do shift; done
exec "$@"
"""
CAFFEINATE = """#!/bin/sh
echo $$ > "$0.pid"
for word in "$@"; do echo "$word"; done > "$0.new"
mv "$0.new" "$0.args"
while kill -0 "$3" 2>/dev/null; do sleep 0.05; done
"""
REFUSES = """#!/bin/sh
echo "Failed to inhibit: Access denied" >&2
exit 1
"""


def in_a_loop(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Lets an async test run where pytest has no loop."""

    @functools.wraps(test)
    def run(**fixtures: Any) -> None:
        asyncio.run(test(**fixtures))  # type: ignore[arg-type] # - the tests are coroutines

    return run


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Path]:
    """Puts a program of that name on the PATH; its arguments and its number land beside it."""
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(awake, "SYSTEMD", tmp_path)

    def put(name: str, text: str) -> Path:
        path = tmp_path / name
        path.write_text(text)
        path.chmod(0o755)
        return path

    return put


async def until(true: Callable[[], object], seconds: float = 20) -> None:
    limit = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < limit, "it never became true"
        await asyncio.sleep(0.01)


class Night:
    """An :class:`Awake` whose runs the test begins and ends."""

    def __init__(self, platform: str) -> None:
        self.working = False
        self.said: list[tuple[str, str, str | None]] = []
        self.awake = Awake(lambda: self.working, lambda *said: self.said.append(said), platform)

    def work(self, working: bool) -> None:
        self.working = working
        self.awake.look()

    @property
    def state(self) -> str:
        return self.said[-1][0] if self.said else ""


def child_of(program: Path) -> int:
    return int(Path(f"{program}.pid").read_text())


@pytest.mark.parametrize(
    ("platform", "name", "text", "arguments"),
    [
        (
            "linux",
            "systemd-inhibit",
            INHIBIT,
            [
                "--what=sleep:idle",
                "--who=nightdesk",
                "--why=Runs of Nightdesk go on",
                "--mode=block",
                "sh",
                "-c",
                "echo held; exec cat",
            ],
        ),
        ("darwin", "caffeinate", CAFFEINATE, ["-i", "-w", str(os.getpid())]),
    ],
    ids=["linux", "mac"],
)
@in_a_loop
async def test_the_lock_is_held_while_runs_go_on_and_no_child_is_left(
    programs: Callable[[str, str], Path], platform: str, name: str, text: str, arguments: list[str]
) -> None:
    program, night = programs(name, text), Night(platform)
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(night.awake.run())
        await asyncio.sleep(0)
        assert not night.said, "nothing is started before a run goes on"
        for _ in range(2):
            night.work(True)
            await until(lambda: night.state == "live")
            await until(lambda: Path(f"{program}.args").exists())
            assert Path(f"{program}.args").read_text().splitlines() == arguments
            child = child_of(program)
            assert psutil.pid_exists(child)
            night.work(False)
            await until(lambda: night.state == "off")
            assert not psutil.pid_exists(child)
            Path(f"{program}.args").unlink()
        night.work(True)
        await until(lambda: night.state == "live" and Path(f"{program}.args").exists())
        child = child_of(program)
        task.cancel()
    assert not psutil.pid_exists(child), "the child ends with the engine"
    assert awake_argv(platform, os.getpid()) == [name, *arguments]


@in_a_loop
async def test_a_refusal_is_told_with_the_reason_and_taken_back_with_the_last_run(
    programs: Callable[[str, str], Path],
) -> None:
    programs("systemd-inhibit", REFUSES)
    night = Night("linux")
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(night.awake.run())
        night.work(True)
        await until(lambda: night.state == "degraded")
        assert night.said[-1] == (
            "degraded",
            "systemd-inhibit",
            "The machine may fall asleep while runs go on: Failed to inhibit: Access denied.",
        )
        night.work(False)
        await until(lambda: night.state == "off")
        task.cancel()


@in_a_loop
async def test_without_the_program_nothing_is_started_and_the_reason_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    night = Night("darwin")
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(night.awake.run())
        night.work(True)
        await until(lambda: night.said)
        assert night.said == [("off", "", "caffeinate is not here to keep the machine awake.")]
        task.cancel()


@pytest.mark.parametrize(
    ("platform", "name", "text"),
    [("linux", "systemd-inhibit", INHIBIT), ("darwin", "caffeinate", CAFFEINATE)],
    ids=["linux", "mac"],
)
@in_a_loop
async def test_the_lock_goes_when_the_engine_is_killed(
    programs: Callable[[str, str], Path], platform: str, name: str, text: str
) -> None:
    program = programs(name, text)
    code = (
        "import asyncio, pathlib, sys\nfrom nightdesk.engine import awake\n"
        "awake.SYSTEMD = pathlib.Path('/')\n"
        "asyncio.run(awake.Awake(lambda: True, lambda *said: print(said[0], flush=True), sys.argv[1]).run())"
    )
    engine = subprocess.Popen([sys.executable, "-c", code, platform], stdout=subprocess.PIPE)
    assert engine.stdout
    assert engine.stdout.readline() == b"live\n"
    await until(lambda: Path(f"{program}.args").exists())
    child = child_of(program)
    engine.send_signal(signal.SIGKILL)
    engine.wait()
    engine.stdout.close()
    await until(lambda: not psutil.pid_exists(child))

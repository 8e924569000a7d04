"""The machine sleeps, or its clock is set, while runs go on: nothing is ended for time in which nothing could run."""

from __future__ import annotations

import asyncio
import shlex
import sys
import time
from pathlib import Path

from nightdesk.client.desk import Desk
from nightdesk.engine.jobs.clocks import Clocks
from nightdesk.engine.jobs.supervisor import Supervisor
from nightdesk.model.config import DeskConfig, JobSection
from nightdesk.model.job import ENDED, StartRun

S, HOUR = 10**9, 3600 * 10**9
SLEEPER = shlex.join([sys.executable, "-S", "-c", "import time; print('up', flush=True); time.sleep(120)"])


def test_a_jump_of_the_clock_is_told_once_and_small_ones_are_none() -> None:
    wall, steady = [1_000 * S], [7 * S]
    clocks = Clocks(lambda: wall[0], lambda: steady[0])
    wall[0] += 60 * S
    steady[0] += 59 * S
    assert clocks.jump_ns() == 0
    wall[0] += 8 * HOUR
    assert clocks.jump_ns() == 8 * HOUR + 1 * S
    assert clocks.jump_ns() == 0
    wall[0] -= HOUR
    assert clocks.jump_ns() == -HOUR


def test_no_run_is_ended_for_the_time_in_which_the_machine_slept(tmp_path: Path) -> None:
    ahead = [0]
    jobs = {
        "long": JobSection(command=SLEEPER, timeout="10m", stall_after="10m"),
        "short": JobSection(command=shlex.join([sys.executable, "-S", "-c", "pass"])),
    }
    desk = Desk(folder=tmp_path, config_path=None, config=DeskConfig(jobs=jobs))
    supervisor = Supervisor(desk, lambda change: None, now_ns=lambda: time.time_ns() + ahead[0])

    async def until_ended(run_id: str) -> None:
        async with asyncio.timeout(60):
            while (run := supervisor.run_of(run_id)) is None or run.state not in ENDED:
                await asyncio.sleep(0.01)

    async def scene() -> None:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(supervisor.run())
            await supervisor.running.wait()
            long = await supervisor.start(StartRun(job="long"))
            ahead[0] = 8 * HOUR
            await until_ended((await supervisor.start(StartRun(job="short"))).id)
            work = supervisor.active_work(long.id)
            assert work is not None and work.run.state == "running" and work.ledger.attempts[0].asked is None
            assert work.ledger.attempts[0].still_ns // HOUR in (7, 8)
            await supervisor.act(long.id, "kill")
            await until_ended(long.id)
            task.cancel()

    asyncio.run(scene())

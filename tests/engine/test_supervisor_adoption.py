"""An engine is killed while its runs go on; the next one finds them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from nightdesk.client.desk import Desk
from nightdesk.engine.jobs.attempts import process_keys
from nightdesk.engine.jobs.runs import PidRecord, RunFolder
from nightdesk.engine.jobs.supervisor import Supervisor
from nightdesk.engine.processes.signals import is_alive, processes_of_run, start_time_ns
from nightdesk.engine.processes.table import is_keeper, read_argv, read_entry, read_marker, read_table
from nightdesk.model.base import ProcessKey
from nightdesk.model.config import DeskConfig, JobSection, Retry
from nightdesk.model.job import ENDED, Run, StartRun

ENGINE = """
import asyncio, sys, time
from pathlib import Path
import msgspec
from nightdesk.client.desk import Desk
from nightdesk.engine.jobs.supervisor import Supervisor
from nightdesk.model.config import DeskConfig
from nightdesk.model.job import StartRun

async def main():
    config = msgspec.json.decode(sys.argv[2].encode(), type=DeskConfig)
    desk = Desk(folder=Path(sys.argv[1]), config_path=None, config=config)
    supervisor = Supervisor(desk, lambda change: None, now_ns=time.time_ns)
    await supervisor.adopt()
    async with asyncio.TaskGroup() as group:
        group.create_task(supervisor.run())
        await asyncio.sleep(0)
        run = await supervisor.start(StartRun(job="a"))
        if len(sys.argv) > 3:
            await supervisor.act(run.id, sys.argv[3])
        print(run.id, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""
COUNTS = (
    "import os, sys, time\n"
    "for n in range(3): print('line', n)\n"
    "while not os.path.exists('go'): time.sleep(0.01)\n"
    "for n in range(3, 6): print('line', n)\n"
    "sys.exit(5)"
)
WAITS = "import os, sys, time\nprint('item', sys.argv[1])\nwhile not os.path.exists('go'): time.sleep(0.01)"


def python(code: str, *arguments: str) -> str:
    return shlex.join([sys.executable, "-u", "-S", "-c", code]) + "".join(f" {part}" for part in arguments)


def eventually(check: Callable[[], object], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.01)


def killed_engine(folder: Path, section: JobSection, *action: str) -> str:
    """Id of a run whose engine was ended by SIGKILL."""
    config = msgspec.json.encode(DeskConfig(jobs={"a": section})).decode()
    engine = subprocess.Popen(
        [sys.executable, "-c", ENGINE, str(folder), config, *action],
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert engine.stdout is not None
    run_id = engine.stdout.readline().decode().strip()
    os.killpg(engine.pid, signal.SIGKILL)
    engine.wait()
    engine.stdout.close()
    assert run_id
    return run_id


@contextlib.asynccontextmanager
async def engine_of(folder: Path, section: JobSection) -> AsyncIterator[Supervisor]:
    desk = Desk(folder=folder, config_path=None, config=DeskConfig(jobs={"a": section}))
    supervisor = Supervisor(desk, lambda change: None, now_ns=time.time_ns)
    await supervisor.adopt()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(supervisor.run())
        await asyncio.sleep(0)
        yield supervisor
        task.cancel()


async def until_state(supervisor: Supervisor, run_id: str, *states: str) -> Run:
    async with asyncio.timeout(20):
        while True:
            run = supervisor.run_of(run_id)
            assert run is not None
            if run.state in states:
                return run
            await asyncio.sleep(0.005)


def play(scene: Coroutine[Any, Any, None]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(60):
            await scene

    asyncio.run(limited())


def lines_of(folder: Path, run_id: str) -> list[str]:
    (log,) = (folder / ".nightdesk" / "runs" / run_id).glob("*.log")
    return log.read_text().splitlines()


@pytest.fixture(autouse=True)
def nothing_left(tmp_path: Path) -> Iterator[None]:
    """Ends what a failed test leaves behind, and fails a test that leaves a process or keeper behind."""
    yield
    runs = {path.name for path in (tmp_path / ".nightdesk" / "runs").glob("*")}
    left = [
        pid
        for pid in read_table()
        if read_marker(pid) in runs or str(tmp_path) in " ".join(read_argv(pid)[-1:])
    ]
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    assert not [
        pid for pid in left if (entry := read_entry(pid)) and entry.alive and not is_keeper(read_argv(pid))
    ]


def test_a_run_outlives_its_engine_and_is_adopted_with_log_and_exit_status(tmp_path: Path) -> None:
    section = JobSection(command=python(COUNTS))
    run_id = killed_engine(tmp_path, section)

    async def scene() -> None:
        async with engine_of(tmp_path, section) as supervisor:
            run = supervisor.run_of(run_id)
            assert run is not None and run.state == "running"
            assert run.process is not None and is_alive(run.process)
            assert supervisor.jobs()[0].active_run == run_id
            (tmp_path / "go").touch()
            run = await until_state(supervisor, run_id, *ENDED)
            assert (run.state, run.exit_status) == ("failed", 5)
            assert lines_of(tmp_path, run_id) == [f"line {n}" for n in range(6)]

    play(scene())


def test_a_run_that_ended_while_no_engine_was_there_has_its_true_end(tmp_path: Path) -> None:
    section = JobSection(command=python(COUNTS))
    run_id = killed_engine(tmp_path, section)
    (tmp_path / "go").touch()
    folder = RunFolder(tmp_path / ".nightdesk" / "runs" / run_id)
    eventually(lambda: folder.attempt(1).result())
    eventually(lambda: not folder.attempt(1).has_keeper())

    async def scene() -> None:
        async with engine_of(tmp_path, section) as supervisor:
            run = supervisor.run_of(run_id)
            assert run is not None
            assert (run.state, run.exit_status, run.signal) == ("failed", 5, None)
            result = folder.attempt(1).result()
            assert result is not None and run.ended_ns == result.ended_ns

    play(scene())


def test_a_keeper_that_vanished_makes_the_run_lost_and_names_what_still_runs(tmp_path: Path) -> None:
    section = JobSection(command=python(COUNTS))
    run_id = killed_engine(tmp_path, section)
    folder = RunFolder(tmp_path / ".nightdesk" / "runs" / run_id)
    record = folder.attempt(1).pids()
    assert record is not None
    os.kill(record.keeper.pid, signal.SIGKILL)
    eventually(lambda: not folder.attempt(1).has_keeper())

    async def scene() -> None:
        async with engine_of(tmp_path, section) as supervisor:
            run = supervisor.run_of(run_id)
            assert run is not None and run.state == "lost" and run.reason is not None
            assert f"still runs as process {record.command.pid}" in run.reason
            assert run.failure is not None and run.failure.kind == "lost"

    play(scene())
    os.kill(record.command.pid, signal.SIGKILL)
    eventually(lambda: not processes_of_run(run_id, None))


def test_a_keeper_killed_under_a_living_engine_is_noticed(tmp_path: Path) -> None:
    section = JobSection(command=python(COUNTS))

    async def scene() -> None:
        async with engine_of(tmp_path, section) as supervisor:
            run = await supervisor.start(StartRun(job="a"))
            assert run.keeper is not None and run.process is not None
            os.kill(run.keeper.pid, signal.SIGKILL)
            run = await until_state(supervisor, run.id, *ENDED)
            assert run.state == "lost"
            os.kill(run.process.pid, signal.SIGKILL)  # type: ignore[union-attr] # - checked above
            eventually(lambda: not processes_of_run(run.id, None))

    play(scene())


def test_the_item_in_work_goes_on_and_the_rest_waits_for_resume(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / f"{name}.txt").touch()
    section = JobSection(command=python(WAITS, "{item}"), items="*.txt")
    run_id = killed_engine(tmp_path, section)

    async def scene() -> None:
        async with engine_of(tmp_path, section) as supervisor:
            run = await until_state(supervisor, run_id, "running")
            assert run.item == "a.txt"
            (tmp_path / "go").touch()
            run = await until_state(supervisor, run_id, "paused")
            assert run.reason == "The engine was restarted; resume goes on with 2 items."
            assert (run.items_done, run.items_total) == (1, 3)
            await supervisor.act(run_id, "resume")
            run = await until_state(supervisor, run_id, *ENDED)
            assert (run.state, run.items_done) == ("done", 3)
            assert lines_of(tmp_path, run_id) == ["item a.txt", "item b.txt", "item c.txt"]

    play(scene())


def test_a_run_that_waits_for_another_attempt_stands_still_after_a_restart(tmp_path: Path) -> None:
    section = JobSection(command="false", retry=Retry(attempts=2, backoff="1h", max="1h"))
    run_id = killed_engine(tmp_path, section)
    folder = RunFolder(tmp_path / ".nightdesk" / "runs" / run_id)
    eventually(lambda: folder.attempt(1).result())
    eventually(lambda: not folder.attempt(1).has_keeper())

    async def scene() -> None:
        async with engine_of(tmp_path, section) as supervisor:
            run = supervisor.run_of(run_id)
            assert run is not None and run.state == "paused" and "resume" in (run.reason or "")
            await supervisor.act(run_id, "resume")
            run = await until_state(supervisor, run_id, *ENDED)
            assert (run.state, run.attempt) == ("failed", 2)

    play(scene())


def test_a_paused_run_is_adopted_paused_and_can_be_resumed(tmp_path: Path) -> None:
    section = JobSection(command=python(COUNTS))
    run_id = killed_engine(tmp_path, section, "pause")

    async def scene() -> None:
        async with engine_of(tmp_path, section) as supervisor:
            run = await until_state(supervisor, run_id, "paused")
            assert run.process is not None
            entry = read_entry(run.process.pid)
            assert entry is not None and entry.state == "T"
            (tmp_path / "go").touch()
            await supervisor.act(run_id, "resume")
            assert (await until_state(supervisor, run_id, *ENDED)).exit_status == 5

    play(scene())


def test_a_stop_that_the_engine_did_not_finish_is_finished_by_the_next(tmp_path: Path) -> None:
    stubborn = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up'); time.sleep(120)"
    )
    section = JobSection(command=python(stubborn), grace="300ms")
    run_id = killed_engine(tmp_path, section, "stop")

    async def scene() -> None:
        async with engine_of(tmp_path, section) as supervisor:
            run = await until_state(supervisor, run_id, *ENDED)
            assert run.state == "stopped"
            assert processes_of_run(run_id, run.process) == ()

    play(scene())


def test_history_is_there_after_a_restart_and_a_damaged_folder_is_passed_over(tmp_path: Path) -> None:
    section = JobSection(command="true")

    async def scene() -> None:
        async with engine_of(tmp_path, section) as supervisor:
            for _ in range(2):
                run = await supervisor.start(StartRun(job="a"))
                await until_state(supervisor, run.id, *ENDED)
            before = supervisor.runs()
        damaged = tmp_path / ".nightdesk" / "runs" / "a-20200101-000000-1"
        damaged.mkdir()
        (damaged / "run.json").write_text('{"run":')
        async with engine_of(tmp_path, section) as supervisor:
            assert supervisor.runs() == before
            assert [run.created_ns for run in before] == sorted(run.created_ns for run in before)
            assert supervisor.jobs()[0].last_run == before[-1].id

    play(scene())


def test_a_process_keeps_its_place_in_the_run_when_the_clock_was_set_before_the_next_engine(
    tmp_path: Path,
) -> None:
    section = JobSection(command=python(COUNTS))
    run_id = killed_engine(tmp_path, section)
    file = tmp_path / ".nightdesk" / "runs" / run_id / "run.json"
    stored = msgspec.json.decode(file.read_bytes())
    (attempt,) = stored["ledger"]["attempts"]
    for key in (attempt["process"], attempt["keeper"], stored["run"]["process"]):
        key["started_ns"] -= 3600 * 10**9
    file.write_bytes(msgspec.json.encode(stored))

    async def scene() -> None:
        async with engine_of(tmp_path, section) as supervisor:
            run = await until_state(supervisor, run_id, "running")
            assert run.process is not None and run.keeper is not None
            for key in (run.process, run.keeper, run.flights[0].process):
                assert key is not None and key.started_ns == start_time_ns(key.pid)
            (tmp_path / "go").touch()
            assert (await until_state(supervisor, run_id, *ENDED)).exit_status == 5

    play(scene())


def test_a_run_of_an_engine_of_another_version_is_adopted(tmp_path: Path) -> None:
    section = JobSection(command=python(COUNTS))
    run_id = killed_engine(tmp_path, section)
    for name in ("run.json", "plan.json"):
        file = tmp_path / ".nightdesk" / "runs" / run_id / name
        stored = msgspec.json.decode(file.read_bytes())
        for part in (stored, stored.get("ledger", {}), stored.get("run", {})):
            part["of_a_newer_engine"] = {"x": 1}
        for each in stored.get("ledger", {}).get("attempts", ()):
            each["of_a_newer_engine"] = 1
        file.write_bytes(msgspec.json.encode(stored))

    async def scene() -> None:
        async with engine_of(tmp_path, section) as supervisor:
            await until_state(supervisor, run_id, "running")
            (tmp_path / "go").touch()
            assert (await until_state(supervisor, run_id, *ENDED)).exit_status == 5

    play(scene())


def test_a_number_that_a_stranger_has_by_now_is_not_taken_for_the_command() -> None:
    mine = start_time_ns(os.getpid())
    assert mine is not None
    stranger = ProcessKey(pid=os.getpid(), started_ns=mine + 3600 * 10**9)
    keeper = ProcessKey(pid=os.getpid(), started_ns=mine + 3600 * 10**9)
    found = process_keys(PidRecord(serial=1, keeper=keeper, command=stranger))
    assert mine not in (found[0].started_ns, found[1].started_ns)

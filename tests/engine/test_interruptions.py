"""What an engine finds that another one left in the middle of something."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from nightdesk.client.desk import Desk
from nightdesk.core import markers
from nightdesk.core.jobs.events import Admitted, Ended, Launched, Record
from nightdesk.core.jobs.life import advance
from nightdesk.core.jobs.plans import plan_run
from nightdesk.engine.jobs.book import create_run
from nightdesk.engine.jobs.keeper import BEGUN
from nightdesk.engine.jobs.runs import AttemptFolder, RunFolder
from nightdesk.engine.jobs.supervisor import Supervisor
from nightdesk.model.config import DeskConfig, JobSection
from nightdesk.model.job import Failure, Run, StartRun
from tests.engine.test_supervisor import play

RESULT = b'{"serial":1,"started_ns":1000,"ended_ns":2000,"exit_status":0}\n'


def desk_of(folder: Path, **jobs: JobSection) -> Desk:
    return Desk(folder=folder, config_path=None, config=DeskConfig(jobs=jobs))


def launched(desk: Desk, job: str, *items: str, age_s: int = 10) -> tuple[RunFolder, AttemptFolder]:
    """A run on disk whose engine was killed right after it had noted that it launches the first attempt."""
    section = desk.config.jobs[job]
    now = time.time_ns() - age_s * 10**9
    plan = plan_run(section, StartRun(job=job), str(desk.folder), lambda: items)
    work, folder = create_run(desk.runs, plan, now)
    work, _ = advance(work, Admitted())
    work, _ = advance(work, Launched("x", 0, now, 0 if items else None))
    folder.save(work)
    return folder, folder.attempt(1)


@asynccontextmanager
async def engine(desk: Desk) -> AsyncIterator[Supervisor]:
    supervisor = Supervisor(desk, lambda change: None, now_ns=time.time_ns)
    await supervisor.adopt()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(supervisor.run())
        await supervisor.running.wait()
        yield supervisor
        task.cancel()


def found(supervisor: Supervisor, folder: RunFolder) -> Run:
    run = supervisor.run_of(folder.run_id)
    assert run is not None
    return run


async def until_state(supervisor: Supervisor, folder: RunFolder, state: str) -> Run:
    async with asyncio.timeout(20):
        while found(supervisor, folder).state != state:
            await asyncio.sleep(0.005)
    return found(supervisor, folder)


def test_an_item_whose_keeper_was_never_started_is_worked_on_as_if_for_the_first_time(tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    desk = desk_of(tmp_path, a=JobSection(command="true {item}", items="x"))
    folder, attempt = launched(desk, "a", "x")
    attempt.save_spec(str(tmp_path), ["true"], {})
    os.close(attempt.lock_for_keeper())

    async def scene() -> None:
        async with engine(desk) as supervisor:
            assert found(supervisor, folder).state == "paused"
            await supervisor.act(folder.run_id, "resume")
            await until_state(supervisor, folder, "done")
            (record,) = folder.items()
            assert (record.attempts, record.serial) == (1, 2)

    play(scene())


def test_a_keeper_that_had_begun_its_command_is_never_forgotten(tmp_path: Path) -> None:
    desk = desk_of(tmp_path, a=JobSection(command="true"))
    folder, attempt = launched(desk, "a")
    attempt.save_spec(str(tmp_path), ["true"], {})
    lock = attempt.lock_for_keeper()
    os.utime(lock, (BEGUN, BEGUN))
    os.close(lock)

    async def scene() -> None:
        async with engine(desk) as supervisor:
            assert found(supervisor, folder).state == "lost"

    play(scene())


def test_a_keeper_that_waits_for_room_to_note_its_processes_is_not_lost(tmp_path: Path) -> None:
    desk = desk_of(tmp_path, a=JobSection(command="true"))
    folder, attempt = launched(desk, "a")
    attempt.save_spec(str(tmp_path), ["true"], {})
    lock = attempt.lock_for_keeper()

    async def scene() -> None:
        async with engine(desk) as supervisor:
            begun = time.monotonic()
            while time.monotonic() - begun < 0.2:
                assert found(supervisor, folder).state == "waiting"
                await asyncio.sleep(0.01)
            attempt.replace("result.json", RESULT)
            os.close(lock)
            await until_state(supervisor, folder, "done")

    play(scene())


def test_items_of_another_job_that_were_done_meanwhile_do_not_keep_an_engine_from_starting(
    tmp_path: Path,
) -> None:
    first = JobSection(command="true {item}", items="*.txt")
    then = JobSection(command="true {item}", items="*.txt", needs_items=("a",))
    (tmp_path / "x.txt").touch()
    desk = desk_of(tmp_path, a=first, b=then)
    plan = plan_run(then, StartRun(job="b"), str(tmp_path), lambda: ("x.txt",))
    waiting = create_run(desk.runs, plan, time.time_ns() - 20 * 10**9)[1]
    folder, attempt = launched(desk, "a", "x.txt")
    attempt.save_spec(str(tmp_path), ["true"], {})
    attempt.replace("result.json", RESULT)

    async def scene() -> None:
        async with engine(desk) as supervisor:
            assert found(supervisor, folder).state == "done"
            assert found(supervisor, waiting).state == "paused"
            await supervisor.act(waiting.run_id, "resume")
            await until_state(supervisor, waiting, "done")

    play(scene())


def test_folders_that_an_engine_left_half_made_are_passed_over(tmp_path: Path) -> None:
    desk = desk_of(tmp_path, a=JobSection(command="true"))
    no_plan, _ = launched(desk, "a")
    (no_plan.path / "plan.json").unlink()
    torn, _ = launched(desk, "a", age_s=9)
    (torn.path / "run.json").write_bytes((torn.path / "run.json").read_bytes()[:50])
    (desk.runs / "a-empty").mkdir()

    async def scene() -> None:
        async with engine(desk) as supervisor:
            assert supervisor.runs() == ()
            run = await supervisor.start(StartRun(job="a"))
            assert run.state in ("waiting", "running", "done")
            await until_state(supervisor, RunFolder(Path(run.folder)), "done")

    play(scene())


def test_a_record_that_a_crash_cut_spoils_no_other(tmp_path: Path) -> None:
    for name in "xy":
        (tmp_path / name).touch()
    desk = desk_of(tmp_path, a=JobSection(command="true {item}", items="?"))
    folder, attempt = launched(desk, "a", "x", "y")
    (folder.path / "items.jsonl").write_bytes(b'{"item":"x","index":0,"state":"do')
    attempt.save_spec(str(tmp_path), ["true"], {})
    attempt.replace("result.json", RESULT)

    async def scene() -> None:
        async with engine(desk) as supervisor:
            assert (found(supervisor, folder).state, found(supervisor, folder).items_done) == ("paused", 1)
            await supervisor.act(folder.run_id, "resume")
            await until_state(supervisor, folder, "done")
            assert [(r.item, r.state, r.serial) for r in folder.items()] == [
                ("x", "done", 1),
                ("y", "done", 2),
            ]

    play(scene())


def test_what_the_last_attempt_of_an_ended_run_left_is_ended_by_the_next_engine(tmp_path: Path) -> None:
    desk = desk_of(tmp_path, a=JobSection(command="x {item}", items="*.x"))
    folder, _ = launched(desk, "a", "one")
    work = folder.load()
    assert work is not None
    broken = Failure(kind="error", evidence="x")
    work, commands = advance(work, Ended(1, time.time_ns(), exit_status=1, failure=broken))
    assert work.run.state == "failed" and work.ledger.sweeps
    folder.append_items(command.record for command in commands if isinstance(command, Record))
    folder.save(work)
    marks = {markers.RUN: folder.run_id, markers.ATTEMPT: "1", markers.DESK: str(tmp_path)}
    left = subprocess.Popen(
        [sys.executable, "-S", "-c", "import time; time.sleep(60)"], env={**os.environ, **marks}
    )

    async def scene() -> None:
        async with engine(desk):
            async with asyncio.timeout(20):
                while left.poll() is None or (stored := folder.load()) is None or stored.ledger.sweeps:
                    await asyncio.sleep(0.01)

    try:
        play(scene())
        assert left.returncode == -9
    finally:
        left.kill()
        left.wait()

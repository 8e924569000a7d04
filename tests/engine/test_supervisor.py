"""Runs of real commands, started, paused, stopped and driven item by item."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import signal
import stat
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from nightdesk.client.desk import Desk
from nightdesk.engine.jobs.supervisor import Supervisor
from nightdesk.engine.processes.signals import processes_of_run
from nightdesk.engine.processes.table import read_entry, read_marker, read_table
from nightdesk.model.config import DeskConfig, JobSection, Retry
from nightdesk.model.desk import Change, RunChanged
from nightdesk.model.errors import UsageError
from nightdesk.model.job import ENDED, Run, StartRun
from nightdesk.model.logs import Progress

SLEEPER = "import time; print('up', flush=True); time.sleep(120)"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEPER}"
FAMILY = (
    "import subprocess, sys, time;"
    "subprocess.Popen([sys.executable, '-S', '-c', 'import time; time.sleep(120)'], start_new_session=True);"
    "print('up', flush=True); time.sleep(120)"
)


def python(code: str, *arguments: str) -> str:
    """A command line that runs Python code."""
    return shlex.join([sys.executable, "-S", "-c", code]) + "".join(f" {part}" for part in arguments)


class World:
    """A supervisor at work and everything that it told."""

    def __init__(self, folder: Path, jobs: dict[str, JobSection]) -> None:
        self.changes: list[Change] = []
        self.logs: list[str] = []
        self.ends: list[Run] = []
        self.extra: dict[str, str] = {}
        self.desk = Desk(folder=folder, config_path=None, config=DeskConfig(jobs=jobs))
        self.supervisor = Supervisor(
            self.desk,
            self.changes.append,
            now_ns=time.time_ns,
            environment=lambda: self.extra,
            on_run_log=lambda run: self.logs.append(run.log_path or ""),
            on_run_ended=self.ends.append,
        )

    async def start(self, job: str, **request: Any) -> Run:
        return await self.supervisor.start(StartRun(job=job, **request))

    def with_jobs(self, **jobs: JobSection) -> Desk:
        """The desk with other jobs."""
        return Desk(folder=self.desk.folder, config_path=None, config=DeskConfig(jobs=jobs))

    def get(self, run: Run) -> Run:
        found = self.supervisor.run_of(run.id)
        assert found is not None
        return found

    async def until(self, check: Callable[[], object], seconds: float = 20) -> None:
        deadline = time.monotonic() + seconds
        while not check():
            states = [(r.id, r.state, r.reason, r.failure) for r in self.supervisor.runs()]
            assert time.monotonic() < deadline, states
            await asyncio.sleep(0.005)

    async def ended(self, run: Run) -> Run:
        await self.until(lambda: self.get(run).state in ENDED)
        return self.get(run)

    async def says(self, run: Run, text: str) -> None:
        await self.until(lambda: text in log_of(run))

    def states(self, run: Run) -> list[str]:
        """The states through which the run went."""
        told = [c.run.state for c in self.changes if isinstance(c, RunChanged) and c.run.id == run.id]
        return [state for index, state in enumerate(told) if index == 0 or told[index - 1] != state]


def log_of(run: Run) -> str:
    assert run.log_path is not None
    return Path(run.log_path).read_text("utf-8")


@asynccontextmanager
async def working(folder: Path, **jobs: JobSection) -> AsyncIterator[World]:
    world = World(folder, jobs)
    await world.supervisor.adopt()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(world.supervisor.run())
        await asyncio.sleep(0)
        yield world
        task.cancel()


def play(scene: Coroutine[Any, Any, None]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(60):
            await scene

    asyncio.run(limited())


@pytest.fixture(autouse=True)
def nothing_left(tmp_path: Path) -> Iterator[None]:
    """Ends what a failed test leaves behind, and fails a test that leaves a process of a run behind."""
    yield
    runs = {path.name for path in (tmp_path / ".nightdesk" / "runs").glob("*")}
    left = [pid for pid in read_table() if read_marker(pid) in runs]
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert not left


def job(command: str, **fields: Any) -> JobSection:
    return JobSection(command=command, **fields)


def test_a_command_that_succeeds_is_done_and_its_output_is_the_log(tmp_path: Path) -> None:
    async def scene() -> None:
        async with working(
            tmp_path, a=job(python("print('héllo'); import sys; print('oops', file=sys.stderr)"))
        ) as world:
            run = await world.ended(await world.start("a"))
            assert (run.state, run.exit_status, run.failure) == ("done", 0, None)
            assert log_of(run) == "héllo\noops\n"
            assert run.usage is not None and run.usage.max_rss_bytes > 1_000_000
            assert run.created_ns <= (run.started_ns or 0) <= (run.ended_ns or 0)
            assert world.states(run) in (["waiting", "running", "done"], ["waiting", "done"])
            assert world.logs == [run.log_path] and [r.id for r in world.ends] == [run.id]
            assert world.supervisor.jobs()[0].last_run == run.id

    play(scene())


def test_a_run_is_running_only_when_its_process_is_known(tmp_path: Path) -> None:
    async def scene() -> None:
        async with working(tmp_path, a=job(python(SLEEPER))) as world:
            run = await world.start("a")
            assert run.state == "running" and run.process is not None and run.keeper is not None
            entry = read_entry(run.process.pid)
            assert entry is not None and entry.started_ns == run.process.started_ns
            assert entry.ppid == run.keeper.pid and entry.session == run.process.pid
            told = [c.run for c in world.changes if isinstance(c, RunChanged)]
            assert all(r.process for r in told if r.state == "running")
            await world.supervisor.act(run.id, "kill")
            await world.ended(run)

    play(scene())


def test_files_of_a_run_are_private_and_named_after_job_and_time(tmp_path: Path) -> None:
    async def scene() -> None:
        async with working(tmp_path, **{"a b/c": job("true")}) as world:
            run = await world.ended(await world.start("a b/c"))
            folder = Path(run.folder)
            assert folder.parent == tmp_path / ".nightdesk" / "runs"
            assert re.fullmatch(r"a_b_c-20\d{6}-\d{6}-\d{6}", run.id)
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
            for path in folder.rglob("*"):
                assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
            assert Path(run.log_path or "").name.startswith("a_b_c_20")

    play(scene())


def test_exit_status_and_last_traceback_line_explain_a_failure(tmp_path: Path) -> None:
    async def scene() -> None:
        async with working(
            tmp_path,
            raises=job(python("raise ValueError('bad tape')")),
            three=job(python("raise SystemExit(3)")),
        ) as world:
            run = await world.ended(await world.start("raises"))
            assert (run.state, run.exit_status) == ("failed", 1)
            assert run.failure is not None
            assert (run.failure.kind, run.failure.evidence) == (
                "error",
                "ValueError: bad tape (exit status 1)",
            )
            run = await world.ended(await world.start("three"))
            assert (run.state, run.exit_status) == ("failed", 3)

    play(scene())


def test_a_command_that_a_stranger_kills_has_failed_with_the_signal(tmp_path: Path) -> None:
    async def scene() -> None:
        async with working(tmp_path, a=job(python(SLEEPER))) as world:
            run = await world.start("a")
            assert run.process is not None
            os.kill(run.process.pid, signal.SIGKILL)
            run = await world.ended(run)
            assert (run.state, run.exit_status, run.signal) == ("failed", None, 9)
            assert (
                run.failure is not None and run.failure.kind == "killed" and "SIGKILL" in run.failure.evidence
            )

    play(scene())


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("no-such-program-anywhere x", "There is no program named no-such-program-anywhere"),
        ("./missing.sh", "There is no file ./missing.sh"),
        ("./plain.txt", "./plain.txt can't be started: permission denied"),
    ],
)
def test_a_command_that_can_not_be_started_says_why(tmp_path: Path, command: str, words: str) -> None:
    (tmp_path / "plain.txt").write_text("x")

    async def scene() -> None:
        async with working(tmp_path, a=job(command, retry=Retry(attempts=3))) as world:
            run = await world.ended(await world.start("a"))
            assert run.failure is not None and run.failure.kind == "not_found"
            assert words in run.failure.evidence
            assert run.started_ns is None and run.attempt == 1

    play(scene())


def test_the_command_gets_markers_extra_variables_and_those_of_the_job(tmp_path: Path) -> None:
    code = "import os, json; print(json.dumps(dict(os.environ)))"

    async def scene() -> None:
        async with working(tmp_path, a=job(python(code), env={"MINE": "1", "BOTH": "job"})) as world:
            world.extra = {"OLLAMA_HOST": "127.0.0.1:9", "BOTH": "extra"}
            run = await world.ended(await world.start("a"))
            seen = json.loads(log_of(run))
            assert seen["NIGHTDESK_RUN"] == run.id and seen["NIGHTDESK_JOB"] == "a"
            assert "NIGHTDESK_ITEM" not in seen
            assert seen["PYTHONUNBUFFERED"] == "1" and seen["OLLAMA_HOST"] == "127.0.0.1:9"
            assert seen["MINE"] == "1" and seen["BOTH"] == "job"
            assert seen["PATH"] == os.environ["PATH"]

    play(scene())


def test_the_command_has_default_signals_no_input_and_no_foreign_files(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys;"
        "print(signal.getsignal(signal.SIGINT) is signal.default_int_handler, signal.getsignal(signal.SIGTERM) is"
        " signal.SIG_DFL, sys.stdin.read() == '', sorted(os.listdir('/dev/fd'))[:4], os.getcwd())"
    )
    (tmp_path / "work").mkdir()

    async def scene() -> None:
        async with working(tmp_path, a=job(python(code), folder="work")) as world:
            run = await world.ended(await world.start("a"))
            assert log_of(run) == f"True True True ['0', '1', '2', '3'] {tmp_path / 'work'}\n"

    play(scene())


def test_pause_reaches_a_grandchild_in_its_own_session_and_resume_wakes_it(tmp_path: Path) -> None:
    async def scene() -> None:
        async with working(tmp_path, a=job(python(FAMILY), grace="200ms")) as world:
            run = await world.start("a")
            await world.says(run, "up")
            members = processes_of_run(run.id, run.process)
            assert len(members) == 2
            run = await world.supervisor.act(run.id, "pause")
            assert run.state == "paused" and run.paused_ns is not None
            assert {e.state for m in members if (e := read_entry(m.key.pid))} == {"T"}
            run = await world.supervisor.act(run.id, "resume")
            assert run.state == "running" and run.paused_ns is None
            await world.until(lambda: {e.state for m in members if (e := read_entry(m.key.pid))} == {"S"})
            await world.supervisor.act(run.id, "kill")
            run = await world.ended(run)
            assert run.state == "stopped" and run.signal == 9
            assert processes_of_run(run.id, run.process) == ()

    play(scene())


def test_stop_ends_a_run_whose_child_ignores_the_polite_signal(tmp_path: Path) -> None:
    async def scene() -> None:
        async with working(tmp_path, a=job(python(STUBBORN), grace="100ms")) as world:
            run = await world.start("a")
            await world.says(run, "up")
            assert (await world.supervisor.act(run.id, "stop")).state == "stopping"
            run = await world.ended(run)
            assert (run.state, run.signal, run.failure) == ("stopped", 9, None)
            assert processes_of_run(run.id, run.process) == ()

    play(scene())


def test_stop_lets_a_paused_command_end_by_itself(tmp_path: Path) -> None:
    code = (
        "import signal, sys; signal.signal(signal.SIGTERM, lambda *a: (print('tidy', flush=True), sys.exit(0)));"
        + SLEEPER
    )

    async def scene() -> None:
        async with working(tmp_path, a=job(python(code), grace="20s")) as world:
            run = await world.start("a")
            await world.says(run, "up")
            await world.supervisor.act(run.id, "pause")
            await world.supervisor.act(run.id, "stop")
            run = await world.ended(run)
            assert (run.state, run.exit_status) == ("stopped", 0)
            assert "tidy" in log_of(run)

    play(scene())


def test_kill_does_not_wait_for_the_grace_of_a_stop(tmp_path: Path) -> None:
    async def scene() -> None:
        async with working(tmp_path, a=job(python(STUBBORN), grace="1h")) as world:
            run = await world.start("a")
            await world.says(run, "up")
            await world.supervisor.act(run.id, "stop")
            await world.supervisor.act(run.id, "kill")
            run = await world.ended(run)
            assert (run.state, run.signal) == ("stopped", 9)

    play(scene())


def test_a_run_over_its_time_limit_is_ended_and_says_so(tmp_path: Path) -> None:
    async def scene() -> None:
        async with working(tmp_path, a=job(python(FAMILY), timeout="300ms", grace="100ms")) as world:
            run = await world.ended(await world.start("a"))
            assert run.state == "failed" and run.failure is not None
            assert run.failure.kind == "timeout" and "300ms" in run.failure.evidence
            assert processes_of_run(run.id, run.process) == ()

    play(scene())


def test_a_failed_attempt_is_tried_again_after_a_pause(tmp_path: Path) -> None:
    code = "import os, sys; n = len(os.listdir('tries')); open(f'tries/{n}', 'w').close(); sys.exit(n < 2)"
    (tmp_path / "tries").mkdir()

    async def scene() -> None:
        async with working(
            tmp_path, a=job(python(code), retry=Retry(attempts=5, backoff="50ms", max="60ms"))
        ) as world:
            run = await world.ended(await world.start("a"))
            assert (run.state, run.attempt, run.exit_status) == ("done", 3, 0)
            reasons = [c.run.reason or "" for c in world.changes if isinstance(c, RunChanged)]
            assert any("Attempt 1 of 5 failed" in r and "tries again after 50ms" in r for r in reasons)

    play(scene())


ODD = [
    "-rf.txt",
    "a b.txt",
    "c;touch pwned.txt",
    "$(id).txt",
    "quote'\".txt",
    "{stem}.txt",
    "ünï.txt",
    "part 9.txt",
    "part 10.txt",
]
COPY = "import sys; a, out = sys.argv[1:]; open(out, 'w').write(open(a).read().upper()); print('made', a)"


def test_items_with_odd_names_arrive_as_one_argument_each(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    for name in ODD:
        (tmp_path / name).write_text("x")

    async def scene() -> None:
        section = job(python(COPY, "{item}", "out/{name}"), items="*.txt", outputs="out/{name}")
        async with working(tmp_path, a=section) as world:
            items = world.supervisor.items("a")
            assert sorted(items) == sorted(ODD)
            assert items.index("part 9.txt") < items.index("part 10.txt")
            run = await world.ended(await world.start("a"))
            assert run.state == "done" and (run.items_total, run.items_done, run.items_failed) == (
                len(ODD),
                len(ODD),
                0,
            )
            assert {p.name: p.read_text() for p in (tmp_path / "out").iterdir()} == dict.fromkeys(ODD, "X")
            assert not (tmp_path / "pwned.txt").exists()
            assert log_of(run).count("made") == len(ODD)
            assert run.progress is not None and run.progress.source == "items"
            assert (run.progress.done, run.progress.total) == (len(ODD), len(ODD))
            records = [
                json.loads(line) for line in (Path(run.folder) / "items.jsonl").read_text().splitlines()
            ]
            assert [(r["item"], r["state"]) for r in records] == [(item, "done") for item in items]

    play(scene())


def test_items_with_a_valid_output_are_skipped_and_changed_ones_are_done_again(tmp_path: Path) -> None:
    for name in "abcd":
        (tmp_path / f"{name}.txt").write_text(name)
        (tmp_path / f"{name}.out").write_text("old")
    os.utime(tmp_path / "b.txt", (2**31, 2**31))
    (tmp_path / "c.out").write_text("")

    async def scene() -> None:
        section = job(python(COPY, "{item}", "{stem}.out"), items="*.txt", outputs="{stem}.out")
        async with working(tmp_path, a=section) as world:
            run = await world.ended(await world.start("a"))
            assert run.state == "done" and (run.items_done, run.items_total) == (4, 4)
            assert [(tmp_path / f"{n}.out").read_text() for n in "abcd"] == ["old", "B", "C", "old"]

    play(scene())


def test_a_failed_item_does_not_keep_the_others_from_their_turn(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / f"{name}.txt").write_text(name)
    code = "import sys; sys.exit('no luck' if sys.argv[1] == 'b.txt' else 0)"

    async def scene() -> None:
        section = job(python(code, "{item}"), items="*.txt", retry=Retry(attempts=2, backoff="1ms"))
        async with working(tmp_path, a=section) as world:
            run = await world.ended(await world.start("a"))
            assert (run.state, run.items_done, run.items_failed) == ("failed", 2, 1)
            assert run.failure is not None and run.failure.evidence == "1 of 3 items failed: b.txt"
            assert log_of(run).count("no luck") == 2
            records = [
                json.loads(line) for line in (Path(run.folder) / "items.jsonl").read_text().splitlines()
            ]
            assert records[1]["attempts"] == 2 and "no luck" in records[1]["failure"]["evidence"]

    play(scene())


def test_a_program_that_does_not_exist_fails_the_run_at_its_first_item(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / f"{name}.txt").write_text(name)

    async def scene() -> None:
        async with working(tmp_path, a=job("no-such-program {item}", items="*.txt")) as world:
            run = await world.ended(await world.start("a"))
            assert (run.state, run.items_failed) == ("failed", 1)
            assert run.failure is not None and run.failure.kind == "not_found"

    play(scene())


def test_a_single_run_works_on_the_named_item_whatever_its_output_says(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    (tmp_path / "a.out").write_text("old")

    async def scene() -> None:
        section = job(python(COPY, "{item}", "{stem}.out"), items="*.txt", outputs="{stem}.out")
        opaque = job("true", single=python("import os; print(os.environ['NIGHTDESK_ITEM'])", "{item}"))
        async with working(tmp_path, a=section, b=opaque) as world:
            run = await world.ended(await world.start("a", mode="single", item="a.txt"))
            assert (run.state, run.item, run.mode) == ("done", "a.txt", "single")
            assert (tmp_path / "a.out").read_text() == "A"
            run = await world.ended(await world.start("b", mode="single", item="x y"))
            assert log_of(run) == "x y\n"
            with pytest.raises(UsageError, match=r"There is no item b\.txt\. Did you mean a\.txt\?"):
                await world.start("a", mode="single", item="b.txt")

    play(scene())


def test_a_dry_run_lists_what_would_be_done_and_does_nothing(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / f"{name}.txt").write_text(name)
    (tmp_path / "a.out").write_text("fine")

    async def scene() -> None:
        listed = job("touch {stem}.out", items="*.txt", outputs="{stem}.out")
        own = job("false", dry_run="echo would work")
        async with working(tmp_path, listed=listed, own=own) as world:
            run = await world.start("listed", mode="dry")
            assert run.state == "done"
            assert log_of(run).splitlines() == [
                "skip  a.txt  (a.out is there and not older)",
                "do    b.txt  (b.out is missing)",
                "1 of 2 items would be worked on, 1 would be skipped.",
            ]
            assert not (tmp_path / "b.out").exists()
            run = await world.ended(await world.start("own", mode="dry"))
            assert (run.state, log_of(run)) == ("done", "would work\n")

    play(scene())


def test_wrong_requests_are_refused_with_the_next_step(tmp_path: Path) -> None:
    async def scene() -> None:
        async with working(tmp_path, transcribe=job(python(SLEEPER))) as world:
            with pytest.raises(UsageError, match=r"no job named transcrib\. Did you mean transcribe\?"):
                await world.start("transcrib")
            with pytest.raises(UsageError, match="no dry run"):
                await world.start("transcribe", mode="dry")
            with pytest.raises(UsageError, match="needs an item"):
                await world.start("transcribe", mode="single")
            with pytest.raises(UsageError, match="There is no run nothing"):
                await world.supervisor.act("nothing", "stop")
            run = await world.start("transcribe")
            with pytest.raises(UsageError, match=f"{run.id} has not ended"):
                await world.start("transcribe")
            await world.supervisor.act(run.id, "kill")
            await world.ended(run)
            with pytest.raises(UsageError, match="it has ended"):
                await world.supervisor.act(run.id, "pause")

    play(scene())


def test_a_job_waits_for_those_it_needs_and_starts_by_itself(tmp_path: Path) -> None:
    gate = "import os, time\nwhile not os.path.exists('go'): time.sleep(0.01)"

    async def scene() -> None:
        async with working(tmp_path, first=job(python(gate)), second=job("true", needs=("first",))) as world:
            waiting = await world.start("second")
            assert (waiting.state, waiting.reason) == ("waiting", "Waits for first, which has not run yet.")
            first = await world.start("first")
            await world.until(lambda: world.get(waiting).reason == "Waits for first.")
            (tmp_path / "go").touch()
            second = await world.ended(waiting)
            assert second.state == "done"
            assert (second.started_ns or 0) >= (world.get(first).ended_ns or 0)

    play(scene())


def test_one_run_at_a_time_uses_the_gpu(tmp_path: Path) -> None:
    async def scene() -> None:
        slot = {"gpu": 1}
        async with working(tmp_path, a=job(python(SLEEPER), uses=slot), b=job("true", uses=slot)) as world:
            a = await world.start("a")
            b = await world.start("b")
            assert (b.state, b.reason) == ("waiting", "Waits for the gpu, which a uses.")
            await world.supervisor.act(a.id, "kill")
            assert (await world.ended(b)).state == "done"

    play(scene())


def test_a_waiting_run_can_be_held_released_and_stopped(tmp_path: Path) -> None:
    async def scene() -> None:
        async with working(tmp_path, a=job("true", needs=("never",))) as world:
            run = await world.start("a")
            assert (await world.supervisor.act(run.id, "pause")).state == "paused"
            run = await world.supervisor.act(run.id, "resume")
            assert (run.state, run.reason) == ("waiting", "Waits for never, which has not run yet.")
            await world.supervisor.act(run.id, "stop")
            assert (await world.ended(run)).state == "stopped"

    play(scene())


def test_progress_from_the_log_is_told_for_a_batch_that_drives_itself(tmp_path: Path) -> None:
    async def scene() -> None:
        async with working(tmp_path, a=job(python(SLEEPER))) as world:
            run = await world.start("a")
            progress = Progress(done=11, total=52, at_ns=1, source="counter")
            world.supervisor.set_progress(run.id, progress)
            assert world.get(run).progress == progress
            last = world.changes[-1]
            assert isinstance(last, RunChanged) and last.run.progress == progress
            await world.supervisor.act(run.id, "kill")
            await world.ended(run)

    play(scene())


def test_two_desks_with_equal_jobs_never_touch_each_others_processes(tmp_path: Path) -> None:
    async def scene() -> None:
        section = job(python(SLEEPER), grace="100ms")
        async with working(tmp_path / "one", a=section) as one, working(tmp_path / "two", a=section) as two:
            first, second = await asyncio.gather(one.start("a"), two.start("a"))
            assert first.id != second.id
            await one.supervisor.act(first.id, "kill")
            await one.ended(first)
            assert two.get(second).state == "running"
            assert len(processes_of_run(second.id, second.process)) == 1
            await two.supervisor.act(second.id, "kill")
            await two.ended(second)

    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    play(scene())


@pytest.mark.skipif(sys.platform != "linux", reason="macOS refuses such names")
def test_names_that_are_no_text_are_left_out_and_folders_too(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"bad\xff.txt")).touch()
    (tmp_path / "good.txt").touch()
    (tmp_path / "folder.txt").mkdir()
    world = World(tmp_path, {"a": job("x {item}", items="*.txt"), "b": job("x {item}", items="*/")})
    assert world.supervisor.items("a") == ("good.txt",)
    assert world.supervisor.items("b") == ("folder.txt/",)


def test_stopping_the_supervisor_leaves_runs_alone(tmp_path: Path) -> None:
    async def scene() -> None:
        section = job(python(SLEEPER))
        async with working(tmp_path, a=section) as world:
            run = await world.start("a")
        assert run.process is not None and read_entry(run.process.pid) is not None
        async with working(tmp_path, a=section) as world:
            assert world.get(run).state == "running"
            await world.supervisor.act(run.id, "kill")
            await world.ended(run)

    play(scene())


def test_a_log_that_is_emptied_while_its_run_goes_on_is_written_on_and_tells_the_failure(
    tmp_path: Path,
) -> None:
    code = (
        "import os, sys, time; print('much ' * 1000, flush=True)\n"
        "while not os.path.exists('go'): time.sleep(0.005)\n"
        "sys.exit('ValueError: the end')"
    )

    async def scene() -> None:
        async with working(tmp_path, a=job(python(code), retry=Retry(attempts=2, backoff="10ms"))) as world:
            run = await world.start("a")
            await world.says(run, "much")
            assert run.log_path is not None
            os.truncate(run.log_path, 0)
            (tmp_path / "go").touch()
            ended = await world.ended(run)
            assert ended.failure is not None and "ValueError: the end" in ended.failure.evidence
            assert log_of(run).startswith("ValueError: the end")

    play(scene())

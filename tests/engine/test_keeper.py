"""The keeper alone: a run folder goes in, a result comes out."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from nightdesk.engine.jobs.attempts import KEEPER, KeeperWatch, spawn_keeper
from nightdesk.engine.jobs.runs import AttemptFolder
from nightdesk.engine.processes.table import is_keeper, read_argv, read_entry


def eventually(check: Callable[[], object], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.01)


def keep(
    folder: Path, *arguments: str, environment: dict[str, str] | None = None
) -> tuple[AttemptFolder, int]:
    """A keeper that has said that its command runs or can't."""
    place = AttemptFolder(folder, 7)
    place.save_spec(str(folder), arguments, environment or {})
    keeper, ready = spawn_keeper(place, folder / "out.log")
    assert select.select([ready], [], [], 20)[0]
    os.close(ready)
    return place, keeper


def python(code: str) -> tuple[str, ...]:
    return (sys.executable, "-S", "-c", code)


def test_the_result_tells_exit_status_times_and_resources(tmp_path: Path) -> None:
    burn = "import time, sys\nwhile time.process_time() < 0.05: pass\nsys.exit(3)"
    before = time.time_ns()
    place, keeper = keep(tmp_path, *python(burn))
    os.waitpid(keeper, 0)
    result = place.result()
    assert result is not None
    assert (result.exit_status, result.signal) == (3, None)
    assert before <= result.started_ns < result.ended_ns <= time.time_ns()
    assert result.user_ns + result.system_ns >= 40_000_000
    assert result.max_rss_bytes > 1_000_000
    assert AttemptFolder(tmp_path, 8).result() is None


def test_the_lock_is_held_exactly_while_the_keeper_lives(tmp_path: Path) -> None:
    place, keeper = keep(tmp_path, *python("import time; time.sleep(120)"))
    record = place.pids()
    assert place.has_keeper() and record is not None and record.keeper.pid == keeper
    assert is_keeper(read_argv(keeper))
    os.kill(record.command.pid, signal.SIGKILL)
    os.waitpid(keeper, 0)
    assert not place.has_keeper()
    result = place.result()
    assert result is not None and (result.exit_status, result.signal) == (None, 9)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_signals_that_ask_a_keeper_to_end_change_nothing(tmp_path: Path, number: int) -> None:
    place, keeper = keep(
        tmp_path, *python("import os, time\nwhile not os.path.exists('go'): time.sleep(0.01)")
    )
    os.kill(keeper, number)
    (tmp_path / "go").touch()
    os.waitpid(keeper, 0)
    result = place.result()
    assert result is not None and result.exit_status == 0


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has sub-reapers")
def test_a_process_that_loses_its_parent_stays_below_the_keeper(tmp_path: Path) -> None:
    code = (
        "import os, time\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    if os.fork() == 0:\n"
        "        open('pid.new', 'w').write(str(os.getpid())); os.rename('pid.new', 'pid'); time.sleep(120)\n"
        "    os._exit(0)\n"
        "time.sleep(120)"
    )
    place, keeper = keep(tmp_path, *python(code))
    eventually(lambda: (tmp_path / "pid").exists())
    daemon = int((tmp_path / "pid").read_text())

    def parent() -> int | None:
        entry = read_entry(daemon)
        return entry.ppid if entry else None

    eventually(lambda: parent() == keeper)
    record = place.pids()
    assert record is not None
    os.kill(daemon, signal.SIGKILL)
    eventually(lambda: read_entry(daemon) is None)
    assert place.result() is None
    os.kill(record.command.pid, signal.SIGKILL)
    os.waitpid(keeper, 0)
    result = place.result()
    assert result is not None and result.signal == signal.SIGKILL


def test_bytes_that_are_no_text_reach_the_command_as_they_are(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9 \xff")
    place, keeper = keep(tmp_path, "printf", "%s|%s", name, "new\nline", environment={"X": name})
    os.waitpid(keeper, 0)
    assert (tmp_path / "out.log").read_bytes() == b"caf\xe9 \xff|new\nline"
    assert place.result() is not None


def test_the_first_line_of_a_script_is_needed_because_there_is_no_shell(tmp_path: Path) -> None:
    script = tmp_path / "run me"
    script.write_text("echo hello")
    script.chmod(0o755)
    place, keeper = keep(tmp_path, "./run me")
    os.waitpid(keeper, 0)
    result = place.result()
    assert result is not None and result.step == "command" and result.exit_status is None


def test_a_folder_that_does_not_exist_is_reported(tmp_path: Path) -> None:
    place = AttemptFolder(tmp_path, 1)
    place.save_spec(str(tmp_path / "gone"), ["true"], {})
    keeper, ready = spawn_keeper(place, tmp_path / "out.log")
    os.close(ready)
    os.waitpid(keeper, 0)
    result = place.result()
    assert result is not None and (result.step, result.errno) == ("folder", 2)


def test_the_keeper_imports_next_to_nothing() -> None:
    code = (
        "import os, sys, time, _signal; before = set(sys.modules);"
        f"exec(compile(open({str(KEEPER)!r}).read().replace('__main__', '__none__'), 'keeper', 'exec'));"
        "print(sorted(set(sys.modules) - before))"
    )
    said = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True
    )
    assert said.stdout.strip() == "[]"


@pytest.mark.parametrize("has_descriptors", [True, False])
def test_the_end_of_a_keeper_is_heard_with_and_without_process_descriptors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_descriptors: bool
) -> None:
    if not has_descriptors:
        monkeypatch.setattr("nightdesk.engine.jobs.attempts._process_descriptor", lambda pid: None)

    async def scene() -> None:
        place, keeper = keep(
            tmp_path, *python("import os, time\nwhile not os.path.exists('go'): time.sleep(0.01)")
        )
        gone = asyncio.Event()
        watch = KeeperWatch(keeper, place, gone.set)
        await asyncio.sleep(0)
        assert not gone.is_set()
        (tmp_path / "go").touch()
        async with asyncio.timeout(20):
            await gone.wait()
        watch.close()
        assert read_entry(keeper) is None

    asyncio.run(scene())

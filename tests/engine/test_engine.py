"""A real engine in a folder of its own, asked over its real socket."""

import contextlib
import fcntl
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from nightdesk.client.desk import Desk, find_desk
from nightdesk.client.engine import Engine
from nightdesk.client.launch import ensure_engine, is_answering, make_folders
from nightdesk.core import markers
from nightdesk.engine.__main__ import _take
from nightdesk.engine.processes.signals import processes_of_run
from nightdesk.model.base import ProcessKey
from nightdesk.model.desk import RunChanged, Snapshot
from nightdesk.model.errors import NightdeskError, UsageError
from nightdesk.model.job import ENDED, StartRun

CONFIG = """
[capture]
source = "off"
[sensors]
source = "off"
[watch]
interval = "250ms"
[jobs.short]
command = "{python} -c 'print(\\"[1/1] Processing one\\")'"
[jobs.long]
command = "{python} -c 'import time; print(\\"on\\", flush=True); time.sleep(600)'"
grace = "1s"
"""


def until(condition: Callable[[], Any], what: str, seconds: float = 20) -> Any:
    limit = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < limit, f"waited {seconds} s for {what}"
        time.sleep(0.02)
    return value


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    """A desk whose engine, if any, is ended afterwards."""
    runtime = tmp_path / "run"
    runtime.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    (tmp_path / "nightdesk.toml").write_text(CONFIG.replace("{python}", sys.executable))
    made = find_desk(tmp_path)
    yield made
    with contextlib.suppress(Exception):
        engine = Engine(made.socket)
        for run in engine.runs():
            if run.state not in ENDED:
                engine.act(run.id, "kill")
        until(lambda: all(run.state in ENDED for run in engine.runs()), "the runs' end")
        pid = engine.shutdown().desk.engine.pid
        until(lambda: not psutil.pid_exists(pid), "the engine's end")


def test_an_engine_that_is_started_within_a_job_is_no_process_of_that_job(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(markers.RUN, "night-20260101-000000-000001")
    monkeypatch.setenv(markers.ATTEMPT, "1")
    pid = ensure_engine(desk).status().desk.engine.pid
    mine = psutil.Process(pid)
    everything = [mine, *mine.children(recursive=True)]
    assert not [each for each in everything if markers.RUN in each.environ()]
    assert processes_of_run("night-20260101-000000-000001", None) == ()


def test_two_viewers_that_start_an_engine_at_once_get_the_same_one(desk: Desk) -> None:
    script = (
        "from nightdesk.client.launch import ensure_engine; from nightdesk.client.desk import find_desk; "
        f"from pathlib import Path; desk = find_desk(Path({str(desk.folder)!r})); "
        "print(ensure_engine(desk).status().desk.engine.pid)"
    )
    starters = [
        subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]
    answers = {starter.communicate(timeout=60)[0].strip() for starter in starters}
    assert len(answers) == 1 and answers.pop().isdigit()


def test_an_engine_takes_over_from_one_that_is_just_ending(desk: Desk) -> None:
    make_folders(desk)

    def waits() -> bool:
        names = [str(word) for one in psutil.process_iter() if one.pid != os.getpid() for word in opened(one)]
        return str(desk.lock) in names

    with desk.lock.open("a+") as ending, ThreadPoolExecutor(1) as starter:
        fcntl.flock(ending, fcntl.LOCK_EX)
        started = starter.submit(ensure_engine, desk)
        until(waits, "the new engine to try")
        fcntl.flock(ending, fcntl.LOCK_UN)
        assert started.result(60).status().desk.engine.pid


def test_an_engine_that_is_slow_to_begin_is_waited_for_and_one_with_another_socket_is_named(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_folders(desk)
    monkeypatch.setattr("nightdesk.engine.__main__.ELSEWHERE_SECONDS", 0.0)
    with desk.lock.open("a+") as other, desk.lock.open("a+") as ours, socket.socket(socket.AF_UNIX) as slow:
        fcntl.flock(other, fcntl.LOCK_EX)
        print("7\n/run/elsewhere.sock", file=other, flush=True)
        with pytest.raises(NightdeskError, match=r"\(process 7\), but not with the socket"):
            _take(ours, desk)
        other.truncate(0)
        print(f"7\n{desk.socket}", file=other, flush=True)
        slow.bind(str(desk.socket))
        with ThreadPoolExecutor(1) as second:
            told = second.submit(_take, ours, desk)
            until(lambda: told.running(), "the second one to look")
            slow.listen()
            assert told.result(60) is False


def opened(process: psutil.Process) -> list[str]:
    """The files that a process has open, where it may be asked."""
    with contextlib.suppress(psutil.Error):
        return [file.path for file in process.open_files()]
    return []


def test_socket_store_and_log_are_closed_to_others(desk: Desk) -> None:
    ensure_engine(desk)
    modes = {
        path.name: stat.S_IMODE(path.stat().st_mode)
        for path in (desk.socket, desk.socket.parent, desk.state, desk.database, desk.engine_log, desk.lock)
    }
    assert set(modes.values()) == {0o600, 0o700}, modes
    assert all(mode == 0o700 for name, mode in modes.items() if name in ("nightdesk", ".nightdesk")), modes


def test_a_stale_socket_is_replaced(desk: Desk) -> None:
    first = ensure_engine(desk).status().desk.engine.pid
    os.kill(first, signal.SIGKILL)
    until(lambda: not psutil.pid_exists(first), "the engine's end")
    assert desk.socket.exists() and not is_answering(desk.socket)
    assert ensure_engine(desk).status().desk.engine.pid != first


def test_a_viewer_gets_a_snapshot_and_then_each_change_of_a_run(desk: Desk) -> None:
    engine = ensure_engine(desk)
    changes = engine.changes()
    snapshot = next(changes)
    assert isinstance(snapshot, Snapshot)
    assert [job.name for job in snapshot.jobs] == ["short", "long"]
    started = engine.start(StartRun(job="short"))
    states = []
    for change in changes:
        if isinstance(change, RunChanged) and change.run.id == started.id:
            states.append(change.run.state)
            if change.run.state in ENDED:
                assert change.run.exit_status == 0
                break
    assert states[-1] == "done"
    log = engine.log_window(until(lambda: engine.run(started.id).log, "the log"))
    assert log.lines == ("[1/1] Processing one",)


def test_a_tree_is_hit_by_identity_and_a_number_that_was_used_again_is_not(desk: Desk) -> None:
    engine = ensure_engine(desk)
    script = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(600)'])"
    parent = subprocess.Popen([sys.executable, "-c", script])
    try:
        row = until(
            lambda: next((r for r in engine.processes() if r.key.pid == parent.pid), None), "the process"
        )
        members = until(lambda: (found := engine.tree(row.key)) and len(found) == 2 and found, "its child")
        with pytest.raises(UsageError, match="gone"):
            engine.signal(ProcessKey(pid=parent.pid, started_ns=row.key.started_ns - 10**9), "kill")
        assert parent.poll() is None
        report = engine.signal(row.key, "kill")
        assert {key.pid for key in report.signalled} == {member.key.pid for member in members}
        assert parent.wait(10) == -signal.SIGKILL
        assert report.left == ()
    finally:
        parent.kill()
        parent.wait()


def test_a_configuration_that_breaks_while_the_engine_runs_changes_nothing_but_says_so(desk: Desk) -> None:
    engine = ensure_engine(desk)
    assert desk.config_path
    good = desk.config_path.read_text()
    desk.config_path.write_text(good + "\n[jobs.next]\nkomand = 'x'\n")
    problems = until(lambda: engine.status().desk.config_problems, "the problems")
    assert any("komand" in problem and "command" in problem for problem in problems)
    assert [job.name for job in engine.jobs()] == ["short", "long"]
    desk.config_path.write_text(good + "\n[jobs.next]\ncommand = 'true'\n")
    until(lambda: "next" in [job.name for job in engine.jobs()], "the new job")
    assert engine.status().desk.config_problems == ()
    # Who saves the file and starts the job at once is not told that there is no such job.
    desk.config_path.write_text(good + "\n[jobs.newest]\ncommand = 'true'\n")
    assert engine.start(StartRun(job="newest")).job == "newest"


def test_curl_is_a_client_too(desk: Desk) -> None:
    ensure_engine(desk)

    def ask(path: str) -> Any:
        done = subprocess.run(
            ["curl", "-sS", "--unix-socket", str(desk.socket), f"http://nightdesk{path}"],
            capture_output=True,
            check=True,
        )
        return json.loads(done.stdout)

    assert ask("/v1/status")["desk"]["folder"] == str(desk.folder)
    assert "/v1/exchanges/{exchange_id}" in ask("/schema/openapi.json")["paths"]
    assert "There is no exchange 99" in ask("/v1/exchanges/99")["message"]


def test_a_capture_process_that_dies_is_started_again_and_the_engine_says_why(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = ensure_engine(desk, ('capture.source="relay"', "capture.ports=[1]"))

    def capture() -> psutil.Process | None:
        pid = engine.status().desk.engine.pid
        return next(
            (c for c in psutil.Process(pid).children() if "nightdesk.engine.capture" in c.cmdline()), None
        )

    def told(state: str) -> bool:
        return any(s.name == "capture" and s.state == state for s in engine.status().sources)

    first = until(capture, "the capture process")
    until(lambda: told("live"), "the relay")
    first.kill()
    until(lambda: (now := capture()) and now.pid != first.pid, "another capture process")
    until(lambda: told("live"), "the relay to come back")
    assert any(s.name == "capture" and s.restarts == 1 for s in engine.status().sources)


def test_kill_nine_of_the_engine_leaves_no_child_of_it(desk: Desk) -> None:
    engine = ensure_engine(desk, ('capture.source="relay"', "capture.ports=[1]", 'sensors.source="host"'))
    pid = engine.status().desk.engine.pid
    children = until(lambda: (c := psutil.Process(pid).children()) and len(c) >= 2 and c, "two children")
    os.kill(pid, signal.SIGKILL)
    _, alive = psutil.wait_procs(children, timeout=10)
    assert not alive, [c.cmdline() for c in alive]

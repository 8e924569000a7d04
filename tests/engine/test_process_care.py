"""One process in full, its history, ports, stacks, orphans as trees, and runs that are meant by their first process."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nightdesk.client.desk import find_desk
from nightdesk.client.engine import Engine
from nightdesk.client.launch import ensure_engine
from nightdesk.engine.processes import stacks
from nightdesk.engine.processes.care import orphan_trees
from nightdesk.engine.processes.histories import POINTS, STEP_NS, Histories
from nightdesk.engine.processes.inspect import inspect
from nightdesk.engine.processes.sampler import ProcessWatch
from nightdesk.engine.processes.table import read_entry
from nightdesk.model.base import ProcessKey
from nightdesk.model.errors import NightdeskError, UsageError
from nightdesk.model.inspected import ProcessHistory
from nightdesk.model.job import ENDED, StartRun
from nightdesk.model.process import ProcessRow

NS = 10**9
Start = Callable[..., "subprocess.Popen[bytes]"]
SERVES = """
import signal, socket, sys, threading, time
signal.alarm(60)
server = socket.create_server(("127.0.0.1", 0))
held = open(sys.argv[1])
print(server.getsockname()[1], flush=True)
def wait_for_ever():
    time.sleep(60)
wait_for_ever()
"""


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts Python code and gives it once it has printed a line; ends it afterwards."""
    begun: list[subprocess.Popen[bytes]] = []

    def launch(code: str, *arguments: str, **environment: str) -> subprocess.Popen[bytes]:
        argv = [sys.executable, "-c", code, *arguments]
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, env={**os.environ, **environment})
        begun.append(process)
        return process

    yield launch
    for process in begun:
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()


def said(process: subprocess.Popen[bytes]) -> str:
    assert process.stdout
    return process.stdout.readline().decode().strip()


def row_of(watch: ProcessWatch, pid: int) -> ProcessRow:
    watch.sample(time.time_ns())
    return next(row for row in watch.rows() if row.key.pid == pid)


def eventually(check: Callable[[], object], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.02)


def test_one_process_in_full_tells_files_sockets_folder_and_run(start: Start, tmp_path: Path) -> None:
    (tmp_path / "a.mp3").write_bytes(b"12345")
    process = start(SERVES, str(tmp_path / "a.mp3"), NIGHTDESK_RUN="night-1", NIGHTDESK_ITEM="a.mp3")
    port = int(said(process))
    row = row_of(ProcessWatch((), dict), process.pid)
    found = inspect(row, ProcessHistory(key=row.key, step_ns=NS), time.time_ns())
    assert found.folder == str(Path.cwd())
    assert found.program and "python" in found.program
    assert found.parent
    assert found.markers["NIGHTDESK_RUN"] == "night-1" and found.markers["NIGHTDESK_ITEM"] == "a.mp3"
    assert (str(tmp_path / "a.mp3"), 5) in [(each.path, each.size_bytes) for each in found.files]
    assert (f"127.0.0.1:{port}", "LISTEN") in [(each.local, each.state) for each in found.sockets]
    assert found.sockets_total == len(found.sockets) and found.files_total == len(found.files)
    assert found.waits_for or "waits_for" in found.unknown


def test_a_process_that_is_another_by_now_is_not_shown(start: Start, tmp_path: Path) -> None:
    process = start("import time; print('up', flush=True); time.sleep(60)")
    said(process)
    row = row_of(ProcessWatch((), dict), process.pid)
    process.kill()
    process.wait()
    with pytest.raises(UsageError, match="is gone"):
        inspect(row, ProcessHistory(key=row.key, step_ns=NS), time.time_ns())


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere only our own processes are asked for ports")
def test_who_listens_on_a_port_is_known_and_forgotten_when_it_stops() -> None:
    watch = ProcessWatch((), dict)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert port in row_of(watch, os.getpid()).ports
    watch.hurry()
    assert port not in row_of(watch, os.getpid()).ports


def test_a_history_keeps_an_hour_of_means_and_no_more() -> None:
    entry = read_entry(os.getpid())
    assert entry is not None
    key, histories = ProcessKey(pid=entry.pid, started_ns=entry.started_ns), Histories()
    for step in range(POINTS + 50):
        busy = entry._replace(cpu_ns=step * STEP_NS // 2, rss_bytes=1000 + step)
        histories.note(step * STEP_NS + NS, [(key, busy)], {entry.pid: 7} if step % 2 else {})
        histories.note(step * STEP_NS + 2 * NS, [(key, busy)], {})
    kept = histories.of(key, (POINTS + 50) * STEP_NS)
    assert len(kept.at_ns) == len(kept.cpu_ratio) == len(kept.rss_bytes) == len(kept.device_bytes) == POINTS
    assert set(kept.cpu_ratio) == {0.5}
    assert kept.rss_bytes[-1] == 1000 + POINTS + 49
    assert set(kept.device_bytes) == {7, None}


def test_the_history_of_somebody_elses_process_begins_when_it_is_asked_for() -> None:
    entry = read_entry(os.getpid())
    assert entry is not None
    key, histories = ProcessKey(pid=entry.pid, started_ns=entry.started_ns), Histories()
    assert not histories.wants(key)
    assert "begins now" in (histories.of(key, NS).note or "")
    assert histories.wants(key)


def test_processes_that_ended_long_ago_are_forgotten_and_many_are_bounded() -> None:
    entry = read_entry(os.getpid())
    assert entry is not None
    histories = Histories()
    keys = [ProcessKey(pid=pid, started_ns=1) for pid in range(2, 600)]
    histories.note(100 * NS, [(key, entry) for key in keys], {})
    assert sum(bool(histories.of(key, 101 * NS).at_ns) for key in keys) == 400
    histories.note(2 * STEP_NS * POINTS, [], {})
    assert not any(histories.of(key, NS).at_ns for key in keys)


def test_stacks_of_a_python_process_that_hangs_name_the_function(start: Start, tmp_path: Path) -> None:
    if stacks.find_py_spy() is None:
        pytest.skip("py-spy is not installed")
    (tmp_path / "x").touch()
    process = start(SERVES, str(tmp_path / "x"))
    said(process)
    entry = read_entry(process.pid)
    assert entry is not None
    try:
        found = asyncio.run(stacks.read_stacks(ProcessKey(pid=entry.pid, started_ns=entry.started_ns)))
    except NightdeskError as fault:
        if "needs root" in fault.hint:
            pytest.skip(f"not permitted here: {fault.message}")
        raise
    assert "wait_for_ever" in found.text
    assert process.poll() is None, "the process goes on"


def test_stacks_say_what_is_missing(monkeypatch: pytest.MonkeyPatch, start: Start) -> None:
    process = start("import time; print('up', flush=True); time.sleep(60)")
    said(process)
    entry = read_entry(process.pid)
    assert entry is not None
    key = ProcessKey(pid=entry.pid, started_ns=entry.started_ns)
    monkeypatch.setattr(stacks, "find_py_spy", lambda: None)
    with pytest.raises(NightdeskError, match="py-spy is not installed") as caught:
        asyncio.run(stacks.read_stacks(key))
    assert "pip install py-spy" in caught.value.hint
    with pytest.raises(UsageError, match="is gone"):
        asyncio.run(stacks.read_stacks(ProcessKey(pid=key.pid, started_ns=1)))


def test_a_program_that_answers_too_late_is_ended(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, start: Start
) -> None:
    slow = tmp_path / "py-spy"
    slow.write_text("#!/bin/sh\nexec sleep 60\n")
    slow.chmod(0o755)
    monkeypatch.setattr(stacks, "find_py_spy", lambda: str(slow))
    monkeypatch.setattr(stacks, "LIMIT_SECONDS", 0.2)
    process = start("import time; print('up', flush=True); time.sleep(60)")
    said(process)
    entry = read_entry(process.pid)
    assert entry is not None
    with pytest.raises(NightdeskError, match="did not answer"):
        asyncio.run(stacks.read_stacks(ProcessKey(pid=entry.pid, started_ns=entry.started_ns)))


def test_a_process_named_by_the_record_of_a_run_that_is_over_is_an_orphan(start: Start) -> None:
    process = start("import time; print('up', flush=True); time.sleep(60)")
    said(process)
    entry = read_entry(process.pid)
    assert entry is not None
    key = ProcessKey(pid=entry.pid, started_ns=entry.started_ns)
    watch = ProcessWatch((), dict, lambda run: True, lambda: {key: "night-7"})
    watch.sample(0)
    watch.sample(10 * NS)
    row = next(row for row in watch.rows() if row.key == key)
    assert (row.owner, row.run) == ("orphan", "night-7")
    assert row.orphan_reason and "The record of run night-7 names it" in row.orphan_reason
    trees = [tree for tree in orphan_trees(watch.rows()) if tree.root.key == key]
    assert [member.key for member in trees[0].members] == [key]
    assert trees[0].rss_bytes > 1_000_000


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """An engine with a job that ignores SIGTERM and begins a child; ended with everything."""
    runtime = tmp_path / "run"
    runtime.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    code = (
        "import os, signal, time; signal.alarm(60); signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        "os.fork(); time.sleep(60)"
    )
    (tmp_path / "nightdesk.toml").write_text(
        '[capture]\nsource = "off"\nports = []\n[sensors]\nsource = "off"\n'
        f"[jobs.hard]\ncommand = '''{sys.executable} -S -c \"{code}\"'''\ngrace = \"300ms\"\n"
    )
    running = ensure_engine(find_desk(tmp_path))
    try:
        yield running
    finally:
        running.stop_all()
        running.shutdown()


def test_the_first_process_of_a_run_stands_for_the_run(engine: Engine) -> None:
    run = engine.start(StartRun(job="hard"))
    assert run.process is not None
    eventually(lambda: len(engine.tree(run.process)) == 2)  # type: ignore[arg-type] # - asserted above
    paused = engine.signal(run.process, "pause")
    assert (paused.run, len(paused.signalled)) == (run.id, 2)
    assert engine.run(run.id).state == "paused"
    engine.signal_several((run.process,), "resume")
    assert engine.run(run.id).state == "running"
    ended = engine.signal(run.process, "stop")
    assert engine.run(run.id).state == "stopped"
    assert len(ended.killed) == 2 and ended.left == ()


def test_stop_all_ends_every_run_and_tells_the_figures(engine: Engine) -> None:
    run = engine.start(StartRun(job="hard"))
    assert run.process is not None
    eventually(lambda: len(engine.everything()) == 2)
    report = engine.stop_all()
    assert (report.runs, report.still) == ((run.id,), ())
    assert len(report.processes.killed) == 2 and report.processes.freed_bytes
    assert report.models == "The model servers held no model."
    assert engine.run(run.id).state in ENDED
    assert engine.everything() == ()


def test_the_tree_of_the_system_or_of_the_engine_is_never_signalled(engine: Engine) -> None:
    first, ours = read_entry(1), engine.status().desk.engine
    assert first is not None
    for key in (ProcessKey(pid=1, started_ns=first.started_ns), ours):
        with pytest.raises(UsageError, match="hit"):
            engine.tree(key)
        with pytest.raises(UsageError, match="hit"):
            engine.signal(key, "resume")  # the one that would do no harm
        with pytest.raises(UsageError, match="hit"):
            engine.signal_several((key,), "resume")


def test_a_clean_up_ends_only_orphans(engine: Engine, start: Start) -> None:
    bystander = start("import time; print('up', flush=True); time.sleep(60)")
    said(bystander)
    entry = read_entry(bystander.pid)
    assert entry is not None
    report = engine.clean((ProcessKey(pid=entry.pid, started_ns=entry.started_ns),))
    assert report.signalled == ()
    assert bystander.poll() is None


def test_the_commands_name_who_listens_and_refuse_to_end_anything_unasked(
    engine: Engine, start: Start, tmp_path: Path
) -> None:
    (tmp_path / "x").touch()
    server = start(SERVES, str(tmp_path / "x"))
    port = said(server)

    def nightdesk(*words: str) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "nightdesk.cli.main", "--desk", str(tmp_path), *words]
        return subprocess.run(argv, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)

    found = nightdesk("ps", "--port", port)
    assert found.returncode == 0 and str(server.pid) in found.stdout
    assert f"pid:{server.pid}"[4:] in nightdesk("ps", "--filter", f"pid:{server.pid}").stdout
    full = nightdesk("ps", str(server.pid)).stdout
    for words in ("does ", "command ", f"port {port}", "0 below it", f"127.0.0.1:{port}", "LISTEN", "/x"):
        assert words in full
    assert json.loads(nightdesk("ps", str(server.pid), "--json").stdout)["row"]["ports"] == [int(port)]
    asked = nightdesk("kill", str(server.pid))
    assert asked.returncode == 1 and "of memory come back." in asked.stdout
    assert f"kill {server.pid} hits 1 process" in asked.stderr and server.poll() is None
    server.kill()
    eventually(lambda: (entry := read_entry(server.pid)) and entry.state == "Z")
    zombie = nightdesk("kill", str(server.pid), "--yes")
    assert zombie.returncode == 2 and "already ended: a zombie" in zombie.stderr
    assert f"its parent, process {os.getpid()} (" in zombie.stderr
    server.wait()
    nobody = nightdesk("ps", "--port", port)
    assert nobody.returncode == 1 and f"listens on TCP port {port}" in nobody.stdout
    wrong = nightdesk("ps", "--filter", "cpu:5")
    assert wrong.returncode == 2 and "cpu>50" in wrong.stderr
    assert nightdesk("stop").returncode == 2
    assert nightdesk("stop", "x", "--all").returncode == 2
    run = engine.start(StartRun(job="hard"))
    refused = nightdesk("stop", "--all")
    assert refused.returncode == 1 and "--yes" in refused.stderr
    assert engine.run(run.id).state == "running"
    ended = nightdesk("stop", "--all", "--yes")
    assert ended.returncode == 0 and "1 run stopped: 0 ended, 2 had to be killed, 0 left" in ended.stdout
    missing = nightdesk("clean", str(os.getpid()), "--yes")
    assert missing.returncode == 2 and "No orphan has the number" in missing.stderr

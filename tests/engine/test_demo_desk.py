"""The sample desk: its folder, its batch, its orphan, and the server that goes on in the background."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nightdesk.client.desk import find_desk
from nightdesk.demo.background import running_server, start_server, stop_server
from nightdesk.demo.desk import make_desk
from nightdesk.model.errors import NightdeskError, UsageError

SERVE = [sys.executable, "-m", "nightdesk.cli.main", "demo", "--server-only"]


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 15
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    """False for a process that is gone or only waits to be reaped."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return bool(state.stdout.strip()) and not state.stdout.startswith("Z")


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with subprocess.Popen([*SERVE, "--speed", "0"], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        yield server.stdout.readline().strip()
        server.terminate()
    assert server.returncode == 0


@pytest.fixture
def desk(tmp_path: Path, address: str) -> Path:
    folder = tmp_path / "a desk"
    make_desk(folder, address, pause=0)
    return folder


def run_command(folder: Path, command: str, *more: str, **env: str) -> subprocess.CompletedProcess[str]:
    words = [*shlex.split(command), *more]
    environment = {key: value for key, value in os.environ.items() if key != "OLLAMA_HOST"} | env
    return subprocess.run(
        words, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def test_server_prints_one_line_with_its_address(address: str) -> None:
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", address)


def test_a_taken_port_is_explained_in_one_sentence(address: str) -> None:
    port = address.rpartition(":")[2]
    done = subprocess.run([*SERVE, "--port", port], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert f"can't start on port {port}" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_desk_has_a_valid_configuration_and_recordings(desk: Path, address: str) -> None:
    config = find_desk(desk).config
    assert list(config.jobs) == ["prepare", "transcribe", "synthesize", "report"]
    assert config.capture.ports == (int(address.rpartition(":")[2]),)
    assert len(list(desk.glob("audio/*.mp3"))) == 52
    assert shlex.split(config.jobs["transcribe"].command)[0] == sys.executable


def test_somebodys_own_desk_is_not_overwritten(tmp_path: Path, address: str) -> None:
    own = tmp_path / "nightdesk.toml"
    own.write_text("[desk]\nname = 'mine'\n")
    with pytest.raises(UsageError, match="desk of your own"):
        make_desk(tmp_path, address)
    assert own.read_text() == "[desk]\nname = 'mine'\n"


def test_the_batch_goes_on_after_a_broken_item_and_says_so(desk: Path) -> None:
    job = find_desk(desk).config.jobs["synthesize"]
    done = run_command(desk, job.command, "--items", "8")
    assert done.returncode == 0
    assert "[8/8] Processing interview_08.mp3" in done.stdout
    assert "Done: 7 written, 1 failed" in done.stdout
    assert "Traceback (most recent call last)" in done.stderr
    assert "ValueError: interview_07.mp3" in done.stderr
    assert "Loading index: 100%|" in done.stderr
    assert job.progress is not None
    progress = json.loads((desk / job.progress).read_text())
    assert (progress["done"], progress["failed"], progress["total"]) == (7, 1, 8)
    assert len(list(desk.glob("output/*.json"))) == 7


def test_single_and_dry_runs_do_what_they_say(desk: Path) -> None:
    job = find_desk(desk).config.jobs["synthesize"]
    assert job.single is not None and job.dry_run is not None
    dry = run_command(desk, job.dry_run)
    assert dry.returncode == 0 and dry.stdout.count("Would process") == 52
    assert not (desk / "output").exists()
    single = run_command(desk, job.single.replace("{item}", "audio/interview_02.mp3"))
    assert single.returncode == 0
    assert json.loads((desk / "output" / "interview_02.json").read_text())["summary"]
    broken = run_command(desk, job.single.replace("{item}", "audio/interview_07.mp3"))
    assert broken.returncode == 1


def test_the_batch_obeys_ollama_host(desk: Path) -> None:
    job = find_desk(desk).config.jobs["synthesize"]
    assert job.single is not None
    done = run_command(desk, job.single.replace("{item}", "x.mp3"), OLLAMA_HOST="127.0.0.1:1")
    assert done.returncode == 1
    assert "no answer from http://127.0.0.1:1" in done.stderr


def test_transcribe_prints_segments_and_writes_the_declared_output(desk: Path) -> None:
    job = find_desk(desk).config.jobs["transcribe"]
    done = run_command(desk, job.command.replace("{item}", "audio/interview_03.mp3"))
    assert done.returncode == 0
    assert "[00:00.000 --> 00:04.000]  " in done.stdout
    assert json.loads((desk / "transcripts" / "interview_03.json").read_text())["segments"]
    assert run_command(desk, job.command.replace("{item}", "audio/none.mp3")).returncode == 1


def test_transcribe_refuses_the_damaged_recording_and_checks_transcripts(desk: Path) -> None:
    job = find_desk(desk).config.jobs["transcribe"]
    done = run_command(desk, job.command.replace("{item}", "audio/interview_07.mp3"))
    assert done.returncode == 1 and "holds no MPEG frame: the download was cut" in done.stderr
    assert job.check is not None and job.parallel == 2
    check = job.check.replace("{item}", "audio/interview_03.mp3")
    assert run_command(desk, check).returncode == 1
    run_command(desk, job.command.replace("{item}", "audio/interview_03.mp3"))
    assert "is valid" in run_command(desk, check).stdout
    (desk / "transcripts" / "interview_03.json").write_text('{"segments": []}')
    assert "it has no segments" in run_command(desk, check).stdout


def test_prepare_leaves_one_worker_that_ends_with_its_mark(desk: Path) -> None:
    command = find_desk(desk).config.jobs["prepare"].command
    assert run_command(desk, command).returncode == 0
    mark = desk / "state" / "whisper_worker.pid"
    worker = int(mark.read_text())
    try:
        assert is_alive(worker)
        assert os.getsid(worker) == worker
        assert "Started" not in run_command(desk, command).stdout
        mark.unlink()
        wait_until(lambda: not is_alive(worker), "the worker should end with its mark")
    finally:
        if is_alive(worker):
            os.kill(worker, signal.SIGKILL)


def test_a_background_server_answers_until_its_mark_goes(tmp_path: Path) -> None:
    address = start_server(tmp_path, 0, 0)
    try:
        mark = running_server(tmp_path)
        assert mark is not None and mark.address == address
        assert os.getsid(mark.pid) == mark.pid
        assert "Listening on 127.0.0.1" in (tmp_path / "logs" / "server.log").read_text()
    finally:
        assert stop_server(tmp_path) is True
    wait_until(lambda: not is_alive(mark.pid), "the server should end")
    assert running_server(tmp_path) is None
    assert stop_server(tmp_path) is False


def test_a_background_server_that_can_not_start_says_why(tmp_path: Path, address: str) -> None:
    with pytest.raises(NightdeskError, match="can't start on port"):
        start_server(tmp_path, int(address.rpartition(":")[2]), 0)

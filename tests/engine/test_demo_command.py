"""``nightdesk demo`` as a whole: server, engine and jobs, then their common end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from nightdesk.client.desk import find_desk
from nightdesk.client.engine import Engine
from nightdesk.client.launch import is_answering
from nightdesk.demo.background import running_server
from nightdesk.model.job import ENDED

DEMO = [sys.executable, "-m", "nightdesk.cli.main", "demo"]


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 90
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def is_running(pid: int) -> bool:
    """False for a process that is gone or only waits to be reaped."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return bool(state.stdout.strip()) and not state.stdout.startswith("Z")


def test_the_demo_runs_its_jobs_and_ends_with_everything_it_started(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    env = os.environ | {"NIGHTDESK_CAPTURE__SOURCE": "off", "OLLAMA_HOST": "127.0.0.1:1"}
    words = [*DEMO, "--no-viewer", "--folder", str(folder), "--speed", "0"]
    with subprocess.Popen(words, env=env, stdout=subprocess.PIPE, text=True) as demo:
        assert demo.stdout is not None
        try:
            assert demo.stdout.readline().startswith("server http://127.0.0.1:")
            assert demo.stdout.readline().strip() == f"folder {folder}"
            assert folder.stat().st_mode & 0o077 == 0
            socket = find_desk(folder).socket
            engine = Engine(socket)
            wait_until(lambda: all(run.state in ENDED for run in engine.runs()), "all runs should end")
            states = {run.job: run.state for run in engine.runs()}
            # One recording is damaged.
            assert states == {
                "prepare": "done",
                "transcribe": "failed",
                "synthesize": "done",
                "report": "done",
            }
            assert len(list((folder / "output").glob("*.json"))) == 51
            assert len(list((folder / "transcripts").glob("*.json"))) == 51
            assert (folder / "report.md").read_text().startswith("# interview_01")
            worker = int((folder / "state" / "whisper_worker.pid").read_text())
            assert is_running(worker)
        finally:
            demo.send_signal(signal.SIGTERM)
            assert demo.wait(30) == 0
    assert not is_answering(socket)
    assert running_server(folder) is None
    wait_until(lambda: not is_running(worker), "the forgotten worker should end")


def test_stop_without_a_demo_says_so(tmp_path: Path) -> None:
    done = subprocess.run(
        [*DEMO, "--stop", "--folder", str(tmp_path)], capture_output=True, text=True, timeout=30
    )
    assert (done.returncode, done.stdout.strip()) == (0, f"No demo is running in {tmp_path}.")


def test_a_desk_of_ones_own_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "nightdesk.toml").write_text("[desk]\n")
    done = subprocess.run([*DEMO, "--folder", str(tmp_path)], capture_output=True, text=True, timeout=30)
    assert done.returncode == 2
    assert "is a desk of your own" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["nightdesk.toml"]


@pytest.mark.parametrize("option", ["--port=99999", "--speed=-1"])
def test_impossible_options_are_refused(option: str) -> None:
    assert subprocess.run([*DEMO, option], capture_output=True, timeout=30).returncode == 2

"""What is kept of failed attempts, with a real engine, and what the verb shows of it."""

from __future__ import annotations

import json
import shlex
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from nightdesk.client.desk import find_desk
from nightdesk.client.engine import Engine
from nightdesk.client.launch import ensure_engine
from nightdesk.engine.diagnostics import KEPT_FIRST, KEPT_LAST, thin_out
from nightdesk.model.job import ENDED, StartRun
from tests.support.desk import wait_for

NIGHTDESK = str(Path(sys.executable).with_name("nightdesk"))
FAILS = (
    "import os, sys, subprocess, time\n"
    "print('uses', os.environ['SOME_API_KEY'], flush=True)\n"
    "child = subprocess.Popen(['sleep', '60'])\n"
    "while not os.path.exists('go'): time.sleep(0.02)\n"
    "child.kill()\n"
    "raise ValueError(f'{sys.argv[1]} is odd')"
)
QUICK = "raise SystemExit(4)"


def command(code: str) -> str:
    return shlex.join([sys.executable, "-S", "-c", code])


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    (tmp_path / "run").mkdir(mode=0o700)
    monkeypatch.setenv("NIGHTDESK_SOCKET", str(tmp_path / "run" / "s"))
    monkeypatch.chdir(tmp_path)
    text = (
        '[capture]\nsource = "off"\n[sensors]\nsource = "host"\ninterval = "250ms"\n[watch]\ninterval = "250ms"\n'
        f"[jobs.odd]\ncommand = {json.dumps(command(FAILS) + ' {item} --token abc')}\n"
        'items = { lines = "items" }\n[jobs.odd.env]\nSOME_API_KEY = "sk-0123456789"\nSOME = "thing"\n'
        f"[jobs.many]\ncommand = {json.dumps(command(QUICK) + ' {item}')}\n"
        'items = { lines = "many" }\nparallel = 4\n'
    )
    (tmp_path / "nightdesk.toml").write_text(text)
    (tmp_path / "items").write_text("first\n")
    (tmp_path / "many").write_text("i0\ni1\ni2\n")
    started = ensure_engine(find_desk(tmp_path))
    try:
        yield started
    finally:
        pid = started.shutdown().desk.engine.pid
        wait_for(lambda: not psutil.pid_exists(pid), "the engine's end")


def nightdesk(*words: str) -> str:
    return subprocess.run([NIGHTDESK, *words], check=True, capture_output=True, text=True).stdout


def test_a_failed_attempt_leaves_its_last_minutes(engine: Engine, tmp_path: Path) -> None:
    run = engine.start(StartRun(job="odd"))
    wait_for(lambda: any("sleep" in row.command for row in engine.processes() if row.run), "the child")
    (tmp_path / "go").touch()
    wait_for(lambda: engine.run(run.id).state in ENDED, "the end")
    wait_for(lambda: engine.failures(run.id), "what is kept")
    (failed,) = engine.failures(run.id)
    assert (failed.item, failed.serial, failed.failure.kind) == ("first", 1, "error")
    kept: dict[str, Any] = json.loads(nightdesk("failure", "odd", "--json"))
    assert kept["exit_status"] == 1 and "first is odd" in kept["what"]["failure"]["evidence"]
    assert kept["environment"]["SOME_API_KEY"] == "•••" and kept["environment"]["SOME"] == "thing"
    assert kept["command"][-2:] == ["--token", "•••"]
    assert "uses •••" in kept["log_tail"] and "ValueError: first is odd" in kept["log_tail"]
    assert [row["name"] for row in kept["processes"]][-1] == "sleep"
    assert kept["samples"][-1]["memory_used_bytes"] > 0
    assert kept["versions"]["nightdesk"]
    shown = nightdesk("failure", run.id, "first")
    for words in ("error: ValueError: first is odd", "exit status 1", "sleep 60", "memory:", "uses •••"):
        assert words in shown
    folder = Path(kept["folder"])
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for path in folder.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert b"sk-0123456789" not in path.read_bytes()


def test_the_failures_of_a_run_are_listed(engine: Engine) -> None:
    run = engine.start(StartRun(job="many"))
    wait_for(lambda: engine.run(run.id).state in ENDED, "the end")
    wait_for(lambda: len(engine.failures(run.id)) == 3, "all that is kept")
    listed = nightdesk("failure", "many", "--list")
    assert "exit status 4" in listed and "i0" in listed
    assert "2 more" in nightdesk("failure", "many")
    refused = subprocess.run([NIGHTDESK, "failure", "many", "none"], capture_output=True, text=True)
    assert refused.returncode != 0 and f"No failed attempt of none is kept of {run.id}" in refused.stderr


def test_of_many_failures_the_first_and_the_last_are_kept(tmp_path: Path) -> None:
    last = KEPT_FIRST + KEPT_LAST + 5
    for serial in range(1, last + 1):
        (tmp_path / str(serial)).mkdir()
    thin_out(tmp_path)
    left = sorted(int(path.name) for path in tmp_path.iterdir())
    assert left == [*range(1, KEPT_FIRST + 1), *range(last - KEPT_LAST + 1, last + 1)]

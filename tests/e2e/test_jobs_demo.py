"""Jobs and processes over the demo: each key in one real terminal, each verb of the command line, read and checked."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from nightdesk.client.desk import socket_path
from nightdesk.client.engine import Engine
from nightdesk.model.errors import NightdeskError
from nightdesk.model.job import ENDED, Run
from tests.support.world import NIGHTDESK, TYPED, Screen, World, until

SECONDS = 90
DAMAGED = "audio/interview_07.mp3"
REASON = "holds no MPEG frame"
SHOWN = 'printf "shown: %s\\n" "$1"; head -c 60 "$1"; read -r _'
"""In the place of editor and pager."""


class Keys:
    """Presses keys, and reads what is on the screen then."""

    def __init__(self, screen: Screen, engine: Engine) -> None:
        self.screen = screen
        self.engine = engine

    def done(self, job: str, mode: str) -> int:
        """How many runs of a job have ended well."""
        runs = [run for run in self.engine.runs() if (run.job, run.mode) == (job, mode)]
        return sum(run.state == "done" for run in runs)

    def see(self, *texts: str) -> str:
        """The screen, once all of these are on it."""
        return self.screen.wait_for(*texts, seconds=SECONDS)

    def __call__(self, *keys: str, shows: str | tuple[str, ...] = (), hides: str = "") -> str:
        """Press, then wait for what is to come and to go."""
        self.screen.press(*keys)
        shown = self.see(*((shows,) if isinstance(shows, str) else shows))
        if hides:
            until(lambda: hides not in self.screen.text(), f"“{hides}” to go after {keys}", SECONDS)
        return shown

    def write(self, words: str) -> None:
        """Type words."""
        self.screen.tmux("send-keys", "-l", words)


def has_begun(engine: Engine) -> bool:
    """All runs of the demo are under way."""
    try:
        return len(engine.runs()) == 4
    except NightdeskError:
        return False


@pytest.fixture
def demo(world: World) -> Iterator[Path]:
    """The folder of a demo that goes on until the end of the test."""
    folder, told = world.folder / "demo", world.folder / "demo.log"
    words = [NIGHTDESK, "demo", "--no-viewer", "--folder", str(folder)]
    with told.open("w") as log, subprocess.Popen(words, env=world.env, stdout=log, stderr=log) as process:
        engine = Engine(socket_path(folder, world.env))
        until(lambda: has_begun(engine) or process.poll() is not None, "the demo's runs", SECONDS)
        assert process.poll() is None, told.read_text()
        yield folder
        process.terminate()


@pytest.fixture
def keys(world: World, demo: Path) -> Keys:
    """A viewer of the demo, in jobs mode, the cursor on transcribe."""
    script = world.folder / "shown.sh"
    script.write_text("#!/bin/sh\n" + SHOWN)
    script.chmod(0o700)
    world.env |= {"EDITOR": str(script), "PAGER": str(script)}
    engine = Engine(socket_path(demo, world.env))
    until(lambda: run_of(engine, "transcribe").state == "running", "the items to begin", SECONDS)
    engine.act(run_of(engine, "transcribe").id, "pause")  # nothing ends before it is looked at
    screen = world.screen(150, 44)
    pressed = Keys(screen, engine)
    screen.type(f"{TYPED} --desk {demo} --mode jobs")
    pressed.see("prepare", "transcribe", "synthesize", "report", "/52")
    pressed("j", shows="▌‖  transcribe")
    return pressed


def test_the_keys_of_jobs_items_failures_and_trials_and_the_list_of_orphans(keys: Keys) -> None:
    _pause_and_first(keys)
    _failure(keys)
    _items(keys)
    _job_and_graph(keys)
    _trial(keys)
    _starts(keys)
    _processes(keys)
    keys("q", shows="viewer closed")


def _pause_and_first(keys: Keys) -> None:
    """A run is paused and goes on; in its items one is put first, fails, and the run stands still."""
    keys("p", shows="▌▶  transcribe")
    keys("p", shows="▌‖  transcribe")
    keys("i", shows=("Items of transcribe", "audio/interview_01"))
    keys("/", "_", "0", "7", "Enter", shows=("shown: 1", DAMAGED))
    keys("f")
    keys("Escape", hides="shown: 1")
    keys("Escape", hides="Items of")
    keys("p", shows=("▌▶  transcribe", "1 failed"))
    keys("h", shows="▌‖  transcribe")


def _failure(keys: Keys) -> None:
    """From the items to why one failed: pages, tries, editor and pager, a single run of it, that once more."""
    keys("i", shows=("Items of transcribe", "paused", "✗ 1 failed"))
    keys("v", shows=("shown: 1", DAMAGED, REASON))
    keys("Enter", shows=(f"Item {DAMAGED}", REASON))
    keys("F", shows=f"Why transcribe › {DAMAGED} failed")
    keys("Escape", hides="Why transcribe")
    keys("Escape", hides=f"Item {DAMAGED}")
    keys("F", shows=(f"Why transcribe › {DAMAGED} failed", REASON, "with exit status 1; try 2", "[1 log]"))
    keys("[", shows="; try 1,")
    keys("]", shows="; try 2,")
    keys("2", shows=("[2 exchanges (0)]", "No exchange with a model server"))
    keys("3", shows="[3 processes")
    keys("4", shows="[4 memory]")
    keys("1", shows="[1 log]")
    keys("5", shows=("[5 environment]", f"NIGHTDESK_ITEM={DAMAGED}"))
    keys("|", shows=("shown: ", "failure.json"))
    keys("Enter", shows="[5 environment]")
    keys("Tab", shows="[1 log]")
    keys("e", shows=("shown: ", "log.txt", REASON))
    keys("Enter", shows="[1 log]")
    keys("BTab", shows="[5 environment]")
    keys("?", shows="Help: ")
    keys("Escape", hides="Help: ")
    keys("t", shows=(f"Single run of transcribe › {DAMAGED}", "✗ failed", REASON))
    keys("4", shows=("before", "[4 before and now]"))
    keys("F", shows="; try 1,")
    keys("r", shows=("Single run of transcribe", "✗ failed", "[1 log]"))
    keys("l", shows="5 Logs", hides="Why transcribe")


def _items(keys: Keys) -> None:
    """The table of a run that stands still: sorted, tagged, passed over, put last, done again, looked into."""
    keys("1", "i", shows=("Items of transcribe", "✗ 1 failed"))
    keys("v", shows="shown: 1")
    keys("r", shows="1 failed item of transcribe", hides="✗ 1 failed")
    keys("Escape", hides="shown: ")
    keys("o", shows=("in the order of work", "▲"))
    keys("O", shows="▼")
    keys("O", shows="▲")
    keys("v", shows="shown: ")
    keys("Space", "Space", shows="2 tagged")
    keys("u", hides="tagged")
    keys("Space", shows="1 tagged")
    keys("s", shows="▒ 1 skipped", hides="tagged")
    keys("e")
    keys("V", hides="shown: ")
    keys("o", shows="by duration")
    keys("End", shows="▌")
    keys("v", "v", shows="shown: ")
    keys("Enter", shows=("Item audio/interview_", "1 try", "exchanges", "log"))
    keys("t", shows=("Single run of transcribe", "✓ done"))
    keys("Escape", hides="Single run of")
    keys("a", shows="shown: ")
    keys("Enter", shows="Item audio/interview_")
    keys("x", shows=("Ollama traffic", "/run:transcribe"), hides="Item audio")
    keys("J", shows="1 Jobs", hides="Ollama traffic")
    keys("1", "i", shows=("Items of transcribe", "audio/interview_01"))
    keys("v", shows=("shown: ", "▌·"))
    keys("v", shows="▌✓")
    keys("t", shows=("Single run of transcribe", "✓ done"))
    keys("Escape", hides="Single run of")
    keys("Enter", shows=("Item audio/interview_", "1 try"))
    keys("l", shows="5 Logs", hides="Items of")
    keys("1", "i", shows=("Items of transcribe", "audio/interview_01"))
    keys("x", shows=("Ollama traffic", "/run:transcribe"))
    keys("J", shows="1 Jobs", hides="Ollama traffic")
    keys("1", "i", shows=("Items of transcribe", "▒ 1 skipped", "audio/interview_01"))
    keys("l", shows="5 Logs", hides="Items of")
    keys("1", "p", shows="▌▶  transcribe")


def _job_and_graph(keys: Keys) -> None:
    """All runs of a job with their items, failures and logs, and what waits for what."""
    keys.see("1 failed")
    keys("F", shows=f"Why transcribe › {DAMAGED} failed")
    keys("Escape", hides="Why transcribe")
    keys("Enter", shows=("Job transcribe", "single item, dry run"))
    keys("i", shows="Single run of transcribe")
    keys("Escape", hides="Single run of")
    keys("G", shows="counts")
    keys("i", shows="Items of transcribe")
    keys("Escape", hides="Items of")
    keys("F", shows=f"Why transcribe › {DAMAGED} failed")
    keys("Escape", shows="Job transcribe", hides="Why transcribe")
    keys("l", shows="5 Logs", hides="Job transcribe")
    keys("1", "w", shows=("What waits for what", "priority analysis"))
    keys("Down", "Right", shows=("report  Waits for synthesize", "needs synthesize"))
    keys("Escape", hides="What waits for what")


def _trial(keys: Keys) -> None:
    """The batch is stopped; one item of it is done alone, and once more; then a dry run."""
    keys("j", shows="▌▶  synthesize")
    keys("x", shows=("Stop run synthesize", "SIGTERM to", "of memory come back"))
    keys("n", shows="▌▶  synthesize", hides="SIGTERM")
    keys("x", shows="SIGTERM to")
    keys("y", shows="▌■  synthesize")
    keys("t", shows="One item of synthesize")
    keys.write("audio/interview_03.mp3")
    keys("Enter", shows=("Single run of synthesize", "interview_03", "✓ done"))
    keys("t")
    until(lambda: keys.done("synthesize", "single") == 2, "it to be done once more", SECONDS)
    keys.see("Single run of synthesize", "✓ done")
    keys("2", shows="[2 exchanges")
    keys("3", shows="[3 accelerators]")
    keys("Tab", shows="[4 before and now]")
    keys("1", shows="[1 log]")
    keys("BTab", shows="[4 before and now]")
    keys("s", shows="▌▶  synthesize", hides="Single run of")
    keys("d", shows=("Dry run of synthesize", "✓ done"))
    keys("Escape", hides="Dry run of")


def _starts(keys: Keys) -> None:
    """A batch is killed; what failed of another is done again; a job is put off."""
    keys("K", shows=("Kill run synthesize", "SIGKILL to"))
    keys("y", shows="▌■  synthesize", hides="SIGKILL")
    until(lambda: run_of(keys.engine, "synthesize").state == "stopped", "the end of the run", SECONDS)
    keys("k", shows="1 failed")
    keys("r")
    until(lambda: run_of(keys.engine, "transcribe").items_failed == 0, "the failed item to be tried", SECONDS)
    keys("k", shows="▌✓  prepare")
    keys("a", shows="Start later: prepare")
    keys("2", "h", shows=("Starts at", "start then"))
    keys("Enter", shows=("▌◷  prepare", "in 1h59m"), hides="Start later")


def _processes(keys: Keys) -> None:
    """The processes: arranged in other ways, and the list of the orphans that would be ended."""
    keys("M", "4", shows=("4 Processes ── tree", "⚠ orphan", "others"))
    keys("o", shows="by mem")
    keys("O", shows="by mem ▲")
    keys("t", shows="── flat")
    keys("a", shows=" all ")
    keys("c", shows="column")
    keys("Escape", hides="Columns of")
    keys("t", "a", shows="── tree · ours")
    keys("X", shows=("Stop ", "left behind by run prepare-", "of memory come back"))
    keys("n", hides="SIGTERM to")


def test_every_verb_of_jobs_and_processes(world: World, demo: Path) -> None:
    desk = Desk(world, demo)
    engine = Engine(socket_path(demo, world.env))
    _look_at_jobs(desk)
    _move_items(desk, engine)
    _failures(desk, engine)
    _end_runs(desk, engine)
    _end_processes(desk, engine)


class Desk:
    """``nightdesk`` with arguments, on the desk of the demo."""

    def __init__(self, world: World, folder: Path) -> None:
        self.world, self.folder = world, folder

    def __call__(self, *words: str, status: int = 0) -> str:
        """What it printed, after it ended with ``status``."""
        done = self.world.run("--desk", str(self.folder), *words, check=False)
        assert done.returncode == status, (words, done.returncode, done.stdout, done.stderr)
        return done.stdout + done.stderr

    def rows(self, *words: str, status: int = 0) -> list[Any]:
        """The objects that it printed."""
        done = self.world.run("--desk", str(self.folder), *words, "--json", check=False)
        assert done.returncode == status, (words, done.returncode, done.stdout, done.stderr)
        return [json.loads(line) for line in done.stdout.splitlines()]


def run_of(engine: Engine, job: str) -> Run:
    """The newest full run of a job."""
    return [run for run in engine.runs() if run.job == job and run.mode == "full"][-1]


def _look_at_jobs(desk: Desk) -> None:
    assert "synthesize" in desk("jobs") and "transcribe" in desk("status")
    assert "Waits for synthesize" in desk("status")
    assert "done" in desk("run", "transcribe", "--dry-run", "--wait")
    assert "done" in desk("run", "synthesize", "--item", "audio/interview_02.mp3", "--wait")
    assert "done" in desk("wait", "prepare")


def _move_items(desk: Desk, engine: Engine) -> None:
    assert "paused" in desk("pause", "transcribe", "--after-item") or run_of(engine, "transcribe").holding
    until(lambda: run_of(engine, "transcribe").state == "paused", "the run to stand still", SECONDS)
    desk("items", "transcribe", DAMAGED, "--first")
    desk("items", "transcribe", "audio/interview_50.mp3", "--skip")
    desk("items", "transcribe", "audio/interview_51.mp3", "--last")
    assert "audio/interview_50.mp3" in desk("items", "transcribe", "--state", "skipped")
    desk("items", "transcribe", "audio/interview_50.mp3", "--again")
    assert "skipped" not in desk("items", "transcribe", "--text", "interview_50")
    desk("resume", "transcribe")
    until(lambda: run_of(engine, "transcribe").items_failed, "the damaged item to fail", SECONDS)


def _failures(desk: Desk, engine: Engine) -> None:
    assert DAMAGED in desk("items", "transcribe", "--state", "failed")
    listed = desk("failure", "transcribe", "--list")
    assert REASON in listed and listed.count(DAMAGED) == 2
    shown = desk("failure", "transcribe", DAMAGED)
    for words in (f"error: {REASON}"[7:], "with exit status 1", "1 more", "try 2", "log, last", "versions:"):
        assert words in shown
    first = desk.rows("failure", "transcribe", "--list")[0]["serial"]
    assert desk.rows("failure", "transcribe", "--attempt", str(first))[0]["what"]["attempt"] == 1
    assert "1 item again" in desk("retry", "transcribe")
    assert REASON in desk("run", "transcribe", "--item", DAMAGED, "--wait", status=1)
    assert "Processing" in desk("logs", "synthesize", "-n", "200")


def _end_runs(desk: Desk, engine: Engine) -> None:
    assert "paused" in desk("pause", "synthesize")
    root = run_of(engine, "synthesize").process
    assert root is not None and psutil.Process(root.pid).status() == "stopped"
    assert "running" in desk("resume", "synthesize")
    desk("stop", "transcribe")
    until(lambda: run_of(engine, "transcribe").state in ENDED, "the end of the items", SECONDS)
    assert "paused" not in desk("run", "transcribe", "--items", "audio/interview_52.mp3", "--wait")
    assert "waiting: Starts " in desk("run", "prepare", "--at", "2h")
    desk("kill", "prepare")
    assert desk.rows("wait", "prepare", status=130)[0]["state"] == "stopped"


def _end_processes(desk: Desk, engine: Engine) -> None:
    orphans = [row for row in desk.rows("ps", "--orphans") if str(desk.folder) in row["command"]]
    (orphan,) = orphans
    pid = str(orphan["key"]["pid"])
    assert orphan["orphan_reason"].startswith("It was left behind by run prepare-")
    assert pid in desk("ps", "--filter", f"owner:orphan pid:{pid}")
    assert "demo" in desk("ps", "--port", str(engine.status().servers[0].address.rpartition(":")[2]))
    assert "paused" in desk("pause", pid)
    assert "resumed" in desk("resume", pid)
    told = desk.world.run("--desk", str(desk.folder), "stacks", pid, check=False)
    assert "Thread" in told.stdout or told.stderr
    assert "Give --yes" in desk("clean", pid, status=1)
    assert "1 ended, 0 left" in desk("clean", pid, "--yes")
    assert "0 left" in desk("stop", "--all", "--yes")
    assert all(run.state in ENDED for run in engine.runs())
    until(lambda: "no model loaded" in desk("status"), "the models to be unloaded", SECONDS)

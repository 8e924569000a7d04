"""Every key of the processes pane over the demo, in one real terminal; who stands still, is gone or lives on is read
from the system."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psutil
import pytest

from nightdesk.client.desk import socket_path
from nightdesk.client.engine import Engine
from nightdesk.model.errors import NightdeskError
from nightdesk.model.job import ENDED, StartRun
from tests.support.walk import gone
from tests.support.world import NIGHTDESK, Screen, World, until

SECONDS = 90
BROOD = """
import os, signal, socket, sys, time
from pathlib import Path

def work(deaf=False):
    signal.alarm(900)
    if deaf:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True: time.sleep(1)

def note(name, *numbers):
    Path("state", name + ".new").write_text(" ".join(map(str, numbers)))
    Path("state", name + ".new").rename(Path("state", name))

if sys.argv[1] == "bystander":
    work()
elif sys.argv[1] == "leave":
    # Forks twice and ends: what is left belongs to nobody, holds memory and a port, and has a child.
    if not os.fork():
        os.setsid()
        if os.fork():
            os._exit(0)
        held = bytearray(b"x") * 50_000_000
        server = socket.create_server(("127.0.0.1", 0))
        child = os.fork() or work()
        note("left", os.getpid(), child, server.getsockname()[1])
        work()
    while not Path("state/left").exists(): time.sleep(0.05)
else:
    children = [os.fork() or work(deaf) for deaf in (False, False, True)]
    note("family", os.getpid(), *children)
    work()
"""
JOBS = f"""
[jobs.leave]
command = "{sys.executable} -S scripts/brood.py leave"

[jobs.family]
command = "{sys.executable} -S scripts/brood.py family"
grace = "500ms"
"""


class Keys:
    """A terminal with the viewer: presses keys and waits for what is to come and to go."""

    def __init__(self, screen: Screen) -> None:
        self.screen = screen

    def __call__(self, *keys: str, shows: str | tuple[str, ...] = (), hides: str = "") -> str:
        self.screen.press(*keys)
        shown = self.screen.wait_for(*((shows,) if isinstance(shows, str) else shows), seconds=SECONDS)
        if hides:
            until(gone(self.screen, hides), f"“{hides}” to go after {keys}", SECONDS)
        return shown

    def shows_stopped(self, pid: int) -> bool:
        """Whether the row of a process says that it stands still."""
        return re.search(rf" {pid} .* T  ", self.screen.text()) is not None

    def seek(self, words: str, *shows: str) -> None:
        """Take the filter away and type another."""
        self("Escape", shows="── tree")
        self.screen.press("/")
        self.screen.tmux("send-keys", "-l", words)
        self("Enter", shows=("── flat", *shows))


class Brood:
    """The processes that the two jobs have begun, and one that looks like them and is nobody's business."""

    def __init__(self, folder: Path, bystander: int) -> None:
        self.root, self.one, self.other, self.deaf = self._read(folder / "state" / "family")
        self.orphan, self.child, self.port = self._read(folder / "state" / "left")
        self.bystander = bystander

    @staticmethod
    def _read(path: Path) -> list[int]:
        until(path.exists, str(path), SECONDS)
        return [int(word) for word in path.read_text().split()]


def is_there(pid: int) -> bool:
    """Whether it lives; a zombie does not."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def stands_still(*pids: int) -> bool:
    """Whether all of these are stopped."""
    return all(psutil.Process(pid).status() == psutil.STATUS_STOPPED for pid in pids)


@pytest.fixture
def demo(world: World) -> Iterator[Path]:
    """The folder of a demo with two jobs more, one of which has left something behind."""
    folder, told = world.folder / "demo", world.folder / "demo.log"
    words = [NIGHTDESK, "demo", "--no-viewer", "--folder", str(folder)]
    with told.open("w") as log, subprocess.Popen(words, env=world.env, stdout=log, stderr=log) as process:
        try:
            _begin(folder, Engine(socket_path(folder, world.env)))
            yield folder
        finally:
            process.terminate()


def _begin(folder: Path, engine: Engine) -> None:
    until(lambda: {"prepare", "report"} <= runs_of(engine), "the demo's runs", SECONDS)
    (folder / "scripts" / "brood.py").write_text(BROOD)
    with (folder / "nightdesk.toml").open("a") as config:
        config.write(JOBS)
    until(lambda: {"leave", "family"} <= {job.name for job in engine.jobs()}, "the jobs", SECONDS)
    for job in ("leave", "family"):
        engine.start(StartRun(job=job))


def runs_of(engine: Engine) -> set[str]:
    """The jobs that have runs; none before the engine answers."""
    try:
        return {run.job for run in engine.runs()}
    except NightdeskError:
        return set()


@pytest.fixture
def brood(demo: Path) -> Iterator[Brood]:
    """Who is who."""
    words = [sys.executable, "-S", str(demo / "scripts" / "brood.py"), "bystander"]
    with subprocess.Popen(words) as bystander:
        yield Brood(demo, bystander.pid)
        bystander.kill()


def test_every_key_of_the_processes_pane(world: World, demo: Path, brood: Brood) -> None:
    screen = world.screen(150, 44)
    screen.type(f"{NIGHTDESK} --desk {demo} --mode machine")
    keys = Keys(screen)
    screen.wait_for("4 Processes", "⚠ orphan", "family", seconds=SECONDS)
    keys("4", shows="── tree · ours · by cpu")
    _arrange(keys, brood)
    _look(keys, brood)
    _several(keys, brood)
    _orphans(keys, brood)
    _everything(keys, brood, Engine(socket_path(demo, world.env)))
    keys("q", shows="viewer closed")
    assert is_there(brood.bystander)


def _arrange(keys: Keys, brood: Brood) -> None:
    """Order, shape, columns; a branch folded from its child."""
    keys("o", shows="by mem")
    keys("O", shows="by mem ▲")
    keys("O", "a", shows="tree · all · by mem ─")
    keys("a", "c", shows="Columns of processes")
    keys("Escape", hides="Columns of processes")
    keys.seek(f"pid:{brood.one}", "brood.py family")
    keys("Escape", shows="── tree")
    keys("-", shows="▸ 3 below: 0%")
    assert f" {brood.one} " not in keys.screen.text()
    keys("-", shows=f" {brood.one} ", hides="3 below: ")
    keys("t", shows="── flat")
    keys("t", shows="── tree")


def _look(keys: Keys, brood: Brood) -> None:
    """Who holds the port; that process in full, paused and resumed, and its stacks."""
    keys.seek(f"port:{brood.port}", "1 of ", f" {brood.orphan} ")
    keys("Enter", shows=(f"Process {brood.orphan}", "run leave-", f"port {brood.port}", "1 below it"))
    keys("p", shows="2 processes paused")
    until(lambda: stands_still(brood.orphan, brood.child), "both to stand still", SECONDS)
    keys("p", shows="2 processes resumed")
    until(lambda: not stands_still(brood.orphan) and not stands_still(brood.child), "both to go on", SECONDS)
    keys("x", shows=("SIGTERM to these 2 processes", f"port {brood.port}"))
    keys("n", hides="SIGTERM to")
    keys("K", shows="SIGKILL to these 2 processes")
    keys("n", hides="SIGKILL to")
    keys("S", shows=f"Stacks of process {brood.orphan}")
    until(lambda: "read in" in keys.screen.text() or "✗" in keys.screen.text(), "stacks, or why not", SECONDS)
    keys("r", "Escape", hides="Stacks of process")
    keys("Escape", hides=f"Process {brood.orphan}")
    keys("S", shows=f"Stacks of process {brood.orphan}")
    keys("Escape", hides="Stacks of process")


def _several(keys: Keys, brood: Brood) -> None:
    """Two of a family are tagged and meant together; their parent and the third are left alone."""
    keys.seek(f"ppid:{brood.root}", f" {brood.one} ", f" {brood.deaf} ")
    keys("o", "o", "o", shows="by pid")
    keys("g", "Space", "Space", shows="2 tagged")
    keys("p", shows="2 processes paused")
    # A notice of the same words from before may still be there: the processes themselves tell.
    until(lambda: stands_still(brood.one, brood.other), "two to stand still", SECONDS)
    for pid in (brood.one, brood.other):
        until(partial(keys.shows_stopped, pid), "its row to say so", SECONDS)
    assert not stands_still(brood.root) and not stands_still(brood.deaf)
    keys("p", shows="2 processes resumed")
    until(lambda: not stands_still(brood.one) and not stands_still(brood.other), "two to go on", SECONDS)
    keys("x", shows=("Stop 2 tagged processes", "these 2 processes", "of memory come back", "family"))
    keys("n", hides="SIGTERM to")
    assert is_there(brood.one) and is_there(brood.other)
    keys("x", shows="Stop 2 tagged processes")
    # One of them ends while the question stands: the question shows who is left.
    psutil.Process(brood.one).send_signal(signal.SIGKILL)
    until(lambda: "SIGTERM to this process" in keys.screen.text(), "the question to follow", SECONDS)
    keys("y", shows="1 ended, 0 left")
    assert not is_there(brood.other)
    assert is_there(brood.root) and is_there(brood.deaf)
    keys("Escape", hides=" tagged ")  # zombies by now: their parent has not asked for them


def _orphans(keys: Keys, brood: Brood) -> None:
    """The child of an orphan is killed alone; then all orphans are listed, left alone, and ended."""
    keys.seek(f"pid:{brood.child}", "1 of ")
    keys("K", shows=("SIGKILL to this process at once", "⚠ orphan"))
    keys("y", shows="1 killed, 0 left")
    assert not is_there(brood.child) and is_there(brood.orphan)
    keys("X", shows=("orphans and what is below", "left behind by run leave-", f"{brood.port}"))
    keys("n", hides="SIGTERM to")
    assert is_there(brood.orphan)
    keys("X", shows="orphans and what is below")
    keys("y", shows="2 ended, 0 left")
    assert not is_there(brood.orphan)
    assert is_there(brood.root), "no process of a run in progress"


def _everything(keys: Keys, brood: Brood, engine: Engine) -> None:
    """Everything that the desk has begun is shown, left alone, and stopped."""
    keys("E", shows=("Stop everything that this desk has started", "family", "models are unloaded"))
    keys("n", hides="SIGTERM to")
    assert is_there(brood.root)
    keys("E", shows="Stop everything that this desk has started")
    keys("y", shows=("stopped: ", "1 had to be killed, 0 left"))
    assert not is_there(brood.root) and not is_there(brood.deaf)
    assert all(run.state in ENDED for run in engine.runs())

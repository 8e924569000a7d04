"""However a viewer ends, its terminal is usable afterwards and nothing of it goes on."""

import fcntl
import os
import signal

import psutil
import pytest

from tests.support.world import TYPED, Screen, World, until


def open_viewer(world: World) -> tuple[Screen, psutil.Process]:
    """A viewer in a shell in tmux, once it shows the desk."""
    screen = world.screen(120, 40)
    screen.type("stty sane; PS1=ready:")
    screen.type(TYPED)
    screen.wait_for("Jobs", "Processes", "No exchange yet")
    shell = psutil.Process(screen.pid())
    return screen, next(child for child in shell.children() if "nightdesk" in " ".join(child.cmdline()))


def assert_usable(screen: Screen) -> None:
    """The shell is back, echoes what is typed, and the alternate screen is left."""
    screen.type("echo still $((40 + 2))")
    screen.wait_for("still 42")
    assert screen.tmux("display-message", "-p", "#{alternate_on} #{mouse_any_flag}").strip() == "0 0"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_viewer_and_gives_the_terminal_back(world: World, number: signal.Signals) -> None:
    screen, viewer = open_viewer(world)
    os.kill(viewer.pid, number)
    until(lambda: not psutil.pid_exists(viewer.pid), "the viewer's end")
    assert_usable(screen)
    assert world.json("status")["counts"]["running"] == 0


@pytest.mark.parametrize("which", ["viewer", "guard"])
def test_a_killed_viewer_leaves_engine_and_terminal_usable(world: World, which: str) -> None:
    screen, guard = open_viewer(world)
    (viewer,) = (child for child in guard.children() if "nightdesk" in " ".join(child.cmdline()))
    os.kill(viewer.pid if which == "viewer" else guard.pid, signal.SIGKILL)
    until(lambda: not psutil.pid_exists(viewer.pid) and not psutil.pid_exists(guard.pid), "the viewer's end")
    assert_usable(screen)
    assert world.json("status")["desk"]["engine"]["pid"]


def test_a_terminal_that_vanishes_ends_the_viewer_and_leaves_the_engine(world: World) -> None:
    screen, viewer = open_viewer(world)
    screen.close()
    until(lambda: not psutil.pid_exists(viewer.pid), "the viewer's end")
    assert world.json("status")["desk"]["engine"]["pid"]


def test_a_terminal_that_vanishes_under_nohup_leaves_nothing_that_burns_the_processor(world: World) -> None:
    screen = world.screen(120, 40)
    screen.type(f"trap '' HUP; exec {TYPED}")
    screen.wait_for("Jobs", "No exchange yet")
    viewer = psutil.Process(screen.pid())
    screen.close()
    until(lambda: not viewer.is_running() or viewer.status() == psutil.STATUS_ZOMBIE, "the viewer's end")


def test_down_ends_the_engine_and_every_process_of_it(world: World) -> None:
    world.run("up")
    assert world.ours()
    world.run("down")
    with next(world.folder.rglob("engine.lock")).open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # What is told to have ended holds nothing any more.
    until(lambda: not world.ours(), "nothing of ours to be left")
    refused = world.run("status", check=False)
    assert refused.returncode == 3 and "nightdesk up" in refused.stderr

"""The promise of the whole program, kept in a real terminal, with real packets and real processes."""

import os
import signal
from pathlib import Path
from typing import Any

import psutil

from tests.support.world import NIGHTDESK, World, until

PANES = ("Jobs", "Accelerators", "traffic", "Processes", "Logs")


def demo_folder(world: World) -> Path:
    return world.folder / "demo"


def open_demo(world: World) -> None:
    world.run("demo", "--no-viewer", "--folder", str(demo_folder(world)), "--speed", "fast")


def test_the_demo_shows_five_live_panes_and_an_exchange_while_it_streams(world: World) -> None:
    screen = world.screen()
    screen.type(f"{NIGHTDESK} demo --folder {demo_folder(world)}")
    screen.wait_for(*PANES, seconds=30)
    shown = screen.wait_for("▶ chat", "synthesize › ", seconds=30)
    running = [line for line in shown.splitlines() if "▶" in line and "synthesize › " in line]
    assert running, shown
    screen.press("q")
    screen.wait_for("go on")
    status = world.json("--desk", str(demo_folder(world)), "status")
    states = {run["job"]: run["state"] for run in status["runs"]}
    assert states["synthesize"] in ("running", "done")
    world.run("demo", "--stop", "--folder", str(demo_folder(world)))


def test_a_run_outlives_viewer_and_engine_and_its_end_is_told_right(world: World) -> None:
    (world.folder / "nightdesk.toml").write_text(
        "[capture]\nsource = 'off'\n"
        "[jobs.count]\n"
        "command = \"python3 -u -c \\\"import time\\nfor i in range(1, 41): print(f'[{i}/40] Processing item{i}'); "
        'time.sleep(0.1)\\nraise SystemExit(7)\\""\n'
    )
    screen = world.screen()
    screen.type(NIGHTDESK)
    screen.wait_for("count", *PANES)
    run = world.json("run", "count")
    screen.wait_for("/40")
    engine: int = world.json("status")["desk"]["engine"]["pid"]
    os.kill(engine, signal.SIGKILL)
    until(lambda: not psutil.pid_exists(engine), "the engine's end")
    screen.press("q")
    screen.wait_for("$")
    screen.type(NIGHTDESK)
    screen.wait_for("count", "/40")
    again: dict[str, Any] = world.json("status")
    assert again["desk"]["engine"]["pid"] != engine
    assert [r["id"] for r in again["runs"]] == [run["id"]]
    ended = world.run("wait", run["id"], check=False)
    assert ended.returncode == 7, ended
    log = world.run("logs", "count", "-n", "1000").stdout.splitlines()
    assert log == [f"[{i}/40] Processing item{i}" for i in range(1, 41)]
    screen.press("q")
    world.run("down")
    until(lambda: len(world.processes()) <= 1, "only the shell to be left")

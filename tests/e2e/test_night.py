"""The promise of the whole program, kept in a real terminal, with real packets and real processes."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import psutil

from tests.support.world import TYPED, World, until

PANES = ("Jobs", "Accelerators", "traffic", "Processes", "Logs")


def demo_folder(world: World) -> Path:
    return world.folder / "demo"


def streaming_text(shown: str) -> str | None:
    """The growing reply in the newest line of the traffic pane, while one is running for an item."""
    if "1 running" not in shown:
        return None
    newest = next((line for line in shown.splitlines() if "synthesize › " in line and "│" in line), "")
    text = newest.rstrip("│ ").split("  ")[-1]
    return text if text and "waits for" not in newest else None


def test_the_demo_shows_five_live_panes_and_an_exchange_while_it_streams(world: World) -> None:
    screen = world.screen()
    screen.type(f"{TYPED} demo --folder {demo_folder(world)}")
    screen.wait_for(*PANES)
    screen.wait_for("transcribe", "orphan", "CPU", "following", "synthesize › ")
    first = until(lambda: streaming_text(screen.text()), "an exchange that streams")
    until(lambda: (streaming_text(screen.text()) or first) != first, "its text to grow")
    screen.press("q")
    screen.wait_for("go on")
    status = world.json("--desk", str(demo_folder(world)), "status")
    states = {run["job"]: run["state"] for run in status["runs"]}
    assert states["synthesize"] == "running"
    rows = [
        json.loads(line)
        for line in world.run("--desk", str(demo_folder(world)), "traffic", "--json").stdout.splitlines()
    ]
    answered = [row for row in rows if row["state"] == "complete" and row["operation"] != "embed"]
    assert answered and all(
        (row["job"], Path(row["item"]).name[:9]) == ("synthesize", "interview") for row in answered
    )
    assert all(row["process"]["pid"] and row["reply_tokens"] for row in answered)
    world.run("demo", "--stop", "--folder", str(demo_folder(world)))


def test_a_run_outlives_viewer_and_engine_and_its_end_is_told_right(world: World) -> None:
    (world.folder / "nightdesk.toml").write_text(
        "[capture]\nsource = 'off'\n"
        "[jobs.count]\n"
        "command = \"python3 -u -c \\\"import time\\nfor i in range(1, 41): print(f'[{i}/40] Processing item{i}'); "
        'time.sleep(0.1)\\nraise SystemExit(7)\\""\n'
    )
    screen = world.screen()
    screen.type(TYPED)
    screen.wait_for("count", *PANES)
    run = world.json("run", "count")
    screen.wait_for("/40")
    engine: int = world.json("status")["desk"]["engine"]["pid"]
    os.kill(engine, signal.SIGKILL)
    until(lambda: not psutil.pid_exists(engine), "the engine's end")
    screen.press("q")
    screen.wait_for("viewer closed")
    screen.type(TYPED)
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
    until(lambda: not world.ours(), "nothing of ours to be left")

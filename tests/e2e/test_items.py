"""Items of a run in a real terminal: looked at while they go on, held, done again, one of them alone."""

from __future__ import annotations

import sys

from tests.support.walk import Step, walk
from tests.support.world import TYPED, Screen, World, until

WORK = """
import os, pathlib, sys, time
item = pathlib.Path(sys.argv[1])
print("working on", item.stem, flush=True)
while not os.path.exists("go"):
    time.sleep(0.05)
if item.read_text() == "bad":
    sys.exit("no voice in " + item.stem)
pathlib.Path(item.stem + ".out").write_text(item.read_text())
"""


def _one_is_tried_stopped_and_becomes_the_whole_job(screen: Screen) -> None:
    walk(
        screen,
        Step(("t",), ("One item of voices", "4 of 4 items")),
        Step(("PageDown",), ("▌dora.txt",)),
        Step(("PageUp",), ("▌anna.txt",)),
        Step(("Down", "Down"), ("▌cora.txt",)),
        Step(("Up",), ("▌bert.txt",)),
        Step(("Enter",), ("Single run of voices › bert.txt", "▶ running", "working on bert")),
        Step(("x",), ("Stop run voices", "SIGTERM to this process")),
        Step(("n",), ("▶ running",), "SIGTERM"),
        Step(("x",), ("SIGTERM to",)),
        Step(("y",), ("■ stopped",), "SIGTERM"),
        Step(("BTab",), ("[4 before and now]",)),
        Step(("s",), ("▶  voices", "0/4"), "Single run of"),
    )


def test_items_are_seen_held_done_again_and_tried_alone(world: World) -> None:
    (world.folder / "nightdesk.toml").write_text(
        "[capture]\nsource = 'off'\n[sensors]\nsource = 'off'\n[jobs.voices]\n"
        f"command = '{sys.executable} work.py {{item}}'\nitems = '*.txt'\noutputs = '{{stem}}.out'\nparallel = 2\n"
    )
    (world.folder / "work.py").write_text(WORK)
    for name in ("anna", "bert", "cora", "dora"):
        (world.folder / f"{name}.txt").write_text("bad" if name == "bert" else name)
    screen = world.screen(120, 40)
    screen.type(TYPED)
    screen.wait_for("voices", "not started yet")
    _one_is_tried_stopped_and_becomes_the_whole_job(screen)
    screen.press("i")
    screen.wait_for("2 running", "2 waiting", "anna.txt", "dora.txt")
    screen.press("Escape")
    screen.wait_for("hold")
    screen.press("h")
    screen.wait_for("pauses after")
    (world.folder / "go").touch()
    screen.wait_for("paused", "1/4")
    screen.press("i")
    screen.wait_for("1 failed", "no voice in bert")
    (world.folder / "bert.txt").write_text("good")
    screen.press("v")
    screen.wait_for("shown: 1")
    screen.press("a")
    screen.wait_for("No item matches.")
    screen.press("Escape")
    screen.wait_for("anna.txt")
    screen.press("Escape")
    screen.wait_for("voices", "1/4", "paused")
    screen.press("p")
    screen.wait_for("4/4", "done")
    assert (world.folder / "bert.out").read_text() == "good"
    (world.folder / "anna.txt").write_text("other")
    screen.press("t")
    screen.wait_for("One item of")
    screen.press("Enter")
    screen.wait_for("Single run of voices", "anna.txt", "done")
    screen.press("4")
    screen.wait_for("before", "anna.out", "other")
    screen.press("Escape")
    screen.wait_for("✓  voices", "4/4")
    screen.press("q")
    screen.wait_for("viewer closed")
    world.run("down")
    until(lambda: not world.ours(), "nothing of ours to be left")

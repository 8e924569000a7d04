"""Outputs and their rules in a real terminal and on the command line: listed, chosen, flagged, done again."""

from __future__ import annotations

import json
import sys

from tests.support.walk import Step, walk
from tests.support.world import NIGHTDESK, World, until

WORK = """
import pathlib, sys
note = pathlib.Path(sys.argv[1])
with open("begun", "a") as file:
    file.write(note.stem + "\\n")
pathlib.Path("out").mkdir(exist_ok=True)
pathlib.Path("out", note.stem + ".md").write_text(note.read_text())
"""
RULES = """
[jobs.notes.validate]
headings = ["Summary"]
language = "en"
not_truncated = true
warn = ["language"]
"""
GOOD = "# Summary\n\nThe council has met and spoken about the bridge, and it was decided that it will be built soon.\n"
GERMAN = (
    "# Summary\n\nDer Rat hat sich getroffen und über die Brücke gesprochen, die nicht mehr sicher ist.\n"
)
NOTES = {
    "anna": GOOD,
    "bert": GOOD.replace("Summary", "Notes"),
    "cora": GERMAN,
    "dora": GOOD + "\nAnd then the,\n",
}


def test_outputs_are_looked_through_flagged_and_done_again(world: World) -> None:
    (world.folder / "nightdesk.toml").write_text(
        "[capture]\nsource = 'off'\n[sensors]\nsource = 'off'\n[jobs.notes]\n"
        f"command = '{sys.executable} work.py {{item}}'\nitems = '*.txt'\noutputs = 'out/{{stem}}.md'\n"
        + RULES
    )
    (world.folder / "work.py").write_text(WORK)
    for name, text in NOTES.items():
        (world.folder / f"{name}.txt").write_text(text)

    def begun(name: str) -> int:
        return (world.folder / "begun").read_text().split().count(name)

    done = world.run("run", "notes", "--wait", check=False)
    assert done.returncode == 1 and "2 of 4 items failed: bert.txt, dora.txt" in done.stdout
    screen = world.screen(120, 40)
    screen.type(NIGHTDESK)
    screen.wait_for("notes", "2 of 4 items failed")
    walk(
        screen,
        Step(("i",), ("bert.txt", "invalid output")),
        Step(
            ("c",),
            ("Outputs of notes", "✗ 2 failed  ⚠ 1 doubtful  ✓ 1 passed", "it lacks the heading Summary"),
        ),
        Step(("Escape",), ("invalid output",), "Outputs of notes"),
        Step(("Escape",), ("2 of 4 items failed",), "invalid output: headings"),
        Step(("c",), ("Outputs of notes", "4 looked at", "mean 0.8")),
        Step(("j",), ("out/dora.md", "✗ not_truncated 0.00")),
        Step(("v",), ("bert.txt", " 2 failed ─"), "anna.txt"),
        Step(("v",), ("cora.txt", "it is German, not English"), "bert.txt"),
        Step(("V", "V"), ("anna.txt", "bert.txt")),
        Step(("c",), ("breaks headings ─",), "anna.txt"),
        Step(("C",), ("anna.txt",), "breaks headings ─"),
        Step(("/", "a", "n", "n", "a", "Enter"), ("anna.txt",), "bert.txt"),
        Step(("f",), ("◆ 1 flagged",)),
        Step(("Escape",), ("bert.txt", "◆  anna.txt")),
    )
    (world.folder / "out" / "bert.md").write_text(GOOD)
    walk(screen, Step(("g", "l"), ("✗ 1 failed",)))
    (world.folder / "out" / "dora.md").write_text(GOOD)
    walk(screen, Step(("L",), ("⚠ 1 doubtful  ✓ 3 passed", "8 looked at"), "failed"))
    assert world.run("validate", "notes", "--last").returncode == 0
    walk(
        screen,
        Step(("y",), ("Path:",)),
        Step(("?",), ("Outputs and their rules", "outputs.flag")),
        Step(("Escape",), ("✓ 3 passed",), "outputs.flag"),
    )
    (world.folder / "bert.txt").write_text(GOOD)
    screen.press("a")
    until(lambda: begun("bert") == 2, "bert to be done again")
    until(lambda: world.json("status")["runs"][0]["state"] == "done", "the end of that run")
    screen.press("r")
    until(lambda: begun("anna") == 2, "what is flagged to be done again")

    (world.folder / "out" / "bert.md").unlink()
    looked = world.run("validate", "notes", "--json", check=False)
    rows = [json.loads(line) for line in looked.stdout.splitlines()]
    assert looked.returncode == 1
    assert [(row["item"], row["state"]) for row in rows][:2] == [
        ("bert.txt", "failed"),
        ("cora.txt", "doubtful"),
    ]
    assert (
        "out/bert.md is missing"
        in world.run("validate", "notes", "--last", "--rule", "exists", check=False).stdout
    )
    world.run("validate", "notes", "anna.txt", "--unflag")
    assert (
        "flag " not in world.run("validate", "notes", "--last", "--flagged", check=False).stdout.lower()[30:]
    )
    refused = world.run("validate", "notes", "--state", "odd", check=False)
    assert refused.returncode == 2 and "There is no state odd" in refused.stderr

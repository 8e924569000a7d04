"""The accelerators of a desk that plays a recording, in a real terminal: every key of the pane, machine mode."""

from __future__ import annotations

import math
import sys

from tests.support.recordings import lines_of, macmon
from tests.support.walk import Step, walk
from tests.support.world import NIGHTDESK, World, until


def test_every_key_of_the_pane_does_what_it_says_on_a_playing_recording(world: World) -> None:
    shares = (0.5 + 0.4 * math.sin(second / 5) for second in range(300))
    recording = lines_of([macmon(share, second=second) for second, share in enumerate(shares)])
    (world.folder / "night.jsonl").write_bytes(recording)
    (world.folder / "nightdesk.toml").write_text(
        "[capture]\nsource = 'off'\n[sensors]\nsource = 'file'\nfile = 'night.jsonl'\n"
        "[energy]\nprice_per_kwh = 0.5\ncurrency = 'EUR'\n"
        f"[jobs.batch]\ncommand = '{sys.executable} -c \"import time; time.sleep(600)\"'\n"
    )
    screen = world.screen(120, 40)
    screen.type(NIGHTDESK)
    screen.wait_for("batch", "not started yet")
    screen.press("s")
    screen.wait_for("running")
    walk(
        screen,
        Step(("M",), ("4 Processes", "2 Accelerators", "recording of macmon")),
        Step(("2",), ("closer", "wider", "values")),
        # Alone it has room for all: kinds of cores, the chart with the run below it.
        Step(("z",), ("12 cores", "last 10 min", "batch", "Apple M4 Max"), hides="4 Processes"),
        Step(("-",), ("last 60 min",)),
        Step(("-",), ("last 12 h",)),
        Step(("-",), ("last 12 h",)),
        Step(("+",), ("last 60 min",)),
        Step(("+",), ("last 10 min",)),
        Step(("Left",), ("GPU active", "GPU power"), hides="last 10 min"),
        Step(("Left", "Right"), ("GPU active",)),
        Step(("Escape",), ("last 10 min",)),
        Step(("v",), ("GPU heat", "GPU clock")),
        Step(("v",), ("GPU capacity",)),
        Step(("v",), ("GPU active", "GPU power")),
        Step(("Down",), ("ANE power", "ANE estimate")),
        Step(("Enter",), ("Apple Neural Engine", "estimate, share of time", "esc back")),
        Step(("q",), ("ANE power", "closer"), hides="esc back"),
        Step(("j",), ("Whole machine",)),
        Step(("j",), ("E cores busy",)),
        Step(("G",), ("memory",)),
        Step(("g",), ("GPU active", "GPU power")),
        Step(("?",), ("never zero", "esc")),
        Step(("q",), ("closer", "GPU power"), hides="never zero"),
        Step(("z",), ("4 Processes", "2 Accelerators")),
    )
    # The energy of the night and of the run, with what it costs.
    screen.press("z")
    screen.wait_for("since noon", "EUR", "batch", "mean", "peak")
    screen.press("q")
    screen.wait_for("viewer closed")
    told = world.json("status")
    assert told["energy"]["bill"]["currency"] == "EUR"
    world.run("kill", told["runs"][0]["id"])
    world.run("down")
    until(lambda: not world.ours(), "nothing of ours to be left")

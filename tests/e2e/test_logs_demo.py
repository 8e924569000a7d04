"""Logs in a real terminal: every key of the pane in one session, read from the screen."""

from __future__ import annotations

import gzip
from datetime import datetime, timedelta
from pathlib import Path

from tests.support.walk import Step, walk
from tests.support.world import TYPED, World

CONFIG = '[watch]\nlogs = ["logs/*.log"]\n\n[sensors]\nsource = "off"\n\n[capture]\nsource = "off"\n'
TRACE = (
    'Traceback (most recent call last):\n  File "/home/me/run.py", line 33, in run\n    decode(item)\n'
    "ValueError: no voice in 'session-{n:02}'\n"
)
SHOWN = '#!/bin/sh\nprintf "shown: %s\\n" "$*"; read -r _\n'
"""In the place of editor and pager."""


def write_logs(folder: Path) -> None:
    """A batch of 60 items with three errors, a server's log, and a rotated, compressed one."""
    begin = datetime.now() - timedelta(minutes=90)

    def stamp(second: float) -> str:
        return f"{begin + timedelta(seconds=second):%Y-%m-%d %H:%M:%S}"

    batch, server = [], []
    for n in range(60):
        batch.append(f"{stamp(n * 20)} INFO [{n + 1}/60] Processing session-{n:02}.mp3\n")
        batch.append(
            f"{stamp(n * 20 + 7)} DEBUG decoded in {n * 13} ms, {'and then again ' * 12}to the END-{n:02}\n"
        )
        if n % 20 == 5:
            batch.append(f"{stamp(n * 20 + 9)} ERROR no voice in session-{n:02}\n{TRACE.format(n=n)}")
        server.append(f"{stamp(n * 20 + 3)} INFO server: asked for session-{n:02}\n")
    (folder / "logs").mkdir()
    (folder / "logs" / "batch.log").write_text("".join(batch))
    (folder / "logs" / "server.log").write_text("".join(server))
    old = "".join(f"{stamp(n - 900)} INFO rotated {n:02}\n" for n in range(40))
    (folder / "logs" / "batch.log.1.gz").write_bytes(gzip.compress(old.encode()))


def test_each_key_of_the_logs_pane_does_what_it_says(world: World) -> None:
    write_logs(world.folder)
    (world.folder / "nightdesk.toml").write_text(CONFIG)
    program = world.folder / "less"
    program.write_text(SHOWN)
    program.chmod(0o755)
    world.env |= {"EDITOR": str(program), "PAGER": str(program)}
    screen = world.screen(120, 40)
    screen.type(f"{TYPED} --mode logs")
    screen.wait_for("batch.log", "server.log", "q leave")
    if "[server.log]" in screen.text():
        screen.press("]")
    walk(
        screen,
        Step((), ("[batch.log]", "[60/60] Processing", "following")),
        Step(("[",), ("[server.log]", "asked for session-59")),
        Step(("]",), ("[batch.log]", "[60/60] Processing")),
        # Moving
        Step(("g",), ("session-00.mp3", "line 1, ")),
        Step(("j",), ("line 2, ",)),
        Step(("k",), ("line 1, ",)),
        Step(("C-d",), ("session-15",), hides="session-00.mp3"),
        Step(("C-u",), ("line 1, ",)),
        Step(("Space",), ("session-20",), hides="session-00.mp3"),
        Step(("PPage",), ("line 1, ",)),
        Step(("Right", "Right"), ("session-00",), hides="INFO [1/60]"),
        Step(("Left", "Left"), ("INFO [1/60]",)),
        Step(("F",), ("[60/60] Processing", "following")),
        Step(("Home",), ("session-00.mp3",)),
        Step(("Down",), ("line 2, ",)),
        Step(("Up",), ("line 1, ",)),
        Step(("NPage",), ("session-20",), hides="session-00.mp3"),
        Step(("End",), ("[60/60] Processing", "following")),
        Step(("g",), ("session-00.mp3",)),
        Step(("G",), ("[60/60] Processing", "following")),
        # Places
        Step((":",), ("Go to",)),
        Step((*"21", "Enter"), ("G follows",), hides="Go to"),
        Step(("m",), ("◆ ",)),
        Step(("G",), ("following",), hides="◆ "),
        Step(("'",), ("◆ ",)),
        Step(("m",), ("G follows",), hides="◆ "),
        # Searching
        Step(("/", *"voice"), ("6 lines", "/voice", "⏎ keep")),
        Step(("Enter",), (": go to", "6 lines")),
        Step(("G", "N"), ("6 of 6 lines",)),
        Step(("N",), ("5 of 6 lines",)),
        Step(("n",), ("6 of 6 lines",)),
        Step(("Escape",), ("batch.log",), hides="/voice"),
        # Tracebacks
        Step(("g", ":"), ("Go to",)),
        Step(
            (*"12", "Enter"),
            ("▸ ValueError: no voice in 'session-05'  4 lines, /home/me/run.py:33 in run", "line 12, "),
        ),
        Step(("Enter",), ("decode(item)",)),
        Step(("f",), ("Traceback (most",), hides="▸"),
        Step(("f",), ("▸ ValueError",), hides="Traceback (most"),
        Step(("X",), ("3 errors of 1 kind", "no voice in")),
        Step(("Enter",), ("session-05", "▸ ValueError"), hides="3 errors of 1 kind"),
        Step(("X",), ("3 errors of 1 kind",)),
        Step(("N",), ("session-45",), hides="3 errors of 1 kind"),
        Step(("X",), ("Errors of batch.log", "3 errors of 1 kind")),
        Step(("a",), ("Errors of all logs", "3 errors of 1 kind")),
        Step(("N",), ("3 files: level:error", "session-45")),
        Step(("a",), ("[batch.log]",), hides="level:error"),
        # Items
        Step(("G", "d"), ("Items of batch.log", "59 items", "median 20.0s")),
        Step(("o",), ("slowest first", "session-00.mp3")),
        Step(("Enter",), ("[batch.log]", "session-00.mp3"), hides="Items of"),
        # Looks
        Step(("l",), ("warnings and errors",)),
        Step(("l",), ("errors only",)),
        Step(("l",), ("Processing",), hides="errors only"),
        Step(("G", "w"), ("END-59",)),
        Step(("w",), ("[60/60]",), hides="END-59"),
        Step(("h",), ("✗",)),
        Step(("h",), ("[60/60]",)),
        # Several in one
        Step(("a",), ("3 files: all logs", "batch ", "server ", "asked for session-59")),
        Step(("g",), ("batch.log.1.gz", "rotated 00")),
        Step(("o",), ("is not followed",)),
        Step(("G",), ("all logs ── following",)),
        Step(("/", *"asked for session-30"), ("1 lines", "/asked for session-30", "⏎ keep")),
        Step(("Enter",), (": go to", "1 lines")),
        Step(("N",), ("1 of 1 lines",)),
        Step(("o",), ("[server.log]", "asked for session-29"), hides="3 files"),
        Step(("Escape",), ("[server.log]",), hides="/asked for"),
        Step(("&",), ("Only lines with", "level:error")),
        Step(("C-u",), ("Only lines with",), hides="file:server.log "),
        Step((*"level:error since:9d",), ("level:error since:9d",)),
        Step(("Enter",), ("level:error since:9d ──", "ValueError: no voice in 'session-45'")),
        Step(("a",), ("[server.log]",), hides="level:error since:9d ──"),
        # From a line elsewhere
        Step(("]",), ("[batch.log]", "[60/60] Processing")),
        Step(("i",), ('item:"session-', "Processing session-")),
        Step(("a",), ("[batch.log]",), hides="item:"),
        Step(("y",), (" lines: ",)),
        Step(("e",), ("shown: ", "logs/batch.log")),
        Step(("Enter",), ("[batch.log]", "q leave")),
        Step(("|",), ("shown: ", "logs/batch.log")),
        Step(("Enter",), ("[batch.log]", "q leave")),
        Step(("s",), ("2 Accelerators", "sensors are off")),
        Step(("L",), ("[batch.log]",), hides="2 Accelerators"),
        Step(("t",), ("/since:",)),
        Step(("L",), ("[batch.log]",)),
        Step(("q",), ("viewer closed",)),
    )

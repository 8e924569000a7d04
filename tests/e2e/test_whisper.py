"""A transcription by openai-whisper in a real terminal: its text is seen as it comes, and the loop alarm."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from nightdesk.demo.desk import make_desk
from tests.support.walk import Step, walk
from tests.support.whisper_library import CHECKPOINT, why_no_whisper, write_tone
from tests.support.world import TYPED, Screen, World, until


@pytest.mark.skipif(why_no_whisper() is not None, reason=why_no_whisper() or "")
def test_a_job_that_transcribes_is_followed_in_the_whisper_screen(world: World) -> None:
    quick = {**os.environ, "OMP_NUM_THREADS": "1"}
    model = world.folder / "tiny.pt"
    subprocess.run([sys.executable, "-c", CHECKPOINT, str(model)], env=quick, check=True, timeout=300)
    write_tone(world.folder / "tone.wav", 40)
    (world.folder / "cut.wav").touch()
    (world.folder / "nightdesk.toml").write_text(
        "[capture]\nsource = 'off'\n[sensors]\nsource = 'off'\n[jobs.voices]\n"
        f"command = '{sys.executable} -m nightdesk.cli.main transcribe cut.wav tone.wav --model tiny.pt'\n"
        "env = { OMP_NUM_THREADS = '1' }\n"
    )
    screen = world.screen(120, 40)
    screen.type(TYPED)
    screen.wait_for("voices", "not started yet")
    screen.press("s")
    screen.wait_for("Whisper")
    screen.press("v")
    screen.wait_for("tone.wav", "Nu Nu Nu", "loop: its text shrinks", seconds=120)
    screen.wait_for("1 of 2 done, 1 failed or bad", seconds=120)
    screen.press("a")
    screen.wait_for(" · repeats itself · ")
    screen.press("Tab")
    screen.press("g")
    screen.wait_for("it is empty")
    screen.press("Escape")
    screen.wait_for("1 done, 1 failed o", "voices", "sensors are off")


@pytest.fixture
def sample(world: World) -> Path:
    """A sample desk with eight recordings, the seventh damaged, whose transcribe job needs no model server."""
    make_desk(world.folder, "http://127.0.0.1:9", pause=0.2, items=8)
    config = world.folder / "nightdesk.toml"
    in_order = config.read_text().replace("parallel = 2", "parallel = 1")
    config.write_text(in_order + "[sensors]\nsource = 'off'\n")
    return world.folder


def test_each_key_of_a_transcription_over_the_demos_recordings(world: World, sample: Path) -> None:
    screen = world.screen(120, 40)
    screen.type(f"{TYPED} --set capture.source=off --mode jobs")
    screen.wait_for("One page from all summaries.")
    walk(
        screen,
        Step(("j", "s"), ("transcribe", "/8")),
        Step(("v",), ("Whisper › transcribe", "interview_01.mp3", "sure")),
    )
    screen.wait_for("7 of 8 done, 1 failed or bad", seconds=90)
    walk(
        screen,
        Step(("Tab", "g"), ("▌✓  interview_01.mp3", "0:00 ")),
        Step(("Tab", "g"), ("0:00 to 0:04",)),
        Step(("f",), ("Following the newest text.",)),
        Step(("f",), ("Staying here.",)),
    )
    _goes_from_finding_to_finding(screen)
    walk(
        screen,
        Step(("y",), ("Play command:",)),
        Step(("?",), ("A transcription", "whisper.alarm")),
        Step(("Escape",), ("Whisper › transcribe",), "whisper.alarm"),
        Step(("l",), ("5 Logs", "transcribe_"), "Whisper › transcribe"),
    )


def _goes_from_finding_to_finding(screen: Screen) -> None:
    """In the fifth recording, where one segment is doubtful; no file has raised an alarm."""
    walk(
        screen,
        Step(("Tab", "g", "j", "j", "j", "j"), ("▌✓  interview_05.mp3",)),
        Step(("Tab", "g"), ("0:00 to 0:04",)),
        Step(("n",), (" · not sure · ",)),
    )
    doubtful = _detail(screen)
    walk(screen, Step(("n",), ("No more findings in that direction.",)), Step(("G",), ("0:40 to 0:44",)))
    screen.press("N")
    until(lambda: _detail(screen) == doubtful, "the finding before")
    walk(screen, Step(("a",), ("No alarm was raised.",)))


def _detail(screen: Screen) -> str:
    """The line with all numbers of the segment under the cursor."""
    return next((line for line in screen.text().splitlines() if "log probability" in line), "")

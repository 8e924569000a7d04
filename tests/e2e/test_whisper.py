"""A transcription by openai-whisper in a real terminal: its text is seen as it comes, and the loop alarm."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.support.whisper_library import CHECKPOINT, why_no_whisper, write_tone
from tests.support.world import TYPED, World


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
    screen.press("Tab")
    screen.press("g")
    screen.wait_for("it is empty")
    screen.press("Escape")
    screen.wait_for("1 done, 1 failed o", "voices", "sensors are off")

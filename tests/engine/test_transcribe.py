"""``nightdesk transcribe``: files checked, model loaded once, transcripts at once, resume, a worker that dies."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from nightdesk.core import markers
from nightdesk.workers.whisper_worker import Listener, Teller
from tests.support.whisper_library import (
    CHECKPOINT,
    why_no_whisper,
    write_stand_in,
    write_tone,
)

PATIENCE_S = 300


class Place:
    """A folder with recordings, and a library that is found first."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {**_plain_environment(), **write_stand_in(folder)}

    def record(self, *names: str) -> None:
        """Recordings that the stand-in of ffmpeg can decode."""
        for name in names:
            (self.folder / name).write_bytes(b"\x01" * 64)

    def run(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Transcribe."""
        return subprocess.run(
            [sys.executable, "-m", "nightdesk.cli.main", "transcribe", *arguments],
            cwd=self.folder,
            env=self.environment | more,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )

    def loads(self) -> int:
        """How often a model was loaded."""
        path = self.folder / "loads"
        return len(path.read_text().splitlines()) if path.exists() else 0


def _plain_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("NIGHTDESK_")}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def events(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_the_model_is_loaded_once_and_each_file_gets_its_transcripts(place: Place) -> None:
    place.record("a.mp3", "b.mp3")
    done = place.run("a.mp3", "b.mp3", "--model", "tiny", "--out", "text")
    assert done.returncode == 0, done.stderr
    assert place.loads() == 1
    assert sorted(path.name for path in (place.folder / "text").iterdir()) == sorted(
        f"{stem}.{kind}" for stem in "ab" for kind in ("json", "srt", "vtt", "txt")
    )
    assert "2 files: 2 to do, 2:20 of audio" in done.stdout
    assert "[2/2] Transcribing b.mp3" in done.stdout
    assert "[01:00.000 --> 01:09.500] words of window 2" in done.stdout
    assert "2 done" in done.stdout.splitlines()[-1]
    assert "must not get between" not in done.stdout


def test_each_bad_file_has_a_sentence_and_the_others_go_on(place: Place) -> None:
    place.record("good.mp3")
    (place.folder / "empty.mp3").touch()
    (place.folder / "text.mp3").write_text("this is text")
    (place.folder / "folder").mkdir()
    (place.folder / "other").mkdir()
    place.record("other/good.mp3")
    done = place.run("none.mp3", "empty.mp3", "text.mp3", "folder", "good.mp3", "other/good.mp3")
    assert done.returncode == 1
    assert "error: none.mp3: there is no such file" in done.stderr
    assert "error: empty.mp3: it is empty" in done.stderr
    assert "error: text.mp3: ffmpeg can't decode it: Invalid data found" in done.stderr
    assert "error: folder: it is a folder" in done.stderr
    assert "error: other/good.mp3: its transcript would have the name of that of good.mp3" in done.stderr
    assert (place.folder / "transcripts" / "good.json").exists()
    assert "1 done, 5 failed or bad" in done.stdout


def test_what_is_done_is_skipped_until_the_audio_changes_or_the_user_asks(place: Place) -> None:
    place.record("a.mp3", "b.mp3")
    assert place.run("*.mp3").returncode == 0
    done = place.run("*.mp3")
    assert done.returncode == 0 and place.loads() == 1
    assert "skipped a.mp3: its transcript is complete and newer" in done.stdout
    later = time.time_ns() + 10**12
    os.utime(place.folder / "a.mp3", ns=(later, later))
    (place.folder / "transcripts" / "b.json").write_text('{"segments": [')
    kinds = {
        each["file"]: each["state"]
        for each in events(place.run("*.mp3", "--json"))
        if each["event"] == "checked"
    }
    assert kinds == {"a.mp3": "waiting", "b.mp3": "waiting"}
    done = place.run("b.mp3", "--again", "--format", "txt")
    assert "1 done" in done.stdout and place.loads() == 3


def test_events_tell_quality_tries_silence_and_the_loop(place: Place) -> None:
    place.record("loop.mp3", "silent.mp3")
    told = events(place.run("loop.mp3", "silent.mp3", "--json"))
    segments = [each for each in told if each["event"] == "segment"]
    assert [each["start_s"] for each in segments] == [0.0, 30.0, 60.0]
    assert segments[0]["compression_ratio"] == 7.5 and segments[0]["fallbacks"] == 1
    assert segments[0]["avg_logprob"] == -0.2 and segments[0]["no_speech_prob"] == 0.01
    quiet = [each for each in told if each["event"] == "silence"]
    assert [(each["start_s"], each["end_s"]) for each in quiet] == [(0.0, 30.0), (30.0, 60.0), (60.0, 70.0)]
    alarms = [(each["kind"], each["file"]) for each in told if each["event"] == "alarm"]
    assert alarms == [("loop", "loop.mp3"), ("gap", "silent.mp3")]
    assert {each["language"] for each in told if each["event"] == "language"} == {"German"}


def test_a_file_that_goes_wrong_or_kills_the_worker_costs_no_other(place: Place) -> None:
    place.record("1_killed.mp3", "2_boom.mp3", "3_good.mp3")
    done = place.run("1_killed.mp3", "2_boom.mp3", "3_good.mp3")
    assert done.returncode == 1
    assert (
        "error: 1_killed.mp3: the worker ended in the middle of it: signal SIGKILL; memory may have run out"
        in done.stderr
    )
    assert "error: 2_boom.mp3: RuntimeError: CUDA out of memory" in done.stderr
    assert (place.folder / "transcripts" / "3_good.json").exists()
    assert not list((place.folder / "transcripts").glob("1_*")), "a transcript is whole or not there"
    assert place.loads() == 2


def test_what_is_missing_is_said_with_the_next_step(place: Place) -> None:
    place.record("a.mp3")
    done = place.run("a.mp3", "--model", "none")
    assert done.returncode == 1 and "The model none can't be loaded: RuntimeError: Model none" in done.stderr
    done = place.run("a.mp3", "--python", "nowhere")
    assert done.returncode == 1 and "There is no Python at nowhere." in done.stderr
    (place.folder / "library" / "whisper" / "__init__.py").write_text("raise ImportError('no torch')")
    done = place.run("a.mp3", "--python", sys.executable)
    assert done.returncode == 1 and "openai-whisper can't be used by" in done.stderr
    (place.folder / "programs" / "ffmpeg").unlink()
    done = place.run("a.mp3", PATH=str(place.folder / "programs"))
    assert done.returncode == 1 and "The command ffmpeg isn't found" in done.stderr


def test_the_python_of_the_configuration_is_used_unless_another_is_named(place: Place) -> None:
    place.record("a.mp3")
    own = place.folder / "venv" / "bin"
    own.mkdir(parents=True)
    (own / "python").write_text(f'#!/bin/sh\ntouch own; exec {sys.executable} "$@"\n')
    (own / "python").chmod(0o755)
    (place.folder / "nightdesk.toml").write_text("[whisper]\npython = 'venv'\n")
    assert place.run("a.mp3", "--python", sys.executable).returncode == 0
    assert not (place.folder / "own").exists()
    assert place.run("a.mp3", "--again").returncode == 0
    assert (place.folder / "own").exists()
    (place.folder / "nightdesk.toml").write_text("[whisper]\npython = 'nowhere'\n")
    done = place.run("a.mp3", "--again")
    assert done.returncode == 1 and "There is no Python at " in done.stderr and "[whisper]" in done.stderr


def test_the_position_moves_within_a_window_and_never_backwards() -> None:
    out = io.StringIO()
    listener = Listener(Teller(out), "a.mp3", 70.0)
    for within in (4.0, 3.0, 9.0, 99.0):
        listener._told_at = 0.0
        listener.reached(within)
    listener.reached(29.0)
    listener.write("[00:00.000 --> 00:28.000]  words\n")
    listener._told_at = 0.0
    listener.reached(5.0)
    told = [json.loads(line) for line in out.getvalue().splitlines()]
    places = [each["position_s"] for each in told if each["event"] == "position"]
    assert places == [4.0, 9.0, 30.0, 33.0]


def test_within_a_run_the_events_are_kept_in_its_folder(place: Place) -> None:
    place.record("a.mp3")
    folder = place.folder / ".nightdesk" / "runs" / "night-1"
    folder.mkdir(parents=True)
    done = place.run("a.mp3", **{markers.DESK: str(place.folder), markers.RUN: "night-1"})
    assert done.returncode == 0
    kept = [json.loads(line)["event"] for line in (folder / "whisper.jsonl").read_text().splitlines()]
    assert kept[:2] == ["batch", "checked"] and kept[-2:] == ["written", "ended"]
    assert kept.count("segment") == 3


@pytest.mark.skipif(why_no_whisper() is not None, reason=why_no_whisper() or "")
def test_openai_whisper_really_transcribes_and_its_babble_raises_the_loop_alarm(tmp_path: Path) -> None:
    write_tone(tmp_path / "tone.wav", 40)
    quick = {"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    environment = _plain_environment() | quick
    model = tmp_path / "tiny.pt"
    subprocess.run(
        [sys.executable, "-c", CHECKPOINT, str(model)], env=environment, check=True, timeout=PATIENCE_S
    )
    command = ["transcribe", "tone.wav", "--model", str(model), "--out", "text", "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "nightdesk.cli.main", *command],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = events(done)
    segments = [each for each in told if each["event"] == "segment"]
    assert len(segments) >= 2, "one for each window of 30 s"
    assert all(each["compression_ratio"] > 2.4 and each["fallbacks"] == 5 for each in segments)
    assert [each["kind"] for each in told if each["event"] == "alarm"] == ["loop"]
    assert json.loads((tmp_path / "text" / "tone.json").read_text())["segments"]
    assert (tmp_path / "text" / "tone.vtt").read_text().startswith("WEBVTT")
    places = [each["position_s"] for each in told if each["event"] == "position"]
    assert places and places == sorted(places) and places[-1] <= 40, "told within the windows"
    names = [each["event"] for each in told]
    assert names.index("segment") < names.index("written"), "text is told before the file is done"

"""A recording as a source: its samples come as if they were taken now, over and over, with nothing of this machine."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from nightdesk.engine.sensors.choice import choose
from nightdesk.engine.sensors.playback import check_recording, samples_of
from nightdesk.model.errors import NightdeskError, UsageError
from nightdesk.model.sample import SampleTaken, SensorLine, SensorStatus, sensor_decoder
from tests.support.recordings import lines_of, macmon, smi

NS = 10**9


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Three samples, a tenth of a second apart."""
    lines = [
        {**macmon(share), "timestamp": f"2026-03-14T22:30:00.{tenth}+00:00"}
        for tenth, share in ((1, 0.1), (2, 0.5), (3, 0.9))
    ]
    path = tmp_path / "night.jsonl"
    path.write_bytes(lines_of(lines))
    return path


def played(*arguments: str) -> Iterator[SensorLine]:
    """What the sensor process prints, until its standard input is closed."""
    argv = [sys.executable, "-m", "nightdesk.engine.sensors", "--source", "file", *arguments]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin and child.stdout
        try:
            for line in child.stdout:
                yield sensor_decoder.decode(line)
        finally:
            child.stdin.close()
            assert child.wait(30) == 0, "it ends with its standard input"


def test_a_recording_plays_again_and_again_as_if_it_were_live(recording: Path) -> None:
    before_ns = time.time_ns()
    samples = []
    for said in played("--file", str(recording)):
        if isinstance(said, SampleTaken):
            samples.append(said.sample)
        if len(samples) == 5:
            break
    shares = [sample.devices[0].active_ratio for sample in samples]
    assert shares == [0.1, 0.5, 0.9, 0.1, 0.5]
    assert all(before_ns <= sample.at_ns <= time.time_ns() for sample in samples)
    assert [sample.at_ns for sample in samples] == sorted(sample.at_ns for sample in samples)
    assert {sample.source for sample in samples} == {"recording of macmon"}
    assert {sample.memory_total_bytes for sample in samples} == {64 * 10**9}, "not of this machine"
    assert all(sample.cpu is not None and len(sample.cpu.tiers) == 2 for sample in samples)


def test_a_recording_that_is_gone_or_none_is_told_and_the_process_waits(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing")
    for name, words in (("gone.plist", "can't be read"), ("notes.txt", "not a recording")):
        said = next(played("--file", str(tmp_path / name)))
        assert isinstance(said, SensorStatus) and said.state == "failed" and words in (said.message or "")


def test_a_source_without_its_file_says_what_is_missing() -> None:
    argv = [sys.executable, "-m", "nightdesk.engine.sensors", "--source", "file"]
    done = subprocess.run(argv, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60)
    assert done.returncode == 1 and 'file = "…" under [sensors]' in done.stderr
    with pytest.raises(UsageError, match="no sensor source named 'file'"):
        choose("file", 1000)


def test_a_recording_is_checked_before_it_is_shown(tmp_path: Path) -> None:
    good, cut = tmp_path / "good.xml", tmp_path / "cut.xml"
    good.write_bytes(smi([{"uuid": "a"}]))
    cut.write_bytes(smi([{"uuid": "a"}])[:-30])
    check_recording(good)
    assert len(list(samples_of(good))) == 1
    with pytest.raises(NightdeskError, match="no complete sample"):
        check_recording(cut)

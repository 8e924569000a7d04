"""The machine's own counters, the choice of sources, and the verb ``nightdesk sensors``."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from selectors import EVENT_READ, SelectSelector
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from nightdesk.cli.sensors import sensors
from nightdesk.engine.sensors.choice import choose
from nightdesk.engine.sensors.host import LinuxHost, PsutilHost
from nightdesk.engine.sensors.loop import SensorLoop
from nightdesk.model.errors import NightdeskError, UsageError
from nightdesk.model.sample import Sample, SampleTaken, SensorLine, SensorStatus
from tests.support.recordings import Chip, macmon, plist, smi

RECORDINGS = Path(__file__).parents[2].parent / "shared" / "fixtures" / "accelerators"
needs_recordings = pytest.mark.skipif(
    not RECORDINGS.is_dir(), reason="the recordings are not beside the repository"
)
needs_proc = pytest.mark.skipif(not Path("/proc/stat").exists(), reason="this system has no /proc")


def proc(folder: Path, stat: str, meminfo: str = "") -> LinuxHost:
    (folder / "stat").write_text(stat)
    (folder / "meminfo").write_text(meminfo)
    return LinuxHost(str(folder))


def test_busy_time_is_the_share_since_the_reading_before(tmp_path: Path) -> None:
    host = proc(tmp_path, "cpu  100 0 100 800 0 0 0 0 0 0\n")
    assert host.read().cpu_ratio is None
    # 30 busy (user, nice, system, irq, softirq), 60 idle, 10 waiting for disks, 20 taken by other machines
    (tmp_path / "stat").write_text("cpu  110 5 105 860 10 5 5 20 7 0\ncpu0 1 2 3\n")
    assert host.read().cpu_ratio == pytest.approx(30 / 120)
    assert host.read().cpu_ratio is None  # nothing has passed: unknown, not 0


def test_memory_in_use_is_what_is_not_available(tmp_path: Path) -> None:
    meminfo = "MemTotal: 1000 kB\nMemFree: 1 kB\nMemAvailable: 400 kB\nSwapTotal: 50 kB\nSwapFree: 20 kB\n"
    reading = proc(tmp_path, "", meminfo).read()
    assert (reading.memory_used_bytes, reading.memory_total_bytes) == (600 * 1024, 1000 * 1024)
    assert reading.swap_used_bytes == 30 * 1024


def test_a_system_that_tells_nothing_gives_unknown_values(tmp_path: Path) -> None:
    reading = LinuxHost(str(tmp_path / "nothing")).read()
    assert reading.cpu_ratio is reading.memory_used_bytes is reading.memory_total_bytes is None


@needs_proc
def test_both_ways_to_read_this_machine_agree_on_its_size() -> None:
    ours, theirs = LinuxHost().read(), PsutilHost().read()
    assert ours.memory_total_bytes == theirs.memory_total_bytes
    assert ours.cores == theirs.cores


def run(source: str, samples: int, interval_ms: int = 100) -> list[SensorLine]:
    lines: list[SensorLine] = []

    def emit(line: SensorLine) -> None:
        lines.append(line)
        if sum(isinstance(one, SampleTaken) for one in lines) >= samples:
            loop.stop()

    choice = choose(source, interval_ms, "linux")
    loop = SensorLoop(
        LinuxHost(), emit, interval_ms=interval_ms, polled=choice.polled, no_devices=choice.no_devices
    )
    loop.run()
    return lines


@needs_proc
def test_a_machine_without_a_card_gives_host_samples_with_the_reason() -> None:
    lines = run("auto", 3)
    states = [one for one in lines if isinstance(one, SensorStatus)]
    sample = lines[-1].sample if isinstance(lines[-1], SampleTaken) else None
    assert len(states) == 1
    assert sample is not None
    if sample.devices:
        pytest.skip("this machine has a card")
    assert sample.source == "host"
    assert sample.unknown["devices"].startswith("No GPU was found. ")
    assert "/sys/class/drm" in sample.unknown["devices"]
    assert states[0].message == sample.unknown["devices"]
    assert sample.cpu is not None
    assert sample.memory_total_bytes
    assert "cpu.power_w" in sample.unknown


@needs_proc
def test_the_host_source_asks_for_no_card() -> None:
    lines = run("host", 1)
    assert isinstance(lines[-1], SampleTaken)
    assert 'source is "host"' in lines[-1].sample.unknown["devices"]


def test_a_source_that_does_not_exist_is_refused() -> None:
    with pytest.raises(UsageError, match="no sensor source named 'gpu'"):
        choose("gpu", 1000)


def test_the_sensor_process_imports_nothing_heavy() -> None:
    code = (
        "import sys, nightdesk.engine.sensors.__main__ as m; m.choose('auto', 1000, 'linux'); m.open_host(); "
        "print([x for x in ('asyncio', 'psutil', 'subprocess', 'plistlib', 'textual', 'httpx') if x in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    expected = "[]" if sys.platform == "linux" else "['psutil']"
    assert answer.stdout.strip() == expected


# nightdesk sensors


@needs_proc
def test_one_live_sample_is_printed_as_json() -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "nightdesk.cli.main", "sensors", "--once", "--json", "--source", "host"],
        capture_output=True,
        check=True,
        timeout=30,
    )
    sample = msgspec.json.decode(answer.stdout, type=Sample)
    assert sample.source == "host"
    assert sample.memory_total_bytes
    assert answer.stderr == b""


@needs_recordings
@pytest.mark.parametrize(
    ("name", "source", "count"),
    [
        ("m1_macos13.3_pumas/powermetrics-output-m1.xml", "powermetrics", 1),
        ("m4pro_macos15.5_battery_stream/battery_multiple_samples.xml", "powermetrics", 3),
        ("m1_macos12.5_text/mock_powermetrics_log.txt", "powermetrics", 10),
        ("macmon_json/beszel_0.6_line.jsonl", "macmon", 1),
        ("nvidia_smi_xml/tesla-t4.xml", "nvidia-smi", 1),
        ("amd_rocm_smi_json/mi100_rocm602.json", "rocm-smi", 1),
    ],
)
def test_recordings_of_each_kind_are_recognised(name: str, source: str, count: int) -> None:
    answer = CliRunner().invoke(
        sensors, ["--json", "--replay", str(RECORDINGS / name)], catch_exceptions=False
    )
    samples = [msgspec.json.decode(line) for line in answer.stdout.splitlines()]
    assert [one["source"] for one in samples] == [source] * count
    # A report without a time of its own says so; it is not given the beginning of the epoch.
    assert all(("at_ns" in one) != ("at_ns" in one.get("unknown", {})) for one in samples)
    people = CliRunner().invoke(
        sensors, ["--once", "--replay", str(RECORDINGS / name)], catch_exceptions=False
    )
    assert len(people.stdout.splitlines()) == 1


class Piped:
    """``nightdesk sensors --replay -`` at the end of a pipe that stays open."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "nightdesk.cli.main", "sensors", "--json", "--replay", "-"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def write(self, data: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def line(self) -> dict[str, Any]:
        """The next sample, however long a loaded machine takes for it."""
        assert self.process.stdout is not None
        with SelectSelector() as selector:
            selector.register(self.process.stdout, EVENT_READ)
            assert selector.select(60), "no sample came while the pipe was open"
        found = json.loads(self.process.stdout.readline())
        assert isinstance(found, dict)
        return found


@pytest.mark.parametrize("kind", ["macmon", "plist", "xml"])
def test_a_live_pipe_gives_each_sample_as_it_comes_and_not_at_its_end(kind: str) -> None:
    documents = {
        "macmon": [json.dumps(macmon(share), indent=2).encode() + b"\n" for share in (0.25, 0.75)],
        "plist": [plist(Chip((), gpu_busy=share)) for share in (0.25, 0.75)],
        "xml": [smi([{"utilization/gpu_util": f"{share} %"}]) for share in (25, 75)],
    }[kind]
    piped = Piped()
    with piped.process:
        try:
            piped.write(documents[0][:40])
            for rest, share in ((documents[0][40:], 0.25), (documents[1], 0.75)):
                piped.write(rest)
                gpu = next(one for one in piped.line()["devices"] if one["kind"] == "gpu")
                assert gpu["active_ratio"] == pytest.approx(share)
        finally:
            assert piped.process.stdin is not None
            piped.process.stdin.close()
            assert piped.process.wait(60) == 0


def test_another_file_is_refused_with_the_list_of_supported_kinds(tmp_path: Path) -> None:
    (tmp_path / "notes.csv").write_text("item, words\n0, 3\n")
    with pytest.raises(NightdeskError, match="not a recording") as caught:
        CliRunner().invoke(sensors, ["--replay", str(tmp_path / "notes.csv")], catch_exceptions=False)
    assert "powermetrics (plist or text), asitop's file, macmon pipe" in caught.value.hint


def test_a_recording_cut_in_its_only_document_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "cut.plist").write_text("<?xml version='1.0'?><plist><dict>")
    with pytest.raises(NightdeskError, match="no complete sample"):
        CliRunner().invoke(sensors, ["--replay", str(tmp_path / "cut.plist")], catch_exceptions=False)


def test_escapes_in_a_recording_do_not_reach_the_terminal(tmp_path: Path) -> None:
    line = '{"gpu_power": 1.0, "soc": {"chip_name": "M\\u001b[2J1"}}\n'
    (tmp_path / "hostile.json").write_text(line)
    answer = CliRunner().invoke(sensors, ["--replay", str(tmp_path / "hostile.json")], catch_exceptions=False)
    assert "\x1b" not in answer.stdout
    assert "GPU" in answer.stdout

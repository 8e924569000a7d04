"""Lines of macmon, of all versions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from nightdesk.core.sensors.macmon import MacmonReader
from nightdesk.model.sample import Device, Sample

RECORDINGS = Path(__file__).parents[2].parent / "shared" / "fixtures" / "accelerators"


def read(*roots: dict[str, Any]) -> list[Sample]:
    return MacmonReader().feed(b"".join(json.dumps(root).encode() + b"\n" for root in roots))


def device(sample: Sample, kind: str) -> Device:
    return next(one for one in sample.devices if one.kind == kind)


@pytest.mark.skipif(not RECORDINGS.is_dir(), reason="the recordings are not beside the repository")
def test_a_recorded_line_of_0_6_gives_scaled_ratios_as_what_they_are() -> None:
    reader = MacmonReader()
    data = (RECORDINGS / "macmon_json/beszel_0.6_line.jsonl").read_bytes()
    (sample,) = [*reader.feed(data), *reader.end()]
    assert sample.at_ns == 1_771_356_867_942_556_000
    gpu = device(sample, "gpu")
    assert gpu.scaled_ratio == pytest.approx(0.013633215799927711)
    assert gpu.active_ratio is None
    assert "scaled_ratio" in gpu.unknown["active_ratio"]
    assert gpu.freq_hz == 503e6
    assert gpu.temperature_c == pytest.approx(29.445, abs=0.001)
    assert sample.cpu is not None
    assert sample.cpu.ratio is None
    assert [tier.scaled_ratio for tier in sample.cpu.tiers] == [0.1726151406764984, 0.11792058497667313]
    assert sample.cpu.power_w == pytest.approx(0.6359732151)
    assert sample.package_power_w == pytest.approx(0.6468324661)
    assert (sample.memory_used_bytes, sample.memory_total_bytes) == (12_322_914_304, 17_179_869_184)
    assert "cpu.tiers.cores" in sample.unknown


NEW = {
    "gpu_active_ratio": 0.692,
    "gpu_scaled_ratio": 0.207,
    "gpu_usage": [388, 0.1],
    "gpu_freq_mhz": 388,
    "gpu_power": 3.0,
    "cpu_power": 4.0,
    "ane_power": 0.8,
    "all_power": 7.8,
    "ecpu_active_ratio": 0.5,
    "ecpu_cores": [{"active_ratio": 0.4}, {"active_ratio": 0.6}],
    "pcpu_active_ratio": 0.1,
    "pcpu_cores": [{"active_ratio": 0.1}] * 6,
    "temp": {"gpu_temp_avg": 0.0},
    "soc": {
        "chip_name": "Apple M5 Pro",
        "ecpu_label": "P",
        "pcpu_label": "S",
        "ecpu_cores": 2,
        "pcpu_cores": 6,
    },
}


def test_a_line_of_0_8_keeps_active_and_scaled_apart_and_shows_the_systems_own_tier_names() -> None:
    (sample,) = read(NEW)
    gpu = device(sample, "gpu")
    assert (gpu.active_ratio, gpu.scaled_ratio, gpu.name) == (0.692, 0.207, "Apple M5 Pro GPU")
    assert gpu.temperature_c is None  # 0 means that no sensor answered
    assert sample.cpu is not None
    assert [(tier.name, tier.ratio, tier.cores) for tier in sample.cpu.tiers] == [
        ("P", 0.5, 2),
        ("S", 0.1, 6),
    ]
    assert sample.cpu.ratio == pytest.approx((0.4 + 0.6 + 6 * 0.1) / 8)
    assert device(sample, "ane").active_ratio == pytest.approx(0.1)


def test_the_first_name_of_the_scaled_ratio_is_understood() -> None:
    (sample,) = read({"gpu_power": 1.0, "gpu_usage_ratio": 1.0001})
    assert device(sample, "gpu").scaled_ratio == 1.0


def test_hidden_counters_are_unknown() -> None:
    (sample,) = read({**NEW, "cpu_power": 0.0, "ane_power": 0.0, "all_power": 3.0})
    assert sample.cpu is not None
    assert sample.cpu.power_w is None
    assert "macOS 27" in sample.unknown["cpu.power_w"]
    assert device(sample, "gpu").power_w == 3.0


def test_the_length_of_a_sample_is_the_time_since_the_line_before() -> None:
    reader = MacmonReader(interval_ns=500)
    line = json.dumps(NEW).encode() + b"\n"
    assert [one.elapsed_ns for at in (1000, 1700) for one in reader.feed(line, at)] == [500, 700]


def test_objects_that_are_no_measurements_are_counted_and_other_lines_are_passed_over() -> None:
    reader = MacmonReader()
    assert reader.feed(b'Error: no sensors\n[1]\n{"other": 1}\n' + b"[" * 5000 + b"\n") == []
    assert reader.dropped == 1


@pytest.mark.parametrize("indent", [None, 1, 4])
def test_an_object_laid_out_for_people_and_an_array_are_read_like_lines(indent: int | None) -> None:
    wanted = read(NEW)
    for text in (json.dumps(NEW, indent=indent), json.dumps([NEW], indent=indent)):
        assert MacmonReader().feed(text.encode()) == wanted


def test_the_mean_over_all_cores_is_taken_from_macmon_where_it_tells_no_single_core() -> None:
    few = {key: value for key, value in NEW.items() if key not in ("ecpu_cores", "pcpu_cores", "soc")}
    (sample,) = read({**few, "cpu_active_ratio": 0.2})
    assert sample.cpu is not None
    assert sample.cpu.ratio == 0.2
    assert [(tier.name, tier.ratio) for tier in sample.cpu.tiers] == [("E", 0.5), ("P", 0.1)]
    (sample,) = read({**few, "ecpu_core_active_ratios": [0.4, 0.6], "pcpu_core_active_ratios": [0.1, 0.3]})
    assert sample.cpu is not None
    assert sample.cpu.ratio == pytest.approx(0.35)
    assert [tier.cores for tier in sample.cpu.tiers] == [2, 2]

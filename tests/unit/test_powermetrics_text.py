"""Text recordings of powermetrics, in the wording of each system since macOS 11."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from nightdesk.core.sensors.powermetrics_text import PowermetricsTextReader
from nightdesk.model.sample import Device, Sample

RECORDINGS = Path(__file__).parents[2].parent / "shared" / "fixtures" / "accelerators"
needs_recordings = pytest.mark.skipif(
    not RECORDINGS.is_dir(), reason="the recordings are not beside the repository"
)


def read(text: bytes) -> list[Sample]:
    reader = PowermetricsTextReader()
    return [*reader.feed(text), *reader.end()]


def device(sample: Sample, kind: str) -> Device:
    return next(one for one in sample.devices if one.kind == kind)


@needs_recordings
def test_a_recording_of_macos_11_gives_all_its_samples() -> None:
    text = (RECORDINGS / "m1_macos11.2_text/GB5-Compute-Metal.txt").read_bytes()
    samples = read(text)
    assert len(samples) == 164
    first = samples[0]
    assert first.at_ns == 1_614_500_224 * 10**9  # 2021-02-28 00:17:04 -0800
    assert first.elapsed_ns == 1_005_030_000
    assert first.cpu is not None
    # idle residency of the cores: 95.62 97.71 95.71 98.77 and 98.33 99.97 100 100
    assert first.cpu.ratio == pytest.approx(1 - (0.9562 + 0.9771 + 0.9571 + 0.9877 + 0.9833 + 0.9997 + 2) / 8)
    assert [(tier.name, tier.cores, tier.freq_hz) for tier in first.cpu.tiers] == [
        ("E-Cluster", 4, 1025e6),
        ("P-Cluster", 4, 634e6),
    ]
    assert first.cpu.power_w == 0.023  # "Clusters Total Power"
    assert first.package_power_w == 0.048
    gpu = device(first, "gpu")
    assert (gpu.power_w, gpu.freq_hz) == (0.001, 709e6)
    assert gpu.active_ratio == pytest.approx(0.0054)
    powers = [float(mw) / 1000 for mw in re.findall(rb"^Package Power: (\d+) mW", text, re.MULTILINE)]
    assert [one.package_power_w for one in samples] == powers[:-1]  # the last block sums up the whole run


@needs_recordings
def test_a_recording_of_macos_12_without_a_gpu_section_still_has_the_gpus_power() -> None:
    samples = read((RECORDINGS / "m1_macos12.5_text/mock_powermetrics_log.txt").read_bytes())
    assert len(samples) == 10
    assert samples[0].cpu is not None
    assert samples[0].cpu.power_w == 0.947
    gpu = device(samples[0], "gpu")
    assert (gpu.power_w, gpu.active_ratio) == (0.153, None)
    assert "active_ratio" in gpu.unknown


@needs_recordings
def test_a_recording_of_an_m4_max_counts_powered_down_cores_as_idle() -> None:
    (sample,) = read((RECORDINGS / "m4max_macos15.5_text/powermetrics_sample.log").read_bytes())
    assert sample.cpu is not None
    e_tier, p0, p1 = sample.cpu.tiers
    assert e_tier.ratio == pytest.approx((0.5511 + 0.5011 + 0.5407 + 0.4661) / 4)  # the cluster says 100 %
    assert p0.ratio == pytest.approx((0.0003 + 0.0001 + 0 + 0 + 0.0018) / 5, abs=1e-4)
    assert (p0.cores, p1.cores) == (5, 5)
    assert sample.package_power_w == 0.983


@needs_recordings
@pytest.mark.parametrize(
    ("name", "watts"),
    [
        ("m1max_macos13.6_text/sonoma-m1max.txt", 0.359),
        ("m3ultra_macos26.3_text_edited/powermetrics_sample.txt", 12.0),
    ],
)
def test_recordings_of_other_chips_are_read(name: str, watts: float) -> None:
    (sample,) = read((RECORDINGS / name).read_bytes())
    assert sample.package_power_w == watts
    assert sample.cpu is not None
    assert sample.cpu.ratio


HEADING = "*** {} system activity (Fri Nov 10 12:37:08 2023 +0530) (104.51ms elapsed) ***\n"
POWER = "**** Processor usage ****\nCPU Power: {} mW\n"


def test_summaries_and_stray_warnings_are_no_samples() -> None:
    text = HEADING.format("Lifetime") + POWER.format(9) + "Second underflow occured.\n"
    text += HEADING.format("Sampled") + POWER.format(1) + HEADING.format("Summary") + POWER.format(9)
    (sample,) = read(text.encode())
    assert sample.cpu is not None
    assert sample.cpu.power_w == 0.001
    assert sample.at_ns == 1_699_600_028 * 10**9
    assert sample.elapsed_ns == 104_510_000


def test_a_task_with_a_telling_name_changes_nothing() -> None:
    text = HEADING.format("Sampled") + "*** Running tasks ***\nCPU Power: 99 mW\n" + POWER.format(5)
    (sample,) = read(text.encode())
    assert sample.cpu is not None
    assert sample.cpu.power_w == 0.005


def test_the_thermal_pressure_is_read() -> None:
    text = HEADING.format("Sampled") + "**** Thermal pressure ****\n\nCurrent pressure level: Heavy\n"
    (sample,) = read(text.encode())
    assert sample.thermal == "Heavy"


def test_an_impossible_date_is_counted_and_skipped() -> None:
    reader = PowermetricsTextReader()
    reader.feed(HEADING.format("Sampled").replace("Nov 10", "Nov 31").encode())
    assert reader.end() == []
    assert reader.dropped == 1


def test_an_excerpt_with_the_active_share_of_its_cores_alone_is_read() -> None:
    text = (
        "**** Processor usage ****\n\nEfficiency-Cluster Online: 0-1\n"
        "Efficiency-Cluster HW active frequency: 972 MHz\nCPU 0 active residency:  20.5% (600 MHz: 1%)\n"
        "CPU 1 active residency:  .50% (600 MHz: 1%)\nCPU Power: 40 mW\n"
    )
    reader = PowermetricsTextReader()
    (sample,) = [*reader.feed(text.encode()), *reader.end()]
    assert sample.cpu is not None
    (tier,) = sample.cpu.tiers
    assert (tier.name, tier.cores, tier.freq_hz) == ("Efficiency-Cluster", 2, 972e6)
    assert tier.ratio == pytest.approx(0.105)

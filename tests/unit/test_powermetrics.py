"""Documents of powermetrics become samples with the right numbers, or with the reason why there is none."""

from __future__ import annotations

import plistlib
from pathlib import Path
from typing import Any

import pytest

from nightdesk.core.sensors.powermetrics import MAX_DOCUMENT_BYTES, PowermetricsReader, sample_of_document
from nightdesk.model.sample import Device, Sample

RECORDINGS = Path(__file__).parents[2].parent / "shared" / "fixtures" / "accelerators"
needs_recordings = pytest.mark.skipif(
    not RECORDINGS.is_dir(), reason="the recordings are not beside the repository"
)


def read(name: str) -> list[Sample]:
    reader = PowermetricsReader()
    samples = reader.feed((RECORDINGS / name).read_bytes())
    assert reader.dropped == reader.oversized == 0
    return samples


def device(sample: Sample, kind: str) -> Device:
    return next(one for one in sample.devices if one.kind == kind)


def document(**changes: Any) -> bytes:
    """A small document of a Mac with two efficient and two fast cores."""
    root: dict[str, Any] = {
        "is_delta": True,
        "elapsed_ns": 2_000_000_000,
        "processor": {
            "clusters": [
                {
                    "name": "E-Cluster",
                    "freq_hz": 1.0e9,
                    "idle_ratio": 0.0,
                    "cpus": [core(0, 0.5), core(1, 0.7)],
                },
                {
                    "name": "P-Cluster",
                    "freq_hz": 3.0e9,
                    "idle_ratio": 0.0,
                    "cpus": [core(2, 0.1, 0.9), core(3, 1.0)],
                },
            ],
            "cpu_power": 1500.0,
            "gpu_power": 500.0,
            "ane_power": 400.0,
            "combined_power": 2400.0,
        },
        "gpu": {"freq_hz": 444.5, "idle_ratio": 0.25, "gpu_energy": 900},
        "thermal_pressure": "Moderate",
    }
    root.update(changes)
    return plistlib.dumps({key: value for key, value in root.items() if value is not None})


def core(number: int, idle: float, down: float | None = None) -> dict[str, Any]:
    return {"cpu": number, "idle_ratio": idle, "freq_hz": 1e9} | (
        {} if down is None else {"down_ratio": down}
    )


def sample_of(**changes: Any) -> Sample:
    sample = sample_of_document(document(**changes), 7)
    assert sample is not None
    return sample


# Recorded documents. The expected numbers were worked out by hand from the files.


@needs_recordings
def test_a_recorded_m1_gives_the_mean_of_its_cores_not_the_ratio_of_its_clusters() -> None:
    (sample,) = read("m1_macos13.3_pumas/powermetrics-output-m1.xml")
    assert sample.elapsed_ns == 2_019_178_750
    assert sample.at_ns == 1_680_355_116 * 10**9  # 2023-04-01 13:18:36 UTC
    assert sample.cpu is not None
    # E-cores idle 0.907821 0.907626 0.906645 0.946967; the cluster itself says 0.772993, which would be 23 %.
    e_tier, p_tier = sample.cpu.tiers
    assert (e_tier.name, e_tier.cores) == ("E-Cluster", 4)
    assert e_tier.ratio == pytest.approx(0.08273525, abs=1e-9)
    assert e_tier.freq_hz == 1_022_870_000.0
    # P-cores idle 0.988368 0.989273 0.99688 0.995261
    assert p_tier.ratio == pytest.approx(0.0075545, abs=1e-9)
    assert sample.cpu.ratio == pytest.approx((0.08273525 + 0.0075545) / 2)
    assert sample.cpu.power_w == pytest.approx(0.0440773)
    assert sample.package_power_w == pytest.approx(0.0594301)
    assert sample.thermal == "Nominal"
    gpu, ane = device(sample, "gpu"), device(sample, "ane")
    assert gpu.active_ratio == pytest.approx(1 - 0.983341)
    assert gpu.freq_hz == pytest.approx(714.836e6)
    assert gpu.power_w == pytest.approx(0.0153528)
    assert (ane.power_w, ane.active_ratio, ane.estimated) == (0.0, 0.0, ("active_ratio",))


@needs_recordings
def test_a_recorded_m4_max_counts_powered_down_cores_as_idle() -> None:
    (sample,) = read("m4max_macos26.2_tasks/powermetrics-sample.plist")
    assert sample.cpu is not None
    assert [tier.name for tier in sample.cpu.tiers] == ["E-Cluster", "P0-Cluster", "P1-Cluster"]
    assert [tier.cores for tier in sample.cpu.tiers] == [4, 6, 6]
    ratios = [tier.ratio or 0.0 for tier in sample.cpu.tiers]
    assert ratios[1] == pytest.approx(0.134, abs=0.0005)  # the cluster itself says 0.728
    assert ratios[2] < 1e-6  # 99.7 % down: without that share it would look 99.7 % busy
    assert sample.cpu.ratio == pytest.approx((4 * ratios[0] + 6 * ratios[1] + 6 * ratios[2]) / 16)
    assert sample.cpu.power_w == pytest.approx(2.97845)
    assert sample.package_power_w == pytest.approx(3.24807)
    gpu = device(sample, "gpu")
    assert gpu.power_w == pytest.approx(0.269614)
    assert gpu.active_ratio == pytest.approx(1 - 0.877343)
    assert gpu.freq_hz == pytest.approx(338e6)


@needs_recordings
def test_a_recorded_run_with_the_gpu_sampler_alone_takes_power_from_energy_over_true_time() -> None:
    (sample,) = read("m4pro_macos15.5_gpu_only/gpu_power.xml")
    gpu = device(sample, "gpu")
    assert gpu.power_w == pytest.approx(0.009 / 5.005449083)
    assert gpu.active_ratio == pytest.approx(1 - 0.995324)  # the key stands there twice
    assert sample.cpu is None
    assert "cpu_power" in sample.unknown["cpu"]
    assert "thermal" in sample.unknown
    assert [one.kind for one in sample.devices] == ["gpu"]


@needs_recordings
def test_a_recorded_m3_max_is_not_fooled_by_a_cluster_that_is_stuck_at_100_percent() -> None:
    (sample,) = read("m3max_macos15_partial/first_document_ecluster_only.plist")
    assert sample.cpu is not None
    # The cluster says idle 0 and down 0; its four cores idle 0.883375 0.878738 0.928071 0.961851.
    assert sample.cpu.ratio == pytest.approx(1 - (0.883375 + 0.878738 + 0.928071 + 0.961851) / 4)
    assert sample.cpu.power_w is None
    assert "cpu.power_w" in sample.unknown
    assert "power_w" in device(sample, "ane").unknown


@needs_recordings
def test_a_recorded_stream_with_nul_bytes_gives_each_document_even_without_any_accelerator() -> None:
    samples = read("m4pro_macos15.5_battery_stream/battery_multiple_samples.xml")
    assert [one.elapsed_ns for one in samples] == [1_002_093_500, 1_004_160_750, 1_001_210_833]
    assert all(one.devices == () and "devices" in one.unknown for one in samples)


@needs_recordings
def test_a_recorded_stream_cut_in_its_document_waits_for_the_rest() -> None:
    reader = PowermetricsReader()
    data = (RECORDINGS / "m3max_macos15_partial/stream_cut_in_document.plist.part").read_bytes()
    assert reader.feed(data) == []
    assert reader.buffered > 6000
    assert reader.end() == []
    assert reader.dropped == 1


# Synthetic documents, in the same format.


def test_power_in_milliwatts_is_not_divided_by_the_length_of_the_sample() -> None:
    sample = sample_of()
    assert sample.at_ns == 7
    assert sample.cpu is not None
    assert sample.cpu.power_w == 1.5
    assert device(sample, "gpu").power_w == 0.5
    assert sample.package_power_w == 2.4


def test_the_cpu_ratio_is_the_mean_over_all_cores() -> None:
    sample = sample_of()
    assert sample.cpu is not None
    assert sample.cpu.ratio == pytest.approx((0.5 + 0.3 + 0.0 + 0.0) / 4)
    assert [tier.ratio for tier in sample.cpu.tiers] == [pytest.approx(0.4), pytest.approx(0.0)]


def test_energy_of_an_old_system_becomes_watts_through_the_true_length() -> None:
    sample = sample_of(
        processor={
            "clusters": [],
            "cpu_energy": 3000,
            "gpu_energy": 50,
            "ane_energy": 0,
            "package_energy": 4000,
        }
    )
    assert sample.cpu is not None
    assert sample.cpu.power_w == 1.5
    assert device(sample, "gpu").power_w == 0.025  # from the processor section, like the others
    assert device(sample, "ane").power_w == 0.0
    assert sample.package_power_w == 2.0


def test_energy_without_a_length_is_unknown_and_not_infinite() -> None:
    sample = sample_of(elapsed_ns=0, processor=None)
    assert device(sample, "gpu").power_w is None
    assert "power_w" in device(sample, "gpu").unknown


@pytest.mark.parametrize(
    "names",
    [
        ("E0-Cluster", "P0-Cluster", "P1-Cluster", "E1-Cluster"),
        ("P0-Cluster", "P1-Cluster", "S-Cluster"),
        ("M0-Cluster", "M1-Cluster", "P-Cluster"),
        ("Zebra", "Ünï-Cluster"),
    ],
)
def test_tiers_keep_whatever_name_and_order_the_system_gives_them(names: tuple[str, ...]) -> None:
    clusters = [{"name": name, "freq_hz": 1e9, "cpus": [core(i, 0.5)]} for i, name in enumerate(names)]
    sample = sample_of(processor={"clusters": clusters, "cpu_power": 1.0})
    assert sample.cpu is not None
    assert tuple(tier.name for tier in sample.cpu.tiers) == names


def test_ane_power_is_measured_and_its_ratio_is_marked_as_an_estimate_that_never_exceeds_one() -> None:
    ane = device(sample_of(), "ane")
    assert ane.power_w == 0.4
    assert ane.active_ratio == pytest.approx(0.05)
    assert ane.estimated == ("active_ratio",)
    hot = sample_of(processor={"clusters": [], "ane_power": 16_000.0})
    assert device(hot, "ane").active_ratio == 1.0
    assert device(hot, "ane").power_w == 16.0


def test_a_cpu_power_of_zero_beside_busy_cores_is_a_hidden_counter() -> None:
    busy = {
        "clusters": [{"name": "P-Cluster", "cpus": [core(0, 0.2)]}],
        "cpu_power": 0.0,
        "ane_power": 0.0,
        "combined_power": 90.0,
    }
    sample = sample_of(processor=busy)
    assert sample.cpu is not None
    assert sample.cpu.power_w is None
    assert "macOS 27" in sample.unknown["cpu.power_w"]
    assert sample.package_power_w is None  # it lacks the CPU
    assert device(sample, "ane").power_w is None
    assert "macOS 27" in device(sample, "ane").unknown["power_w"]
    assert device(sample, "gpu").power_w is not None


def test_a_cpu_power_of_zero_beside_idle_cores_is_zero() -> None:
    idle = {"clusters": [{"name": "P-Cluster", "cpus": [core(0, 1.0)]}], "cpu_power": 0.0}
    sample = sample_of(processor=idle)
    assert sample.cpu is not None
    assert sample.cpu.power_w == 0.0


@pytest.mark.parametrize("word", ["Nominal", "Heavy", "Trapping", "Something new"])
def test_any_thermal_word_passes_as_it_comes(word: str) -> None:
    assert sample_of(thermal_pressure=word).thermal == word


def test_duplicate_keys_are_tolerated() -> None:
    twice = document().replace(
        b"<key>idle_ratio</key>", b"<key>idle_ns</key><integer>1</integer><key>idle_ratio</key>"
    )
    twice = twice.replace(
        b"<key>gpu_energy</key>", b"<key>idle_ns</key><integer>1</integer><key>gpu_energy</key>"
    )
    sample = sample_of_document(twice)
    assert sample is not None
    assert device(sample, "gpu").active_ratio == 0.75


@pytest.mark.parametrize("nonsense", ["busy", True, float("nan"), float("inf"), 10**400, [], {}, None])
def test_values_of_the_wrong_kind_are_unknown(nonsense: Any) -> None:
    text = (
        b"<plist><dict><key>elapsed_ns</key><integer>1000</integer>"
        b"<key>gpu</key><dict><key>idle_ratio</key>%s</dict></dict></plist>"
    )
    forms = {
        "busy": b"<string>busy</string>",
        "None": b"<false/>",
        "True": b"<true/>",
        "[]": b"<array/>",
        "{}": b"<dict/>",
    }
    form = forms.get(str(nonsense)) or (b"<real>%s</real>" % str(nonsense).encode())
    sample = sample_of_document(text % form)
    if sample is not None:
        assert device(sample, "gpu").active_ratio is None
        assert "active_ratio" in device(sample, "gpu").unknown


def test_ratios_are_clamped() -> None:
    sample = sample_of(gpu={"idle_ratio": -0.25, "freq_hz": 0.0})
    assert device(sample, "gpu").active_ratio == 1.0
    assert device(sample, "gpu").freq_hz == 0.0


def test_a_gpu_frequency_that_is_in_hertz_for_once_stays_so() -> None:
    assert device(sample_of(gpu={"freq_hz": 1.398e9}), "gpu").freq_hz == 1.398e9


def test_a_document_is_finished_at_its_end_and_not_at_the_next_nul() -> None:
    reader = PowermetricsReader()
    whole = document()
    assert reader.feed(whole[:-9], 1) == []
    assert len(reader.feed(whole[-9:], 2)) == 1


def test_a_broken_document_is_dropped_and_the_stream_goes_on() -> None:
    reader = PowermetricsReader()
    broken = document().replace(b"</key>", b"</kex>", 1)
    samples = reader.feed(document() + b"\0" + broken + b"\0" + document(), 3)
    assert len(samples) == 2
    assert reader.dropped == 1


def test_a_document_that_lost_its_end_does_not_take_the_next_one_with_it() -> None:
    reader = PowermetricsReader()
    assert len(reader.feed(document()[:500] + b"\0" + document(), 3)) == 1
    assert reader.dropped == 1


def test_a_property_list_that_is_something_else_is_dropped() -> None:
    reader = PowermetricsReader()
    assert reader.feed(plistlib.dumps({"CFBundleName": "x"}) + plistlib.dumps([1]), 3) == []
    assert reader.dropped == 2


def test_an_entity_bomb_is_dropped() -> None:
    bomb = b'<?xml version="1.0"?><!DOCTYPE plist [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>'
    reader = PowermetricsReader()
    assert (
        reader.feed(bomb + b"<plist><dict><key>elapsed_ns</key><string>&b;</string></dict></plist>", 3) == []
    )
    assert reader.dropped == 1


def test_a_stream_that_never_ends_its_document_is_bounded_and_recovers() -> None:
    reader = PowermetricsReader()
    reader.feed(b"<plist>")
    for _ in range(3 * MAX_DOCUMENT_BYTES // 100_000):
        assert reader.feed(b"x" * 100_000) == []
        assert reader.buffered <= MAX_DOCUMENT_BYTES
    assert reader.oversized >= 1
    assert len(reader.feed(b"</plist>\n\0" + document(), 1)) == 1


def test_a_time_beyond_all_reason_is_no_time() -> None:
    far = document().replace(
        b"<key>is_delta</key>", b"<key>timestamp</key><date>9999-01-01T00:00:00Z</date><key>is_delta</key>"
    )
    sample = sample_of_document(far)
    assert sample is not None
    assert sample.at_ns == 0

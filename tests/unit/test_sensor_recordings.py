"""Every recorded file of accelerators: values taken from it by hand, and by another way than the readers'."""

from __future__ import annotations

import plistlib
import re
from pathlib import Path
from typing import Any

import pytest

from nightdesk.core.sensors.recordings import HEAD_BYTES, reader_for
from nightdesk.engine.sensors.amd import AmdSource
from nightdesk.model.sample import Device, Sample

RECORDINGS = Path(__file__).parents[2].parent / "shared" / "fixtures" / "accelerators"
pytestmark = pytest.mark.skipif(
    not RECORDINGS.is_dir(), reason="the recordings of accelerators are not beside the repository"
)
MIB = 1024**2


def read(name: str) -> tuple[list[Sample], int]:
    data = (RECORDINGS / name).read_bytes()
    reader = reader_for(data[:HEAD_BYTES])
    samples = [*reader.feed(data), *reader.end()]
    return samples, reader.dropped


def device(sample: Sample, kind: str) -> Device | None:
    return next((each for each in sample.devices if each.kind == kind), None)


def facts(sample: Sample) -> tuple[float | str | None, ...]:
    gpu, ane = device(sample, "gpu"), device(sample, "ane")
    cpu = sample.cpu
    values = (
        cpu.ratio if cpu else None,
        cpu.power_w if cpu else None,
        gpu.active_ratio if gpu else None,
        gpu.power_w if gpu else None,
        gpu.freq_hz / 1e6 if gpu and gpu.freq_hz is not None else None,
        ane.power_w if ane else None,
        sample.package_power_w,
    )
    return (*(None if value is None else round(value, 4) for value in values), sample.thermal)


# CPU share and W, GPU share, W and MHz, Neural Engine W, package W, thermal word: of the first sample.
APPLE: list[tuple[str, int, tuple[float | str | None, ...]]] = [
    (
        "m1_macos13.3_pumas/powermetrics-output-m1.xml",
        1,
        (0.0451, 0.0441, 0.0167, 0.0154, 714.836, 0.0, 0.0594, "Nominal"),
    ),
    (
        "m4max_macos26.2_tasks/powermetrics-sample.plist",
        1,
        (0.1079, 2.9784, 0.1227, 0.2696, 338.0, 0.0, 3.2481, "Nominal"),
    ),
    (
        "m4pro_macos15.5_gpu_only/gpu_power.xml",
        1,
        (None, None, 0.0047, 0.0018, 338.0, None, None, None),
    ),
    (
        "m3max_macos15_partial/first_document_ecluster_only.plist",
        1,
        (0.087, None, None, None, None, None, None, None),
    ),
    ("m4pro_macos15.5_battery_stream/battery_multiple_samples.xml", 3, (None,) * 8),
    (
        "m1_macos11.2_text/GB5-Compute-Metal.txt",
        164,
        (0.0174, 0.023, 0.0054, 0.001, 709.0, 0.0, 0.048, None),
    ),
    (
        "m1_macos12.5_text/mock_powermetrics_log.txt",
        10,
        (0.1478, 0.947, None, 0.153, None, 0.0, 1.473, None),
    ),
    ("m1max_macos13.6_text/sonoma-m1max.txt", 1, (0.1298, 0.211, None, 0.147, None, 0.0, 0.359, None)),
    (
        "m4max_macos15.5_text/powermetrics_sample.log",
        1,
        (0.2654, 0.954, 0.0163, 0.028, 338.0, 0.0, 0.983, None),
    ),
    (
        "m3ultra_macos26.3_text_edited/powermetrics_sample.txt",
        1,
        (0.174, 4.2, 0.75, 6.8, 1398.0, 0.0, 12.0, None),
    ),
    (
        "macmon_json/beszel_0.6_line.jsonl",
        1,
        (None, 0.636, None, 0.0109, 503.0, 0.0, 0.6468, None),
    ),
]


@pytest.mark.parametrize(("name", "count", "expected"), APPLE, ids=[name for name, _, _ in APPLE])
def test_a_recording_of_an_apple_chip_gives_its_values(
    name: str, count: int, expected: tuple[float | str | None, ...]
) -> None:
    samples, dropped = read(name)
    assert (len(samples), dropped) == (count, 0)
    assert facts(samples[0]) == expected
    assert all(sample.at_ns > 1_600_000_000 * 10**9 and sample.elapsed_ns > 10**8 for sample in samples)


@pytest.mark.parametrize("name", [name for name, _, _ in APPLE if name.endswith((".xml", ".plist"))])
def test_shares_and_watts_of_property_lists_follow_from_their_own_keys(name: str) -> None:
    for text, sample in zip((RECORDINGS / name).read_bytes().split(b"\0"), read(name)[0], strict=True):
        root: dict[str, Any] = plistlib.loads(text.strip(), fmt=plistlib.FMT_XML)
        processor, gpu = root.get("processor", {}), root.get("gpu", {})
        cores = [core for cluster in processor.get("clusters", []) for core in cluster["cpus"]]
        busy = [1 - core["idle_ratio"] - core.get("down_ratio", 0) for core in cores]
        assert (sample.cpu.ratio if sample.cpu else None) == (
            pytest.approx(sum(busy) / len(busy)) if busy else None
        )
        shown = device(sample, "gpu")
        if shown is not None:
            seconds = root["elapsed_ns"] / 1e9
            given = processor.get("gpu_power", gpu["gpu_energy"] / seconds)
            assert shown.active_ratio == pytest.approx(1 - gpu["idle_ratio"])
            assert shown.power_w == pytest.approx(given / 1000)
            # Power and energy tell the same, sampled at slightly different moments.
            assert shown.power_w == pytest.approx(gpu["gpu_energy"] / seconds / 1000, rel=0.35)


TEXTS = [name for name, _, _ in APPLE if name.endswith((".txt", ".log"))]


@pytest.mark.parametrize("name", TEXTS)
def test_shares_and_watts_of_texts_follow_from_their_own_lines(name: str) -> None:
    text = (RECORDINGS / name).read_text(errors="replace")
    # A block about the whole recording may follow the last sample.
    blocks = [part.split("*** Summary", 1)[0] for part in text.split("*** Sampled system activity")[1:]]
    samples, _ = read(name)
    assert len(blocks) == len(samples)
    for block, sample in zip(blocks, samples, strict=True):
        idle = dict(re.findall(r"(?i)^CPU (\d+) idle residency: +([\d.]+)%", block, re.MULTILINE))
        down = dict(re.findall(r"(?i)^CPU (\d+) down residency: +([\d.]+)%", block, re.MULTILINE))
        busy = [1 - (float(value) + float(down.get(core, 0))) / 100 for core, value in idle.items()]
        assert sample.cpu is not None
        assert sample.cpu.ratio == pytest.approx(sum(busy) / len(busy), abs=1e-6)
        found = re.search(r"^(?:CPU|Clusters Total) Power: +(\d+) mW", block, re.MULTILINE)
        assert found is not None
        assert sample.cpu.power_w == pytest.approx(int(found[1]) / 1000)


def test_a_recording_that_is_cut_in_its_only_document_has_no_sample() -> None:
    assert read("m3max_macos15_partial/stream_cut_in_document.plist.part") == ([], 1)


def test_recorded_memory_of_a_mac_is_what_the_line_says() -> None:
    (sample,), _ = read("macmon_json/beszel_0.6_line.jsonl")
    assert (sample.memory_used_bytes, sample.memory_total_bytes) == (12_322_914_304, 17_179_869_184)


NVIDIA = [
    ("nvidia_smi_xml/rtx-3080-v13.xml", "NVIDIA GeForce RTX 3080", 0.65, 142.33, 9184, 10240, 27.0, 1950.0),
    ("nvidia_smi_xml/tesla-t4.xml", "Tesla T4", 0.0, 26.78, 1032, 15360, 40.0, 585.0),
    ("nvidia_smi_xml/a100-sxm4-v12.xml", "NVIDIA A100-SXM4-80GB", None, 67.03, 50, 81920, 27.0, 1275.0),
]


@pytest.mark.parametrize("row", NVIDIA, ids=[row[0] for row in NVIDIA])
def test_a_report_of_nvidia_smi_gives_its_values(row: tuple[Any, ...]) -> None:
    name, product, active, watts, used, total, heat, mhz = row
    (sample,), dropped = read(name)
    (card,) = sample.devices
    assert (card.name, card.active_ratio, card.power_w) == (product, active, watts)
    assert (card.memory_used_bytes, card.memory_total_bytes) == (used * MIB, total * MIB)
    assert (card.temperature_c, card.freq_hz) == (heat, mhz * 1e6)
    assert (dropped, card.throttle) == (0, ())
    assert sample.at_ns > 0


def test_reports_of_nvidia_smi_tell_the_state_the_bus_and_memory_errors() -> None:
    told = {}
    for name in (row[0] for row in NVIDIA):
        (card,) = read(name)[0][0].devices
        told[card.name] = (
            card.performance_state,
            card.max_freq_hz,
            card.pcie_in_bytes_s,
            card.pcie_out_bytes_s,
            card.memory_errors,
        )
    assert told == {
        "NVIDIA GeForce RTX 3080": ("P2", 2100e6, 14_742_333e3, 1_066_699e3, None),
        "Tesla T4": ("P0", 1590e6, 0.0, 0.0, 0),
        "NVIDIA A100-SXM4-80GB": ("P0", 1410e6, 0.0, 4e6, 0),
    }


def test_a_divided_card_has_its_slices_within_it() -> None:
    (sample,), _ = read("nvidia_smi_xml/a100-sxm4-v12.xml")
    (card,) = sample.devices
    assert [(part.memory_used_bytes, part.memory_total_bytes) for part in card.slices] == [
        (12 * MIB, 19968 * MIB)
    ] * 4
    assert "active_ratio" in card.unknown


def test_a_table_of_nvidia_smi_gives_what_was_asked_for() -> None:
    (sample,), dropped = read("nvidia_query_csv/query.txt")
    assert dropped == 0
    assert [(card.name, card.memory_used_bytes, card.fan_ratio) for card in sample.devices] == [
        ("NVIDIA GeForce RTX 2080 SUPER", 575 * MIB, 0.38),
        ("Some Other GPU", 1234 * MIB, 0.5),
    ]
    assert sample.devices[0].power_w is None
    assert "power_w" in sample.devices[0].unknown


def test_reports_of_rocm_smi_give_their_values() -> None:
    (new,), _ = read("amd_rocm_smi_json/rx6700xt_rocm612.json")
    (card,) = new.devices
    assert card.name == "Navi 22 [Radeon RX 6700/6700 XT / 6800M]"
    assert (card.active_ratio, card.power_w, card.power_limit_w, card.temperature_c) == (
        0.0,
        6.0,
        211.0,
        45.0,
    )
    assert (card.memory_used_bytes, card.memory_total_bytes) == (1_572_745_216, 12_868_124_672)
    assert (card.memory_busy_ratio, card.freq_hz) == (0.0, 0.0)
    (old,), _ = read("amd_rocm_smi_json/mi100_rocm602.json")
    assert [(one.power_w, one.temperature_c) for one in old.devices] == [
        (36.0, 53.0),
        (44.0, 55.0),
        (43.0, 54.0),
        (39.0, 51.0),
    ]
    assert {one.freq_hz for one in old.devices} == {300e6}


def test_the_recorded_files_of_an_amd_card_give_their_values() -> None:
    folder = RECORDINGS / "amd_sysfs_procfs/sys/class/drm"
    (card,) = AmdSource(folder).read(0).devices
    files = folder / "card0/device"
    used, total = (int((files / f"mem_info_vram_{word}").read_text()) for word in ("used", "total"))
    assert (card.memory_used_bytes, card.memory_total_bytes, card.shares_memory) == (used, total, False)
    assert card.active_ratio == int((files / "gpu_busy_percent").read_text()) / 100


def test_every_recording_beside_the_repository_is_looked_at_here() -> None:
    looked_at = {name for name, _, _ in APPLE} | {row[0] for row in NVIDIA}
    looked_at |= {
        "m3max_macos15_partial/stream_cut_in_document.plist.part",
        "nvidia_query_csv/query.txt",
        "amd_rocm_smi_json/rx6700xt_rocm612.json",
        "amd_rocm_smi_json/mi100_rocm602.json",
        "PROVENANCE.md",
    }
    there = {str(path.relative_to(RECORDINGS)) for path in RECORDINGS.rglob("*") if path.is_file()}
    assert {name for name in there - looked_at if not name.startswith("amd_sysfs_procfs/")} == set()

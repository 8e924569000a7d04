"""AMD cards from the files of the driver and from reports of rocm-smi."""

from __future__ import annotations

from pathlib import Path

import pytest

from nightdesk.core.sensors.amdgpu import amd_device, rocm_sample
from nightdesk.engine.sensors.amd import AmdSource

RECORDINGS = Path(__file__).parents[2].parent / "shared" / "fixtures" / "accelerators"
needs_recordings = pytest.mark.skipif(
    not RECORDINGS.is_dir(), reason="the recordings are not beside the repository"
)
GIB = 1024**3


@needs_recordings
def test_a_recorded_card_is_found_and_other_makers_and_connectors_are_not() -> None:
    reading = AmdSource(RECORDINGS / "amd_sysfs_procfs/sys/class/drm").read(0)
    (card,) = reading.devices
    assert (card.id, card.name) == ("0000:09:00.0", "AMD GPU 0x687f")
    assert card.active_ratio == 0.04
    assert (card.memory_used_bytes, card.memory_total_bytes) == (1_490_378_752, 8_573_157_376)
    assert card.freq_hz == 852e6  # the level with the star
    assert set(card.unknown) == {"power_w", "temperature_c"}  # the recording has no hwmon folder


def card_folder(root: Path, **files: str) -> Path:
    device = root / "card7" / "device"
    for name, text in {"vendor": "0x1002", **files}.items():
        path = device / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    return device


def test_sensors_of_the_hwmon_folder_come_in_base_units(tmp_path: Path) -> None:
    card_folder(
        tmp_path,
        product_name="Radeon",
        hwmon__hwmon3__power1_average="31250000",
        hwmon__hwmon3__power1_cap="250000000",
        hwmon__hwmon3__temp1_input="47000",
        hwmon__hwmon3__freq1_input="1398000000",
        hwmon__hwmon3__pwm1="51",
        hwmon__hwmon3__pwm1_max="255",
    )
    (card,) = AmdSource(tmp_path).read(0).devices
    assert (card.name, card.power_w, card.power_limit_w) == ("Radeon", 31.25, 250.0)
    assert (card.temperature_c, card.freq_hz, card.fan_ratio) == (47.0, 1398e6, 0.2)
    assert set(card.unknown) == {"active_ratio", "memory_used_bytes", "memory_total_bytes"}


def test_a_sleeping_card_is_not_woken(tmp_path: Path) -> None:
    device = card_folder(tmp_path, power__runtime_status="suspended", mem_info_vram_used="5")
    (device / "gpu_busy_percent").mkdir()  # reading it would fail
    (card,) = AmdSource(tmp_path).read(0).devices
    assert card.active_ratio == 0.0
    assert "sleeps" in card.unknown["memory_used_bytes"]


def test_a_file_that_the_driver_refuses_blanks_its_value(tmp_path: Path) -> None:
    device = card_folder(tmp_path, mem_info_vram_used="5")
    (device / "gpu_busy_percent").mkdir()
    (card,) = AmdSource(tmp_path).read(0).devices
    assert card.active_ratio is None
    assert card.memory_used_bytes == 5


def test_graphics_built_into_the_processor_count_the_systems_memory_too() -> None:
    built_in = {"mem_info_vram_used": str(GIB // 2), "mem_info_vram_total": str(GIB)}
    shared = {"mem_info_gtt_used": str(4 * GIB), "mem_info_gtt_total": str(16 * GIB)}
    device = amd_device("x", "APU", built_in | shared)
    assert (device.memory_used_bytes, device.memory_total_bytes) == (GIB // 2 + 4 * GIB, 17 * GIB)
    large = {"mem_info_vram_used": "1", "mem_info_vram_total": str(12 * GIB)}
    assert amd_device("x", "card", large | shared).memory_total_bytes == 12 * GIB


def test_a_machine_without_a_card_says_so(tmp_path: Path) -> None:
    assert AmdSource(tmp_path / "nothing").read(0).problem
    assert AmdSource(tmp_path).read(0).devices == ()


@needs_recordings
def test_recorded_reports_of_two_rocm_versions_are_read() -> None:
    new = rocm_sample((RECORDINGS / "amd_rocm_smi_json/rx6700xt_rocm612.json").read_bytes(), 3)
    assert new is not None
    (card,) = new.devices
    assert (card.active_ratio, card.power_w, card.power_limit_w, card.temperature_c) == (
        0.0,
        6.0,
        211.0,
        45.0,
    )
    assert (card.memory_used_bytes, card.memory_total_bytes) == (1_572_745_216, 12_868_124_672)
    old = rocm_sample((RECORDINGS / "amd_rocm_smi_json/mi100_rocm602.json").read_bytes(), 3)
    assert old is not None
    assert [one.power_w for one in old.devices] == [36.0, 44.0, 43.0, 39.0]


@pytest.mark.parametrize("document", [b"", b"[]", b"{}", b'{"card0": 3}', b"[" * 9999])
def test_other_json_is_no_report(document: bytes) -> None:
    assert rocm_sample(document, 1) is None

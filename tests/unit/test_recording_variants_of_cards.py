"""Reports about NVIDIA and AMD cards that no recording here has: every schema and wording, read back as planned."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.recordings import amdgpu_top, lines_of, read, smi

MIB, NS = 1024**2, 10**9

# NVIDIA

RTX = {
    "product_name": "NVIDIA GeForce RTX 4090",
    "uuid": "GPU-1",
    "fan_speed": "41 %",
    "fb_memory_usage/total": "24564 MiB",
    "fb_memory_usage/reserved": "366 MiB",
    "fb_memory_usage/used": "18011 MiB",
    "utilization/gpu_util": "97 %",
    "utilization/memory_util": "63 %",
    "utilization/encoder_util": "0 %",
    "temperature/gpu_temp": "71 C",
    "clocks/sm_clock": "2610 MHz",
    "processes/process_info/pid": "4242",
    "processes/process_info/used_memory": "17410 MiB",
}


@pytest.mark.parametrize(
    ("version", "power", "reasons"),
    [
        (
            10,
            {"power_readings/power_draw": "401.20 W", "power_readings/enforced_power_limit": "450.00 W"},
            "throttle",
        ),
        (11, {"power_readings/power_draw": "401.20 W", "power_readings/power_limit": "450.00 W"}, "throttle"),
        (
            12,
            {
                "gpu_power_readings/power_draw": "401.20 W",
                "gpu_power_readings/current_power_limit": "450.00 W",
            },
            "event",
        ),
        (
            13,
            {
                "gpu_power_readings/average_power_draw": "390.00 W",
                "gpu_power_readings/instant_power_draw": "401.20 W",
                "gpu_power_readings/current_power_limit": "450.00 W",
                "module_power_readings/power_draw": "N/A",
            },
            "event",
        ),
        (
            14,
            {
                "gpu_power_readings/average_power_draw": "401.20 W",
                "gpu_power_readings/instant_power_draw": "N/A",
                "gpu_power_readings/current_power_limit": "450.00 W",
            },
            "event",
        ),
    ],
)
def test_every_schema_of_nvidia_smi_gives_the_same(version: int, power: dict[str, str], reasons: str) -> None:
    words = {
        f"clocks_{reasons}_reasons/clocks_{reasons}_reason_sw_thermal_slowdown": "Active",
        f"clocks_{reasons}_reasons/clocks_{reasons}_reason_gpu_idle": "Not Active",
    }
    (sample,) = read(smi([{**RTX, **power, **words}], version))
    (card,) = sample.devices
    assert (card.power_w, card.power_limit_w) == (401.2, 450.0)
    assert (card.active_ratio, card.memory_busy_ratio, card.fan_ratio) == (0.97, 0.63, 0.41)
    assert (card.memory_used_bytes, card.memory_total_bytes) == (18011 * MIB, 24564 * MIB)
    assert (card.temperature_c, card.freq_hz, card.throttle) == (71.0, 2610e6, ("software thermal slowdown",))
    assert [(one.pid, one.memory_bytes) for one in card.processes] == [(4242, 17410 * MIB)]


NOTHING = (
    "N/A",
    "[N/A]",
    "[Not Supported]",
    "Unknown Error",
    "[Unknown Error]",
    "ERR!",
    "GPU is lost",
    "Insufficient Permissions",
    "",
)


@pytest.mark.parametrize("words", NOTHING)
def test_whatever_stands_where_a_number_should_is_unknown(words: str) -> None:
    """As of integrated GPUs (Jetson, GB10: no memory of their own) and cards that are lost."""
    paths = (
        "fan_speed",
        "fb_memory_usage/total",
        "fb_memory_usage/used",
        "utilization/gpu_util",
        "temperature/gpu_temp",
        "clocks/sm_clock",
        "gpu_power_readings/instant_power_draw",
        "processes/process_info/used_memory",
    )
    (sample,) = read(
        smi(
            [
                {
                    "product_name": "Orin (nvgpu)",
                    **dict.fromkeys(paths, words),
                    "processes/process_info/pid": "7",
                }
            ]
        )
    )
    (card,) = sample.devices
    values = (
        card.active_ratio,
        card.memory_used_bytes,
        card.memory_total_bytes,
        card.power_w,
        card.freq_hz,
        card.temperature_c,
    )
    assert values == (None,) * 6 and {"active_ratio", "memory_used_bytes", "power_w"} <= set(card.unknown)
    assert [(one.pid, one.memory_bytes) for one in card.processes] == [(7, None)]
    # What says more than that there is none is the reason.
    telling = words.strip("[]") not in ("", "N/A", "Not Supported")
    assert ("nvidia-smi says: " in card.unknown["power_w"]) == telling
    row = f"index, utilization.gpu, power.draw\n0, {words}, {words}\n".encode()
    assert ("nvidia-smi says: " in read(row)[0].devices[0].unknown["power_w"]) == telling


def test_a_divided_h100_has_slices_with_their_memory_and_processes() -> None:
    slices: dict[str, str] = {}
    for number, (instance, used, total) in enumerate((("1", "9000", "40448"), ("5", "14", "9856"))):
        start = f"mig_devices/mig_device#{number}"
        slices |= {
            f"{start}/index": str(number),
            f"{start}/gpu_instance_id": instance,
            f"{start}/compute_instance_id": "0",
            f"{start}/device_attributes/shared/multiprocessor_count": "60",
            f"{start}/fb_memory_usage/total": f"{total} MiB",
            f"{start}/fb_memory_usage/used": f"{used} MiB",
        }
    process = {
        "processes/process_info/gpu_instance_id": "1",
        "processes/process_info/compute_instance_id": "0",
        "processes/process_info/pid": "99",
        "processes/process_info/used_memory": "8900 MiB",
    }
    card = {
        **RTX,
        "product_name": "NVIDIA H100 80GB HBM3",
        "mig_mode/current_mig": "Enabled",
        "utilization/gpu_util": "N/A",
    }
    (sample,) = read(smi([{**card, **slices, **process}]))
    (h100,) = sample.devices
    assert h100.active_ratio is None and "active_ratio" in h100.unknown
    assert [(one.id, one.memory_used_bytes, len(one.processes)) for one in h100.slices] == [
        ("mig0", 9000 * MIB, 1),
        ("mig1", 14 * MIB, 0),
    ]


@pytest.mark.parametrize("name", [b"a & b", b"a&b=1", b"cut \xe2\x82", b"bell \x07"])
def test_a_process_whose_name_xml_forbids_costs_nothing(name: bytes) -> None:
    report = smi(
        [{"uuid": "a", "processes/process_info/process_name": "NAME", "utilization/gpu_util": "7 %"}]
    )
    (sample,) = read(report.replace(b"NAME", name))
    assert sample.devices[0].active_ratio == 0.07


def test_a_fan_above_its_rated_speed_is_at_full_speed() -> None:
    assert read(smi([{"fan_speed": "104 %"}]))[0].devices[0].fan_ratio == 1
    assert read(b"index, fan.speed [%], utilization.gpu [%]\n0, 104, 101\n")[0].devices[0].fan_ratio == 1


def test_cards_whose_identifiers_are_masked_are_told_apart_by_their_place() -> None:
    masked = "GPU-00000000-0000-0000-0000-000000000000"
    (sample,) = read(smi([{"uuid": masked, "utilization/gpu_util": "1 %"}, {"uuid": masked}]))
    assert [card.id for card in sample.devices] == ["00000000:01:00.0", "00000001:01:00.0"]


def test_a_stream_of_reports_with_warnings_between_has_their_true_lengths() -> None:
    stream = (
        b"Unable to determine the device handle for gpu 0000:02:00.0\n"
        + smi([RTX, RTX])
        + b"\0\nWARNING: infoROM\n"
    )
    stream += smi([RTX, RTX], second=2) + smi([RTX])[:200]
    one, two = read(stream, dropped=1)
    assert len(one.devices) == len(two.devices) == 2 and two.elapsed_ns == 2 * NS
    none = smi([])
    assert read(none)[0].devices == () and "devices" in read(none)[0].unknown


def test_a_table_of_nvidia_smi_has_units_or_not_and_its_own_times() -> None:
    head = b"timestamp, index, name, utilization.gpu [%], memory.used [MiB], memory.total [MiB], "
    head += b"power.draw.instant [W], clocks_event_reasons.active\n"
    rows = b"".join(
        b"2026/03/14 22:30:0%d.000, %d, NVIDIA L4, %s, 1024%s, 23034%s, [N/A], 0x0000000000000004\n"
        % (second, index, busy, unit, unit)
        for second in (1, 4)
        for index, busy, unit in ((0, b"88 %", b" MiB"), (1, b"0", b""))
    )
    one, two = read(head + rows)
    assert [card.active_ratio for card in one.devices] == [0.88, 0.0]
    assert {card.memory_used_bytes for card in one.devices} == {1024 * MIB}
    assert two.elapsed_ns == 3 * NS and two.devices[0].throttle == ("power cap",)
    assert "power_w" in two.devices[0].unknown


# AMD

ROCM: dict[str, tuple[dict[str, str], dict[str, Any]]] = {
    "MI300X under 6.2": (
        {
            "Temperature (Sensor junction) (C)": "52.0",
            "Temperature (Sensor memory) (C)": "41.0",
            "sclk clock level:": "1",
            "sclk clock speed:": "(1312Mhz)",
            "Current Socket Graphics Package Power (W)": "312.0",
            "Max Graphics Package Power (W)": "750.0",
            "GPU use (%)": "88",
            "GPU Memory Allocated (VRAM%)": "61",
            "GPU Memory Read/Write Activity (%)": "17",
            "VRAM Total Memory (B)": "206141652992",
            "VRAM Total Used Memory (B)": "125746408448",
            "Card Series": "AMD Instinct MI300X OAM",
            "Fan speed (level)": "N/A",
            "Fan RPM": "N/A",
        },
        {
            "active_ratio": 0.88,
            "power_w": 312.0,
            "power_limit_w": 750.0,
            "freq_hz": 1312e6,
            "temperature_c": 52.0,
            "memory_used_bytes": 125_746_408_448,
            "memory_total_bytes": 206_141_652_992,
            "memory_busy_ratio": 0.17,
            "fan_rpm": None,
            "name": "AMD Instinct MI300X OAM",
        },
    ),
    "RX 7900 XTX under 5.7": (
        {
            "Temperature (Sensor edge) (C)": "61.0",
            "Temperature (Sensor junction) (C)": "78.0",
            "sclk clock speed:": "(2482Mhz)",
            "sclk clock level:": "2",
            "Fan speed (%)": "38",
            "Fan RPM": "1210",
            "Average Graphics Package Power (W)": "291.0",
            "Max Graphics Package Power (W)": "303.0",
            "GPU use (%)": "99",
            "VRAM Total Memory (B)": "25753026560",
            "VRAM Total Used Memory (B)": "19000000000",
            "Card series": "Navi 31 [Radeon RX 7900 XT/7900 XTX]",
            "Card model": "0x5304",
        },
        {
            "active_ratio": 0.99,
            "power_w": 291.0,
            "freq_hz": 2482e6,
            "temperature_c": 61.0,
            "fan_ratio": 0.38,
            "fan_rpm": 1210.0,
            "memory_used_bytes": 19_000_000_000,
            "name": "Navi 31 [Radeon RX 7900 XT/7900 XTX]",
        },
    ),
    "asleep, everything missing": (
        {
            "GPU use (%)": "N/A",
            "Average Graphics Package Power (W)": "N/A",
            "VRAM Total Memory (B)": "N/A",
            "Device Name": "AMD Radeon",
        },
        {"active_ratio": None, "power_w": None, "memory_total_bytes": None, "name": "AMD Radeon"},
    ),
}


@pytest.mark.parametrize("name", ROCM)
def test_every_wording_of_rocm_smi_is_understood_with_warnings_around_it(name: str) -> None:
    words, wanted = ROCM[name]
    report = json.dumps({"card0": words, "card11": words, "system": {"Driver version": "6.8"}}).encode()
    for stream, count in (
        (report, 1),
        (b"WARNING: AMD GPU device(s) is/are in a low-power state.\n" + report + b"\n" + report, 2),
    ):
        samples = read(stream)
        assert len(samples) == count
        for card in samples[-1].devices:
            assert {field: getattr(card, field) for field in wanted} == wanted
            assert all(
                field in card.unknown
                for field, value in wanted.items()
                if value is None and field != "fan_rpm"
            )
    assert [card.id for card in read(report)[0].devices] == ["card0", "card11"]


def test_graphics_built_into_a_processor_count_the_machines_memory_in_amdgpu_top() -> None:
    def of(value: float | None, unit: str) -> dict[str, Any]:
        return {"unit": unit, "value": value}

    card = {
        "Info": {"DeviceName": "AMD Radeon 780M Graphics", "PCI": "0000:c1:00.0", "APU Type": True},
        "GRBM": {"Graphics Pipe": of(55, "%")},
        "Sensors": {
            "Average Power": None,
            "Input Power": of(28, "W"),
            "GFX_SCLK": of(2700, "MHz"),
            "Edge Temperature": of(66, "C"),
        },
        "VRAM": {
            "Total VRAM": of(512, "MiB"),
            "Total VRAM Usage": of(400, "MiB"),
            "Total GTT": of(28000, "MiB"),
            "Total GTT Usage": of(9000, "MiB"),
        },
        "gpu_activity": {"GFX": of(None, "%"), "Memory": of(3, "%")},
    }
    (sample,) = read(
        lines_of(
            [{"devices": [card], "period": of(2000, "ms") | {"duration": 2000}, "amdgpu_top_version": {}}]
        )
    )
    (apu,) = sample.devices
    assert (apu.active_ratio, apu.power_w, apu.freq_hz, apu.temperature_c) == (0.55, 28.0, 2700e6, 66.0)
    assert (apu.memory_used_bytes, apu.memory_total_bytes, apu.shares_memory) == (
        9400 * MIB,
        28512 * MIB,
        True,
    )
    assert sample.elapsed_ns == 2 * NS


def test_the_first_versions_of_amdgpu_top_have_no_frame_and_other_names() -> None:
    def of(value: float, unit: str) -> dict[str, Any]:
        return {"unit": unit, "value": value}

    def made(share: float) -> dict[str, Any]:
        return {
            "DeviceName": "AMD Radeon RX 6800",
            "gpu_activity": {"GFX": of(100 * share, "%")},
            "Sensors": {"GFX Power": of(12, "W"), "GFX_SCLK": of(26, "MHz")},
            "VRAM": {"Total VRAM": of(16368, "MiB"), "Total VRAM Usage": of(900, "MiB")},
            "fdinfo": {"ollama (220645)": {"usage": {"VRAM": of(45, "MiB"), "GFX": of(7, "%")}}},
            "gpu_metrics": {"Throttle Status": ["PPT0", "TEMP_HOTSPOT", "TEMP_MEM", "FIT"]},
            "period": {"duration": 500, "unit": "ms"},
        }

    first, second = read(lines_of([made(0.25), made(0.75)]))
    assert [sample.devices[0].active_ratio for sample in (first, second)] == [0.25, 0.75]
    assert (second.elapsed_ns, len(second.devices)) == (NS // 2, 1)
    (card,) = first.devices
    assert (card.name, card.power_w) == ("AMD Radeon RX 6800", 12)
    assert [(one.pid, one.memory_bytes, one.active_ratio) for one in card.processes] == [
        (220645, 45 * MIB, 0.07)
    ]
    assert card.throttle == ("power cap", "thermal slowdown", "fit")


def test_graphics_built_in_with_much_memory_of_their_own_still_count_the_machines() -> None:
    card = amdgpu_top(0.5)["devices"][0]
    card["Info"]["GPU Type"] = "APU"
    card["VRAM"] |= {
        "Total GTT": {"value": 4096, "unit": "MiB"},
        "Total GTT Usage": {"value": 1024, "unit": "MiB"},
    }
    (sample,) = read(lines_of([{"devices": [card]}]))
    assert sample.devices[0].memory_total_bytes == (16384 + 4096) * MIB
    assert sample.devices[0].memory_used_bytes == (2048 + 1024) * MIB


def test_the_memory_of_cards_of_2013_has_its_old_name() -> None:
    (sample,) = read(smi([{"memory_usage/total": "3071 MB", "memory_usage/used": "12 MB"}], version=4))
    assert (sample.devices[0].memory_total_bytes, sample.devices[0].memory_used_bytes) == (
        3071 * MIB,
        12 * MIB,
    )

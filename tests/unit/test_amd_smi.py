"""The JSON of ``amd-smi``: every wrapping and wording of its versions gives the same values in base units."""

from __future__ import annotations

import json
from typing import Any

import pytest

from nightdesk.core.sensors.recordings import reader_for
from nightdesk.model.sample import Device
from tests.support.recordings import amd_smi, read

MIB = 1024**2
STATIC = [
    {
        "gpu": number,
        "asic": {"market_name": "AMD Instinct MI300X", "vendor_id": "0x1002"},
        "bus": {"bdf": f"0000:{number:02x}:00.0"},
        "limit": {"max_power": {"value": 750, "unit": "W"}, "socket_power": {"value": 700, "unit": "W"}},
        "vram": {"type": "HBM", "size": {"value": 196_592, "unit": "MB"}},
    }
    for number in (0, 1)
]


def only(text: str) -> Device:
    (sample,) = read(text.encode())
    (card,) = sample.devices
    assert sample.source == "amd-smi"
    return card


@pytest.mark.parametrize("framed", [False, True])
@pytest.mark.parametrize("indent", [None, 4])
def test_a_report_gives_its_values_bare_and_in_a_frame(framed: bool, indent: int | None) -> None:
    cards = [amd_smi(0.5)]
    card = only(json.dumps({"gpu_data": cards, "metadata": {}} if framed else cards, indent=indent))
    assert (card.id, card.name) == ("gpu0", "AMD GPU")
    assert (card.active_ratio, card.memory_busy_ratio, card.power_w) == (0.5, 0.07, 250)
    assert (card.freq_hz, card.temperature_c, card.throttle) == (2100e6, 61, ())
    assert (card.memory_used_bytes, card.memory_total_bytes) == (49_148 * MIB, 196_592 * MIB)
    assert card.unknown == {}


WORDINGS: dict[str, dict[str, Any]] = {
    "bare numbers": {
        "usage": {"gfx_activity": 50},
        "mem_usage": {"total_vram": 1000, "used_vram": 250},
        "temperature": {"edge": 40},
        "power": {"socket_power": 100},
        "clock": {"gfx_0": {"clk": 1500}},
    },
    "texts with units, as under ROCm 6.0": {
        "usage": {"gfx_activity": "50 %", "umc_activity": "N/A"},
        "fb_usage": {"total_vram": "1000 MB", "used_vram": "250 MB"},
        "temperature": {"edge": "N/A", "hotspot": "40 °C"},
        "power": {"current_socket_power": "N/A", "average_socket_power": "100 W"},
        "clock": {"gfx_0": {"clk": "N/A"}, "gfx_1": {"clk": "1500 MHz"}},
    },
    "the table of its monitor": {
        "gfx": {"value": 50, "unit": "%"},
        "vram_total": {"value": 1000, "unit": "MB"},
        "vram_used": {"value": 250, "unit": "MB"},
        "hotspot_temperature": {"value": 40, "unit": "C"},
        "power_usage": {"value": 100, "unit": "W"},
        "gfx_clk": {"value": 1500, "unit": "MHz"},
    },
}


@pytest.mark.parametrize("name", WORDINGS)
def test_every_wording_means_the_same(name: str) -> None:
    card = only(json.dumps([{"gpu": 0, **WORDINGS[name]}]))
    assert (card.active_ratio, card.power_w, card.temperature_c, card.freq_hz) == (0.5, 100, 40, 1500e6)
    assert (card.memory_used_bytes, card.memory_total_bytes) == (250 * MIB, 1000 * MIB)


def test_what_the_card_does_not_tell_is_unknown_and_a_zero_is_a_zero() -> None:
    card = only('[{"gpu": 3, "usage": "N/A", "power": {"socket_power": {"value": 0, "unit": "W"}}}]')
    assert (card.id, card.power_w, card.active_ratio) == ("gpu3", 0, None)
    assert only('[{"gpu": "3", "power": {"socket_power": "7 W"}}]').id == "gpu3"
    assert set(card.unknown) == {
        "active_ratio", "memory_used_bytes", "memory_total_bytes", "freq_hz", "temperature_c",
    }  # fmt: skip


def test_names_and_limits_come_from_the_static_report_before_it() -> None:
    metric = [amd_smi(share, number) for number, share in enumerate((0.25, 0.75))]
    text = "\n".join(json.dumps(part, indent=4) for part in (STATIC, metric, metric))
    samples = read(text.encode())
    assert len(samples) == 2
    for sample in samples:
        assert [(card.id, card.name, card.active_ratio) for card in sample.devices] == [
            ("0000:00:00.0", "AMD Instinct MI300X", 0.25),
            ("0000:01:00.0", "AMD Instinct MI300X", 0.75),
        ]
        assert {card.power_limit_w for card in sample.devices} == {700}


def test_the_static_report_alone_is_recognised_and_holds_no_sample() -> None:
    reader = reader_for(json.dumps(STATIC).encode())
    assert [*reader.feed(json.dumps(STATIC).encode()), *reader.end()] == []


def test_a_watched_report_has_its_own_times() -> None:
    rounds = [[{"timestamp": at, **amd_smi(0.5)}] for at in (1_760_000_000, 1_760_000_002)]
    first, second = read("\n".join(map(json.dumps, rounds)).encode())
    assert (first.at_ns, second.elapsed_ns) == (1_760_000_000 * 10**9, 2 * 10**9)


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"throttle": {"ppt_violation_status": "ACTIVE", "prochot_violation_status": "NOT ACTIVE"}}, ("power cap",)),
        ({"throttle": {"socket_thermal_violation_status": "ACTIVE"}}, ("thermal slowdown",)),
        ({"power": {"throttle_status": "THROTTLED"}}, ("slowed down",)),
        ({"power": {"throttle_status": "UNTHROTTLED"}, "throttle": "N/A"}, ()),
    ],
)  # fmt: skip
def test_what_holds_the_clocks_back_is_told_in_words(told: dict[str, Any], words: tuple[str, ...]) -> None:
    assert only(json.dumps([{"gpu": 0, "usage": {"gfx_activity": 1}, **told}])).throttle == words


def test_graphics_built_into_a_processor_count_the_machines_memory() -> None:
    memory = {"total_vram": 512, "used_vram": 400, "total_gtt": 60_000, "used_gtt": 9000}
    usage = {"gfx_activity": "N/A", "apu_average_gfx_activity": 7}
    card = only(json.dumps([{"gpu": 0, "usage": usage, "mem_usage": memory}]))
    assert (card.active_ratio, card.memory_used_bytes, card.memory_total_bytes, card.shares_memory) == (
        0.07, 9400 * MIB, 60_512 * MIB, True,
    )  # fmt: skip

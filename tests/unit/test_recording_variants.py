"""Layouts of Apple chips, systems and tools that no recording here has: made up by a plan, read back as planned."""

from __future__ import annotations

import plistlib
from typing import Any

import pytest

from nightdesk.model.sample import Sample
from tests.support.recordings import (
    START,
    Chip,
    Cluster,
    device,
    lines_of,
    macmon,
    plist,
    read,
    text,
)

NS = 10**9


CHIPS = {
    "M1": Chip((Cluster("E-Cluster", (0.4, 0.2, 0.1, 0.1)), Cluster("P-Cluster", (0.9, 0.5, 0.0, 0.0)))),
    "M1 Max": Chip(
        (
            Cluster("E-Cluster", (0.5, 0.5)),
            Cluster("P0-Cluster", (0.1,) * 4),
            Cluster("P1-Cluster", (0.0,) * 4),
        )
    ),
    "M2 Ultra": Chip(
        tuple(
            Cluster(f"{name}-Cluster", (share,) * 4)
            for name, share in (("E0", 0.4), ("P0", 0.9), ("P1", 0.1), ("E1", 0.3), ("P2", 0.8), ("P3", 0.0))
        ),
        cpu_mw=41_000,
        gpu_mw=70_924.6,
    ),
    "M3 Max, its efficiency cluster stuck": Chip(
        (
            Cluster("E-Cluster", (0.12, 0.04, 0.3, 0.46), 0.0, own_idle=0.0),
            Cluster("P0-Cluster", (0.02,) * 6, 0.87, own_idle=0.0),
            Cluster("P1-Cluster", (0.0,) * 6, 1.0),
        ),
    ),
    "M4 Pro": Chip(
        (
            Cluster("E-Cluster", (0.2,) * 4, 0.1),
            Cluster("P0-Cluster", (0.7,) * 5, 0.5),
            Cluster("P1-Cluster", (0.0,) * 5, 1.0),
        )
    ),
    "M5": Chip(
        (Cluster("E-Cluster", (0.2,) * 6, 0.3), Cluster("P-Cluster", (0.6,) * 4, 0.2)), thermal="Moderate"
    ),
    "M5 Pro": Chip(
        (
            Cluster("P0-Cluster", (0.1,) * 5, 0.2),
            Cluster("P1-Cluster", (0.2,) * 5, 0.2),
            Cluster("S-Cluster", (0.9,) * 5, 0.1),
        )
    ),
    "M5 Max, first naming": Chip(
        (
            Cluster("M0-Cluster", (0.1,) * 6, 0.2),
            Cluster("M1-Cluster", (0.2,) * 6, 0.2),
            Cluster("P-Cluster", (0.9,) * 6, 0.0),
        )
    ),
    "a chip to come": Chip((Cluster("Q7-Cluster", (0.5,)), Cluster("Efficiency", (0.25, 0.75)))),
}


@pytest.mark.parametrize("name", CHIPS)
def test_every_chip_gives_its_share_its_watts_and_its_own_names_as_a_property_list(name: str) -> None:
    chip = CHIPS[name]
    for twice in (False, True):
        one, two = read(
            plist(chip, twice=twice) + b"\0" + plist(chip, second=1, elapsed_ms=1027, twice=twice)
        )
        assert (one.elapsed_ns, two.elapsed_ns) == (1004 * 10**6, 1027 * 10**6)
        assert (one.at_ns, two.at_ns) == (int(START.timestamp()) * NS, int(START.timestamp() + 1) * NS)
        for sample in (one, two):
            _check(sample, chip)


def _check(sample: Sample, chip: Chip, exact: float = 1e-6) -> None:
    cpu = sample.cpu
    assert cpu is not None and cpu.ratio == pytest.approx(chip.busy, abs=1e-4)
    known = list(chip.clusters)
    assert [tier.name for tier in cpu.tiers] == [cluster.name for cluster in known]
    assert [tier.cores for tier in cpu.tiers] == [len(cluster.busy) for cluster in known]
    assert [tier.ratio for tier in cpu.tiers] == [
        pytest.approx(sum(cluster.busy) / len(cluster.busy), abs=1e-4) for cluster in known
    ]
    gpu, ane = device(sample, "gpu"), device(sample, "ane")
    assert chip.cpu_mw is not None and chip.gpu_mw is not None and chip.ane_mw is not None
    assert cpu.power_w == pytest.approx(chip.cpu_mw / 1000, rel=exact, abs=5e-4)
    assert gpu.power_w == pytest.approx(chip.gpu_mw / 1000, rel=exact, abs=5e-4)
    assert gpu.active_ratio == pytest.approx(chip.gpu_busy) and gpu.freq_hz == chip.gpu_mhz * 1e6
    assert ane.power_w == pytest.approx(chip.ane_mw / 1000, rel=exact, abs=5e-4)
    assert ane.estimated == ("active_ratio",)
    assert sample.package_power_w == pytest.approx((chip.cpu_mw + chip.gpu_mw + chip.ane_mw) / 1000, abs=2e-3)
    assert sample.thermal == chip.thermal


def test_time_at_each_clock_gives_the_share_of_capacity_that_was_used() -> None:
    def states(*pairs: tuple[int, float]) -> list[dict[str, float]]:
        return [{"freq": clock, "used_ratio": share} for clock, share in pairs]

    cores = [
        {"cpu": 0, "idle_ratio": 0.5, "dvfm_states": states((1000, 0.25), (4000, 0.25))},
        {"cpu": 1, "idle_ratio": 1.0, "dvfm_states": states((1000, 0.0), (4000, 0.0))},
    ]
    root = {
        "elapsed_ns": NS,
        "processor": {"clusters": [{"name": "P-Cluster", "cpus": cores}], "cpu_power": 5.0},
        # Clocks are neither sorted nor unique.
        "gpu": {"idle_ratio": 0.3, "dvfm_states": states((400, 0.6), (1600, 0.05), (800, 0.0), (1600, 0.05))},
    }
    (sample,) = read(plistlib.dumps(root))
    gpu = device(sample, "gpu")
    assert gpu.active_ratio == pytest.approx(0.7)
    assert gpu.scaled_ratio == pytest.approx(0.6 / 4 + 0.1)
    assert gpu.derived == ("scaled_ratio",)
    assert sample.cpu is not None
    assert sample.cpu.tiers[0].ratio == pytest.approx(0.25)
    assert sample.cpu.tiers[0].scaled_ratio == pytest.approx((0.25 / 4 + 0.25) / 2)
    assert "cpu.tiers.scaled_ratio" in sample.derived
    words = (
        "**** Processor usage ****\nP-Cluster HW active frequency: 2500 MHz\n"
        "CPU 0 active residency:  50.00% (1000 MHz:  25% 4000 MHz:  25%)\nCPU 0 idle residency:  50.00%\n"
        "CPU 1 active residency:   0.00% (1000 MHz:   0% 4000 MHz:   0%)\nCPU 1 idle residency: 100.00%\n"
        "**** GPU usage ****\nGPU HW active residency:  70.00% (400 MHz:  60% 800 MHz:   0% 1600 MHz:  10%)\n"
    )
    (told,) = read(words.encode())
    assert device(told, "gpu").scaled_ratio == pytest.approx(0.6 / 4 + 0.1)
    assert told.cpu is not None
    assert told.cpu.tiers[0].scaled_ratio == pytest.approx((0.25 / 4 + 0.25) / 2)


def test_before_macos_13_watts_are_computed_from_energy_over_the_true_length() -> None:
    chip = CHIPS["M1"]
    (sample,) = read(plist(chip, elapsed_ms=5038, energy_only=True))
    _check(sample, chip, 1e-3)
    assert sample.derived == ("cpu.power_w", "package_power_w")
    assert device(sample, "gpu").derived == ("power_w", "scaled_ratio")


@pytest.mark.parametrize("macos", [11, 12, 13, 15, 26])
@pytest.mark.parametrize("name", [name for name in CHIPS if name != "a chip to come"])
def test_every_chip_gives_the_same_in_the_wording_of_every_system(name: str, macos: int) -> None:
    chip = CHIPS[name]
    recording = (
        "Machine model: Mac00,0\nOS version: 00A000\n\n\n" + text(chip, macos) + text(chip, macos, second=1)
    )
    one, two = read(recording.encode())
    assert (one.elapsed_ns, two.at_ns - one.at_ns) == (1_004_510_000, NS)
    for sample in (one, two):
        _check(sample, chip, 1e-3)
    assert read(recording.replace("\n", "\r\n").encode()) == [one, two]


def test_without_the_processor_sampler_the_gpus_watts_come_from_its_energy() -> None:
    chip = Chip((), gpu_mw=205.0, gpu_busy=0.02, thermal=None)
    (sample,) = read(plist(chip, elapsed_ms=1012))
    (gpu,) = sample.devices
    assert gpu.power_w == pytest.approx(0.205, abs=1e-3) and gpu.derived == ("power_w", "scaled_ratio")
    assert sample.cpu is None and {"cpu", "devices.ane", "thermal", "package_power_w"} <= set(sample.unknown)


def test_a_counter_that_reads_0_beside_busy_cores_is_hidden_and_its_sum_is_not_shown() -> None:
    chip = CHIPS["M1 Max"]._replace(cpu_mw=0.0, ane_mw=0.0)
    for recording in (plist(chip), text(chip, 26).encode()):
        (sample,) = read(recording)
        assert sample.cpu is not None and sample.cpu.power_w is None and sample.package_power_w is None
        assert device(sample, "ane").power_w is None and device(sample, "gpu").power_w == pytest.approx(9.0)
        assert "macOS 27" in sample.unknown["cpu.power_w"]
    idle = Chip((Cluster("E-Cluster", (0.0, 0.005)),), cpu_mw=0.0, ane_mw=0.0)
    (sample,) = read(plist(idle))
    assert sample.cpu is not None and sample.cpu.power_w == 0.0


EXCERPT = """OS version: 26A0000g

E-Cluster HW active frequency: 2064 MHz
E-Cluster HW active residency: 100.00%
P0-Cluster HW active frequency: 1898 MHz
P0-Cluster HW active residency: 72.40%

CPU Power: {cpu} mW
GPU Power: 55 mW
ANE Power: 0 mW
"""


def test_an_excerpt_without_headings_is_read_and_its_time_is_unknown() -> None:
    (sample,) = read(EXCERPT.format(cpu=0).encode())
    assert (sample.at_ns, sample.elapsed_ns) == (0, 0)
    assert sample.cpu is not None and [tier.freq_hz for tier in sample.cpu.tiers] == [2064e6, 1898e6]
    assert "macOS 27" in sample.unknown["cpu.power_w"], "clusters that ran show that it is not idle"
    assert "cpu.ratio" in sample.unknown and "cpu.tiers.cores" in sample.unknown
    (sample,) = read(EXCERPT.format(cpu=4200).encode())
    assert sample.cpu is not None and sample.cpu.power_w == 4.2
    whole = text(CHIPS["M5"], 26)
    headless = whole[whole.index("**** Processor") :]
    one, two = read((headless + headless).encode())
    _check(one, CHIPS["M5"], 1e-3)
    assert one == two
    # What comes before the first heading is the rest of a sample that was cut off.
    assert len(read((headless + whole).encode(), dropped=1)) == 1


def test_an_intel_mac_is_named_instead_of_shown_as_zeros() -> None:
    document = b"<plist><dict><key>elapsed_ns</key><integer>9</integer><key>processor</key><dict>"
    document += b"<key>package_watts</key><real>9.5</real><key>packages</key><array/></dict></dict></plist>\n"
    words = text(Chip((), gpu_busy=None), 15).replace(
        "ANE Power: 300 mW", "Intel energy model derived package power: 3.1W"
    )
    for recording in (document, words.encode()):
        (sample,) = read(recording)
        assert sample.cpu is None and "Intel" in sample.unknown["cpu"]
        assert all(one.kind != "ane" for one in sample.devices)


@pytest.mark.parametrize("name", [b"caf\xc3", b"\x1b[31m", b"a\x00b", b"\xff\xfe"])
def test_names_of_tasks_that_xml_forbids_cost_nothing(name: bytes) -> None:
    task = b"<key>tasks</key><array><dict><key>name</key><string>" + name + b"</string></dict></array>"
    document = plist(CHIPS["M1"]).replace(b"<key>thermal_pressure", task + b"<key>thermal_pressure")
    (sample,) = read(document)
    _check(sample, CHIPS["M1"])


# macmon

OLD = {
    "cpu_power": 1.5,
    "gpu_power": 2.0,
    "ane_power": 0.0,
    "all_power": 3.5,
    "memory": {"ram_total": 8},
    "gpu_usage": [461, 0.3],
    "ecpu_usage": [1181, 0.08],
    "pcpu_usage": [1974, 0.2],
}
GENERATIONS: dict[str, tuple[dict[str, Any], tuple[float | None, float | None, float]]] = {
    "0.4": (OLD, (None, 0.3, 461e6)),
    "0.7": ({**OLD, "timestamp": "2026-01-01T00:00:00+00:00", "cpu_usage_pct": 0.15}, (None, 0.3, 461e6)),
    "0.8.0": (
        {**OLD, "gpu_freq_mhz": 388, "gpu_usage_ratio": 0.21, "gpu_active_ratio": 0.69},
        (0.69, 0.21, 388e6),
    ),
    "0.8.1": (
        {**OLD, "gpu_freq_mhz": 388, "gpu_scaled_ratio": 0.21, "gpu_active_ratio": 1.02},
        (1.0, 0.21, 388e6),
    ),
}


@pytest.mark.parametrize("version", GENERATIONS)
def test_every_generation_of_macmon_keeps_active_and_scaled_apart(version: str) -> None:
    line, wanted = GENERATIONS[version]
    (sample,) = read(lines_of([line]))
    gpu = device(sample, "gpu")
    assert (gpu.active_ratio, gpu.scaled_ratio, gpu.freq_hz) == wanted
    assert gpu.power_w == 2.0 and sample.package_power_w == 3.5
    assert sample.cpu is not None and [tier.scaled_ratio for tier in sample.cpu.tiers] == [0.08, 0.2]


def test_the_newest_macmon_tells_memory_heat_fans_and_the_whole_machine() -> None:
    one, two = read(lines_of([macmon(0.5), macmon(1.0, second=2)]))
    gpu = device(two, "gpu")
    assert (gpu.name, gpu.active_ratio, gpu.scaled_ratio) == ("Apple M4 Max GPU", 1.0, 0.8)
    assert (gpu.temperature_c, two.system_power_w, two.elapsed_ns) == (71.0, 66.0, 2 * NS)
    assert one.cpu is not None and one.cpu.ratio == pytest.approx((4 * 0.35 + 12 * 0.15) / 16)
    assert (two.memory_used_bytes, two.memory_total_bytes) == (48 * 10**9, 64 * 10**9)
    assert [(fan.name, fan.rpm, fan.max_rpm) for fan in two.fans] == [("left", 2700.0, 5800.0)]

"""mactop, amdgpu_top, ioreg, nvidia-smi's tables, RAPL and asitop's file: values in base units, gaps with reasons."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nightdesk.core.sensors.amdgpu_top import AmdgpuTopReader
from nightdesk.core.sensors.ioreg import CoreKind, ioreg_devices, mac_facts, thermal_word, with_kinds
from nightdesk.core.sensors.mactop import MactopReader
from nightdesk.core.sensors.nvidia_smi import NvidiaCsvReader
from nightdesk.core.sensors.objects import MAX_OBJECT_BYTES, ObjectCutter
from nightdesk.core.sensors.rapl import EnergyCounter, package_watts, watts
from nightdesk.core.sensors.recordings import reader_for
from nightdesk.engine.sensors.asitop import AsitopFile
from nightdesk.engine.sensors.mac import MacExtra
from nightdesk.engine.sensors.rapl import RaplExtra
from nightdesk.model.sample import Cpu, CpuTier, Device, Sample
from tests.support.recordings import mactop

NS = 10**9
GIB = 1024**3

MACTOP = {
    "timestamp": "2026-04-12T12:25:07-04:00",
    "soc_metrics": {
        "cpu_power": 5.5,
        "gpu_power": 0.96,
        "ane_power": 0,
        "system_power": 16.7,
        "total_power": 24.7,
        "gpu_freq_mhz": 601,
        "gpu_active": 38.0,
        "e_cluster_active": 56.5,
        "p_cluster_active": 75.7,
        "e_cluster_freq_mhz": 1446,
        "p_cluster_freq_mhz": 3224,
        "gpu_temp": 64.25,
    },
    "memory": {"total": 32 * GIB, "used": 16 * GIB, "swap_used": 6 * GIB},
    "cpu_usage": 35.4,
    "core_usages": [50, 100, 0, 10],
    "system_info": {"name": "Apple M1 Pro", "e_core_count": 2, "p_core_count": 8},
    "thermal_state": "Normal",
    "fans": [{"name": "left", "rpm": 1200, "max_rpm": 5800}],
}
AMDGPU = {
    "devices": [
        {
            "Info": {"DeviceName": "AMD Radeon RX 9070 XT", "DevicePath": {"pci": "0000:03:00.0"}},
            "gpu_activity": {"GFX": {"unit": "%", "value": 42}, "Memory": {"unit": "%", "value": 7}},
            "Sensors": {
                "Edge Temperature": {"unit": "C", "value": 55},
                "Average Power": {"unit": "W", "value": 120},
                "GFX_SCLK": {"unit": "MHz", "value": 2400},
                "Fan": {"unit": "RPM", "value": 900},
            },
            "VRAM": {
                "Total VRAM Usage": {"unit": "MiB", "value": 2048},
                "Total VRAM": {"unit": "MiB", "value": 16384},
                "Total GTT": {"unit": "MiB", "value": 15900},
                "Total GTT Usage": {"unit": "MiB", "value": 90},
            },
            "fdinfo": {
                "123": {
                    "name": "ollama",
                    "usage": {"name": "ollama", "usage": {"VRAM": {"unit": "MiB", "value": 1024}}},
                }
            },
        }
    ],
    "period": {"duration": 1000, "unit": "ms"},
}


def test_mactop_gives_percentages_as_ratios_and_the_package_as_a_sum_of_its_parts() -> None:
    (sample,) = MactopReader().feed(json.dumps(MACTOP).encode())
    gpu, ane = sample.devices
    assert sample.cpu is not None
    assert (sample.source, sample.cpu.ratio, sample.cpu.power_w) == ("mactop", 0.4, 5.5)
    assert (gpu.name, gpu.active_ratio, gpu.power_w, gpu.freq_hz) == ("Apple M1 Pro GPU", 0.38, 0.96, 601e6)
    assert (ane.power_w, gpu.temperature_c, sample.thermal) == (0, 64.25, "Nominal")
    assert sample.package_power_w == pytest.approx(6.46)
    assert (sample.system_power_w, sample.derived) == (16.7, ("package_power_w",))
    assert [(tier.name, tier.cores, tier.ratio) for tier in sample.cpu.tiers] == [
        ("E", 2, 0.565),
        ("P", 8, 0.757),
    ]
    assert (sample.memory_used_bytes, sample.swap_used_bytes) == (16 * GIB, 6 * GIB)
    assert (sample.fans[0].rpm, sample.at_ns) == (1200, 1776011107 * NS)


def test_mactop_names_whatever_kinds_of_cores_a_chip_has_and_no_others() -> None:
    (sample,) = MactopReader().feed(json.dumps(mactop(0.5)).encode())
    assert sample.cpu is not None
    assert [(tier.name, tier.cores, tier.ratio, tier.freq_hz) for tier in sample.cpu.tiers] == [
        ("P", 12, 0.1, 2900e6),
        ("S", 6, 0.5, 4400e6),
    ]
    ane = sample.devices[1]
    # Here the engine's power is 0 while it is switched on for a quarter of the time.
    assert (ane.power_w, ane.active_ratio, ane.estimated) == (0, 0.25, ("active_ratio",))
    assert sample.thermal == "Fair"


@pytest.mark.parametrize("indent", [None, 2])
def test_an_array_of_mactop_is_its_samples(indent: int | None) -> None:
    text = json.dumps([MACTOP, MACTOP], indent=indent).encode()
    reader = reader_for(text)
    assert isinstance(reader, MactopReader)
    assert len(reader.feed(text)) == 2


def test_amdgpu_top_gives_base_units_and_who_holds_memory() -> None:
    text = json.dumps(AMDGPU).encode() + b"\n"
    reader = reader_for(text)
    assert isinstance(reader, AmdgpuTopReader)
    (sample,) = reader.feed(text, 5)
    (card,) = sample.devices
    assert (sample.at_ns, sample.elapsed_ns, card.id) == (5, NS, "0000:03:00.0")
    assert (card.active_ratio, card.memory_busy_ratio, card.power_w) == (0.42, 0.07, 120)
    assert (card.temperature_c, card.freq_hz, card.fan_rpm) == (55, 2400e6, 900)
    assert (card.memory_used_bytes, card.memory_total_bytes) == (2 * GIB, 16 * GIB)
    assert [(one.pid, one.memory_bytes) for one in card.processes] == [(123, GIB)]


def test_a_dump_of_amdgpu_top_is_one_sample() -> None:
    text = json.dumps([{"DeviceName": name, "VRAM": {}} for name in ("a", "b")], indent=2).encode()
    reader = AmdgpuTopReader()
    assert reader.feed(text) == []
    (sample,) = reader.end()
    assert [card.name for card in sample.devices] == ["a", "b"]
    assert "power_w" in sample.devices[0].unknown


objects = st.lists(st.sampled_from([b'{"a": {"b": "}{"}}', b'{"x": "\\"\\\\{"}', b"{}"]), max_size=5)
noise = st.sampled_from([b"", b"\n", b",", b"[", b"]\n", b"warning: x\n", b"\0", b"\xff"])


@settings(deadline=None)
@given(objects, noise, st.lists(st.integers(0, 200), max_size=9))
def test_objects_are_found_however_the_stream_is_cut(
    found: list[bytes], between: bytes, where: list[int]
) -> None:
    data = between.join(found) + between
    assert ObjectCutter().feed(data) == found
    marks = [0, *sorted(mark % (len(data) + 1) for mark in where), len(data)]
    pieces, bytewise = ObjectCutter(), ObjectCutter()
    assert [one for a, b in pairwise(marks) for one in pieces.feed(data[a:b])] == found
    assert [one for at in range(len(data)) for one in bytewise.feed(data[at : at + 1])] == found


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_no_bytes_make_the_new_readers_fail(data: bytes) -> None:
    for reader in (MactopReader(), AmdgpuTopReader(), NvidiaCsvReader()):
        samples: list[Any] = [*reader.feed(data), *reader.feed(b"\n" + data), *reader.end()]
        assert isinstance(samples, list)
    assert isinstance(ioreg_devices(data.decode("utf-8", "replace")), tuple)


def test_an_object_that_is_cut_off_costs_itself_only() -> None:
    cutter = ObjectCutter()
    assert cutter.feed(b'{"cut": "in the mid\n{"whole": 1}\n') == [b'{"whole": 1}']
    assert cutter.dropped == 1


def test_an_object_that_never_ends_never_eats_memory() -> None:
    cutter = ObjectCutter()
    cutter.feed(b'{"a": "')
    for _ in range(3 * MAX_OBJECT_BYTES // 65_536):
        cutter.feed(b"x" * 65_536)
        assert cutter.buffered <= MAX_OBJECT_BYTES + 65_536
    assert cutter.oversized >= 1


IOREG = """+-o AGXAcceleratorG16X  <class AGXAcceleratorG16X, id 0x10000050b, registered, matched>
    {
      "PerformanceStatistics" = {"In use system memory (driver)"=0,"Alloc system memory"=153000000000,\
"Tiler Utilization %"=20,"Device Utilization %"=21,"In use system memory"=351141888}
      "model" = "Apple M4 Max"
    }
"""


def test_ioreg_tells_activity_and_memory_without_root() -> None:
    (gpu,) = ioreg_devices(IOREG, 64 * GIB)
    assert (gpu.name, gpu.active_ratio, gpu.power_w) == ("Apple M4 Max GPU", 0.21, None)
    assert (gpu.memory_used_bytes, gpu.memory_total_bytes, gpu.shares_memory) == (351141888, 64 * GIB, True)
    assert "power_w" in gpu.unknown
    assert ioreg_devices("") == ()


def test_the_thermal_level_has_the_words_of_powermetrics() -> None:
    assert thermal_word("com.apple.system.thermalpressurelevel 0\n") == "Nominal"
    assert thermal_word("com.apple.system.thermalpressurelevel 2\n") == "Heavy"
    assert thermal_word("com.apple.system.thermalpressurelevel 9") == "level 9"
    assert thermal_word("") is None


def tiers(*pairs: tuple[str, int]) -> list[CpuTier]:
    return [CpuTier(name=name, cores=cores) for name, cores in pairs]


def test_kinds_of_cores_are_named_as_the_system_names_them() -> None:
    text = (
        "hw.nperflevels: 2\nhw.perflevel0.name: Super\nhw.perflevel0.logicalcpu: 6\n"
        "hw.perflevel1.name: Performance\nhw.perflevel1.logicalcpu: 12\niogpu.wired_limit_mb: 0\n"
        "hw.memsize: 68719476736\nmachdep.cpu.brand_string: Apple M5 Max\n"
    )
    facts = mac_facts(text)
    assert (facts.chip, facts.memory_bytes, facts.gpu_limit_bytes) == ("Apple M5 Max", 64 * GIB, None)
    named = with_kinds(tiers(("P0-Cluster", 6), ("P1-Cluster", 6), ("S-Cluster", 6)), facts.kinds)
    assert [tier.kind for tier in named] == ["Performance", "Performance", "Super"]
    m1 = (CoreKind("Performance", 4), CoreKind("Efficiency", 4))
    assert [tier.kind for tier in with_kinds(tiers(("E-Cluster", 4), ("P-Cluster", 4)), m1)] == [
        "Efficiency",
        "Performance",
    ]
    assert [tier.kind for tier in with_kinds(tiers(("X-Cluster", 3)), m1)] == [None]


def test_the_gaps_of_a_mac_are_filled_and_say_by_whom(tmp_path: Path) -> None:
    def program(name: str, words: str) -> list[str]:
        (tmp_path / name).write_text(words)
        return ["/bin/cat", str(tmp_path / name)]

    extra = MacExtra(
        program("ioreg", IOREG), program("notify", "level 1"), program("sysctl", "hw.memsize: 9\n")
    )
    gpu = Device(id="gpu", kind="gpu", name="Apple GPU", active_ratio=0.9, unknown={"memory_used_bytes": "x"})
    bare = Sample(at_ns=1, elapsed_ns=NS, source="macmon", devices=(gpu,), unknown={"thermal": "x"})
    filled = extra.add(bare, 0)
    assert (filled.source, filled.thermal, filled.devices[0].active_ratio) == ("macmon", "Moderate", 0.9)
    assert filled.devices[0].memory_used_bytes == 351141888
    assert filled.origins == {"devices.gpu.memory_used_bytes": "ioreg", "thermal": "notifyutil"}
    assert "thermal" not in filled.unknown
    alone = extra.add(Sample(at_ns=1, elapsed_ns=NS, source="host", devices=(), unknown={"devices": "x"}), 0)
    assert (alone.source, alone.devices[0].active_ratio) == ("ioreg", 0.21)
    assert "devices" not in alone.unknown
    nothing = MacExtra(["/nowhere/ioreg"], ["/nowhere/notifyutil"], ["/nowhere/sysctl"])
    assert nothing.add(bare, 0) == bare


CSV = b"""index, name, utilization.gpu [%], memory.used [MiB], power.draw [W], clocks_throttle_reasons.hw_slowdown
0, NVIDIA L4, 95 %, 1024 MiB, 71.50 W, Not Active
1, NVIDIA L4, [N/A], [Not Supported], N/A, Active
0, NVIDIA L4, 90 %, 1024 MiB, 70.00 W, Not Active
"""


def test_a_table_of_nvidia_smi_becomes_a_sample_for_each_round() -> None:
    reader = reader_for(CSV)
    first, second = [*reader.feed(CSV), *reader.end()]
    one, other = first.devices
    assert (one.active_ratio, one.memory_used_bytes, one.power_w) == (0.95, GIB, 71.5)
    assert (other.active_ratio, other.power_w, other.throttle) == (None, None, ("hardware slowdown",))
    assert [card.active_ratio for card in second.devices] == [0.9]


def test_energy_counters_give_watts_also_when_they_run_over() -> None:
    before = {"a": EnergyCounter("package-0", 900, 1000), "b": EnergyCounter("package-1", 0, 1000)}
    now = {"a": EnergyCounter("package-0", 100, 1000), "b": EnergyCounter("package-1", 400, 1000)}
    power = watts(before, now, 1_000_000)
    assert power == {"package-0": pytest.approx(0.2), "package-1": pytest.approx(0.4)}
    assert package_watts(power) == pytest.approx(0.6)
    assert watts(before, now, 0) == watts({}, now, 5) == {}
    assert package_watts({}) is None


def test_the_processors_power_is_read_from_the_kernels_counters(tmp_path: Path) -> None:
    zone = tmp_path / "intel-rapl:0"
    for path in (zone, tmp_path / "intel-rapl-mmio:0", tmp_path / "intel-rapl:0:0"):
        path.mkdir()
        (path / "name").write_text("package-0\n")
        (path / "max_energy_range_uj").write_text("262143328850\n")
        (path / "energy_uj").write_text("5000000\n")
    extra = RaplExtra(tmp_path)
    bare = Sample(at_ns=1, elapsed_ns=NS, source="nvml", cpu=Cpu(ratio=0.5), devices=())
    assert "zero point" in extra.add(bare, NS).unknown["cpu.power_w"]
    (zone / "energy_uj").write_text("17000000\n")
    sample = extra.add(bare, 2 * NS)
    assert sample.cpu is not None
    assert (sample.cpu.power_w, sample.package_power_w) == (12.0, 12.0)
    assert sample.origins["cpu.power_w"] == "rapl"


@contextlib.contextmanager
def as_ordinary_user() -> Iterator[None]:
    """Root may read everything: where the tests run as root, they are somebody else for a moment."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65_534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_refused_counter_names_the_remedy() -> None:
    with tempfile.TemporaryDirectory() as folder:
        powercap = Path(folder)
        powercap.chmod(0o755)
        zone = powercap / "intel-rapl:0"
        zone.mkdir(mode=0o755)
        (zone / "name").write_text("package-0\n")
        (zone / "energy_uj").write_text("1")
        (zone / "energy_uj").chmod(0)
        bare = Sample(at_ns=1, elapsed_ns=NS, source="nvml", cpu=Cpu(ratio=0.5), devices=())
        with as_ordinary_user():
            told = RaplExtra(powercap).add(bare, NS)
    assert told.cpu is not None and told.cpu.power_w is None
    assert "chmod" in told.unknown["cpu.power_w"]


DOCUMENT = (
    b'<?xml version="1.0"?>\n<plist version="1.0"><dict><key>elapsed_ns</key><integer>1000000000</integer>'
    b"<key>gpu</key><dict><key>idle_ratio</key><real>0.25</real></dict></dict></plist>\n"
)


def grow(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


def test_asitops_file_is_read_from_its_end_on_and_a_newer_one_takes_over(tmp_path: Path) -> None:
    old, new = tmp_path / "asitop_powermetrics1", tmp_path / "asitop_powermetrics2"
    grow(old, DOCUMENT * 3)
    source = AsitopFile(tmp_path)
    assert source.step(NS, 1) == []
    grow(old, b"\0" + DOCUMENT[:50])
    assert source.step(2 * NS, 2) == []
    grow(old, DOCUMENT[50:])
    (sample,) = source.step(3 * NS, 3)
    assert (sample.devices[0].active_ratio, sample.at_ns, source.state) == (0.75, 3, "live")
    old.write_bytes(b"")
    assert source.step(4 * NS, 4) == []
    old.unlink()
    grow(new, DOCUMENT)
    assert source.step(5 * NS, 5) == []
    grow(new, DOCUMENT)
    assert len(source.step(6 * NS, 6)) == 1
    assert source.step(40 * NS, 7) == []
    assert source.hopeless and "no longer grows" in str(source.problem)
    source.close()


def test_whatever_lies_beside_it_asitops_own_file_is_read(tmp_path: Path) -> None:
    own = tmp_path / "asitop_powermetrics1"
    grow(own, DOCUMENT)
    source = AsitopFile(tmp_path)
    source.step(NS, 1)
    (tmp_path / "asitop_powermetrics2").symlink_to(own)
    (tmp_path / "asitop_powermetrics3").mkdir()
    grow(own, DOCUMENT)
    assert len(source.step(2 * NS, 2)) == 1
    source.close()


def test_a_link_a_folder_or_a_strangers_file_is_not_believed(tmp_path: Path) -> None:
    real = tmp_path / "elsewhere"
    grow(real, DOCUMENT)
    link = tmp_path / "asitop_powermetrics1"
    link.symlink_to(real)
    source = AsitopFile(tmp_path)
    source.step(NS, 1)
    assert source.state == "failed" and "can't be read" in str(source.problem)
    link.unlink()
    link.mkdir()
    source = AsitopFile(tmp_path)
    source.step(NS, 1)
    assert "somebody else" in str(source.problem)
    link.rmdir()
    grow(link, DOCUMENT)
    source = AsitopFile(tmp_path, owners=(4_000_000,))
    source.step(NS, 1)
    assert "somebody else" in str(source.problem)
    empty = tmp_path / "empty"
    empty.mkdir()
    source = AsitopFile(empty)
    source.step(NS, 1)
    assert source.hopeless and "No file of a running asitop" in str(source.problem)

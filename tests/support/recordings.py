"""Recordings of measurements made up for tests and pictures: the layouts of many chips and systems, values from a plan.

Nothing here is copied from a real machine; the numbers come from the caller, so that a test can work out what is right.
"""

from __future__ import annotations

import datetime
import json
import plistlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from xml.sax.saxutils import escape

from nightdesk.core.sensors.recordings import HEAD_BYTES, reader_for
from nightdesk.model.sample import Device, Sample, sensor_encoder

START = datetime.datetime(2026, 3, 14, 22, 30, 0, tzinfo=datetime.UTC)
Json = dict[str, Any]


class Cluster(NamedTuple):
    """A cluster: its name, the busy share of each core, how much of the rest the cores were powered off."""

    name: str
    busy: tuple[float, ...]
    down: float | None = None
    mhz: float = 2000.0
    own_idle: float | None = None
    """What the cluster says of itself; by default the share in which none of its cores could have run."""


class Chip(NamedTuple):
    """One second of a chip. Powers in mW; None leaves the counter out."""

    clusters: tuple[Cluster, ...]
    cpu_mw: float | None = 4000.0
    gpu_mw: float | None = 9000.0
    ane_mw: float | None = 300.0
    gpu_busy: float | None = 0.7
    gpu_mhz: float = 1100.0
    thermal: str | None = "Nominal"

    @property
    def busy(self) -> float:
        """The mean share of its cores."""
        shares = [share for cluster in self.clusters for share in cluster.busy]
        return sum(shares) / len(shares)


def plist(
    chip: Chip, *, second: int = 0, elapsed_ms: int = 1004, energy_only: bool = False, twice: bool = False
) -> bytes:
    """A document of ``powermetrics -f plist``.

    ``energy_only``: as before macOS 13. ``twice``: keys of the gpu section come twice, as under macOS 14 and 15.
    """
    root: Json = {
        "is_delta": True,
        "elapsed_ns": elapsed_ms * 1_000_000,
        "hw_model": "Mac00,0",
        "timestamp": (START + datetime.timedelta(seconds=second)).replace(tzinfo=None),
    }
    if chip.clusters:
        root["processor"] = {
            "clusters": _clusters(chip, elapsed_ms),
            **_powers(chip, elapsed_ms, energy_only),
        }
    if chip.gpu_busy is not None:
        idle = 1 - chip.gpu_busy
        root["gpu"] = {
            "freq_hz": chip.gpu_mhz,
            "idle_ns": int(idle * elapsed_ms * 1e6),
            "idle_ratio": idle,
            "dvfm_states": [{"freq": 338, "used_ratio": 0.1}, {"freq": 338, "used_ratio": 0.0}],
            "gpu_energy": round((chip.gpu_mw or 0) * elapsed_ms / 1000),
        }
    if chip.thermal is not None:
        root["thermal_pressure"] = chip.thermal
    text = plistlib.dumps(root, sort_keys=False) + b"\n"
    if twice and chip.gpu_busy is not None:
        key = b"<key>idle_ratio</key>\n\t\t<real>" + str(1 - chip.gpu_busy).encode() + b"</real>\n"
        assert key in text
        text = text.replace(key, key * 2)
    return text


def _clusters(chip: Chip, elapsed_ms: int) -> list[Json]:
    found, number = [], 0
    for cluster in chip.clusters:
        cores: list[Json] = []
        for share in cluster.busy:
            core: Json = {"cpu": number, "freq_hz": cluster.mhz * 1e6 if share else 0.0}
            core["idle_ratio"] = 1 - share
            if cluster.down is not None:
                core["down_ratio"] = (1 - share) * cluster.down
                core["idle_ratio"] = (1 - share) * (1 - cluster.down)
            core["idle_ns"] = int(core["idle_ratio"] * elapsed_ms * 1e6)
            cores.append(core)
            number += 1
        idle = max(0.0, 1 - sum(cluster.busy)) if cluster.own_idle is None else cluster.own_idle
        found.append({"name": cluster.name, "freq_hz": cluster.mhz * 1e6, "idle_ratio": idle, "cpus": cores})
    return found


def _powers(chip: Chip, elapsed_ms: int, energy_only: bool) -> Json:
    parts = {"cpu": chip.cpu_mw, "gpu": chip.gpu_mw, "ane": chip.ane_mw}
    known = {name: power for name, power in parts.items() if power is not None}
    found: Json = {f"{name}_energy": round(power * elapsed_ms / 1000) for name, power in known.items()}
    whole = sum(known.values())
    if energy_only:
        return found | {"package_energy": round(whole * elapsed_ms / 1000)}
    return found | {f"{name}_power": power for name, power in known.items()} | {"combined_power": whole}


def text(chip: Chip, macos: int = 15, *, second: int = 0, elapsed_ms: float = 1004.51) -> str:
    """A sample of ``powermetrics`` for people, in the wording of a system."""
    moment = (START + datetime.timedelta(seconds=second)).strftime("%a %b %d %H:%M:%S %Y +0000")
    lines = [f"*** Sampled system activity ({moment}) ({elapsed_ms:.2f}ms elapsed) ***", ""]
    lines += ["**** Processor usage ****", "", *_text_clusters(chip, macos), "", *_text_powers(chip, macos)]
    if chip.gpu_busy is not None:
        word = "" if macos < 13 else "HW "
        active = _percent(chip.gpu_busy)
        lines += ["", "**** GPU usage ****", "", f"GPU {word}active frequency: {chip.gpu_mhz:.0f} MHz"]
        lines += [f"GPU {word}active residency: {active} (338 MHz: {active} 618 MHz:   0%)"]
        lines += [f"GPU idle residency: {_percent(1 - chip.gpu_busy)}", f"GPU Power: {chip.gpu_mw:.0f} mW"]
    if chip.thermal is not None:
        lines += ["", "**** Thermal pressure ****", "", f"Current pressure level: {chip.thermal}"]
    return "\n".join([*lines, "", ""])


def _percent(share: float) -> str:
    """``7.5%`` and without a zero in front: ``.79%``."""
    return f"{100 * share:6.2f}%".replace(" 0.", "  .")


def _text_clusters(chip: Chip, macos: int) -> list[str]:
    lines, number = [], 0
    cpu = "cpu" if macos == 11 else "CPU"
    for cluster in chip.clusters:
        if macos in (11, 12):
            lines.append(f"{cluster.name} Power: 12 mW")
        if cluster.down is not None:
            lines.append(f"{cluster.name} Online: 66%")
        lines += [f"{cluster.name} HW active frequency: {cluster.mhz:.0f} MHz"]
        lines += [f"{cluster.name} HW active residency: {_percent(min(1, sum(cluster.busy)))}"]
        for share in cluster.busy:
            idle = 1 - share if cluster.down is None else (1 - share) * (1 - cluster.down)
            lines += [f"{cpu} {number} frequency: {cluster.mhz if share else 0:.0f} MHz"]
            lines += [f"{cpu} {number} idle residency: {_percent(idle)}"]
            if cluster.down is not None:
                lines += [f"{cpu} {number} down residency: {_percent((1 - share) * cluster.down)}"]
            number += 1
    return lines


def _text_powers(chip: Chip, macos: int) -> list[str]:
    whole = sum(part or 0 for part in (chip.cpu_mw, chip.gpu_mw, chip.ane_mw))
    lines = [f"ANE Power: {chip.ane_mw or 0:.0f} mW", f"GPU Power: {chip.gpu_mw or 0:.0f} mW"]
    if macos == 11:
        lines += [f"Clusters Total Power: {chip.cpu_mw or 0:.0f} mW", f"Package Power: {whole:.0f} mW"]
    elif macos == 12:
        lines += [
            "DRAM Power: 20 mW",
            f"CPU Power: {chip.cpu_mw or 0:.0f} mW",
            f"Package Power: {whole:.0f} mW",
        ]
    else:
        lines += [f"CPU Power: {chip.cpu_mw or 0:.0f} mW"]
        lines += [f"Combined Power (CPU + GPU + ANE): {whole:.0f} mW"]
    return lines


def smi(cards: Sequence[Mapping[str, str]], version: int = 12, *, second: int = 0) -> bytes:
    """A report of ``nvidia-smi -q -x``. A card is a mapping of paths (``fb_memory_usage/used``) to texts."""
    moment = (START + datetime.timedelta(seconds=second)).strftime("%a %b %d %H:%M:%S %Y")
    body = "".join(
        f'<gpu id="{index:08X}:01:00.0">{_elements(card)}</gpu>' for index, card in enumerate(cards)
    )
    kind = f'<!DOCTYPE nvidia_smi_log SYSTEM "nvsmi_device_v{version}.dtd">'
    inner = f"<timestamp>{moment}</timestamp><attached_gpus>{len(cards)}</attached_gpus>{body}"
    return f'<?xml version="1.0" ?>\n{kind}\n<nvidia_smi_log>{inner}</nvidia_smi_log>\n'.encode()


def _elements(paths: Mapping[str, str]) -> str:
    """Nested elements; ``a/b#2/c`` is the second b."""
    tree: dict[str, Any] = {}
    for path, value in paths.items():
        *above, last = path.split("/")
        at = tree
        for name in above:
            at = at.setdefault(name, {})
        at[last] = value
    return _nested(tree)


def _nested(tree: Mapping[str, Any]) -> str:
    found = []
    for name, value in tree.items():
        tag = name.partition("#")[0]
        inner = _nested(value) if isinstance(value, dict) else escape(value)
        found.append(f"<{tag}>{inner}</{tag}>")
    return "".join(found)


def lines_of(objects: Sequence[Json]) -> bytes:
    """JSON Lines."""
    return b"".join(json.dumps(one).encode() + b"\n" for one in objects)


def macmon(share: float, *, second: int = 0) -> Json:
    """A line of macmon 0.8.2 on a machine with two tiers, a fan and 64 GB."""
    return {
        "timestamp": (START + datetime.timedelta(seconds=second)).isoformat(),
        "gpu_active_ratio": share,
        "gpu_scaled_ratio": share * 0.8,
        "gpu_freq_mhz": int(400 + 1000 * share),
        "gpu_power": 1.2 + 38.0 * share,
        "cpu_power": 2.0 + 9.0 * share,
        "ane_power": 0.4 * share,
        "all_power": 3.2 + 47.4 * share,
        "sys_power": 14.0 + 52.0 * share,
        "ecpu_active_ratio": 0.1 + 0.5 * share,
        "ecpu_cores": [{"active_ratio": 0.1 + 0.5 * share}] * 4,
        "pcpu_active_ratio": 0.3 * share,
        "pcpu_cores": [{"active_ratio": 0.3 * share}] * 12,
        "temp": {"gpu_temp_avg": 41.0 + 30 * share, "cpu_temp_avg": 45.0},
        "memory": {"ram_total": 64 * 10**9, "ram_usage": int((18 + 30 * share) * 1e9), "swap_usage": 0},
        "fans": [{"name": "left", "rpm": 1200 + 1500 * share, "max_rpm": 5800}],
        "soc": {
            "chip_name": "Apple M4 Max", "ecpu_label": "E", "pcpu_label": "P", "ecpu_cores": 4, "pcpu_cores": 12,
        },
    }  # fmt: skip


def mactop(share: float, *, second: int = 0) -> Json:
    """An object of ``mactop --headless`` on a chip with Super and Performance cores and none that are efficient."""
    return {
        "timestamp": (START + datetime.timedelta(seconds=second)).isoformat(),
        "soc_metrics": {
            "cpu_power": 2.0 + 9.0 * share,
            "gpu_power": 1.0 + 30.0 * share,
            "ane_power": 0,
            "system_power": 20.0 + 50.0 * share,
            "gpu_freq_mhz": int(400 + 1000 * share),
            "gpu_active": 100 * share,
            "e_cluster_active": 0,
            "p_cluster_active": 10.0,
            "s_cluster_active": 100 * share,
            "e_cluster_freq_mhz": 0,
            "p_cluster_freq_mhz": 2900,
            "s_cluster_freq_mhz": 4400,
            "gpu_temp": 40.0 + 30 * share,
            "ane_active": 25.0,
        },
        "memory": {"total": 64 * 10**9, "used": int((18 + 30 * share) * 1e9), "swap_used": 0},
        "cpu_usage": 50 * share,
        "core_usages": [10.0] * 12 + [100 * share] * 6,
        "system_info": {"name": "Apple M5 Max", "core_count": 18, "p_core_count": 12, "s_core_count": 6},
        "thermal_state": "Fair",
    }


def amdgpu_top(share: float) -> Json:
    """An object of ``amdgpu_top -J`` with one card."""
    quantities: dict[str, dict[str, tuple[float, str]]] = {
        "gpu_activity": {"GFX": (100 * share, "%"), "Memory": (7, "%")},
        "Sensors": {"Average Power": (200 * share, "W"), "GFX_SCLK": (2400, "MHz")},
        "VRAM": {"Total VRAM Usage": (2048, "MiB"), "Total VRAM": (16384, "MiB")},
    }
    card: Json = {
        section: {name: {"value": value, "unit": unit} for name, (value, unit) in names.items()}
        for section, names in quantities.items()
    }
    card["Info"] = {"DeviceName": "AMD Radeon RX 9070 XT", "PCI": "0000:03:00.0"}
    return {"devices": [card], "period": {"duration": 1000, "unit": "ms"}}


def amd_smi(share: float, number: int = 0) -> Json:
    """A card of ``amd-smi metric --json``."""

    def quantity(value: float, unit: str) -> Json:
        return {"value": value, "unit": unit}

    return {
        "gpu": number,
        "usage": {"gfx_activity": quantity(100 * share, "%"), "umc_activity": quantity(7, "%"), "mm_activity": "N/A"},
        "power": {"socket_power": quantity(500 * share, "W"), "throttle_status": "UNTHROTTLED"},
        "clock": {"gfx_0": {"clk": quantity(2100, "MHz"), "deep_sleep": "DISABLED"}, "mem_0": {"clk": "N/A"}},
        "temperature": {"edge": "N/A", "hotspot": quantity(61, "C"), "mem": quantity(58, "C")},
        "fan": {"speed": "N/A", "rpm": "N/A", "usage": "N/A"},
        "mem_usage": {"total_vram": quantity(196_592, "MB"), "used_vram": quantity(49_148, "MB")},
    }  # fmt: skip


def read(data: bytes, dropped: int = 0) -> list[Sample]:
    """The samples of a recording, whole, and the same however it is cut."""
    reader = reader_for(data[:HEAD_BYTES])
    samples = [*reader.feed(data), *reader.end()]
    assert reader.dropped == dropped
    again = reader_for(data[:HEAD_BYTES])
    assert [
        one for at in range(0, len(data), 7) for one in again.feed(data[at : at + 7])
    ] + again.end() == samples
    for sample in samples:
        sensor_encoder.encode(sample)
    return samples


def device(sample: Sample, kind: str) -> Device:
    return next(one for one in sample.devices if one.kind == kind)

"""What NVIDIA's numbers mean: reasons for slow clocks, errors of the driver, the report of ``nvidia-smi -q -x``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final, Literal
from xml.etree import ElementTree

from nightdesk.model.sample import Device, DeviceProcess, Sample

THROTTLE_WORDS: Final = {
    0x04: "power cap",
    0x08: "hardware slowdown",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "power brake",
}
"""Bits of the clock event mask that mean "slower than it could be". Idle (1) and fixed clocks (2) are normal."""

_MIB: Final = 1024 * 1024


def throttle_words(mask: int) -> tuple[str, ...]:
    """Why the clocks are held down, in words; empty for a card that is idle or runs freely."""
    return tuple(word for bit, word in THROTTLE_WORDS.items() if mask & bit)


@dataclass(frozen=True, slots=True)
class NvmlFault:
    """An error code of NVML: what it means for people, and what the reader of the counters should do."""

    sentence: str
    remedy: str = ""
    scope: Literal["metric", "device", "driver"] = "metric"
    """``metric`` blanks one value, ``device`` one card, ``driver`` everything until NVML opens again."""
    rare: bool = False
    """Only the user can mend it: asking again every few minutes is enough."""

    def __str__(self) -> str:
        return f"{self.sentence} {self.remedy}".strip()


_REBOOT = "Restart the machine, or reload the driver."
_INSTALL = "Install the NVIDIA driver; in a container, start it with access to the GPU."
NVML_FAULTS: Final = {
    1: NvmlFault("NVML was closed.", scope="driver"),
    3: NvmlFault("This card does not report it."),
    4: NvmlFault("The driver allows this to root only."),
    6: NvmlFault("The driver has no value for it."),
    9: NvmlFault("The NVIDIA driver is not loaded.", "Load it: sudo modprobe nvidia", "driver", True),
    12: NvmlFault("The NVIDIA driver library (libnvidia-ml) was not found.", _INSTALL, "driver", True),
    13: NvmlFault("The installed driver is too old for it."),
    15: NvmlFault("The GPU is lost: it fell off the bus or crashed.", _REBOOT, "device"),
    16: NvmlFault("The GPU needs a reset.", "Run: sudo nvidia-smi --gpu-reset", "device"),
    18: NvmlFault("Driver and library have different versions, as after an update.", _REBOOT, "driver", True),
    27: NvmlFault("The GPU is not ready yet."),
    28: NvmlFault("The GPU was not found any more.", _REBOOT, "device"),
}


def nvml_fault(code: int) -> NvmlFault:
    """The meaning of NVML's error ``code``; unknown codes blank one value."""
    return NVML_FAULTS.get(code) or NvmlFault(f"The driver answered with error {code}.")


def smi_sample(document: bytes, at_ns: int) -> Sample | None:
    """The sample in one report of ``nvidia-smi -q -x``; None where it is no such report.

    The schema of versions 11, 12 and 13 is understood; "N/A" and its relatives become unknown.
    """
    if b"<!ENTITY" in document:
        return None
    try:
        root = ElementTree.fromstring(document)  # noqa: S314 - entities are refused above
    except (ElementTree.ParseError, ValueError, LookupError):
        return None
    if root.tag != "nvidia_smi_log":
        return None
    devices = tuple(_smi_device(index, gpu) for index, gpu in enumerate(root.findall("gpu")))
    unknown = {} if devices else {"devices": "The report lists no GPU."}
    return Sample(at_ns=at_ns, elapsed_ns=0, source="nvidia-smi", devices=devices, unknown=unknown)


def _smi_device(index: int, gpu: ElementTree.Element) -> Device:
    fields: dict[str, Any] = {
        "active_ratio": _scaled(gpu, ("utilization/gpu_util",), 0.01),
        "memory_used_bytes": _bytes(gpu, "fb_memory_usage/used"),
        "memory_total_bytes": _bytes(gpu, "fb_memory_usage/total"),
        "power_w": _scaled(gpu, ("gpu_power_readings/instant_power_draw", *_power_paths("power_draw")), 1),
        "power_limit_w": _scaled(
            gpu, _power_paths("current_power_limit", "enforced_power_limit", "power_limit"), 1
        ),
        "freq_hz": _scaled(gpu, ("clocks/sm_clock", "clocks/graphics_clock"), 1e6),
        "temperature_c": _scaled(gpu, ("temperature/gpu_temp",), 1),
        "fan_ratio": _scaled(gpu, ("fan_speed",), 0.01),
    }
    return Device(
        id=gpu.findtext("uuid") or gpu.get("id") or f"nvidia{index}",
        kind="gpu",
        name=gpu.findtext("product_name") or "NVIDIA GPU",
        **fields,
        throttle=_smi_throttle(gpu),
        processes=tuple(_smi_processes(gpu)),
        unknown={
            name: "nvidia-smi reports no value for it." for name, value in fields.items() if value is None
        },
    )


def _power_paths(*names: str) -> tuple[str, ...]:
    return tuple(
        f"{section}/{name}" for name in names for section in ("gpu_power_readings", "power_readings")
    )


_QUANTITY = re.compile(r"\s*(\d{1,12}(?:\.\d{1,6})?)")


def _scaled(gpu: ElementTree.Element, paths: tuple[str, ...], factor: float) -> float | None:
    for path in paths:
        found = _QUANTITY.match(gpu.findtext(path) or "")
        if found:
            return float(found[1]) * factor
    return None


def _bytes(gpu: ElementTree.Element, path: str) -> int | None:
    mib = _scaled(gpu, (path,), 1)
    return None if mib is None else int(mib * _MIB)


_SMI_THROTTLE: Final = {
    "sw_power_cap": 0x04,
    "hw_slowdown": 0x08,
    "sw_thermal_slowdown": 0x20,
    "hw_thermal_slowdown": 0x40,
    "hw_power_brake_slowdown": 0x80,
}


def _smi_throttle(gpu: ElementTree.Element) -> tuple[str, ...]:
    mask = 0
    for section in ("clocks_event_reason", "clocks_throttle_reason"):
        for name, bit in _SMI_THROTTLE.items():
            if gpu.findtext(f"{section}s/{section}_{name}") == "Active":
                mask |= bit
    return throttle_words(mask)


def _smi_processes(gpu: ElementTree.Element) -> list[DeviceProcess]:
    found = []
    for entry in gpu.findall("processes/process_info"):
        pid = entry.findtext("pid") or ""
        if pid.isascii() and pid.isdigit() and len(pid) < 12:
            found.append(DeviceProcess(pid=int(pid), memory_bytes=_bytes(entry, "used_memory")))
    return found

"""Reads the JSON of ``amdgpu_top``: its stream (``-J``) and its dump (``-J -d``). Bytes in, samples out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from nightdesk.core.sensors.amdgpu import add_shared
from nightdesk.core.sensors.apple import clamp, finite
from nightdesk.core.sensors.objects import ObjectReader, decoded
from nightdesk.model.sample import Device, DeviceProcess, Sample

_UNITS: Final = {"%": 0.01, "MiB": 1024**2, "KiB": 1024, "GiB": 1024**3, "MHz": 1e6, "mW": 1e-3}
_NS: Final = 1_000_000_000
_FLAGS: Final = {
    **dict.fromkeys(("PPT", "SPL", "FPPT", "SPPT", "TDC", "EDC"), "power cap"),
    **dict.fromkeys(("TEMP", "VRHOT", "PROCHOT"), "thermal slowdown"),
}
_PROCESS: Final = re.compile(r"(?:.*\()?(\d{1,11})\)?", re.ASCII | re.DOTALL)
"""``123``, and of older versions ``ollama (123)``."""
_REASON: Final = "amdgpu_top reports no value for it."


class AmdgpuTopReader(ObjectReader):
    """Cuts at whole objects. A dump lists its devices without a frame around them: they are one sample."""

    def __init__(self, interval_ns: int = _NS) -> None:
        super().__init__(interval_ns)
        self._bare: list[Device] = []

    def feed(self, data: bytes, at_ns: int | None = None) -> list[Sample]:
        """Samples of the objects that end within ``data``. They carry no time of their own."""
        found = [self._sample(text, at_ns or 0) for text in self._cutter.feed(data)]
        return [sample for sample in found if sample is not None]

    def end(self, at_ns: int | None = None) -> list[Sample]:
        """The sample of a dump."""
        self._cutter.end()
        bare, self._bare = self._bare, []
        return [_of(bare, at_ns or 0, 0)] if bare else []

    def _sample(self, text: bytes, at_ns: int) -> Sample | None:
        root = decoded(text)
        if isinstance(root, dict) and isinstance(root.get("devices"), list):
            cards = [card for card in root["devices"] if isinstance(card, dict)]
            # Cards before a frame are the rest of one whose beginning is cut off.
            self._unread += bool(self._bare)
            self._bare = []
            return _of([_device(index, card) for index, card in enumerate(cards)], at_ns, self._period(root))
        if isinstance(root, dict) and "VRAM" in root and "period" in root:
            # Versions before 0.2 knew one card only, and put no frame around it.
            return _of([_device(0, root)], at_ns, self._period(root))
        if isinstance(root, dict) and "VRAM" in root:
            if len(self._bare) < 64:
                self._bare.append(_device(len(self._bare), root))
        else:
            self._unread += 1
        return None

    def _period(self, root: dict[str, Any]) -> int:
        period = root.get("period")
        value = finite(period.get("duration")) if isinstance(period, dict) else None
        return int(value * 1_000_000) if value and value > 0 else self._interval_ns


def _of(devices: Sequence[Device], at_ns: int, elapsed_ns: int) -> Sample:
    unknown = {} if devices else {"devices": "amdgpu_top lists no GPU."}
    return Sample(
        at_ns=at_ns, elapsed_ns=elapsed_ns, source="amdgpu_top", devices=tuple(devices), unknown=unknown
    )


def _device(index: int, card: dict[str, Any]) -> Device:
    info = card["Info"] if isinstance(card.get("Info"), dict) else card
    path = info.get("DevicePath")
    slot = path.get("pci") if isinstance(path, dict) else None
    busy = _value(card, "gpu_activity", "GFX")
    mhz = _value(card, "Sensors", "GFX_SCLK")
    used, total, shares = _memory(card)
    fields: dict[str, Any] = {
        "active_ratio": clamp(_value(card, "GRBM", "Graphics Pipe") if busy is None else busy),
        "memory_used_bytes": used,
        "memory_total_bytes": total,
        "power_w": _first(card, "Average Power", "Input Power", "GFX Power", "Socket Power"),
        "freq_hz": mhz,
        "temperature_c": _first(card, "Edge Temperature", "Junction Temperature"),
    }
    return Device(
        id=str(slot or info.get("PCI") or f"card{index}"),
        kind="gpu",
        name=str(info.get("MarketingName") or info.get("DeviceName") or "AMD GPU"),
        **fields,
        fan_rpm=_value(card, "Sensors", "Fan"),
        power_limit_w=_value(card, "Sensors", "Power Cap"),
        memory_busy_ratio=clamp(_value(card, "gpu_activity", "Memory")),
        shares_memory=shares,
        throttle=_throttle(card),
        processes=_processes(card),
        unknown={name: _REASON for name, value in fields.items() if value is None},
    )


def _first(card: dict[str, Any], *names: str) -> float | None:
    values = (_value(card, "Sensors", name) for name in names)
    return next((value for value in values if value is not None), None)


def _memory(card: dict[str, Any]) -> tuple[int | None, int | None, bool]:
    names = ("Total VRAM Usage", "Total VRAM", "Total GTT Usage", "Total GTT")
    values = (_value(card, "VRAM", name) for name in names)
    used, total, shared_used, shared = (None if value is None else int(value) for value in values)
    info = card["Info"] if isinstance(card.get("Info"), dict) else card
    built_in = info.get("GPU Type") == "APU" or info.get("APU Type") is True
    return add_shared(used, total, shared_used, shared, built_in=built_in)


def _throttle(card: dict[str, Any]) -> tuple[str, ...]:
    """Words for the flags of the driver: what limits power or current, what limits heat, and others as they come."""
    metrics = card.get("gpu_metrics")
    flags = metrics.get("Throttle Status") if isinstance(metrics, dict) else None
    words: dict[str, None] = {}
    for flag in flags[:64] if isinstance(flags, list) else ():
        if isinstance(flag, str) and flag:
            kinds = (word for start, word in _FLAGS.items() if flag.startswith(start))
            words[next(kinds, flag.lower()[:40])] = None
    return tuple(words)


def _value(card: dict[str, Any], section: str, name: str) -> float | None:
    """A quantity in base units, from ``{"unit": …, "value": …}``."""
    part = card.get(section)
    found = part.get(name) if isinstance(part, dict) else None
    if not isinstance(found, dict):
        return None
    number, unit = finite(found.get("value")), found.get("unit")
    factor = _UNITS.get(unit, 1) if isinstance(unit, str) else 1
    return None if number is None else round(number * factor, 9)


def _processes(card: dict[str, Any]) -> tuple[DeviceProcess, ...]:
    entries = card.get("fdinfo")
    found = []
    for pid, entry in entries.items() if isinstance(entries, dict) else ():
        number = _PROCESS.fullmatch(pid)
        if number is not None and isinstance(entry, dict):
            inner = entry.get("usage")
            # Newer versions wrap the usage in an object of the same name.
            deeper = inner.get("usage") if isinstance(inner, dict) else None
            usage = {"usage": deeper if isinstance(deeper, dict) else inner}
            held, busy = _value(usage, "usage", "VRAM"), _value(usage, "usage", "GFX")
            memory = None if held is None else int(held)
            found.append(DeviceProcess(pid=int(number[1]), memory_bytes=memory, active_ratio=clamp(busy)))
    return tuple(found)

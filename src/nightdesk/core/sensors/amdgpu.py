"""What the small files of the amdgpu driver mean, and the report of ``rocm-smi --json``. Values in, devices out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from nightdesk.core.sensors.objects import ObjectReader, decoded
from nightdesk.model.sample import Device, Sample

VENDOR: Final = "0x1002"
FILES: Final = (
    "gpu_busy_percent",
    "mem_busy_percent",
    "mem_info_vram_used",
    "mem_info_vram_total",
    "mem_info_gtt_used",
    "mem_info_gtt_total",
    "pp_dpm_sclk",
)
"""Files of a card's ``device`` folder that change."""
HWMON_FILES: Final = (
    "power1_average",
    "power1_input",
    "power1_cap",
    "temp1_input",
    "freq1_input",
    "pwm1",
    "pwm1_max",
    "fan1_input",
)
"""Files of its ``hwmon`` folder."""
ASLEEP: Final = "The card sleeps; reading this would wake it."
NOT_REPORTED: Final = "The amdgpu driver does not report it for this card."
_SMALL_VRAM: Final = 2 * 1024**3
_LEVEL = re.compile(r"^\s*\d+:\s*(\d{1,6})\s*Mhz\s*\*", re.IGNORECASE | re.MULTILINE)


def amd_device(card: str, name: str, files: Mapping[str, str], *, asleep: bool = False) -> Device:
    """The card ``card`` (its PCI slot) from the contents of its files by name; a missing file blanks its value.

    A card ``asleep`` is known to do nothing; the rest of it stays unknown, because reading would wake it.
    """
    fields: dict[str, Any] = {"active_ratio": 0.0} if asleep else _fields(files)
    reason = ASLEEP if asleep else NOT_REPORTED
    shown = ("active_ratio", "memory_used_bytes", "memory_total_bytes", "power_w", "freq_hz", "temperature_c")
    unknown = {key: reason for key in shown if fields.get(key) is None}
    return Device(id=card, kind="gpu", name=name, **fields, unknown=unknown)


def _fields(files: Mapping[str, str]) -> dict[str, Any]:
    used, total, shares = _memory(files)
    power_uw = _number(files, "power1_average", "power1_input")
    cap_uw, heat = _number(files, "power1_cap"), _number(files, "temp1_input")
    busy = _number(files, "gpu_busy_percent")
    pwm, pwm_max = _number(files, "pwm1"), _number(files, "pwm1_max")
    traffic = _number(files, "mem_busy_percent")
    return {
        "active_ratio": None if busy is None else min(1.0, busy / 100),
        "memory_used_bytes": used,
        "memory_total_bytes": total,
        "power_w": None if power_uw is None else power_uw / 1e6,
        "power_limit_w": None if cap_uw is None else cap_uw / 1e6,
        "freq_hz": _frequency(files),
        "temperature_c": None if heat is None else heat / 1000,
        "fan_ratio": min(1.0, pwm / pwm_max) if pwm is not None and pwm_max else None,
        "fan_rpm": _number(files, "fan1_input"),
        "memory_busy_ratio": None if traffic is None else min(1.0, traffic / 100),
        "shares_memory": shares,
    }


def _memory(files: Mapping[str, str]) -> tuple[int | None, int | None, bool]:
    names = ("mem_info_vram_used", "mem_info_vram_total", "mem_info_gtt_used", "mem_info_gtt_total")
    return add_shared(*(_number(files, name) for name in names))


def add_shared(
    used: int | None,
    total: int | None,
    shared_used: int | None,
    shared: int | None,
    *,
    built_in: bool = False,
) -> tuple[int | None, int | None, bool]:
    """Used and total bytes, and whether they are the system's: graphics built in have little memory of their own.

    ``built_in`` where that is known; otherwise the sizes tell.
    """
    if total is None or shared is None:
        return used, total, False
    if not built_in and (total > _SMALL_VRAM or shared <= total):
        return used, total, False
    both = None if used is None or shared_used is None else used + shared_used
    return both, total + shared, True


def _frequency(files: Mapping[str, str]) -> float | None:
    hertz = _number(files, "freq1_input")
    if hertz is not None:
        return float(hertz)
    level = _LEVEL.search(files.get("pp_dpm_sclk", ""))
    return int(level[1]) * 1e6 if level else None


def _number(files: Mapping[str, str], *names: str) -> int | None:
    for name in names:
        text = files.get(name, "").strip()
        if text.isascii() and text.lstrip("-").isdigit() and len(text) < 19:
            return int(text)
    return None


class RocmReader(ObjectReader):
    """Finds the reports of ``rocm-smi --json`` one after another, with whatever warnings between them."""

    def feed(self, data: bytes, at_ns: int | None = None) -> list[Sample]:
        """Samples of the reports that end within ``data``. They carry no time of their own."""
        return [sample for text in self._cutter.feed(data) for sample in self._report(text, at_ns)]

    def end(self, at_ns: int | None = None) -> list[Sample]:
        """Nothing more."""
        self._cutter.end()
        return []

    def _report(self, text: bytes, at_ns: int | None) -> list[Sample]:
        sample = rocm_sample(text, at_ns)
        if sample is None:
            self._unread += 1
            return []
        return [msgspec.structs.replace(sample, elapsed_ns=self._length(sample.at_ns))]


def rocm_sample(document: bytes, at_ns: int | None) -> Sample | None:
    """The sample in one report of ``rocm-smi -a --json``; None where it is no such report.

    The wording of the keys changes between versions: a key is found by its words.
    """
    root = decoded(document)
    if not isinstance(root, dict):
        return None
    cards = {
        key: card for key, card in root.items() if re.fullmatch(r"card\d+", key) and isinstance(card, dict)
    }
    if not cards:
        return None
    devices = tuple(_rocm_device(key, card) for key, card in cards.items())
    return Sample(at_ns=at_ns or 0, elapsed_ns=0, source="rocm-smi", devices=devices)


def _rocm_device(key: str, card: dict[str, Any]) -> Device:
    busy = _value(card, "gpu use (%)")
    used, total, shares = add_shared(
        *(
            _bytes(card, f"{memory} {words}")
            for memory in ("vram", "gtt")
            for words in ("total used memory", "total memory")
        )
    )
    mhz = _value(card, "sclk clock speed", "sclk clock level")
    power = (
        "average graphics package power",
        "current socket graphics package power",
        "current socket power",
    )
    heat = [f"temperature (sensor {place})" for place in ("edge", "junction", "hotspot")]
    fan = _value(card, "fan speed (%)", "fan level (%)")
    fields: dict[str, Any] = {
        "active_ratio": None if busy is None else min(1.0, busy / 100),
        "memory_used_bytes": used,
        "memory_total_bytes": total,
        "power_w": _value(card, *power),
        "power_limit_w": _value(card, "max graphics package power"),
        "freq_hz": None if mhz is None else mhz * 1e6,
        "temperature_c": _value(card, *heat),
    }
    words = {name.lower(): text for name, text in card.items()}
    names = (words.get(name) for name in ("card series", "device name", "card model"))
    unknown = {field: "rocm-smi reports no value for it." for field, value in fields.items() if value is None}
    return Device(
        id=key,
        kind="gpu",
        name=next((text for text in names if isinstance(text, str) and text not in ("", "N/A")), "AMD GPU"),
        **fields,
        fan_ratio=None if fan is None else min(1.0, fan / 100),
        fan_rpm=_value(card, "fan rpm"),
        memory_busy_ratio=_traffic(card),
        shares_memory=shares,
        unknown=unknown,
    )


def _traffic(card: dict[str, Any]) -> float | None:
    percent = _value(card, "gpu memory read/write activity (%)")
    return None if percent is None else min(1.0, percent / 100)


def _bytes(card: dict[str, Any], start: str) -> int | None:
    value = _value(card, start)
    return None if value is None else int(value)


_QUANTITY = re.compile(r"(?:\d+ )?\(?\s*(\d{1,15}(?:\.\d{1,6})?)(?:\s|\)|$|[a-z%])", re.IGNORECASE)
"""``6.0``, ``(300Mhz)``, and with the level before it ``0 (300Mhz)``."""


def _value(card: dict[str, Any], *starts: str) -> float | None:
    for start in starts:
        for key, text in card.items():
            number = text if isinstance(text, int | float) and not isinstance(text, bool) else None
            if key.lower().startswith(start) and number is not None:
                return float(number)
            found = _QUANTITY.match(text) if key.lower().startswith(start) and isinstance(text, str) else None
            if found:
                return float(found[1])
    return None

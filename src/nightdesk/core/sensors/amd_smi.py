"""Reads the JSON of ``amd-smi``: ``metric`` and ``monitor``, with names from ``static``. Bytes in, samples out.

Its versions wrap the cards in an array or in an object (``gpu_data``), rename sections, and write a quantity as a bare
number, as text with its unit, or as an object of both. Its MB are what others call MiB.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

from nightdesk.core.sensors.amdgpu import add_shared
from nightdesk.core.sensors.apple import clamp, finite, stamp_ns
from nightdesk.core.sensors.objects import ObjectReader, decoded
from nightdesk.model.sample import Device, Sample

MOST_CARDS: Final = 256
_REASON: Final = "amd-smi reports no value for it."
_MIB: Final = 1024.0**2
_UNITS: Final = {"KB": 1024.0, "MB": _MIB, "MIB": _MIB, "GB": 1024 * _MIB, "GIB": 1024 * _MIB, "MW": 1e-3}
_TEXT: Final = re.compile(r"\s*(-?\d{1,15}(?:\.\d{1,9})?)\s*([A-Za-z]*)")
_ACTIVE: Final = ("usage/gfx_activity", "usage/apu_average_gfx_activity", "gfx", "gfx_utilization")
_TRAFFIC: Final = ("usage/umc_activity", "usage/mem_activity", "mem", "mem_utilization")
_POWER: Final = (
    "power/socket_power",
    "power/current_socket_power",
    "power/average_socket_power",
    "power/apu_average_socket_power",
    "power_usage",
)
_LIMIT: Final = (
    "power/power_limit",
    "limit/current_power",
    "limit/socket_power",
    "limit/socket_power_limit",
    "limit/ppt0/socket_power_limit",
    "limit/max_power",
    "limit/ppt0/max_power_limit",
    "max_power",
)
_CLOCK: Final = (
    *(f"clock/gfx_{engine}/{name}" for engine in range(8) for name in ("clk", "cur_clk")),
    "clock/gfx/clk",
    "clock/gfx/cur_clk",
    "clock/apu_average_gfxclk_frequency",
    "gfx_clk",
    "gfx_clock",
)
_HEAT: Final = (
    *(f"temperature/{place}" for place in ("edge", "hotspot", "junction", "apu_temperature_gfx")),
    "hotspot_temperature",
    "gpu_t",
)
_MEMORY: Final = ("mem_usage", "fb_usage", "vram_usage", "vram")
_WORDS: Final = {
    "ppt": "power cap",
    "prochot": "hardware slowdown",
    "thermal": "thermal slowdown",
    "socket_thermal": "thermal slowdown",
    "vr_thermal": "voltage regulator too hot",
    "hbm_thermal": "memory too hot",
}
_SIGNS: Final = (
    "usage",
    "power",
    "mem_usage",
    "fb_usage",
    "temperature",
    "clock",
    "gfx",
    "power_usage",
    "vram_used",
)
_FACTS: Final = ("asic", "bus", "limit", "vram")


class AmdSmiReader(ObjectReader):
    """Cards follow each other without a frame in some versions."""

    def __init__(self, interval_ns: int = 1_000_000_000) -> None:
        super().__init__(interval_ns)
        self._facts: dict[int, dict[str, Any]] = {}
        self._cards: dict[int, dict[str, Any]] = {}
        self._at_ns = 0

    def feed(self, data: bytes, at_ns: int | None = None) -> list[Sample]:
        """Samples that are complete now; ``at_ns`` None takes the time stamps that ``--watch`` adds."""
        return [sample for text in self._cutter.feed(data) for sample in self._object(text, at_ns)]

    def end(self, at_ns: int | None = None) -> list[Sample]:
        """The sample that the end of the recording completes."""
        self._cutter.end()
        return self._finish()

    def _object(self, text: bytes, at_ns: int | None) -> list[Sample]:
        root = decoded(text)
        framed = root.get("gpu_data") if isinstance(root, dict) else None
        cards = [card for card in (framed if isinstance(framed, list) else [root]) if _is_card(card)]
        if not cards:
            self._unread += 1
            return []
        found = [sample for card in cards for sample in self._card(card, at_ns)]
        # A frame is complete, whatever follows it; facts alone wait for what is measured.
        return [*found, *self._finish()] if isinstance(framed, list) and self._cards else found

    def _card(self, card: dict[str, Any], at_ns: int | None) -> list[Sample]:
        number = _number(card)
        if facts := {name: card[name] for name in _FACTS if name in card}:
            self._facts[number] = self._facts.get(number, {}) | facts
        if not any(name in card for name in _SIGNS):
            return []
        finished = self._finish() if self._begins(number, card) else []
        self._at_ns = at_ns if at_ns is not None else stamp_ns(card)
        self._cards[number] = self._cards.get(number, {}) | card
        return finished

    def _begins(self, number: int, card: dict[str, Any]) -> bool:
        """A card that comes again begins the next sample, or one before the last: an array may begin in the middle."""
        known = self._cards.get(number, {})
        return bool(known.keys() & card.keys() & set(_SIGNS)) or number < next(reversed(self._cards), 0)

    def _finish(self) -> list[Sample]:
        cards, self._cards = self._cards, {}
        if not cards:
            return []
        devices = tuple(_device(number, self._facts.get(number, {}) | card) for number, card in cards.items())
        at_ns = self._at_ns
        return [Sample(at_ns=at_ns, elapsed_ns=self._length(at_ns), source="amd-smi", devices=devices)]


def _is_card(value: Any) -> bool:
    return isinstance(value, dict) and 0 <= _number(value) < MOST_CARDS


def _number(card: dict[str, Any]) -> int:
    """The number of a card, -1 where it has none that makes sense."""
    number = _quantity(card.get("gpu"), 1.0)
    return -1 if number is None else int(number)


def _device(number: int, card: dict[str, Any]) -> Device:
    used, total, shares = _memory(card)
    mhz = _first(card, _CLOCK)
    busy, fan = _ratio(card, _ACTIVE), _ratio(card, ("fan/usage",))
    fields: dict[str, Any] = {
        "active_ratio": busy,
        "memory_used_bytes": used,
        "memory_total_bytes": total,
        "power_w": _first(card, _POWER),
        "freq_hz": None if mhz is None else mhz * 1e6,
        "temperature_c": _first(card, _HEAT),
    }
    place, name = _at(card, "bus/bdf"), _at(card, "asic/market_name")
    return Device(
        id=place if isinstance(place, str) and place not in ("", "N/A") else f"gpu{number}",
        kind="gpu",
        name=name if isinstance(name, str) and name not in ("", "N/A") else "AMD GPU",
        **fields,
        power_limit_w=_first(card, _LIMIT),
        fan_ratio=fan,
        fan_rpm=_first(card, ("fan/rpm",)),
        memory_busy_ratio=_ratio(card, _TRAFFIC),
        throttle=_throttle(card),
        shares_memory=shares,
        unknown={field: _REASON for field, value in fields.items() if value is None},
    )


def _ratio(card: dict[str, Any], paths: Sequence[str]) -> float | None:
    percent = _first(card, paths)
    return None if percent is None else clamp(percent / 100)


def _memory(card: dict[str, Any]) -> tuple[int | None, int | None, bool]:
    def bytes_of(*names: str) -> int | None:
        value = _first(card, names, _MIB)
        return None if value is None or value < 0 else int(value)

    def within(*names: str) -> Iterator[str]:
        return (f"{section}/{name}" for section in _MEMORY for name in names)

    used = bytes_of(*within("used_vram", "vram_used", "used"), "vram_used")
    total = bytes_of(*within("total_vram", "vram_total", "total"), "vram/size", "vram_total")
    return add_shared(used, total, bytes_of(*within("used_gtt")), bytes_of(*within("total_gtt")))


def _throttle(card: dict[str, Any]) -> tuple[str, ...]:
    """Words for what holds the clocks back; older versions only tell that something does."""
    section = card.get("throttle")
    states = section if isinstance(section, dict) else {}
    words = dict.fromkeys(
        word
        for name, word in _WORDS.items()
        for key in (f"{name}_violation_status", f"{name}_status")
        if states.get(key) in ("ACTIVE", "Active", True)
    )
    if not words and _at(card, "power/throttle_status") == "THROTTLED":
        return ("slowed down",)
    return tuple(words)


def _at(card: dict[str, Any], path: str) -> Any:
    found: Any = card
    for name in path.split("/"):
        found = found.get(name) if isinstance(found, dict) else None
    return found


def _first(card: dict[str, Any], paths: Sequence[str], bare: float = 1.0) -> float | None:
    """The first of ``paths`` with a number, in base units; ``bare`` is the unit of a number without one."""
    return next((value for path in paths if (value := _quantity(_at(card, path), bare)) is not None), None)


def _quantity(value: Any, bare: float) -> float | None:
    unit: Any = ""
    if isinstance(value, dict):
        value, unit = value.get("value"), value.get("unit")
    if isinstance(value, str):
        found = _TEXT.match(value)
        value, unit = (float(found[1]), unit or found[2]) if found else (None, "")
    number = finite(value)
    factor = _UNITS.get(unit.upper(), 1.0) if isinstance(unit, str) and unit else bare
    return None if number is None else round(number * factor, 9)

"""Power from counters of energy that run over (Linux RAPL): values in, watts out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

LONGEST_PAUSE_NS = 600 * 10**9
"""A counter may have run over more than once in a longer pause: nothing is concluded from it."""


@dataclass(frozen=True, slots=True)
class EnergyCounter:
    """A counter of energy. ``name`` is the driver's: ``package-0``, ``psys``."""

    name: str
    energy_uj: int
    range_uj: int
    """Where it begins again at 0; 0 where the driver does not say."""


def watts(
    before: Mapping[str, EnergyCounter], now: Mapping[str, EnergyCounter], elapsed_ns: int
) -> dict[str, float]:
    """Mean power by the counter's name between two readings, packages of the same name added up."""
    found: dict[str, float] = {}
    if not 0 < elapsed_ns <= LONGEST_PAUSE_NS:
        return found
    for path, counter in now.items():
        earlier = before.get(path)
        if earlier is None:
            continue
        spent = counter.energy_uj - earlier.energy_uj
        if spent < 0:
            spent += counter.range_uj
        if spent >= 0:
            found[counter.name] = found.get(counter.name, 0.0) + spent * 1000 / elapsed_ns
    return found


def package_watts(power: Mapping[str, float]) -> float | None:
    """All packages of the machine together."""
    parts = [value for name, value in power.items() if name.startswith("package")]
    return sum(parts) if parts else None

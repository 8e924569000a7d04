"""Formatting of quantities for people. Everything inside is integers in base units; only this file rounds."""

from __future__ import annotations

NS = 1_000_000_000
UNKNOWN = "–"


def format_bytes(value: int | None) -> str:
    """A size with a decimal unit and three digits: ``812 B``, ``9.4 GB``."""
    if value is None:
        return UNKNOWN
    size = float(value)
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if abs(size) < 999.5 or unit == "TB":
            return f"{size:.0f} {unit}" if unit == "B" or abs(size) >= 99.95 else f"{size:.1f} {unit}"
        size /= 1000
    raise AssertionError("unreachable")


def counted(count: int, noun: str) -> str:
    """``1 line``, ``1,234 lines``: for nouns that take an s."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def format_count(value: int | None) -> str:
    """A count in at most five characters: ``812``, ``3.1k``, ``1.2M``."""
    if value is None:
        return UNKNOWN
    if value < 1000:
        return str(value)
    for limit, unit in ((1_000_000, "k"), (1_000_000_000, "M")):
        if value < limit * 0.9995:
            short = value / (limit / 1000)
            return f"{short:.1f}{unit}" if short < 99.95 else f"{short:.0f}{unit}"
    return f"{value / 1_000_000_000:.1f}G"


def format_duration(value_ns: int | None) -> str:
    """A length of time in at most six characters: ``12ms``, ``1.9s``, ``4m07s``, ``1h12m``, ``3d04h``."""
    if value_ns is None:
        return UNKNOWN
    seconds = value_ns / NS
    if seconds < 0.9995:
        return f"{max(0, round(seconds * 1000))}ms"
    if seconds < 59.95:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    if whole < 86_400:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    return f"{whole // 86_400}d{whole % 86_400 // 3600:02d}h"


def format_percent(ratio: float | None) -> str:
    """A ratio of 0 to 1 as a whole percentage."""
    return UNKNOWN if ratio is None else f"{ratio * 100:.0f}%"


def format_watts(value: float | None) -> str:
    """Power with the digits that matter: ``310 W``, ``31.2 W``, ``0.08 W``."""
    if value is None:
        return UNKNOWN
    digits = 0 if value >= 100 else 1 if value >= 1 else 2
    return f"{value:.{digits}f} W"


def format_joules(value: float | None) -> str:
    """Energy with a decimal unit: ``812 J``, ``12.3 kJ``, ``1.2 MJ``."""
    if value is None:
        return UNKNOWN
    for unit in ("J", "kJ", "MJ"):
        if abs(value) < 999.5 or unit == "MJ":
            return f"{value:.0f} {unit}" if abs(value) >= 99.95 else f"{value:.1f} {unit}"
        value /= 1000
    raise AssertionError("unreachable")


def format_watt_hours(value: float) -> str:
    """Energy as it is paid for: ``412 Wh``, ``1.20 kWh``, ``0.31 Wh``, ``4.2 mWh``."""
    if value >= 1000:
        return f"{value / 1000:.2f} kWh"
    if 0 < value < 0.1:
        return f"{max(value * 1000, 0.01):.2g} mWh"
    return f"{value:.0f} Wh" if value >= 10 else f"{value:.2g} Wh"


def format_frequency(value_hz: float | None) -> str:
    """A frequency in MHz below 10 GHz, which is how chips are spoken of."""
    return UNKNOWN if value_hz is None else f"{value_hz / 1e6:.0f} MHz"

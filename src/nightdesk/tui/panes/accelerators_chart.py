"""Which lines the chart of the accelerators draws for the line under the cursor: two values at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from nightdesk.model.sample import Device, Sample
from nightdesk.tui.panes.accelerators_row import (
    CPU,
    MEMORY,
    letters_of,
    memory_ratio,
    named,
    tier_of,
    tiers_of,
)
from nightdesk.tui.text import Tone
from nightdesk.tui.widgets.chart import ChartView, Series, nice_top

Points = tuple[tuple[int, float | None], ...]
TONES: tuple[Tone, Tone] = ("primary", "warn")


class Metric(NamedTuple):
    """A value of each sample. ``spread`` names it where a sample stands for several; ``top`` 0: as high as needed."""

    label: str
    unit: str
    top: float
    value: Callable[[Sample], float | None]
    spread: str = ""
    factor: float = 1.0


def chart_of(samples: tuple[Sample, ...], selected: str, pair: int = 0) -> ChartView:
    """The ``pair``-th two values of the line ``selected``; for a model, of the first GPU."""
    known = [
        one for one in metrics_of(samples, selected) if any(one.value(each) is not None for each in samples)
    ]
    first = 2 * (pair % max(1, (len(known) + 1) // 2))
    shown = known[first : first + 2]
    series = tuple(_series(samples, one, tone) for one, tone in zip(shown, TONES, strict=False))
    return ChartView(series, samples[-1].at_ns)


def metrics_of(samples: tuple[Sample, ...], selected: str) -> list[Metric]:
    """The values that the line ``selected`` may have, the most telling first."""
    now = samples[-1]
    if selected.startswith("tier:"):
        return _tier(samples, selected.removeprefix("tier:"))
    devices = list(named(now.devices))
    gpus = [found for found in devices if found[0].kind == "gpu"]
    chosen = next((found for found in devices if found[0].id == selected), gpus[0] if gpus else None)
    if chosen is None or selected in (CPU, MEMORY):
        return _host(selected)
    mine = _device(*chosen)
    return mine if any(one.value(each) is not None for one in mine for each in samples) else _host(selected)


def _device(device: Device, name: str) -> list[Metric]:
    def of(label: str, unit: str, top: float, field: str, factor: float = 1.0) -> Metric:
        value = _field(device.id, field, factor)
        return Metric(f"{name} {label}", unit, top, value, f"devices.{device.id}.{field}", factor)

    estimate = "active_ratio" in device.estimated
    active = of("estimate" if estimate else "active", " %", 100, "active_ratio", 100)
    power = of("power", " W", 0, "power_w")
    return [
        *((power, active) if estimate else (active, power)),
        Metric(f"{name} memory", " %", 100, _filled(device.id)),
        of("heat", " °C", 100, "temperature_c"),
        of("clock", " MHz", 0, "freq_hz", 1e-6),
        of("capacity", " %", 100, "scaled_ratio", 100),
        of("memory traffic", " %", 100, "memory_busy_ratio", 100),
        of("fan", " %", 100, "fan_ratio", 100) if device.fan_rpm is None else of("fan", " rpm", 0, "fan_rpm"),
    ]


def _host(selected: str) -> list[Metric]:
    cpu = Metric("CPU", " %", 100, lambda one: _hundred(one.cpu.ratio if one.cpu else None), "cpu.ratio", 100)
    memory = Metric("memory", " %", 100, lambda one: _hundred(memory_ratio(one)))
    power = Metric("CPU power", " W", 0, lambda one: one.cpu.power_w if one.cpu else None, "cpu.power_w")
    package = Metric("package power", " W", 0, lambda one: one.package_power_w, "package_power_w")
    machine = Metric("machine power", " W", 0, lambda one: one.system_power_w, "system_power_w")
    swap = Metric(
        "swap",
        " GB",
        0,
        lambda one: one.swap_used_bytes and one.swap_used_bytes / 1e9,
        "swap_used_bytes",
        1e-9,
    )
    if selected == MEMORY:
        return [memory, swap, cpu, power]
    return [cpu, memory, power, package if selected == CPU else machine, machine, swap]


def _tier(samples: Sequence[Sample], name: str) -> list[Metric]:
    short = letters_of(name)
    return [
        Metric(f"{short} cores busy", " %", 100, lambda one: _hundred(tier_of(one, name))),
        Metric(f"{short} cores clock", " MHz", 0, lambda one: _clock(one, name)),
    ]


def _clock(sample: Sample, name: str) -> float | None:
    tiers = tiers_of(sample.cpu.tiers).get(name, ()) if sample.cpu else ()
    clocks = [tier.freq_hz / 1e6 for tier in tiers if tier.freq_hz is not None]
    return max(clocks, default=None)


def _field(key: str, field: str, factor: float) -> Callable[[Sample], float | None]:
    def value(sample: Sample) -> float | None:
        found = next((getattr(device, field) for device in sample.devices if device.id == key), None)
        return None if found is None else factor * float(found)

    return value


def _filled(key: str) -> Callable[[Sample], float | None]:
    def value(sample: Sample) -> float | None:
        device = next((one for one in sample.devices if one.id == key), None)
        if device is None or device.memory_used_bytes is None or not device.memory_total_bytes:
            return None
        return 100 * device.memory_used_bytes / device.memory_total_bytes

    return value


def _series(samples: tuple[Sample, ...], metric: Metric, tone: Tone) -> Series:
    points: Points = tuple((sample.at_ns, metric.value(sample)) for sample in samples)
    ranges = _ranges(samples, metric) if metric.spread else ()
    top = metric.top
    if not top:
        most = max(
            (*(value for _, value in points if value is not None), *(high for _, _, high in ranges)),
            default=0.0,
        )
        top = nice_top(most * 1.1 or 1.0)
    return Series(metric.label, metric.unit, tone, top, points, ranges)


def _ranges(samples: tuple[Sample, ...], metric: Metric) -> tuple[tuple[int, float, float], ...]:
    """Least and greatest value of those samples that stand for several."""
    found = ((sample.at_ns, sample.spread.get(metric.spread)) for sample in samples if sample.spread)
    return tuple(
        (at, metric.factor * pair[0], metric.factor * pair[1]) for at, pair in found if pair is not None
    )


def _hundred(ratio: float | None) -> float | None:
    return None if ratio is None else 100 * ratio

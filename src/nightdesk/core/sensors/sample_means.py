"""Several samples as one: means over their true lengths, with the least and the greatest value beside them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

import msgspec

from nightdesk.model.sample import Cpu, CpuTier, Device, Sample

_DEVICE: Final = (
    "active_ratio",
    "scaled_ratio",
    "memory_used_bytes",
    "power_w",
    "freq_hz",
    "temperature_c",
    "fan_ratio",
    "fan_rpm",
    "memory_busy_ratio",
    "encoder_ratio",
    "decoder_ratio",
)
_SAMPLE: Final = ("package_power_w", "system_power_w", "memory_used_bytes", "swap_used_bytes")
_CPU: Final = ("ratio", "power_w")
_TIER: Final = ("ratio", "scaled_ratio", "freq_hz")
_Noun = TypeVar("_Noun", Sample, Cpu, CpuTier, Device)


def merged(samples: Sequence[Sample]) -> Sample:
    """One sample for all of ``samples`` (oldest first, at least one), with the time and the words of the newest.

    Numbers are means, weighted by length, of those samples that know them; ``spread`` has their least and greatest
    values. Reasons for slow clocks are those of all, and of the thermal words the newest that is not calm.
    """
    newest = samples[-1]
    if len(samples) == 1:
        return newest
    spread: dict[str, tuple[float, float]] = {}
    lengths = [max(1, sample.elapsed_ns) for sample in samples]
    whole = _means(newest, samples, lengths, _SAMPLE, "", spread)
    return msgspec.structs.replace(
        whole,
        elapsed_ns=sum(sample.elapsed_ns for sample in samples),
        cpu=_cpu(samples, lengths, spread),
        devices=tuple(_device(device, samples, lengths, spread) for device in newest.devices),
        thermal=_thermal(samples),
        spread=spread,
    )


def _cpu(
    samples: Sequence[Sample], lengths: Sequence[int], spread: dict[str, tuple[float, float]]
) -> Cpu | None:
    newest = samples[-1].cpu
    if newest is None:
        return None
    cpus = [sample.cpu for sample in samples]
    tiers = tuple(
        _means(tier, [_tier(cpu, tier.name) for cpu in cpus], lengths, _TIER) for tier in newest.tiers
    )
    mean = _means(newest, cpus, lengths, _CPU, "cpu.", spread)
    return msgspec.structs.replace(mean, tiers=tiers)


def _tier(cpu: Cpu | None, name: str) -> CpuTier | None:
    return next((tier for tier in cpu.tiers if tier.name == name), None) if cpu else None


def _device(
    newest: Device, samples: Sequence[Sample], lengths: Sequence[int], spread: dict[str, tuple[float, float]]
) -> Device:
    same = [next((one for one in sample.devices if one.id == newest.id), None) for sample in samples]
    mean = _means(newest, same, lengths, _DEVICE, f"devices.{newest.id}.", spread)
    reasons = dict.fromkeys(word for one in same if one is not None for word in one.throttle)
    unknown = {name: why for name, why in newest.unknown.items() if getattr(mean, name, None) is None}
    return msgspec.structs.replace(mean, throttle=tuple(reasons), unknown=unknown)


def _means(
    newest: _Noun,
    those: Sequence[_Noun | None],
    lengths: Sequence[int],
    names: Sequence[str],
    start: str = "",
    spread: dict[str, tuple[float, float]] | None = None,
) -> _Noun:
    found: dict[str, Any] = {}
    for name in names:
        known = [
            (value, length)
            for one, length in zip(those, lengths, strict=True)
            if one is not None and (value := getattr(one, name)) is not None
        ]
        if not known:
            continue
        kind: Callable[[float], float] = int if name.endswith("_bytes") else float
        found[name] = kind(
            sum(value * length for value, length in known) / sum(length for _, length in known)
        )
        if spread is not None:
            values = [value for value, _ in known]
            spread[start + name] = min(values), max(values)
    return msgspec.structs.replace(newest, **found)


def _thermal(samples: Sequence[Sample]) -> str | None:
    words = [sample.thermal for sample in samples if sample.thermal]
    hot = [word for word in words if word.casefold() != "nominal"]
    return next(reversed(hot or words), None)

"""Accelerator and host measurements. The field names of :class:`Sample` are a contract (``--json``)."""

from __future__ import annotations

from typing import Literal

import msgspec

from nightdesk.model.base import Noun


class CpuTier(Noun, frozen=True, kw_only=True):
    """Cores of one kind, named as the system names them."""

    name: str
    ratio: float | None = None
    scaled_ratio: float | None = None
    """Share of their capacity, weighted by clock frequency."""
    freq_hz: float | None = None
    cores: int
    """0 where the source does not say; the sample's ``unknown`` has the reason."""


class Cpu(Noun, frozen=True, kw_only=True):
    """All cores together. ``ratio`` is the mean share of busy time, 0 to 1."""

    ratio: float | None = None
    power_w: float | None = None
    tiers: tuple[CpuTier, ...] = ()


class DeviceProcess(Noun, frozen=True, kw_only=True):
    """A process that holds memory on a device."""

    pid: int
    memory_bytes: int | None = None


class Device(Noun, frozen=True, kw_only=True):
    """A GPU or a Neural Engine."""

    id: str
    kind: Literal["gpu", "ane"]
    name: str
    active_ratio: float | None = None
    """Share of time in which the device did anything."""
    scaled_ratio: float | None = None
    """Share of its capacity, weighted by clock frequency."""
    memory_used_bytes: int | None = None
    memory_total_bytes: int | None = None
    power_w: float | None = None
    power_limit_w: float | None = None
    freq_hz: float | None = None
    temperature_c: float | None = None
    fan_ratio: float | None = None
    throttle: tuple[str, ...] = ()
    processes: tuple[DeviceProcess, ...] = ()
    estimated: tuple[str, ...] = ()
    """Names of fields above that are estimates (for example the Neural Engine's ratio from its power)."""
    unknown: dict[str, str] = {}


class Sample(Noun, frozen=True, kw_only=True):
    """A set of measurements with one time stamp."""

    at_ns: int
    elapsed_ns: int
    """True length of the measured window: the denominator of everything in it."""
    source: str
    cpu: Cpu | None = None
    devices: tuple[Device, ...]
    package_power_w: float | None = None
    thermal: str | None = None
    memory_used_bytes: int | None = None
    memory_total_bytes: int | None = None
    swap_used_bytes: int | None = None
    unknown: dict[str, str] = {}
    """Name of a field that is absent → one sentence on why, and what would help."""


# What the sensor process prints: one JSON object a line, told apart by "type".


class SensorStatus(Noun, frozen=True, kw_only=True, tag_field="type", tag="status"):
    """The state of one source, printed when it changes."""

    source: str
    state: Literal["starting", "live", "failed", "absent"]
    message: str | None = None


class SampleTaken(Noun, frozen=True, kw_only=True, tag_field="type", tag="sample"):
    """One sample: host counters always, devices from the best source."""

    sample: Sample


SensorLine = SensorStatus | SampleTaken
sensor_encoder = msgspec.json.Encoder()
sensor_decoder: msgspec.json.Decoder[SensorLine] = msgspec.json.Decoder(SensorLine)

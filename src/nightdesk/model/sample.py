"""Accelerator and host measurements. The field names of :class:`Sample` are a contract (``--json``)."""

from __future__ import annotations

from typing import Literal

import msgspec

from nightdesk.model.base import Noun

CPU_HIDDEN = "The system hides this counter: it reads exactly 0 while cores work (macOS 27 without root)."
"""The reason of an unknown power that only the system's administrator may read."""


class CpuTier(Noun, frozen=True, kw_only=True):
    """Cores of one kind, named as the system names them."""

    name: str
    kind: str | None = None
    """What the system calls cores of this kind (``Performance``), where it tells."""
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
    active_ratio: float | None = None
    """Share of time in which its work ran on the device."""


class Fan(Noun, frozen=True, kw_only=True):
    """A fan of the machine."""

    name: str
    rpm: float
    max_rpm: float | None = None


class Slice(Noun, frozen=True, kw_only=True):
    """A part of a divided card with memory of its own."""

    id: str
    name: str
    memory_used_bytes: int | None = None
    memory_total_bytes: int | None = None
    processes: tuple[DeviceProcess, ...] = ()


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
    fan_rpm: float | None = None
    memory_busy_ratio: float | None = None
    """Share of time in which its memory was read or written; not how full it is."""
    encoder_ratio: float | None = None
    decoder_ratio: float | None = None
    energy_j: float | None = None
    """Counted by the device since its driver was loaded."""
    max_freq_hz: float | None = None
    performance_state: str | None = None
    """``P0`` (fastest) to ``P15`` of NVIDIA's cards."""
    memory_errors: int | None = None
    """Errors of its memory that could not be corrected, since the driver was loaded."""
    pcie_in_bytes_s: float | None = None
    """What it receives over its bus."""
    pcie_out_bytes_s: float | None = None
    slices: tuple[Slice, ...] = ()
    """The parts that a divided card consists of (MIG); their memory is within the card's own."""
    shares_memory: bool = False
    """It works in the machine's memory: ``memory_total_bytes`` is what it may take of that."""
    throttle: tuple[str, ...] = ()
    processes: tuple[DeviceProcess, ...] = ()
    estimated: tuple[str, ...] = ()
    """Names of fields above that are estimates (for example the Neural Engine's ratio from its power)."""
    derived: tuple[str, ...] = ()
    """Names of fields above that were computed from other counters (power from energy and time)."""
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
    fans: tuple[Fan, ...] = ()
    system_power_w: float | None = None
    """What the whole machine draws, display and memory included, where a source knows it."""
    derived: tuple[str, ...] = ()
    """Names of fields that were computed from others (the package as a sum of its parts)."""
    spread: dict[str, tuple[float, float]] = {}
    """Of a sample that stands for several: name of a field (``devices.gpu.power_w``) → its least and greatest value."""
    origins: dict[str, str] = {}
    """Name of a field that did not come from ``source`` → the source that it came from."""
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

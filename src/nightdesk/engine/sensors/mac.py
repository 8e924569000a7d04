"""What macOS tells anybody: the GPU's activity and memory, the thermal pressure, names of core kinds. No root.

Each answer costs a short process: they are asked for every few seconds only, and never at every sample.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

import msgspec

from nightdesk.core.sensors.ioreg import (
    IOREG_ARGV,
    NOTIFY_ARGV,
    SYSCTL_ARGV,
    MacFacts,
    ioreg_devices,
    mac_facts,
    thermal_word,
    with_kinds,
)
from nightdesk.model.sample import Device, Sample

_NS = 1_000_000_000
ALONE_NS = 2 * _NS
"""Between two looks where nothing else tells of the GPU."""
BESIDE_NS = 5 * _NS
"""Between two looks where they only fill gaps."""
_PATIENCE_S = 3.0
_LONGEST_ANSWER = 4_000_000


class MacExtra:
    """Adds the GPU where no source has one, else its memory; the thermal pressure; the kinds of cores."""

    name = "ioreg"

    def __init__(
        self,
        ioreg: Sequence[str] = IOREG_ARGV,
        notify: Sequence[str] = NOTIFY_ARGV,
        sysctl: Sequence[str] = SYSCTL_ARGV,
    ) -> None:
        self._ioreg, self._notify, self._sysctl = ioreg, notify, sysctl
        self._facts: MacFacts | None = None
        self._devices: tuple[Device, ...] = ()
        self._thermal: str | None = None
        self._look_ns = 0

    def add(self, sample: Sample, now_ns: int) -> Sample:
        """``sample`` with what it lacks."""
        alone = not any(device.kind == "gpu" for device in sample.devices)
        self._look(now_ns, ALONE_NS if alone else BESIDE_NS)
        sample = self._with_devices(sample) if alone else self._with_memory(sample)
        return self._with_kinds(self._with_thermal(sample))

    def close(self) -> None:
        """Holds nothing between looks."""

    def _look(self, now_ns: int, pause_ns: int) -> None:
        if now_ns < self._look_ns:
            return
        self._look_ns = now_ns + pause_ns
        if self._facts is None:
            self._facts = mac_facts(_answer(self._sysctl))
        limit = self._facts.gpu_limit_bytes or self._facts.memory_bytes
        self._devices = ioreg_devices(_answer(self._ioreg), limit)
        self._thermal = thermal_word(_answer(self._notify))

    def _with_devices(self, sample: Sample) -> Sample:
        if not self._devices:
            return sample
        unknown = {key: why for key, why in sample.unknown.items() if key not in ("devices", "devices.gpu")}
        others = {device.id: self.name for device in self._devices} if sample.source != "host" else {}
        return msgspec.structs.replace(
            sample,
            source=self.name if sample.source == "host" else sample.source,
            devices=(*self._devices, *sample.devices),
            origins=sample.origins | {f"devices.{key}": name for key, name in others.items()},
            unknown=unknown,
        )

    def _with_memory(self, sample: Sample) -> Sample:
        own = self._devices[0] if len(self._devices) == 1 else None
        gpus = [device for device in sample.devices if device.kind == "gpu"]
        if own is None or len(gpus) != 1 or gpus[0].memory_used_bytes is not None:
            return sample
        filled = msgspec.structs.replace(
            gpus[0],
            memory_used_bytes=own.memory_used_bytes,
            memory_total_bytes=own.memory_total_bytes,
            shares_memory=own.shares_memory,
            unknown={key: why for key, why in gpus[0].unknown.items() if key != "memory_used_bytes"},
        )
        return msgspec.structs.replace(
            sample,
            devices=tuple(filled if device is gpus[0] else device for device in sample.devices),
            origins=sample.origins | {f"devices.{filled.id}.memory_used_bytes": self.name},
        )

    def _with_thermal(self, sample: Sample) -> Sample:
        if sample.thermal is not None or self._thermal is None:
            return sample
        return msgspec.structs.replace(
            sample,
            thermal=self._thermal,
            origins=sample.origins | {"thermal": "notifyutil"},
            unknown={key: why for key, why in sample.unknown.items() if key != "thermal"},
        )

    def _with_kinds(self, sample: Sample) -> Sample:
        kinds = self._facts.kinds if self._facts else ()
        if not kinds or sample.cpu is None or len(sample.cpu.tiers) < 2:
            return sample
        cpu = msgspec.structs.replace(sample.cpu, tiers=with_kinds(sample.cpu.tiers, kinds))
        return msgspec.structs.replace(sample, cpu=cpu)


def _answer(argv: Sequence[str]) -> str:
    """What a program of the system prints, empty where it is missing, refuses or hangs."""
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=_PATIENCE_S
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout[:_LONGEST_ANSWER].decode("utf-8", "replace")

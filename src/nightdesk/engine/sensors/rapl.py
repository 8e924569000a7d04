"""The processor's power from the kernel's energy counters (RAPL). Most systems let only root read them."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from nightdesk.core.sensors.rapl import EnergyCounter, package_watts, watts
from nightdesk.model.sample import Sample

_LOOK_AGAIN_NS = 60_000_000_000
FIRST_READING = "The first reading of the energy counter only sets the zero point."
REFUSED = (
    "Only root may read the processor's energy counter. To allow it until the next start of the machine: "
    "sudo chmod o+r /sys/class/powercap/*/energy_uj (every user can then watch the load of the others)."
)


class RaplExtra:
    """Adds the power of the processor packages to samples that lack it."""

    name = "rapl"

    def __init__(self, folder: Path = Path("/sys/class/powercap")) -> None:
        self._folder = folder
        self._zones: list[Path] = []
        self._look_ns: int | None = None
        self._before: dict[str, EnergyCounter] = {}
        self._read_ns = 0
        self._refused = False

    def add(self, sample: Sample, now_ns: int) -> Sample:
        """``sample`` with the processor's power since the call before, or with the reason why it is not known."""
        if sample.cpu is None or sample.cpu.power_w is not None:
            return sample
        self._find(now_ns)
        if not self._zones:
            return sample
        power = self._power(now_ns)
        package_w = package_watts(power)
        if package_w is None:
            reason = REFUSED if self._refused else FIRST_READING
            why = dict.fromkeys(("cpu.power_w", "package_power_w"), reason)
            return msgspec.structs.replace(sample, unknown=sample.unknown | why)
        unknown = {
            key: why for key, why in sample.unknown.items() if key not in ("cpu.power_w", "package_power_w")
        }
        return msgspec.structs.replace(
            sample,
            cpu=msgspec.structs.replace(sample.cpu, power_w=package_w),
            package_power_w=package_w,
            system_power_w=power.get("psys", sample.system_power_w),
            derived=(*sample.derived, "cpu.power_w", "package_power_w"),
            origins=sample.origins | {"cpu.power_w": self.name, "package_power_w": self.name},
            unknown=unknown,
        )

    def close(self) -> None:
        """Holds nothing between readings."""
        self._zones = []

    def _find(self, now_ns: int) -> None:
        if self._look_ns is None or now_ns >= self._look_ns:
            self._look_ns = now_ns + _LOOK_AGAIN_NS
            # Zones below a package (cores, graphics) are part of it; memory-mapped ones are the same once more.
            found = self._folder.iterdir() if self._folder.is_dir() else ()
            self._zones = sorted(path for path in found if re.fullmatch(r"[a-z]+-rapl:\d+", path.name))

    def _power(self, now_ns: int) -> dict[str, float]:
        elapsed_ns, self._read_ns = now_ns - self._read_ns, now_ns
        before, self._before = self._before, self._counters()
        return watts(before, self._before, elapsed_ns)

    def _counters(self) -> dict[str, EnergyCounter]:
        found: dict[str, EnergyCounter] = {}
        self._refused = False
        for zone in self._zones:
            try:
                name = (zone / "name").read_text().strip()
                energy, most = (
                    int((zone / file).read_text()) for file in ("energy_uj", "max_energy_range_uj")
                )
            except PermissionError:
                self._refused = True
            except (OSError, ValueError):
                continue
            else:
                found[zone.name] = EnergyCounter(name, energy, most)
        return found

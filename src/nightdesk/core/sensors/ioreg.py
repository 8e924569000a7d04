"""What macOS tells without root: ``ioreg`` about the GPU, ``sysctl`` about cores, ``notifyutil`` about heat."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from nightdesk.core.sensors.apple import clamp
from nightdesk.model.sample import CpuTier, Device

IOREG_ARGV: Final = ("/usr/sbin/ioreg", "-r", "-d", "1", "-w", "0", "-c", "IOAccelerator")
NOTIFY_ARGV: Final = ("/usr/bin/notifyutil", "-g", "com.apple.system.thermalpressurelevel")
SYSCTL_ARGV: Final = ("/usr/sbin/sysctl", "-a")
THERMAL_WORDS: Final = ("Nominal", "Moderate", "Heavy", "Trapping", "Sleeping")
"""powermetrics' words for the levels 0 to 4."""
NO_POWER: Final = "Without root and without macmon the GPU's power is not known."
NO_VALUE: Final = "ioreg reports no value for it."
_NODE: Final = re.compile(r"^\+-o ", re.MULTILINE)
_NUMBER: Final = re.compile(r'"([^"\n]{1,60})" ?= ?(\d{1,15})(?=[,}\s])')
_MODEL: Final = re.compile(r'"model" = <?"([^"\n]{1,120})"')


def ioreg_devices(text: str, limit_bytes: int | None = None) -> tuple[Device, ...]:
    """The GPUs in the answer of :data:`IOREG_ARGV`; ``limit_bytes`` is what a GPU may take of the machine's memory."""
    nodes = [node for node in _NODE.split(text) if '"PerformanceStatistics"' in node]
    return tuple(_device(index, node, len(nodes) > 1, limit_bytes) for index, node in enumerate(nodes))


def _device(index: int, node: str, several: bool, limit_bytes: int | None) -> Device:
    # The name must match as a whole: "In use system memory (driver)" is something else.
    numbers = {name: int(value) for name, value in _NUMBER.findall(node)}
    model = _MODEL.search(node)
    busy = numbers.get("Device Utilization %", numbers.get("GPU Activity(%)"))
    used = numbers.get("In use system memory", numbers.get("vramUsedBytes"))
    free = numbers.get("vramFreeBytes")
    own = used is not None and free is not None and "vramUsedBytes" in numbers
    watts, heat = numbers.get("Total Power(W)"), numbers.get("Temperature(C)")
    unknown = {"power_w": NO_POWER, "freq_hz": NO_VALUE, "temperature_c": NO_VALUE}
    unknown |= {"active_ratio": NO_VALUE} if busy is None else {}
    unknown |= {"memory_used_bytes": NO_VALUE} if used is None else {}
    known = {"power_w": watts, "temperature_c": heat}
    return Device(
        id=f"gpu{index}" if several else "gpu",
        kind="gpu",
        name=f"{model[1]} GPU" if model else "Apple GPU",
        active_ratio=None if busy is None else clamp(busy / 100),
        memory_used_bytes=used,
        memory_total_bytes=(used or 0) + (free or 0) if own else limit_bytes,
        power_w=None if watts is None else float(watts),
        temperature_c=None if heat is None else float(heat),
        shares_memory=not own,
        unknown={name: why for name, why in unknown.items() if known.get(name) is None},
    )


def thermal_word(text: str) -> str | None:
    """The thermal pressure in the answer of :data:`NOTIFY_ARGV`; a level without a name comes as its number."""
    words = text.split()
    if not words or not words[-1].isascii() or not words[-1].isdigit() or len(words[-1]) > 6:
        return None
    level = int(words[-1])
    return THERMAL_WORDS[level] if level < len(THERMAL_WORDS) else f"level {level}"


@dataclass(frozen=True, slots=True)
class CoreKind:
    """A kind of cores, fastest first: its name and how many there are."""

    name: str
    cores: int


@dataclass(frozen=True, slots=True)
class MacFacts:
    """What does not change while the machine runs."""

    chip: str | None = None
    memory_bytes: int | None = None
    gpu_limit_bytes: int | None = None
    """What the GPU may take of the memory, where the user has set it."""
    kinds: tuple[CoreKind, ...] = ()


def mac_facts(text: str) -> MacFacts:
    """The facts in the answer of ``sysctl`` (``name: value`` a line)."""
    values = {
        name: value.strip() for name, sep, value in (line.partition(":") for line in text.splitlines()) if sep
    }
    kinds = []
    for level in range(min(16, _whole(values, "hw.nperflevels") or 0)):
        name = values.get(f"hw.perflevel{level}.name")
        if name:
            kinds.append(CoreKind(name, _whole(values, f"hw.perflevel{level}.logicalcpu") or 0))
    limit = _whole(values, "iogpu.wired_limit_mb")
    return MacFacts(
        chip=values.get("machdep.cpu.brand_string") or None,
        memory_bytes=_whole(values, "hw.memsize"),
        gpu_limit_bytes=limit * 1024 * 1024 if limit else None,
        kinds=tuple(kinds),
    )


def _whole(values: Mapping[str, str], name: str) -> int | None:
    text = values.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 18 else None


def with_kinds(tiers: Sequence[CpuTier], kinds: Sequence[CoreKind]) -> tuple[CpuTier, ...]:
    """``tiers`` with the system's names for them.

    The letter of a cluster does not say its kind (on some chips P is the middle one): clusters of one letter are
    counted together, and the kind with as many cores is theirs; where counts are equal, the first letter decides.
    """
    letters: dict[str, int] = {}
    for tier in tiers:
        letters[tier.name[:1]] = letters.get(tier.name[:1], 0) + tier.cores
    chosen = {letter: _kind(letter, cores, kinds) for letter, cores in letters.items()}
    return tuple(msgspec.structs.replace(tier, kind=chosen[tier.name[:1]]) for tier in tiers)


def _kind(letter: str, cores: int, kinds: Sequence[CoreKind]) -> str | None:
    fitting = [kind.name for kind in kinds if kind.cores == cores and cores]
    if len(fitting) == 1:
        return fitting[0]
    return next((name for name in fitting if letter and name.startswith(letter)), None)

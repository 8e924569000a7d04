"""What NVIDIA's numbers mean: reasons for slow clocks, errors of the driver."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

THROTTLE_WORDS: Final = {
    0x04: "power cap",
    0x08: "hardware slowdown",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "power brake",
}
"""Bits of the clock event mask that mean "slower than it could be". Idle (1) and fixed clocks (2) are normal."""


def throttle_words(mask: int) -> tuple[str, ...]:
    """Why the clocks are held down, in words; empty for a card that is idle or runs freely."""
    return tuple(word for bit, word in THROTTLE_WORDS.items() if mask & bit)


@dataclass(frozen=True, slots=True)
class NvmlFault:
    """An error code of NVML: what it means for people, and what the reader of the counters should do."""

    sentence: str
    remedy: str = ""
    scope: Literal["metric", "device", "driver"] = "metric"
    """``metric`` blanks one value, ``device`` one card, ``driver`` everything until NVML opens again."""
    rare: bool = False
    """Only the user can mend it: asking again every few minutes is enough."""

    def __str__(self) -> str:
        return f"{self.sentence} {self.remedy}".strip()


_REBOOT = "Restart the machine, or reload the driver."
_INSTALL = "Install the NVIDIA driver; in a container, start it with access to the GPU."
NVML_FAULTS: Final = {
    1: NvmlFault("NVML was closed.", scope="driver"),
    3: NvmlFault("This card does not report it."),
    4: NvmlFault("The driver allows this to root only."),
    6: NvmlFault("The driver has no value for it."),
    9: NvmlFault("The NVIDIA driver is not loaded.", "Load it: sudo modprobe nvidia", "driver", True),
    12: NvmlFault("The NVIDIA driver library (libnvidia-ml) was not found.", _INSTALL, "driver", True),
    13: NvmlFault("The installed driver is too old for it."),
    15: NvmlFault("The GPU is lost: it fell off the bus or crashed.", _REBOOT, "device"),
    16: NvmlFault("The GPU needs a reset.", "Run: sudo nvidia-smi --gpu-reset", "device"),
    18: NvmlFault("Driver and library have different versions, as after an update.", _REBOOT, "driver", True),
    27: NvmlFault("The GPU is not ready yet."),
    28: NvmlFault("The GPU was not found any more.", _REBOOT, "device"),
}


def nvml_fault(code: int) -> NvmlFault:
    """The meaning of NVML's error ``code``; unknown codes blank one value."""
    return NVML_FAULTS.get(code) or NvmlFault(f"The driver answered with error {code}.")

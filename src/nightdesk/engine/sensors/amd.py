"""AMD cards through the amdgpu driver's files under ``/sys``: no library, no privilege."""

from __future__ import annotations

import re
from pathlib import Path

from nightdesk.core.sensors.amdgpu import FILES, HWMON_FILES, VENDOR, amd_device
from nightdesk.engine.sensors.source import Reading
from nightdesk.model.sample import Device

_LOOK_AGAIN_NS = 60_000_000_000
NO_CARD = "No AMD card with the amdgpu driver was found under /sys/class/drm."


class AmdSource:
    """Reads every AMD card at each call; cards are looked for once a minute."""

    name = "amd"

    def __init__(self, folder: Path = Path("/sys/class/drm")) -> None:
        self._folder = folder
        self._cards: list[_Card] = []
        self._look_ns: int | None = None

    def read(self, now_ns: int) -> Reading:
        """The cards now."""
        if self._look_ns is None or now_ns >= self._look_ns:
            self._look_ns = now_ns + _LOOK_AGAIN_NS
            self._cards = [_Card(path) for path in amd_cards(self._folder)]
        if not self._cards:
            return Reading(problem=NO_CARD)
        return Reading(devices=tuple(card.read() for card in self._cards))

    def close(self) -> None:
        """Holds nothing between readings."""
        self._cards = []


def amd_cards(folder: Path) -> list[Path]:
    """The ``device`` folders of AMD cards below ``folder``; connectors such as ``card0-DP-1`` are not cards."""
    if not folder.is_dir():
        return []
    cards = (path for path in folder.iterdir() if re.fullmatch(r"card\d+", path.name))
    return [card / "device" for card in sorted(cards) if _text(card / "device" / "vendor") == VENDOR]


class _Card:
    def __init__(self, device: Path) -> None:
        self._device = device
        hwmons = sorted(device.glob("hwmon/hwmon*"))
        self._hwmon = hwmons[0] if hwmons else None
        self._id = _slot(device) or device.parent.name
        self._name = _text(device / "product_name") or f"AMD GPU {_text(device / 'device') or ''}".strip()

    def read(self) -> Device:
        """See :func:`amd_device`."""
        if _text(self._device / "power" / "runtime_status") == "suspended":
            return amd_device(self._id, self._name, {}, asleep=True)
        files = {name: text for name in FILES if (text := _text(self._device / name)) is not None}
        if self._hwmon is not None:
            files |= {name: text for name in HWMON_FILES if (text := _text(self._hwmon / name)) is not None}
        return amd_device(self._id, self._name, files)


def _slot(device: Path) -> str | None:
    found = re.search(r"^PCI_SLOT_NAME=(\S+)$", _text(device / "uevent") or "", re.MULTILINE)
    return found[1] if found else None


def _text(path: Path) -> str | None:
    """The contents of a driver's file, None where it is missing or the driver refuses."""
    try:
        return path.read_bytes()[:4096].decode("utf-8", "replace").strip()
    except OSError:
        return None

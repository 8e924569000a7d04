"""Which sources a name stands for on this machine."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, field

from nightdesk.engine.sensors.source import Extra, Polled, Streaming
from nightdesk.model.config import SENSOR_SOURCES
from nightdesk.model.errors import UsageError

NO_GPU = "No GPU was found."
NO_SOURCE = 'Only the machine\'s own counters are read, because the source is "host".'
NO_IOREG = "ioreg, a part of macOS, tells of no GPU here."


@dataclass(slots=True)
class Choice:
    """Sources to run, what fills their gaps, and what to say where they give no device."""

    polled: list[Polled] = field(default_factory=list)
    streams: list[Streaming] = field(default_factory=list)
    extras: list[Extra] = field(default_factory=list)
    no_devices: str = NO_GPU


def choose(name: str, interval_ms: int, platform: str = sys.platform) -> Choice:
    """The sources behind ``name`` on ``platform``. Raises UsageError for a name that does not exist."""
    choices: dict[str, Callable[[int], Choice]] = {
        "auto": _apple if platform == "darwin" else _linux,
        "powermetrics": lambda _: Choice(streams=[_powermetrics()]),
        "macmon": lambda pace: Choice(streams=[_macmon(pace)]),
        "mactop": lambda pace: Choice(streams=[_mactop(pace)]),
        "asitop": lambda _: Choice(streams=[_asitop()]),
        "ioreg": lambda _: Choice(extras=[_mac()], no_devices=NO_IOREG),
        "nvml": lambda _: Choice(polled=[_nvml()]),
        "nvidia-smi": lambda pace: Choice(streams=[_nvidia_smi(pace)]),
        "amd": lambda _: Choice(polled=[_amd()]),
        "host": lambda _: Choice(no_devices=NO_SOURCE),
    }
    if name not in choices:
        known = ", ".join(source for source in SENSOR_SOURCES if source != "file")
        raise UsageError(f"There is no sensor source named {name!r}.", f"Sources: {known}.")
    choice = choices[name](interval_ms)
    if name != "host" and platform == "linux":
        choice.extras.append(_rapl())
    return choice


def _apple(interval_ms: int) -> Choice:
    """First what needs no root: macmon, mactop, a file that asitop writes anyway; then powermetrics.

    What the system tells everybody fills the gaps of each of them, and stands alone where none works.
    """
    from nightdesk.engine.sensors.asitop import AsitopFile, newest_file

    streams: list[Streaming] = [_macmon(interval_ms)] if shutil.which("macmon") else []
    streams += [_mactop(interval_ms)] if shutil.which("mactop") else []
    asitop = AsitopFile()
    streams += [asitop] if newest_file(asitop.folder) else []
    return Choice(streams=[*streams, _powermetrics()], extras=[_mac()])


def _linux(interval_ms: int) -> Choice:
    """NVML and the amdgpu driver's files; nvidia-smi where the Python part for NVML is missing."""
    from importlib.util import find_spec

    if find_spec("pynvml") is None and shutil.which("nvidia-smi"):
        return Choice(polled=[_amd()], streams=[_nvidia_smi(interval_ms)])
    return Choice(polled=[_nvml(), _amd()])


def _powermetrics() -> Streaming:
    from nightdesk.engine.sensors.powermetrics import powermetrics_source

    return powermetrics_source()


def _macmon(interval_ms: int) -> Streaming:
    from nightdesk.engine.sensors.macmon import find_macmon, macmon_source

    return macmon_source(find_macmon() or "macmon", interval_ms)


def _mactop(interval_ms: int) -> Streaming:
    from nightdesk.engine.sensors.mactop import mactop_source

    return mactop_source(shutil.which("mactop") or "mactop", interval_ms)


def _asitop() -> Streaming:
    from nightdesk.engine.sensors.asitop import AsitopFile

    return AsitopFile()


def _nvidia_smi(interval_ms: int) -> Streaming:
    from nightdesk.engine.sensors.nvidia_smi import nvidia_smi_source

    return nvidia_smi_source(shutil.which("nvidia-smi") or "nvidia-smi", interval_ms)


def _nvml() -> Polled:
    from nightdesk.engine.sensors.nvml import NvmlSource

    return NvmlSource()


def _amd() -> Polled:
    from nightdesk.engine.sensors.amd import AmdSource

    return AmdSource()


def _mac() -> Extra:
    from nightdesk.engine.sensors.mac import MacExtra

    return MacExtra()


def _rapl() -> Extra:
    from nightdesk.engine.sensors.rapl import RaplExtra

    return RaplExtra()

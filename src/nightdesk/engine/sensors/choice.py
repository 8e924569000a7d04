"""Which sources a name stands for on this machine."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field

from nightdesk.engine.sensors.source import Polled, Streaming
from nightdesk.model.errors import UsageError

SOURCES = ("auto", "powermetrics", "macmon", "nvml", "amd", "host", "off")
NO_GPU = "No GPU was found."
NO_SOURCE = 'Only the machine\'s own counters are read, because the source is "host".'


@dataclass(slots=True)
class Choice:
    """Sources to run, and what to say where they give no device."""

    polled: list[Polled] = field(default_factory=list)
    streams: list[Streaming] = field(default_factory=list)
    no_devices: str = NO_GPU


def choose(name: str, interval_ms: int, platform: str = sys.platform) -> Choice:
    """The sources behind ``name`` on ``platform``. Raises UsageError for a name that does not exist."""
    choices: dict[str, Callable[[int], Choice]] = {
        "auto": _apple if platform == "darwin" else _linux,
        "powermetrics": _powermetrics,
        "macmon": _macmon,
        "nvml": _nvml,
        "amd": _amd,
        "host": lambda _: Choice(no_devices=NO_SOURCE),
    }
    if name not in choices:
        raise UsageError(f"There is no sensor source named {name!r}.", f"Sources: {', '.join(SOURCES)}.")
    return choices[name](interval_ms)


def _apple(interval_ms: int) -> Choice:
    """First macmon where it is installed, because it needs no root; powermetrics where it is not, or fails."""
    from nightdesk.engine.sensors.macmon import find_macmon

    first = _macmon(interval_ms).streams if find_macmon() else []
    return Choice(streams=[*first, *_powermetrics(interval_ms).streams])


def _powermetrics(_: int) -> Choice:
    from nightdesk.engine.sensors.powermetrics import powermetrics_source

    return Choice(streams=[powermetrics_source()])


def _macmon(interval_ms: int) -> Choice:
    from nightdesk.engine.sensors.macmon import find_macmon, macmon_source

    return Choice(streams=[macmon_source(find_macmon() or "macmon", interval_ms)])


def _linux(interval_ms: int) -> Choice:
    return Choice(polled=[*_nvml(interval_ms).polled, *_amd(interval_ms).polled])


def _nvml(_: int) -> Choice:
    from nightdesk.engine.sensors.nvml import NvmlSource

    return Choice(polled=[NvmlSource()])


def _amd(_: int) -> Choice:
    from nightdesk.engine.sensors.amd import AmdSource

    return Choice(polled=[AmdSource()])

"""Something about the accelerators that somebody should look at now."""

from __future__ import annotations

from typing import Literal

from nightdesk.model.base import Noun

AlarmKind = Literal["gpu_idle", "model_on_cpu", "thermal", "memory_full", "sensor_gone", "power_hidden"]


class Alarm(Noun, frozen=True, kw_only=True):
    """An alarm with its evidence; it ends by itself when its cause does."""

    kind: AlarmKind
    words: str
    """What is wrong, with figures, for one line."""
    advice: str
    """What it means and what to do, in a sentence or two."""
    since_ns: int
    device: str | None = None
    """Id of the device that it is about."""

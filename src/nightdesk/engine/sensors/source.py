"""What a source of device measurements looks like to the loop that asks it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from nightdesk.model.sample import Device, Sample

State: TypeAlias = Literal["starting", "live", "failed", "absent"]


@dataclass(frozen=True, slots=True)
class Reading:
    """The answer of a source that is asked: devices, or the problem in one sentence with its remedy."""

    devices: tuple[Device, ...] = ()
    problem: str | None = None
    broken: bool = False
    """There should be devices, but they do not answer; otherwise a problem means that there are none."""

    @property
    def state(self) -> State:
        """The state to report."""
        if self.problem is None:
            return "live"
        return "failed" if self.broken else "absent"


class Polled(Protocol):
    """A source that answers when asked."""

    @property
    def name(self) -> str:
        """What the source is called."""

    def read(self, now_ns: int) -> Reading:
        """The devices now. ``now_ns`` is a clock that only goes forward."""

    def close(self) -> None:
        """Gives everything back."""


class Streaming(Protocol):
    """A program that prints samples on its own."""

    @property
    def name(self) -> str:
        """What the source is called."""

    @property
    def state(self) -> State:
        """``starting``, ``live`` or ``failed``."""

    @property
    def problem(self) -> str | None:
        """Why it failed, and what to do, in one or two sentences."""

    @property
    def files(self) -> tuple[int, ...]:
        """Descriptors to wait on."""

    @property
    def wakes_ns(self) -> int | None:
        """When :meth:`step` is due on its own, on the same clock; None if only its output matters."""

    @property
    def hopeless(self) -> bool:
        """True when only the user can mend it, or it failed several times in a row."""

    def step(self, now_ns: int, at_ns: int) -> list[Sample]:
        """Starts, reads, judges and restarts the program without waiting; what it printed since the last call."""

    def close(self) -> None:
        """Ends the program and everything it holds, within a few seconds."""


class Extra(Protocol):
    """Fills what a sample lacks from a cheap place of its own."""

    @property
    def name(self) -> str:
        """What the source is called."""

    def add(self, sample: Sample, now_ns: int) -> Sample:
        """``sample`` with what it lacks, or as it is. ``now_ns`` is a clock that only goes forward."""

    def close(self) -> None:
        """Gives everything back."""

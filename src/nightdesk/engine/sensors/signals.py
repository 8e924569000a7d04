"""Ends a loop on a signal without losing one between two waits, and without waiting for a reader that never reads."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from types import FrameType, TracebackType


class StopOnSignals:
    """Calls ``stop`` on SIGTERM, SIGINT and SIGHUP. A byte comes on ``wake`` then, for the loop to wait on.

    As a context it marks a write that may block for ever: a signal ends the process from within it.
    """

    def __init__(self, stop: Callable[[], None]) -> None:
        self._stop = stop
        self._writing = False
        self.wake, writing = os.pipe()
        os.set_blocking(writing, False)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._ended)

    def __enter__(self) -> None:
        self._writing = True

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writing = False

    def _ended(self, _number: int, _frame: FrameType | None) -> None:
        self._stop()
        if self._writing:
            self._writing = False
            raise SystemExit(0)

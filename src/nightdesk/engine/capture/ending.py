"""When a child process of the engine has to stop: on a signal, or when its standard input ends."""

from __future__ import annotations

import contextlib
import os
import signal
import socket

_STDIN = 0


class Ending:
    """Knows when to stop: a signal came, or standard input ended because our parent is gone."""

    def __init__(self) -> None:
        self.asked = False
        self._wake, self._waker = socket.socketpair()
        self._wake.setblocking(False)
        self._waker.setblocking(False)
        self.wait_on = [_STDIN, self._wake.fileno()]
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._on_signal)

    def notify(self) -> None:
        """Wake the loop up, from any thread."""
        with contextlib.suppress(OSError):
            self._waker.send(b"w")

    def look(self, ready: list[int]) -> None:
        """Take note of what ``select`` found."""
        if self._wake.fileno() in ready:
            with contextlib.suppress(BlockingIOError):
                self._wake.recv(4096)
        if _STDIN in ready and stdin_ended():
            self.asked = True

    def _on_signal(self, _number: int, _frame: object) -> None:
        self.asked = True
        self.notify()


def stdin_ended() -> bool:
    """Read what is there; True at the end of input, or where there is no input at all."""
    try:
        return not os.read(_STDIN, 65_536)
    except BlockingIOError:
        return False
    except OSError:
        return True

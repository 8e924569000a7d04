"""What the engine tells its child: to stop, by a signal or the end of its input, or to end an exchange."""

from __future__ import annotations

import contextlib
import os
import signal
import socket

import msgspec

_STDIN = 0
_LONGEST = 1024
"""Of a line that has not ended; commands are short."""


class Ending:
    """Knows when to stop: a signal came, or standard input ended because our parent is gone. Keeps its wishes."""

    def __init__(self) -> None:
        self.asked = False
        self._commands: list[int] = []
        self._begun = b""
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
        if _STDIN in ready:
            self._listen()

    def cancelled(self) -> list[int]:
        """Numbers of the exchanges that are to be ended, since the last call."""
        commands, self._commands = self._commands, []
        return commands

    def _listen(self) -> None:
        said = read_stdin()
        if not said:
            self.asked = self.asked or said is not None
            return
        *lines, self._begun = (self._begun + said).split(b"\n")
        self._begun = self._begun[:_LONGEST]
        for line in lines:
            with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError):
                self._commands.append(msgspec.json.decode(line, type=_Command).cancel)

    def _on_signal(self, _number: int, _frame: object) -> None:
        self.asked = True
        self.notify()


class _Command(msgspec.Struct):
    """What the engine may ask for: ``{"cancel": 12}`` ends exchange 12 of this process."""

    cancel: int


def read_stdin() -> bytes | None:
    """What waits on standard input: nothing at its end, and where there is no input; None while there is none yet."""
    try:
        return os.read(_STDIN, 65_536)
    except BlockingIOError:
        return None
    except OSError:
        return b""

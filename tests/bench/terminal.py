"""Runs a program on a pseudo-terminal and measures when a text appears on it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import termios
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass
class Terminal:
    """A program on a pseudo-terminal. ``output`` is everything that it wrote so far."""

    pid: int
    fd: int
    output: bytes = b""

    def wait_for(self, text: bytes, seconds: float) -> float | None:
        """Seconds until ``text`` was written, counted from this call; None when it never came."""
        began = time.perf_counter()
        while text not in self.output:
            left = seconds - (time.perf_counter() - began)
            if left <= 0 or not select.select([self.fd], [], [], left)[0]:
                return None
            try:
                self.output += os.read(self.fd, 65536)
            except OSError:
                return None
        return time.perf_counter() - began

    def write(self, keys: bytes) -> None:
        """Type."""
        os.write(self.fd, keys)

    def drain(self, seconds: float) -> int:
        """Read for a while; the number of bytes that came."""
        before, limit = len(self.output), time.perf_counter() + seconds
        while (left := limit - time.perf_counter()) > 0:
            if select.select([self.fd], [], [], left)[0]:
                self.output += os.read(self.fd, 65536)
        return len(self.output) - before


@contextlib.contextmanager
def terminal(argv: Sequence[str], columns: int = 160, rows: int = 48) -> Iterator[Terminal]:
    """Start ``argv`` on a terminal of that size; it is killed at the end."""
    pid, fd = pty.fork()
    if pid == 0:
        os.environ.update(TERM="xterm-256color", COLORTERM="truecolor", LC_ALL="C.UTF-8")
        time.sleep(0.05)  # the parent sets the size first
        os.execvp(argv[0], list(argv))
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    try:
        yield Terminal(pid, fd)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(fd)

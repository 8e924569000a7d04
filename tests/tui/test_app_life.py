"""How the viewer ends: signals, a vanished terminal, leaving; each on a real terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = """
import sys
from nightdesk.tui.start import show
from tests.support.viewer import FakeEngine, snapshot, viewer
sys.exit(show(viewer(FakeEngine(snapshot()))))
"""
LEFT_ALTERNATE_SCREEN = b"\x1b[?1049l"


class Terminal:
    """A viewer on a pseudo-terminal of its own."""

    def __init__(self, *, controlling: bool = True, ignores_hangup: bool = False) -> None:
        self.master, inner = pty.openpty()
        fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        hold = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n" if ignores_hangup else ""
        take = "import fcntl, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0)\n" if controlling else ""
        self.process = subprocess.Popen(
            [sys.executable, "-c", hold + take + PROGRAM],
            stdin=inner,
            stdout=inner,
            stderr=inner,
            cwd=ROOT,
            start_new_session=True,
            env={**os.environ, "TERM": "xterm-256color", "PYTHONPATH": str(ROOT)},
        )
        os.close(inner)
        self.output = b""

    def read_until(self, words: bytes, seconds: float = 60.0) -> None:
        limit = time.monotonic() + seconds
        while words not in self.output and time.monotonic() < limit:
            if select.select([self.master], [], [], 0.1)[0]:
                try:
                    self.output += os.read(self.master, 65536)
                except OSError:
                    break
        assert words in self.output, self.output[-2000:]

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


@pytest.fixture
def terminals() -> Iterator[list[Terminal]]:
    opened: list[Terminal] = []
    yield opened
    for terminal in opened:
        terminal.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_viewer_with_the_terminal_restored(
    terminals: list[Terminal], number: signal.Signals
) -> None:
    terminal = Terminal()
    terminals.append(terminal)
    terminal.read_until(b"transcribe")
    terminal.process.send_signal(number)
    terminal.read_until(LEFT_ALTERNATE_SCREEN)
    assert terminal.process.wait(60) == 128 + number
    assert b"\x1b[?1000l" in terminal.output


@pytest.mark.parametrize("controlling", [True, False])
def test_a_vanished_terminal_ends_the_viewer_even_when_the_hangup_is_ignored(
    terminals: list[Terminal], controlling: bool
) -> None:
    terminal = Terminal(controlling=controlling, ignores_hangup=True)
    terminals.append(terminal)
    terminal.read_until(b"transcribe")
    os.close(terminal.master)
    assert terminal.process.wait(60) == 129


def test_leaving_prints_one_line_on_the_restored_terminal(terminals: list[Terminal]) -> None:
    terminal = Terminal()
    terminals.append(terminal)
    terminal.read_until(b"transcribe")
    os.write(terminal.master, b"\x03")
    os.write(terminal.master, b"q")
    terminal.read_until(b"viewer closed; engine and 2 runs go on (nightdesk status)")
    assert terminal.process.wait(60) == 0
    assert terminal.output.index(LEFT_ALTERNATE_SCREEN) < terminal.output.index(b"viewer closed")

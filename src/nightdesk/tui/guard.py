"""A small parent of the viewer that gives the terminal back when the viewer could not.

``kill -9`` leaves a terminal in raw mode, on the alternate screen, reporting the mouse. Nothing within the killed
process can help, so the viewer runs in a child, and its parent, which has loaded next to nothing, waits for it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import termios
from collections.abc import Callable

from nightdesk.model.errors import UsageError

LEAVE_SCREEN = (
    "".join(f"\x1b[?{mode}l" for mode in (1000, 1002, 1003, 1004, 1006, 1015, 1016, 2004))
    + "\x1b[<u\x1b[0m\x1b[?25h\x1b[?1049l"
)
"""Mouse, focus, paste and keyboard reports off, colours plain, cursor shown, alternate screen left."""
Attributes = list[int | list[bytes | int]]
FORWARDED = (signal.SIGTERM, signal.SIGHUP)

_guard: int | None = None


def guard_is_gone() -> bool:
    """True in a viewer whose guard was killed: the shell has the terminal again, and two would fight for it.

    From then on this process may set the terminal back although it is in the background.
    """
    if _guard is None or os.getppid() == _guard:
        return False
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    return True


def check_terminal() -> None:
    """Raises UsageError where the viewer would have nothing to draw on or to read keys from."""
    for stream, name in ((sys.stdin, "input"), (sys.stdout, "output"), (sys.stderr, "error output")):
        if not stream.isatty():
            raise UsageError(
                f"The viewer needs a terminal, and the standard {name} is none.",
                "Without one: nightdesk up starts the engine, nightdesk status --json tells how things are.",
            )


def guarded(view: Callable[[], int]) -> int:
    """The status of ``view``, run in a child with this process as its guard. Raises UsageError without a terminal.

    Call it before threads are started: it forks.
    """
    global _guard
    check_terminal()
    attributes = termios.tcgetattr(sys.stdin)
    guard = os.getpid()
    viewer = os.fork()
    if viewer == 0:
        _guard = guard
        sys.exit(view())
    for number in FORWARDED:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda number, _frame: _send(viewer, number))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    status = _wait(viewer)
    if not os.WIFSIGNALED(status):
        return os.WEXITSTATUS(status)
    _restore(attributes)
    killer = os.WTERMSIG(status)
    sys.stderr.write(f"The viewer was ended by signal {killer}; engine and runs go on (nightdesk status).\n")
    return 128 + killer


def _wait(viewer: int) -> int:
    """How the viewer ended. When it is stopped (ctrl+z) so are we, and it goes on when we do."""
    while True:
        _, status = os.waitpid(viewer, os.WUNTRACED)
        if not os.WIFSTOPPED(status):
            return status
        os.kill(os.getpid(), signal.SIGSTOP)
        _send(viewer, signal.SIGCONT)


def _send(viewer: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(viewer, number)


def _restore(attributes: Attributes) -> None:
    """The terminal as it was; one that is gone needs nothing."""
    with contextlib.suppress(OSError, termios.error):
        sys.stdout.write(LEAVE_SCREEN)
        sys.stdout.flush()
        # Answers of the terminal to what the viewer asked must not be taken for typed text.
        termios.tcflush(sys.stdin, termios.TCIFLUSH)
        termios.tcsetattr(sys.stdin, termios.TCSANOW, attributes)

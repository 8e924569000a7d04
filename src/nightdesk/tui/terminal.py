"""The terminal and the process: signals, a terminal that vanished, the mouse, the character set."""

from __future__ import annotations

import asyncio
import contextlib
import locale
import os
import signal
import sys
import termios
import threading
from collections.abc import Callable

GRACE_SECONDS = 5.0
"""A viewer that was told to end, or whose terminal is gone, is ended after this long in any case."""


def follow_signals(leave: Callable[[int], None]) -> None:
    """Leave cleanly on SIGTERM and SIGHUP, with the terminal restored: ``leave(128 + number)``."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGHUP):
        # Outside the main thread (tests) there are no signal handlers.
        with contextlib.suppress(ValueError, RuntimeError):
            loop.add_signal_handler(number, leave, 128 + number)


def is_gone(descriptor: int | None) -> bool:
    """True when ``descriptor`` was a terminal that has been closed at its other end."""
    if descriptor is None:
        return False
    try:
        termios.tcgetattr(descriptor)
    except termios.error:
        return True
    except ValueError:
        return True
    return False


def terminal_descriptor() -> int | None:
    """The descriptor that keys come from, None when it is no terminal."""
    try:
        descriptor = sys.__stdin__.fileno() if sys.__stdin__ else None
        return descriptor if descriptor is not None and os.isatty(descriptor) else None
    except (OSError, ValueError):
        return None


def end_soon(status: int) -> None:
    """End the process in a moment whatever happens: nobody is left who could see a proper end."""
    timer = threading.Timer(GRACE_SECONDS, os._exit, (status,))
    timer.daemon = True
    timer.start()


def speaks_utf8() -> bool:
    """True when the locale can show our signs."""
    name = locale.nl_langinfo(locale.CODESET) if hasattr(locale, "nl_langinfo") else "UTF-8"
    output = getattr(sys.__stdout__, "encoding", None) or "utf-8"
    return name.upper().replace("-", "") == "UTF8" and output.upper().replace("-", "") == "UTF8"

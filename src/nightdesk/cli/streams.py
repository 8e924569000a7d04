"""The standard streams of a command, made usable where a caller closed them or the locale can't show our text."""

from __future__ import annotations

import os
import sys
from io import TextIOWrapper
from typing import TextIO


def mend_streams() -> None:
    """Give every closed stream a descriptor, so that no file or socket that is opened later becomes one of them.

    Writing to a closed output still fails, as it should; complaints without a place to go are dropped.
    """
    if sys.stdin is None:
        sys.stdin = _opened(0, os.O_RDONLY)
    if sys.stdout is None:
        sys.stdout = _opened(1, os.O_RDONLY)
    if sys.stderr is None:
        sys.stderr = _opened(2, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper) and not _takes_utf8(stream):
            stream.reconfigure(encoding="ascii", errors="replace")


def _opened(number: int, flags: int) -> TextIO:
    descriptor = os.open(os.devnull, flags)
    if descriptor != number:
        os.dup2(descriptor, number)
        os.close(descriptor)
    return open(number, "r" if number == 0 else "w", encoding="utf-8", closefd=False)


def _takes_utf8(stream: TextIO) -> bool:
    """False for a terminal under the C locale. Python writes UTF-8 there, in which bytes can be terminal controls."""
    if not (sys.flags.utf8_mode and stream.isatty()):
        return True
    import locale

    return locale.nl_langinfo(locale.CODESET).upper().replace("-", "") == "UTF8"


def forget_output() -> None:
    """Drop what waits to be written: its reader is gone, and the end of the process must not try again."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)

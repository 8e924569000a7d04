"""Which lines of a file hold some words or match a pattern, found at the speed of reading.

Words are looked for in the engine's own thread. A pattern can take for ever on one line, and nothing can
interrupt it in a thread, so patterns run in a process of their own: ``python -m nightdesk.engine.logs.scan``.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import TypeAlias

from nightdesk.engine.logs.words import Matcher, words_matcher
from nightdesk.model.errors import UsageError

BLOCK = 1 << 20
LONGEST = 1 << 20
"""Bytes of a line that are held at once; a longer one is looked at in pieces."""
OVERLAP = 1_024
"""Bytes of a piece that are looked at again with the next."""
PATTERN_LINE = 4_096
"""Bytes at the beginning of a line that a pattern sees."""
BLOCK_SECONDS = 20
"""For a pattern and one block, which take a fraction of a second unless the pattern never comes to an end."""
TEXT_MOST = 400
_CROSSING = (b"[^", rb"\s", rb"\W", rb"\D", rb"\n", rb"\S", b"(?", b"\n")
"""Parts of patterns that may run over the end of a line: such patterns don't leap over lines without a match."""

Batch: TypeAlias = tuple[int, list[int]]
"""How far a file was looked at, and where the lines begin that were found since the batch before."""


def blocks(descriptor: int, start: int, stop: int) -> Iterator[tuple[int, int, bytes, int]]:
    """(where its first line begins, its own offset, bytes, how many of them are whole lines) of blocks.

    What has no line feed before ``stop`` is left out, except for pieces of a line above :data:`LONGEST`, which are
    given whole. Nothing is copied: the beginning of a cut line is read again with the next block. Raises OSError.
    """
    first = base = start
    most = BLOCK
    while base < stop and (data := os.pread(descriptor, min(most, stop - base), base)):
        cut = data.rfind(b"\n") + 1
        if cut:
            yield first, base, data, cut
            base += cut
            first, most = base, BLOCK
        elif len(data) < most:
            return
        elif most < LONGEST:
            most = LONGEST
        else:
            yield first, base, data, len(data)
            base += len(data) - OVERLAP


def scan(descriptor: int, start: int, stop: int, matcher: Matcher) -> Iterator[Batch]:
    """Batches of matching lines between two line starts. Raises OSError."""
    last = -1
    for first, base, block, cut in blocks(descriptor, start, stop):
        found = [first if at == 0 else base + at for at in matcher(block, cut)]
        if found and found[0] == last:
            del found[0]
        last = found[-1] if found else last
        yield (base + cut if block[cut - 1 : cut] == b"\n" else first), found


def text_matcher(text: str) -> Matcher:
    """Lines that hold ``text``, whatever its case."""
    if not text.isascii() and text.lower() != text.upper():
        return pattern_matcher(re.compile(_either_case(text)))
    return words_matcher(text)


def _either_case(text: str) -> bytes:
    return b"".join(
        b"(?:" + b"|".join({re.escape(form.encode()) for form in (sign, sign.lower(), sign.upper())}) + b")"
        for sign in text
    )


def pattern_matcher(pattern: re.Pattern[bytes]) -> Matcher:
    """Lines in which the pattern is found. It sees one line at a time, and of that the beginning."""
    leaps = not any(sign in pattern.pattern for sign in _CROSSING)

    def matches(block: bytes, stop: int) -> Iterator[int]:
        at = 0
        while at < stop:
            if leaps:
                found = pattern.search(block, at, stop)
                if found is None:
                    return
                at = block.rfind(b"\n", 0, found.start()) + 1
            end = block.find(b"\n", at, stop)
            end = stop if end < 0 else end
            if pattern.search(block, at, min(end, at + PATTERN_LINE)):
                yield at
            at = end + 1

    return matches


def compiled(text: str) -> re.Pattern[bytes]:
    """The pattern, case ignored. Raises UsageError that says what is wrong and where."""
    try:
        return re.compile(text.encode(), re.IGNORECASE | re.MULTILINE)
    except (re.error, OverflowError, RecursionError) as fault:
        raise UsageError(
            f"The pattern can't be read: {fault}.", "Without ~ in front it is plain text."
        ) from fault


def scan_pattern(
    descriptor: int,
    start: int,
    stop: int,
    text: str,
    began: Callable[[subprocess.Popen[bytes]], None] | None = None,
) -> Iterator[Batch]:
    """As :func:`scan`, in a process of its own that ends with the iterator. Raises OSError.

    ``began`` is given that process: who kills it ends the iteration, with an error.
    """
    argv = [sys.executable, "-m", __name__, str(start), str(stop), text]
    process = subprocess.Popen(argv, stdin=descriptor, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    atexit.register(process.kill)
    if began is not None:
        began(process)
    try:
        for line in process.stdout:
            scanned, *found = map(int, line.split())
            yield scanned, found
        if process.wait():
            raise TimeoutError(0, f"the pattern took more than {BLOCK_SECONDS} s for a part of the file")
    finally:
        process.kill()
        atexit.unregister(process.kill)
        process.wait()
        process.stdout.close()


def main() -> None:
    """``START STOP PATTERN``: look through the file on standard input and print each batch as numbers in a line."""
    signal.alarm(BLOCK_SECONDS)
    start, stop, text = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    with contextlib.suppress(BrokenPipeError):
        for scanned, found in scan(0, start, stop, pattern_matcher(compiled(text))):
            sys.stdout.write(" ".join(map(str, (scanned, *found))) + "\n")
            sys.stdout.flush()
            signal.alarm(BLOCK_SECONDS)


if __name__ == "__main__":
    main()

"""Other programs that show logs, and ours, on terminals of their own: first screen, end, a rare word of a big file."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.bench.desk import NIGHTDESK, running_desk
from tests.bench.peers import REMEDY, peer
from tests.bench.terminal import Terminal, terminal

PATIENCE = 40.0
Rows = list[tuple[str, str, str]]


class Way(NamedTuple):
    """How a program is brought to the end of a file, and to a word from its beginning or end."""

    words: tuple[str, ...]
    to_end: bytes
    to_word: bytes
    """``%s`` is the word."""
    quit: bytes


WAYS = {
    "less": Way(("less",), b"G", b"g/%s\r", b"q"),
    "lnav": Way(("lnav", "-q"), b"", b"g/%s\r", b"q"),
    "tl": Way(("tl",), b"", b"/%s\r", b"\x03"),
}
NAMES = {"tl": "toolong"}


def measure(path: Path, first: bytes, last: bytes, word: bytes, hit: bytes) -> Rows:
    """Rows of all programs. ``first`` stands in the first line, ``last`` in the last, ``hit`` in that of the word."""
    rows = [_ours(path, last, word, hit)]
    for name, way in WAYS.items():
        shown = NAMES.get(name, name)
        program = peer(name)
        if program is None:
            rows.append((f"{shown}: first screen, end, rare word", REMEDY, "comparison"))
            continue
        with _plain_terminal([program, *way.words[1:], str(path)]) as screen:
            began = time.perf_counter()
            figures = [_waited(screen, first if way.to_end else last[:3], began)]
            figures += [_typed(screen, way.to_end, last), _typed(screen, way.to_word % word, hit)]
            screen.write(way.quit)
        rows.append((f"{shown}: first screen, end, rare word", ", ".join(figures), "comparison"))
    return rows


def _ours(path: Path, last: bytes, word: bytes, hit: bytes) -> tuple[str, str, str]:
    with running_desk(f'[watch]\nlogs = ["{path}"]\n'):
        time.sleep(5)
        with terminal([NIGHTDESK, "--mode", "logs"]) as screen:
            began = time.perf_counter()
            figures = [_waited(screen, last, began)]
            _typed(screen, b"/" + word.lower() + b"\r", word.lower())
            screen.drain(0.5)  # the line in which was typed has gone
            figures.append(_typed(screen, b"N", hit))
            screen.write(b"\x1bq")
    what = "nightdesk --mode logs: program started and end shown, rare word"
    return (what, ", ".join(figures), "word: under 3 × grep -ci")


def _typed(screen: Terminal, keys: bytes, text: bytes) -> str:
    screen.output = b"" if keys else screen.output
    began = time.perf_counter()
    for key in (bytes((number,)) for number in keys):
        screen.write(key)
        time.sleep(0.005)
    return _waited(screen, text, began)


def _waited(screen: Terminal, text: bytes, began: float) -> str:
    if screen.wait_for(text, PATIENCE) is None:
        return f"not within {PATIENCE:.0f} s"
    return f"{time.perf_counter() - began:.2f} s"


@contextlib.contextmanager
def _plain_terminal(words: list[str]) -> Iterator[Terminal]:
    kept = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("NIGHTDESK_")}
    try:
        with terminal(words) as screen:
            yield screen
    finally:
        os.environ.update(kept)

"""Makes foreign text harmless: what a model, a log, a process or a file name says never reaches a terminal as control.

Prompts, replies, log lines, process names and paths pass :func:`safe` before any widget and before any plain
output. C0 except tab and newline, DEL, C1, bidi controls and other invisible format characters become U+FFFD;
carriage returns are dropped; lone surrogates (from undecodable file names) become U+FFFD as well.
"""

from __future__ import annotations

import re

REPLACEMENT = "\ufffd"
_CONTROL = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
_NOT_ASCII = re.compile("[^\x00-\x7e]")
CUT_MARK = "…"


def safe(text: str) -> str:
    """``text`` without anything that a terminal could obey. Clean text comes back as the same object."""
    if text.isprintable():
        # Nothing of what is replaced is printable, and asking is much faster than searching.
        return text
    if "\r" in text:
        text = text.replace("\r", "")
    return _CONTROL.sub(REPLACEMENT, text)


def safe_line(text: str, limit: int = 4096) -> str:
    """One harmless line of at most ``limit`` characters: line ends and tabs become blanks, the rest is cut."""
    if len(text) <= limit and text.isprintable():
        return text
    cut = text[: limit + 1]
    line = safe(cut.replace("\n", " ").replace("\t", " "))
    return line if len(line) <= limit else line[: limit - 1] + CUT_MARK


def escape_json(encoded: bytes, *, ascii_only: bool = False) -> bytes:
    r"""The same JSON, with every character that a terminal could obey (or all that is not ASCII) as ``\uXXXX``."""
    if encoded.isascii() and b"\x7f" not in encoded:
        return encoded
    text = encoded.decode()
    if not ascii_only and text.isprintable():
        return encoded
    return (_NOT_ASCII if ascii_only else _CONTROL).sub(_escaped, text).encode()


def _escaped(found: re.Match[str]) -> str:
    units = found[0].encode("utf-16-be")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))

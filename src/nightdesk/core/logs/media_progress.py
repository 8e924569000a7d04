"""How far a program is with one recording or download: Whisper and its kin, ffmpeg, yt-dlp.

They print a position; how long the whole is, they say in another line, or never.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from nightdesk.core.foreign import safe_line

_HINT = re.compile(r"-->|^Input #|\d ?s -> |time=-?\d|[Dd]uration|samples, |^\[download\]|^\s*\[download\]")
_CLOCK = r"(?:\d+:)?\d{1,2}:\d\d(?:[.,]\d+)?"
_SEGMENT = re.compile(rf"^\s*\[\s*{_CLOCK}\s*-->\s*(?P<end>{_CLOCK})\s*\]")
_SECONDS = re.compile(r"^\s*\[\s*\d+(?:\.\d+)?s?\s*->\s*(?P<end>\d+(?:\.\d+)?)s?\s*\]")
_LENGTH = re.compile(
    rf"\bDuration: (?P<a>{_CLOCK}),|[Pp]rocessing audio with duration (?P<b>{_CLOCK})"
    r"|\(\d+ samples, (?P<c>\d+(?:\.\d+)?) sec\)"
)
_NAME = re.compile(r"processing '(?P<a>[^']{1,300})'|\bfrom '(?P<b>[^']{1,300})'")
_FFMPEG = re.compile(rf"\b(?:out_)?time=(?P<at>{_CLOCK})\b.*?(?:speed=\s*(?P<speed>[\d.]+)x)?\s*$")
_YTDLP = re.compile(
    r"^\s*\[download\]\s+(?P<percent>\d+(?:\.\d+)?)% of\s+~?\s*[\d.]+\s*\w+(?: in [\d:]+)?"
    r"(?:\s+at\s+(?P<rate>\S+\s?\S*?))?"
    rf"(?:\s+ETA\s+(?:(?P<left>{_CLOCK})|Unknown))?(?:\s+\(frag .*\))?\s*$"
)
_YTDLP_ITEM = re.compile(r"^\s*\[download\] Destination: (?P<name>.+)$")


class Position(NamedTuple):
    """Where a program is."""

    series: str
    done: float
    total: float | None
    unit: str
    item: str | None = None
    rate: float | None = None
    left_s: float | None = None


def may_tell_position(line: str) -> bool:
    """A cheap look at a line."""
    return _HINT.search(line) is not None


class MediaReader:
    """Remembers how long the recording is whose positions are printed."""

    def __init__(self) -> None:
        self._length: float | None = None
        self._item: str | None = None
        self._began = 0
        self._at = 0.0

    def feed(self, text: str) -> Position | None:
        """The position that a line tells; None where it tells none."""
        if (match := _YTDLP_ITEM.match(text)) is not None:
            self._item = safe_line(match["name"].rpartition("/")[2], 200)
            return None
        if (match := _YTDLP.match(text)) is not None:
            left = seconds_of(match["left"]) if match["left"] else None
            return Position("download", float(match["percent"]), 100, "%", self._item, None, left)
        if (named := _NAME.search(text)) is not None:
            self._item = safe_line((named["a"] or named["b"]).rpartition("/")[2], 200)
        if (match := _LENGTH.search(text)) is not None:
            self._begin(float(match["c"]) if match["c"] else seconds_of(match["a"] or match["b"]))
            return None
        return self._position(text)

    def _begin(self, length: float) -> None:
        self._length, self._at = length, 0.0
        self._began += 1

    def _position(self, text: str) -> Position | None:
        speed = None
        if (match := _SEGMENT.match(text)) is not None:
            at = seconds_of(match["end"])
        elif (match := _SECONDS.match(text)) is not None:
            at = float(match["end"])
        elif (match := _FFMPEG.search(text)) is not None:
            at = seconds_of(match["at"])
            speed = float(match["speed"]) if match["speed"] and float(match["speed"]) > 0 else None
        else:
            return None
        if at < self._at:
            # Positions of another recording; how long that is was not said.
            self._began += 1
            self._length = None
        self._at = at
        total = self._length if self._length is not None and at <= self._length * 1.02 + 1 else None
        done = min(at, total) if total is not None else at
        return Position(f"position {self._began}", done, total, "s of audio", self._item, speed)


def seconds_of(clock: str) -> float:
    """``1:02:03.5`` or ``02:03,5`` as seconds."""
    seconds = 0.0
    for part in clock.replace(",", ".").split(":"):
        seconds = seconds * 60 + float(part)
    return seconds

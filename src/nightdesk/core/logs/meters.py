"""What tools print while they fetch, copy and build: curl, wget, rsync, apt, CMake, pytest."""

from __future__ import annotations

import re

from nightdesk.core.foreign import safe_line
from nightdesk.core.logs.reading import ITEM_LIMIT, SECOND, Reading, clock_ns, of_percent

_HINT = re.compile(r"\d:[\d-]{2} +[\d-]|% |%\]")
_SIZE = r"[\d.]+[kMGTP]?"
_CLOCK = r"(?:[\d-]+:[\d-]{2}:[\d-]{2}|\d+[dh] \d+[hm])"
_CURL = re.compile(
    rf"^\s*(?P<percent>\d{{1,3}})\s+{_SIZE}(?:\s+\d{{1,3}}\s+{_SIZE}){{2}}\s+{_SIZE}\s+{_SIZE}"
    rf"\s+{_CLOCK}\s+{_CLOCK}\s+(?P<left>{_CLOCK})"
)
"""Share, size, share and size received, share and size sent, two speeds, then total, spent and left time."""
_WGET = re.compile(
    r"^\s*\d+K(?: +[.,]{1,10})+ +(?P<percent>\d{1,3})% +[\d.,]+[KMG]?(?: +(?P<left>(?:\d+[dhms])+)|=[\d.dhms]+)\s*$"
)
_RSYNC = re.compile(
    r"^\s*[\d.,]+[KMGT]?\s+(?P<percent>\d{1,3})%\s+[\d.,]+[kKMGT]?B/s\s+(?P<left>\d+:\d\d:\d\d)"
    r"(?:\s+\(xfr?#\d+, (?:to|ir)-chk=(?P<rest>\d+)/(?P<all>\d+)\))?\s*$"
)
_BUILD = re.compile(r"^\[\s*(?P<percent>\d{1,3})%\]\s+(?P<what>\S.*)$")
_TESTS = re.compile(r"^\S.*\s\[\s*(?P<percent>\d{1,3})%\]$")
_APT = re.compile(r"^(?P<what>[A-Z][A-Za-z ]{2,60})\.\.\. (?P<percent>\d{1,3})%$")
_UNITS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}


def may_be_meter(text: str) -> bool:
    """A cheap look at a line."""
    return _HINT.search(text) is not None or text.endswith("%")


def meter(text: str) -> Reading | None:
    """What the meter of a tool says."""
    if (match := _CURL.match(text)) is not None:
        return of_percent(float(match["percent"]), "curl", None, left_ns=clock_ns(match["left"]))
    if (match := _WGET.match(text)) is not None:
        return of_percent(float(match["percent"]), "wget", None, left_ns=_spelled_ns(match["left"] or "0s"))
    if (match := _RSYNC.match(text)) is not None:
        return _rsync(match)
    if (match := _BUILD.match(text)) is not None:
        return of_percent(float(match["percent"]), "build", safe_line(match["what"], ITEM_LIMIT))
    if (match := _TESTS.match(text)) is not None:
        return of_percent(float(match["percent"]), "percent at the end", None, sure=False)
    if (match := _APT.match(text)) is not None:
        return of_percent(float(match["percent"]), f"apt {match['what']}", match["what"])
    return None


def _rsync(match: re.Match[str]) -> Reading | None:
    """Of one file, or of all: what is left to check of all files is told behind each file."""
    if match["all"] is None:
        return of_percent(float(match["percent"]), "rsync", None, left_ns=clock_ns(match["left"]))
    whole, left = int(match["all"]), int(match["rest"])
    if not 0 <= left <= whole or whole == 0:
        return None
    return Reading("counter", "rsync", whole - left, whole, "files")


def _spelled_ns(text: str) -> int:
    """``1h2m`` as nanoseconds."""
    return sum(int(number) * _UNITS[unit] for number, unit in re.findall(r"(\d+)([dhms])", text)) * SECOND

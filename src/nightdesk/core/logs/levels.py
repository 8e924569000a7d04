"""How much a log line matters, by what programs write: a level word, the name of an exception, a status, a sign.

A word that only counts (``0 errors``, ``FAILED: 0``, ``error_rate=0.01``) is no level. Every form of an error has a
byte string among :data:`ERROR_HINTS`, of a warning among those or :data:`WARNING_HINTS`: a block of a file that holds
none of them needs no closer look.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal, TypeAlias

Level: TypeAlias = Literal["error", "warning", "info", "debug", ""]
LOOKED_AT = 300
"""Characters of a line in which a level is looked for."""

ERROR_HINTS = (
    b"rror", b"ERR", b"err", b"FAIL", b"ailed", b"raceback", b"xception", b"CRITICAL", b"ritical", b"crit", b"FATAL",
    b"fatal", b"Fatal", b"PANIC", b"panic", b"SEVERE", b"emerg", b"alert", b"Interrupt", b"Exit: ", b"[GIN]", b'" 5',
    b".1 5", b"\nE", b"[E", b" E ", b"\n<", b"fault", b"illed", b"borted", b"*** ", b"\ncurl: (", b"not found",
    b"such file", b"ermission denied", b"left on device", b"efused", b"nvalid data", b"unable to", b'{"',
    b"\xe2\x9c", b"\xe2\x9d\x8c",
)  # fmt: skip
WARNING_HINTS = (b"WARN", b"arning", b"warn", b"\nW", b" W ", b"[W", b'" 4', b".1 4", b"\xe2\x9a\xa0")

_AT_BEGIN = tuple(hint[1:] for hint in (*ERROR_HINTS, *WARNING_HINTS) if hint.startswith(b"\n"))

_NAMES: dict[str, Level] = {
    **dict.fromkeys(
        (
            "critical",
            "fatal",
            "panic",
            "error",
            "err",
            "severe",
            "alert",
            "emerg",
            "emergency",
            "crit",
        ),
        "error",
    ),
    **dict.fromkeys(("warning", "warn", "wrn"), "warning"),
    **dict.fromkeys(("info", "notice", "success", "inf", "information", "informational"), "info"),
    **dict.fromkeys(("debug", "trace", "dbg", "verbose", "spam"), "debug"),
    "f": "error",
    "e": "error",
    "w": "warning",
    "i": "info",
    "d": "debug",
    "t": "debug",
}
_FRONT = re.compile(r"\[?[\d:.,TZ+/ -]{8,40}(?:\]:?|:)? ?(?=\D)")
"""A time, perhaps."""
_ALONE = r"\b(?!\s*[:=]?\s*0(?:\.0*)?\s*(?:$|[,;|)\]]))"
"""Behind a word that would count nothing: no level."""
_NO_NUMBER = r"(?!-?[\d.]+(?:e-?\d+)?\s?%?\s*(?:$|[,;|]|[a-z_ ]+[:=]))"
"""Behind the name of a measure, such as the error of a model."""
_BEGIN = re.compile(
    r"(?P<error>"
    r"Traceback \(most recent|E +\S|E: \S|[EF]\d{4} |\[[EF][\] ]|<[0-3]>"
    r"|\s*[\w.]*(?:Error|Exception|Interrupt|Exit): |(?:[\w.]+\.)?[A-Z]\w*(?:Error|Exception|Interrupt)$"
    r"|(?:(?!no\b|No\b|0 )[\w./\[\]()-]+(?::\d+){0,2}:? )?(?:fatal |internal |runtime )?"
    rf"(?:[Ee]rror|fatal|panic): {_NO_NUMBER}"
    r"|(?:[a-z]+ +)?[a-z_]\w*: (?:error|failed|unable to)\b(?! *[:=]? *\d)|[Ff]ailed(?: to |: (?!0\b))"
    r"|thread '.*' panicked at |(?:Segmentation fault|Bus error|Killed|Aborted)(?: *\(core dumped\))?$"
    r"|g?make(?:\[\d+\])?: \*\*\* |CMake Error\b|npm (?:ERR!|error) |curl: \(\d+\) |[✗✘✖❌] ?\S"
    r"|(?:=+ )?(?:\d+ \w+, )*[1-9]\d* (?:failed|errors?)\b.* in [\d.]+m?s\b)"
    r"|(?P<warning>"
    r"(?:[\w.]+ )?\w*Warning: |(?:\S+: )?warn(?:ing)?: |W\d{4} |W: \S|\[W[\] ]|<4>|CMake (?:Deprecation )?Warning\b"
    r"|npm warn |⚠)"
    r"|(?P<info>"
    r"I\d{4} |\[I[\] ]|<[56]>|(?:\S+: )?(?:info|note|notice): |N: \S"
    r"|(?:=+ )?(?:\d+ \w+, )*\d+ passed\b.* in [\d.]+m?s\b)"
    r"|(?P<debug>D\d{4} |\[D[\] ]|<7>|(?:\S+: )?debug: )"
)
"""Behind the time, if there is one."""
_LETTER = re.compile(r"(?:(?P<error>[EF])|(?P<warning>W)|(?P<info>I)|(?P<debug>[DV])) (?=\S)")
"""Behind a time only."""
_KEY = r"(?:level|lvl|severity)=\"?"
_WORD = re.compile(
    rf"(?P<error>(?:ERROR|CRITICAL|FATAL|PANIC|SEVERE|FAILED){_ALONE}"
    rf"|{_KEY}(?:error|err|fatal|panic|crit|critical|alert|emerg)\b"
    r"|\[(?:[Ee]rror|ERR|err|[Ff]atal|[Cc]rit(?:ical)?|alert|emerg) *\])"
    rf"|(?P<warning>(?:WARNING|WARN){_ALONE}|{_KEY}warn|\[[Ww]arn(?:ing)? *\])"
    rf"|(?P<info>(?:INFO|NOTICE|SUCCESS|PASSED)\b|{_KEY}(?:info|notice)|\[(?:[Ii]nfo|[Nn]otice) *\])"
    rf"|(?P<debug>(?:DEBUG|TRACE|VERBOSE)\b|{_KEY}(?:debug|dbug|trace)|\[(?:[Dd]ebug|[Tt]race) *\])"
)
_NOT_BEFORE = re.compile(r"(?:\w|\b(?:0|[Nn]o|NO) )$")
"""In front of a word that is part of another, or denied."""
_LATE = re.compile(
    rf"(?P<error>: (?:fatal )?error: {_NO_NUMBER}"
    r"|: (?:Segmentation fault|Bus error|Killed|Aborted)(?: *\(core dumped\))?$"
    r"|: line \d+: +\d+ (?:Segmentation fault|Bus error|Killed|Aborted)\b|Out of memory: Killed process "
    r"|: (?:command not found|No such file or directory|Permission denied|No space left on device|Connection refused"
    r"|Invalid data found when processing input)$)"
    r"|(?P<warning>: warning: |\b[A-Z]\w*Warning: )"
)
_LATE_SIGNS = (
    "error: ",
    "arning: ",
    "illed",
    "borted",
    "fault",
    "error",
    " not found",
    "such file",
    "ermission",
    "left on",
    "efused",
    "nvalid data",
)
_STATUS = re.compile(
    r"^\[GIN\] .{19,26} \| +(?P<gin>\d{3}) \||^\S+ - - \[.*\] \"[A-Z]+ \S+ \S+\" (?P<clf>\d{3}) "
    r"|\" (?P<asgi>\d{3}) [A-Z]\w|\"HTTP/[\d.]+ (?P<client>\d{3}) [A-Z]"
)


def may_matter(block: bytes, hints: Iterable[bytes] = ERROR_HINTS) -> bool:
    """Whether whole lines can hold an error, or what else has its hints among these."""
    return block.startswith(_AT_BEGIN) or any(hint in block for hint in hints)


def named_level(name: str) -> Level:
    """The level of this name; empty where it is none."""
    return _NAMES.get(name.strip().lower(), "")


def level_of_text(text: str) -> Level:
    """How much a line without colours matters: by a status, else by what comes first of all that tells a level."""
    head = text[:LOOKED_AT]
    if ("HTTP" in head or head.startswith("[GIN]")) and (status := _STATUS.search(head)) is not None:
        number = int(next(found for found in status.groups() if found is not None))
        return "error" if number >= 500 else "warning" if number >= 400 else "info"
    front = _FRONT.match(head)
    body = head[front.end() :] if front is not None else head
    found = _BEGIN.match(body) or (_LETTER.match(body) if front is not None else None)
    if found is None:
        found = _word(body)
        late = _LATE.search(body) if any(sign in body for sign in _LATE_SIGNS) else None
        if late is not None and (found is None or late.start() < found.start()):
            found = late
    match found.lastgroup if found is not None else None:
        case "error":
            return "error"
        case "warning":
            return "warning"
        case "info":
            return "info"
        case "debug":
            return "debug"
        case _:
            return ""


def _word(body: str) -> re.Match[str] | None:
    """The first word that stands alone and is not denied."""
    return next(
        (found for found in _WORD.finditer(body) if not _NOT_BEFORE.search(body, 0, found.start())), None
    )

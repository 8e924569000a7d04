"""What a log line says of itself: when it was written and how much it matters.

Known: Python's logging and loguru, structlog, JSON lines, uvicorn, slog and GIN lines as Ollama writes them, llama.cpp,
klog, syslog, rich's handler, pytest, pip. Anything else is read by its level words and by what looks like a time at its
front.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone, tzinfo
from typing import Any, Literal, NamedTuple, TypeAlias

import msgspec

Level: TypeAlias = Literal["error", "warning", "info", "debug", ""]
SECOND = 1_000_000_000
LOOKED_AT = 300
"""Characters of a line in which a level or a time is looked for."""
JSON_MOST = 65_536
_DYE = re.compile("\x1b\\[[0-9;:]*[A-Za-z]")

_LEVELS: dict[str, Level] = {
    **dict.fromkeys(
        ("critical", "fatal", "panic", "error", "err", "severe", "alert", "emerg", "crit"), "error"
    ),
    **dict.fromkeys(("warning", "warn", "wrn"), "warning"),
    **dict.fromkeys(("info", "notice", "success", "inf", "information"), "info"),
    **dict.fromkeys(("debug", "trace", "dbg", "verbose", "spam"), "debug"),
}
_WORD = re.compile(
    r"(?P<error>\b(?:ERROR|CRITICAL|FATAL|PANIC|SEVERE|FAILED)\b|^Traceback \(most recent|^E +\S"
    r"|^\s*[\w.]*(?:Error|Exception|Interrupt|Exit): |^(?:\S+: )?(?:error|fatal|panic): |level=\"?(?:error|fatal)"
    r"|^E\d{4} |^[\d.]+ E |^ggml_\w+: (?:error|failed)|\[error *\])"
    r"|(?P<warning>\b(?:WARN|WARNING)\b|\w*Warning: |^(?:\S+: )?warn(?:ing)?: |level=\"?warn|^W\d{4} |^[\d.]+ W "
    r"|\[warn(?:ing)? *\])"
    r"|(?P<info>\b(?:INFO|NOTICE|SUCCESS|PASSED)\b|level=\"?info|^I\d{4} |^[\d.]+ I |\[info *\])"
    r"|(?P<debug>\b(?:DEBUG|TRACE|VERBOSE)\b|level=\"?debug|^D\d{4} |^[\d.]+ D |\[debug *\])"
)
_STATUS = re.compile(
    r"^\[GIN\] .{19,26} \| +(?P<gin>\d{3}) \||^\S+ - - \[.*\] \"[A-Z]+ \S+ \S+\" (?P<clf>\d{3}) "
    r"|\" (?P<asgi>\d{3}) [A-Z]\w"
)
_FULL = re.compile(
    r"(?P<y>\d{4})[-/](?P<mo>\d\d)[-/](?P<d>\d\d)(?:[T ]| - |_)(?P<h>\d\d):(?P<mi>\d\d):(?P<s>\d\d)"
    r"(?:[.,](?P<f>\d{1,9}))?\s?(?P<z>Z|[+-]\d\d:?\d\d)?"
)
_AMERICAN = re.compile(r"(?P<mo>\d\d)/(?P<d>\d\d)/(?P<y>\d\d(?:\d\d)?) (?P<h>\d\d):(?P<mi>\d\d):(?P<s>\d\d)")
_WEB = re.compile(
    r"(?P<d>\d\d)/(?P<mon>[A-Z][a-z]{2})/(?P<y>\d{4}):(?P<h>\d\d):(?P<mi>\d\d):(?P<s>\d\d) (?P<z>[+-]\d{4})"
)
_SYSLOG = re.compile(r"^(?P<mon>[A-Z][a-z]{2}) (?P<d>[ \d]\d) (?P<h>\d\d):(?P<mi>\d\d):(?P<s>\d\d)")
_KLOG = re.compile(r"^[EWID](?P<mo>\d\d)(?P<d>\d\d) (?P<h>\d\d):(?P<mi>\d\d):(?P<s>\d\d)\.(?P<f>\d+)")
_CLOCK = re.compile(r"^\[?(?P<h>\d\d):(?P<mi>\d\d):(?P<s>\d\d)(?:[.,](?P<f>\d{1,9}))?\]?(?=[\s|:]|$)")
_EPOCH = re.compile(r"^[\[(]?(?P<n>1\d{9})(?P<f>\.\d{1,9})?[\])]?(?=[\s:,]|$)")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_TIME_KEYS = ("timestamp", "time", "ts", "@timestamp", "asctime", "datetime", "date", "t")
_LEVEL_KEYS = ("level", "levelname", "severity", "lvl", "log.level", "loglevel")
_TEXT_KEYS = ("message", "msg", "event", "text")


class LogLine(NamedTuple):
    """A line, read."""

    level: Level
    at_ns: int | None
    """When it was written, since the epoch; None where it does not say."""
    text: str
    """What it says, of a JSON line its message and fields; else the line without colours."""


def read_log_line(line: str, near_ns: int | None = None, zone: tzinfo | None = None) -> LogLine:
    """Level, time and text of a line.

    ``near_ns`` gives the day to times without one. ``zone`` is for times that name none; None is the machine's own.
    """
    text = _DYE.sub("", line) if "\x1b" in line else line
    if text.startswith("{") and (found := _json(text, zone)) is not None:
        return found
    return LogLine(level_of(text), time_of(text, near_ns, zone), text)


def level_of(text: str) -> Level:
    """How much a line without colours matters: by the first level word, exception, key or status near its front."""
    head = text[:LOOKED_AT]
    if head.startswith("{") and (found := _json(text, None)) is not None:
        return found.level
    if (status := _STATUS.search(head)) is not None:
        number = int(status["gin"] or status["clf"] or status["asgi"])
        return "error" if number >= 500 else "warning" if number >= 400 else "info"
    match = _WORD.search(head)
    match match.lastgroup if match else None:
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


def time_of(text: str, near_ns: int | None = None, zone: tzinfo | None = None) -> int | None:
    """When a line was written, nanoseconds since the epoch. Only a time near its front counts."""
    head = text[:80]
    if (match := _EPOCH.match(head)) is not None:
        return int(match["n"]) * SECOND + _fraction((match["f"] or "")[1:])
    for form in (_FULL, _AMERICAN, _WEB):
        if (match := form.search(head)) is not None:
            return _moment(match, zone, None)
    for form in (_KLOG, _SYSLOG, _CLOCK):
        if (match := form.match(head)) is not None:
            return _moment(match, zone, near_ns)
    return None


def _moment(match: re.Match[str], zone: tzinfo | None, near_ns: int | None) -> int | None:
    given = match.groupdict()
    named = given.get("z")
    zone = _zone(named) if named else zone
    near = datetime.fromtimestamp((near_ns or 0) / SECOND, zone)
    month = int(given["mo"]) if given.get("mo") else _month(given.get("mon")) or near.month
    year, day = int(given.get("y") or near.year), int(given.get("d") or near.day)
    if given.get("y") is None and near_ns is None:
        return None
    try:
        when = datetime(
            year + 2000 if year < 100 else year,
            month,
            day,
            int(given["h"]),
            int(given["mi"]),
            int(given["s"]),
            tzinfo=zone,
        )
        found = int(when.timestamp()) * SECOND + _fraction(given.get("f") or "")
    except (ValueError, OverflowError, OSError):
        return None
    if given.get("d") is None and near_ns is not None and found - near_ns > SECOND * 43_200:
        return found - SECOND * 86_400
    return found


def _month(name: str | None) -> int | None:
    return _MONTHS.index(name) + 1 if name in _MONTHS else None


def _zone(named: str) -> tzinfo:
    if named == "Z":
        return timezone.utc  # noqa: UP017 - the same object, and the name says what is meant
    sign = -1 if named[0] == "-" else 1
    return timezone(sign * timedelta(hours=min(int(named[1:3]), 23), minutes=int(named[-2:]) % 60))


def _fraction(digits: str) -> int:
    return int(digits[:9].ljust(9, "0")) if digits else 0


# JSON lines


def _json(text: str, zone: tzinfo | None) -> LogLine | None:
    if len(text) > JSON_MOST:
        return None
    try:
        found: Any = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError):
        return None
    if not isinstance(found, dict):
        return None
    record = found.get("record")
    if isinstance(record, dict):
        found = {**found, **record}
    return LogLine(_json_level(found), _json_time(found, zone), _json_text(found))


def _json_level(found: dict[str, Any]) -> Level:
    value = next((found[key] for key in _LEVEL_KEYS if key in found), None)
    if isinstance(value, dict):
        value = value.get("name")
    if isinstance(value, int):
        return "error" if value >= 40 else "warning" if value >= 30 else "info" if value >= 20 else "debug"
    if isinstance(value, str):
        return _LEVELS.get(value.strip().lower(), "")
    return "error" if found.get("exc_info") or found.get("exception") else ""


def _json_time(found: dict[str, Any], zone: tzinfo | None) -> int | None:
    value = next((found[key] for key in _TIME_KEYS if key in found), None)
    if isinstance(value, dict):
        value = value.get("timestamp")
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        for unit in (SECOND, 1_000_000, 1_000, 1):
            if 9e17 < value * unit < 4e18:
                return int(value * unit)
        return None
    return time_of(value, None, zone) if isinstance(value, str) else None


def _json_text(found: dict[str, Any]) -> str:
    """The message, then the other fields as ``key=value``."""
    key = next((key for key in _TEXT_KEYS if isinstance(found.get(key), str)), None)
    hidden = {key, "record", *_TIME_KEYS, *_LEVEL_KEYS}
    rest = [f"{name}={_value(value)}" for name, value in found.items() if name not in hidden]
    return "  ".join([*([found[key].rstrip()] if key else []), " ".join(rest)]).rstrip()


def _value(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()

"""What a log line says of itself: when it was written and how much it matters.

Known: Python's logging and loguru, structlog, JSON lines (also those of pino and bunyan, of ECS and of syslog),
uvicorn, slog and GIN lines as Ollama writes them, llama.cpp, klog, syslog, rich's handler, pytest, pip, compilers and
build tools. Anything else is read by its level words and by what looks like a time at its front.
"""

from __future__ import annotations

import re
from datetime import tzinfo
from typing import Any, NamedTuple

import msgspec

from nightdesk.core.logs.levels import Level, level_of_text, named_level
from nightdesk.core.logs.times import SECOND, time_of

JSON_MOST = 65_536
_DYE = re.compile("\x1b\\[[0-9;:?]*[A-Za-z]")
_TIME_KEYS = ("timestamp", "time", "ts", "@timestamp", "asctime", "datetime", "date", "created", "t")
_LEVEL_KEYS = ("level", "levelname", "severity", "lvl", "log.level", "loglevel", "levelno")
_TEXT_KEYS = ("message", "msg", "event", "text")
_PINO = ("time", "hostname", "pid")
"""Beside ``level`` and ``msg`` one of these: pino and bunyan, whose numbers of levels are others than Python's."""


class LogLine(NamedTuple):
    """A line, read."""

    level: Level
    at_ns: int | None
    """When it was written, since the epoch; None where it does not say."""
    text: str
    """What it says, of a JSON line its message and fields; else the line without colours."""


def read_log_line(
    line: str, near_ns: int | None = None, zone: tzinfo | None = None, until_ns: int | None = None
) -> LogLine:
    """Level, time and text of a line; the other arguments are those of :func:`time_of`."""
    text = undyed(line)
    if text.startswith("{") and (found := _json(text, near_ns, zone, until_ns)) is not None:
        return found
    return LogLine(level_of_text(text), time_of(text, near_ns, zone, until_ns), text)


def undyed(text: str) -> str:
    """Without colours."""
    return _DYE.sub("", text) if "\x1b" in text else text


def level_of(text: str) -> Level:
    """How much a line without colours matters: by the first level word, exception, key or status near its front."""
    if text.startswith("{") and (found := _json(text[:JSON_MOST], None, None, None)) is not None:
        return found.level
    return level_of_text(text)


# JSON lines


def _json(text: str, near_ns: int | None, zone: tzinfo | None, until_ns: int | None) -> LogLine | None:
    if len(text) > JSON_MOST:
        return None
    try:
        found: Any = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError):
        return None
    if not isinstance(found, dict):
        return None
    inner = next((found[key] for key in ("record", "log") if isinstance(found.get(key), dict)), None)
    if inner is not None:
        found = {**inner, **found} if "level" in found else {**found, **inner}
    return LogLine(_json_level(found), _json_time(found, near_ns, zone, until_ns), _json_text(found))


def _json_level(found: dict[str, Any]) -> Level:
    value = next((found[key] for key in _LEVEL_KEYS if key in found), None)
    if isinstance(value, dict):
        value = value.get("name")
    if isinstance(value, bool):
        return ""
    if isinstance(value, int):
        return _numbered(value, is_pino="msg" in found and any(key in found for key in _PINO))
    if isinstance(value, str):
        return named_level(value)
    return "error" if any(found.get(key) for key in ("exc_info", "exception", "error")) else ""


def _numbered(value: int, *, is_pino: bool) -> Level:
    """Below 8 as syslog counts, downwards from 0; else as Python or pino do, upwards in tens."""
    if 0 <= value < 8:
        return "error" if value < 4 else "warning" if value == 4 else "info" if value < 7 else "debug"
    value -= 10 if is_pino else 0
    return "error" if value >= 40 else "warning" if value >= 30 else "info" if value >= 20 else "debug"


def _json_time(
    found: dict[str, Any], near_ns: int | None, zone: tzinfo | None, until_ns: int | None
) -> int | None:
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
    return time_of(value, near_ns, zone, until_ns) if isinstance(value, str) else None


def _json_text(found: dict[str, Any]) -> str:
    """The message, then the other fields as ``key=value``."""
    key = next((key for key in _TEXT_KEYS if isinstance(found.get(key), str)), None)
    hidden = {key, "record", *_TIME_KEYS, *_LEVEL_KEYS}
    rest = [f"{name}={_value(value)}" for name, value in found.items() if name not in hidden]
    return "  ".join([*([found[key].rstrip()] if key else []), " ".join(rest)]).rstrip()


def _value(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()

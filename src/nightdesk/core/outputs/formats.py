"""The ``format`` words of JSON Schema that can be told apart without asking anybody."""

from __future__ import annotations

import datetime
import ipaddress
import re
from collections.abc import Callable
from contextlib import suppress

_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[^\s]*")
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_HOST = re.compile(r"(?=.{1,253}\.?$)(?!-)[A-Za-z0-9-]{1,63}(?<!-)(?:\.(?!-)[A-Za-z0-9-]{1,63}(?<!-))*\.?")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:\.\d+)?(?:[Zz]|[+-]\d\d:\d\d)")
_TIME = re.compile(r"\d\d:\d\d:\d\d(?:\.\d+)?(?:[Zz]|[+-]\d\d:\d\d)?")


def has_format(text: str, form: str) -> bool:
    """Whether ``text`` has a format; true for a format that is not known here."""
    known = _FORMATS.get(form)
    return known is None or known(text)


def _reads(read: Callable[[str], object]) -> Callable[[str], bool]:
    def can_be_read(text: str) -> bool:
        with suppress(ValueError):
            read(text)
            return True
        return False

    return can_be_read


def _is_moment(text: str) -> bool:
    is_day = _reads(datetime.date.fromisoformat)(text[:10])
    return _MOMENT.fullmatch(text) is not None and is_day and _is_time(text[11:19])


def _is_time(text: str) -> bool:
    return _TIME.fullmatch(text) is not None and _reads(datetime.time.fromisoformat)(text[:8])


_FORMATS: dict[str, Callable[[str], bool]] = {
    "date": lambda text: len(text) == 10 and _reads(datetime.date.fromisoformat)(text),
    "time": _is_time,
    "date-time": _is_moment,
    "email": lambda text: _EMAIL.fullmatch(text) is not None,
    "uri": lambda text: _URI.fullmatch(text) is not None,
    "uuid": lambda text: _UUID.fullmatch(text) is not None,
    "hostname": lambda text: _HOST.fullmatch(text) is not None,
    "ipv4": _reads(ipaddress.IPv4Address),
    "ipv6": _reads(ipaddress.IPv6Address),
    "regex": lambda text: _is_pattern(text),
}


def _is_pattern(text: str) -> bool:
    try:
        re.compile(text)
    except (re.error, RecursionError, OverflowError):
        return False
    return True

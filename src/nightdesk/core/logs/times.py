"""When a log line was written, by the time at its front: of any common form, with or without its day and zone."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone, tzinfo

SECOND = 1_000_000_000
DAY_NS = 86_400 * SECOND
LOOKED_AT = 80
"""Characters of a line in which a time is looked for."""
_LATE_NS = 60 * SECOND
"""By so much a line may be younger than its file's last change, before it is taken for one of the day before."""
_YEAR_NS = 200 * DAY_NS

_CLOCK_PART = r"(?P<h>\d\d):(?P<mi>\d\d):(?P<s>\d\d)(?:[.,](?P<f>\d{1,9}))?"
_ZONE = r"(?:\s?(?P<z>Z\b|UTC\b|GMT\b|[+-]\d\d:?\d\d\b)|(?P<zh>[+-]\d\d)(?![\d:-]))?"
_MONTH = r"(?P<mon>Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
_FULL = re.compile(
    rf"(?<![/\w])(?P<y>\d{{4}})[-/.](?P<mo>\d\d)[-/.](?P<d>\d\d)(?:[T ]| - |_){_CLOCK_PART}{_ZONE}"
)
_MINUTE = re.compile(
    r"[\[(]?(?P<y>\d{4})[-/](?P<mo>\d\d)[-/](?P<d>\d\d)[T ](?P<h>\d\d):(?P<mi>\d\d)"
    r"(?P<z>Z|[+-]\d\d:?\d\d)?(?=[\s\])|,]|$)"
)
_PLAIN = re.compile(
    r"[\[(]?(?P<y>20\d\d)(?P<mo>\d\d)(?P<d>\d\d)[T _-](?P<h>\d\d):?(?P<mi>\d\d):?(?P<s>\d\d)(?:[.,](?P<f>\d{1,9}))?"
    r"(?P<z>Z|[+-]\d\d:?\d\d)?(?=[\s\]):,|]|$)"
)
_SLASHED = re.compile(
    r"(?<![/\w])(?P<one>\d\d?)/(?P<two>\d\d?)/(?P<y>\d\d(?:\d\d)?),? (?P<h>\d\d?):(?P<mi>\d\d):(?P<s>\d\d)"
    r"(?:[.,](?P<f>\d{1,9}))?(?: (?P<half>[AP]M))?"
)
_DOTTED = re.compile(rf"(?<![/\w.])(?P<d>\d\d?)[.-](?P<mo>\d\d?)[.-](?P<y>\d{{4}}),? {_CLOCK_PART}")
_WEB = re.compile(
    rf"(?<!\w)(?P<d>\d\d?)[/ -]{_MONTH}[/ -](?P<y>\d{{4}})[: ](?P<h>\d\d):(?P<mi>\d\d):(?P<s>\d\d)"
    r"(?: (?P<z>[+-]\d{4}|GMT|UTC))?"
)
_WORDED = re.compile(
    rf"(?<!\w){_MONTH} (?P<d>[ \d]?\d),? (?:(?P<y>\d{{4}}) )?{_CLOCK_PART}"
    r"(?: (?P<z>UTC|GMT|[+-]\d{4}))?(?: (?P<y2>20\d\d)\b)?"
)
_KLOG = re.compile(r"[EWIDF](?P<mo>\d\d)(?P<d>\d\d) (?P<h>\d\d):(?P<mi>\d\d):(?P<s>\d\d)\.(?P<f>\d+)")
_CLOCK = re.compile(rf"(?:\[?[A-Z]{{4,8}}\]?:? *)?[\[(]?{_CLOCK_PART}[\])]?(?=[\s|:]|$)(?!\s*-->)")
_EPOCH = re.compile(
    r"(?:(?:ts|time|timestamp)=\"?|[\[(])?(?P<n>1[5-9]\d{8})(?P<more>\d{3}|\d{6}|\d{9})?(?P<f>\.\d{1,9})?[\])\"]?(?=[\s:,|]|$)"
)
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_DIGIT = re.compile(r"\d")


def time_of(
    text: str, near_ns: int | None = None, zone: tzinfo | None = None, until_ns: int | None = None
) -> int | None:
    """When a line was written, nanoseconds since the epoch. Only a time near its front counts.

    ``near_ns`` gives the day to times without one. No line is later than ``until_ns``, when its file was last written.
    ``zone`` is for times that name none; None is the machine's own.
    """
    head = text[:LOOKED_AT]
    if _DIGIT.search(head) is None:
        return None
    if (match := _EPOCH.match(head)) is not None:
        return _of_epoch(match)
    near_ns = until_ns if near_ns is None else near_ns
    if ":" not in head:
        match = _PLAIN.match(head)
        return None if match is None else _moment(match.groupdict(), zone)
    for form in (_FULL, _SLASHED, _WEB, _DOTTED):
        if (match := form.search(head)) is not None:
            return _moment(_in_order(match.groupdict(), near_ns), zone)
    for form in (_MINUTE, _PLAIN):
        if (match := form.match(head)) is not None:
            return _moment(match.groupdict(), zone)
    if (match := _KLOG.match(head) or _WORDED.search(head)) is not None:
        return _of_a_year(match.groupdict(), zone, near_ns, until_ns)
    if (match := _CLOCK.match(head)) is not None and near_ns is not None:
        return _of_a_day(match.groupdict(), zone, near_ns, until_ns)
    return None


def _of_epoch(match: re.Match[str]) -> int:
    more = match["more"] or ""
    whole: int = int(match["n"] + more) * 10 ** (9 - len(more))
    return whole + (_fraction(match["f"][1:]) // 10 ** len(more) if match["f"] else 0)


def _in_order(given: dict[str, str | None], near_ns: int | None) -> dict[str, str | None]:
    """Month and day of ``11/21/2026`` or ``21/11/2026``; where both are possible, what lies nearer.

    Without anything near, the month stands first.
    """
    if "one" not in given:
        return given
    one, two = given["one"], given["two"]
    month_first = {**given, "mo": one, "d": two}
    day_first = {**given, "mo": two, "d": one}
    if int(one or 0) > 12:
        return day_first
    if int(two or 0) > 12 or near_ns is None:
        return month_first
    first, second = (_moment(each, None) for each in (month_first, day_first))
    if first is None or second is None:
        return month_first if second is None else day_first
    return month_first if abs(first - near_ns) <= abs(second - near_ns) else day_first


def _of_a_year(
    given: dict[str, str | None], zone: tzinfo | None, near_ns: int | None, until_ns: int | None
) -> int | None:
    """A day and month, with or without its year: then of the year that is near."""
    if (year := given.get("y") or given.get("y2")) is not None or near_ns is None:
        return _moment({**given, "y": year}, zone) if year is not None else None
    near = datetime.fromtimestamp(near_ns / SECOND, zone).year
    found = _moment({**given, "y": str(near)}, zone)
    ahead = found is not None and until_ns is not None and found - until_ns > DAY_NS
    if found is None or (abs(found - near_ns) < _YEAR_NS and not ahead):
        return found
    return _moment({**given, "y": str(near - 1 if ahead or found > near_ns else near + 1)}, zone)


def _of_a_day(
    given: dict[str, str | None], zone: tzinfo | None, near_ns: int, until_ns: int | None
) -> int | None:
    """A time of the day of which it is nearest; of the one before where it would lie ahead of ``until_ns``."""
    near = datetime.fromtimestamp(near_ns / SECOND, zone)
    found = _moment({**given, "y": str(near.year), "mo": str(near.month), "d": str(near.day)}, zone)
    if found is None:
        return None
    if abs(found - near_ns) > DAY_NS // 2:
        found += DAY_NS if found < near_ns else -DAY_NS
    return found - DAY_NS if until_ns is not None and found - until_ns > _LATE_NS else found


def _moment(given: Mapping[str, str | None], zone: tzinfo | None) -> int | None:
    named = given.get("z") or given.get("zh")
    zone = _zone(named) if named else zone
    month = int(given["mo"] or 0) if given.get("mo") else _MONTHS.index(given["mon"] or "") + 1
    year, hour = int(given.get("y") or 0), int(given["h"] or 0)
    if (half := given.get("half")) is not None:
        hour = hour % 12 + 12 * (half == "PM")
    try:
        when = datetime(
            year + 2000 if year < 100 else year,
            month,
            int(given["d"] or 0),
            hour,
            int(given["mi"] or 0),
            int(given.get("s") or 0),
            tzinfo=zone,
        )
        return int(when.timestamp()) * SECOND + _fraction(given.get("f") or "")
    except (ValueError, OverflowError, OSError):
        return None


def _zone(named: str) -> tzinfo:
    if not named[1:].replace(":", "").isdigit():
        return timezone.utc  # noqa: UP017 - the same object, and the name says what is meant
    sign = -1 if named[0] == "-" else 1
    digits = named[1:].replace(":", "").ljust(4, "0")
    return timezone(sign * timedelta(hours=min(int(digits[:2]), 23), minutes=int(digits[2:]) % 60))


def _fraction(digits: str) -> int:
    return int(digits[:9].ljust(9, "0")) if digits else 0

"""Every form in which a line of a log tells how far a batch is, the surest first."""

from __future__ import annotations

import re
from collections.abc import Iterable

from nightdesk.core.foreign import safe_line
from nightdesk.core.logs.bars import count_bar, percent_bar, tqdm_bar
from nightdesk.core.logs.counters import counter, grouped, loose_counter
from nightdesk.core.logs.media_progress import may_tell_position
from nightdesk.core.logs.meters import may_be_meter, meter
from nightdesk.core.logs.reading import ITEM_LIMIT, Reading, of_percent

_PATTERN_LIMIT = 400
_PREFIX = re.compile(
    r"\s+|\[?\d{4}[-/]\d\d?[-/]\d\d?[ T]\d\d?:\d\d(?::\d\d(?:[.,]\d+)?)?(?:Z|[+-]\d\d:?\d\d)?\]?(?=\W|$)"
    r"|\[?\d\d?/\d\d?/\d\d(?:\d\d)? \d\d?:\d\d(?::\d\d)?\]?|\[?\d\d?:\d\d(?::\d\d)?(?:[.,]\d+)?\]?(?=\s|$)"
    r"|[\[(<]?(?:DEBUG|INFO|NOTICE|WARNING|WARN|ERROR|CRITICAL|SUCCESS)[\])>]?:?(?:[\w.]+:)?(?=\W|$)"
    r"|[\w.]+ [-|] (?=[\[(]?(?:DEBUG|INFO|WARN))|[^\w\s\[(]+"
)
_HINT = re.compile(r"[0-9]\s*(?:%|/\s*[0-9]|(?:out )?of\s+[0-9])|[A-Za-z] \[[0-9]")
_PERCENT = re.compile(r"(?:^|\b)progress\s*[:=]?\s*\[?\s*(?P<percent>\d{1,3}(?:\.\d+)?)\s?%", re.IGNORECASE)
_PERCENT_DONE = re.compile(
    r"(?<![\w.])(?P<percent>\d{1,3}(?:\.\d+)?)\s?% (?:complete|completed|done|finished)\b", re.I
)
_PERCENT_ALONE = re.compile(r"^(?P<percent>\d{1,3}(?:\.\d+)?)\s?%\.*$")


def may_tell(line: str) -> bool:
    """A cheap look: most lines of a log say nothing about progress."""
    return _HINT.search(line) is not None or may_tell_position(line) or may_be_meter(line)


def read_progress(text: str) -> Reading | None:
    """What a line without colours says."""
    bar = tqdm_bar(text)
    if bar is not None:
        return bar
    if may_be_meter(text) and (found := meter(text)) is not None:
        return found
    body = grouped(_body(text))
    return count_bar(body) or counter(body, text) or _percent(body) or loose_counter(body)


def _body(text: str) -> str:
    """The line without time stamps, levels, logger names and symbols in front."""
    at = 0
    while (match := _PREFIX.match(text, at)) and match.end() > at:
        at = match.end()
    return text[at:].rstrip()


def _percent(body: str) -> Reading | None:
    if "%" not in body:
        return None
    match = _PERCENT.search(body) or _PERCENT_DONE.search(body)
    if match is not None:
        return of_percent(float(match["percent"]), f"percent {body[: match.start()].strip()[-80:]}", None)
    if match := _PERCENT_ALONE.match(body):
        return of_percent(float(match["percent"]), "percent alone", None, sure=False)
    return percent_bar(body)


def compiled_patterns(texts: Iterable[str]) -> tuple[re.Pattern[str], ...]:
    """The user's patterns. Raises ValueError that names the pattern and what is wrong with it."""
    found = []
    for text in texts:
        try:
            pattern = re.compile(text)
        except (re.error, OverflowError, RecursionError) as fault:
            raise ValueError(f"The pattern {text!r} can't be read: {fault}.") from fault
        if "done" not in pattern.groupindex:
            raise ValueError(f"The pattern {text!r} has no group (?P<done>...).")
        found.append(pattern)
    return tuple(found)


def of_patterns(text: str, patterns: tuple[re.Pattern[str], ...]) -> Reading | None:
    """What the first of the user's patterns that is found says."""
    for number, pattern in enumerate(patterns):
        if (match := pattern.search(text[:_PATTERN_LIMIT])) is not None:
            groups = match.groupdict()
            done, total = _number(groups["done"]), _number(groups.get("total"))
            item = safe_line(groups.get("item") or "", ITEM_LIMIT) or None
            if done is not None and (total is None or 0 < total >= done):
                return Reading("pattern", f"pattern {number} {total}", done, total, "it", item)
    return None


def _number(text: str | None) -> float | None:
    try:
        found = float((text or "").replace(",", ""))
    except ValueError:
        return None
    return found if 0 <= found < 1e15 else None

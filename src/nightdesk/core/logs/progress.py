"""Reads from log lines how far a batch is: counters, tqdm bars, percentages.

A known form counts at first sight. Anything else that looks like ``12/52`` must be seen growing, because dates, ratios,
fractions in paths and scores look alike.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import pairwise
from math import sqrt
from statistics import mean, median, stdev
from typing import Literal, NamedTuple

from nightdesk.core.foreign import safe_line
from nightdesk.core.logs.media_progress import MediaReader, Position, may_tell_position
from nightdesk.model.logs import Progress

_LINE_LIMIT = 2000
"""Characters of a line that are looked at."""
_ITEM_LIMIT = 200
_RECENT = 12
"""Steps from which the rate is taken."""
_RANGE_STEPS = 3
"""Steps that must be known before a range is told."""
_FOUR_OF_FIVE = 1.28
"""Standard deviations on either side that hold four fifths of a normal distribution."""
_PATTERN_LIMIT = 400
_SIGHTINGS = 3
"""How often an unknown form must be seen growing."""
SECOND = 1_000_000_000

Source = Literal["counter", "tqdm", "percent", "position", "pattern"]
_RANK = {"pattern": 3, "counter": 2, "tqdm": 1, "percent": 0, "position": 0}

_ANSI = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|.)")
_STAMP = re.compile(
    r"\[?(?P<day>\d{4}-\d\d-\d\d)[ T](?P<clock>\d\d:\d\d:\d\d)(?:[.,](?P<part>\d{1,9}))?(?:Z|[+-]\d\d:?\d\d)?\]?"
)
_PREFIX = re.compile(
    r"\s+|\[?\d{4}[-/]\d\d?[-/]\d\d?[ T]\d\d?:\d\d(?::\d\d(?:[.,]\d+)?)?(?:Z|[+-]\d\d:?\d\d)?\]?(?=\W|$)"
    r"|\[?\d\d?/\d\d?/\d\d(?:\d\d)? \d\d?:\d\d(?::\d\d)?\]?|\[?\d\d?:\d\d(?::\d\d)?(?:[.,]\d+)?\]?(?=\s|$)"
    r"|[\[(<]?(?:DEBUG|INFO|NOTICE|WARNING|WARN|ERROR|CRITICAL|SUCCESS)[\])>]?:?(?:[\w.]+:)?(?=\W|$)"
    r"|[\w.]+ [-|] (?=[\[(]?(?:DEBUG|INFO|WARN))|[^\w\s\[(]+"
)
_HINT = re.compile(r"[0-9]\s*(?:%|/\s*[0-9]|(?:out )?of\s+[0-9])|[A-Za-z] \[[0-9]")
_TQDM = re.compile(
    r"(?:(?P<label>[^|]*?):?\s*)?(?P<percent>\d{1,3})%\|[^|]*\|\s*(?P<done>[\d.]+)(?P<dm>[kKMGT]?)i?B?"
    r"/(?P<total>[\d.]+|\?)(?P<tm>[kKMGT]?)i?B?\s*\[(?P<elapsed>[\d:]+|\d+ days?, [\d:]+)<(?P<left>[^,\]]*)"
    r"(?:,\s*(?P<rate>[\d.?]+)(?P<rm>[kKMGT]?)(?P<unit>[^,\]]*))?"
)
_TQDM_OPEN = re.compile(
    r"(?:(?P<label>[^|]*?):\s*)?(?<![\w.])(?P<done>\d+)(?P<unit>[A-Za-z]+) \[(?P<elapsed>[\d:]+),\s*"
    r"(?P<rate>[\d.?]+)(?P<rm>[kKMGT]?)(?P<rate_unit>[^,\]]*)\]?"
)
_PERCENT = re.compile(r"(?:^|\b)progress\s*[:=]?\s*(?P<percent>\d{1,3}(?:\.\d+)?)\s?%", re.IGNORECASE)
_PERCENT_DONE = re.compile(
    r"(?<![\w.])(?P<percent>\d{1,3}(?:\.\d+)?)\s?% (?:complete|completed|done|finished)\b", re.I
)
_PERCENT_BAR = re.compile(
    r"^(?P<label>.*?)\s*(?:[━╸╺─█▉▊▋▌▍▎▏░▒▓#=>-]{4,}\s*(?P<a>\d{1,3})%|(?P<b>\d{1,3})% ?[▕|\[])"
)
_COUNT_BAR = re.compile(r"^(?P<label>.*?)\s*[━╸╺]{4,}\s*(?P<n>\d{1,9})/(?P<m>\d{1,9})(?![\w/])")
_PERCENT_ALONE = re.compile(r"^(?P<percent>\d{1,3}(?:\.\d+)?)\s?%\.*$")
_BRACKET = re.compile(r"[\[(]\s*(?P<n>\d{1,9})\s*(?:/|of)\s*(?P<m>\d{1,9})\s*[\])](?P<rest>$|[\s:\-–].*)")
_WORDED = re.compile(
    r"\b(?P<verb>process\w*|transcri\w*|synthesi\w*|handl\w*|analy\w*|download\w*|convert\w*|generat\w*|embed\w*|encod\w*"
    r"|summari\w*|translat\w*|complet\w*|finish\w*|done|item|file|step|epoch|batch|sample|document|prompt|task|progress"
    r"|running|working on|evaluat\w*|index\w*|load\w*|writ\w*|sav\w*)\b:?\s*(?:[A-Za-z]+\s+){0,2}?#?"
    r"(?P<n>\d{1,9})\s*(?P<sep>/|\bof\b|out of)\s*(?P<m>\d{1,9})(?![\w/%]|\.\d)(?P<rest>.*)",
    re.IGNORECASE,
)
_UNITS = re.compile(
    r"(?<![\w./:-])(?P<n>\d{1,9})\s*(?:/|of|out of)\s*(?P<m>\d{1,9})\s+(?P<unit>files?|items?|documents?|docs?|prompts?"
    r"|samples?|images?|videos?|audios?|segments?|chunks?|records?|rows|tasks?|jobs?|batch(?:es)?|steps?|pages?"
    r"|transcripts?|recordings?|episodes?|lines|questions?|examples?|iterations?|requests?)\b(?P<rest>.*)",
    re.IGNORECASE,
)
_LOOSE = re.compile(r"(?<![\w./:-])(?P<n>\d{1,9})\s?(?:/|of)\s?(?P<m>\d{1,9})(?![\w/%-]|\.\d)(?P<rest>.*)")
_NO_PROGRESS = re.compile(
    r"\b(?:attempt\w*|retr(?:y|ies|ying)|tr(?:y|ies)|scor\w*|rat(?:ing|ed)|rank|grade\w*|stars?|quality|http\w*|worker"
    r"|gpu|device|shard|http|status|version|page)\W*$",
    re.IGNORECASE,
)
_RETRY_AFTER = re.compile(r"\s*:?\s*(?:retry|retrying|attempt)\b", re.IGNORECASE)
_FINISHED = re.compile(
    r"[✓✔✅☑]|\b(?:processed|completed?|finished|done|transcribed|synthesi[sz]ed|saved|written|wrote|skipp(?:ed|ing)|failed"
    r"|converted|generated|downloaded|embedded|analy[sz]ed|translated|summari[sz]ed|error)\b",
    re.IGNORECASE,
)
_LEADING = re.compile(
    r"^[\s:\-–>]*(?:(?:now |currently )?(?:processing|transcribing|synthesi[sz]ing|handling|analy[sz]ing|downloading"
    r"|converting|generating|embedding|encoding|summari[sz]ing|translating|running|working on|evaluating|indexing"
    r"|loading|building|starting|reading)\b(?: (?:file|item|document|prompt|task|audio|sample|job)\b(?![/.-]))?)?"
    r"[\s:\-–>]*",
    re.IGNORECASE,
)
_SCALE = {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}


class _Reading(NamedTuple):
    """What one line says, before it is believed."""

    source: Source
    series: str
    """Lines of one series count the same thing."""
    done: float
    total: float | None
    unit: str
    item: str | None = None
    rate: float | None = None
    left_ns: int | None = None
    sure: bool = True
    began: float | None = None
    """The printed number, where ``done`` is one less."""


class ProgressReader:
    """Follows the progress of one log. Feed it lines in order; it keeps a few numbers, never lines."""

    def __init__(self, patterns: tuple[re.Pattern[str], ...] = ()) -> None:
        """``patterns`` are the user's, with groups ``done`` and, where there are any, ``total`` and ``item``."""
        self._patterns = patterns
        self._media = MediaReader()
        self._fell: str | None = None
        self._current: _Reading | None = None
        self._progress: Progress | None = None
        self._steps: deque[tuple[int, float, bool]] = deque(maxlen=_RECENT)
        self._seen: dict[str, tuple[float, int]] = {}
        self._rival = ""
        self._rival_ends = 0

    @property
    def progress(self) -> Progress | None:
        """The newest progress."""
        return self._progress

    def feed(self, line: str, at_ns: int) -> Progress | None:
        """The progress after this line; None where the line says nothing new about it.

        ``at_ns`` is when the line came. Where lines bear time stamps, the rate is taken from those.
        """
        if not self._patterns and not may_tell(line):
            return None
        text = _ANSI.sub("", line[:_LINE_LIMIT])
        reading = _of_patterns(text, self._patterns) or _of_position(self._media.feed(text)) or _read(text)
        if reading is None or not self._believed(reading) or not self._leads(reading):
            return None
        stamp = _stamp(text)
        self._note(reading, at_ns if stamp is None else stamp, stamp is not None)
        self._progress = self._built(reading, at_ns)
        return self._progress

    def _believed(self, reading: _Reading) -> bool:
        if reading.sure:
            return True
        shown = reading.done if reading.began is None else reading.began
        last, times = self._seen.pop(reading.series, (-1.0, 0))
        if len(self._seen) >= 64:
            self._seen.pop(next(iter(self._seen)))
        times = times + 1 if shown > last else times if shown == last else 1
        self._seen[reading.series] = (shown, times)
        return times >= _SIGHTINGS

    def _leads(self, reading: _Reading) -> bool:
        """Whether this line counts the whole and not a part of it, such as the bar of one file inside a batch."""
        current = self._current
        if current is None or reading.series == current.series or _over(current):
            self._rival_ends = 0
            return True
        if _RANK[reading.source] > _RANK[current.source]:
            return True
        if _RANK[reading.source] < _RANK[current.source]:
            return False
        if current.total is None and reading.total is not None:
            return True
        if reading.series != self._rival:
            self._rival, self._rival_ends = reading.series, 0
        self._rival_ends += _over(reading)
        return self._rival_ends > 1

    def _note(self, reading: _Reading, at_ns: int, stamped: bool) -> None:
        current = self._current
        same = current is not None and current.series == reading.series and reading.done >= current.done
        self._fell = _fall(self._progress, reading, self._fell)
        if not same:
            self._steps.clear()
        if not self._steps or self._steps[-1][1] != reading.done:
            self._steps.append((at_ns, reading.done, stamped))
        if same and current is not None and reading.item is None and reading.done == current.done:
            reading = reading._replace(item=current.item)
        self._current = reading

    def _built(self, reading: _Reading, at_ns: int) -> Progress:
        assert self._current is not None
        rate = reading.rate if reading.source == "tqdm" or reading.rate is not None else self._rate()
        left = reading.left_ns
        if left is None and rate and reading.total is not None:
            left = int(max(reading.total - reading.done, 0) / rate * SECOND)
        low, high = self._range(reading, left)
        return Progress(
            eta_low_ns=low,
            eta_high_ns=high,
            note=self._fell,
            done=reading.done,
            total=reading.total,
            unit=reading.unit,
            item=self._current.item,
            rate_per_s=rate,
            eta_ns=left,
            at_ns=at_ns,
            source=reading.source,
        )

    def _rate(self) -> float | None:
        """Units a second: the median over the last steps, so that one long pause does not spoil it."""
        spans = self._spans()
        return SECOND / median(spans) if spans else None

    def _spans(self) -> list[float]:
        """Nanoseconds a unit took, of the newest steps."""
        return [
            (later[0] - sooner[0]) / (later[1] - sooner[1])
            for sooner, later in pairwise(self._steps)
            if later[0] > sooner[0] and later[1] > sooner[1] and later[2] == sooner[2]
        ]

    def _range(self, reading: _Reading, left: int | None) -> tuple[int | None, int | None]:
        """Between what the time left lies in about four of five nights, if the units to come vary as the newest did."""
        spans = self._spans()
        if left is None or reading.total is None or len(spans) < _RANGE_STEPS:
            return None, None
        units = max(reading.total - reading.done, 0)
        middle, spread = mean(spans), stdev(spans)
        width = _FOUR_OF_FIVE * spread * sqrt(units + units * units / len(spans))
        low, high = max(units * middle - width, 0.0), units * middle + width
        return int(min(low, left)), int(max(high, left))


def _fall(before: Progress | None, reading: _Reading, told: str | None) -> str | None:
    """Why less is done than was told before; None where it is not less. What was said stays while that is so."""
    if before is None or before.total is None or reading.total is None:
        return None
    was, now = before.done / before.total, reading.done / reading.total
    if now < was:
        counted = f"{before.done:g} of {before.total:g}"
        again = before.total == reading.total and before.source == reading.source
        return (
            f"the count began again after {counted}"
            if again
            else f"another count than before, which was at {counted}"
        )
    return told if told is not None and now < 1 else None


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


def _of_patterns(text: str, patterns: tuple[re.Pattern[str], ...]) -> _Reading | None:
    for number, pattern in enumerate(patterns):
        if (match := pattern.search(text[:_PATTERN_LIMIT])) is not None:
            groups = match.groupdict()
            done, total = _number(groups["done"]), _number(groups.get("total"))
            item = safe_line(groups.get("item") or "", _ITEM_LIMIT) or None
            if done is not None and (total is None or 0 < total >= done):
                return _Reading("pattern", f"pattern {number} {total}", done, total, "it", item)
    return None


def _number(text: str | None) -> float | None:
    try:
        found = float((text or "").replace(",", ""))
    except ValueError:
        return None
    return found if 0 <= found < 1e15 else None


def _of_position(position: Position | None) -> _Reading | None:
    if position is None:
        return None
    left = None if position.left_s is None else int(position.left_s * SECOND)
    return _Reading(
        "position",
        position.series,
        position.done,
        position.total,
        position.unit,
        position.item,
        position.rate,
        left,
    )


def may_tell(line: str) -> bool:
    """A cheap look: most lines of a log say nothing about progress."""
    return _HINT.search(line) is not None or may_tell_position(line)


def _read(text: str) -> _Reading | None:
    bar = _tqdm(text) or _open_tqdm(text)
    if bar is not None:
        return bar
    body = _body(text)
    return (
        _count_bar(body)
        or _bracket(body, text)
        or _worded(body)
        or _units(body)
        or _percent(body)
        or _loose(body)
    )


def _body(text: str) -> str:
    """The line without time stamps, levels, logger names and symbols in front."""
    at = 0
    while (match := _PREFIX.match(text, at)) and match.end() > at:
        at = match.end()
    return text[at:].rstrip()


def _tqdm(text: str) -> _Reading | None:
    if "%|" not in text or not (match := _TQDM.search(text)) or match["total"] == "?":
        return None
    done, total = _scaled(match["done"], match["dm"]), _scaled(match["total"], match["tm"])
    if done is None or total is None or total <= 0 or done > total:
        return None
    label = (match["label"] or "").strip()
    rate, unit = _tqdm_rate(match["rate"], match["rm"], match["unit"] or "")
    series = f"tqdm {label.rstrip('0123456789/ ')} {total}"
    item = safe_line(label, _ITEM_LIMIT) or None
    return _Reading("tqdm", series, done, total, unit, item, rate, _clock_ns(match["left"]))


def _open_tqdm(text: str) -> _Reading | None:
    match = _TQDM_OPEN.search(text) if " [" in text else None
    if match is None or "/s" not in match["rate_unit"] + "/s" * ("s/" in match["rate_unit"]):
        return None
    label = (match["label"] or "").strip()
    rate, _ = _tqdm_rate(match["rate"], match["rm"], match["rate_unit"])
    item = safe_line(label, _ITEM_LIMIT) or None
    return _Reading("tqdm", f"tqdm {label} ?", float(match["done"]), None, match["unit"], item, rate)


def _tqdm_rate(number: str | None, scale: str | None, unit: str) -> tuple[float | None, str]:
    unit = unit.strip()
    value = _scaled(number, scale or "") if number and number != "?" else None
    if unit.startswith("s/"):
        return (1 / value if value else None), unit[2:] or "it"
    return value or None, unit.removesuffix("/s") or "it"


def _scaled(number: str, scale: str) -> float | None:
    try:
        return float(number) * _SCALE[scale]
    except ValueError:
        return None


def _clock_ns(text: str) -> int | None:
    """``02:05``, ``1:02:05`` or ``1 day, 1:02:05`` as nanoseconds."""
    days, _, clock = text.rpartition(", ")
    parts = clock.strip().split(":")
    if not all(part.isdecimal() for part in parts) or not 2 <= len(parts) <= 3:
        return None
    seconds = 0
    for part in parts:
        seconds = seconds * 60 + int(part)
    number = days.split(" ")[0]
    return (seconds + (int(number) * 86_400 if number.isdecimal() else 0)) * SECOND


def _counted(match: re.Match[str]) -> tuple[int, int] | None:
    n, m = int(match["n"]), int(match["m"])
    return (n, m) if 0 <= n <= m and m > 0 else None


def _count_bar(body: str) -> _Reading | None:
    """``files ━━━━━╸━━━━ 3/6``, as rich draws it."""
    match = _COUNT_BAR.match(body)
    if match is None or (numbers := _counted(match)) is None:
        return None
    label = safe_line(match["label"].strip(" :"), _ITEM_LIMIT)
    return _counter(f"count bar {label}", numbers, "", ended=True, sure=True)._replace(item=label or None)


def _bracket(body: str, text: str) -> _Reading | None:
    match = _BRACKET.search(body)
    if match is None or (numbers := _counted(match)) is None or _RETRY_AFTER.match(match["rest"]):
        return None
    before = body[: match.start()]
    if _NO_PROGRESS.search(before):
        return None
    ended = bool(
        _FINISHED.search(text[: text.find(match[0])] + before)
        or _FINISHED.match(match["rest"].lstrip(" :-–"))
    )
    return _counter("[]" + _shape(before), numbers, match["rest"], ended, sure=not before.strip())


def _worded(body: str) -> _Reading | None:
    match = _WORDED.search(body)
    if match is None or (numbers := _counted(match)) is None or _NO_PROGRESS.search(body[: match.start("n")]):
        return None
    verb = match["verb"].lower()
    ended = (
        bool(_FINISHED.fullmatch(verb))
        or verb == "progress"
        or bool(_FINISHED.match(match["rest"].lstrip(" :-–")))
    )
    sure = match.start() == 0 or match["sep"] != "/"
    return _counter(f"{verb}{_shape(body[: match.start()])}", numbers, match["rest"], ended, sure=sure)


def _units(body: str) -> _Reading | None:
    match = _UNITS.search(body)
    if match is None or (numbers := _counted(match)) is None or _NO_PROGRESS.search(body[: match.start()]):
        return None
    unit = match["unit"].lower()
    found = _counter(f"{unit}{_shape(body[: match.start()])}", numbers, "", ended=True, sure=True)
    return found._replace(unit=unit if unit.endswith("s") else unit + "s")


def _loose(body: str) -> _Reading | None:
    match = _LOOSE.search(body)
    if match is None or (numbers := _counted(match)) is None or numbers[1] < 2:
        return None
    if _NO_PROGRESS.search(body[: match.start()]):
        return None
    ended = bool(_FINISHED.search(body))
    return _counter("loose " + _shape(body[: match.start()]), numbers, match["rest"], ended, sure=False)


def _counter(series: str, numbers: tuple[int, int], rest: str, ended: bool, *, sure: bool) -> _Reading:
    """A printed ``n/m``: the n-th is finished, or it runs now and n - 1 are."""
    n, m = numbers
    done = n if ended or n == 0 else n - 1
    item = None if ended else _item(rest)
    return _Reading("counter", f"{series} {m}", done, m, "it", item, sure=sure, began=n)


def _item(rest: str) -> str | None:
    name = rest[match.end() :] if (match := _LEADING.match(rest)) else rest
    name = name.strip().removesuffix("...").removesuffix("…").strip().strip("'\"`").strip()
    return safe_line(name, _ITEM_LIMIT) or None


def _shape(text: str) -> str:
    """The text with its digits blanked: equal for lines that differ in numbers only."""
    return re.sub(r"\d+", "#", text).strip()[-80:]


def _percent(body: str) -> _Reading | None:
    if "%" not in body:
        return None
    match = _PERCENT.search(body) or _PERCENT_DONE.search(body)
    if match is not None:
        return _of_percent(float(match["percent"]), "percent " + _shape(body[: match.start()]), None)
    if match := _PERCENT_ALONE.match(body):
        return _of_percent(float(match["percent"]), "percent alone", None, sure=False)
    if match := _PERCENT_BAR.match(body):
        label = safe_line(match["label"].strip(" :"), _ITEM_LIMIT)
        return _of_percent(float(match["a"] or match["b"]), f"bar {label}", label or None)
    return None


def _of_percent(value: float, series: str, item: str | None, *, sure: bool = True) -> _Reading | None:
    return _Reading("percent", series, value, 100, "%", item, sure=sure) if value <= 100 else None


def _over(reading: _Reading) -> bool:
    shown = reading.done if reading.began is None else reading.began
    return reading.total is not None and shown >= reading.total


def _stamp(text: str) -> int | None:
    """The line's own time stamp, in nanoseconds since the epoch as if it were UTC: only differences are used."""
    match = _STAMP.search(text[:60])
    if match is None:
        return None
    try:
        when = datetime.strptime(f"{match['day']} {match['clock']}", "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    except ValueError:
        return None
    return int(when.timestamp()) * SECOND + int((match["part"] or "0").ljust(9, "0"))

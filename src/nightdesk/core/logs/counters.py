"""Counters in log lines: ``[12/52] what``, ``file 12 of 52``, ``12/52 files``, and what else looks like one."""

from __future__ import annotations

import re

from nightdesk.core.foreign import safe_line
from nightdesk.core.logs.reading import ITEM_LIMIT, Reading

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
    r"|transcripts?|recordings?|episodes?|lines|questions?|examples?|iterations?|requests?|epochs?)\b(?P<rest>.*)",
    re.IGNORECASE,
)
_LOOSE = re.compile(
    r"(?<![\w./:-])(?P<n>\d{1,9})\s?(?:/|of|out of)\s?(?P<m>\d{1,9})(?![\w/%-]|\.\d)(?P<rest>.*)"
)
_DONE = re.compile(
    r"(?<![\w./:-])(?P<n>\d{1,9})\s*(?:/|of|out of)\s*(?P<m>\d{1,9})\s+(?:done|completed?|finished|processed)\b",
    re.IGNORECASE,
)
_NESTED = re.compile(
    r"\bepoch\b\W{0,3}(?P<n>\d{1,9})\s*(?:/|of)\s*(?P<m>\d{1,9})\]?\W{1,5}(?:\w+\W){0,2}?"
    r"\b(?:step|batch|iter\w*)\b\W{0,3}(?P<part>\d{1,9})\s*(?:/|of)\s*(?P<parts>\d{1,9})",
    re.IGNORECASE,
)
_SIZE_BEHIND = re.compile(r"\s*(?:[kKMGT]i?B|[gmGM]b|bytes|%)\b")
"""What is counted is a size, such as memory in use: no progress."""
_BAR_BEHIND = re.compile(r"\s*\[[=>.#*\s-]{3,}\]")
_NO_PROGRESS = re.compile(
    r"\b(?:attempt\w*|retr(?:y|ies|ying)|tr(?:y|ies)|scor\w*|rat(?:ing|ed)|rank|grade\w*|stars?|quality|http\w*|worker"
    r"|gpu|device|shard|http|status|version|page|size|top|best|memory|ram|vram)\W*$",
    re.IGNORECASE,
)
_RETRY_AFTER = re.compile(r"\s*:?\s*(?:retry|retrying|attempt)\b", re.IGNORECASE)
_FINISHED = re.compile(
    r"[✓✔✅☑]|\b(?:processed|completed?|finished|done|transcribed|synthesi[sz]ed|saved|written|wrote|skipp(?:ed|ing)|failed"
    r"|converted|generated|downloaded|embedded|analy[sz]ed|translated|summari[sz]ed|error)\b",
    re.IGNORECASE,
)
_GROUPED = re.compile(r"(?<![\d,.])\d{1,3}(?:,\d{3})+(?![\d,])")
_LEADING = re.compile(
    r"^[\s:\-–>]*(?:(?:now |currently )?(?:processing|transcribing|synthesi[sz]ing|handling|analy[sz]ing|downloading"
    r"|converting|generating|embedding|encoding|summari[sz]ing|translating|running|working on|evaluating|indexing"
    r"|loading|building|starting|reading)\b(?: (?:file|item|document|prompt|task|audio|sample|job)\b(?![/.-]))?)?"
    r"[\s:\-–>]*",
    re.IGNORECASE,
)


def counter(body: str, text: str) -> Reading | None:
    """The counter of a line, given without its front and with it; the surest form first."""
    return _nested(body) or _bracket(body, text) or _worded(body) or _units(body) or _spelled(body)


def grouped(body: str) -> str:
    """The line with ``1,234`` as ``1234``."""
    return _GROUPED.sub(lambda match: match[0].replace(",", ""), body) if "," in body else body


def _nested(body: str) -> Reading | None:
    """``Epoch [3/10] Step [40/100]``: epochs, the one in work by its share."""
    match = _NESTED.search(body)
    if match is None or (numbers := _counted(match)) is None or numbers[0] < 1:
        return None
    part, parts = int(match["part"]), int(match["parts"])
    if not 0 <= part <= parts or parts == 0:
        return None
    done = round(numbers[0] - 1 + part / parts, 4)
    return Reading("counter", f"epochs {numbers[1]}", done, numbers[1], "epochs")


def _spelled(body: str) -> Reading | None:
    """``12 out of 52 done``."""
    match = _DONE.search(body)
    if match is None or (numbers := _counted(match)) is None:
        return None
    return _counter("done " + _shape(body[: match.start()]), numbers, "", ended=True, sure=True)


def _counted(match: re.Match[str]) -> tuple[int, int] | None:
    n, m = int(match["n"]), int(match["m"])
    return (n, m) if 0 <= n <= m and m > 0 else None


def _bracket(body: str, text: str) -> Reading | None:
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


def _worded(body: str) -> Reading | None:
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


def _units(body: str) -> Reading | None:
    match = _UNITS.search(body)
    if match is None or (numbers := _counted(match)) is None or _NO_PROGRESS.search(body[: match.start()]):
        return None
    unit = match["unit"].lower()
    found = _counter(f"{unit}{_shape(body[: match.start()])}", numbers, "", ended=True, sure=True)
    return found._replace(unit=unit if unit.endswith("s") else unit + "s")


def loose_counter(body: str) -> Reading | None:
    """Anything that looks like a counter: to be believed once it was seen growing."""
    match = _LOOSE.search(body)
    if match is None or (numbers := _counted(match)) is None or numbers[1] < 2:
        return None
    if _NO_PROGRESS.search(body[: match.start()]) or _SIZE_BEHIND.match(match["rest"]):
        return None
    ended = bool(_FINISHED.search(body))
    return _counter("loose " + _shape(body[: match.start()]), numbers, match["rest"], ended, sure=False)


def _counter(series: str, numbers: tuple[int, int], rest: str, ended: bool, *, sure: bool) -> Reading:
    """A printed ``n/m``: the n-th is finished, or it runs now and n - 1 are."""
    n, m = numbers
    done = n if ended or n == 0 else n - 1
    item = None if ended else _item(rest)
    return Reading("counter", f"{series} {m}", done, m, "it", item, sure=sure, began=n)


def _item(rest: str) -> str | None:
    if rest[:1] == "|" or rest.lstrip()[:1] in ("|", ",", "(") or _BAR_BEHIND.match(rest):
        return None  # measures behind the count, and no name
    name = rest[match.end() :] if (match := _LEADING.match(rest)) else rest
    name = name.strip().removesuffix("...").removesuffix("…").strip().strip("'\"`").strip()
    return safe_line(name, ITEM_LIMIT) or None


def _shape(text: str) -> str:
    """The text with its digits blanked: equal for lines that differ in numbers only."""
    return re.sub(r"\d+", "#", text).strip()[-80:]

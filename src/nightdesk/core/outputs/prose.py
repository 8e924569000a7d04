"""Signs in a text that it lacks its end, or that it repeats itself: each answers with its evidence."""

from __future__ import annotations

import re
from collections import Counter
from typing import NamedTuple

from nightdesk.core.foreign import safe_line
from nightdesk.core.outputs.texts import blocks, prose_of
from nightdesk.core.verdicts.loops import find_loop
from nightdesk.core.whisper.quality import same_words

LONG = 40
"""A line of so many characters is prose; a shorter one may be a signature, a title, a cell."""
ENDS = frozenset(".!?…:\"'“”‘’«»)]}*_`>|。！？」』")
"""Characters with which a finished line ends; marks of Markdown and quotes stand behind the full stop."""
OPEN_ENDS = frozenset(",;([{–-/&+=")
SPOKEN = 0.6
"""So many of the other lines must end like sentences before one that does not is odd."""
LINES_IN_A_ROW = 4
PARAGRAPHS = 3
"""So often a paragraph may not come, wherever it stands."""
PARAGRAPH = 80
LOOP_REPEATS = 20
_MARKS = re.compile(
    r"[\[(<](?:truncated|continued|cut off|to be continued|rest omitted)[^\])>]{0,40}[\])>]\s*$",
    re.IGNORECASE,
)
_LIST = re.compile(r"^\s*(?:[-*+•]|\d+[.)])\s")
_QUOTED = 60


class Repetition(NamedTuple):
    """What repeats itself, and how much of the text that is."""

    evidence: str
    share: float


def truncation(text: str) -> str | None:
    """Why a text seems to lack its end."""
    bare = text.rstrip()
    if not bare:
        return "it has no text"
    if match := _MARKS.search(bare):
        return f"it says so itself: {safe_line(match[0].strip(), _QUOTED)}"
    found = blocks(bare)
    if found and not found[-1].is_closed:
        return f"the block of code from line {found[-1].line - 1} on is never closed"
    last = bare.splitlines()[-1].strip()
    if last.startswith("#") and last.lstrip("#").startswith(" "):
        return f"nothing follows the heading {_shown(last.lstrip('# '))}"
    if last[-1] in OPEN_ENDS and not set(last) <= set("-–=+_ |"):
        return f"it ends with {_end_of(last)}"
    is_prose = len(last) >= LONG and not _LIST.match(last) and "|" not in last
    if is_prose and last[-1] not in ENDS and _spoken_share(bare) >= SPOKEN:
        return f"it ends in the middle of a sentence: {_end_of(last)}"
    return None


def _spoken_share(text: str) -> float:
    """How many of the prose lines before the last one end like sentences."""
    lines = [line.strip() for line in prose_of(text).splitlines()[:-1]]
    prose = [line for line in lines if len(line) >= LONG and "|" not in line]
    if not prose:
        # One single line: its own sentences tell whether it is prose.
        return 1.0 if len(re.findall(r"[.!?…] ", text)) >= 2 else 0.0
    return sum(line[-1] in ENDS for line in prose) / len(prose)


def repetition(text: str) -> Repetition | None:
    """What repeats itself in a text: its end, lines in a row, or whole paragraphs."""
    prose = prose_of(text)
    whole = max(1, len(prose.strip()))
    if loop := find_loop(prose, "cut", LOOP_REPEATS):
        share = min(1.0, len(loop.unit) * loop.repeats / whole)
        return Repetition(f"its end repeats {_shown(loop.unit)}, {loop.repeats:,} times", share)
    lines = [(number, same_words(line)) for number, line in enumerate(prose.splitlines(), 1) if line.strip()]
    return _rows(lines, whole) or _paragraphs(prose, whole)


def _rows(lines: list[tuple[int, str]], whole: int) -> Repetition | None:
    """The longest run of lines with the same words."""
    best, at, count = 1, 0, 1
    for place in range(1, len(lines)):
        same = lines[place][1] == lines[place - 1][1] and _has_words(lines[place][1])
        count = count + 1 if same else 1
        if count > best:
            best, at = count, place
    if best < LINES_IN_A_ROW:
        return None
    number, words = lines[at]
    share = min(1.0, best * len(words) / whole)
    return Repetition(f"{best} lines in a row up to line {number} say {_shown(words)}", share)


def _paragraphs(prose: str, whole: int) -> Repetition | None:
    pieces = [same_words(piece) for piece in re.split(r"\n\s*\n", prose)]
    counted = Counter(piece for piece in pieces if len(piece) >= PARAGRAPH)
    if not counted:
        return None
    words, count = max(counted.items(), key=lambda each: each[1] * len(each[0]))
    if count < PARAGRAPHS:
        return None
    return Repetition(f"{count} paragraphs say {_shown(words)}", min(1.0, count * len(words) / whole))


def _has_words(line: str) -> bool:
    return sum(map(str.isalpha, line)) >= 8


def _shown(text: str) -> str:
    return f"“{safe_line(' '.join(text.split()), _QUOTED)}”"


def _end_of(line: str) -> str:
    words = safe_line(line[-_QUOTED:], _QUOTED)
    return f"“…{words}”" if len(line) > _QUOTED else f"“{words}”"

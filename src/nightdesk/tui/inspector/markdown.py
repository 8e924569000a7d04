"""Markdown as lines with tones, line by line: a reply that still grows can be shown at any moment.

Only what helps reading is drawn (headings, lists, quotes, code, rules, emphasis). Everything else stays as written, so
nothing of a reply can get lost; tables stay as they are, since models align them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from nightdesk.core.foreign import safe
from nightdesk.tui.glyphs import Glyphs
from nightdesk.tui.text import Tone
from nightdesk.tui.widgets.folds import Line
from nightdesk.tui.widgets.lines import Pieces

INLINE_LIMIT = 4000
"""Longer lines are shown without emphasis."""
_FENCE = re.compile(r"\s{0,3}(`{3,}|~{3,})\s*([^`]*)$")
_HEADING = re.compile(r"(#{1,6})\s+(.*)$")
_ITEM = re.compile(r"(\s*)([-*+]|\d{1,9}[.)])\s+(.*)$")
_QUOTE = re.compile(r"\s{0,3}((?:>\s?)+)(.*)$")
_RULE = re.compile(r"\s{0,3}([-*_])(?:\s*\1){2,}\s*$")
_INLINE = re.compile(
    r"(`+)(.+?)\1|\*\*(\S.*?)\*\*|__(\S.*?)__|(?<![\w*])\*(\S[^*]*?)\*(?![\w*])|\[([^\]]+)\]\(([^)\s]+)\)"
)
LONG_CODE = 60
"""Lines of code from which on a block is folded at first."""


def rendered(text: str, glyphs: Glyphs, key: str = "md", depth: int = 0) -> Iterator[Line]:
    """The lines of ``text``. Code blocks fold."""
    lines = iter(enumerate(safe(text).expandtabs(4).split("\n")))
    for at, line in lines:
        fence = _FENCE.match(line)
        if fence:
            yield from _code(fence, lines, glyphs, f"{key}.{at}", depth)
        else:
            yield _line(line, glyphs, depth)


def _code(
    fence: re.Match[str], lines: Iterable[tuple[int, str]], glyphs: Glyphs, key: str, depth: int
) -> Iterator[Line]:
    body: list[str] = []
    for _, line in lines:
        stripped = line.strip()
        if stripped.startswith(fence[1]) and not stripped.strip(fence[1][0]):
            break
        body.append(line)
    words = fence[2].strip() or "code"
    count = f"{len(body):,} line" + ("" if len(body) == 1 else "s")
    head: Pieces = ((f"{glyphs.line} ", "border"), (words, "muted"), (f"  {count}", "faint"))
    yield Line(head, depth, key, "", len(body) > LONG_CODE)
    for line in body:
        yield Line(((f"{glyphs.line} ", "border"), (line, "primary")), depth + 1, hang=2)


def _line(line: str, glyphs: Glyphs, depth: int) -> Line:
    if not line.strip():
        return Line((), depth)
    if found := _HEADING.match(line):
        return Line(((found[1] + " ", "faint"), (found[2], "strong")), depth)
    if _RULE.match(line):
        return Line(((glyphs.dash * 24, "border"),), depth)
    if found := _QUOTE.match(line):
        bars = f"{glyphs.line} " * found[1].count(">")
        return Line(((bars, "border"), *_inline(found[2], "muted")), depth, hang=len(bars))
    if found := _ITEM.match(line):
        sign = "•" if len(found[2]) == 1 else found[2]
        lead = f"{found[1]}{sign} "
        return Line(((lead, "accent"), *_inline(found[3], "")), depth, hang=len(lead))
    return Line(tuple(_inline(line, "")), depth)


def _inline(text: str, tone: Tone) -> Iterator[tuple[str, Tone]]:
    if len(text) > INLINE_LIMIT:
        yield text, tone
        return
    at = 0
    for found in _INLINE.finditer(text):
        if found.start() > at:
            yield text[at : found.start()], tone
        at = found.end()
        if found[1]:
            yield found[2], "primary"
        elif found[6]:
            yield found[6], "accent"
            yield f" ({found[7]})", "faint"
        else:
            yield found[3] or found[4] or found[5], "strong"
    if at < len(text):
        yield text[at:], tone

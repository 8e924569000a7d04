"""One table of glyphs: each sign that the viewer draws by itself, plain for terminals that have no more.

``--ascii`` swaps the table; :class:`PlainFilter` then also replaces what Textual draws (borders, scroll bars).
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter

from nightdesk.core.foreign import safe


@dataclass(frozen=True, slots=True)
class Glyphs:
    """Signs by meaning. Each is one cell wide."""

    run: str = "▶"
    pause: str = "‖"
    wait: str = "◷"
    done: str = "✓"
    fail: str = "✗"
    stop: str = "■"
    lost: str = "?"
    idle: str = "·"
    live: str = "●"
    off: str = "○"
    warn: str = "⚠"
    verdict: str = "▲"
    up: str = "⇡"
    down: str = "⇣"
    cut: str = "…"
    branch: str = "├"
    last: str = "└"
    line: str = "│"
    dash: str = "─"
    folded: str = "▸"
    unfolded: str = "▾"
    cursor: str = "▌"
    times: str = "×"
    dot: str = "·"
    full: str = "█"
    empty: str = "░"
    parts: str = " ▏▎▍▌▋▊▉"
    bars: str = " ▁▂▃▄▅▆▇█"
    ascending: str = "▲"
    descending: str = "▼"
    arrow: str = "→"
    part_of: str = "›"
    mark: str = "▏"
    shade: str = "▒"
    picked: str = "◆"
    tagged: str = "▪"
    good: str = "+"
    bad: str = "−"
    again: str = "↻"


UNICODE = Glyphs()
ASCII = Glyphs(
    run=">",
    pause="=",
    wait="@",
    done="+",
    fail="x",
    stop="#",
    lost="?",
    idle=".",
    live="*",
    off="o",
    warn="!",
    verdict="^",
    up="^",
    down="v",
    cut="~",
    branch="|",
    last="`",
    line="|",
    dash="-",
    folded="+",
    unfolded="-",
    cursor=">",
    times="x",
    dot="-",
    full="#",
    empty=".",
    parts=" .......",
    bars=" ..::||##",
    ascending="^",
    descending="v",
    arrow=">",
    part_of=">",
    mark="|",
    shade=":",
    picked="&",
    tagged="%",
    good="+",
    bad="-",
    again="r",
)

_CORNERS = "┌┐└┘╭╮╰╯├┤┬┴┼╔╗╚╝"


def _plain_table() -> dict[int, str]:
    table = dict.fromkeys(range(0x2500, 0x2600), "#")
    table.update(dict.fromkeys(map(ord, "─━┄┅┈┉╌╍═╴╶╸╺▔▁⎺⎽"), "-"))
    table.update(dict.fromkeys(map(ord, "│┃┆┇┊┋╎╏║╵╷╹╻▏▎▍▌▋▊▉▐"), "|"))
    table.update(dict.fromkeys(map(ord, _CORNERS), "+"))
    table.update(dict.fromkeys(range(0x2800, 0x2900), "*"))
    table[0x2800] = " "
    table.update({ord(a): b for a, b in zip("–—…“”‘’•", "--~\"\"''*", strict=True)})
    for field in fields(Glyphs):
        pairs = zip(getattr(UNICODE, field.name), getattr(ASCII, field.name), strict=True)
        table.update({ord(a): b for a, b in pairs if ord(a) > 127})
    return table


PLAIN = _plain_table()


class SafeFilter(LineFilter):
    """The last door before the terminal: whatever a widget let through is made harmless here."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """The same line; segments that held a control character come back clean."""
        return [
            segment if (clean := safe(segment.text)) is segment.text else Segment(clean, segment.style)
            for segment in segments
        ]


class PlainFilter(LineFilter):
    """Draws lines, blocks and our own signs with ASCII. ``strict`` replaces every other foreign sign as well."""

    def __init__(self, strict: bool) -> None:
        super().__init__()
        self.strict = strict

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """The same line with plain signs."""
        return [
            segment if segment.text.isascii() else Segment(self.plain(segment.text), segment.style)
            for segment in segments
        ]

    def plain(self, text: str) -> str:
        """``text`` without line drawing; under ``strict`` without anything outside ASCII, of the same width."""
        from rich.cells import cell_len

        swapped = text.translate(PLAIN)
        if not self.strict or swapped.isascii():
            return swapped
        return "".join(c if c.isascii() else "?" * cell_len(c) for c in swapped)

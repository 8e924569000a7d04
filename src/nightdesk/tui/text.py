"""The only door for foreign text into the viewer: everything that is not a literal passes here, markup off.

Widgets get :class:`~textual.content.Content` (Static, border titles, notices, palette) or :class:`Cell`
(grid, log lines). A tone is a meaning ("ok", "bad"), not a colour: themes decide, see :data:`TONES`.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

from rich.cells import cell_len, set_cell_size
from rich.style import Style
from textual.content import Content
from textual.widget import Widget

from nightdesk.core.foreign import CUT_MARK, safe, safe_line

Tone = Literal["", "muted", "faint", "strong", "accent", "primary", "ok", "warn", "bad", "border"]

TONES: dict[Tone, str] = {
    "": "",
    "muted": "$text-muted",
    "faint": "$text-disabled",
    "strong": "bold",
    "accent": "$text-accent",
    "primary": "$text-primary",
    "ok": "$text-success",
    "warn": "$text-warning",
    "bad": "bold $text-error",
    "border": "$border-blurred",
}
"""Tone → style, in theme variables."""

TONE_CLASSES: frozenset[str] = frozenset(f"tone--{tone}" for tone in TONES if tone)
"""For ``COMPONENT_CLASSES`` of widgets that draw by the Line API."""

BLOCK_LIMIT = 200_000
"""Characters of one block that a widget may lay out; more would hold up the screen."""


class Cell(NamedTuple):
    """Some text with a tone, and more such pieces behind it."""

    text: str
    tone: Tone = ""
    more: tuple[tuple[str, Tone], ...] = ()

    @property
    def plain(self) -> str:
        """All pieces as one string."""
        return self.text + "".join(text for text, _ in self.more)


Part: TypeAlias = "str | Cell | Content"


def tone_css() -> str:
    """TCSS that gives each tone class its style; loaded by the app."""
    rules = []
    for tone, style in TONES.items():
        words = style.split()
        if not words:
            continue
        bold = "text-style: bold;" if "bold" in words else ""
        color = next((f"color: {word};" for word in words if word.startswith("$")), "")
        rules.append(f".tone--{tone} {{ {color} {bold} }}")
    return "\n".join(rules)


def tone_style(widget: Widget, tone: Tone) -> Style:
    """Foreground and weight of ``tone`` on ``widget``, which lists :data:`TONE_CLASSES` as components."""
    if not tone:
        style = widget.rich_style
    else:
        style = widget.get_component_rich_style(f"tone--{tone}")
    return Style(color=style.color, bold=style.bold, dim=style.dim, italic=style.italic)


def content(*parts: Part, tone: Tone = "") -> Content:
    """The parts joined, harmless, line ends kept. ``tone`` styles the plain strings among them."""
    return Content("").join(_content(part, tone) for part in parts)


def _content(part: Part, tone: Tone) -> Content:
    if isinstance(part, Content):
        return part
    if isinstance(part, str):
        return _styled(part, tone)
    return Content("").join(_styled(text, mood) for text, mood in ((part.text, part.tone), *part.more))


def _styled(text: str, tone: Tone) -> Content:
    cut = text if len(text) <= BLOCK_LIMIT else text[: BLOCK_LIMIT - 1] + "…"
    return Content.styled(safe(cut), TONES[tone]) if tone else Content(safe(cut))


def line(*parts: Part, tone: Tone = "") -> Content:
    """Like :func:`content`, for places of one line: line ends and tabs become blanks."""
    return content(*map(_one_line, parts), tone=tone)


def _one_line(part: Part) -> Part:
    if isinstance(part, Content):
        return part
    if isinstance(part, str):
        return safe_line(part)
    return Cell(safe_line(part.text), part.tone, tuple((safe_line(text), tone) for text, tone in part.more))


def cell(text: str, tone: Tone = "", limit: int = 1024) -> Cell:
    """One harmless line of a grid."""
    return Cell(safe_line(text, limit), tone)


def shortened(text: str, width: int, cut: str, *, tail: bool = False) -> str:
    """``text`` in at most ``width`` cells, with ``cut`` for what is left out.

    ``tail``: its end stays as well, where numbers and endings stand.
    """
    if cell_len(text) <= width:
        return text
    behind = text[len(text) - (width // 2 - 1) :] if tail and width > 3 else ""
    while behind and cell_len(behind) > width // 2 - 1:
        behind = behind[1:]
    head = text[: max(0, width)]
    while head and cell_len(head + cut + behind) > width:
        head = head[:-1]
    return head + cut + behind


def cells_of(text: str) -> int:
    """How many cells a harmless line takes."""
    return len(text) if text.isascii() else cell_len(text)


def fit(text: str, width: int, align: str) -> str:
    """``text`` in exactly ``width`` cells; what does not fit ends with an ellipsis."""
    size = cells_of(text)
    if size > width:
        return set_cell_size(text, max(0, width - 1)) + CUT_MARK if width > 0 else ""
    return " " * (width - size) + text if align == "right" else text + " " * (width - size)

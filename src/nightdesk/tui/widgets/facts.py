"""Names and values below each other; a long value goes on under its own beginning, not under the names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from rich.cells import cell_len
from textual.content import Content
from textual.css.styles import RulesMap
from textual.strip import Strip
from textual.style import Style
from textual.visual import RenderOptions, Visual

from nightdesk.core.foreign import safe
from nightdesk.tui.text import BLOCK_LIMIT, Cell, Part, Tone, content
from nightdesk.tui.widgets.lines import Pieces, wrap


class Row(NamedTuple):
    """One line before wrapping; later rows of it begin ``hang`` cells from the left."""

    pieces: Pieces
    hang: int = 0


def fact_rows(facts: Iterable[tuple[str, Cell]], names: int) -> list[Row]:
    """Names in a column of ``names`` cells, then the values."""
    rows: list[Row] = []
    for name, value in facts:
        lead = f"{name:<{names}} "
        for line in lines_of(value):
            rows.append(Row(((lead, "muted"), *line), len(lead)))
            lead = " " * len(lead)
    return rows


def lines_of(value: Cell) -> list[Pieces]:
    """The value at its own line ends, harmless."""
    lines: list[list[tuple[str, Tone]]] = [[]]
    for text, tone in ((value.text, value.tone), *value.more):
        first, *others = safe(text[:BLOCK_LIMIT]).expandtabs(4).split("\n")
        lines[-1].append((first, tone))
        lines += [[(other, tone)] for other in others]
    return [tuple(line) for line in lines]


class Facts(Visual):
    """Rows for a Static, laid out again for each width."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = rows
        self._laid: tuple[int, list[Pieces]] = (0, [])

    @property
    def plain(self) -> str:
        """The rows before wrapping."""
        return "\n".join("".join(text for text, _ in row.pieces) for row in self.rows)

    def _lay_out(self, width: int) -> list[Pieces]:
        if self._laid[0] != width:
            laid = [part for row in self.rows for part in wrap(row.pieces, max(1, width), row.hang)]
            self._laid = (width, laid)
        return self._laid[1]

    def _content(self, width: int) -> Content:
        parts: list[Part] = []
        for pieces in self._lay_out(width):
            parts += [Cell("", "", pieces), "\n"]
        return content(*parts[:-1])

    def render_strips(
        self, width: int, height: int | None, style: Style, options: RenderOptions
    ) -> list[Strip]:
        """The rows as drawn."""
        return self._content(width).render_strips(width, height, style, options)

    def get_optimal_width(self, rules: RulesMap, container_width: int) -> int:
        """Enough for the longest row."""
        return max((cell_len(line) for line in self.plain.split("\n")), default=1)

    def get_height(self, rules: RulesMap, width: int) -> int:
        """The rows at this width."""
        return len(self._lay_out(width))

"""The line below a filter that is typed: what may stand at the cursor, or why the filter can't be read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.widgets import Static

from nightdesk.tui.text import Cell, Part, line

if TYPE_CHECKING:
    from nightdesk.core.inspection.completion import Suggestion


class FilterHint(Static):
    """Suggestions side by side, the chosen one first; a fault where nothing can be suggested."""

    DEFAULT_CSS = """
    FilterHint { display: none; height: 1; padding: 0 1; background: $boost; color: $text-muted; text-wrap: nowrap; }
    FilterHint.-open { display: block; }
    """

    def __init__(self) -> None:
        super().__init__(id="filter-hint", markup=False)
        self.suggestions: tuple[Suggestion, ...] = ()
        self.chosen = 0
        self._fault = ""

    def show(self, suggestions: tuple[Suggestion, ...], fault: str) -> None:
        """Draw these; the first one is chosen."""
        if (suggestions, fault) != (self.suggestions, self._fault):
            self.suggestions, self._fault, self.chosen = suggestions, fault, 0
            self._draw()

    def move(self, by: int) -> None:
        """Choose another suggestion."""
        if self.suggestions:
            self.chosen = (self.chosen + by) % len(self.suggestions)
            self._draw()

    def _draw(self) -> None:
        if self._fault and not self.suggestions:
            self.update(line(Cell(self._fault, "warn")))
            return
        parts: list[Part] = []
        for place, suggestion in enumerate(self.suggestions[self.chosen :]):
            parts.append(Cell(suggestion.insert, "" if place else "strong"))
            if not place:
                parts += [Cell(f" {suggestion.meaning}" if suggestion.meaning else "", "faint")]
                parts += [Cell("  tab", "accent")]
            parts.append("   ")
        self.update(line(*parts))

"""The strip of pane names on narrow terminals: digits or clicks switch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from textual import events
from textual.message import Message
from textual.widgets import Static

from nightdesk.tui.text import Cell, Part, line

GAP = "  "


class TabStrip(Static):
    """Names with their digits; the current one stands out, also without colour."""

    DEFAULT_CSS = """
    TabStrip { height: 1; padding: 0 1; color: $text-muted; text-wrap: nowrap; }
    """

    @dataclass
    class Chosen(Message):
        """A click on a name."""

        number: int

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's name for it
        super().__init__(id=id, markup=False)
        self._places: list[tuple[int, int, int]] = []
        self._shown: tuple[tuple[tuple[int, str], ...], int] | None = None

    def show(self, names: Sequence[tuple[int, str]], current: int) -> None:
        """Draw (number, name) pairs with ``current`` marked."""
        if self._shown != (tuple(names), current):
            self._shown = (tuple(names), current)
            self._draw()

    def on_resize(self) -> None:
        """Names may have to be shorter."""
        self._draw()

    def _draw(self) -> None:
        if self._shown is None:
            return
        names, current = self._shown
        width = self.content_size.width or self.app.size.width
        labels, gap = labels_of(names, current, width)
        self._places, at = [], 0
        parts: list[Part] = []
        for (number, _), words in zip(names, labels, strict=True):
            parts += [Cell(words, "strong" if number == current else "muted"), gap]
            self._places.append((at, at + len(words), number))
            at += len(words) + len(gap)
        self.update(line(*parts))

    def on_click(self, event: events.Click) -> None:
        """Choose the name under the pointer."""
        offset = event.get_content_offset(self)
        if offset is None:
            return
        for start, end, number in self._places:
            if start <= offset.x < end:
                self.post_message(self.Chosen(number))


def labels_of(names: Sequence[tuple[int, str]], current: int, width: int) -> tuple[list[str], str]:
    """The labels and what stands between them, in ``width`` cells: where there is no room, other names are cut."""
    longest = max((len(name) for _, name in names), default=0)
    labels: list[str] = []
    for gap, most in ((GAP, longest), *(("", most) for most in range(longest, 0, -1))):
        labels = [
            f"[{number} {name}]" if number == current else f" {number} {name[:most]} "
            for number, name in names
        ]
        if len(gap) * (len(names) - 1) + sum(map(len, labels)) <= width:
            break
    return labels, gap

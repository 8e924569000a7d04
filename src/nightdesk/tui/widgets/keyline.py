"""The last line of the screen: keys of the focused pane, then the ones that always work. Clicks press them."""

from __future__ import annotations

from typing import Any, NamedTuple

from textual import events
from textual.screen import Screen
from textual.widgets import Input, Static

from nightdesk.tui.text import Cell, Part, line

ALWAYS = ("help", "app.palette", "app.quit", "close")
"""Ids, or their last words, of the bindings that stand at the right end on every screen, in this order."""


SHORT_BELOW = 110
"""Narrower lines leave out what stands in brackets."""


class Key(NamedTuple):
    """A key as shown: its sign, what it does, and the key to press for a click."""

    sign: str
    words: str
    press: str


def keys_of(screen: Screen[Any]) -> tuple[list[Key], list[Key]]:
    """Keys shown at the left (the focused widget's first) and at the right end."""
    left: dict[str, Key] = {}
    right: dict[str, Key] = {}
    typing = isinstance(screen.focused, Input)
    for active in screen.active_bindings.values():
        binding = active.binding
        sign = screen.app.get_key_display(binding)
        if not binding.show or not active.enabled or (typing and is_typed(sign)):
            continue
        key = Key(sign, binding.description, binding.key)
        side = right if _rank(binding.id) < len(ALWAYS) else left
        side.setdefault(binding.action, key)
    ids = {b.binding.action: b.binding.id or "" for b in screen.active_bindings.values()}
    common = ("pane.", "desk.")
    own = sorted(left, key=lambda action: ids[action].startswith(common))
    return [left[a] for a in own], [right[a] for a in sorted(right, key=lambda a: _rank(ids[a]))]


def _rank(binding_id: str | None) -> int:
    """The place among those at the right end; behind them for all others."""
    names = (binding_id or "", (binding_id or "").rpartition(".")[2])
    return next((index for index, name in enumerate(ALWAYS) if name in names), len(ALWAYS))


def is_typed(sign: str) -> bool:
    """True for a key that writes a character where a text is typed."""
    return len(sign) == 1 and sign.isascii()


class KeyLine(Static):
    """Draws the keys that work now."""

    DEFAULT_CSS = """
    KeyLine { height: 1; padding: 0 1; background: $panel; color: $text-muted; text-wrap: nowrap; dock: bottom; }
    """

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's name for it
        super().__init__(id=id, markup=False)
        self._places: list[tuple[int, int, str]] = []

    def on_mount(self) -> None:
        """Follow the focus."""
        self.screen.bindings_updated_signal.subscribe(self, lambda _: self._draw())
        self._draw()

    def on_resize(self) -> None:
        """Other keys fit."""
        self._draw()

    def _draw(self) -> None:
        width = self.content_size.width
        left, right = keys_of(self.screen)
        if width < SHORT_BELOW:
            right = [key._replace(words=key.words.split(" (")[0]) for key in right]
        self._places = []
        tail = sum(len(key.sign) + len(key.words) + 3 for key in right)
        parts: list[Part] = []
        used = 0
        for key in left:
            size = len(key.sign) + len(key.words) + 3
            if used + size + tail > width + 2:
                break
            self._add(parts, key, used)
            used += size
        gap = max(0, width - used - tail + 2)
        parts.append(" " * gap)
        used += gap
        for key in right:
            self._add(parts, key, used)
            used += len(key.sign) + len(key.words) + 3
        self.update(line(*parts), layout=False)

    def _add(self, parts: list[Part], key: Key, at: int) -> None:
        parts += [Cell(key.sign, "accent"), " ", key.words, "  "]
        self._places.append((at, at + len(key.sign) + len(key.words) + 1, key.press))

    def on_click(self, event: events.Click) -> None:
        """Press the key under the pointer."""
        offset = event.get_content_offset(self)
        if offset is None:
            return
        for start, end, press in self._places:
            if start <= offset.x < end:
                self.app.simulate_key(press)

"""Help on the focused pane: what it shows, then every key that works there, as bound now."""

from __future__ import annotations

from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import Screen
from textual.widgets import Markdown, Static

from nightdesk.tui.text import Cell, line
from nightdesk.tui.widgets.facts import Facts, Row
from nightdesk.tui.widgets.sheet import Sheet

GENERAL = """
## Everywhere

Leaving never ends anything: engine and runs go on, and `nightdesk` shows them again. Colour is never alone, a
sign stands beside it. A dash (–) means that a value is unknown, never zero.
"""


def keys_for(screen: Screen[Any]) -> list[tuple[str, str, str]]:
    """(keys, what they do, id) for each binding that works now, those of the pane first."""
    found: dict[str, tuple[list[str], str, str]] = {}
    for active in screen.active_bindings.values():
        binding = active.binding
        if binding.id is None:
            continue
        name = binding.id
        keys, _, _ = found.setdefault(
            name, ([], active.tooltip or binding.tooltip or binding.description, name)
        )
        keys.append(screen.app.get_key_display(binding))
    rows = [(" ".join(dict.fromkeys(keys)), words, name) for keys, words, name in found.values()]
    return sorted(rows, key=lambda row: _ORDER.get(row[2].split(".")[0], 0))


SIGNS = 14
"""Cells of the keys' own column."""
_ORDER = {"pane": 1, "grid": 2, "desk": 3, "mode": 4, "app": 5}
"""The pane's own keys stand first."""


class HelpScreen(Sheet[None]):
    """Shows text and keys that the desk screen has gathered."""

    TALL = True
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("question_mark,f1", "close", "Back", show=False, id="help.close"),
        Binding("k", "scroll('scroll_up')", "Up", show=False, id="help.up"),
        Binding("j", "scroll('scroll_down')", "Down", show=False, id="help.down"),
        Binding("g", "scroll('scroll_home')", "Top", show=False, id="help.top"),
        Binding("G", "scroll('scroll_end')", "End", show=False, id="help.end"),
        Binding("space,ctrl+d", "scroll('scroll_page_down')", "Page down", show=False, id="help.page_down"),
        Binding("ctrl+u", "scroll('scroll_page_up')", "Page up", show=False, id="help.page_up"),
    ]

    def __init__(self, title: str, text: str, keys: list[tuple[str, str, str]]) -> None:
        super().__init__()
        self.about = title
        self.text = text
        self.keys = keys

    def compose_sheet(self) -> ComposeResult:
        """Words, then keys."""
        with VerticalScroll():
            yield Markdown(self.text + GENERAL)
            yield Static(id="key-table", markup=False)

    def on_mount(self) -> None:
        """Fill in the keys."""
        self.show_title(line("Help: ", Cell(self.about, "strong")))
        longest = max((len(words) for _, words, _ in self.keys), default=0)
        rows = [
            Row(((f"{keys:<{SIGNS}} ", "accent"), (f"{words:<{longest}}  ", ""), (name, "faint")), SIGNS + 1)
            for keys, words, name in self.keys
        ]
        self.query_one("#key-table", Static).update(Facts(rows))
        self.query_one(VerticalScroll).focus()

    def action_scroll(self, how: str) -> None:
        """Scroll as the lists do."""
        getattr(self.query_one(VerticalScroll), how)(animate=False)

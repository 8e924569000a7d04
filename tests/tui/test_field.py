"""Lines to type in: keys that come in a burst keep their order."""

from __future__ import annotations

from typing import ClassVar

import pytest
from textual import events
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Input

from nightdesk.tui.widgets.field import Field
from tests.support.viewer import until

CHARACTERS = {"backspace": "\x7f", "enter": "\r", "full_stop": "."}


class Typing(App[None]):
    """A line, with a key of its own above it."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("down", "note('down')", "Down")]

    def __init__(self) -> None:
        super().__init__()
        self.noted: list[str] = []

    def compose(self) -> ComposeResult:
        """The line."""
        yield Field()

    def action_note(self, what: str) -> None:
        """Write down what came."""
        self.noted.append(f"{what} at {self.query_one(Field).value}")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Write down what came."""
        self.noted.append(f"enter at {event.value}")


@pytest.mark.parametrize(
    ("keys", "value", "noted"),
    [
        (["x", "backspace", "9", "0", "m"], "90m", []),
        (["a", "b", "left", "c"], "acb", []),
        (["a", "down", "b", "down", "enter"], "ab", ["down at a", "down at ab", "enter at ab"]),
    ],
)
async def test_keys_that_come_at_once_keep_their_order(keys: list[str], value: str, noted: list[str]) -> None:
    app = Typing()
    async with app.run_test() as pilot:
        for key in keys:
            app.post_message(events.Key(key, CHARACTERS.get(key, key if len(key) == 1 else None)))
        await until(pilot, lambda: (app.query_one(Field).value, app.noted) == (value, noted), seconds=10)

"""A line of text to type in, in which fast keys keep their order."""

from __future__ import annotations

from textual import events
from textual.widgets import Input


class Field(Input):
    """Textual's own takes letters at once and all other keys by way of the app: of a burst, as a slow line or a key
    that repeats sends it, the letters would overtake the backspace that was typed before them.
    """

    async def _on_key(self, event: events.Key) -> None:
        """Every key at once, also those of the screen around it."""
        if not event.is_printable and await self.app._check_bindings(event.key):
            event.stop()
            event.prevent_default()

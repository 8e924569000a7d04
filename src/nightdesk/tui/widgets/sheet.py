"""A screen that lies over the desk: a titled box with a line of keys. Escape closes it."""

from __future__ import annotations

from typing import ClassVar, Generic, TypeVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen

from nightdesk.client.mirror import Mirror
from nightdesk.tui.glyphs import UNICODE, Glyphs
from nightdesk.tui.widgets.keyline import KeyLine

Answer = TypeVar("Answer")


class Sheet(ModalScreen[Answer], Generic[Answer]):
    """Base of confirmations, pickers, details and help."""

    DEFAULT_CSS = """
    Sheet {
        align: center middle;
        & > #sheet {
            width: 90%; max-width: 110; height: auto; max-height: 90%; background: $surface;
            border: round $border; border-title-color: $foreground; padding: 0 1;
        }
        & > #sheet.-tall { height: 90%; }
        & > #sheet.-hard { border: round $error; }
        KeyLine { background: $surface; padding: 0; margin-top: 1; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "close", "back", key_display="esc", id="sheet.close"),
        Binding(
            "question_mark,f1",
            "explain",
            "help",
            key_display="?",
            id="sheet.help",
            tooltip="Help on this screen",
        ),
        Binding("ctrl+q", "app.leave", "Leave", show=False, id="sheet.leave"),
    ]
    TALL: ClassVar[bool] = False
    heading = Content("")
    """What stands on the border."""

    def compose(self) -> ComposeResult:
        """The box."""
        with Vertical(id="sheet", classes="-tall" if self.TALL else ""):
            yield from self.compose_sheet()
            yield KeyLine()

    def compose_sheet(self) -> ComposeResult:
        """*override*: what is in the box."""
        yield from ()

    def feed(self, desk: Mirror | None, now_ns: int) -> None:
        """*override* where the sheet shows something that lives."""

    @property
    def glyphs(self) -> Glyphs:
        """The table of signs in use."""
        return getattr(self.app, "glyphs", UNICODE)

    def show_title(self, title: Content) -> None:
        """Put a title on the border."""
        self.heading = title
        self.query_one("#sheet").border_title = title

    def action_explain(self) -> None:
        """Help on this sheet: its words, then its keys."""
        from nightdesk.tui.screens.help import HelpScreen, keys_for

        self.app.push_screen(HelpScreen(self.heading.plain, self.HELP or "", keys_for(self)))

    def action_close(self) -> None:
        """Back to the desk, without an answer."""
        self.dismiss(None)

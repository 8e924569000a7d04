"""What the inspector does with an exchange: copy, open outside, save, and ask for what other screens do."""

from __future__ import annotations

import os
import shutil
import sys
from abc import abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, cast

from textual.binding import Binding, BindingType
from textual.message import Message

from nightdesk.model.errors import NightdeskError
from nightdesk.model.exchange import Exchange
from nightdesk.model.inspection import Feedback, Mark
from nightdesk.model.units import format_bytes
from nightdesk.tui import asks
from nightdesk.tui.clipboard import copy, routes
from nightdesk.tui.inspector import outside
from nightdesk.tui.inspector.pages import PAGES
from nightdesk.tui.inspector.parts import Part, parts_of, usual_part
from nightdesk.tui.link import in_thread
from nightdesk.tui.widgets.folds import FoldView
from nightdesk.tui.widgets.sheet import Sheet

if TYPE_CHECKING:
    from nightdesk.tui.app import Viewer
    from nightdesk.tui.screens.parts import Choice
    from nightdesk.tui.screens.save import Target


ASKS: dict[str, Callable[[int], Message]] = {
    "replay": asks.OpenReplay,
    "comparison": asks.OpenComparison,
    "cancel": asks.CancelRequested,
    "conversation": asks.OpenConversation,
    "note": asks.OpenNote,
}


class Deeds(Sheet[None]):
    """Base of the inspector: everything that leaves it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "y", "copy", "copy", id="inspector.copy", tooltip="Copy a part of it: prompt, reply, curl, Python"
        ),
        *outside.keys("inspector", "Open it"),
        Binding("w", "save", "save", id="inspector.save", tooltip="Save it to a file"),
        Binding(
            "d",
            "diff",
            "diff",
            id="inspector.diff",
            tooltip="Diff with the marked exchange, or mark this one",
        ),
        Binding("r", "ask('replay')", "replay", id="inspector.replay", tooltip="Send the request again"),
        Binding(
            "R",
            "ask('comparison')",
            "Compare models",
            show=False,
            id="inspector.compare",
            tooltip="Send the request to several models",
        ),
        Binding(
            "x", "ask('cancel')", "Cancel", show=False, id="inspector.cancel", tooltip="End it while it runs"
        ),
        Binding(
            "C",
            "ask('conversation')",
            "Conversation",
            show=False,
            id="inspector.conversation",
            tooltip="The conversation it belongs to",
        ),
        Binding(
            "plus",
            "mark('good')",
            "Good",
            key_display="+",
            show=False,
            id="inspector.good",
            tooltip="Mark as good, or remove the mark",
        ),
        Binding(
            "minus",
            "mark('bad')",
            "Bad",
            key_display="-",
            show=False,
            id="inspector.bad",
            tooltip="Mark as bad, or remove the mark",
        ),
        Binding("a", "ask('note')", "Note", show=False, id="inspector.note", tooltip="Write a note on it"),
    ]

    exchange: Exchange | None
    exchange_id: int
    page: int

    @property
    @abstractmethod
    def view(self) -> FoldView:
        """*override*: the page that keys act on."""

    @property
    def viewer(self) -> Viewer:
        """The app."""
        return cast("Viewer", self.app)

    def _parts(self) -> list[Part]:
        return parts_of(self.exchange, PAGES[self.page][0], lambda: self.view.plain) if self.exchange else []

    def _part_of_page(self) -> Part | None:
        parts = self._parts()
        usual = usual_part(self.page)
        return next((part for part in parts if part.key == usual), parts[0] if parts else None)

    def _file_name(self, part: Part) -> str:
        name = part.name.partition(" (")[0].replace(" ", "-")
        return f"exchange-{self.exchange_id}-{name}{part.suffix}"

    # Copying

    def action_copy(self) -> None:
        """Choose a part and what to do with it."""
        from nightdesk.tui.screens.parts import PartsScreen

        parts = self._parts()
        if parts:
            self.app.push_screen(PartsScreen(parts, usual_part(self.page)), self._chosen)

    def _chosen(self, choice: Choice | None) -> None:
        if choice is None:
            return
        if choice.deed == "copy":
            self._start(self._copy(choice.part))
        elif choice.deed == "save":
            self._ask_name(choice.part)
        else:
            self._start(self._look(choice.deed, choice.part))

    def _start(self, work: Any) -> None:
        self.run_worker(self._guarded(work), exit_on_error=False)

    async def _guarded(self, work: Any) -> None:
        try:
            await work
        except NightdeskError as error:
            self.viewer.tell(error.message, error.hint, severity="error")

    async def _copy(self, part: Part) -> None:
        text = await in_thread(part.text)
        ways = routes(os.environ, sys.platform, lambda name: shutil.which(name) is not None)
        words = await copy(text, ways, self._write)
        self.viewer.tell(f"{part.name}: {words}", " ".join(part.notes))

    def _write(self, sequence: str) -> None:
        """Send a sequence to the terminal."""
        driver = self.app._driver
        if driver is not None:
            driver.write(sequence)

    # Outside

    def action_look(self, kind: outside.Kind) -> None:
        """Open what the page is about in the editor or the pager."""
        part = self._part_of_page()
        if part is not None:
            self._start(self._look(kind, part))

    async def _look(self, kind: outside.Kind, part: Part) -> None:
        command = outside.command_of(kind, os.environ, lambda name: shutil.which(name) is not None)
        text = await in_thread(part.text)
        words = outside.look_at(self.app, kind, command, self._file_name(part), text)
        if words:
            self.viewer.tell(words)

    # Saving

    def action_save(self) -> None:
        """Save what the page is about."""
        part = self._part_of_page()
        if part is not None:
            self._ask_name(part)

    def _ask_name(self, part: Part) -> None:
        from nightdesk.tui.screens.save import SaveScreen

        def take(target: Target | None) -> None:
            if target is not None:
                self._start(self._save(part, target))

        self.app.push_screen(SaveScreen(part.name, self._file_name(part)), take)

    async def _save(self, part: Part, target: Target) -> None:
        size = await in_thread(lambda: outside.save(target.path, part.text(), over=target.over))
        self.viewer.tell(f"{part.name}: {format_bytes(size)} saved as {target.path}.", " ".join(part.notes))

    # What others do

    def action_ask(self, name: str) -> None:
        """Ask for something about this exchange."""
        self.post_message(ASKS[name](self.exchange_id))

    def action_diff(self) -> None:
        """Compare with the marked exchange; without one, a replay with its original; else mark this one."""
        marked = self.viewer.marked_exchange
        original = self.exchange.replay_of if self.exchange is not None else None
        if original is not None and marked in (None, self.exchange_id):
            self.post_message(asks.OpenDiff(original, self.exchange_id))
        elif marked is None or marked == self.exchange_id:
            self.post_message(asks.MarkForDiff(self.exchange_id))
        else:
            self.post_message(asks.OpenDiff(marked, self.exchange_id))

    def action_mark(self, mark: Mark) -> None:
        """Good or bad; the same again takes it back."""
        self.post_message(asks.FeedbackGiven(self.exchange_id, Feedback(mark=mark)))

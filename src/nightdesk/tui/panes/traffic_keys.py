"""What the keys of the traffic pane do to the exchange under the cursor: each asks, nobody waits."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType

from nightdesk.model.exchange import ExchangeRow
from nightdesk.model.inspection import Feedback, Mark
from nightdesk.tui import asks
from nightdesk.tui.panes.pane import Pane, View

ANSWERED_SECONDS = 0.05
"""After this long the app has taken note of a mark."""


class ExchangePane(Pane[View]):
    """A pane with bindings and actions on :attr:`row_under_cursor`."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "mark", "mark", id="traffic.mark", tooltip="Mark for a diff"),
        Binding("d", "diff", "diff", id="traffic.diff", tooltip="Compare with the marked one"),
        Binding("r", "replay", "replay", id="traffic.replay", tooltip="Send it again"),
        Binding("R", "compare", "Compare models", show=False, id="traffic.compare", tooltip="Ask several models"),
        Binding("x", "cancel", "Cancel", show=False, id="traffic.cancel", tooltip="End a running exchange"),
        Binding("plus", "feedback('good')", "Good", show=False, id="traffic.good", tooltip="Mark as good"),
        Binding("minus", "feedback('bad')", "Bad", show=False, id="traffic.bad", tooltip="Mark as bad"),
        Binding("a", "note", "Note", show=False, id="traffic.note", tooltip="Write a note on it"),
        Binding("l", "logs", "Logs then", show=False, id="traffic.logs", tooltip="All logs when it began"),
        Binding("C", "conversation", "Conversation", show=False, id="traffic.conversation", tooltip="Its conversation"),
    ]  # fmt: skip

    @property
    def row_under_cursor(self) -> ExchangeRow | None:
        """*override*: the exchange that the keys are about."""
        return None

    def action_mark(self) -> None:
        """Mark for a diff, or take the mark away."""
        if (row := self.row_under_cursor) is not None:
            self.post_message(asks.MarkForDiff(row.id))
            self.set_timer(ANSWERED_SECONDS, self.redraw)

    def action_diff(self) -> None:
        """Compare with the marked one; a replay without a mark with its original."""
        row, marked = self.row_under_cursor, getattr(self.app, "marked_exchange", None)
        if row is None:
            return
        if row.replay_of is not None and marked in (None, row.id):
            self.post_message(asks.OpenDiff(row.replay_of, row.id))
        elif marked is None:
            self.notify("Mark the other one first: space.", markup=False)
        elif marked == row.id:
            self.notify("This is the marked one: go to another line.", markup=False)
        else:
            self.post_message(asks.OpenDiff(marked, row.id))

    def action_replay(self) -> None:
        """Send the request again."""
        if (row := self.row_under_cursor) is not None:
            self.post_message(asks.OpenReplay(row.id))

    def action_compare(self) -> None:
        """Send the request to several models."""
        if (row := self.row_under_cursor) is not None:
            self.post_message(asks.OpenComparison(row.id))

    def action_cancel(self) -> None:
        """End a running exchange."""
        row = self.row_under_cursor
        if row is not None and row.state == "running":
            self.post_message(asks.CancelRequested(row.id))
        elif row is not None:
            self.notify("This exchange is over; only a running one can be ended.", markup=False)

    def action_feedback(self, mark: Mark) -> None:
        """Mark as good or bad."""
        if (row := self.row_under_cursor) is not None:
            self.post_message(asks.FeedbackGiven(row.id, Feedback(mark=mark)))

    def action_note(self) -> None:
        """Write a note."""
        if (row := self.row_under_cursor) is not None:
            self.post_message(asks.OpenNote(row.id))

    def action_logs(self) -> None:
        """All logs in one, around the moment at which it began."""
        if (row := self.row_under_cursor) is not None:
            self.post_message(asks.OpenLog(at_ns=row.started_ns))

    def action_conversation(self) -> None:
        """The exchanges of its client in order."""
        if (row := self.row_under_cursor) is not None:
            self.post_message(asks.OpenConversation(row.id))

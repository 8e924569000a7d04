"""Carries out what is asked about exchanges after the fact: profiles, conversations, marks and notes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.screen import Screen
from textual.widgets import Input

from nightdesk.model.inspection import Feedback
from nightdesk.tui.asks import FeedbackGiven, FeedRequested
from nightdesk.tui.panes.traffic import TrafficPane
from nightdesk.tui.screens.conversation import ConversationScreen
from nightdesk.tui.screens.note import NoteScreen
from nightdesk.tui.screens.profile import ProfileScreen

if TYPE_CHECKING:
    from nightdesk.tui.app import Viewer


async def open_profile(app: Viewer, query: str) -> None:
    """Show where the time of the exchanges went that match ``query``."""
    await app.push_screen(ProfileScreen(query))


async def open_conversation(app: Viewer, exchange: int) -> None:
    """Show the exchanges of the client of this one."""
    await app.push_screen(ConversationScreen(exchange))


def filter_traffic(app: Viewer, query: str) -> None:
    """Close what lies over the desk, and show the list of exchanges with this filter."""
    while len(app.screen_stack) > 1:
        app.pop_screen()
    desk = app.desk_screen
    desk.action_mode("traffic")
    pane = desk.query_one(TrafficPane)
    pane.query_one("#filter", Input).value = query
    app.post_message(FeedRequested())


async def give_feedback(app: Viewer, asked: FeedbackGiven) -> None:
    """Mark an exchange. The mark that it has already is taken back."""
    engine = app.engine
    before = await engine.feedback(asked.id)
    again = asked.feedback.mark is not None and asked.feedback.mark == before.mark and not asked.feedback.note
    mark = None if again else asked.feedback.mark
    given = await engine.give_feedback(asked.id, Feedback(mark=mark, note=asked.feedback.note or before.note))
    app.tell(words_of(asked.id, given, before))


async def write_note(app: Viewer, exchange: int) -> None:
    """Ask for mark and note, and record them."""
    engine = app.engine
    before = await engine.feedback(exchange)
    screen: Screen[Feedback] = NoteScreen(exchange, before)
    wanted = await app.push_screen_wait(screen)
    if wanted is not None:
        app.tell(words_of(exchange, await engine.give_feedback(exchange, wanted), before))


def words_of(exchange: int, now: Feedback, before: Feedback) -> str:
    """What has changed, in one sentence."""
    parts = []
    if now.mark != before.mark:
        parts.append(f"marked {now.mark}" if now.mark else f"no longer marked {before.mark}")
    if now.note != before.note:
        parts.append("noted" if now.note else "its note is gone")
    return f"Exchange {exchange}: {', '.join(parts) or 'as it was'}."

"""The exchanges of one client in order, as a conversation: what each turn added, and how the context grew."""

from __future__ import annotations

from typing import Any, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.widgets import Static

from nightdesk.client.mirror import Mirror
from nightdesk.model.conversation import Conversation, Turn
from nightdesk.model.errors import NightdeskError
from nightdesk.tui.asks import Ask, FeedRequested, OpenExchange
from nightdesk.tui.screens.turns import COLUMNS, ONE_THREAD, has_threads, shown_turns, turn_lines, turn_rows
from nightdesk.tui.text import Cell, Part, line
from nightdesk.tui.widgets.grid import Grid
from nightdesk.tui.widgets.page import Page
from nightdesk.tui.widgets.sheet import Sheet

TIES = {
    "run": "one run",
    "process": "one process",
    "connection": "one connection; the process is unknown",
    "alone": "nothing ties others to it",
}
WIDE = 150


class ConversationScreen(Sheet[None]):
    """The conversation that the exchange is part of."""

    TALL = True
    DEFAULT_CSS = """
    ConversationScreen {
        & > #sheet { width: 100%; max-width: 100%; height: 100%; max-height: 100%; }
        & > #sheet.-tall { height: 100%; }
        #about { height: 1; text-wrap: nowrap; }
        #both { layout: vertical; height: 1fr; }
        #turns { height: 2fr; }
        #turn { height: 3fr; border-top: solid $border-blurred; }
        &.-wide #both { layout: horizontal; }
        &.-wide #turns { width: 3fr; height: 1fr; }
        &.-wide #turn { width: 2fr; height: 1fr; border-top: none; border-left: solid $border-blurred; }
        KeyLine { margin-top: 0; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "t",
            "thread",
            "this one/all",
            id="conversation.thread",
            tooltip="This conversation, or everything from the client",
        ),
        Binding("tab", "other", "list/text", id="conversation.other", tooltip="Switch between list and text"),
        Binding("r", "again", "again", id="conversation.again", tooltip="Refresh, with newer exchanges"),
    ]

    def __init__(self, exchange: int) -> None:
        super().__init__()
        self.exchange = exchange
        self.conversation: Conversation | None = None
        self.thread: int | None = None
        """The conversation that is shown; None for everything of the client."""
        self._asking = False

    def compose_sheet(self) -> ComposeResult:
        """Turns, and the one under the cursor."""
        yield Static(id="about", markup=False)
        with Container(id="both"):
            yield Grid(COLUMNS, sign=self.glyphs.cursor, id="turns")
            yield Page(id="turn")

    def on_mount(self) -> None:
        """Ask at once."""
        self.set_class(self.app.size.width >= WIDE, "-wide")
        self.query_one(Grid).focus()
        self.show_title(line(Cell("Conversation", "strong")))
        self.query_one("#about", Static).update(line(Cell(f"Reading it {self.glyphs.cut}", "muted")))
        self._fetch()
        self.app.post_message(FeedRequested())

    def on_resize(self) -> None:
        """Side by side where there is room."""
        self.set_class(self.app.size.width >= WIDE, "-wide")

    # Data

    def feed(self, desk: Mirror | None, now_ns: int) -> None:
        """Ask again when a turn that was running is over."""
        if desk is None or self.conversation is None or not self.is_mounted:
            return
        running = [turn.exchange for turn in self.conversation.turns if turn.state == "running"]
        rows = [desk.exchanges.get(number) for number in running]
        if any(row is not None and row.state != "running" for row in rows):
            self._fetch()

    def _fetch(self) -> None:
        if self._asking:
            return
        self._asking = True
        number = self.exchange
        self.post_message(Ask(lambda engine: engine.conversation(number), self._take))

    def _take(self, answer: Any | NightdeskError) -> None:
        self._asking = False
        if not self.is_mounted:
            return
        if not isinstance(answer, Conversation):
            words = str(answer) if isinstance(answer, NightdeskError) else f"Not a conversation: {answer!r}"
            self.query_one("#about", Static).update(line(Cell(f"{self.glyphs.fail} {words}", "bad")))
            return
        first = self.conversation is None
        self.conversation = answer
        if first:
            own = next((turn.thread for turn in answer.turns if turn.exchange == self.exchange), None)
            alone = len(shown_turns(answer, own)) == 1
            self.thread = None if alone else own
        self._draw()
        if first:
            self.query_one(Grid).select_key(self.exchange)

    # Drawing

    def _draw(self) -> None:
        made = self.conversation
        if made is None:
            return
        turns = shown_turns(made, self.thread)
        self.show_title(line(Cell("Conversation", "strong"), "  ", Cell(made.subject, "accent")))
        self.query_one("#about", Static).update(line(*self._about(made, turns)))
        grid, columns = self.query_one(Grid), COLUMNS if has_threads(turns) else ONE_THREAD
        if grid.columns != columns:
            grid.show_columns(columns)
        grid.show_rows(turn_rows(turns, self.glyphs))
        self._show_turn()

    def _about(self, made: Conversation, turns: tuple[Turn, ...]) -> list[Part]:
        threads = len({turn.thread for turn in made.turns})
        dot = f"  {self.glyphs.dot}  "
        count = "1 exchange" if len(turns) == 1 else f"{len(turns)} exchanges"
        in_all = "in 1 conversation" if threads == 1 else f"in {threads} conversations"
        words = "of one conversation" if self.thread is not None else in_all
        if len(turns) == threads == len(made.turns) and len(turns) > 1:
            words = "that repeat nothing of each other"
        parts: list[Part] = [Cell(f"{count} {words}", "strong"), Cell(f"{dot}{TIES[made.tied_by]}", "muted")]
        if self.thread is not None and threads > 1:
            parts.append(Cell(f"{dot}t shows all {len(made.turns)} of this client", "muted"))
        left_out = [
            f"{made.earlier} earlier" if made.earlier else "",
            f"{made.later} later" if made.later else "",
        ]
        if any(left_out):
            parts.append(Cell(f"{dot}{' and '.join(filter(None, left_out))} not shown", "warn"))
        return parts

    @on(Grid.Moved)
    def _show_turn(self) -> None:
        turn = self._turn
        if turn is not None:
            self.query_one(Page).show(tuple(turn_lines(turn, self.glyphs)), from_top=True)

    @property
    def _turn(self) -> Turn | None:
        key = self.query_one(Grid).cursor_key
        turns = self.conversation.turns if self.conversation else ()
        return next((turn for turn in turns if turn.exchange == key), None)

    # Keys

    @on(Grid.Opened)
    def _opened(self, event: Grid.Opened) -> None:
        if isinstance(event.key, int):
            self.app.post_message(OpenExchange(event.key))

    def action_thread(self) -> None:
        """Show the conversation of the turn under the cursor, or everything of the client."""
        turn = self._turn
        if turn is not None:
            self.thread = turn.thread if self.thread is None else None
            self._draw()

    def action_other(self) -> None:
        """Move between the list and the text."""
        grid, page = self.query_one(Grid), self.query_one(Page)
        (page if grid.has_focus else grid).focus()

    def action_again(self) -> None:
        """Ask again."""
        self._fetch()

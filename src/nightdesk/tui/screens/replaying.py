"""A replay beside its original: the new reply streams in next to the old one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Vertical
from textual.widgets import Static

from nightdesk.client.mirror import Mirror
from nightdesk.core.foreign import safe
from nightdesk.core.inspection.exchange_diff import json_text
from nightdesk.model.errors import NightdeskError
from nightdesk.model.exchange import Exchange, ExchangeRow
from nightdesk.model.inspection import Replay
from nightdesk.model.units import NS, UNKNOWN, format_count, format_duration
from nightdesk.tui.asks import Ask, CancelRequested, FeedRequested, OpenDiff, OpenExchange, OpenReplay
from nightdesk.tui.glyphs import Glyphs
from nightdesk.tui.panes.traffic_row import state_cell
from nightdesk.tui.screens.diff import WIDE
from nightdesk.tui.text import Cell, Tone, line
from nightdesk.tui.widgets.lines import Pieces
from nightdesk.tui.widgets.page import Page
from nightdesk.tui.widgets.sheet import Sheet

SHOWN = 200_000
"""Characters of a reply; the inspector shows more."""
WAITING = "It waits for its turn: replays to one server are sent one after another."


def reply_lines(exchange: Exchange, glyphs: Glyphs) -> Iterator[Pieces]:
    """Thinking, text, tool calls and error of a reply, harmless."""
    if exchange.thinking:
        yield from _lines(exchange.thinking, "muted")
        yield ()
    yield from _lines(exchange.text, "")
    for call in exchange.tool_calls:
        yield ((f"{glyphs.dash * 2} tool call {safe(call.name)}", "accent"),)
        yield from _lines(json_text(call.arguments), "")
    if exchange.error is not None:
        yield from _lines(f"{glyphs.fail} {json_text(exchange.error)}", "bad")


def _lines(text: str, tone: Tone) -> Iterator[Pieces]:
    for row in safe(text[:SHOWN]).expandtabs(4).split("\n") if text else ():
        yield ((row, tone),) if row else ()
    if len(text) > SHOWN:
        yield ((f"{len(text) - SHOWN:,} more characters; enter shows them", "warn"),)


def figures(row: Exchange | ExchangeRow, glyphs: Glyphs, now_ns: int) -> list[Cell]:
    """State, first token, tokens, speed and time of one side."""
    sign = state_cell(row, now_ns, glyphs)
    first = None if row.first_token_ns is None else row.first_token_ns - row.started_ns
    speed = speed_of(row)
    end = row.ended_ns if row.ended_ns is not None else max(now_ns, row.started_ns)
    return [
        sign._replace(text=f"{sign.text} {row.state}  "),
        Cell(f"{row.model or UNKNOWN}  ", "strong"),
        Cell(f"first {format_duration(first)}  {glyphs.down}{format_count(row.reply_tokens)}  ", "muted"),
        Cell("" if speed is None else f"{speed:,.0f} t/s  ", "muted"),
        Cell(format_duration(end - row.started_ns), "muted"),
    ]


def speed_of(row: Exchange | ExchangeRow) -> float | None:
    """Reply tokens a second, by the server's own clock."""
    if not row.reply_tokens or not row.generation_ns:
        return None
    return row.reply_tokens * NS / row.generation_ns


class ReplayingScreen(Sheet[None]):
    """Original and replay, side by side when wide, one below the other when narrow."""

    TALL = True
    DEFAULT_CSS = """
    ReplayingScreen {
        & > #sheet { width: 100%; max-width: 100%; height: 100%; max-height: 100%; }
        & > #sheet.-tall { height: 100%; }
        #sides { height: 1fr; layout: horizontal; }
        .half { width: 1fr; height: 1fr; padding: 0 1; }
        .head { height: 1; text-wrap: nowrap; }
        .about { height: 1; text-wrap: nowrap; margin-bottom: 1; }
        #new { border-left: solid $border-blurred; }
        #sides.-narrow { layout: vertical; }
        #sides.-narrow #old { height: 2fr; }
        #sides.-narrow #new { border-left: none; border-top: solid $border-blurred; height: 3fr; }
        KeyLine { margin-top: 0; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("d", "diff", "diff", id="replaying.diff", tooltip="What differs between old and new"),
        Binding("enter", "inspect", "open the new one", id="replaying.open", tooltip="Inspect the replay"),
        Binding("r", "again", "again", id="replaying.again", tooltip="Change the request and send it again"),
        Binding("x", "cancel", "cancel", id="replaying.cancel", tooltip="Close the replay's connection"),
        Binding("tab", "app.focus_next", "other side", show=False, id="replaying.side"),
    ]

    def __init__(self, original: Exchange, replay: Replay) -> None:
        super().__init__()
        self.original = original
        self.number = replay.exchanges[0]
        self.left_out = replay.left_out
        self.exchange: Exchange | None = None
        self._row: ExchangeRow | None = None
        self._asking = False
        self._now_ns = 0

    def compose_sheet(self) -> ComposeResult:
        """Old at the left or above, new at the right or below."""
        with Container(id="sides"):
            for name in ("old", "new"):
                with Vertical(id=name, classes="half"):
                    yield Static(id=f"{name}-head", classes="head", markup=False)
                    yield Static(id=f"{name}-about", classes="about", markup=False)
                    yield Page(id=f"{name}-page")

    def on_mount(self) -> None:
        """The original is known; the new one comes."""
        arrow = Cell(f"{self.original.id} {self.glyphs.arrow} {self.number}", "strong")
        self.show_title(line("Replay ", arrow))
        self._head("old", f"original {self.original.id}")
        self._head("new", f"replay {self.number}")
        self._about("old", figures(self.original, self.glyphs, 0))
        self._about("new", [Cell(f"{self.glyphs.wait} waiting", "muted")])
        self.query_one("#old-page", Page).show(list(reply_lines(self.original, self.glyphs)), from_top=True)
        self.query_one("#new-page", Page).show((((WAITING, "muted"),),))
        self.query_one("#new-page", Page).focus()
        if self.left_out:
            names = " and ".join(self.left_out)
            self.notify(f"Sent without {names}: only the mask was recorded.", markup=False)
        self.on_resize()
        self.app.post_message(FeedRequested())

    def _head(self, side: str, words: str) -> None:
        self.query_one(f"#{side}-head", Static).update(line(Cell(words, "accent")))

    def _about(self, side: str, cells: list[Cell]) -> None:
        self.query_one(f"#{side}-about", Static).update(line(*cells))

    def on_resize(self) -> None:
        """Side by side where there is room."""
        if self.is_mounted:
            self.query_one("#sides").set_class(self.app.size.width < WIDE, "-narrow")

    def feed(self, desk: Mirror | None, now_ns: int) -> None:
        """Follow the new reply."""
        self._now_ns = now_ns
        if desk is None or not self.query("#new-page"):
            return
        row = desk.exchanges.get(self.number)
        if row is not None and row is not self._row:
            self._fetch(row)
        elif self.exchange is not None and self.exchange.state == "running":
            self._about("new", figures(self.exchange, self.glyphs, now_ns))

    def _fetch(self, row: ExchangeRow) -> None:
        if not self._asking:
            self._asking = True
            known = self.exchange if self.exchange is not None and self.exchange.state == "running" else None
            self.post_message(
                Ask(
                    lambda engine: engine.exchange(self.number) if known is None else engine.grown(known),
                    lambda got: self._take(row, got),
                )
            )

    def _take(self, row: ExchangeRow, answer: Any | NightdeskError) -> None:
        self._asking = False
        if not self.query("#new-page") or not isinstance(answer, Exchange):
            return
        self._row, self.exchange = row, answer
        self._about("new", figures(answer, self.glyphs, self._now_ns))
        self.query_one("#new-page", Page).show(list(reply_lines(answer, self.glyphs)))

    # Keys

    def action_diff(self) -> None:
        """Compare both."""
        if self.exchange is None:
            self.notify(WAITING, markup=False)
        else:
            self.app.post_message(OpenDiff(self.original.id, self.number))

    def action_inspect(self) -> None:
        """The new one in full."""
        if self.exchange is None:
            self.notify(WAITING, markup=False)
        else:
            self.app.post_message(OpenExchange(self.number))

    def action_again(self) -> None:
        """Another replay of the original."""
        self.dismiss(None)
        self.app.post_message(OpenReplay(self.original.id))

    def action_cancel(self) -> None:
        """End the new one."""
        if self.exchange is not None and self.exchange.state != "running":
            self.notify("It has ended already.", markup=False)
        else:
            self.app.post_message(CancelRequested(self.number))

"""Asks by which way a running exchange is to be ended, shows what would be hit, and then what the server did."""

from __future__ import annotations

from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Static

from nightdesk.model.errors import NightdeskError
from nightdesk.model.inspection import CancelHow, CancelReport, CancelWay, CancelWays
from nightdesk.tui.asks import Ask
from nightdesk.tui.screens.confirm import COLUMNS, ROWS_SHOWN, rows_of
from nightdesk.tui.text import Cell, Part, Tone, content, line
from nightdesk.tui.widgets.grid import Grid
from nightdesk.tui.widgets.sheet import Sheet

KEYS: dict[CancelHow, str] = {"relay": "y", "replay": "y", "process": "P"}


def way_words(way: CancelWay) -> str:
    """What a way does."""
    if way.how == "relay":
        return "closes the connection in the relay. Its client gets an error and goes on."
    if way.how == "replay":
        return "closes the connection of this replay. Nothing else is hit."
    count = len(way.members)
    them = "the client's process" if count == 1 else f"the client's {count} processes"
    return f"stops {them} below: SIGTERM, then SIGKILL after a grace period. Nothing else is hit."


class CancelScreen(Sheet[None]):
    """Stays until the user has read what the server does."""

    DEFAULT_CSS = """
    CancelScreen {
        Grid { margin: 1 0; }
        #ways, #state { height: auto; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "end('gentle')", "close the connection", id="cancel.connection",
                tooltip="Close the client's connection; no process is ended"),
        Binding("P", "end('process')", "stop the process", id="cancel.process",
                tooltip="Stop the process that sent it, with everything below it"),
        Binding("n", "close", "no", id="cancel.no", tooltip="Leave it running"),
    ]  # fmt: skip

    def __init__(self, number: int, about: str) -> None:
        super().__init__()
        self.number = number
        self.about = about
        self.ways: CancelWays | None = None
        self.is_busy = False
        self.report: CancelReport | None = None

    def compose_sheet(self) -> ComposeResult:
        """What it is, the ways, the tree, the outcome."""
        yield Static(id="about", markup=False)
        yield Static(id="ways", markup=False)
        yield Grid(COLUMNS, opens=False, sign=self.glyphs.cursor)
        yield Static(id="state", markup=False)

    def on_mount(self) -> None:
        """Ask which ways there are."""
        title = Cell(str(self.number), "strong")
        self.show_title(line(Cell(f"{self.glyphs.warn} End exchange ", "bad"), title, "?"))
        self.query_one("#about", Static).update(line(Cell(self.about, "muted")))
        self.query_one(Grid).display = False
        self._ask_ways()

    def _ask_ways(self) -> None:
        number = self.number
        self.post_message(Ask(lambda engine: engine.ways_to_cancel(number), self._take_ways))

    def _take_ways(self, answer: Any | NightdeskError) -> None:
        if not self.query("#state"):
            return
        if not isinstance(answer, CancelWays):
            self._say(Cell(str(answer), "bad"))
            return
        self.ways = answer
        if not answer.running:
            self.query_one("#ways", Static).update("")
            self.query_one(Grid).display = False
            self._say(Cell(f"{self.glyphs.done} It has ended already: there is nothing to end.", "ok"))
        else:
            self._show_ways(answer)
        self.refresh_bindings()

    def _show_ways(self, found: CancelWays) -> None:
        parts: list[Part] = ["\n"]
        for way in found.ways:
            if way.possible:
                parts += [Cell(KEYS[way.how], "accent"), f" {way_words(way)}\n"]
            else:
                parts += [Cell(f"{self.glyphs.idle} {way.reason}\n", "faint")]
        if not any(way.possible for way in found.ways):
            parts.append(Cell("Nothing here can end it; it ends with its client.", "warn"))
        else:
            parts.append(Cell("Afterwards the server is watched for some seconds.", "muted"))
        self.query_one("#ways", Static).update(content(*parts))
        members = next((way.members for way in found.ways if way.members), ())
        grid = self.query_one(Grid)
        grid.display = bool(members)
        grid.styles.height = min(len(members), ROWS_SHOWN) + 1
        grid.show_rows(rows_of(members))

    def _say(self, *parts: Part) -> None:
        self.query_one("#state", Static).update(content("\n", *parts))

    # Keys

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Only ways that are open have a key, and only until one was taken."""
        if action != "end":
            return True
        return self._way(str(parameters[0])) is not None and not self.is_busy

    def _way(self, which: str) -> CancelWay | None:
        ways = self.ways.ways if self.ways is not None else ()
        is_process = which == "process"
        return next((way for way in ways if way.possible and (way.how == "process") == is_process), None)

    def action_end(self, which: str) -> None:
        """End it by this way, and watch."""
        way = self._way(which)
        if way is None or self.is_busy:
            return
        self.is_busy = True
        self.refresh_bindings()
        self._say(
            Cell(f"{self.glyphs.run} Ending it, then watching what the server does {self.glyphs.cut}", "ok")
        )
        number, how = self.number, way.how
        self.post_message(Ask(lambda engine: engine.cancel(number, how), self._take_report))

    def _take_report(self, answer: Any | NightdeskError) -> None:
        if not self.query("#state"):
            if isinstance(answer, CancelReport):
                self.app.notify(line(f"Exchange {self.number}: {answer.message}").plain, markup=False)
            return
        if not isinstance(answer, CancelReport):
            self.is_busy = False
            self._say(Cell(f"{self.glyphs.fail} {answer}", "bad"))
            # It may have ended while the user was reading: then its ways are closed.
            self._ask_ways()
            return
        self.report = answer
        sign = self.glyphs.done if answer.ended else self.glyphs.warn
        tones: dict[bool | None, Tone] = {True: "ok", False: "bad", None: "warn"}
        self.show_title(
            line("Exchange ", Cell(str(self.number), "strong"), " has ended" if answer.ended else "")
        )
        self._say(
            Cell(f"{sign} ", "ok" if answer.ended else "warn"),
            Cell(answer.message, tones[answer.server_stopped]),
        )

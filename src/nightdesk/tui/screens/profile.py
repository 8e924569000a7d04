"""Where the time of the exchanges went: sums by model and by job, advice, and the ones that stand out."""

from __future__ import annotations

from typing import Any, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Input, Static

from nightdesk.core.foreign import safe_line
from nightdesk.model.errors import NightdeskError
from nightdesk.model.profile import Profile
from nightdesk.tui.asks import Ask, FilterTraffic, OpenExchange
from nightdesk.tui.screens.profile_rows import BAR, COLUMNS, group_at, legend, parts_bar, rows_of, summary
from nightdesk.tui.text import Cell, content, line
from nightdesk.tui.widgets.facts import Facts, Row
from nightdesk.tui.widgets.field import Field
from nightdesk.tui.widgets.grid import Grid, layout_columns
from nightdesk.tui.widgets.sheet import Sheet

ADVICE_SHOWN = 6


class ProfileScreen(Sheet[None]):
    """The profile of the exchanges that match a query."""

    TALL = True
    DEFAULT_CSS = """
    ProfileScreen {
        & > #sheet { width: 100%; max-width: 100%; height: 100%; max-height: 100%; }
        & > #sheet.-tall { height: 100%; }
        #query { display: none; }
        #query.-open { display: block; }
        #summary { height: auto; max-height: 3; }
        #whole { height: 1; text-wrap: nowrap; }
        #legend { height: auto; max-height: 2; text-wrap: nowrap; }
        #advice { height: auto; max-height: 40%; margin: 1 0 0 0; }
        #profile-grid { margin-top: 1; }
        KeyLine { margin-top: 0; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "s", "leader('slowest')", "slowest", id="profile.slowest", tooltip="Open the slowest of this line"
        ),
        Binding(
            "b", "leader('biggest')", "biggest", id="profile.biggest", tooltip="Open the biggest of this line"
        ),
        Binding(
            "slash", "ask", "filter", key_display="/", id="profile.filter", tooltip="Profile other exchanges"
        ),
        Binding("r", "again", "again", id="profile.again", tooltip="Refresh, with newer exchanges"),
    ]

    def __init__(self, query: str = "") -> None:
        super().__init__()
        self.wanted = query
        self.profile: Profile | None = None

    def compose_sheet(self) -> ComposeResult:
        """Sums, advice, table."""
        yield Field(placeholder="model:qwen since:2h job:transcribe", compact=True, id="query")
        yield Static(id="summary", markup=False)
        yield Static(id="whole", markup=False)
        yield Static(id="legend", markup=False)
        yield Static(id="advice", markup=False)
        yield Grid(COLUMNS, sign=self.glyphs.cursor, id="profile-grid")

    def on_mount(self) -> None:
        """Ask at once."""
        self.query_one(Grid).focus()
        self._fetch()

    # Data

    def _fetch(self) -> None:
        wanted = self.wanted
        if self.profile is None:
            self.query_one("#summary", Static).update(line(Cell("Adding up …", "muted")))
        self._show_title()
        self.post_message(
            Ask(lambda engine: engine.profile(wanted), lambda answer: self._take(wanted, answer))
        )

    def _take(self, wanted: str, answer: Any | NightdeskError) -> None:
        if not self.is_mounted or wanted != self.wanted:
            return
        if isinstance(answer, Profile):
            self.profile = answer
            self._draw()
        else:
            self.profile = None
            words = str(answer) if isinstance(answer, NightdeskError) else f"Not a profile: {answer!r}"
            self._clear(Cell(f"{self.glyphs.fail} {words}", "bad"))

    # Drawing

    def _show_title(self) -> None:
        whose = Cell(self.wanted, "accent") if self.wanted else Cell("all exchanges", "muted")
        self.show_title(line(Cell("Profile", "strong"), "  ", whose))

    def _clear(self, words: Cell) -> None:
        self.query_one("#summary", Static).update(content(words))
        for name in ("whole", "legend", "advice"):
            self.query_one(f"#{name}", Static).update("")
        self.query_one(Grid).show_rows([])

    @on(Grid.Resized)
    def _draw(self) -> None:
        made = self.profile
        if made is None or not self.is_mounted:
            return
        if not made.total.count:
            nothing = (
                "No exchange matches. / changes the filter." if made.query else "No exchange is recorded yet."
            )
            self._clear(Cell(nothing, "muted"))
            return
        grid = self.query_one(Grid)
        self.query_one("#summary", Static).update(line(*summary(made, self.glyphs)))
        self.query_one("#whole", Static).update(
            line(parts_bar(made.total.parts, grid.size.width, self.glyphs))
        )
        self.query_one("#legend", Static).update(
            content(*legend(made.total.parts, grid.size.width, self.glyphs))
        )
        self.query_one("#advice", Static).update(Facts(self._advice(made)))
        placed = layout_columns(COLUMNS, grid.room, len(grid.sign))
        width = next((width for index, _, width in placed if index == BAR), 0)
        grid.show_rows(rows_of(made, width, self.glyphs))
        if grid.cursor == 0:
            grid.cursor = 1

    def _advice(self, made: Profile) -> list[Row]:
        if not made.advice:
            return [Row((("Nothing stands out: no advice.", "muted"),))]
        sign = f"{self.glyphs.verdict} "
        return [
            Row(((sign, "warn"), (safe_line(advice.text), "")), len(sign))
            for advice in made.advice[:ADVICE_SHOWN]
        ]

    # Keys

    @on(Grid.Opened)
    def _opened(self, event: Grid.Opened) -> None:
        made, key = self.profile, event.key
        group = group_at(made, key) if made else None
        if group is not None:
            self.app.post_message(FilterTraffic(group.query))
        elif isinstance(key, tuple) and key[0] == "exchange":
            self.app.post_message(OpenExchange(key[2]))
        elif isinstance(key, tuple) and key[0] == "verdict":
            self.app.post_message(FilterTraffic(key[1]))

    def action_leader(self, which: str) -> None:
        """Open the slowest or biggest exchange of the line under the cursor."""
        made, key = self.profile, self.query_one(Grid).cursor_key
        if made is None:
            return
        group = group_at(made, key)
        if group is None and isinstance(key, tuple) and key[0] in ("exchange", "verdict"):
            self.app.post_message(OpenExchange(key[2]))
            return
        leader = getattr(group or made.total, which)
        if leader is None:
            self.notify("Nothing is known about these.", markup=False)
        else:
            self.app.post_message(OpenExchange(leader.exchange))

    def action_again(self) -> None:
        """Add up again."""
        self._fetch()

    def action_ask(self) -> None:
        """Type another query."""
        field = self.query_one("#query", Input)
        field.value = self.wanted
        field.add_class("-open")
        field.focus()

    @on(Input.Submitted, "#query")
    def _asked(self, event: Input.Submitted) -> None:
        self.wanted = event.value.strip()
        self._close_field()
        self._fetch()

    def _close_field(self) -> None:
        self.query_one("#query", Input).remove_class("-open")
        self.query_one(Grid).focus()

    def action_close(self) -> None:
        """Close the line that is typed in, else the screen."""
        if self.query_one("#query", Input).has_class("-open"):
            self._close_field()
        else:
            super().action_close()

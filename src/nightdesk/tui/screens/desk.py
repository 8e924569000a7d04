"""The desk: five panes, arranged by mode and by the size of the terminal.

At 100 columns and more several panes at once; below, one pane with a strip of tabs. Modes only decide which panes
are shown and how large: each pane exists once, so cursor and filter survive a change of mode.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.screen import Screen
from textual.widgets import Static

from nightdesk.client.mirror import Mirror
from nightdesk.tui.asks import FeedRequested
from nightdesk.tui.first_picture import LEAST_HEIGHT, LEAST_WIDTH, TABS_BELOW_HEIGHT, TABS_BELOW_WIDTH
from nightdesk.tui.link import LinkState
from nightdesk.tui.panes.accelerators import AcceleratorsPane
from nightdesk.tui.panes.jobs import JobsPane
from nightdesk.tui.panes.logs import LogsPane
from nightdesk.tui.panes.pane import Pane
from nightdesk.tui.panes.processes import ProcessesPane
from nightdesk.tui.panes.traffic import TrafficPane
from nightdesk.tui.text import line
from nightdesk.tui.widgets.header import HeaderLine, HeaderView
from nightdesk.tui.widgets.keyline import KeyLine
from nightdesk.tui.widgets.tabs import TabStrip

MODES: Mapping[str, tuple[int, ...]] = {
    "desk": (1, 2, 3, 4, 5),
    "traffic": (3,),
    "jobs": (1, 5),
    "machine": (4, 2),
    "logs": (5,),
}
"""Mode → numbers of its panes; the first one gets the focus."""
ZOOMED: Mapping[str, tuple[str, int]] = {"accelerators": ("machine", 2)}
"""What a viewer may begin with besides a mode → the mode, and the pane of it that fills the screen."""


class DeskScreen(Screen[None]):
    """All panes of the desk."""

    AUTO_FOCUS = ""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("z", "zoom", "zoom", id="desk.zoom"),
        Binding("tab", "next_pane(1)", "Next pane", show=False, id="desk.next_pane"),
        Binding("shift+tab", "next_pane(-1)", "Previous pane", show=False, id="desk.pane_before"),
        *(
            Binding(str(number), f"pane({number})", f"Pane {number}", show=False, id=f"desk.pane{number}")
            for number in range(1, 6)
        ),
        *(
            Binding(mode[0].upper(), f"mode('{mode}')", f"Mode: {mode}", show=False, id=f"mode.{mode}")
            for mode in MODES
        ),
    ]

    def __init__(self, mode: str = "desk") -> None:
        super().__init__()
        mode, pane = ZOOMED.get(mode, (mode, 0))
        self.mode = mode if mode in MODES else "desk"
        self.add_class(f"-{self.mode}", update=False)
        self.current = pane or MODES[self.mode][0]
        """Number of the pane that has the focus, or had it last."""
        self.zoomed = bool(pane)
        self._gone = False
        """Whether a pane has been gone to."""

    def compose(self) -> ComposeResult:
        """The header, three rows of panes, the keys."""
        yield HeaderLine(id="header")
        yield TabStrip(id="tabs")
        with Horizontal(id="top"):
            yield JobsPane()
            yield AcceleratorsPane()
        with Horizontal(id="middle"):
            yield TrafficPane()
        with Horizontal(id="bottom"):
            yield ProcessesPane()
            yield LogsPane()
        yield Static(id="too-small", markup=False)
        yield KeyLine(id="keys")

    @property
    def panes(self) -> dict[int, Pane[Any]]:
        """All panes by number."""
        return {pane.NUMBER: pane for pane in self.query(Pane)}

    def on_mount(self) -> None:
        """Arrange, and put the focus on the first pane."""
        self.show_panes()
        self.call_after_refresh(self._begin, self.current)

    def _begin(self, number: int) -> None:
        """Go to the first pane, unless a key has already said where to go."""
        if not self._gone:
            self.action_pane(number)

    def feed(self, desk: Mirror | None, header: HeaderView, link: LinkState, now_ns: int) -> None:
        """Give all shown panes the desk as it is now."""
        for line_above in self.query(HeaderLine):
            line_above.view = header
        for pane in self.query(Pane):
            pane.feed(desk, link, now_ns)

    def feed_fast(self, desk: Mirror, link: LinkState, now_ns: int) -> None:
        """Give the desk to the panes that follow a growing reply."""
        for pane in self.query(Pane):
            if pane.FAST:
                pane.feed(desk, link, now_ns)

    # Arrangement

    def on_resize(self, event: events.Resize) -> None:
        """Another size may mean another arrangement."""
        self.show_panes()
        if self._gone:
            self.call_after_refresh(self._focus_again)

    def _focus_again(self) -> None:
        """Hidden widgets lose the focus; without one no key of a pane works."""
        if self.focused is None and self.panes[self.current].is_on_screen:
            self.panes[self.current].focus_body()

    def show_panes(self) -> None:
        """Show the panes that fit the mode and the size."""
        width, height = self.app.size
        small = width < LEAST_WIDTH or height < LEAST_HEIGHT
        self.query_one("#too-small", Static).update(
            line(f"Nightdesk needs at least {LEAST_WIDTH}×{LEAST_HEIGHT}; this terminal is {width}×{height}.")
        )
        tabs = self._one_at_a_time()
        looks = {"-small": small, "-tabs": tabs, "-zoomed": self.zoomed, "-low": height < 32}
        self._set_looks(looks | {f"-{mode}": mode == self.mode for mode in MODES})
        shown = set(self._shown())
        for pane in self.query(Pane):
            if pane.display != (pane.NUMBER in shown):
                pane.display = pane.NUMBER in shown
        for row in self.query("DeskScreen > Horizontal"):
            row.display = not small and any(pane.display for pane in row.query(Pane))
        names = [(number, self.panes[number].TITLE.split()[-1].capitalize()) for number in range(1, 6)]
        self.query_one(TabStrip).show(names, self.current)
        self.app.post_message(FeedRequested())

    def _set_looks(self, looks: Mapping[str, bool]) -> None:
        """All classes at once: each change by itself would match every widget against the style sheet again."""
        changed = [name for name, wanted in looks.items() if wanted != self.has_class(name)]
        for name in changed:
            self.set_class(looks[name], name, update=False)
        if changed:
            self.update_node_styles()

    def _one_at_a_time(self) -> bool:
        width, height = self.app.size
        return width < TABS_BELOW_WIDTH or height < TABS_BELOW_HEIGHT

    def _shown(self) -> tuple[int, ...]:
        return (self.current,) if self.zoomed or self._one_at_a_time() else MODES[self.mode]

    @on(TabStrip.Chosen)
    def _tab_chosen(self, event: TabStrip.Chosen) -> None:
        self.action_pane(event.number)

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """Remember which pane has the focus."""
        pane = next((node for node in event.widget.ancestors_with_self if isinstance(node, Pane)), None)
        if pane is not None:
            self.current = pane.NUMBER

    # Keys

    def action_pane(self, number: int) -> None:
        """Go to a pane; a pane that the mode does not show brings back the whole desk."""
        self.current, self._gone = number, True
        if number not in MODES[self.mode]:
            self.mode = "desk"
        self.show_panes()
        self.panes[number].focus_body()

    def action_next_pane(self, step: int) -> None:
        """Go to the next pane on the screen (of all panes where only one is shown)."""
        around = sorted(MODES[self.mode]) if len(self._shown()) > 1 else [1, 2, 3, 4, 5]
        at = around.index(self.current) if self.current in around else 0
        self.action_pane(around[(at + step) % len(around)])

    def action_zoom(self) -> None:
        """Show only the current pane, or all of the mode again."""
        self.zoomed = not self.zoomed
        self.show_panes()
        self.panes[self.current].focus_body()

    def action_mode(self, mode: str) -> None:
        """Show the panes of a mode."""
        self.mode, self.zoomed = mode, False
        self.action_pane(MODES[mode][0])

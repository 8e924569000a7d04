"""The viewer: draws what the engine says, asks what the user wants, harms nothing when it ends."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, ClassVar

from textual.app import App
from textual.binding import Binding, BindingType
from textual.filter import LineFilter

from nightdesk.client.desk import Desk
from nightdesk.model.errors import NightdeskError
from nightdesk.tui import themes
from nightdesk.tui.asks import Ask, FeedRequested
from nightdesk.tui.glyphs import ASCII, UNICODE, PlainFilter, SafeFilter
from nightdesk.tui.link import Engine, Link
from nightdesk.tui.screens.desk import DeskScreen
from nightdesk.tui.text import line, tone_css
from nightdesk.tui.widgets.header import select as select_header

TICK_SECONDS = 0.2
TICKS_PER_PULSE = 5
URGENT_NS = 2 * 10**9
"""So long after a user's action, changes are drawn at once."""


class Viewer(App[int]):
    """One screen with five panes, and what lies over it."""

    TITLE = "nightdesk"
    CSS_PATH = "screens/desk.tcss"
    """Of the first screen: Textual loads a default screen without its own file."""
    CSS = tone_css()
    ENABLE_COMMAND_PALETTE = True
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("question_mark,f1", "help", "help", key_display="?", id="app.help"),
        Binding("ctrl+p", "command_palette", "palette", key_display="^p", priority=True, id="app.palette"),
        Binding("q", "leave", "leave (runs go on)", id="app.quit"),
        Binding("ctrl+q", "leave", "Leave", show=False, priority=True, id="app.quit_always"),
        Binding("ctrl+r", "retry", "Attach to the engine again", show=False, id="app.retry"),
        Binding("f8", "mouse", "Release or take the mouse", show=False, id="app.mouse"),
    ]

    def __init__(
        self,
        name: str,
        opened: Callable[[], Engine],
        *,
        theme: str | None = None,
        ascii: bool = False,  # noqa: A002 - the option's name
        mode: str = "desk",
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        """``opened`` blocks until there is an engine. ``clock`` gives nanoseconds since the epoch."""
        self.glyphs = ASCII if ascii else UNICODE
        self._line_filters: list[LineFilter] = [SafeFilter()]
        if ascii:
            self._line_filters.append(PlainFilter(strict=False))
        super().__init__()
        self.desk_name = name
        self.link = Link(opened, self._told)
        self.clock = clock
        self.mode_at_start = mode
        self.theme_at_start = theme
        self._ticks = 0
        self._urgent_until = 0

    def get_line_filters(self) -> list[LineFilter]:
        """Textual's own filters behind ours."""
        return [*self._line_filters, *super().get_line_filters()]

    def get_default_screen(self) -> DeskScreen:
        """The desk."""
        return DeskScreen(self.mode_at_start)

    @property
    def desk_screen(self) -> DeskScreen:
        """The screen below all others."""
        screen = self.screen_stack[0]
        assert isinstance(screen, DeskScreen)
        return screen

    def on_mount(self) -> None:
        """Themes, then the link; the first picture does not wait for it."""
        loaded, problems = themes.load_themes(themes.shipped_folder(), themes.user_folder())
        for theme in loaded:
            self.register_theme(theme)
        self.theme = themes.DEFAULT
        for problem in problems:
            self.tell(problem, severity="warning")
        self.set_interval(TICK_SECONDS, self._tick)
        self.call_after_refresh(self._start_link)

    def _start_link(self) -> None:
        self.run_worker(self.link.follow(), name="link", exit_on_error=False)

    # Drawing

    def _told(self) -> None:
        if self.clock() < self._urgent_until or self.link.state.kind != "live" or self._ticks == 0:
            self.post_message(FeedRequested())

    def _tick(self) -> None:
        self._ticks += 1
        if self._ticks % TICKS_PER_PULSE == 0:
            self._feed()
        elif self.link.streaming and self.link.mirror is not None:
            self.desk_screen.feed_fast(self.link.mirror, self.link.state, self.clock())
            self.link.settle()

    def on_feed_requested(self) -> None:
        """Draw now."""
        self._feed()

    def _feed(self) -> None:
        now_ns, mirror, state = self.clock(), self.link.mirror, self.link.state
        header = select_header(mirror, self.desk_name, state, now_ns, self.glyphs)
        self.desk_screen.feed(mirror, header, state, now_ns)
        self.link.settle()

    def tell(self, message: str, hint: str = "", severity: Any = "information") -> None:
        """A notice in the corner, without markup and harmless."""
        self.notify(line(message, " " if hint else "", hint).plain, severity=severity, markup=False)

    async def on_ask(self, message: Ask) -> None:
        """Ask the engine, and hand the answer back."""
        self.run_worker(self._serve(message), exit_on_error=False)

    async def _serve(self, ask: Ask) -> None:
        self._urgent_until = self.clock() + URGENT_NS
        try:
            if self.link.engine is None:
                raise NightdeskError("The engine does not answer.", "Press ctrl+r to attach to it again.")
            answer = await ask.call(self.link.engine)
        except NightdeskError as error:
            answer = error
        ask.reply(answer)

    def action_leave(self) -> None:
        """Leave the viewer; engine and runs go on."""
        self.exit(0)


def run_viewer(
    desk: Desk,
    *,
    theme: str | None = None,
    ascii: bool = False,  # noqa: A002 - the option's name
    mode: str = "desk",
    flags: tuple[str, ...] = (),
) -> int:
    """Show the desk until the user leaves; the exit status. ``flags`` go to an engine that has to be started."""

    def opened() -> Engine:
        from nightdesk.client.api import AsyncEngine
        from nightdesk.client.launch import ensure_engine

        ensure_engine(desk, flags)
        return AsyncEngine(desk.socket)

    viewer = Viewer(desk.name, opened, theme=theme, ascii=ascii, mode=mode)
    return viewer.run(mouse=desk.config.viewer.mouse) or 0

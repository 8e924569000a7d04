"""The viewer: draws what the engine says, asks what the user wants, harms nothing when it ends."""

from __future__ import annotations

import gc
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from textual.app import App
from textual.binding import Binding, BindingType
from textual.dom import DOMNode
from textual.filter import LineFilter, Monochrome, NoColor
from textual.worker import Worker, WorkerState

from nightdesk.model.base import prepare_nouns
from nightdesk.model.errors import NightdeskError
from nightdesk.model.job import ENDED
from nightdesk.tui import asks, orders, terminal, theme_files, themes
from nightdesk.tui.glyphs import ASCII, UNICODE, PlainFilter, SafeFilter
from nightdesk.tui.guard import guard_is_gone
from nightdesk.tui.keymap import check_keymap
from nightdesk.tui.link import Engine, Link
from nightdesk.tui.panes.logs import LogsPane
from nightdesk.tui.screens.desk import DeskScreen
from nightdesk.tui.text import line, tone_css
from nightdesk.tui.widgets.header import select as select_header
from nightdesk.tui.widgets.sheet import Sheet

if TYPE_CHECKING:
    from textual.command import Provider

TICK_SECONDS = 0.2
TICKS_PER_PULSE = 5
URGENT_NS = 2 * 10**9
"""So long after a user's action, changes are drawn at once."""

KEY_WORDS = {"⏎": "enter", "↑": "up", "↓": "down", "←": "left", "→": "right", "␣": "space", "⌫": "backspace"}

Severity = Literal["information", "warning", "error"]


def _commands() -> type[Provider]:
    # Loaded when first asked for, like help, inspector and job: a fifth of the time to the first picture.
    from nightdesk.tui.commands import NightdeskCommands

    return NightdeskCommands


def hindsight() -> ModuleType:
    """What looks back over exchanges; loaded when first asked for."""
    from nightdesk.tui import hindsight

    return hindsight


def exchanges() -> ModuleType:
    """What is done with exchanges; loaded when first asked for."""
    from nightdesk.tui import exchanges

    return exchanges


def runs() -> ModuleType:
    """What is done with runs and their items; loaded when first asked for."""
    from nightdesk.tui import runs

    return runs


class Viewer(App[int]):
    """One screen with five panes, and what lies over it."""

    TITLE = "nightdesk"
    CSS_PATH = "screens/desk.tcss"
    """Of the first screen: Textual loads a default screen without its own file."""
    CSS = tone_css()
    COMMANDS: ClassVar[set[Any]] = {_commands}
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("question_mark,f1", "help", "help", key_display="?", id="app.help"),
        Binding("ctrl+p,colon", "command_palette", "palette", key_display="^p", id="app.palette"),
        Binding("q", "leave", "leave (runs go on)", id="app.quit"),
        Binding("ctrl+q", "leave", "Leave", show=False, id="app.quit_always"),
        Binding("ctrl+r", "retry", "Attach to the engine again", show=False, id="app.retry"),
        Binding("f8", "mouse", "Release or take the mouse", show=False, id="app.mouse"),
    ]

    def __init__(
        self,
        name: str,
        opened: Callable[[], Engine],
        *,
        theme: str = themes.DEFAULT,
        ascii: bool = False,  # noqa: A002 - the option's name
        mode: str = "desk",
        keys: Mapping[str, str] | None = None,
        utf8: bool = True,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        """``opened`` blocks until there is an engine. ``clock`` gives nanoseconds since the epoch."""
        plain = ascii or not utf8
        self.glyphs = ASCII if plain else UNICODE
        self._line_filters: list[LineFilter] = [SafeFilter()]
        if plain:
            self._line_filters.append(PlainFilter(strict=not utf8))
        self._greys, self._no_color = Monochrome(), NoColor()
        super().__init__()
        self.desk_name = name
        self.link = Link(opened, self._told)
        self.clock = clock
        self._at_start = (theme, mode, dict(keys or {}), utf8)
        self._ticks = 0
        self._urgent_until = 0
        self._clashes: set[frozenset[str]] = set()
        self._mouse_taken = True
        self.passing = ""
        """What this viewer shows, where nothing goes on when it is left."""
        self.marked_exchange: int | None = None
        """The left side of the next diff."""
        self.verdicts_seen = 0
        """Of those since the engine began, so many the user has looked at."""
        self.terminal: int | None = None
        """The descriptor that keys come from, once the viewer runs on a terminal."""

    def show_passing(self, what: str) -> None:
        """Nothing goes on when this viewer is left: it shows a file."""
        self.passing = what
        keys = self._bindings.key_to_bindings
        keys["q"] = [replace(binding, description="leave") for binding in keys["q"]]

    # Start

    def get_line_filters(self) -> list[LineFilter]:
        """Ours first, so that nothing after them sees a control character."""
        theirs = super().get_line_filters()
        if self.no_color:
            # Textual chooses once, before a theme is known: greys for the terminal's own colours would be all black.
            plain = self._no_color if self.native_ansi_color else self._greys
            theirs = [plain if isinstance(each, Monochrome | NoColor) else each for each in theirs]
        return [*self._line_filters, *theirs]

    def get_default_screen(self) -> DeskScreen:
        """The desk."""
        return DeskScreen(self._at_start[1])

    @property
    def desk_screen(self) -> DeskScreen:
        """The screen below all others."""
        screen = self.screen_stack[0]
        assert isinstance(screen, DeskScreen)
        return screen

    def on_mount(self) -> None:
        """Themes, keys, signals, then the link; the first picture does not wait for it."""
        self._prepare_looks()
        self._prepare_keys()
        if not self.is_headless:
            self.terminal = terminal.terminal_descriptor()
        terminal.follow_signals(self._leave_now)
        self.set_interval(TICK_SECONDS, self._tick)
        self.call_after_refresh(self._settle)

    def _prepare_looks(self) -> None:
        loaded, problems = themes.load_themes(theme_files.shipped_folder(), theme_files.user_folder())
        for theme in loaded:
            self.register_theme(theme)
        self.theme = themes.DEFAULT if themes.DEFAULT in self.available_themes else "textual-dark"
        self.use_theme(self._at_start[0])
        for problem in problems:
            self.tell(problem, severity="warning")
        if not self._at_start[3]:
            self.tell(
                "The locale is not UTF-8, so symbols are drawn in ASCII.", "LC_ALL=C.UTF-8 brings them back."
            )

    def _prepare_keys(self) -> None:
        keymap, problems = check_keymap(self._at_start[2])
        self.set_keymap(keymap)
        for problem in problems:
            self.tell(problem, severity="warning")

    def use_theme(self, name: str) -> None:
        """Change the colours; an unknown name is a notice."""
        if name in self.available_themes:
            self.theme = name
        else:
            self.tell(f"There is no theme {name!r}.", "ctrl+p and “theme” lists them.", severity="warning")

    def get_key_display(self, binding: Binding) -> str:
        """The key as written on the screen; in words where signs are plain."""
        display = super().get_key_display(binding)
        return KEY_WORDS.get(display, display) if self.glyphs is ASCII else display

    def handle_bindings_clash(self, clashed_bindings: set[Binding], node: DOMNode) -> None:
        """Say once that the user's keys took a key away."""
        names = frozenset(binding.id or binding.action for binding in clashed_bindings)
        if names not in self._clashes:
            self._clashes.add(names)
            self.tell(f"[viewer.keys] takes the key of {', '.join(sorted(names))}.", severity="warning")

    def _settle(self) -> None:
        """After the first picture: garbage is collected again, but what was loaded at the start is no garbage."""
        gc.freeze()
        gc.enable()
        prepare_nouns()
        self._start_link()

    def _start_link(self) -> None:
        self.run_worker(self.link.follow(), name="link", exit_on_error=False)

    async def on_unmount(self) -> None:
        """Let go of the engine."""
        await self.link.close()

    # Drawing

    def _told(self) -> None:
        if self.clock() < self._urgent_until or self.link.state.kind != "live" or not self.link.drawn:
            self.post_message(asks.FeedRequested())

    def _tick(self) -> None:
        self._ticks += 1
        if self._ticks % TICKS_PER_PULSE == 0:
            self._feed()
            if terminal.is_gone(self.terminal) or guard_is_gone():
                self._leave_now(129)
        elif self.is_running and self.link.streaming and self.link.mirror is not None:
            self.desk_screen.feed_fast(self.link.mirror, self.link.state, self.clock())
            self.link.settle()

    def _leave_now(self, status: int) -> None:
        """Leave although nobody may be there to see it: a dead terminal must not hold the process."""
        if not self.is_headless:
            terminal.end_soon(status)
        self.exit(status)

    def on_feed_requested(self) -> None:
        """Draw now."""
        self._feed()

    def _feed(self) -> None:
        if not self.is_running or not self.screen_stack:
            return  # the viewer is ending, and its screens lose their parts one by one
        now_ns, mirror, state = self.clock(), self.link.mirror, self.link.state
        header = select_header(mirror, self.desk_name, state, now_ns, self.glyphs, self.verdicts_seen)
        self.desk_screen.feed(mirror, header, state, now_ns)
        for screen in self.screen_stack[1:]:
            if isinstance(screen, Sheet):
                screen.feed(mirror, now_ns)
        is_first = mirror is not None and not self.link.drawn
        self.link.settle()
        if is_first:
            gc.freeze()  # and the link with all that it loaded: a collection looks only at what came later

    def tell(self, message: str, hint: str = "", severity: Severity = "information") -> None:
        """A notice in the corner, without markup and harmless."""
        self.notify(line(message, " " if hint else "", hint).plain, severity=severity, markup=False)

    # Asking the engine

    @property
    def engine(self) -> Engine:
        """The engine. Raises NightdeskError where none answers."""
        return orders.engine_of(self)

    def _order(self, work: Awaitable[None]) -> None:
        self._urgent_until = self.clock() + URGENT_NS
        self.run_worker(orders.guarded(self, work), exit_on_error=False)

    def on_processes_requested(self, message: asks.ProcessesRequested) -> None:
        """Show, signal or end processes."""
        from nightdesk.tui.processes import carry_out

        self._order(carry_out(self, message))

    def on_run_action_requested(self, message: asks.RunActionRequested) -> None:
        """Change a run."""
        self._order(orders.run_action(self, message))

    def on_start_requested(self, message: asks.StartRequested) -> None:
        """Start a run."""
        self._order(orders.start(self, message))

    def on_single_requested(self, message: asks.SingleRequested) -> None:
        """Run one item alone."""
        self._order(runs().single(self, message.job))

    def on_open_items(self, message: asks.OpenItems) -> None:
        """Show the items of a run."""
        runs().open_items(self, message.run)

    def on_open_trial(self, message: asks.OpenTrial) -> None:
        """Show a run of a single item, or a dry run."""
        runs().open_trial(self, message.run)

    def on_open_failure(self, message: asks.OpenFailure) -> None:
        """Show why something failed."""
        from nightdesk.tui.screens.failure import FailureScreen

        self.push_screen(FailureScreen(message.run, message.item))

    def on_open_outputs(self, message: asks.OpenOutputs) -> None:
        """Show the outputs of a job."""
        from nightdesk.tui.screens.outputs import OutputsScreen

        self.push_screen(OutputsScreen(message.job))

    def on_open_whisper(self, message: asks.OpenWhisper) -> None:
        """Show the transcriptions of a run."""
        from nightdesk.tui.screens.whisper import WhisperScreen

        self.push_screen(WhisperScreen(message.run))

    def on_retry_requested(self, message: asks.RetryRequested) -> None:
        """Do again what failed."""
        self._order(runs().retry(self, message.run))

    def on_open_job(self, message: asks.OpenJob) -> None:
        """Show a job."""
        from nightdesk.tui.screens.job import JobScreen

        self.push_screen(JobScreen(message.job))

    def on_open_graph(self, message: asks.OpenGraph) -> None:
        """Show what waits for what."""
        from nightdesk.tui.screens.graph import GraphScreen

        self.push_screen(GraphScreen(message.job))

    def on_verdicts_seen(self) -> None:
        """The header need not tell of what the user has looked at."""
        if self.link.mirror:
            self.verdicts_seen = self.link.mirror.counts.verdicts
            self._feed()

    def on_open_exchange(self, message: asks.OpenExchange) -> None:
        """Show an exchange."""
        from nightdesk.tui.screens.inspector import InspectorScreen

        row = self.link.mirror.exchanges.get(message.id) if self.link.mirror else None
        if row and row.verdicts:
            self.on_verdicts_seen()
        self.push_screen(InspectorScreen(message.id))

    def on_open_profile(self, message: asks.OpenProfile) -> None:
        """Show where the time went."""
        self._order(hindsight().open_profile(self, message.query))

    def on_open_conversation(self, message: asks.OpenConversation) -> None:
        """Show what a client and a model said to each other."""
        self._order(hindsight().open_conversation(self, message.id))

    def on_filter_traffic(self, message: asks.FilterTraffic) -> None:
        """Show the list of exchanges, filtered."""
        hindsight().filter_traffic(self, message.query)

    def on_feedback_given(self, message: asks.FeedbackGiven) -> None:
        """Record what the user thinks of an exchange."""
        self._order(hindsight().give_feedback(self, message))

    def on_open_note(self, message: asks.OpenNote) -> None:
        """Write a note on an exchange."""
        self._order(hindsight().write_note(self, message.id))

    def on_mark_for_diff(self, message: asks.MarkForDiff) -> None:
        """Keep the left side of the next diff."""
        exchanges().mark(self, message.id)

    def on_open_diff(self, message: asks.OpenDiff) -> None:
        """Compare two exchanges."""
        self._order(exchanges().open_diff(self, message))

    def on_open_replay(self, message: asks.OpenReplay) -> None:
        """Send a request again."""
        self._order(exchanges().open_replay(self, message.id))

    def on_open_comparison(self, message: asks.OpenComparison) -> None:
        """Send a request to several models."""
        self._order(exchanges().open_comparison(self, message.id))

    def on_cancel_requested(self, message: asks.CancelRequested) -> None:
        """End a running exchange."""
        self._order(exchanges().cancel(self, message.id))

    def on_open_log(self, message: asks.OpenLog) -> None:
        """Show a log file in the logs pane."""
        if message.at_ns is not None:
            self.desk_screen.action_mode("logs")
        self.desk_screen.query_one(LogsPane).show_log(message.id, message.at_ns)
        self.desk_screen.action_pane(LogsPane.NUMBER)

    def on_ask(self, message: asks.Ask) -> None:
        """Ask the engine, and hand the answer back."""
        self.run_worker(self._serve(message), exit_on_error=False)

    async def _serve(self, ask: asks.Ask) -> None:
        try:
            answer = await ask.call(self.engine)
        except NightdeskError as error:
            answer = error
        except Exception as error:  # noqa: BLE001 - whoever asked must hear of it, or waits for ever
            answer = NightdeskError(f"The engine's answer can't be used: {error!r}")
        ask.reply(answer)

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """A fault in a worker is told, and nothing else ends."""
        if event.state == WorkerState.ERROR:
            self.tell(f"{event.worker.name or 'A task'} failed: {event.worker.error!r}", severity="error")

    # Keys

    def action_help(self) -> None:
        """Help on the focused pane."""
        if self.screen is self.desk_screen:
            pane = self.desk_screen.panes[self.desk_screen.current]
            from nightdesk.tui.screens.help import HelpScreen, keys_for

            self.push_screen(HelpScreen(pane.TITLE, pane.HELP, keys_for(self.screen)))

    def action_help_quit(self) -> None:
        """ctrl+c: nothing ends, the user learns how to leave."""
        goes_on = "" if self.passing else "; engine and runs go on. Nothing was stopped"
        self.tell(f"q leaves the viewer{goes_on}.")

    def action_retry(self) -> None:
        """Attach to the engine again; starts one where none runs."""
        if self.link.state.kind != "live":
            self.link.retry()

    def action_mouse(self) -> None:
        """Give the mouse to the terminal (to select text there), or take it back."""
        self._mouse_taken = not self._mouse_taken
        driver = self._driver
        name = "_enable_mouse_support" if self._mouse_taken else "_disable_mouse_support"
        switch = getattr(driver, name, None)
        if switch is not None:
            switch()
        self.tell(
            "The mouse works here again." if self._mouse_taken else "The terminal has the mouse; f8 takes it."
        )

    def action_picture(self) -> None:
        """Save the screen as SVG."""
        self.deliver_screenshot()

    def action_leave(self) -> None:
        """Leave the viewer; engine and runs go on."""
        self.exit(0)

    def parting_words(self) -> str:
        """What goes on after the viewer has ended."""
        mirror = self.link.mirror
        if self.passing:
            return f"{self.passing} closed"
        if mirror is None or self.link.state.kind != "live":
            return "viewer closed (nightdesk status)"
        active = sum(run.state not in ENDED for run in mirror.runs.values())
        runs = {0: "", 1: " and 1 run"}.get(active, f" and {active} runs")
        verb = "go" if active else "goes"
        return f"viewer closed; engine{runs} {verb} on (nightdesk status)"

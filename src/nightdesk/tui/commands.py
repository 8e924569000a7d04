"""The palette (ctrl+p): modes, panes, jobs, themes, and the rest that has no key or whose key was forgotten."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.message import Message

from nightdesk.model.job import ENDED, RunAction, StartRun
from nightdesk.tui.asks import (
    OpenGraph,
    OpenJob,
    OpenOutputs,
    OpenProfile,
    OpenWhisper,
    ProcessesRequested,
    RunActionRequested,
    SingleRequested,
    StartRequested,
)
from nightdesk.tui.panes.job_lines import is_whispering
from nightdesk.tui.screens.desk import MODES
from nightdesk.tui.text import line

if TYPE_CHECKING:
    from nightdesk.tui.app import Viewer


class Command(NamedTuple):
    """One line of the palette. ``help`` is a literal of ours; ``words`` may hold foreign names."""

    words: str
    help: str
    run: Callable[[], object]
    listed: bool = True
    """False: only found by typing."""


def commands_of(app: Viewer) -> Iterator[Command]:
    """Every command that makes sense now."""
    desk = app.desk_screen
    for mode in MODES:
        yield Command(f"Mode: {mode}", "Arrange the screen", partial(desk.action_mode, mode))
    yield from _jobs(app)
    for number, pane in sorted(desk.panes.items()):
        yield Command(f"Pane: {pane.TITLE}", "Go there", partial(desk.action_pane, number))
    yield Command("Profile: where the time went", "Of all exchanges", _post(app, OpenProfile()))
    yield Command("Graph: what waits for what", "All jobs and their needs", _post(app, OpenGraph()))
    yield Command("Clean up all orphans", "Shows them first", _post(app, ProcessesRequested("clean")))
    yield Command(
        "Stop everything", "All runs, and unload the models", _post(app, ProcessesRequested("stop_all"))
    )
    yield Command("Zoom", "Show one pane, or all again", desk.action_zoom)
    yield Command("Theme: choose", "Change colours", app.action_change_theme)
    for name in sorted(app.available_themes):
        yield Command(f"Theme: {name}", "Use these colours", partial(app.use_theme, name), False)
    yield Command("Help", "On the focused pane", app.action_help)
    yield Command("Mouse: release or take", "Released, the terminal selects text itself", app.action_mouse)
    yield Command("Engine: attach again", "Starts one where none runs", app.action_retry)
    yield Command("Save a picture of the screen", "As SVG, in the downloads folder", app.action_picture)
    yield Command("Leave", "Engine and runs go on", app.action_leave)


def _jobs(app: Viewer) -> Iterator[Command]:
    mirror = app.link.mirror
    if mirror is None:
        return
    for job in mirror.jobs.values():
        name = job.name
        yield Command(f"Start {name}", "Run the whole job", _post(app, StartRequested(StartRun(job=name))))
        if job.has_single:
            yield Command(f"Single item of {name}", "Choose one", _post(app, SingleRequested(name)))
        if job.has_dry_run:
            dry = StartRequested(StartRun(job=name, mode="dry"))
            yield Command(f"Dry run of {name}", "Its dry_run command", _post(app, dry))
        yield Command(f"Show {name}", "Command, log, runs", _post(app, OpenJob(name)), False)
        if job.validates:
            yield Command(f"Outputs of {name}", "What its rules say", _post(app, OpenOutputs(name)), False)
    for run in mirror.runs.values():
        words = f"Whisper: text of {run.id}"
        yield Command(words, "Files, quality, alarms", _post(app, OpenWhisper(run.id)), is_whispering(run))
        if run.state not in ENDED:
            verbs: tuple[RunAction, ...] = ("resume" if run.state == "paused" else "pause", "stop", "kill")
            for verb in verbs:
                words = f"{verb.capitalize()} {run.id}"
                yield Command(words, "A run in progress", _post(app, RunActionRequested(run.id, verb)), False)


def _post(app: Viewer, message: Message) -> Callable[[], object]:
    return partial(app.post_message, message)


class NightdeskCommands(Provider):
    """Feeds the palette."""

    @property
    def _commands(self) -> Iterator[Command]:
        from nightdesk.tui.app import Viewer

        app = self.app
        assert isinstance(app, Viewer)
        return commands_of(app)

    async def discover(self) -> Hits:
        """All listed commands, before anything is typed."""
        for command in self._commands:
            if command.listed:
                shown = line(command.words)
                yield DiscoveryHit(shown, command.run, text=shown.plain, help=command.help)

    async def search(self, query: str) -> Hits:
        """The commands that fit what is typed."""
        matcher = self.matcher(query)
        for command in self._commands:
            score = matcher.match(command.words)
            if score > 0:
                shown = line(command.words)
                yield Hit(score, shown, command.run, text=shown.plain, help=command.help)

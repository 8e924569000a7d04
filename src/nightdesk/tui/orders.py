"""Carries out what panes ask for: asks back where it is dangerous, sends, says what came of it."""

from __future__ import annotations

from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, TypeVar

from textual.screen import Screen

from nightdesk.model.errors import NightdeskError
from nightdesk.model.job import RunAction
from nightdesk.tui.asks import OpenTrial, RunActionRequested, StartRequested
from nightdesk.tui.panes.jobs import JobsPane

if TYPE_CHECKING:
    from nightdesk.tui.app import Viewer
    from nightdesk.tui.link import Engine
    from nightdesk.tui.screens.confirm import Question

T = TypeVar("T")

UNDER_WAY: dict[RunAction, str] = {
    "pause": "is being paused …",
    "resume": "is being resumed …",
    "hold": "will pause …",
    "stop": "stopping …",
    "kill": "is being killed …",
}


async def run_action(app: Viewer, asked: RunActionRequested) -> None:
    """Pause, resume, stop or kill a run."""
    engine = app.engine
    if asked.action in ("stop", "kill"):
        from nightdesk.tui.screens.confirm import Question

        deed: Literal["stop", "kill"] = "stop" if asked.action == "stop" else "kill"

        async def again() -> Question:
            members = await engine.run_tree(asked.run)
            return Question(deed, f"run {asked.run}", members, again=again)

        if not await _agreed(app, await again()):
            return
    with under_way(app, asked.run, UNDER_WAY[asked.action]):
        run = await engine.act(asked.run, asked.action)
    app.tell(f"{asked.run}: {run.state}.", run.reason or "")


@contextmanager
def under_way(app: Viewer, subject: str, words: str) -> Iterator[None]:
    """Until the engine has answered, the line of this run or job says what was asked of it."""
    pane = app.desk_screen.query_one(JobsPane)
    pane.say(subject, words)
    try:
        yield
    finally:
        pane.say(subject, "")


async def _agreed(app: Viewer, question: Question) -> bool:
    from nightdesk.tui.screens.confirm import ConfirmScreen

    screen: Screen[bool] = ConfirmScreen(question, app.link.mirror)
    return await app.push_screen_wait(screen)


async def start(app: Viewer, asked: StartRequested) -> None:
    """Start a run. That of a single item, and a dry run, are shown at once."""
    with under_way(app, asked.request.job, "is being started …"):
        run = await app.engine.start(asked.request)
    if asked.request.mode == "full":
        app.tell(f"{run.id}: {run.state}.", run.reason or "")
    else:
        app.post_message(OpenTrial(run.id))


async def guarded(app: Viewer, work: Awaitable[T]) -> T | None:
    """The result of ``work``; an error becomes a notice."""
    try:
        return await work
    except NightdeskError as error:
        app.tell(error.message, error.hint, severity="error")
    except Exception as error:  # noqa: BLE001 - a fault of one order must not end the viewer
        app.tell(f"That failed: {error!r}", severity="error")
    return None


def engine_of(app: Viewer) -> Engine:
    """The engine, if there is one. Raises NightdeskError otherwise."""
    if app.link.engine is None:
        raise NightdeskError("The engine does not answer.", "Press ctrl+r to attach to it again.")
    return app.link.engine

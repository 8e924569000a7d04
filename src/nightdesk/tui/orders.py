"""Carries out what panes ask for: asks back where it is dangerous, sends, says what came of it."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TYPE_CHECKING, TypeVar

from textual.screen import Screen

from nightdesk.model.errors import NightdeskError
from nightdesk.model.job import StartRun
from nightdesk.model.process import SignalReport
from nightdesk.tui.asks import RunActionRequested, SignalRequested, StartRequested
from nightdesk.tui.screens.confirm import ConfirmScreen, Question
from nightdesk.tui.screens.items import ItemScreen

if TYPE_CHECKING:
    from nightdesk.tui.app import Viewer
    from nightdesk.tui.link import Engine

T = TypeVar("T")
DONE = {"pause": "paused", "resume": "resumed", "stop": "stopped", "kill": "killed"}


async def signal(app: Viewer, asked: SignalRequested) -> None:
    """Signal a tree; stop and kill only after a yes to exactly that tree."""
    engine = app.engine
    if asked.action in ("stop", "kill"):
        members = await engine.tree(asked.key)
        subject = f"{asked.name} ({asked.key.pid}) and what is below it"
        if not await _agreed(app, Question(asked.action, subject, members)):
            return
    tell_report(app, await engine.signal(asked.key, asked.action))


async def run_action(app: Viewer, asked: RunActionRequested) -> None:
    """Pause, resume, stop or kill a run."""
    engine = app.engine
    if asked.action in ("stop", "kill"):
        members = await engine.run_tree(asked.run)
        if not await _agreed(app, Question(asked.action, f"run {asked.run}", members)):
            return
    run = await engine.act(asked.run, asked.action)
    app.tell(f"{asked.run}: {run.state}.", run.reason or "")


async def _agreed(app: Viewer, question: Question) -> bool:
    screen: Screen[bool] = ConfirmScreen(question)
    return await app.push_screen_wait(screen)


def tell_report(app: Viewer, report: SignalReport) -> None:
    """What a signal did, with everything that did not go as asked."""
    done = DONE.get(report.action, report.action)
    count = len(report.gone) if report.action in ("stop", "kill") else len(report.signalled)
    words = [f"{count} {'process' if count == 1 else 'processes'} {done}."]
    if report.left:
        names = ", ".join(f"{member.name} ({member.key.pid})" for member in report.left)
        words.append(f"Still there: {names}.")
    words += report.refused
    app.tell(" ".join(words), severity="warning" if report.left or report.refused else "information")


async def start(app: Viewer, asked: StartRequested) -> None:
    """Start a run."""
    run = await app.engine.start(asked.request)
    app.tell(f"{run.id}: {run.state}.", run.reason or "")


async def single(app: Viewer, job: str) -> None:
    """Choose an item, and run it alone."""
    screen: Screen[str] = ItemScreen(job, await app.engine.items(job))
    item = await app.push_screen_wait(screen)
    if item:
        await start(app, StartRequested(StartRun(job=job, mode="single", item=item)))


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

"""Carries out what is asked about runs and their items. Loaded when it is first needed, like the screens it shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.screen import Screen

from nightdesk.model.job import ENDED, ItemMove, Run, StartRun
from nightdesk.tui.asks import FeedRequested, StartRequested
from nightdesk.tui.orders import start
from nightdesk.tui.screens.items import ItemScreen
from nightdesk.tui.screens.run_items import RunItemsScreen
from nightdesk.tui.screens.trial import TrialScreen

if TYPE_CHECKING:
    from nightdesk.tui.app import Viewer


async def single(app: Viewer, job: str) -> None:
    """Choose an item, run it alone, and show what comes of it."""
    screen: Screen[str] = ItemScreen(job, await app.engine.items(job))
    item = await app.push_screen_wait(screen)
    if item:
        await start(app, StartRequested(StartRun(job=job, mode="single", item=item)))


def open_items(app: Viewer, run: str) -> None:
    """Show the items of a run."""
    app.push_screen(RunItemsScreen(run))
    app.post_message(FeedRequested())


def open_trial(app: Viewer, run: str) -> None:
    """Show a run of a single item, or a dry run."""
    app.push_screen(TrialScreen(run))
    app.post_message(FeedRequested())


async def retry(app: Viewer, run: Run) -> None:
    """Do again what failed; of an ended run also what was not reached."""
    engine = app.engine
    if run.state in ENDED:
        await start(app, StartRequested(StartRun(job=run.job, retry=True)))
        return
    after = await engine.move_items(run.id, ItemMove(where="again", failed=True))
    count = run.items_failed - after.items_failed
    app.tell(f"{count} failed item{'s' if count != 1 else ''} of {run.id} will be done again.")

"""What panes and screens ask about exchanges, beyond opening one. Screens are loaded when they are first needed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nightdesk.model.units import format_duration
from nightdesk.tui import asks

if TYPE_CHECKING:
    from textual.screen import Screen

    from nightdesk.model.exchange import ExchangeRow
    from nightdesk.model.inspection import ReplayRequest
    from nightdesk.tui.app import Viewer


def mark(app: Viewer, number: int) -> None:
    """Keep an exchange as the left side of the next diff; the same one again takes the mark away."""
    if app.marked_exchange == number:
        app.marked_exchange = None
        app.tell(f"Exchange {number} is no longer marked.")
    else:
        app.marked_exchange = number
        app.tell(f"Exchange {number} is marked: go to another one and press d to compare them.")


async def open_diff(app: Viewer, asked: asks.OpenDiff) -> None:
    """Compare two exchanges, or say how to choose the other one."""
    left = asked.left or app.marked_exchange
    if left in (None, asked.right):
        original = await _original(app, asked.right)
        if original is None:
            same = left == asked.right
            app.tell(
                "This is the marked exchange itself." if same else "Nothing is marked to compare with.",
                "Go to another one and press d."
                if same
                else "space marks one, then d on another compares them.",
            )
            return
        left = original
    assert left is not None
    from nightdesk.tui.screens.diff import DiffScreen

    await app.push_screen(DiffScreen(left, asked.right))


async def _original(app: Viewer, number: int) -> int | None:
    """Which exchange this one repeats."""
    mirror = app.link.mirror
    row = mirror.exchanges.get(number) if mirror is not None else None
    return row.replay_of if row is not None else (await app.engine.exchange(number)).replay_of


async def open_replay(app: Viewer, number: int) -> None:
    """Show what would be sent, send it, and show the answer beside the old one."""
    from nightdesk.tui.screens.replay import ReplayScreen, request_of
    from nightdesk.tui.screens.replaying import ReplayingScreen

    engine = app.engine
    known = await request_of(engine, number)
    screen: Screen[ReplayRequest] = ReplayScreen(known)
    request = await app.push_screen_wait(screen)
    if request is not None:
        await app.push_screen(ReplayingScreen(known[0], await engine.replay(request)))


async def open_comparison(app: Viewer, number: int) -> None:
    """Choose models, send the request to each, and show the answers in a table."""
    from nightdesk.tui.screens.comparison import ComparisonScreen, ModelsScreen
    from nightdesk.tui.screens.replay import request_of

    engine = app.engine
    known = await request_of(engine, number)
    screen: Screen[ReplayRequest] = ModelsScreen(known)
    request = await app.push_screen_wait(screen)
    if request is not None:
        replay = await engine.replay(request)
        await app.push_screen(ComparisonScreen(known[0], replay, request.models))


async def cancel(app: Viewer, number: int) -> None:
    """Ask by which way a running exchange is to be ended."""
    mirror = app.link.mirror
    row = mirror.exchanges.get(number) if mirror is not None else None
    if row is not None and row.state != "running":
        app.tell(f"Exchange {number} is not running any more.")
        return
    from nightdesk.tui.screens.cancel import CancelScreen

    await app.push_screen(CancelScreen(number, _about(row, app.clock())))


def _about(row: ExchangeRow | None, now_ns: int) -> str:
    """A running exchange in a line."""
    if row is None:
        return "It waits for its turn."
    whose = " › ".join(part for part in (row.job, row.item) if part) or row.process or "an unknown client"
    if row.replay_of is not None:
        whose = f"Nightdesk itself, a replay of {row.replay_of}"
    took = format_duration(max(0, now_ns - row.started_ns))
    return f"{row.operation} on {row.model or 'an unknown model'} for {whose}, running for {took}"

"""The engine of a temporary desk: it lives while a viewer looks, and takes its folder along when it ends."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable

from nightdesk.client.desk import Desk
from nightdesk.engine.bus import Bus
from nightdesk.model.errors import NightdeskError

ARRIVAL_SECONDS = 60.0
"""The first viewer comes within this time, or never: it was killed while the engine started."""
LINGER_SECONDS = 3.0
"""A viewer that lost its connection may come back within this time."""
LOOK_SECONDS = 0.5


def check_temporary(desk: Desk) -> None:
    """Raises NightdeskError where the folder is no temporary desk, or is one no more: whoever wanted it has left."""
    if not desk.is_temporary:
        raise NightdeskError(f"{desk.folder} is not a temporary desk.", "nightdesk open makes one.")


async def end_unviewed(bus: Bus, stop: Callable[[], None]) -> None:
    """Call ``stop`` when no viewer has looked for some seconds."""
    loop = asyncio.get_running_loop()
    until = loop.time() + ARRIVAL_SECONDS
    known = 0
    while loop.time() < until:
        # One that came and was killed between two looks was there all the same.
        if bus.subscribers or bus.arrivals != known:
            until, known = loop.time() + LINGER_SECONDS, bus.arrivals
        await asyncio.sleep(LOOK_SECONDS)
    stop()


def remove_folder(desk: Desk) -> None:
    """Remove a temporary desk with everything in it. Any other folder is left alone."""
    if desk.is_temporary:
        shutil.rmtree(desk.folder, ignore_errors=True)

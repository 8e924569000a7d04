"""The engine of a temporary desk ends soon after its viewer, however short that one's visit was."""

from __future__ import annotations

import asyncio

from nightdesk.engine import temporary
from nightdesk.engine.bus import Bus
from tests.support.viewer import snapshot


def test_a_viewer_that_came_and_was_killed_between_two_looks_counts_as_the_last_one() -> None:
    async def scene() -> float:
        bus, ended = Bus(), asyncio.Event()
        began = asyncio.get_running_loop().time()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(temporary.end_unviewed(bus, ended.set))
            visit = bus.events(snapshot)
            await anext(visit)
            await visit.aclose()
            await ended.wait()
        return asyncio.get_running_loop().time() - began

    assert asyncio.run(scene()) < temporary.ARRIVAL_SECONDS / 2

"""A job that is to start later, asked for in the viewer."""

from __future__ import annotations

from nightdesk.core.jobs.start_times import read_start_ns
from nightdesk.model.job import StartRun
from nightdesk.tui.screens.start_at import StartAtScreen
from tests.support.viewer import NOW, NS, FakeEngine, screen_text, until, viewer


async def test_a_asks_for_a_time_says_what_it_means_and_starts_the_job_then(engine: FakeEngine) -> None:
    app = viewer(engine)
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: "37/52" in screen_text(app))
        await pilot.press("a")
        await until(pilot, lambda: isinstance(app.screen, StartAtScreen))
        await pilot.press(*"soon", "enter")
        await until(pilot, lambda: "soon is not a time to start at." in screen_text(app))
        await pilot.press(*["backspace"] * 4, *"2h")
        await until(pilot, lambda: "in 2h00m." in screen_text(app))
        await pilot.press("enter")
        request = StartRun(job="transcribe", at_ns=NOW + 2 * 3600 * NS)
        await until(pilot, lambda: ("start", request) in engine.asked)


async def test_escape_starts_nothing(engine: FakeEngine) -> None:
    app = viewer(engine)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "37/52" in screen_text(app))
        await pilot.press("a")
        await until(pilot, lambda: isinstance(app.screen, StartAtScreen))
        await pilot.press(*"23:30", "escape")
        await until(pilot, lambda: len(app.screen_stack) == 1)
        assert not [asked for asked in engine.asked if asked[0] == "start"]
        assert read_start_ns("23:30", NOW) > NOW

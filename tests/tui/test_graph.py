"""The graph of jobs on the screen: drawn, walked, opened."""

from __future__ import annotations

import pytest

from nightdesk.model.job import StartRun
from nightdesk.tui.screens.graph import GraphScreen
from nightdesk.tui.screens.job import JobScreen
from nightdesk.tui.widgets.jobgraph import JobGraphView
from tests.support.viewer import NOW, NS, FakeEngine, job, run, screen_text, snapshot, until, viewer

JOBS = (
    job("fetch"),
    job("transcribe", needs=("fetch",), uses={"gpu": 1}),
    job("synthesize", needs_items=("transcribe",), drives_items=True),
    job("report", needs=("synthesize", "fetch")),
)
RUNS = (
    run("fetch", "done"),
    run("transcribe", "running", items_total=52, items_done=37),
    run(
        "synthesize",
        "waiting",
        reason="Waits for the gpu, which transcribe uses.",
        expected_ns=NOW + 3600 * NS,
    ),
    run("report", "failed"),
)


@pytest.fixture
def night() -> FakeEngine:
    return FakeEngine(snapshot(jobs=JOBS, runs=RUNS))


def selected(screen: GraphScreen) -> str:
    return screen.query_one(JobGraphView).selected


@pytest.mark.parametrize(
    ("size", "plain"), [((80, 24), False), ((120, 40), True), ((160, 48), False), ((80, 24), True)]
)
async def test_w_shows_what_waits_for_what_at_every_size(
    night: FakeEngine, size: tuple[int, int], plain: bool
) -> None:
    app = viewer(night, ascii=plain)
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: "37/52" in screen_text(app))
        await pilot.press("w")
        await until(pilot, lambda: isinstance(app.screen, GraphScreen) and "fetch" in screen_text(app))
        shown = screen_text(app)
        assert "What waits for what" in shown
        assert "needs its items" in shown
        assert ("+ fetch" if plain else "✓ fetch") in shown
        assert ("> transcribe" if plain else "▶ transcribe") in shown
        assert ("->" if plain else "─→") in shown
        assert (".>" if plain else "┄→") in shown
        if plain:
            graph = app.screen.query_one(JobGraphView)
            lines = "".join(
                segment.text for y in range(graph.size.height) for segment in graph.render_line(y)
            )
            assert "┄" not in lines


async def test_the_arrows_walk_along_the_lines_and_the_words_follow(night: FakeEngine) -> None:
    app = viewer(night)
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: "37/52" in screen_text(app))
        await pilot.press("w")
        await until(pilot, lambda: isinstance(app.screen, GraphScreen) and "fetch" in screen_text(app))
        screen = app.screen
        assert isinstance(screen, GraphScreen)
        assert selected(screen) == "fetch", "the job under the cursor"
        await pilot.press("right")
        assert selected(screen) == "transcribe"
        await until(pilot, lambda: "┃ ▶ transcribe" in screen_text(app) and "┃ ✓" not in screen_text(app))
        await until(pilot, lambda: "uses 1 gpu" in screen_text(app))
        await pilot.press("l")
        assert selected(screen) == "synthesize"
        await until(
            pilot, lambda: "transcribe uses. Probably starts at 03:14, in about 60 min." in screen_text(app)
        )
        assert "needs items of transcribe; needed by report" in screen_text(app)
        await pilot.press("left", "h", "left")
        assert selected(screen) == "fetch"


async def test_enter_opens_the_job_and_escape_comes_back(night: FakeEngine) -> None:
    app = viewer(night)
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: "37/52" in screen_text(app))
        await pilot.press("w")
        await until(pilot, lambda: isinstance(app.screen, GraphScreen) and "fetch" in screen_text(app))
        await pilot.press("right", "enter")
        await until(pilot, lambda: isinstance(app.screen, JobScreen))
        assert isinstance(app.screen, JobScreen)
        assert app.screen.job == "transcribe"
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, GraphScreen))
        await pilot.press("escape")
        await until(pilot, lambda: len(app.screen_stack) == 1)


async def test_s_starts_the_selected_job(night: FakeEngine) -> None:
    app = viewer(night)
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: "37/52" in screen_text(app))
        await pilot.press("w")
        await until(pilot, lambda: isinstance(app.screen, GraphScreen) and "fetch" in screen_text(app))
        await pilot.press("right", "s")
        await until(pilot, lambda: ("start", StartRun(job="transcribe")) in night.asked)


async def test_a_graph_that_is_larger_than_the_screen_follows_the_walk() -> None:
    chain = [job("job0"), *(job(f"job{n}", needs=(f"job{n - 1}",)) for n in range(1, 9))]
    app = viewer(FakeEngine(snapshot(jobs=tuple(chain), runs=())))
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "job8" in screen_text(app))
        await pilot.press("w")
        await until(pilot, lambda: isinstance(app.screen, GraphScreen) and "job0" in screen_text(app))
        await pilot.press(*["right"] * 8)
        graph = app.screen.query_one(JobGraphView)
        await until(pilot, lambda: "job8" in "".join(s.text for s in graph.render_line(1)))


async def test_without_jobs_the_graph_says_so() -> None:
    app = viewer(FakeEngine(snapshot(jobs=(), runs=())))
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "no jobs yet" in screen_text(app))
        await pilot.press("w")
        await until(pilot, lambda: "This desk has no jobs" in screen_text(app))


async def test_foreign_names_do_no_harm_in_a_box() -> None:
    evil = job("a\x1b]52;c;eA==\x07b", description="x")
    wide = job("音声認識音声認識音声認識音声認識", needs=(evil.name,))
    app = viewer(FakeEngine(snapshot(jobs=(evil, wide), runs=())))
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "not started" in screen_text(app))
        await pilot.press("w")
        await until(pilot, lambda: isinstance(app.screen, GraphScreen) and "音声" in screen_text(app))
        assert "\x1b" not in screen_text(app)

"""The outputs of a job: the list, what is chosen of it, flags, evidence, charts."""

from __future__ import annotations

from msgspec.structs import replace
from textual.pilot import Pilot

from nightdesk.core.outputs.results import course, histogram, page, wanted
from nightdesk.model.job import StartRun
from nightdesk.model.outputs import OutputResult, OutputsFlagged, OutputState, RuleResult
from nightdesk.tui.app import Viewer
from nightdesk.tui.commands import commands_of
from nightdesk.tui.glyphs import ASCII, UNICODE
from nightdesk.tui.screens import output_rows
from nightdesk.tui.screens.outputs import OutputsScreen
from tests.support.viewer import NOW, NS, FakeEngine, screen_lines, screen_text, snapshot, until, viewer


def result(number: int, state: OutputState, evidence: str = "", score: float | None = 1.0) -> OutputResult:
    """An output whose headings are as ``state`` says."""
    rules = (
        RuleResult(rule="headings", state=state, evidence=evidence or "headings found: 2", score=score),
        RuleResult(rule="exists", state="passed", evidence="it is there", score=1.0),
    )
    name = f"audio/{number}.mp3"
    return OutputResult(
        job="transcribe", item=name, at_ns=NOW + number * NS, state=state, score=score, output=f"{number}.md",
        path=f"/desk/{number}.md", output_bytes=300, results=rules,
    )  # fmt: skip


RESULTS = [
    result(1, "passed"),
    result(2, "failed", "it lacks the heading \x1b[31mSummary", 0.5),
    result(3, "doubtful", "it is German, not English, by an estimate", 0.8),
    result(4, "unknown", "too little text", None),
    result(5, "failed", "it lacks the heading Decisions", 0.05),
]


class OutputEngine(FakeEngine):
    """A job whose outputs have rules."""

    def __init__(self) -> None:
        first = snapshot()
        jobs = tuple(replace(job, validates=job.name == "transcribe") for job in first.jobs)
        super().__init__(replace(first, jobs=jobs))
        self.output_results = list(RESULTS)


async def opened(pilot: Pilot[int], app: Viewer) -> OutputsScreen:
    """The screen, from the jobs pane."""
    await until(pilot, lambda: "transcribe" in screen_text(app))
    await pilot.press("c")
    await until(pilot, lambda: isinstance(app.screen, OutputsScreen) and "2.mp3" in screen_text(app))
    assert isinstance(app.screen, OutputsScreen)
    return app.screen


def items(screen: OutputsScreen) -> list[str]:
    return [each.item[6:7] for each in screen.page.rows] if screen.page else []


async def test_outputs_are_listed_the_worst_first_with_scores_and_evidence() -> None:
    app = viewer(OutputEngine())
    async with app.run_test(size=(140, 40)) as pilot:
        screen = await opened(pilot, app)
        assert items(screen) == ["5", "2", "3", "4", "1"]
        text = screen_text(app)
        assert "✗ 2 failed  ⚠ 1 doubtful  ? 1 unknown  ✓ 1 passed" in text
        assert "breaks  headings 3" in text and "mean 0.59" in text and "5 looked at" in text
        assert "✗ headings      0.05  it lacks the heading Decisions" in text
        assert "5.md · 300 B · looked at by hand" in text
        await pilot.press("j")
        await until(pilot, lambda: "headings      0.50" in screen_text(app))
        assert "\x1b" not in screen_text(app)


async def test_states_rules_and_words_choose_what_is_listed_and_escape_goes_back_step_by_step() -> None:
    app = viewer(OutputEngine())
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await opened(pilot, app)
        await pilot.press("v")
        await until(pilot, lambda: items(screen) == ["5", "2"] and "2 failed" in screen_lines(app)[-1])
        await pilot.press("v")
        await until(pilot, lambda: items(screen) == ["3"])
        await pilot.press("V", "V")
        await until(pilot, lambda: len(items(screen)) == 5)
        await pilot.press("c")
        await until(
            pilot, lambda: items(screen) == ["5", "2", "3"] and "breaks headings" in screen_lines(app)[-1]
        )
        await pilot.press("slash", *"german", "enter")
        await until(pilot, lambda: items(screen) == ["3"])
        await pilot.press("escape")
        await until(pilot, lambda: len(items(screen)) == 3)
        await pilot.press("escape")
        await until(pilot, lambda: len(items(screen)) == 5)
        await pilot.press("C", "C", "escape")
        await until(pilot, lambda: not isinstance(app.screen, OutputsScreen))


async def test_an_output_is_flagged_looked_at_and_done_again() -> None:
    engine = OutputEngine()
    app = viewer(engine)
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await opened(pilot, app)
        await pilot.press("G", "f")
        await until(pilot, lambda: "◆ 1 flagged" in screen_text(app))
        assert ("flag_outputs", "transcribe", OutputsFlagged(items=("audio/1.mp3",))) in engine.asked
        await pilot.press("l")
        await until(pilot, lambda: ("look_at_outputs", "transcribe", ("audio/1.mp3",)) in engine.asked)
        await pilot.press("L")
        everything = tuple(each.item for each in RESULTS)
        await until(pilot, lambda: ("look_at_outputs", "transcribe", everything) in engine.asked)
        await until(pilot, lambda: "still to be looked at" not in screen_text(app))
        await pilot.press("r")
        bad = ("audio/5.mp3", "audio/2.mp3", "audio/1.mp3")
        wish = ("start", StartRun(job="transcribe", items=bad, again=True))
        await until(pilot, lambda: wish in engine.asked)
        await until(pilot, lambda: app.screen is screen)
        await pilot.press("f")
        await until(pilot, lambda: "flagged" not in screen_lines(app)[1])
        await pilot.press("a")
        one = ("start", StartRun(job="transcribe", items=("audio/1.mp3",), again=True))
        await until(pilot, lambda: one in engine.asked)


async def test_a_job_without_results_says_when_there_will_be_some_and_the_palette_knows_the_screen() -> None:
    engine = OutputEngine()
    engine.output_results = []
    app = viewer(engine)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "transcribe" in screen_text(app))
        (command,) = [each for each in commands_of(app) if each.words == "Outputs of transcribe"]
        command.run()
        await until(pilot, lambda: "No output was looked at yet" in screen_text(app))


def test_scores_fall_into_tenths_and_the_course_is_squeezed_to_the_width() -> None:
    assert histogram([0.0, 0.05, 0.1, 0.95, 1.0]) == (2, 1, 0, 0, 0, 0, 0, 0, 0, 2)
    many = [result(number, "failed" if number % 10 == 0 else "passed") for number in range(1000)]
    steps = course(many)
    assert (
        len(steps) == 200
        and sum(step.count for step in steps) == 1000
        and sum(s.failed for s in steps) == 100
    )
    for glyphs in (UNICODE, ASCII):
        *bars, axis = output_rows.course(steps, 40, 1, glyphs)
        assert len(bars[0]) == 40 and "1.0k looked at" in str(axis)
        lines = output_rows.histogram(page("a", RESULTS, wanted("", "", "", flagged=False)), 3, glyphs)
        assert len(lines) == 4

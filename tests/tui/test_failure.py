"""The sheet that tells why an attempt failed, and the keys that lead to it."""

from __future__ import annotations

from typing import Any

import pytest
from textual.pilot import Pilot

from nightdesk.core.jobs.failure_advice import WORDS, advice, class_words, failure_words
from nightdesk.model.diagnosis import Diagnosis, FailedAttempt
from nightdesk.model.errors import NightdeskError
from nightdesk.model.exchange import ExchangeRow
from nightdesk.model.job import Failure, ItemMove, StartRun
from nightdesk.model.sample import Cpu, Device, Sample
from nightdesk.tui.app import Viewer
from nightdesk.tui.glyphs import UNICODE
from nightdesk.tui.inspector import outside
from nightdesk.tui.screens.failure import FailureScreen
from nightdesk.tui.screens.failure_pages import chart_of, log_lines, process_lines, surroundings
from nightdesk.tui.screens.inspector import InspectorScreen
from nightdesk.tui.screens.run_items import RunItemsScreen
from tests.support.items import RUN, ItemEngine, failure
from tests.support.viewer import NOW, NS, process, replaced, screen_text, until, viewer

ITEMS = ("audio/part_000011.mp3", "audio/part_000012.mp3")


def failed(serial: int, item: str | None, why: Failure, attempt: int = 1) -> FailedAttempt:
    return FailedAttempt(
        run=RUN,
        job="transcribe",
        serial=serial,
        item=item,
        attempt=attempt,
        ended_ns=NOW - (20 - serial) * NS,
        failure=why,
    )


def sample(ago_s: int, used: int) -> Sample:
    gpu = Device(id="0", kind="gpu", name="H100", active_ratio=0.9, memory_used_bytes=used * 10**9,
                 memory_total_bytes=80 * 10**9)  # fmt: skip
    return Sample(at_ns=NOW - ago_s * NS, elapsed_ns=NS, source="nvml", cpu=Cpu(ratio=0.5), devices=(gpu,))


def diagnosis(what: FailedAttempt) -> Diagnosis:
    exchange = ExchangeRow(
        id=7, state="complete", started_ns=NOW - 30 * NS, ended_ns=NOW - 29 * NS, operation="chat",
        dialect="ollama", model="qwen3:8b", prompt_tokens=3100, reply_tokens=88, run=RUN, fragments=3,
        tail="the golden river",
    )  # fmt: skip
    return Diagnosis(
        what=what,
        folder="/desk/.nightdesk/runs/transcribe-1/failures/9",
        launched_ns=NOW - 90 * NS,
        started_ns=NOW - 90 * NS,
        exit_status=1,
        command=("python", "transcribe.py", "--token", "•••"),
        working_folder="/desk",
        environment={"HOME": "/home/night", "NIGHTDESK_RUN": RUN, "SOME_API_KEY": "•••"},
        log_tail=f"loading large-v3\n10 %\r50 %\n{what.failure.evidence}\n",
        processes=(
            process(4091, 1, "python transcribe.py"),
            process(4120, 4091, "ffmpeg -i a.mp3", cpu_ratio=0.5),
        ),
        processes_at_ns=what.ended_ns - 2 * NS,
        exchanges=(exchange,),
        samples=(sample(60, 20), sample(30, 78)),
        versions={"nightdesk": "0.1.0"},
    )


class FailedEngine(ItemEngine):
    """The two failed items have left what a diagnosis holds; the second one was tried twice."""

    def __init__(self, **more: Any) -> None:
        super().__init__(60, **more)
        self.failed: tuple[FailedAttempt, ...] = (
            failed(8, ITEMS[0], failure(10)),
            failed(9, ITEMS[1], Failure(kind="stalled", evidence="No output for 30.0s.")),
            failed(12, ITEMS[1], failure(11), attempt=2),
        )

    async def failures(self, run_id: str) -> tuple[FailedAttempt, ...]:
        assert run_id == RUN
        return self.failed

    async def failure(self, run_id: str, serial: int) -> Diagnosis:
        return diagnosis(next(each for each in self.failed if each.serial == serial))


def cursor_on(app: Viewer, job: str) -> None:
    """Put the cursor of the jobs pane on a job."""
    from nightdesk.tui.panes.jobs import JobsPane
    from nightdesk.tui.widgets.grid import Grid

    app.query_one(JobsPane).query_one(Grid).select_key((job, ""))


async def opened(pilot: Pilot[int], app: Viewer, *keys: str) -> FailureScreen:
    """The sheet, opened with keys of the jobs pane."""
    await until(pilot, lambda: "transcribe" in screen_text(app))
    cursor_on(app, "transcribe")
    for key in keys:
        await pilot.press(key)
    await until(pilot, lambda: isinstance(app.screen, FailureScreen) and app.screen.found is not None)
    screen = app.screen
    assert isinstance(screen, FailureScreen)
    return screen


async def test_one_key_shows_why_the_newest_attempt_of_a_run_failed_and_what_to_do() -> None:
    app = viewer(FailedEngine())
    async with app.run_test(size=(120, 40)) as pilot:
        await opened(pilot, app, "F")
        await until(pilot, lambda: "out of memory" in screen_text(app))
        text = screen_text(app)
        assert f"Why transcribe › {ITEMS[1]} failed" in text
        assert "✗ out of memory  CUDA out of memory at item 12" in text
        assert "unload_models = true" in text
        assert "with exit status 1; try 2, attempt 12 of the run" in text
        assert "3 of 3 failures kept" in text
        assert "loading large-v3" in text and "50 %" in text and "10 %" not in text
        await pilot.press("left_square_bracket")
        await until(pilot, lambda: "✗ stalled  No output for 30.0s." in screen_text(app))
        assert "ended by the desk; try 1" in screen_text(app)
        await pilot.press("left_square_bracket")
        await until(pilot, lambda: ITEMS[0] in screen_text(app))
        await pilot.press("right_square_bracket")
        await until(pilot, lambda: "2 of 3 failures kept" in screen_text(app))


async def test_the_pages_show_exchanges_processes_memory_and_what_was_around() -> None:
    app = viewer(FailedEngine())
    async with app.run_test(size=(120, 40)) as pilot:
        await opened(pilot, app, "F")
        await pilot.press("3")
        await until(pilot, lambda: "As seen 2.0s before the end." in screen_text(app))
        assert "└ ffmpeg -i a.mp3" in screen_text(app)
        await pilot.press("tab")
        await until(pilot, lambda: "GPU H100" in screen_text(app))
        assert "at most 78.0 GB" in screen_text(app)
        await pilot.press("5")
        await until(pilot, lambda: "NIGHTDESK_RUN=" in screen_text(app))
        assert "SOME_API_KEY=•••" in screen_text(app) and "3 variables; secrets are masked" in screen_text(
            app
        )
        await pilot.press("2")
        await until(pilot, lambda: "the golden river" in screen_text(app))
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, InspectorScreen))


async def test_in_the_items_the_key_shows_why_that_item_failed() -> None:
    app = viewer(FailedEngine())
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: "transcribe" in screen_text(app))
        cursor_on(app, "transcribe")
        await pilot.press("i")
        await until(
            pilot, lambda: isinstance(app.screen, RunItemsScreen) and "part_000001" in screen_text(app)
        )
        await pilot.press("v")
        await until(pilot, lambda: "shown: 2" in screen_text(app) and "part_000001" not in screen_text(app))
        await pilot.press("F")
        await until(pilot, lambda: isinstance(app.screen, FailureScreen) and app.screen.found is not None)
        assert f"Why transcribe › {ITEMS[0]} failed" in screen_text(app)
        assert "1 of 3 failures kept" in screen_text(app)


@pytest.mark.parametrize("state", ["running", "failed"])
async def test_the_item_is_done_again_in_its_run_or_in_a_new_one(
    state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = FailedEngine(state=state)
    app = viewer(engine)
    told: list[str] = []
    monkeypatch.setattr(app, "tell", lambda message, hint="", **_: told.append(message))
    async with app.run_test(size=(120, 40)) as pilot:
        await opened(pilot, app, "F")
        await pilot.press("r")
        await until(pilot, lambda: any(asked[0] in ("move", "start") for asked in engine.asked))
        if state == "running":
            assert ("move", RUN, ItemMove(items=(ITEMS[1],), where="again")) in engine.asked
            await until(pilot, lambda: f"{ITEMS[1]} will be done again." in told)
        else:
            assert ("start", StartRun(job="transcribe", items=(ITEMS[1],), again=True)) in engine.asked
        await pilot.press("t")
        single = ("start", StartRun(job="transcribe", mode="single", item=ITEMS[1]))
        await until(pilot, lambda: single in engine.asked)


async def test_editor_and_pager_get_the_log_or_all_that_was_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[tuple[str, str, str]] = []

    def look_at(app: object, kind: str, command: tuple[str, ...], name: str, text: str) -> str:
        looked.append((kind, name, text))
        return ""

    monkeypatch.setattr(outside, "look_at", look_at)
    monkeypatch.setenv("EDITOR", "vi")
    monkeypatch.setenv("PAGER", "more")
    monkeypatch.delenv("VISUAL", raising=False)
    app = viewer(FailedEngine())
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot, app, "F")
        await pilot.press("e", "5", "vertical_line")
        await until(pilot, lambda: len(looked) == 2)
    assert looked[0][:2] == ("editor", "log.txt") and looked[0][2].startswith("loading large-v3")
    assert looked[1][:2] == ("pager", "failure.json") and '"SOME_API_KEY": "•••"' in looked[1][2]


async def test_where_nothing_was_kept_the_reason_of_the_run_stands_there() -> None:
    engine = FailedEngine()
    engine.failed = ()
    engine.first = replaced(
        engine.first,
        runs=tuple(
            replaced(each, failure=Failure(kind="lost", evidence="Its keeper is gone."), state="lost")
            if each.id == RUN
            else each
            for each in engine.first.runs
        ),
    )
    app = viewer(engine)
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: "transcribe" in screen_text(app))
        cursor_on(app, "transcribe")
        await pilot.press("F")
        await until(pilot, lambda: "No failed attempt is kept." in screen_text(app))
        assert "lost: Its keeper is gone." in screen_text(app)


async def test_an_engine_that_does_not_answer_is_told() -> None:
    class Silent(FailedEngine):
        async def failures(self, run_id: str) -> tuple[FailedAttempt, ...]:
            raise NightdeskError("The engine does not answer.", "Press ctrl+r.")

    app = viewer(Silent())
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: "transcribe" in screen_text(app))
        cursor_on(app, "transcribe")
        await pilot.press("F")
        await until(pilot, lambda: "The engine does not answer." in screen_text(app))


def test_every_class_has_words_and_advice() -> None:
    assert all(class_words(kind) and advice(kind) for kind in WORDS)
    assert class_words("some_new_class") == "some new class" and advice("some_new_class") == ""
    assert failure_words(Failure(kind="error", evidence="ValueError: x")) == "ValueError: x"
    assert failure_words(Failure(kind="oom", evidence="bad_alloc")) == "out of memory: bad_alloc"
    assert failure_words(Failure(kind="oom", evidence="CUDA out of memory")) == "CUDA out of memory"


def test_what_was_not_seen_or_measured_is_said() -> None:
    bare = Diagnosis(what=failed(1, None, Failure(kind="killed", evidence="x")), folder="/f", launched_ns=NOW)
    assert chart_of(bare) is None
    assert "None was seen" in process_lines(bare, UNICODE)[0][0][0]
    assert log_lines(bare) == [(("It has printed nothing.", "muted"),)]
    assert any("0 variables" in text for pieces in surroundings(bare) for text, _ in pieces)


def test_the_chart_shows_accelerator_and_its_memory_up_to_the_end() -> None:
    view = chart_of(diagnosis(failed(9, ITEMS[1], failure(11))))
    assert view is not None
    busy, memory = view.series
    assert (busy.label, memory.label, view.end) == ("accelerator", "its memory", "end")
    assert [value for _, value in memory.points] == [20.0, 78.0] and memory.top == 80.0

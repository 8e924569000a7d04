"""When a run that waits will start, as it is told: the moment, the time left, and how sure that is."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from nightdesk.core.jobs.events import HeldBack
from nightdesk.core.jobs.queue import admit
from nightdesk.core.jobs.start_times import Expected, latest, rough_words, waiting_brief, waiting_words
from nightdesk.model.job import Run
from nightdesk.model.logs import Progress
from tests.unit.test_jobs import go, work
from tests.unit.test_queue import GPU, RUNNING
from tests.unit.test_queue import work as queued

S, MIN = 10**9, 60 * 10**9
NOW = int(datetime(2026, 11, 21, 22).timestamp()) * S
GPU_TAKEN = "Waits for the gpu, which train uses."


def run(reason: str | None, likely_ns: int | None = None, *between: int, **more: Any) -> Run:
    """A run that waits, and is expected so long after now."""
    if likely_ns is not None:
        more["expected_ns"] = NOW + likely_ns
    if between:
        more |= {"expected_low_ns": NOW + between[0], "expected_high_ns": NOW + between[1]}
    return Run(
        id="a-1",
        job="a",
        mode="full",
        state="waiting",
        reason=reason,
        command="a",
        folder="/",
        created_ns=0,
        **more,
    )


@pytest.mark.parametrize(
    ("waits", "words"),
    [
        (run(GPU_TAKEN), GPU_TAKEN),
        (run(GPU_TAKEN, 18 * MIN), f"{GPU_TAKEN} Probably starts at 22:18, in about 18 min."),
        (
            run(GPU_TAKEN, 18 * MIN, 15 * MIN, 22 * MIN),
            f"{GPU_TAKEN} Probably starts at 22:18, in about 18 min (15 to 22 min).",
        ),
        (
            run(GPU_TAKEN, 61 * S, 42 * S, 100 * S),
            f"{GPU_TAKEN} Probably starts at 22:01, in about 60 s (40 s to 2 min).",
        ),
        (run(GPU_TAKEN, 18 * MIN, 18 * MIN - S, 18 * MIN + S),
            f"{GPU_TAKEN} Probably starts at 22:18, in about 18 min."),
        (run(GPU_TAKEN, -5 * S), f"{GPU_TAKEN} Probably starts at 22:00, any moment."),
        (run("Starts at 23:30.", 90 * MIN, 90 * MIN, 90 * MIN), "Starts at 23:30, in 1h30m."),
        (
            run("Attempt 1 of 3 failed (x); tries again after 10m00s.", 552 * S, 552 * S, 552 * S),
            "Attempt 1 of 3 failed (x); tries again after 10m00s. Starts at 22:09, in 9m12s.",
        ),
    ],
)  # fmt: skip
def test_a_run_that_waits_says_why_when_and_how_sure_that_is(waits: Run, words: str) -> None:
    assert waiting_words(waits, NOW) == words


@pytest.mark.parametrize(
    ("waits", "left", "reason"),
    [
        (
            run(GPU_TAKEN, 18 * MIN, 15 * MIN, 22 * MIN),
            "in about 18 min",
            "gpu, which train uses (15 to 22 min)",
        ),
        (run("Waits for b, which has not run yet."), "", "waits for b, which has not run yet"),
        (run("Starts at 23:30.", 90 * MIN, 90 * MIN, 90 * MIN), "in 1h30m", "at 23:30"),
        (run(None), "", "waits"),
    ],
)
def test_in_a_line_the_time_left_comes_first_and_what_it_waits_for_next(
    waits: Run, left: str, reason: str
) -> None:
    assert waiting_brief(waits, NOW) == (left, reason)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (1, "10 s"), (44, "40 s"), (94, "90 s"), (96, "2 min"), (725, "12 min"), (5720, "1 h 40 min"),
        (7200, "2 h"), (100_000, "27 h 50 min"), (260_000, "3 d"),
    ],
)  # fmt: skip
def test_an_estimate_is_told_no_more_exactly_than_it_is_known(seconds: int, words: str) -> None:
    assert rough_words(seconds * S) == words


def test_the_range_of_the_run_ahead_is_the_range_of_the_start() -> None:
    left = Progress(
        done=1, total=9, eta_ns=20 * MIN, eta_low_ns=15 * MIN, eta_high_ns=30 * MIN, at_ns=NOW, source="counter"
    )  # fmt: skip
    ahead = queued("a", state="running", ledger=RUNNING, uses=GPU).with_run(progress=left)
    expected = admit([ahead, queued("b", NOW, uses=GPU)], {}, NOW).expected["b"]
    assert expected == Expected(NOW + 20 * MIN, NOW + 15 * MIN, NOW + 30 * MIN)
    late = admit([ahead, queued("b", NOW, uses=GPU)], {}, NOW + 50 * MIN).expected["b"]
    assert late == Expected(NOW + 50 * MIN), "what is overdue has no range"


def test_of_several_the_last_counts_and_one_without_a_range_leaves_none() -> None:
    assert latest([Expected(5, 4, 9), Expected(7, 2, 8)]) == Expected(7, 4, 9)
    assert latest([Expected(5, 4, 9), Expected(7)]) == Expected(7)


def test_the_nearer_a_start_the_smaller_a_change_of_it_that_counts() -> None:
    held, _ = go(work(), HeldBack("Waits.", Expected(NOW + 40 * S), NOW))
    assert held.run.expected_ns == NOW + 40 * S
    same, _ = go(held, HeldBack("Waits.", Expected(NOW + 43 * S), NOW))
    assert same.run.expected_ns == NOW + 40 * S
    later, _ = go(held, HeldBack("Waits.", Expected(NOW + 60 * S, NOW + 50 * S, NOW + 99 * S), NOW))
    assert (later.run.expected_ns, later.run.expected_high_ns) == (NOW + 60 * S, NOW + 99 * S)
    set_for, _ = go(held, HeldBack(None, Expected.exactly(NOW + 41 * S), NOW))
    assert set_for.run.expected_ns == NOW + 41 * S, "what is certain is taken as it is"

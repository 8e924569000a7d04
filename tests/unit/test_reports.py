"""What a signal did, in one sentence with figures."""

from __future__ import annotations

from typing import Any

from nightdesk.core.processes.reports import joined, told, told_all
from nightdesk.model.base import ProcessKey
from nightdesk.model.process import SignalReport, StopAllReport, TreeMember


def key(pid: int) -> ProcessKey:
    return ProcessKey(pid=pid, started_ns=pid)


def keys(first: int, count: int) -> tuple[ProcessKey, ...]:
    return tuple(key(pid) for pid in range(first, first + count))


def report(action: str, **more: Any) -> SignalReport:
    given: dict[str, Any] = {"signalled": (), "gone": (), "left": (), "refused": (), **more}
    return SignalReport(action=action, **given)


def test_a_stop_tells_ended_killed_left_and_memory() -> None:
    gone = keys(10, 8)
    said = told(report("stop", gone=gone, killed=gone[:1], freed_bytes=21_300_000_000))
    assert said == "7 ended, 1 had to be killed, 0 left, 21.3 GB back."


def test_what_nobody_had_to_kill_is_not_told_as_killed() -> None:
    assert told(report("stop", gone=keys(10, 2), freed_bytes=0)) == "2 ended, 0 left."


def test_a_kill_tells_what_had_ended_by_itself() -> None:
    gone = keys(10, 4)
    assert told(report("kill", gone=gone, killed=gone)) == "4 killed, 0 left."
    assert told(report("kill", gone=gone, killed=gone[:3])) == "3 killed, 1 ended by itself, 0 left."


def test_what_is_left_is_named() -> None:
    left = (TreeMember(key=key(7), depth=0, name="ffmpeg", command="ffmpeg -i x"),)
    assert told(report("kill", left=left)) == "0 killed, 1 left. Still there: ffmpeg (7)."


def test_pause_and_resume_count_what_was_signalled() -> None:
    assert told(report("pause", signalled=keys(1, 1))) == "1 process paused."
    assert told(report("resume", signalled=keys(1, 3))) == "3 processes resumed."


def test_several_reports_are_one_in_which_each_process_counts_once() -> None:
    one = report("stop", gone=keys(1, 2), killed=keys(1, 1), freed_bytes=5, refused=("No right.",))
    two = report("stop", gone=keys(2, 2), freed_bytes=7, refused=("No right.",))
    both = joined("stop", [one, two])
    assert both.gone == keys(1, 3)
    assert both.freed_bytes == 12
    assert both.refused == ("No right.",)
    assert joined("pause", []).freed_bytes is None


def test_the_end_of_everything_tells_runs_processes_and_models() -> None:
    ended = report("stop", gone=keys(1, 4), killed=keys(1, 1), freed_bytes=35_700_000)
    whole = StopAllReport(
        runs=("a-1", "b-1"), processes=ended, models="Unloaded llama3.1:8b (24.1 GB) in 1.0s."
    )
    assert told_all(whole) == (
        "2 runs stopped: 3 ended, 1 had to be killed, 0 left, 35.7 MB back. Unloaded llama3.1:8b (24.1 GB) in 1.0s."
    )
    stuck = StopAllReport(runs=("a-1", "b-1"), still=("b-1",), processes=report("stop"))
    assert told_all(stuck) == "1 run stopped: 0 ended, 0 left. Not ended: b-1."

"""Folders of old runs are given up, and never too many."""

from __future__ import annotations

from collections.abc import Iterable

from nightdesk.core.jobs.retention import KeptRun, outdated

DAY = 24 * 3600 * 10**9


def runs(*jobs: str, size: int = 1, mode: str = "full") -> tuple[KeptRun, ...]:
    """One a day, the first job's is the oldest."""
    return tuple(KeptRun(f"{job}-{day}", job, mode, day * DAY, size) for day, job in enumerate(jobs))


def gone(kept: Iterable[KeptRun], *, keep: int = 100, days: int = 1000, max_bytes: int = 10**9) -> str:
    found = outdated(kept, at_ns=100 * DAY, keep=keep, keep_ns=days * DAY, max_bytes=max_bytes)
    return " ".join(found)


def test_only_the_newest_are_kept() -> None:
    assert gone(runs("a", "a", "a", "a"), keep=2) == "a-0 a-1"


def test_the_newest_run_of_each_job_stays_however_old_it_is() -> None:
    assert gone(runs("rare", "a", "a", "a"), keep=2, days=1) == "a-1 a-2"


def test_the_newest_full_run_stays_behind_newer_runs_of_single_items() -> None:
    single = tuple(KeptRun(f"s-{day}", "a", "single", day * DAY, 1) for day in range(5, 9))
    assert gone((*runs("a"), *single), keep=1) == "s-5 s-6 s-7"


def test_runs_grow_old() -> None:
    assert gone(runs("a", "a", "a"), days=99) == "a-0"


def test_the_oldest_go_until_the_rest_fits() -> None:
    assert gone(runs("a", "a", "a", "a", size=10), max_bytes=25) == "a-0 a-1"
    assert gone((*runs("big", size=100), *runs("a", "a")), max_bytes=5) == "a-0"

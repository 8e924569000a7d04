"""The folders of old runs are removed from a real disk."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path

import pytest

from nightdesk.core.jobs.plans import plan_run
from nightdesk.engine.jobs.book import create_run
from nightdesk.engine.jobs.rotation import AT_ONCE, GONE, Rotation
from nightdesk.engine.jobs.runs import RunFolder
from nightdesk.model.config import JobSection, StoreSection
from nightdesk.model.job import RunState, StartRun

NOW = time.time_ns()


def make(runs: Path, age: int, state: RunState = "done", job: str = "a") -> RunFolder:
    plan = plan_run(JobSection(command="true"), StartRun(job=job), str(runs), lambda: ())
    work, folder = create_run(runs, plan, NOW - age * 10**9)
    folder.save(work.with_run(state=state))
    return folder


def names(runs: Path) -> set[str]:
    return {path.name for path in runs.iterdir()}


def test_old_runs_go_a_few_at_a_time_and_the_log_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folders = [make(tmp_path, age) for age in range(AT_ONCE + 4, 0, -1)]
    rotation, store = Rotation(tmp_path), StoreSection(keep_runs=2)
    with caplog.at_level(logging.INFO):
        assert rotation.step(store, (), NOW) == tuple(f.run_id for f in folders[:AT_ONCE])
    assert folders[0].run_id in caplog.text
    assert len(rotation.step(store, (), NOW)) == 2
    assert rotation.step(store, (), NOW) == ()
    assert names(tmp_path) == {f.run_id for f in folders[-2:]}


def test_what_goes_on_stays(tmp_path: Path) -> None:
    active, running = make(tmp_path, 9), make(tmp_path, 8, "running")
    with_keeper, newest = make(tmp_path, 7), make(tmp_path, 1)
    attempt = with_keeper.attempt(1)
    attempt.save_spec("/", ["true"], {})
    lock = attempt.lock_for_keeper()
    Rotation(tmp_path).step(StoreSection(keep_runs=1), {active.run_id}, NOW)
    os.close(lock)
    assert names(tmp_path) == {f.run_id for f in (active, running, with_keeper, newest)}
    Rotation(tmp_path).step(StoreSection(keep_runs=1), {active.run_id}, NOW)
    assert with_keeper.run_id not in names(tmp_path)


def test_what_an_engine_left_half_made_or_half_removed_goes_too(tmp_path: Path) -> None:
    broken, fresh, gone = tmp_path / "a-broken", tmp_path / "a-fresh", tmp_path / f"{GONE}a-1"
    for path in (broken, fresh, gone):
        path.mkdir()
    os.utime(broken, (1, 1))
    Rotation(tmp_path).step(StoreSection(), (), NOW)
    assert names(tmp_path) == {fresh.name}

"""A job of the configuration and a request become a plan, or a refusal that says what to do."""

from __future__ import annotations

import pytest

from nightdesk.core.jobs.plans import Plan, find_job, job_view, missing_item, plan_run
from nightdesk.model.config import JobSection, Retry
from nightdesk.model.errors import UsageError
from nightdesk.model.job import RunMode, StartRun

DRIVEN = JobSection(
    command="python t.py '{item}'",
    items="*.mp3",
    outputs="{stem}.json",
    needs=("x",),
    uses={"gpu": 1},
    timeout="2h",
    retry=Retry(attempts=3, backoff="30s", max="10m"),
)
OPAQUE = JobSection(
    command="python batch.py", single="python batch.py --single {item}", dry_run="python batch.py --dry"
)


def plan(
    section: JobSection, mode: RunMode = "full", item: str | None = None, items: tuple[str, ...] = ("a", "b")
) -> Plan:
    return plan_run(section, StartRun(job="j", mode=mode, item=item), "/desk", lambda: items)


def test_a_full_run_takes_everything_from_the_job() -> None:
    made = plan(DRIVEN)
    assert (made.arguments, made.items, made.outputs) == (
        ("python", "t.py", "{item}"),
        ("a", "b"),
        "{stem}.json",
    )
    assert (made.timeout_ns, made.grace_ns, made.attempts) == (7200 * 10**9, 10 * 10**9, 3)
    assert (made.needs, made.uses) == (("x",), {"gpu": 1})


def test_a_single_run_uses_the_gpu_but_waits_for_no_other_job_and_is_tried_once() -> None:
    made = plan(DRIVEN, "single", "a b.mp3")
    assert (made.item, made.items, made.needs, made.uses, made.attempts) == (
        "a b.mp3",
        None,
        (),
        {"gpu": 1},
        1,
    )
    assert plan(OPAQUE, "single", "x").arguments == ("python", "batch.py", "--single", "{item}")


def test_a_dry_run_waits_for_nothing() -> None:
    made = plan(DRIVEN, "dry")
    assert (made.arguments, made.items, made.needs, made.uses) == ((), ("a", "b"), (), {})
    assert plan(OPAQUE, "dry").arguments == ("python", "batch.py", "--dry")


@pytest.mark.parametrize(
    ("section", "mode", "item", "words"),
    [
        (DRIVEN, "single", None, "needs an item"),
        (DRIVEN, "full", "a", "single run only"),
        (JobSection(command="x"), "single", "a", "no place for one"),
        (JobSection(command="x"), "dry", None, "no dry run"),
        (JobSection(command="x {item}"), "full", None, "names no items"),
        (JobSection(command="x 'y"), "full", None, "can't be split"),
    ],
)
def test_what_can_not_be_is_refused(section: JobSection, mode: RunMode, item: str | None, words: str) -> None:
    with pytest.raises(UsageError, match=words) as fault:
        plan(section, mode, item)
    assert fault.value.hint


def test_a_run_without_items_has_nothing_to_do() -> None:
    with pytest.raises(UsageError, match=r"no file matches \*\.mp3 in /desk"):
        plan(DRIVEN, items=())


def test_an_unknown_job_gets_the_nearest_name_or_all_of_them() -> None:
    jobs = {"transcribe": DRIVEN, "other": OPAQUE}
    assert find_job(jobs, "other") is OPAQUE
    with pytest.raises(UsageError, match=r"Did you mean transcribe\?"):
        find_job(jobs, "transcript")
    with pytest.raises(UsageError, match="transcribe, other"):
        find_job(jobs, "zzz")
    with pytest.raises(UsageError, match="no jobs yet"):
        find_job({}, "zzz")


def test_an_unknown_item_gets_the_nearest_one() -> None:
    assert "Did you mean ep1.mp3?" in str(missing_item("ep1.mp", ("ep1.mp3", "zz")))


def test_the_view_of_a_job_says_what_it_can_do() -> None:
    view = job_view("t", DRIVEN, "t-1", None)
    assert (view.drives_items, view.has_single, view.has_dry_run, view.last_run) == (True, True, True, "t-1")
    view = job_view("b", JobSection(command="x"), None, None)
    assert (view.drives_items, view.has_single, view.has_dry_run) == (False, False, False)

"""Runs that have models unloaded first, fall back to another command, or start at a time: no process, no clock."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from nightdesk.core.configuration import parse_config
from nightdesk.core.jobs.events import (
    Admitted,
    Asked,
    Ended,
    EngineRestarted,
    FreeModels,
    HandedOver,
    HeldBack,
    Launch,
    Record,
    Ticked,
)
from nightdesk.core.jobs.failures import context_failure
from nightdesk.core.jobs.life import next_deadline_ns
from nightdesk.core.jobs.plans import plan_run
from nightdesk.core.jobs.start_times import Expected
from nightdesk.core.jobs.work import Work
from nightdesk.model.config import Fallback, JobSection, Retry, size_bytes
from nightdesk.model.errors import ConfigError, UsageError
from nightdesk.model.job import Failure, StartRun
from tests.unit.test_jobs import BROKEN, S, begin, go, work

SAID = "Unloaded llama3.1:8b (6.2 GB) in 1.2s."
GONE = Failure(kind="model_missing", evidence="model 'x' not found")
FALLBACK: dict[str, Any] = {"fallback": ("small",), "fallback_after": 2, "attempts": 3, "backoff_ns": S}
FALLBACK |= {"longest_pause_ns": 10 * S}


# Models first


def test_models_are_unloaded_before_the_command_starts() -> None:
    admitted, commands = go(work(unload_ns=S), Admitted())
    assert commands == (FreeModels(),)
    assert (admitted.run.state, admitted.run.reason) == ("waiting", "Asks the model servers what they hold.")
    ready, commands = go(admitted, HandedOver(SAID))
    assert commands == (Launch(),)
    running, _ = go(ready, *begin(S))
    assert (running.run.state, running.run.reason, running.run.handover) == ("running", None, SAID)


def test_a_run_that_drives_items_has_models_unloaded_once_and_starts_none_before() -> None:
    admitted, commands = go(work(unload_ns=S, items=("a", "b")), Admitted())
    assert commands == (FreeModels(),)
    assert admitted.room == 0
    ready, commands = go(admitted, HandedOver(SAID))
    assert (ready.room, commands) == (1, (Launch(),))
    _, commands = go(ready, *begin(S, 1, 0), Ended(1, 9 * S, exit_status=0))
    assert commands == (Launch(),)


@pytest.mark.parametrize("action", ["pause", "stop", "kill"])
def test_a_run_that_is_paused_or_ended_meanwhile_does_not_start_when_the_models_are_gone(action: Any) -> None:
    admitted, _ = go(work(unload_ns=S), Admitted())
    asked, _ = go(admitted, Asked(action, 2 * S))
    after, commands = go(asked, HandedOver(SAID))
    assert commands == ()
    assert after.run.state == ("paused" if action == "pause" else "stopped")


def test_models_are_unloaded_again_when_a_paused_run_is_let_in_again() -> None:
    admitted, _ = go(work(unload_ns=S), Admitted())
    _, commands = go(admitted, Asked("pause", 2 * S), Asked("resume", 3 * S), Admitted())
    assert commands == (FreeModels(),)


def test_a_restarted_engine_starts_nothing_that_was_waiting_for_models() -> None:
    admitted, _ = go(work(unload_ns=S), Admitted())
    after, commands = go(admitted, EngineRestarted(2 * S), HandedOver(SAID))
    assert (after.run.state, commands) == ("paused", ())
    assert after.run.reason == "The engine was restarted; resume starts it."


# Fallback


def test_after_so_many_failures_the_fallback_takes_over() -> None:
    first, _ = go(work(**FALLBACK), Admitted(), *begin(S), Ended(1, 2 * S, exit_status=1, failure=BROKEN))
    assert first.run.reason == "Attempt 1 of 3 failed (ValueError: x); tries again after 1.0s."
    second, _ = go(first, Admitted(), *begin(3 * S, 2))
    assert not second.run.fallback
    failed, _ = go(second, Ended(2, 4 * S, exit_status=1, failure=BROKEN))
    assert failed.run.reason == "Attempt 2 of 3 failed (ValueError: x); the fallback follows after 2.0s."
    third, _ = go(failed, Admitted(), *begin(7 * S, 3))
    assert (third.run.fallback, third.run.flights[0].fallback, third.run.attempt) == (True, True, 3)
    over, _ = go(third, Ended(3, 9 * S, exit_status=1, failure=BROKEN))
    assert (over.run.state, over.run.fallback) == ("failed", True)


def test_what_the_command_can_never_mend_leads_to_the_fallback_at_once() -> None:
    failed, _ = go(work(**FALLBACK), Admitted(), *begin(S), Ended(1, 2 * S, exit_status=1, failure=GONE))
    assert failed.run.reason == "Attempt 1 of 3 failed (model 'x' not found); the fallback follows at once."
    second, _ = go(failed, Admitted(), *begin(2 * S, 2))
    assert (second.run.fallback, second.run.attempt) == (True, 2)
    over, _ = go(second, Ended(2, 3 * S, exit_status=1, failure=GONE))
    assert over.run.state == "failed", "the fallback can't mend it either"


def test_a_context_that_is_too_small_leads_to_the_fallback_at_once_and_without_one_to_another_try() -> None:
    cut = context_failure("Only 2,050 of about 9,000 prompt tokens reached the model (exchange 7).", BROKEN)
    ended = Ended(1, 2 * S, exit_status=1, failure=cut)
    failed, _ = go(work(**FALLBACK), Admitted(), *begin(S), ended)
    assert (failed.run.reason or "").endswith("; the fallback follows at once.")
    alone, _ = go(work(**(FALLBACK | {"fallback": ()})), Admitted(), *begin(S), ended)
    assert (alone.run.reason or "").endswith("; tries again after 1.0s.")


def test_each_item_falls_back_by_itself_and_its_record_says_so() -> None:
    items = work(items=("a", "b"), **(FALLBACK | {"fallback_after": 1, "backoff_ns": 0}))
    going, _ = go(items, Admitted(), *begin(S, 1, 0), Ended(1, 2 * S, exit_status=1, failure=BROKEN))
    going, _ = go(going, Ticked(2 * S), *begin(3 * S, 2, 0))
    assert going.run.flights[0].fallback
    assert record_of(going, Ended(2, 4 * S, exit_status=0)).fallback
    going, _ = go(going, Ended(2, 4 * S, exit_status=0), *begin(5 * S, 3, 1))
    assert not going.run.flights[0].fallback
    assert not record_of(going, Ended(3, 6 * S, exit_status=0)).fallback


def record_of(now: Work, event: Ended) -> Any:
    from nightdesk.core.jobs.life import advance

    return next(command.record for command in advance(now, event)[1] if isinstance(command, Record))


def test_a_job_with_a_fallback_has_as_many_attempts_as_it_takes_to_come_to_it() -> None:
    section = JobSection(command="x", fallback=Fallback(command="y --small", after=2))
    plan = plan_run(section, StartRun(job="a"), "/d", tuple)
    assert (plan.attempts, plan.fallback, plan.fallback_after) == (3, ("y", "--small"), 2)
    more = JobSection(command="x", retry=Retry(attempts=5), fallback=Fallback(command="y"))
    assert plan_run(more, StartRun(job="a"), "/d", tuple).attempts == 5


def test_a_model_takes_its_place_in_the_command_and_another_one_follows_after_failures() -> None:
    section = JobSection(
        command="ask --model {model} {item}",
        items="*.txt",
        single="ask -v --model={model} {item}",
        model="qwen2.5:32b q4",
        fallback=Fallback(model="llama3.1:8b"),
    )
    plan = plan_run(section, StartRun(job="a"), "/d", lambda: ("x.txt",))
    assert plan.arguments == ("ask", "--model", "qwen2.5:32b q4", "{item}")
    assert plan.fallback == ("ask", "--model", "llama3.1:8b", "{item}")
    assert (plan.attempts, plan.fallback_after) == (2, 1)
    single = plan_run(section, StartRun(job="a", mode="single", item="x.txt"), "/d", tuple)
    assert single.arguments == ("ask", "-v", "--model=qwen2.5:32b q4", "{item}")
    other = JobSection(command="x {model}", model="m", fallback=Fallback(command="y {model}", after=2))
    assert plan_run(other, StartRun(job="a"), "/d", tuple).fallback == ("y", "m")


# A time to start, and what a waiting run says


def test_a_run_with_a_time_is_looked_at_then_and_says_after_a_restart_that_it_needs_a_word() -> None:
    now, start = 10**18, 10**18 + 3600 * S
    late = work(start_ns=start)
    assert next_deadline_ns(late) == start
    paused, _ = go(late, EngineRestarted(now))
    clock = datetime.fromtimestamp(start / 1e9).strftime("%H:%M")
    assert paused.run.state == "paused"
    assert paused.run.reason == f"The engine was restarted; resume lets it start at {clock}."
    missed, _ = go(late, EngineRestarted(start + S))
    assert missed.run.reason == "The engine was restarted; resume starts it."


def test_estimates_that_differ_by_seconds_are_one() -> None:
    held, _ = go(work(), HeldBack("Waits.", Expected(1000 * S)))
    assert held.run.expected_ns == 1000 * S
    same, _ = go(held, HeldBack("Waits.", Expected(1020 * S)))
    assert same == held
    other, _ = go(same, HeldBack("Waits.", Expected(1200 * S)))
    assert other.run.expected_ns == 1200 * S
    unknown, _ = go(other, HeldBack("Waits.", None))
    assert unknown.run.expected_ns is None
    assert go(other, Admitted())[0].run.expected_ns is None


def test_a_dry_run_can_not_be_put_off() -> None:
    with pytest.raises(UsageError, match="can't be scheduled"):
        plan_run(JobSection(command="x", dry_run="y"), StartRun(job="a", mode="dry", at_ns=1), "/d", tuple)


# The configuration


@pytest.mark.parametrize(
    ("text", "size"), [("512MB", 512 * 10**6), ("20GB", 20 * 10**9), ("1.5 TiB", 3 * 2**39)]
)
def test_memory_is_written_with_its_unit(text: str, size: int) -> None:
    config = parse_config(f'[jobs.a]\ncommand = "x"\nmemory = "{text}"\n', {})
    assert size_bytes(config.jobs["a"].memory or "") == size


@pytest.mark.parametrize(
    ("lines", "fault"),
    [
        ("uses = { gpu = 2 }", '[jobs.a] uses 2 of "gpu", and there is 1; [slots] gpu = 2 makes room'),
        ("uses = { whisper = 3 }", '[jobs.a] uses 3 of "whisper", and there is 2'),
        ('memory = "20"', '[jobs.a] memory must be an amount of memory such as "512MB" or "20GB", not "20"'),
        ("uses = { gpu = 0 }", "[jobs.a.uses] gpu must be a whole number from 1 to 1000, not 0"),
        ('fallback = { command = "y {item}" }', "[jobs.a] fallback holds {item}, but the command does not"),
        ('fallback = { command = "y \'" }', "[jobs.a.fallback] command can't be split"),
        ("fallback = { after = 2 }", "[jobs.a] fallback needs a command, or a model"),
        ('fallback = { model = "m" }', "[jobs.a] fallback has a model, but the command has no {model}"),
        ('dry_run = "x {model}"', "[jobs.a] dry_run holds {model}, but the job has no model"),
    ],
)
def test_faults_of_slots_memory_and_fallback_are_told(lines: str, fault: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(f'[slots]\nwhisper = 2\n[jobs.a]\ncommand = "x"\n{lines}\n', {})
    assert any(fault in problem for problem in caught.value.problems), caught.value.problems


def test_a_slot_that_is_not_named_has_room_for_one() -> None:
    config = parse_config(
        '[slots]\nwhisper = 2\n[jobs.a]\ncommand = "x"\nuses = { gpu = 1, whisper = 2 }\n', {}
    )
    assert config.slots == {"whisper": 2}

"""Who may start, and why the others wait."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from nightdesk.core.jobs.plans import Plan
from nightdesk.core.jobs.queue import AGEING_NS, admit
from nightdesk.core.jobs.work import Attempt, Delayed, Ledger, Work
from nightdesk.model.job import Run

GPU = {"gpu": 1}


def work(
    name: str, created_ns: int = 0, state: str = "waiting", ledger: Ledger | None = None, **plan: Any
) -> Work:
    run = Run(
        id=name,
        job=name,
        mode="full",
        state=state,  # type: ignore[arg-type] # - a table of states
        command="x",
        folder="/r",
        created_ns=created_ns,
    )
    made = Plan(job=name, mode="full", arguments=("x",), folder="/d", grace_ns=1, **plan)
    return Work(run, made, ledger or Ledger())


RUNNING = Ledger(serial=1, attempts=(Attempt(serial=1, tries=1, launched_ns=0),), admitted=True)
RETRYING = Ledger(serial=1, delayed=(Delayed(index=None, tries=1, due_ns=100),))


def test_runs_that_share_nothing_start_together() -> None:
    assert admit([work("a"), work("b", 1)], {}, 2).start == ("a", "b")


def test_one_at_a_time_uses_the_gpu_and_the_other_names_it() -> None:
    admission = admit([work("a", uses=GPU), work("b", 1, uses=GPU), work("c", 2)], {}, 3)
    assert admission.start == ("a", "c")
    assert admission.reasons == {"b": "Waits for the gpu, which a uses."}


def test_a_paused_run_with_a_process_keeps_the_gpu_and_one_without_does_not() -> None:
    held = work("a", state="paused", ledger=RUNNING, uses=GPU)
    assert admit([held, work("b", uses=GPU)], {}, 1).start == ()
    idle = work("a", state="paused", ledger=Ledger(serial=1), uses=GPU)
    assert admit([idle, work("b", uses=GPU)], {}, 1).start == ("b",)


def test_a_run_that_pauses_between_attempts_lets_others_use_the_gpu() -> None:
    retrying = work("a", ledger=RETRYING, uses=GPU)
    assert admit([retrying, work("b", uses=GPU)], {}, 50).start == ("b",)
    assert admit([retrying], {}, 100).start == ("a",)


def test_priority_decides_and_long_waiting_raises_it() -> None:
    late = work("train", AGEING_NS, uses=GPU, priority="training")
    early = work("night", 0, uses=GPU, priority="scheduled")
    assert admit([early, late], {}, AGEING_NS).start == ("train",)
    assert admit([early, replace_created(late, 4 * AGEING_NS)], {}, 4 * AGEING_NS).start == ("night",)


def replace_created(before: Work, created_ns: int) -> Work:
    return Work(replace(before.run, created_ns=created_ns), before.plan, before.ledger)


def test_a_run_waits_until_what_it_needs_has_ended_well() -> None:
    run = work("b", needs=("a",))
    need = work("a").run
    assert admit([run], {}, 1).reasons == {"b": "Waits for a, which has not run yet."}
    assert admit([run], {"a": replace(need, state="running")}, 1).reasons == {"b": "Waits for a."}
    assert admit([run], {"a": replace(need, state="paused")}, 1).reasons == {
        "b": "Waits for a, which is paused."
    }
    two = admit([work("c", needs=("a", "b"))], {name: replace(need, state="running") for name in "ab"}, 1)
    assert two.reasons == {"c": "Waits for a and b."}
    assert admit([run], {"a": need}, 1).reasons == {"b": "Waits for a, which waits too."}
    assert admit([run], {"a": replace(need, state="failed")}, 1).reasons == {
        "b": "Waits for a: its last run ended as failed."
    }
    assert admit([run], {"a": replace(need, state="done")}, 1).start == ("b",)


def test_a_run_that_has_begun_does_not_wait_for_its_needs_again() -> None:
    begun = work("b", ledger=RETRYING, needs=("a",))
    assert admit([begun], {"a": replace(work("a").run, state="running")}, 200).start == ("b",)

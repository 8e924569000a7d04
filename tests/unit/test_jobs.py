"""The life of a run as a state machine: no process, no file, no clock."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from nightdesk.core.jobs.events import (
    Admitted,
    Asked,
    Command,
    Ended,
    EngineRestarted,
    Event,
    HeldBack,
    ItemsClosed,
    ItemsMoved,
    ItemsSkipped,
    KeeperLost,
    Launch,
    Launched,
    NeverBegan,
    Paused,
    Record,
    Remarked,
    Resumed,
    Signal,
    Stalled,
    Started,
    Ticked,
)
from nightdesk.core.jobs.life import HELD, advance, check_action, next_deadline_ns
from nightdesk.core.jobs.plans import Plan
from nightdesk.core.jobs.retries import retry_pause_ns
from nightdesk.core.jobs.work import Ledger, Work, queue_of
from nightdesk.model.base import ProcessKey
from nightdesk.model.errors import UsageError
from nightdesk.model.job import Failure, Run, Usage

S = 10**9
KEEPER = ProcessKey(pid=10, started_ns=1)
PROCESS = ProcessKey(pid=11, started_ns=2)
BROKEN = Failure(kind="error", evidence="ValueError: x")


def work(**plan: Any) -> Work:
    fields: dict[str, Any] = {"job": "a", "mode": "full", "arguments": ("x",), "folder": "/d", "grace_ns": S}
    made = Plan(**(fields | plan))
    total = len(made.items) if made.items is not None else None
    run = Run(
        id="a-1",
        job="a",
        mode="full",
        state="waiting",
        command="x",
        folder="/r",
        created_ns=0,
        items_total=total,
    )
    ledger, queue = queue_of(made, Ledger(), ())
    return Work(run, made, ledger, queue)


def go(now: Work, *events: Event) -> tuple[Work, tuple[Command, ...]]:
    commands: tuple[Command, ...] = ()
    for event in events:
        now, commands = advance(now, event)
    return now, tuple(command for command in commands if not isinstance(command, Record))


def begin(at_ns: int, serial: int = 1, index: int | None = None) -> tuple[Event, ...]:
    return Launched("x", 0, at_ns, index), Started(serial, KEEPER, PROCESS, at_ns + 1)


def sweep(serial: int) -> Signal:
    """What is left of a failed attempt is ended before the next one."""
    return Signal("kill", serial, PROCESS)


def running(**plan: Any) -> Work:
    return go(work(**plan), Admitted(), *begin(S, 1, 0 if "items" in plan else None))[0]


def test_a_run_waits_starts_and_is_done() -> None:
    now, commands = go(work(), HeldBack("Waits for b."))
    assert (now.run.state, now.run.reason) == ("waiting", "Waits for b.")
    now, commands = go(now, Admitted())
    assert commands == (Launch(),) and now.run.state == "waiting"
    now, _ = go(now, Launched("x y", 40, S))
    assert now.run.state == "waiting" and now.in_flight and now.ledger.serial == 1
    now, _ = go(now, Started(1, KEEPER, PROCESS, 2 * S))
    assert (now.run.state, now.run.process, now.run.reason) == ("running", PROCESS, None)
    usage = Usage(user_ns=1, system_ns=2, max_rss_bytes=3)
    now, commands = go(now, Ended(1, 3 * S, exit_status=0, usage=usage))
    assert (now.run.state, now.run.ended_ns, now.run.usage, commands) == ("done", 3 * S, usage, ())


def test_nothing_changes_a_run_that_has_ended() -> None:
    now, _ = go(running(), Ended(1, 5 * S, exit_status=0))
    for event in (
        Admitted(),
        Paused(6 * S),
        Ended(1, 6 * S, failure=BROKEN),
        KeeperLost(1, "x", 6 * S),
        Asked("stop", 6 * S),
    ):
        assert advance(now, event) == (now, ())


def test_a_second_end_of_the_same_attempt_changes_nothing() -> None:
    now, _ = go(running(attempts=2, backoff_ns=S, longest_pause_ns=S), Ended(1, 5 * S, failure=BROKEN))
    assert advance(now, Ended(1, 6 * S, exit_status=0)) == (now, ())


def test_attempts_are_repeated_with_growing_pauses_until_there_are_none_left() -> None:
    now = running(attempts=3, backoff_ns=30 * S, longest_pause_ns=45 * S)
    now, commands = go(now, Ended(1, 100 * S, exit_status=1, failure=BROKEN))
    assert (now.run.state, commands, next_deadline_ns(now)) == ("waiting", (sweep(1),), 130 * S)
    assert now.run.reason == "Attempt 1 of 3 failed (ValueError: x); tries again after 30.0s."
    now, _ = go(now, Admitted(), *begin(130 * S, 2), Ended(2, 200 * S, exit_status=1, failure=BROKEN))
    assert (now.run.attempt, next_deadline_ns(now)) == (2, 245 * S)
    now, _ = go(now, Admitted(), *begin(245 * S, 3), Ended(3, 300 * S, exit_status=1, failure=BROKEN))
    assert (now.run.state, now.run.attempt, now.run.failure) == ("failed", 3, BROKEN)


def test_pauses_between_attempts_double_up_to_the_longest() -> None:
    plan = work(backoff_ns=S, longest_pause_ns=7 * S).plan
    assert [retry_pause_ns(plan, tries) for tries in (1, 2, 3, 4, 99)] == [S, 2 * S, 4 * S, 7 * S, 7 * S]


def test_items_that_failed_together_are_not_tried_again_together() -> None:
    names = tuple(f"i{number}" for number in range(40))
    now, _ = go(work(items=names, parallel=40, attempts=2, backoff_ns=100 * S, longest_pause_ns=900 * S))
    now, _ = go(now, Admitted(), *(event for at in range(40) for event in begin(S, at + 1, at)))
    now, _ = go(now, *(Ended(at + 1, 10 * S, failure=BROKEN) for at in range(40)))
    due = [each.due_ns - 10 * S for each in now.ledger.delayed]
    assert all(80 * S <= each <= 100 * S for each in due)
    assert len({each // S for each in due}) > 10


@pytest.mark.parametrize("kind", ["not_found", "model_missing"])
def test_a_failure_that_another_attempt_can_not_help_is_final(kind: str) -> None:
    now, _ = go(running(attempts=5), Ended(1, 9 * S, failure=Failure(kind=kind, evidence="x")))
    assert now.run.state == "failed"


def test_paused_time_does_not_count_towards_the_limit() -> None:
    now = running(timeout_ns=100 * S)
    assert next_deadline_ns(now) == 101 * S
    now, _ = go(now, Paused(50 * S))
    assert next_deadline_ns(now) is None and advance(now, Ticked(500 * S)) == (now, ())
    now, _ = go(now, Resumed(250 * S))
    assert next_deadline_ns(now) == 301 * S and now.run.state == "running"
    assert go(now, Ticked(300 * S))[1] == ()
    now, commands = go(now, Ticked(301 * S))
    assert commands == (Signal("stop"),)
    assert go(now, Ticked(302 * S))[1] == ()
    now, _ = go(now, Ended(1, 303 * S, signal=15, failure=Failure(kind="killed", evidence="x")))
    assert now.run.state == "failed" and now.run.failure is not None and now.run.failure.kind == "timeout"


def test_an_attempt_without_a_sign_of_life_is_ended_and_tried_again() -> None:
    now = running(attempts=2, backoff_ns=S, longest_pause_ns=S)
    now, commands = go(now, Stalled(1, "No output, no CPU and no traffic for 10m.", 50 * S))
    assert commands == (Signal("stop"),)
    assert go(now, Stalled(1, "again", 51 * S))[1] == ()
    now, _ = go(now, Ended(1, 52 * S, signal=15, failure=Failure(kind="killed", evidence="x")))
    assert now.run.state == "waiting" and "No output, no CPU" in (now.run.reason or "")


def test_a_stopped_run_is_stopped_and_not_failed() -> None:
    now, commands = go(running(attempts=3), Asked("stop", 5 * S))
    assert (now.run.state, commands) == ("stopping", (Signal("stop"),))
    now, _ = go(now, Ended(1, 6 * S, signal=15, failure=Failure(kind="killed", evidence="x")))
    assert (now.run.state, now.run.failure, now.run.signal) == ("stopped", None, 15)


def test_what_could_not_be_ended_is_still_said_after_the_end() -> None:
    now, _ = go(
        running(),
        Asked("stop", 5 * S),
        Remarked("These processes could not be ended: 7."),
        Ended(1, 6 * S, signal=9),
    )
    assert (now.run.state, now.run.reason) == ("stopped", "These processes could not be ended: 7.")


def test_a_run_without_a_process_is_stopped_at_once() -> None:
    assert go(work(), Asked("stop", S))[0].run.state == "stopped"
    assert go(work(), Asked("pause", S), Asked("kill", S))[0].run.state == "stopped"


def test_a_waiting_run_is_held_and_released() -> None:
    now, commands = go(work(), Asked("pause", S))
    assert (now.run.state, now.run.reason, commands) == ("paused", HELD, ())
    now, commands = go(now, Asked("resume", 2 * S))
    assert (now.run.state, now.run.paused_ns, commands) == ("waiting", None, ())


def test_actions_that_make_no_sense_are_refused_with_the_state() -> None:
    ended = replace(work().run, state="done")
    stopping = replace(work().run, state="stopping")
    with pytest.raises(UsageError, match="it has ended"):
        check_action(ended, "stop")
    with pytest.raises(UsageError, match="being stopped"):
        check_action(stopping, "resume")
    with pytest.raises(UsageError, match="has no items"):
        check_action(work().run, "hold")
    check_action(stopping, "kill")


def test_a_pause_or_a_resume_that_comes_through_after_a_stop_does_not_take_the_stop_back() -> None:
    now, _ = go(running(), Asked("pause", 5 * S))
    assert (now.run.state, now.run.reason) == ("running", "Is being paused.")
    now, _ = go(now, Asked("stop", 6 * S), Paused(7 * S), Resumed(8 * S))
    assert (now.run.state, now.run.paused_ns) == ("stopping", None)
    assert go(now, Ended(1, 9 * S, signal=15))[0].run.state == "stopped"


def test_items_are_worked_on_one_after_the_other() -> None:
    now, commands = go(work(items=("a", "b", "c")), Admitted(), *begin(S, 1, 0))
    assert now.run.item == "a"
    now, commands = go(now, Ended(1, 11 * S, exit_status=0))
    assert (commands, now.run.state, now.run.items_done) == ((Launch(),), "running", 1)
    assert now.run.progress is not None
    assert (now.run.progress.done, now.run.progress.total, now.run.progress.eta_ns) == (1, 3, 20 * S)
    now, commands = go(now, *begin(11 * S, 2, 1), Ended(2, 12 * S, exit_status=1, failure=BROKEN))
    assert (commands, now.run.items_failed, now.run.item) == ((sweep(2), Launch()), 1, "b")
    now, commands = go(now, *begin(12 * S, 3, 2), Ended(3, 13 * S, exit_status=0))
    assert (now.run.state, commands, now.run.exit_status) == ("failed", (), 1)
    assert now.run.failure is not None and now.run.failure.evidence == "1 of 3 items failed: b"


def test_each_item_that_is_over_is_recorded_with_the_attempt_that_decided_it() -> None:
    now = running(items=("a", "b"))
    _, commands = advance(now, Ended(1, 11 * S, exit_status=1, failure=BROKEN))
    records = [command.record for command in commands if isinstance(command, Record)]
    assert [(r.item, r.index, r.state, r.serial, r.attempts) for r in records] == [("a", 0, "failed", 1, 1)]
    assert records[0].failure == BROKEN and records[0].started_ns == S + 1 and records[0].ended_ns == 11 * S


def test_several_items_are_in_work_at_once_up_to_the_limit() -> None:
    now, _ = go(work(items=("a", "b", "c", "d"), parallel=2), Admitted(), *begin(S, 1, 0))
    assert now.room == 1
    now, _ = go(now, *begin(S, 2, 1))
    assert now.room == 0 and [flight.item for flight in now.run.flights] == ["a", "b"]
    now, commands = go(now, Ended(2, 11 * S, exit_status=0))
    assert commands == (Launch(),) and [flight.item for flight in now.run.flights] == ["a"]
    now, _ = go(now, *begin(11 * S, 3, 2), Ended(1, 12 * S, exit_status=0), *begin(12 * S, 4, 3))
    now, commands = go(now, Ended(4, 20 * S, exit_status=0))
    assert (now.run.state, commands, now.remaining) == ("running", (), 1)
    now, _ = go(now, Ended(3, 21 * S, exit_status=0))
    assert (now.run.state, now.run.items_done, now.run.flights, now.run.exit_status) == ("done", 4, (), 0)


def test_the_limit_of_one_item_ends_only_that_item() -> None:
    now, _ = go(work(items=("a", "b"), parallel=2, timeout_ns=10 * S), Admitted(), *begin(S, 1, 0))
    now, _ = go(now, *begin(6 * S, 2, 1))
    now, commands = go(now, Ticked(11 * S))
    assert commands == (Signal("stop", 1),)


def test_an_item_that_failed_waits_for_its_next_attempt_while_others_go_on() -> None:
    now = running(items=("a", "b"), attempts=2, backoff_ns=30 * S, longest_pause_ns=60 * S)
    now, commands = go(now, Ended(1, 11 * S, failure=BROKEN))
    assert (commands, now.run.state) == ((sweep(1), Launch()), "running")
    assert list(now.next_items(11 * S)) == [1] and list(now.next_items(41 * S)) == [0, 1]
    now, _ = go(now, *begin(11 * S, 2, 1), Ended(2, 12 * S, exit_status=0))
    due_ns = now.ledger.delayed[0].due_ns
    assert (now.run.state, next_deadline_ns(now)) == ("waiting", due_ns) and 35 * S <= due_ns <= 41 * S
    now, commands = go(now, Admitted())
    now, _ = go(now, *begin(41 * S, 3, 0))
    assert now.run.attempt == 2
    now, _ = go(now, Ended(3, 50 * S, exit_status=0))
    assert (now.run.state, now.run.items_done) == ("done", 2)


def test_skipped_items_are_done_but_do_not_speed_up_the_forecast() -> None:
    now, _ = go(work(items=("a", "b", "c", "d")), Admitted(), ItemsSkipped((0, 1), S))
    assert (now.run.items_done, now.run.items_skipped, now.queue.pending) == (2, 2, (2, 3))
    now, _ = go(now, *begin(S, 1, 2), Ended(1, 11 * S, exit_status=0))
    assert now.run.progress is not None and now.run.progress.eta_ns == 10 * S
    now, commands = go(now, ItemsSkipped((3,), 12 * S))
    assert (now.run.state, now.run.items_done, commands) == ("done", 4, ())


def test_the_user_puts_items_first_last_aside_and_back() -> None:
    now = running(items=("a", "b", "c", "d", "e"))
    now, _ = go(now, ItemsMoved((3,), "first", 2 * S), ItemsMoved((1,), "last", 2 * S))
    assert now.queue.pending == (3, 2, 4, 1)
    now, _ = go(now, ItemsMoved((2,), "skip", 3 * S))
    assert now.queue.pending == (3, 4, 1) and now.run.items_skipped == 1
    now, _ = go(now, ItemsMoved((2, 0), "again", 4 * S))
    assert now.queue.pending == (2, 3, 4, 1), "the item in work can't be done again"
    assert now.run.items_skipped == 0
    now, _ = go(now, Ended(1, 5 * S, failure=BROKEN), ItemsMoved((0,), "again", 6 * S))
    assert now.queue.pending[0] == 0 and now.run.items_failed == 0


def test_a_run_read_from_disk_continues_where_its_records_end() -> None:
    now = running(items=("a", "b", "c", "d"))
    now, _ = go(now, ItemsMoved((3,), "first", 2 * S))
    _, commands = advance(now, Ended(1, 11 * S, exit_status=0))
    records = [command.record for command in commands if isinstance(command, Record)]
    # The engine died after the record was written and before the run was.
    ledger, queue = queue_of(now.plan, now.ledger, records)
    assert ledger.attempts == () and queue.done == 1 and queue.pending == (3, 1, 2)
    again = replace(records[0], state="again")
    assert queue_of(now.plan, Ledger(), [*records, again])[1].pending == (0, 1, 2, 3)


def test_items_that_wait_for_another_job_are_left_out_until_they_open() -> None:
    now, _ = go(
        work(items=("a", "b", "c")), ItemsClosed(frozenset({0, 1}), "Waits for x to do a.", S), Admitted()
    )
    assert list(now.next_items(S)) == [2]
    now, _ = go(now, *begin(S, 1, 2), Ended(1, 2 * S, exit_status=0))
    assert (now.run.state, now.run.reason, now.due_ns) == ("waiting", "Waits for x to do a.", None)
    now, _ = go(now, ItemsClosed(frozenset({1}), "Waits for x to do b.", 3 * S))
    assert now.due_ns == 0 and go(now, Admitted())[1] == (Launch(),)


def test_pause_after_this_item_lets_it_end_and_starts_no_other() -> None:
    now, commands = go(running(items=("a", "b")), Asked("hold", 5 * S))
    assert (now.run.state, now.run.holding, commands) == ("running", True, ())
    now, commands = go(now, Ended(1, 6 * S, exit_status=0))
    assert (now.run.state, now.run.holding, commands) == ("paused", False, ())
    now, _ = go(now, Asked("resume", 7 * S))
    assert go(now, Admitted())[1] == (Launch(),)


def test_resume_takes_back_a_pause_after_this_item() -> None:
    now, _ = go(running(items=("a", "b")), Asked("hold", 5 * S), Asked("resume", 6 * S))
    assert not now.run.holding and go(now, Ended(1, 7 * S, exit_status=0))[1] == (Launch(),)


def test_an_item_that_ends_while_the_run_is_paused_starts_no_other() -> None:
    now, _ = go(running(items=("a", "b")), Paused(5 * S))
    now, commands = go(now, Ended(1, 6 * S, signal=9, failure=BROKEN))
    assert (now.run.state, commands) == ("paused", (sweep(1),))
    assert now.run.reason == "It was paused; resume goes on with 1 item."


def test_a_stopped_run_keeps_the_item_in_work_for_another_time() -> None:
    now, _ = go(running(items=("a", "b")), Asked("stop", 5 * S), Ended(1, 6 * S, signal=15, failure=BROKEN))
    assert (now.run.state, now.run.items_failed, now.queue.pending) == ("stopped", 0, (0, 1))


def test_a_program_that_can_not_be_started_ends_the_whole_run() -> None:
    missing = Failure(kind="not_found", evidence="There is no program named x.")
    now, commands = go(running(items=("a", "b"), attempts=3), Ended(1, 6 * S, failure=missing))
    assert (now.run.state, now.run.failure, commands) == ("failed", missing, ())


def test_after_a_restart_the_item_in_work_goes_on_and_nothing_new_starts() -> None:
    now, commands = go(running(items=("a", "b", "c")), EngineRestarted(5 * S))
    assert (now.run.state, commands) == ("running", ()) and "pauses" in (now.run.reason or "")
    now, commands = go(now, Ended(1, 6 * S, exit_status=0))
    assert (now.run.state, commands) == ("paused", ())
    assert now.run.reason == "The engine was restarted; resume goes on with 2 items."
    now, _ = go(now, Asked("resume", 7 * S))
    assert now.run.state == "waiting"
    assert go(now, Admitted())[1] == (Launch(),)


def test_resume_during_the_adopted_item_lets_the_next_one_start() -> None:
    now, commands = go(running(items=("a", "b")), EngineRestarted(5 * S), Asked("resume", 6 * S))
    assert (now.run.state, now.run.reason, commands) == ("running", None, ())
    assert go(now, Ended(1, 7 * S, exit_status=0))[1] == (Launch(),)


def test_a_waiting_run_stands_still_after_a_restart() -> None:
    now, _ = go(work(), EngineRestarted(5 * S))
    assert (now.run.state, now.run.reason) == ("paused", "The engine was restarted; resume starts it.")
    held, _ = go(work(), Asked("pause", S), EngineRestarted(5 * S))
    assert held.run.reason == HELD


def test_an_attempt_of_which_nothing_ever_ran_counts_for_nothing() -> None:
    now, _ = go(
        work(items=("a", "b"), attempts=1), Admitted(), Launched("x", 0, S, 0), EngineRestarted(2 * S)
    )
    now, _ = go(now, NeverBegan(1, 3 * S))
    assert (now.run.state, now.queue.pending, now.run.items_failed) == ("paused", (0, 1), 0)
    alone, _ = go(work(), Admitted(), Launched("x", 0, S), EngineRestarted(2 * S), NeverBegan(1, 3 * S))
    assert alone.run.state == "paused"
    alone, _ = go(alone, Asked("resume", 4 * S), Admitted(), *begin(5 * S, 2))
    assert (alone.run.state, alone.run.attempt) == ("running", 1)


def test_a_lost_run_says_why() -> None:
    now, _ = go(running(), KeeperLost(1, "Its keeper went away.", 9 * S))
    assert (now.run.state, now.run.reason, now.run.ended_ns) == ("lost", "Its keeper went away.", 9 * S)


def test_an_item_whose_keeper_was_lost_is_cleared_away_and_done_again() -> None:
    now, commands = go(running(items=("a", "b"), attempts=1), KeeperLost(1, "Killed.", 9 * S))
    assert commands == (Signal("kill", 1, PROCESS), Launch()) and list(now.next_items(9 * S)) == [0, 1]
    for serial in (2, 3):
        now, commands = go(now, *begin(S, serial, 0), KeeperLost(serial, "Killed.", 9 * S))
    assert now.run.items_failed == 1 and list(now.next_items(9 * S)) == [1]


def test_resources_of_several_attempts_are_added() -> None:
    one = Usage(user_ns=1, system_ns=2, max_rss_bytes=30)
    two = Usage(user_ns=10, system_ns=20, max_rss_bytes=3)
    now, _ = go(running(items=("a", "b")), Ended(1, 2 * S, exit_status=0, usage=one))
    now, _ = go(now, *begin(3 * S, 2, 1), Ended(2, 4 * S, exit_status=0, usage=two))
    assert now.run.usage == Usage(user_ns=11, system_ns=22, max_rss_bytes=30)


def test_a_hundred_thousand_items_cost_a_moment_each() -> None:
    now = work(items=tuple(map(str, range(100_000))))
    now, _ = go(now, Admitted())
    for serial in range(1, 201):
        now, _ = go(now, *begin(S, serial, serial - 1), Ended(serial, 2 * S, exit_status=0))
    assert now.run.items_done == 200 and now.queue.pending[0] == 200

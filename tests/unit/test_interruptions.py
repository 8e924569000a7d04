"""An engine, a keeper or the room on the disk goes away in the middle of a run."""

from __future__ import annotations

from nightdesk.core.jobs.events import (
    Admitted,
    Asked,
    ClockJumped,
    Ended,
    EngineRestarted,
    ItemsMoved,
    KeeperLost,
    Launch,
    Launched,
    NeverBegan,
    Paused,
    Resumed,
    Signal,
    Stalled,
    Swept,
    Ticked,
)
from nightdesk.core.jobs.life import next_deadline_ns
from nightdesk.core.jobs.work import Sweep, Work, queue_of
from nightdesk.model.job import ItemRecord
from tests.unit.test_jobs import BROKEN, PROCESS, S, begin, go, running, sweep, work


def stored(work: Work, *records: ItemRecord) -> Work:
    """The run as the next engine reads it."""
    ledger, queue = queue_of(work.plan, work.ledger, records)
    return Work(work.run, work.plan, ledger, queue)


def done(index: int, serial: int) -> ItemRecord:
    return ItemRecord(item="ab"[index], index=index, state="done", attempts=1, serial=serial, ended_ns=9 * S)


def test_a_run_whose_last_item_was_recorded_before_the_engine_died_is_done() -> None:
    last, _ = go(running(items=("a", "b")), Ended(1, 5 * S, exit_status=0), *begin(6 * S, 2, 1))
    found = stored(last, done(0, 1), done(1, 2))
    assert found.run.items_done == 1 and not found.in_flight
    now, _ = go(found, EngineRestarted(20 * S))
    assert (now.run.state, now.run.items_done, now.run.exit_status) == ("done", 2, 0)


def test_a_run_that_was_being_stopped_without_anything_in_work_is_stopped_by_the_next_engine() -> None:
    now, _ = go(running(items=("a", "b")), Asked("stop", 5 * S))
    now, _ = go(stored(now, done(0, 1)), EngineRestarted(20 * S))
    assert now.run.state == "stopped"


def test_the_counts_of_a_run_are_those_of_its_records_after_a_restart() -> None:
    now, _ = go(stored(running(items=("a", "b")), done(0, 1)), EngineRestarted(20 * S))
    assert (now.run.state, now.run.items_done) == ("paused", 1)


def test_what_is_left_of_an_attempt_is_remembered_until_it_is_ended() -> None:
    now, commands = go(running(items=("a", "b")), KeeperLost(1, "x", 5 * S))
    assert commands == (sweep(1), Launch())
    assert now.ledger.sweeps == (Sweep(serial=1, root=PROCESS),)
    assert go(now, EngineRestarted(6 * S))[0].ledger.sweeps == now.ledger.sweeps
    assert go(now, Swept(1))[0].ledger.sweeps == ()


def test_a_program_that_never_ran_leaves_nothing_to_be_ended() -> None:
    missing = BROKEN.__class__(kind="not_found", evidence="There is no program named x.")
    _, commands = go(running(items=("a",)), Ended(1, 5 * S, failure=missing))
    assert commands == ()


def test_a_pause_that_an_engine_did_not_finish_is_known_to_the_next() -> None:
    now, commands = go(running(items=("a",)), Asked("pause", 5 * S))
    assert commands == (Signal("pause"),) and now.ledger.pausing
    now, _ = go(now, Paused(6 * S))
    assert not now.ledger.pausing and now.run.state == "paused"


def test_time_in_which_an_engine_died_while_it_paused_does_not_count_towards_the_limit() -> None:
    now, _ = go(running(items=("a",), timeout_ns=3 * S), Asked("pause", 3 * S), EngineRestarted(60 * S))
    assert now.run.state == "running" and next_deadline_ns(now) is None
    assert go(now, Ticked(61 * S))[1] == ()
    now, _ = go(now, Paused(62 * S), EngineRestarted(90 * S), Resumed(100 * S))
    assert now.ledger.attempts[0].still_ns == 97 * S
    assert next_deadline_ns(now) == (now.ledger.attempts[0].launched_ns + 100 * S)
    now, _ = go(now, Asked("pause", 101 * S), Paused(102 * S), Resumed(110 * S))
    assert now.ledger.attempts[0].still_ns == (97 + 9) * S


def test_a_pause_of_an_earlier_attempt_is_no_time_of_the_next() -> None:
    now, _ = go(running(attempts=2, timeout_ns=3 * S), Asked("pause", 2 * S), Paused(2 * S))
    now, _ = go(now, Ended(1, 4 * S, failure=BROKEN), Asked("resume", 90 * S), Admitted(), *begin(91 * S, 2))
    now, _ = go(now, Asked("pause", 92 * S), Paused(92 * S), Resumed(95 * S))
    assert now.ledger.attempts[0].still_ns == 3 * S


def test_time_in_which_the_machine_slept_counts_for_no_limit() -> None:
    now, _ = go(running(items=("a",), timeout_ns=30 * S), ClockJumped(5000 * S))
    assert go(now, Ticked(5010 * S))[1] == () and next_deadline_ns(now) is not None
    assert go(now, Ticked(5032 * S))[1] == (Signal("stop"),)
    paused, _ = go(now, Asked("pause", 5010 * S), Paused(5010 * S), ClockJumped(900 * S), Resumed(5920 * S))
    assert paused.ledger.attempts[0].still_ns == 5910 * S


def test_what_is_being_paused_can_not_stall() -> None:
    now, _ = go(running(items=("a",), stall_ns=3 * S), Asked("pause", 3 * S), EngineRestarted(60 * S))
    now, commands = go(now, Stalled(1, "nothing", 61 * S))
    assert commands == () and now.ledger.attempts[0].asked is None


def test_resume_takes_back_a_pause_that_an_engine_did_not_finish() -> None:
    now, _ = go(running(items=("a", "b")), Asked("pause", 3 * S), EngineRestarted(60 * S))
    now, commands = go(now, Asked("resume", 61 * S))
    assert commands == (Signal("resume"),) and not now.ledger.pausing
    now, _ = go(now, Resumed(62 * S))
    assert (now.run.state, now.ledger.attempts[0].still_ns) == ("running", 59 * S)


def test_an_item_that_ended_during_an_unfinished_pause_leaves_a_run_that_stands_still_and_says_why() -> None:
    now, _ = go(running(items=("a", "b")), Asked("pause", 3 * S), EngineRestarted(60 * S))
    now, _ = go(now, Ended(1, 5 * S, exit_status=0))
    assert (now.run.state, now.ledger.pausing) == ("paused", False)
    assert now.run.reason == "The engine was restarted; resume goes on with 1 item."


def test_a_run_that_stands_still_counts_the_items_that_are_put_back_or_passed_over() -> None:
    now, _ = go(running(items=("a", "b", "c", "d")), Paused(5 * S), Ended(1, 6 * S, exit_status=0))
    assert now.run.reason == "It was paused; resume goes on with 3 items."
    now, _ = go(now, ItemsMoved((0,), "again", 7 * S))
    assert now.run.reason == "It was paused; resume goes on with 4 items."
    now, _ = go(now, ItemsMoved((1, 2, 3), "skip", 8 * S))
    assert now.run.reason == "It was paused; resume goes on with 1 item." and now.run.paused_ns == 5 * S


def test_an_item_waits_for_room_on_the_disk_and_loses_no_try() -> None:
    now, _ = go(running(items=("a", "b"), attempts=2), Ended(1, 5 * S, exit_status=0))
    now, _ = go(now, Launched("x", 0, 6 * S, 1))
    now, commands = go(now, NeverBegan(2, 6 * S, "Nothing can be started: no room.", 2 * S))
    assert (commands, now.run.state, now.run.reason) == ((), "waiting", "Nothing can be started: no room.")
    assert go(now, Ticked(7 * S))[1] == ()
    assert go(now, Ticked(8 * S))[1] == (Launch(),)
    now, _ = go(now, *begin(8 * S, 3, 1))
    assert now.ledger.attempts[0].tries == 1


def test_a_command_waits_for_room_on_the_disk_too() -> None:
    now, _ = go(work(), Admitted(), Launched("x", 0, 2 * S))
    now, _ = go(now, NeverBegan(1, 2 * S, "No room.", 2 * S))
    assert (now.run.state, now.due_ns) == ("waiting", 4 * S)
    assert go(now, Ticked(4 * S))[1] == (Launch(),)


def test_items_that_were_begun_and_not_ended_are_remembered_when_the_run_is_stopped() -> None:
    names = ("a", "b", "c", "d")
    now, _ = go(running(items=names, attempts=2, backoff_ns=9 * S, longest_pause_ns=9 * S, parallel=2))
    now, _ = go(now, *begin(3 * S, 2, 1), Ended(1, 4 * S, failure=BROKEN), *begin(5 * S, 3, 2))
    now, _ = go(now, Asked("stop", 6 * S), Ended(2, 7 * S, exit_status=0), Ended(3, 8 * S, signal=15))
    assert now.run.state == "stopped"
    assert now.ledger.broken_off == ("c", "a"), "b ended well, d was not begun"


def test_a_run_whose_attempt_ends_while_it_is_being_resumed_waits_for_its_next_start() -> None:
    paused, _ = go(running(items=("a", "b")), Asked("pause", 5 * S), Paused(6 * S))
    asked, commands = go(paused, Asked("resume", 7 * S))
    assert commands == (Signal("resume"),)
    now, _ = go(asked, Ended(1, 8 * S, signal=9, failure=BROKEN), Resumed(9 * S))
    assert (now.run.state, now.in_flight, now.ledger.admitted) == ("waiting", False, False)
    assert go(now, Admitted())[1] == (Launch(),)


def test_a_run_without_items_whose_attempt_ends_while_it_is_being_resumed_is_tried_again() -> None:
    paused, _ = go(
        running(attempts=3, backoff_ns=S), Asked("pause", 5 * S), Paused(6 * S), Asked("resume", 7 * S)
    )
    now, _ = go(paused, Ended(1, 8 * S, signal=9, failure=BROKEN), Resumed(9 * S))
    assert (now.run.state, now.in_flight, now.ledger.admitted) == ("waiting", False, False)


def test_a_run_whose_last_attempt_ends_well_while_it_is_being_resumed_is_done() -> None:
    paused, _ = go(running(items=("a",)), Asked("pause", 5 * S), Paused(6 * S), Asked("resume", 7 * S))
    now, _ = go(paused, Ended(1, 8 * S, exit_status=0), Resumed(9 * S))
    assert now.run.state == "done"

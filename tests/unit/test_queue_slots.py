"""Slots with capacities, memory, times to start, and when a waiting run is expected to begin."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from msgspec.structs import replace

from nightdesk.core.jobs.admission import SETTLED_NS, Memory, reserved
from nightdesk.core.jobs.queue import AGEING_NS, Admission, admit
from nightdesk.core.jobs.start_times import Expected, read_start_ns, start_words
from nightdesk.core.jobs.work import Attempt, Delayed, Ledger, Work
from nightdesk.model.errors import UsageError
from nightdesk.model.logs import Progress
from tests.unit.test_queue import GPU, RUNNING, work

S = 10**9
GB = 10**9
HOUR = 3600 * S


def at(year: int, month: int, day: int, hour: int = 0, minute: int = 0) -> int:
    return int(datetime(year, month, day, hour, minute).timestamp()) * S


NOW = at(2026, 11, 21, 22)


def running(name: str, eta_ns: int | None = None, **plan: Any) -> Work:
    made = work(name, state="running", ledger=RUNNING, **plan)
    if eta_ns is None:
        return made
    return made.with_run(progress=Progress(done=1, total=2, eta_ns=eta_ns, at_ns=NOW, source="items"))


def waiting(name: str, **plan: Any) -> Work:
    return work(name, NOW - 5 * S, **plan)


def ask(*works: Work, at_ns: int = NOW, **more: Any) -> Admission:
    return admit(works, {}, at_ns, **more)


def test_a_slot_is_shared_by_as_many_runs_as_it_has_room_for() -> None:
    slots = {"whisper": 2}
    three = [waiting(name, uses={"whisper": 1}) for name in "abc"]
    admission = ask(*three, slots=slots)
    assert admission.start == ("a", "b")
    assert admission.reasons == {"c": "Waits for 1 of the whisper: 0 of 2 are free, a and b use the rest."}


def test_a_run_that_takes_the_whole_slot_waits_until_all_of_it_is_free() -> None:
    slots = {"whisper": 2}
    big = waiting("big", uses={"whisper": 2})
    admission = ask(running("a", uses={"whisper": 1}), big, slots=slots)
    assert admission.start == ()
    assert admission.reasons["big"] == "Waits for 2 of the whisper: 1 of 2 are free, a uses the rest."
    assert ask(big, slots=slots).start == ("big",)


def test_what_the_first_in_line_waits_for_is_not_given_to_those_behind_it() -> None:
    big = waiting("big", uses={"whisper": 2})
    small = work("small", NOW - 1, uses={"whisper": 1})
    admission = ask(running("a", uses={"whisper": 1}), big, small, slots={"whisper": 2})
    assert admission.start == ()
    assert admission.reasons["small"] == "Waits for the whisper, which is kept for big."


def test_nothing_is_kept_for_a_run_that_could_not_use_it_anyway() -> None:
    needs = waiting("needs", uses=GPU, needs=("never",))
    too_much = waiting("too-much", uses={"gpu": 3})
    admission = ask(needs, too_much, work("small", NOW - 1, uses=GPU))
    assert admission.start == ("small",)
    assert (
        admission.reasons["too-much"]
        == "Needs 3 of the gpu, and there is 1: [slots] in nightdesk.toml says so."
    )


def test_after_a_long_wait_all_that_a_run_needs_is_kept_for_it() -> None:
    both = work("both", NOW - AGEING_NS, uses={"gpu": 1, "whisper": 1})
    busy, small = running("busy", uses=GPU), work("small", NOW - 1, uses={"whisper": 1})
    assert ask(busy, both, small).start == ()
    fresh = replace_created(both, NOW - 60 * S)
    assert ask(busy, fresh, small).start == ("small",)


def replace_created(before: Work, created_ns: int) -> Work:
    return before.with_run(created_ns=created_ns)


def test_nothing_waits_for_ever_behind_a_stream_of_more_important_runs() -> None:
    """Every 40 minutes a run of the highest priority wants half of the slot for 80: it is always in use."""
    minute, slots = 60 * S, {"whisper": 2}
    poor = work("poor", NOW, uses={"whisper": 2}, priority="scheduled")
    held: dict[str, tuple[Work, int]] = {}
    queue: list[Work] = [poor]
    for now in range(NOW, NOW + 24 * HOUR, 10 * minute):
        held = {name: (one, end) for name, (one, end) in held.items() if end > now}
        if (now - NOW) % (40 * minute) == 0:
            queue.append(work(f"train-{now}", now - 1, uses={"whisper": 1}, priority="training"))
        admission = admit([*(one for one, _ in held.values()), *queue], {}, now, slots=slots)
        for name in admission.start:
            started = next(one for one in queue if one.run.id == name)
            queue.remove(started)
            going = Work(replace(started.run, state="running"), started.plan, RUNNING)
            held[name] = going, now + 80 * minute
            assert sum(one.plan.uses["whisper"] for one, _ in held.values()) <= 2
        if "poor" in admission.start:
            assert 2 * HOUR <= now - NOW < 6 * HOUR
            return
        assert admission.reasons["poor"]
    pytest.fail("it never started")


def test_a_run_says_when_it_is_expected_to_start() -> None:
    user = running("a", eta_ns=2 * HOUR, uses=GPU)
    assert ask(user, waiting("b", uses=GPU)).expected == {"b": Expected(NOW + 2 * HOUR)}
    assert ask(running("a", uses=GPU), waiting("b", uses=GPU)).expected == {}
    after = ask(user, waiting("b", uses=GPU), work("c", NOW - 1, uses=GPU))
    assert after.expected == {"b": Expected(NOW + 2 * HOUR)}, "how long b will take nobody knows"


def test_of_several_users_of_a_slot_the_ones_that_end_first_count() -> None:
    slots = {"whisper": 3}
    users = [running(n, eta_ns=h * HOUR, uses={"whisper": 1}) for n, h in (("a", 3), ("b", 1), ("c", 2))]
    assert ask(*users, waiting("d", uses={"whisper": 2}), slots=slots).expected == {
        "d": Expected(NOW + 2 * HOUR)
    }


def test_a_run_that_needs_another_is_expected_at_its_end() -> None:
    need = running("a", eta_ns=HOUR)
    admission = admit([need, waiting("b", needs=("a",))], {"a": need.run}, NOW)
    assert admission.reasons == {"b": "Waits for a."}
    assert admission.expected == {"b": Expected(NOW + HOUR)}


def test_a_run_between_two_attempts_is_expected_when_its_pause_is_over() -> None:
    ledger = Ledger(serial=1, delayed=(Delayed(index=None, tries=1, due_ns=NOW + 30 * S),))
    assert ask(work("a", NOW, ledger=ledger)).expected == {"a": Expected.exactly(NOW + 30 * S)}


# Memory


def test_a_run_waits_for_memory_and_says_how_much_is_free_and_who_reserves_it() -> None:
    memory = Memory(free=int(15.1 * GB), total=64 * GB)
    transcribe = waiting("transcribe", memory_bytes=8 * GB)
    big = work("big", NOW - 1, memory_bytes=20 * GB)
    admission = ask(transcribe, big, memory=memory)
    assert admission.start == ("transcribe",)
    assert admission.reasons == {
        "big": "Waits for 20.0 GB of memory: 15.1 GB are free, transcribe reserves 8.0 GB."
    }


def test_two_runs_that_look_at_the_same_moment_do_not_both_get_the_same_memory() -> None:
    pair = [waiting(name, memory_bytes=8 * GB) for name in "ab"]
    assert ask(*pair, memory=Memory(free=10 * GB, total=64 * GB)).start == ("a",)
    assert ask(*pair, memory=Memory(free=16 * GB, total=64 * GB)).start == ("a", "b")


def test_memory_is_reserved_until_it_is_used_or_the_time_for_that_is_over() -> None:
    attempt = Attempt(serial=1, tries=1, launched_ns=NOW)
    loading = work(
        "a", state="running", ledger=Ledger(serial=1, attempts=(attempt,), admitted=True), memory_bytes=8 * GB
    )
    memory = Memory(free=20 * GB, total=64 * GB, used={"a": 3 * GB})
    assert reserved([loading], memory, NOW + S) == {"a": 5 * GB}
    assert reserved([loading], Memory(20 * GB, 64 * GB, {"a": 9 * GB}), NOW + S) == {}
    assert reserved([loading], memory, NOW + SETTLED_NS) == {}


def test_what_models_hold_counts_as_free_for_a_run_that_has_them_unloaded() -> None:
    memory = Memory(free=4 * GB, total=64 * GB, models=19 * GB)
    assert ask(waiting("a", memory_bytes=20 * GB), memory=memory).start == ()
    assert ask(waiting("a", memory_bytes=20 * GB, unload_ns=S), memory=memory).start == ("a",)
    short = ask(waiting("a", memory_bytes=30 * GB, unload_ns=S), memory=memory)
    assert short.reasons == {"a": "Waits for 30.0 GB of memory: 4.0 GB are free, models hold 19.0 GB."}


def test_a_run_that_asks_for_more_than_the_machine_has_says_so_and_stands_in_nobodys_way() -> None:
    admission = ask(
        waiting("huge", memory_bytes=128 * GB),
        work("small", NOW - 1, memory_bytes=GB),
        memory=Memory(free=10 * GB, total=64 * GB),
    )
    assert admission.start == ("small",)
    assert admission.reasons == {"huge": "Needs 128 GB of memory; this machine has 64.0 GB."}


def test_where_memory_is_not_known_nobody_waits_for_it() -> None:
    assert ask(waiting("a", memory_bytes=128 * GB)).start == ("a",)


# A time to start


def test_a_run_with_a_time_waits_for_it_and_does_not_age_before() -> None:
    late = work("late", NOW - 9 * HOUR, start_ns=NOW + 90 * 60 * S, priority="scheduled", uses=GPU)
    admission = ask(late)
    assert admission.reasons == {"late": "Starts at 23:30."}
    assert admission.expected == {"late": Expected.exactly(NOW + 90 * 60 * S)}
    then = NOW + 91 * 60 * S
    assert ask(late, at_ns=then).start == ("late",)
    other = work("other", then - 1, priority="training", uses=GPU)
    assert ask(late, other, at_ns=then).start == ("other",), "hours before its time are no waiting"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("23:30", at(2026, 11, 21, 23, 30)),
        ("21:00", at(2026, 11, 22, 21)),
        ("2h", NOW + 2 * HOUR),
        ("1h30m", NOW + 90 * 60 * S),
        ("2026-11-22T01:00", at(2026, 11, 22, 1)),
        ("2026-11-23", at(2026, 11, 23)),
    ],
)
def test_a_start_is_the_next_such_time_a_span_from_now_or_a_day(text: str, expected: int) -> None:
    assert read_start_ns(text, NOW) == expected


@pytest.mark.parametrize("text", ["", "soon", "yesterday", "2026-11-20T01:00", "25:00"])
def test_a_start_that_is_no_time_or_has_passed_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        read_start_ns(text, NOW)


def test_a_start_on_another_day_is_told_with_its_day() -> None:
    assert start_words(at(2026, 11, 22, 1), NOW) == "at 01:00"
    assert start_words(at(2026, 11, 24, 1), NOW) == "on 2026-11-24 at 01:00"

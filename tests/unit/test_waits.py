"""What a process waits for, in words."""

from __future__ import annotations

import pytest

from nightdesk.core.processes.waits import waits_for


@pytest.mark.parametrize(
    ("state", "place", "says"),
    [
        ("S", "futex_wait_queue", "waits for a lock, or another thread (futex_wait_queue)"),
        ("S", "hrtimer_nanosleep", "a timer"),
        ("S", "do_epoll_wait", "sockets or pipes"),
        ("S", "anon_pipe_write", "nobody reads what it writes"),
        ("S", "do_wait", "a child process to end"),
        ("D", "folio_wait_bit_common", "can't be interrupted, not even by SIGKILL"),
        ("D", "0", "waits for a disk or a driver"),
        ("T", "do_signal_stop", "SIGSTOP"),
        ("Z", "0", "its parent has not collected its exit status"),
        ("R", "0", "runs, or waits for a processor"),
        ("S", "some_new_place", "something in the kernel (some_new_place)"),
    ],
)
def test_states_and_places_become_words(state: str, place: str, says: str) -> None:
    assert says in (waits_for(state, place) or "")


def test_nothing_is_said_where_nothing_is_known() -> None:
    assert waits_for("S", "0") is None
    assert waits_for("S", "") is None

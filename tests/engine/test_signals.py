"""Signals to real process trees."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from nightdesk.engine.processes import signals
from nightdesk.engine.processes.table import is_keeper, parse_stat, read_entry, read_marker
from nightdesk.model.base import ProcessKey
from nightdesk.model.process import TreeMember

RUN = f"test-run-{os.getpid()}"
SLEEP = "import time; time.sleep(120)"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); {SLEEP}"
FAMILY = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import subprocess, sys, time;"
    "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(120)'], start_new_session=True);"
    "print('up', flush=True); time.sleep(120)"])
time.sleep(120)
"""
BREEDER = """
import subprocess, sys, time
print('up', flush=True)
while True:
    subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(120)"])
    time.sleep(0.01)
"""


def eventually(check: Callable[[], object], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.01)


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts Python code as a leader of its own session, marked as a run; kills what is left of it afterwards."""
    begun: list[subprocess.Popen[bytes]] = []

    def launch(code: str, *, wait: bool = True, run: str = RUN) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdout=subprocess.PIPE,
            start_new_session=True,
            env={**os.environ, "NIGHTDESK_RUN": run},
        )
        begun.append(process)
        if wait:
            assert process.stdout is not None
            process.stdout.readline()
        return process

    yield launch
    for process in begun:
        for member in signals.processes_of_run(RUN, None):
            signals.send_signal(member.key, signal.SIGKILL)
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def key_of(process: subprocess.Popen[bytes]) -> ProcessKey:
    started = signals.start_time_ns(process.pid)
    assert started is not None
    return ProcessKey(pid=process.pid, started_ns=started)


def state_of(key: ProcessKey) -> str:
    entry = read_entry(key.pid)
    return entry.state if entry and entry.started_ns == key.started_ns else "gone"


def test_the_start_time_is_the_same_integer_each_time_and_near_now(
    start: Callable[..., subprocess.Popen[bytes]],
) -> None:
    process = start(SLEEP, wait=False)
    first = signals.start_time_ns(process.pid)
    assert first is not None
    assert all(signals.start_time_ns(process.pid) == first for _ in range(50))
    assert abs(time.time_ns() - first) < 60_000_000_000
    other = subprocess.run(
        [
            sys.executable,
            "-c",
            f"from nightdesk.engine.processes.signals import start_time_ns as s; print(s({process.pid}))",
        ],
        capture_output=True,
        check=True,
    )
    assert int(other.stdout) == first


def test_nobody_has_a_start_time_for_a_number_that_is_not_in_use() -> None:
    assert signals.start_time_ns(0) is None
    assert signals.start_time_ns(2**22 + 1) is None


def test_a_zombie_is_not_alive(start: Callable[..., subprocess.Popen[bytes]]) -> None:
    process = start(SLEEP, wait=False)
    key = key_of(process)
    assert signals.is_alive(key)
    process.kill()
    eventually(lambda: state_of(key) == "Z")
    assert not signals.is_alive(key)


def test_a_tree_lists_the_root_first_and_every_descendant(
    start: Callable[..., subprocess.Popen[bytes]],
) -> None:
    process = start(FAMILY)
    eventually(lambda: len(signals.tree_of(key_of(process))) == 3)
    tree = signals.tree_of(key_of(process))
    assert tree[0].key == key_of(process)
    assert [member.depth for member in tree] == [0, 1, 2]
    assert all("time.sleep" in member.command for member in tree)
    assert all(member.rss_bytes for member in tree)


def test_a_tree_of_a_number_with_another_start_time_is_empty(
    start: Callable[..., subprocess.Popen[bytes]],
) -> None:
    key = key_of(start(SLEEP, wait=False))
    assert signals.tree_of(ProcessKey(pid=key.pid, started_ns=key.started_ns - 10_000_000)) == ()


def test_a_grandchild_in_its_own_session_is_found_after_its_parents_are_gone(
    start: Callable[..., subprocess.Popen[bytes]],
) -> None:
    process = start(FAMILY)
    root = key_of(process)
    eventually(lambda: len(signals.tree_of(root)) == 3)
    grandchild = signals.tree_of(root)[2].key
    for member in signals.tree_of(root)[:2]:
        signals.send_signal(member.key, signal.SIGKILL)
    process.wait()
    eventually(lambda: [member.key for member in signals.processes_of_run(RUN, root)] == [grandchild])
    assert [member.key for member in signals.processes_of_run(RUN, None)] == [grandchild]
    assert signals.processes_of_run("another-run", None) == ()


def test_pause_stops_the_whole_tree_and_resume_wakes_it(
    start: Callable[..., subprocess.Popen[bytes]],
) -> None:
    root = key_of(start(FAMILY))
    eventually(lambda: len(signals.tree_of(root)) == 3)
    tree = signals.tree_of(root)
    report = signals.signal_members(tree, "pause")
    assert set(report.signalled) == {member.key for member in tree}
    assert [state_of(member.key) for member in tree] == ["T", "T", "T"]
    signals.signal_members(tree, "resume")
    eventually(lambda: all(state_of(member.key) in "SR" for member in tree))


def test_pause_catches_children_that_appear_while_it_works(
    start: Callable[..., subprocess.Popen[bytes]],
) -> None:
    root = key_of(start(BREEDER))
    signals.signal_members(signals.tree_of(root)[:1], "pause")
    tree = signals.tree_of(root)
    # A parent that is caught within vfork waits ("D") for its child, which is stopped, and stops as soon as it may.
    eventually(lambda: all(state_of(member.key) in "TD" for member in tree))
    assert [m.key for m in signals.tree_of(root)] == [m.key for m in tree]
    assert all(state_of(member.key) == "T" for member in tree[-1:])


def test_stop_ends_a_paused_tree_without_waiting_for_the_grace(
    start: Callable[..., subprocess.Popen[bytes]],
) -> None:
    root = key_of(start(FAMILY))
    eventually(lambda: len(signals.tree_of(root)) == 3)
    tree = signals.tree_of(root)
    signals.signal_members(tree, "pause")
    began = time.monotonic()
    report = signals.signal_members(tree, "stop", grace_s=60)
    assert time.monotonic() - began < 30
    assert set(report.gone) == {member.key for member in tree}
    assert report.left == ()
    assert not any(signals.is_alive(member.key) for member in tree)


def test_stop_kills_what_ignores_the_request(start: Callable[..., subprocess.Popen[bytes]]) -> None:
    process = start(STUBBORN)
    report = signals.signal_members(signals.tree_of(key_of(process)), "stop", grace_s=0.2)
    assert report.left == ()
    assert process.wait() == -signal.SIGKILL


def test_stop_gives_a_program_time_to_end_by_itself(start: Callable[..., subprocess.Popen[bytes]]) -> None:
    code = (
        "import signal, sys, time\n"
        "def end(*_):\n    time.sleep(0.3)\n    sys.exit(7)\n"
        "signal.signal(signal.SIGTERM, end)\nprint('up', flush=True)\ntime.sleep(120)"
    )
    process = start(code)
    report = signals.signal_members(signals.tree_of(key_of(process)), "stop", grace_s=60)
    assert process.wait() == 7
    assert report.left == ()


def test_kill_leaves_nothing_of_a_tree_that_keeps_growing(
    start: Callable[..., subprocess.Popen[bytes]],
) -> None:
    process = start(BREEDER)
    report = signals.signal_members(signals.tree_of(key_of(process))[:1], "kill")
    process.wait()
    assert report.left == ()
    assert len(report.gone) == len(set(report.gone)) >= 1
    assert signals.processes_of_run(RUN, None) == ()


def test_a_run_is_stopped_with_the_grandchildren_that_left_its_session(
    start: Callable[..., subprocess.Popen[bytes]],
) -> None:
    process = start(FAMILY)
    root = key_of(process)
    eventually(lambda: len(signals.tree_of(root)) == 3)
    signals.send_signal(signals.tree_of(root)[1].key, signal.SIGKILL)
    eventually(lambda: len(signals.tree_of(root)) == 1)
    report = signals.signal_run(RUN, root, "stop", grace_s=10)
    assert report.left == ()
    assert signals.processes_of_run(RUN, root) == ()


def test_a_number_that_was_used_again_is_refused_and_its_new_owner_lives(
    start: Callable[..., subprocess.Popen[bytes]],
) -> None:
    key = key_of(start(SLEEP, wait=False))
    earlier = ProcessKey(pid=key.pid, started_ns=key.started_ns - 10_000_000)
    member = TreeMember(key=earlier, depth=0, name="ollama", command="ollama runner")
    report = signals.signal_members((member,), "kill")
    assert report.signalled == ()
    assert report.refused == (
        f"Process {key.pid} (ollama) is gone and its number was given to another process.",
    )
    assert signals.send_signal(earlier, signal.SIGKILL) == "reused"
    assert signals.is_alive(key)


@pytest.mark.parametrize(
    "pid", [-1, 0, 1, os.getpid(), os.getppid()], ids=["all", "group", "init", "ourselves", "parent"]
)
def test_the_system_ourselves_and_our_parents_are_never_signalled(pid: int) -> None:
    started = signals.start_time_ns(pid) or 0
    member = TreeMember(key=ProcessKey(pid=pid, started_ns=started), depth=0, name="x", command="x")
    report = signals.signal_members((member,), "kill")
    assert report.signalled == ()
    assert len(report.refused) == 1
    assert "never signalled" in report.refused[0]


def test_a_keeper_is_known_by_what_it_runs() -> None:
    assert is_keeper(("/usr/bin/python3", "-I", "-S", "/opt/nightdesk/engine/jobs/keeper.py", "spec"))
    assert not is_keeper(("/usr/bin/python3", "keeper.py"))
    assert not is_keeper(("python3", "script.py"))


def test_a_process_name_with_brackets_and_blanks_is_read_whole() -> None:
    line = b"42 (a) S (b) x) S 1 42 42 0 -1 4194304 1 0 0 0 7 3 0 0 20 0 5 0 1000 9 250 18 1 1\n"
    entry = parse_stat(line, 0)
    assert entry is not None
    assert (entry.name, entry.ppid, entry.state, entry.threads) == ("a) S (b) x", 1, "S", 5)
    assert parse_stat(b"42 (cut", 0) is None


def test_the_marker_is_only_found_as_a_whole_variable(start: Callable[..., subprocess.Popen[bytes]]) -> None:
    process = start(SLEEP, wait=False)
    eventually(lambda: read_marker(process.pid) == RUN)
    plain = subprocess.Popen(
        [sys.executable, "-c", "print(flush=True);" + SLEEP],
        env={"OTHER_NIGHTDESK_RUN": "x"},
        stdout=subprocess.PIPE,
    )
    try:
        assert plain.stdout is not None
        plain.stdout.readline()
        assert read_marker(plain.pid) is None
        plain.stdout.close()
    finally:
        plain.kill()
        plain.wait()


def test_a_hostile_command_line_of_100_kilobytes_is_one_harmless_line(
    start: Callable[..., subprocess.Popen[bytes]],
) -> None:
    word = "\x1b[31mred\n\t\u202e" + "x" * 100_000
    key = key_of(start(f"said = '''{word}'''\nprint('up', flush=True)\n{SLEEP}"))
    (member,) = signals.tree_of(key)
    assert len(member.command) <= 4096 and member.command.isprintable() and "red" in member.command
    assert signals.signal_members((member,), "kill").killed == (key,)

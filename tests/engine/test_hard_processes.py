"""Processes that do all they can not to be ended, and one that must not be hit: each with real ones."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nightdesk.core.processes.reports import memory_of, told
from nightdesk.engine.processes import signals
from nightdesk.engine.processes.ports import PortWatch
from nightdesk.engine.processes.table import TableReader, read_argv, read_entry, read_marker, read_table
from nightdesk.model.base import ProcessKey

RUN = f"hard-run-{os.getpid()}"
LIFE = "60"
"""Seconds after which every process of these tests ends by itself, whatever becomes of the test."""
HEAD = f"import os, signal, sys, time\nsignal.alarm({LIFE})\n"
UP = "print('up', flush=True)\n"
WAIT = "while True: time.sleep(1)\n"

DOUBLE_FORK = (
    HEAD
    + """
def daemon():
    if os.fork():
        os.wait()
        return
    os.setsid()
    if os.fork():
        os._exit(0)
    signal.alarm(60)
    while True: time.sleep(1)
daemon()
"""
    + UP
    + WAIT
)
CLEAN_ESCAPE = """
import ctypes
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER, as a keeper does
"""
NEW_NAME = (
    HEAD
    + """
import ctypes
ctypes.CDLL(None).prctl(15, b"kworker) R 1", 0, 0, 0)  # PR_SET_NAME
"""
    + UP
    + WAIT
)
STOPS_ITSELF = (
    HEAD
    + "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    + UP
    + "while True: os.kill(os.getpid(), signal.SIGSTOP)\n"
)
HEADLESS = (
    HEAD
    + """
import ctypes, socket, threading
held = bytearray(b"x") * 60_000_000
server = socket.create_server(("127.0.0.1", 0))
def work():
    os.write(1, b"up %d\\n" % server.getsockname()[1])
    while True: time.sleep(1)
threading.Thread(target=work).start()
ctypes.CDLL(None).pthread_exit(None)
"""
)
FAMILY = (
    HEAD
    + """
held = bytearray(b"x") * 100_000_000
for _ in range(5):
    if not os.fork():
        signal.alarm(60)
        while True: time.sleep(1)
"""
    + UP
    + WAIT
)
ZOMBIES = (
    HEAD
    + """
for _ in range(5):
    if not os.fork():
        os._exit(3)
"""
    + UP
    + WAIT
)
ESCAPES_AT_TERM = (
    HEAD
    + """
def escape(*_):
    if not os.fork():
        os.setsid()
        if os.fork():
            os._exit(0)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.alarm(60)
        while True: time.sleep(1)
    os.wait()
    sys.exit(0)
signal.signal(signal.SIGTERM, escape)
"""
    + UP
    + WAIT
)
STORM = (
    HEAD
    + """
# Each process begins others until there are 200 of them, counted by the bytes left in a pipe.
places, write = os.pipe()
os.set_blocking(places, False)
os.write(write, b"." * 200)
print("up", flush=True)
while True:
    try:
        if not os.read(places, 1):
            break
    except BlockingIOError:
        break
    if not os.fork():
        signal.alarm(60)
        if os.fork():
            os.setsid()
while True: time.sleep(1)
"""
)
CHAIN = (
    HEAD
    + """
# A process that begins another one and ends, over and over: nobody holds its parent.
print("up", flush=True)
until = time.monotonic() + 60
while time.monotonic() < until:
    time.sleep(0.05)
    if os.fork():
        os._exit(0)
    os.setsid()
    signal.alarm(60)
"""
)

Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts Python code in a session of its own, marked as an attempt of a run; ends what is left of it afterwards."""
    begun: list[subprocess.Popen[bytes]] = []

    def launch(code: str, **environment: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-S", "-c", code],
            stdout=subprocess.PIPE,
            start_new_session=True,
            env={**os.environ, "NIGHTDESK_RUN": RUN, "NIGHTDESK_ATTEMPT": "1", **environment},
        )
        begun.append(process)
        assert process.stdout is not None
        assert process.stdout.readline().startswith(b"up")
        return process

    yield launch
    for process in begun:
        signals.signal_run(RUN, None, "kill")
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def key_of(process: subprocess.Popen[bytes]) -> ProcessKey:
    started = signals.start_time_ns(process.pid)
    assert started is not None
    return ProcessKey(pid=process.pid, started_ns=started)


def left_of_the_run() -> list[int]:
    return [pid for pid, entry in read_table().items() if entry.alive and read_marker(pid) == RUN]


def eventually(check: Callable[[], object], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.01)


def test_a_fork_storm_is_ended_to_the_last_process(start: Start) -> None:
    root = key_of(start(STORM))
    eventually(lambda: len(left_of_the_run()) > 20)
    report = signals.signal_run(RUN, root, "kill")
    assert left_of_the_run() == []
    assert report.left == ()
    assert set(report.killed) == set(report.gone)
    assert len(report.gone) > 20


def test_a_storm_that_goes_on_while_it_is_stopped_hears_the_request_once_and_is_gone(start: Start) -> None:
    root = key_of(start(STORM))
    report = signals.signal_run(RUN, root, "stop", grace_s=5)
    assert left_of_the_run() == []
    assert report.left == ()


def test_a_chain_of_processes_of_which_each_ends_is_caught(start: Start) -> None:
    process = start(CHAIN)
    root = key_of(process)
    process.wait()
    eventually(left_of_the_run)
    report = signals.signal_run(RUN, root, "kill")
    assert report.left == ()
    # One look alone proves nothing: a link that has just begun may be missed.
    assert [left_of_the_run() for _ in range(30)] == [[]] * 30


def test_a_process_that_forked_twice_is_found_by_its_marker(start: Start) -> None:
    root = key_of(start(DOUBLE_FORK))
    eventually(lambda: len(left_of_the_run()) == 2)
    tree = {member.key.pid for member in signals.tree_of(root)}
    escaped = set(left_of_the_run()) - tree
    assert len(escaped) == 1, "it is below nobody of the tree"
    report = signals.signal_run(RUN, root, "stop", grace_s=10)
    assert {key.pid for key in report.gone} == tree | escaped
    assert left_of_the_run() == []


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a keeper adopt what is left behind")
def test_an_escape_without_marker_session_and_parent_ends_below_the_keeper(start: Start) -> None:
    code = DOUBLE_FORK.replace(
        "    signal.alarm(60)\n    while True",
        "    bare = [sys.executable, '-S', '-c', 'import time; time.sleep(60)']\n"
        "    os.execve(sys.executable, bare, {})\n    while True",
    )
    root = key_of(start(HEAD + CLEAN_ESCAPE + code))
    eventually(lambda: len(signals.tree_of(root)) == 2)
    escaped = signals.tree_of(root)[1].key
    eventually(lambda: read_marker(escaped.pid) is None)
    report = signals.signal_members(signals.tree_of(root), "stop", grace_s=10)
    assert escaped in report.gone
    assert not signals.is_alive(escaped)


def test_what_flees_in_the_moment_of_the_request_is_caught(start: Start) -> None:
    root = key_of(start(ESCAPES_AT_TERM))
    report = signals.signal_members(signals.tree_of(root), "stop", grace_s=1)
    assert left_of_the_run() == []
    assert report.left == ()
    assert len(report.gone) >= 2
    assert len(report.killed) >= 1


def test_what_ignores_the_request_is_killed_and_told(start: Start) -> None:
    code = HEAD + "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + UP + "os.fork()\n" + WAIT
    root = key_of(start(code))
    eventually(lambda: len(left_of_the_run()) == 2)
    report = signals.signal_members(signals.tree_of(root), "stop", grace_s=0.2)
    assert len(report.killed) == 2
    assert told(report).startswith("0 ended, 2 had to be killed, 0 left, ")
    assert report.freed_bytes and report.freed_bytes > 1_000_000


def test_what_ends_when_asked_is_not_told_as_killed(start: Start) -> None:
    root = key_of(start(HEAD + UP + WAIT))
    report = signals.signal_members(signals.tree_of(root), "stop", grace_s=30)
    assert told(report).startswith("1 ended, 0 left, ")
    assert report.killed == ()


def test_a_process_that_stops_itself_again_and_again_is_ended(start: Start) -> None:
    process = start(STOPS_ITSELF)
    root = key_of(process)
    eventually(lambda: (entry := read_entry(root.pid)) and entry.state == "T")
    report = signals.signal_members(signals.tree_of(root), "stop", grace_s=0.3)
    assert report.killed == (root,)
    assert process.wait() == -signal.SIGKILL


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
def test_a_process_that_takes_another_name_keeps_its_identity(start: Start) -> None:
    process = start(NEW_NAME)
    root = key_of(process)
    entry = read_entry(root.pid)
    assert entry is not None and entry.name == "kworker) R 1"
    assert not entry.kernel and entry.ppid == os.getpid()
    report = signals.signal_members(signals.tree_of(root), "kill")
    assert report.killed == (root,)
    assert process.wait() == -signal.SIGKILL


def test_zombies_are_neither_waited_for_nor_told_as_left(start: Start) -> None:
    root = key_of(start(ZOMBIES))
    eventually(lambda: sum(e.ppid == root.pid and e.state == "Z" for e in read_table().values()) == 5)
    assert [member.key for member in signals.tree_of(root)] == [root]
    began = time.monotonic()
    report = signals.signal_members(signals.tree_of(root), "stop", grace_s=60)
    assert time.monotonic() - began < 30
    assert (report.gone, report.left) == ((root,), ())


def test_a_zombie_can_not_be_ended_and_its_parent_is_named(start: Start) -> None:
    root = key_of(start(ZOMBIES))
    eventually(lambda: sum(e.ppid == root.pid and e.state == "Z" for e in read_table().values()) == 5)
    dead = next(e for e in read_table().values() if e.ppid == root.pid)
    said, hint = signals.why_gone(ProcessKey(pid=dead.pid, started_ns=dead.started_ns))
    assert said.startswith(f"Process {dead.pid} has already ended: a zombie")
    assert f"its parent, process {root.pid} (" in hint
    other = ProcessKey(pid=dead.pid, started_ns=dead.started_ns + 1)
    assert signals.why_gone(other) == (f"Process {dead.pid} is gone, or its number was used again.", "")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the system does not tell each one's part")
def test_memory_that_a_family_shares_comes_back_once(start: Start) -> None:
    root = key_of(start(FAMILY))
    eventually(lambda: len(signals.tree_of(root)) == 6)
    members = signals.measured(signals.tree_of(root))
    assert sum(member.rss_bytes or 0 for member in members) > 600_000_000
    assert 100_000_000 < (memory_of(members) or 0) < 200_000_000
    report = signals.signal_members(members, "stop", grace_s=20)
    assert len(report.gone) == 6
    assert 100_000_000 < (report.freed_bytes or 0) < 200_000_000


FREEZER = Path("/sys/fs/cgroup/freezer")


@pytest.fixture
def frozen() -> Iterator[Callable[[int], None]]:
    """Freezes a process by its control group, so that no signal reaches it until the end of the test."""
    if not os.access(FREEZER / "tasks", os.W_OK):
        pytest.skip("no control group here freezes processes out of reach of SIGKILL")
    group = FREEZER / f"nd-{uuid.uuid4().hex[:12]}"
    try:
        group.mkdir()
    except OSError as fault:
        pytest.skip(f"no control group may be made here: {fault}")

    def freeze(pid: int) -> None:
        (group / "tasks").write_text(str(pid))
        (group / "freezer.state").write_text("FROZEN")
        eventually(lambda: (group / "freezer.state").read_text() == "FROZEN\n")

    yield freeze
    (group / "freezer.state").write_text("THAWED")
    for pid in (group / "tasks").read_text().split():
        (FREEZER / "tasks").write_text(pid)
    eventually(lambda: not (group / "tasks").read_text())
    group.rmdir()


def test_what_not_even_sigkill_reaches_is_told_with_what_keeps_it(
    start: Start, frozen: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signals, "_KILL_WAIT_S", 0.5)
    root = key_of(start(HEAD + UP + WAIT))
    frozen(root.pid)
    eventually(lambda: (entry := read_entry(root.pid)) and entry.state == "D")
    report = signals.signal_members(signals.tree_of(root), "kill")
    assert [member.key for member in report.left] == [root]
    assert "0 killed, 1 left." in told(report)
    assert "can't be interrupted, not even by SIGKILL" in told(report)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the system shows such a process as it is")
def test_a_process_whose_first_thread_has_ended_lives_and_is_ended(start: Start) -> None:
    process = start(HEADLESS)
    root = key_of(process)
    first = Path(f"/proc/{root.pid}/task/{root.pid}/stat")
    eventually(lambda: b") Z " in first.read_bytes())
    entry = read_entry(root.pid)
    assert entry is not None and entry.alive and entry.state in "SR"
    assert entry.rss_bytes > 60_000_000, "the system itself shows 0 for it"
    assert read_marker(root.pid) == RUN and read_argv(root.pid)[0] == sys.executable
    held = PortWatch().look([root.pid])
    assert len(held[root.pid]) == 1
    assert TableReader().read()[root.pid].alive
    assert [member.key for member in signals.processes_of_run(RUN, None)] == [root]
    signals.signal_members(signals.tree_of(root), "pause")
    assert (entry := read_entry(root.pid)) and entry.state == "T"
    report = signals.signal_members(signals.tree_of(root), "stop", grace_s=20)
    assert (report.gone, report.left) == ((root,), ())
    assert process.wait() == -signal.SIGTERM


def test_parents_are_asked_after_their_children_and_start_none_in_their_place(start: Start) -> None:
    code = (
        HEAD
        + """
import subprocess
def begin():
    return subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"])
child = begin()
begun = 1
print("up", flush=True)
while True:
    child.wait()
    child = begin()
"""
    )
    root = key_of(start(code))
    eventually(lambda: len(signals.tree_of(root)) == 2)
    report = signals.signal_members(signals.tree_of(root), "stop", grace_s=20)
    assert len(report.gone) == 2, "a parent that replaces what ends would have begun another"
    assert report.killed == ()
    assert left_of_the_run() == []


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="only root can become another user")
def test_a_process_of_somebody_else_is_left_alone_and_explained(start: Start) -> None:
    root = key_of(start(HEAD + UP + WAIT))
    members = signals.tree_of(root)
    reader, writer = os.pipe()
    if not (child := os.fork()):
        os.setgroups([])
        os.setuid(65534)
        report = signals.signal_members(members, "kill")
        os.write(writer, json.dumps([len(report.left), *report.refused]).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, encoding="utf-8") as said:
        left, refused = json.loads(said.read())
    os.waitpid(child, 0)
    assert signals.is_alive(root)
    assert left == 1
    assert refused == (
        f"No right to signal process {root.pid} ({members[0].name}): it belongs to root; "
        f"only root can end it: sudo kill -KILL {root.pid}"
    )


REUSE = """
import json, os, signal, subprocess, sys, time
from nightdesk.engine.processes import signals
from nightdesk.model.base import ProcessKey
from nightdesk.model.process import TreeMember

def sleeper():
    pid = os.fork()
    if not pid:
        signal.alarm(60)
        while True: time.sleep(1)
    return pid

first = sleeper()
key = ProcessKey(pid=first, started_ns=signals.start_time_ns(first))
members = signals.tree_of(key)
os.kill(first, signal.SIGKILL)
os.waitpid(first, 0)
time.sleep(0.05)
# The numbers of this namespace are given out from here on, as if all others had been used.
with open("/proc/sys/kernel/ns_last_pid", "w") as last:
    last.write(str(first - 1))
assert sleeper() == first
outcomes = [signals.send_signal(key, signal.SIGKILL) for _ in range(3)]
reports = [signals.signal_members(members, action, 0.2) for action in ("pause", "resume", "stop", "kill")]
new = ProcessKey(pid=first, started_ns=signals.start_time_ns(first))
print(json.dumps({
    "outcomes": outcomes, "alive": signals.is_alive(new), "other": new != key,
    "state": signals.read_entry(first).state, "signalled": sum(len(r.signalled) for r in reports),
    "refused": sorted({said for r in reports for said in r.refused}), "pid": first,
}))
os.kill(first, signal.SIGKILL)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs a namespace of process numbers")
def test_a_number_that_came_round_again_is_never_hit() -> None:
    """In a namespace whose next number can be chosen: waiting until all others are used up would take minutes."""
    argv = ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", REUSE]
    try:
        ended = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    except FileNotFoundError:
        pytest.skip("unshare is not installed")
    if ended.returncode != 0 and ("unshare" in ended.stderr or "ns_last_pid" in ended.stderr):
        pytest.skip(f"no namespace of process numbers here: {ended.stderr.strip().splitlines()[-1]}")
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout)
    assert found["other"]
    assert found["outcomes"] == ["reused"] * 3
    assert found["signalled"] == 0
    assert found["alive"] and found["state"] in "SR"
    assert len(found["refused"]) == 1 and "was given to another process" in found["refused"][0]

"""The process table with real processes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nightdesk.engine.processes import signals
from nightdesk.engine.processes.sampler import ProcessWatch
from nightdesk.model.process import ProcessRow

RUN = f"sampled-run-{os.getpid()}"
SECOND = 1_000_000_000
UP = "print('up', flush=True);"
SLEEP = UP + "import time; time.sleep(120)"
SPIN = UP + "\nwhile True: pass"

Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts Python code and waits until it runs; ends it afterwards."""
    begun: list[subprocess.Popen[bytes]] = []

    def launch(
        code: str, *arguments: str, run: str | None = None, own_session: bool = False
    ) -> subprocess.Popen[bytes]:
        environment = {name: value for name, value in os.environ.items() if name != "NIGHTDESK_RUN"}
        process = subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            stdout=subprocess.PIPE,
            env={**environment, "NIGHTDESK_RUN": run} if run else environment,
            start_new_session=own_session,
        )
        begun.append(process)
        assert process.stdout is not None
        process.stdout.readline()
        return process

    yield launch
    for process in begun:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def watch(
    words: tuple[str, ...] = (), active: dict[str, str] | None = None, known: bool = True
) -> ProcessWatch:
    return ProcessWatch(words, lambda: active or {}, lambda run: known)


def row_of(table: ProcessWatch, pid: int) -> ProcessRow | None:
    return next((row for row in table.rows() if row.key.pid == pid), None)


def sampled(table: ProcessWatch, pid: int, at_s: int = 0) -> ProcessRow:
    table.sample(at_s * SECOND)
    row = row_of(table, pid)
    assert row is not None
    return row


def test_a_new_process_appears_with_everything_that_is_shown(start: Start) -> None:
    table = watch()
    table.sample(0)
    process = start(SLEEP, "night batch")
    change = table.sample(SECOND)
    row = next(row for row in change.changed if row.key.pid == process.pid)
    assert row.key.started_ns == signals.start_time_ns(process.pid)
    assert row.ppid == os.getpid()
    assert row.command.endswith("night batch")
    assert row.name.startswith("python")
    assert row.user
    assert row.state in "SRD"
    assert row.cpu_ratio is None
    assert row.rss_bytes and row.rss_bytes > 1_000_000
    assert row.threads == 1
    assert row.owner == "other"


def test_a_process_that_ends_is_named_as_gone_once(start: Start) -> None:
    table = watch()
    process = start(SLEEP)
    key = sampled(table, process.pid).key
    process.kill()
    process.wait()
    assert key in table.sample(SECOND).gone
    assert key not in table.sample(2 * SECOND).gone
    assert row_of(table, process.pid) is None


def test_a_sleeping_process_is_not_reported_again(start: Start) -> None:
    table = watch()
    process = start(SLEEP)
    table.sample(0)
    table.sample(SECOND)
    changes = [table.sample(at * SECOND) for at in range(2, 6)]
    assert sum(row.key.pid == process.pid for change in changes for row in change.changed) <= 1


def test_the_cpu_of_a_busy_process_is_its_share_of_true_time(start: Start) -> None:
    table = watch()
    process = start(SPIN)
    table.sample(0)
    used: list[float] = []
    deadline = time.monotonic() + 20
    while not any(used) and time.monotonic() < deadline:
        time.sleep(0.1)
        ratio = sampled(table, process.pid, 1).cpu_ratio
        assert ratio is not None
        used.append(ratio)
    assert 0 < max(used) < 1.5


def test_a_stopped_process_shows_its_state(start: Start) -> None:
    table = watch()
    process = start(SLEEP)
    table.sample(0)
    signals.signal_members(signals.tree_of(sampled(table, process.pid).key), "pause")
    assert sampled(table, process.pid, 1).state == "T"


def test_processes_of_an_active_run_name_run_and_job(start: Start) -> None:
    process = start(SLEEP, run=RUN)
    row = sampled(watch(active={RUN: "transcribe"}), process.pid)
    assert (row.owner, row.run, row.job) == ("run", RUN, "transcribe")


def test_a_process_of_a_run_that_ended_becomes_an_orphan_after_a_moment(start: Start) -> None:
    active = {RUN: "transcribe"}
    table = watch(active=active)
    process = start(SLEEP, run=RUN)
    assert sampled(table, process.pid, 0).owner == "run"
    active.clear()
    assert sampled(table, process.pid, 1).owner == "run"
    row = sampled(table, process.pid, 4)
    assert row.owner == "orphan"
    assert row.orphan_reason == f"It was left behind by run {RUN}, which ended."
    assert sampled(table, process.pid, 5).owner == "orphan"


def test_a_watch_word_is_found_in_any_case_and_can_change(start: Start) -> None:
    table = watch(words=("Enhanced_Batch",))
    process = start(SLEEP, "enhanced_batch_processor")
    assert sampled(table, process.pid).owner == "watched"
    table.set_words(("something else",))
    assert sampled(table, process.pid, 1).owner == "other"


@pytest.mark.parametrize(("desk", "owner"), [("/ours", "orphan"), ("/theirs", "watched")])
def test_a_watched_process_whose_parent_ends_under_our_eyes_is_an_orphan_of_its_own_desk_only(
    start: Start, monkeypatch: pytest.MonkeyPatch, desk: str, owner: str
) -> None:
    code = (
        "import signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGHUP, signal.SIG_DFL)\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(120)', 'overnight-worker'])\n"
        "print(child.pid, flush=True)\ntime.sleep(120)"
    )
    table = watch(words=("overnight-worker",))
    monkeypatch.setenv("NIGHTDESK_DESK", desk)
    parent = start("print('up', flush=True);" + code, own_session=True)
    monkeypatch.setenv("NIGHTDESK_DESK", "/ours")
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert sampled(table, child).owner == "watched"
    parent.kill()
    parent.wait()
    try:
        row = sampled(table, child, 1)
        if row.ppid != 1:
            pytest.skip(f"process {row.ppid} adopts orphans here, not process 1")
        row = sampled(table, child, 4)
        assert row.owner == owner
        assert (owner == "orphan") == (f"process {parent.pid}, ended" in (row.orphan_reason or ""))
    finally:
        os.kill(child, 9)


def test_escapes_in_a_command_line_are_made_harmless(start: Start) -> None:
    process = start(
        SLEEP, "\x1b]0;owned\x07 \ud800".encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    )
    command = sampled(watch(), process.pid).command
    assert "\x1b" not in command
    assert "\x07" not in command


def test_a_program_that_execs_another_shows_the_new_command(start: Start) -> None:
    again = "import os, sys, time; time.sleep(0.5); os.execv('/bin/sleep', ['sleep', '98.5'])"
    process = start(UP + again)
    table = watch()
    first = sampled(table, process.pid)
    at, deadline = 1, time.monotonic() + 20
    while (row := sampled(table, process.pid, at)).command != "sleep 98.5":
        assert time.monotonic() < deadline
        at += 1
        time.sleep(0.01)
    assert row.key == first.key
    assert row.name == "sleep"


def test_sparing_samples_still_show_a_quiet_process_that_ends(start: Start) -> None:
    table = watch()
    process = start(SLEEP)
    key = sampled(table, process.pid).key
    for at in range(1, 6):
        table.sample(at * SECOND, every=4)
    process.kill()
    process.wait()
    assert key in table.sample(7 * SECOND, every=4).gone


def test_closing_leaves_no_descriptor_open() -> None:
    before = len(list(Path("/proc/self/fd").iterdir())) if sys.platform == "linux" else 0
    table = watch()
    table.sample(0)
    table.close()
    assert sys.platform != "linux" or len(list(Path("/proc/self/fd").iterdir())) <= before


def test_the_listener_of_a_port_is_known(start: Start) -> None:
    process = start("import socket; s = socket.create_server(('127.0.0.1', 0)); " + SLEEP)
    table = watch()
    table.sample(SECOND)
    (port,) = next(row.ports for row in table.rows() if row.key.pid == process.pid)
    found = table.listener(port)
    assert found is not None and found.pid == process.pid
    assert table.listener(1) is None

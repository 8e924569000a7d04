"""The path of systems without /proc (macOS), taken here with psutil and real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from nightdesk.core.processes.reports import coming_back
from nightdesk.engine.processes import inspect, ports, signals, table
from nightdesk.engine.processes.sampler import ProcessWatch
from nightdesk.model.base import ProcessKey
from nightdesk.model.inspected import ProcessHistory

RUN = f"elsewhere-{os.getpid()}"
FAMILY = """
import os, signal, socket, time
signal.alarm(60)
server = socket.create_server(("127.0.0.1", 0))
if not os.fork():
    signal.alarm(60)
    while True: time.sleep(1)
print(server.getsockname()[1], flush=True)
while True: time.sleep(1)
"""


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is read from /proc, and no signal goes through a descriptor."""
    for module in (table, inspect, ports):
        monkeypatch.setattr(module, "LINUX", False)
    monkeypatch.setattr(signals, "_send_pinned", signals._send_checked)


@pytest.fixture
def family() -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A parent that listens on a port, with a child; both marked with a run."""
    process = subprocess.Popen(
        [sys.executable, "-S", "-c", FAMILY],
        stdout=subprocess.PIPE,
        start_new_session=True,
        env={**os.environ, "NIGHTDESK_RUN": RUN},
    )
    assert process.stdout is not None
    yield process, int(process.stdout.readline())
    for member in signals.processes_of_run(RUN, None):
        signals.send_signal(member.key, signal.SIGKILL)
    process.wait()
    process.stdout.close()


@pytest.mark.usefixtures("elsewhere")
def test_a_family_is_shown_inspected_paused_and_ended_without_proc(
    family: tuple[subprocess.Popen[bytes], int],
) -> None:
    process, port = family
    began = signals.start_time_ns(process.pid)
    assert began is not None and began == signals.start_time_ns(process.pid)
    key = ProcessKey(pid=process.pid, started_ns=began)
    members = signals.measured(signals.tree_of(key))
    assert len(members) == 2 and members[0].key == key
    assert coming_back(members).startswith("Up to "), "what they share is counted for each here"
    assert [each.key for each in signals.processes_of_run(RUN, None)] == [each.key for each in members]

    watch = ProcessWatch((), lambda: {RUN: "family"})
    watch.sample(time.time_ns())
    watch.sample(time.time_ns())
    row = next(row for row in watch.rows() if row.key == key)
    assert (row.owner, row.job) == ("run", "family")
    assert watch.listener(port) is not None
    found = inspect.inspect(row, ProcessHistory(key=key, step_ns=10**9), time.time_ns())
    assert found.markers["NIGHTDESK_RUN"] == RUN
    assert f"127.0.0.1:{port}" in [each.local for each in found.sockets]
    assert "does not tell what a process sleeps on" in found.unknown["waits_for"]

    signals.signal_members(members, "pause")
    assert [entry.state for each in members if (entry := table.read_entry(each.key.pid))] == ["T", "T"]
    other = ProcessKey(pid=key.pid, started_ns=began + 10**9)
    assert signals.send_signal(other, signal.SIGKILL) == "reused"
    report = signals.signal_members(signals.tree_of(key), "stop", grace_s=20)
    assert len(report.gone) == 2 and report.left == () and report.killed == ()

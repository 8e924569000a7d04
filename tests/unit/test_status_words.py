"""What ``nightdesk status`` says of its sources."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from nightdesk.cli.status import _print_status, run_cells
from nightdesk.model.base import ProcessKey
from nightdesk.model.desk import DeskInfo, ExchangeCounts, SourceState, Status
from nightdesk.model.job import Failure, Flight, Run


def status(dropped: int | None) -> Status:
    desk = DeskInfo(
        name="night",
        folder="/night",
        engine_version="1",
        api_version=1,
        engine=ProcessKey(pid=1, started_ns=1),
        host="here",
        platform="linux",
    )
    capture = SourceState(
        name="capture", state="live", label="lo scapy", at_ns=1, packets=12_000, dropped=dropped
    )
    counts = ExchangeCounts(running=0, done=0, failed=0, verdicts=0)
    return Status(
        desk=desk, started_ns=1, at_ns=2, sources=(capture,), servers=(), counts=counts, runs=(), orphans=()
    )


def test_lost_packets_are_said(capsys: pytest.CaptureFixture[str]) -> None:
    _print_status(status(dropped=1_234))
    assert "1,234 packets lost, 12,000 seen: exchanges may be incomplete" in capsys.readouterr().out


@pytest.mark.parametrize("dropped", [0, None])
def test_where_nothing_is_lost_or_nobody_knows_nothing_is_said(
    dropped: int | None, capsys: pytest.CaptureFixture[str]
) -> None:
    _print_status(status(dropped))
    assert "lost" not in capsys.readouterr().out


def test_why_a_capture_is_second_best_stands_in_lines_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    message = "Only the relay is seen.\nscapy: a right is missing.\ntcpdump: not installed."
    now = status(dropped=None)
    capture = msgspec.structs.replace(now.sources[0], label="127.0.0.1 relay", message=message)
    _print_status(msgspec.structs.replace(now, sources=(capture,)))
    assert (
        "  capture   live 127.0.0.1 relay Only the relay is seen.\n"
        "            scapy: a right is missing.\n"
        "            tcpdump: not installed.\n"
    ) in capsys.readouterr().out


def run(**more: Any) -> Run:
    given = {
        "state": "running",
        "started_ns": 1,
        "items_total": 14,
        "items_done": 7,
        "items_failed": 3,
        **more,
    }
    return Run(id="voices-1", job="voices", mode="full", command="x", folder="/night", created_ns=1, **given)


def test_items_that_failed_do_not_count_as_done_and_those_in_work_are_named() -> None:
    flights = tuple(Flight(serial=n, item=f"{n}.txt", attempt=1) for n in (8, 9))
    _, _, done, _, said = run_cells(run(flights=flights, exit_status=1), 10**9)
    assert (done, said) == ("7/14", "3 failed; items 8.txt, 9.txt")
    failure = Failure(kind="items", evidence="7 of 14 items failed: a, b")
    assert run_cells(run(state="failed", failure=failure), 10**9)[4] == "7 of 14 items failed: a, b"


def test_a_run_that_will_stand_still_after_the_item_in_work_says_so() -> None:
    flight = Flight(serial=8, item="8.txt", attempt=1)
    cells = run_cells(run(flights=(flight,), reason="After this item the run pauses."), 2)
    assert cells[-1] == "3 failed; item 8.txt. After this item the run pauses."


def test_a_run_that_stands_still_says_why_and_not_how_an_item_ended() -> None:
    still = run(
        state="paused", item="7.txt", exit_status=0, reason="It was paused; resume goes on with 4 items."
    )
    assert run_cells(still, 2)[-1] == "3 failed; It was paused; resume goes on with 4 items."
    opaque = run(state="paused", items_total=None, items_failed=0, item="7.txt", exit_status=1)
    assert run_cells(opaque, 2)[-1] == "item 7.txt"

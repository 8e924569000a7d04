"""What ``nightdesk status`` says of its sources."""

from __future__ import annotations

import pytest

from nightdesk.cli.status import _print_status
from nightdesk.model.base import ProcessKey
from nightdesk.model.desk import DeskInfo, ExchangeCounts, SourceState, Status


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

"""What ``nightdesk wait`` ends with: what a shell would have reported for the command."""

from __future__ import annotations

from typing import Any

import pytest

from nightdesk.cli.jobs import exit_status
from nightdesk.model.job import Failure, Run


@pytest.mark.parametrize(
    ("ended", "status"),
    [
        ({"state": "done", "exit_status": 0}, 0),
        ({"state": "failed", "exit_status": 3}, 3),
        ({"state": "failed", "signal": 11}, 139),
        ({"state": "failed", "signal": 15, "failure": Failure(kind="timeout", evidence="x")}, 124),
        ({"state": "failed", "exit_status": 0, "failure": Failure(kind="stalled", evidence="x")}, 124),
        ({"state": "failed", "failure": Failure(kind="not_found", evidence="x", shell_status=127)}, 127),
        ({"state": "failed", "failure": Failure(kind="not_found", evidence="x", shell_status=126)}, 126),
        ({"state": "failed", "exit_status": 1, "failure": Failure(kind="items", evidence="x")}, 1),
        ({"state": "lost", "failure": Failure(kind="lost", evidence="x")}, 1),
        ({"state": "stopped"}, 130),
        ({"state": "stopped", "signal": 15}, 143),
    ],
)
def test_wait_ends_as_a_shell_would_report_the_command(ended: dict[str, Any], status: int) -> None:
    run = Run(id="a-1", job="a", mode="full", command="x", created_ns=1, folder="/r", **ended)
    assert exit_status(run) == status

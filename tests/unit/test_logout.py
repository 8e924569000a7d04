"""Whether runs outlive a log-out, for each way in which an engine can have been started."""

from __future__ import annotations

import pytest

from nightdesk.core.logout import BEGIN, LINGER, judge, judge_mac

SESSION = "0::/user.slice/user-1000.slice/session-3.scope\n"
MANAGED = "0::/user.slice/user-1000.slice/user@1000.service/app.slice/run-r1.scope\n"
SERVICE = "0::/system.slice/nightdesk.service\n"


@pytest.mark.parametrize(
    ("cgroup", "lingers", "kills", "state", "remedy"),
    [
        (SESSION, True, False, "ok", ""),
        (SESSION, False, False, "ok", ""),
        (SESSION, True, True, "note", BEGIN),
        (SESSION, False, True, "note", BEGIN),
        (SESSION, True, None, "note", BEGIN),
        (MANAGED, True, True, "ok", ""),
        (MANAGED, False, False, "note", LINGER),
        (MANAGED, None, None, "note", LINGER),
        (SERVICE, False, True, "ok", ""),
        ("", None, None, "ok", ""),
    ],
)
def test_what_decides_is_where_the_engine_lives(
    cgroup: str, lingers: bool | None, kills: bool | None, state: str, remedy: str
) -> None:
    found = judge(cgroup, lingers=lingers, kills=kills)
    assert (found.state, found.remedy) == (state, remedy)
    assert found.said.endswith(".")


def test_lingering_alone_does_not_save_what_belongs_to_a_session() -> None:
    found = judge(SESSION, lingers=True, kills=True)
    assert "KillUserProcesses=yes" in found.said
    assert "systemd-run --user --scope" in found.remedy


def test_on_a_mac_a_graphical_session_takes_its_processes_along() -> None:
    assert judge_mac(over_ssh=False).state == "note"
    assert judge_mac(over_ssh=True).state == "ok"

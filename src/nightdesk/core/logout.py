"""Whether runs survive a log-out, from what systemd-logind says: pure judgement, asked and shown elsewhere."""

from __future__ import annotations

from typing import Literal, NamedTuple

BEGIN = "nightdesk down; loginctl enable-linger; systemd-run --user --scope nightdesk up"
LINGER = "loginctl enable-linger"
MAC_REMEDY = "Lock the screen instead, or start the engine over ssh: ssh localhost, then nightdesk up"


class Finding(NamedTuple):
    """What to tell: whether it is well, one sentence, and the exact next step."""

    state: Literal["ok", "note"]
    said: str
    remedy: str = ""


def judge(cgroup: str, *, lingers: bool | None, kills: bool | None) -> Finding:
    """Whether what is in ``cgroup`` (a line of ``/proc/PID/cgroup``) goes on after log-out.

    ``lingers``: the user's manager stays without a session. ``kills``: ``KillUserProcesses`` of logind. None is
    unknown.
    """
    if "/user@" in cgroup:
        return _managed(lingers)
    if "/session-" in cgroup:
        return _in_session(kills)
    return Finding("ok", "Runs go on after log-out: the engine belongs to no login session.")


def _managed(lingers: bool | None) -> Finding:
    whose = "the engine belongs to your user manager"
    if lingers:
        return Finding("ok", f"Runs go on after log-out: {whose}, and lingering is on.")
    if lingers is None:
        return Finding("note", f"It can't be told whether runs go on after log-out: {whose}.", LINGER)
    return Finding("note", f"Log-out ends engine and runs: {whose}, and lingering is off.", LINGER)


def _in_session(kills: bool | None) -> Finding:
    if kills is None:
        said = "It can't be told whether log-out ends engine and runs: logind does not say KillUserProcesses."
        return Finding("note", said, BEGIN)
    if kills:
        said = "Log-out ends engine and runs: logind ends the processes of a session (KillUserProcesses=yes)."
        return Finding("note", said, BEGIN)
    return Finding("ok", "Runs go on after log-out: logind leaves them alone (KillUserProcesses=no).")


def judge_mac(over_ssh: bool) -> Finding:
    """The same on a Mac: launchd ends what was begun in a graphical session."""
    if over_ssh:
        return Finding(
            "ok", "Runs go on after log-out: this was started over ssh, outside of a graphical session."
        )
    said = "Logging out of the Mac ends engine and runs that were started in its graphical session."
    return Finding("note", said, MAC_REMEDY)

"""The variables that every process of a run carries, by which its processes are found again."""

from __future__ import annotations

from collections.abc import Mapping

RUN = "NIGHTDESK_RUN"
JOB = "NIGHTDESK_JOB"
ITEM = "NIGHTDESK_ITEM"
DESK = "NIGHTDESK_DESK"
"""The desk's folder. Two desks may have runs of the same name; it also makes ``nightdesk`` in a job find its desk."""
ATTEMPT = "NIGHTDESK_ATTEMPT"
"""Number of the attempt within its run: tells the processes of items apart that are in work at the same time."""
MARKERS = (RUN, JOB, ITEM, DESK, ATTEMPT)


def run_in(environment: Mapping[str, str], desk: str | None) -> str | None:
    """The run that an environment names; None where it names none, or one of another desk than ``desk``."""
    return None if is_elsewhere(environment, desk) else environment.get(RUN) or None


def is_elsewhere(environment: Mapping[str, str], desk: str | None) -> bool:
    """Whether an environment names another desk than ``desk``."""
    theirs = environment.get(DESK)
    return desk is not None and theirs is not None and theirs != desk


def parse_environment(raw: bytes) -> dict[str, str]:
    """Our variables in ``/proc/PID/environ``; undecodable bytes are replaced."""
    pairs = (entry.partition(b"=") for entry in raw.split(b"\0") if entry.startswith(b"NIGHTDESK_"))
    return {name.decode("utf-8", "replace"): value.decode("utf-8", "replace") for name, _, value in pairs}

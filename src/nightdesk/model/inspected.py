"""One process in full: what it has open, what it waits for, how it was during the last hour, where it stands."""

from __future__ import annotations

from nightdesk.model.base import Noun, ProcessKey
from nightdesk.model.process import ProcessRow, TreeMember


class ProcessHistory(Noun, frozen=True, kw_only=True):
    """At most the last hour of a process. The lists are equally long, oldest first; None is unknown."""

    key: ProcessKey
    step_ns: int
    """Usual distance of two points."""
    at_ns: tuple[int, ...] = ()
    cpu_ratio: tuple[float | None, ...] = ()
    """Mean share of one core since the point before."""
    rss_bytes: tuple[int, ...] = ()
    device_bytes: tuple[int | None, ...] = ()
    """Memory on accelerators."""
    note: str | None = None
    """Why there is no more of it."""


class OpenFile(Noun, frozen=True, kw_only=True):
    """A file that a process has open."""

    descriptor: int | None = None
    path: str
    size_bytes: int | None = None


class OpenSocket(Noun, frozen=True, kw_only=True):
    """A socket of a process."""

    kind: str
    """``tcp`` or ``udp``"""
    local: str
    remote: str | None = None
    state: str | None = None
    """As ``ss`` names it: LISTEN, ESTABLISHED …"""


class ProcessDetail(Noun, frozen=True, kw_only=True):
    """One process, as far as this user may look into it."""

    row: ProcessRow
    at_ns: int
    parent: str | None = None
    """Name of its parent."""
    program: str | None = None
    """Path of the program file."""
    folder: str | None = None
    """Its working folder."""
    markers: dict[str, str] = {}
    """What its environment says of desk, run, job, item and attempt."""
    waits_for: str | None = None
    """What it is doing or waiting for, in words."""
    files: tuple[OpenFile, ...] = ()
    files_total: int | None = None
    sockets: tuple[OpenSocket, ...] = ()
    sockets_total: int | None = None
    children: tuple[TreeMember, ...] = ()
    """Everything below it, parents first."""
    swap_bytes: int | None = None
    read_bytes: int | None = None
    """Read from disk since it began."""
    written_bytes: int | None = None
    history: ProcessHistory
    unknown: dict[str, str] = {}
    """Name of a field that is absent → one sentence on why, and what would help."""


class Stacks(Noun, frozen=True, kw_only=True):
    """Where each thread of a Python process stands."""

    key: ProcessKey
    at_ns: int
    took_ns: int
    text: str
    """As py-spy prints it."""

"""Processes as the desk sees them."""

from __future__ import annotations

from typing import Literal

from nightdesk.model.base import Noun, ProcessKey

Ownership = Literal["run", "watched", "service", "orphan", "other"]
"""Part of a run, matches a watch pattern, a model server, left behind by a run, or the rest."""
RANKS: dict[Ownership, int] = {"orphan": 0, "run": 1, "watched": 2, "service": 3, "other": 4}
"""Where they stand in lists: first what needs a look."""


class ProcessRow(Noun, frozen=True, kw_only=True):
    """One line of the process table at one moment."""

    key: ProcessKey
    ppid: int
    name: str
    command: str
    """The whole command line, joined by blanks; the name in brackets where the system hides it."""
    user: str
    state: str
    """One letter as ``ps`` prints it: R running, S sleeping, D disk, T stopped, Z zombie, I idle."""
    cpu_ratio: float | None = None
    """Share of one core since the sample before; above 1 for several threads. Unknown in the first sample."""
    rss_bytes: int | None = None
    threads: int | None = None
    owner: Ownership = "other"
    run: str | None = None
    """The run that this process belongs to, from its environment or its ancestors."""
    job: str | None = None
    orphan_reason: str | None = None
    """One sentence: why this is an orphan."""
    ports: tuple[int, ...] = ()
    """TCP ports that it listens on, lowest first; empty also where its sockets may not be seen."""
    device_bytes: int | None = None
    """Memory that it holds on accelerators, where the newest sample knows it."""
    part: str | None = None
    """Which part of Nightdesk it is: engine, capture, sensors, keeper, nightdesk; of whichever desk."""
    desk: str | None = None
    """Name of the folder of the other desk that began it."""


class ProcessRef(Noun, frozen=True, kw_only=True):
    """The process behind an exchange, remembered after it is gone."""

    pid: int
    started_ns: int
    name: str
    command: str


class TreeMember(Noun, frozen=True, kw_only=True):
    """One process of a tree that is about to be signalled."""

    key: ProcessKey
    depth: int
    name: str
    command: str
    rss_bytes: int | None = None
    share_bytes: int | None = None
    """Its part of the memory: what several processes hold together is divided among them. None where not known."""
    stuck: str | None = None
    """In a report, of one that is still there: what keeps it."""


class SignalReport(Noun, frozen=True, kw_only=True):
    """What a signal to a tree did. ``left`` are processes that were still there after the last try."""

    action: str
    signalled: tuple[ProcessKey, ...]
    gone: tuple[ProcessKey, ...]
    left: tuple[TreeMember, ...]
    refused: tuple[str, ...]
    """One sentence for each process that was not signalled: its number was used again, or no right."""
    killed: tuple[ProcessKey, ...] = ()
    """Those of ``gone`` that got SIGKILL; for a stop, after they had not ended in time."""
    freed_bytes: int | None = None
    """Memory that those in ``gone`` had; what they shared counts once where the system tells it. Only after a stop
    or a kill."""
    device_bytes: int | None = None
    """Memory that they held on accelerators, as of the newest sample before."""
    run: str | None = None
    """The run that was acted on: the process was the first one of a run."""


class SignalRequest(Noun, frozen=True, kw_only=True):
    """Request: signal these processes and everything below them."""

    keys: tuple[ProcessKey, ...]


class OrphanTree(Noun, frozen=True, kw_only=True):
    """An orphan, everything below it, and what they hold."""

    root: ProcessRow
    members: tuple[TreeMember, ...]
    """Root first. Processes of runs in progress are left out: they are not ended with it."""
    ports: tuple[int, ...] = ()
    rss_bytes: int = 0
    """Memory that comes back with them; what they share counts once where the system tells it."""
    device_bytes: int | None = None


class StopAllReport(Noun, frozen=True, kw_only=True):
    """What became of everything that the desk had started."""

    runs: tuple[str, ...]
    """Runs that were in progress."""
    still: tuple[str, ...] = ()
    """Those of them that have not ended."""
    processes: SignalReport
    models: str = ""
    """What became of the models that the servers held, in a sentence."""


TreeAction = Literal["pause", "resume", "stop", "kill"]
"""SIGSTOP; SIGCONT; SIGTERM, wait, SIGKILL; SIGKILL at once."""

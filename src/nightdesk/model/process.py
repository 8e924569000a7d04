"""Processes as the desk sees them."""

from __future__ import annotations

from typing import Literal

from nightdesk.model.base import Noun, ProcessKey

Ownership = Literal["run", "watched", "service", "orphan", "other"]
"""Part of a run, matches a watch pattern, a model server, left behind by a run, or the rest."""


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


class SignalReport(Noun, frozen=True, kw_only=True):
    """What a signal to a tree did. ``left`` are processes that were still there after the last try."""

    action: str
    signalled: tuple[ProcessKey, ...]
    gone: tuple[ProcessKey, ...]
    left: tuple[TreeMember, ...]
    refused: tuple[str, ...]
    """One sentence for each process that was not signalled: its number was used again, or no right."""


TreeAction = Literal["pause", "resume", "stop", "kill"]
"""SIGSTOP; SIGCONT; SIGTERM, wait, SIGKILL; SIGKILL at once."""

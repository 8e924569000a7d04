"""Pauses, resumes, stops and kills process trees: exactly those, with everything below and nothing else.

All functions block; callers with a loop use ``asyncio.to_thread``. A process is (number, start time) and the pair is
checked again right before each signal. On Linux the signal goes through a descriptor that was opened before the check,
so a number that was used again can't be hit.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Literal

from msgspec.structs import replace

from nightdesk.core.foreign import safe_line
from nightdesk.core.processes.reports import memory_of
from nightdesk.core.processes.tree import ancestors, descendants
from nightdesk.core.processes.waits import waits_for
from nightdesk.engine.processes.table import (
    Entry,
    command_text,
    is_keeper,
    pids,
    read_argv,
    read_attempt,
    read_entry,
    read_marker,
    read_place,
    read_share,
    read_table,
    user_of,
)
from nightdesk.model.base import ProcessKey
from nightdesk.model.process import SignalReport, TreeAction, TreeMember

Members = tuple[TreeMember, ...]
Outcome = Literal["sent", "gone", "reused", "denied"]
_COMMAND_MOST = 4096
_POLL_S = 0.02
_KILL_WAIT_S = 5.0
_CALM_LOOKS = 8
"""So many looks must find nothing of a tree that grew, or where processes began during each of the looks: one that
begins the next and ends is missed by a look."""
_FREEZE_ROUNDS = 50
"""A tree that grows faster than it can be frozen is killed as far as it is known after so many looks."""


def start_time_ns(pid: int) -> int | None:
    """When the process began, nanoseconds since the epoch: the same integer each time. None where there is none."""
    entry = read_entry(pid)
    return entry.started_ns if entry else None


def is_alive(key: ProcessKey) -> bool:
    """Whether exactly this process still runs. A zombie does not, nor does another process with its number."""
    entry = read_entry(key.pid)
    return entry is not None and entry.started_ns == key.started_ns and entry.alive


def tree_of(key: ProcessKey) -> Members:
    """The process and all its descendants, a parent before its children. Empty where it is gone."""
    table = read_table()
    root = table.get(key.pid)
    if root is None or root.started_ns != key.started_ns or not root.alive:
        return ()
    return _members(descendants((key.pid,), _parents(table)), table)


def measured(members: Members) -> Members:
    """The same with each one's part of the memory, for which the system walks through all of it: milliseconds a GB."""
    return tuple(replace(member, share_bytes=read_share(member.key.pid)) for member in members)


def why_gone(key: ProcessKey) -> tuple[str, str]:
    """Why there is no tree at ``key``, and what to do: it is gone, or a zombie that nobody can end."""
    entry = read_entry(key.pid)
    if entry is None or entry.started_ns != key.started_ns:
        return f"Process {key.pid} is gone, or its number was used again.", ""
    parent = read_entry(entry.ppid)
    name = safe_line(parent.name, 64) if parent else "gone"
    return (
        f"Process {key.pid} has already ended: a zombie holds nothing but its number and can't be ended again.",
        f"It goes when its parent, process {entry.ppid} ({name}), asks how it ended, or ends itself.",
    )


def why_never(key: ProcessKey) -> str | None:
    """Why the tree at ``key`` is never signalled as a whole; None where it may be.

    Sparing only its root would hit everything else on the machine, or all that shares a session with us.
    """
    if key.pid <= 1:
        return f"Process {key.pid} is the system itself: every process is below it, and none of them is hit."
    table = read_table()
    if key.pid != os.getpid() and key.pid not in ancestors(os.getpid(), _parents(table)):
        return None
    return f"The engine of this desk is process {os.getpid()}, in the tree of process {key.pid}: nothing of it is hit."


def processes_of_run(run_id: str, root: ProcessKey | None) -> Members:
    """All processes of a run, parents first: below ``root``, in its session or group, or marked with the run.

    Never the keeper and never this process. ``root`` may be the keeper or the command and may be gone.
    """
    table = read_table()
    roots = {pid for pid in table if read_marker(pid) == run_id}
    if root is not None:
        roots.update(_of_root(root, run_id, table))
    found = descendants(sorted(roots), _parents(table))
    return tuple(
        member
        for member in _members(found, table)
        if member.key.pid != os.getpid() and not is_keeper(read_argv(member.key.pid))
    )


def processes_of_attempt(run_id: str, serial: int, root: ProcessKey | None) -> Members:
    """All processes of one attempt of a run, parents first. A process that dropped its marker counts to the attempt
    below whose ``root`` it lives, or in whose session.
    """
    ours = str(serial)
    members = processes_of_run(run_id, root)
    below = {member.key for member in tree_of(root)} if root is not None else set()
    return tuple(
        member
        for member in members
        if (attempt := read_attempt(member.key.pid)) == ours or (attempt is None and member.key in below)
    )


def _of_root(root: ProcessKey, run_id: str, table: Mapping[int, Entry]) -> set[int]:
    """``root`` itself and what shares its session or group.

    The system does not use a number again while a session or group bears it, but a later owner of the number could
    have left one: only processes that are younger than the root and not marked for another run count.
    """
    entry = table.get(root.pid)
    if entry is not None and entry.started_ns != root.started_ns:
        return set()
    found = {root.pid} if entry is not None else set()
    for pid, other in table.items():
        together = root.pid in (other.session, other.group) and other.started_ns >= root.started_ns
        if together and read_marker(pid) in (None, run_id):
            found.add(pid)
    return found


def _parents(table: Mapping[int, Entry]) -> dict[int, int]:
    return {pid: entry.ppid for pid, entry in table.items()}


def _members(found: Iterable[tuple[int, int]], table: Mapping[int, Entry]) -> Members:
    return tuple(_member(table[pid], depth) for pid, depth in found if table[pid].alive)


def _member(entry: Entry, depth: int) -> TreeMember:
    return TreeMember(
        key=ProcessKey(pid=entry.pid, started_ns=entry.started_ns),
        depth=depth,
        name=safe_line(entry.name, 64),
        command=safe_line(command_text(read_argv(entry.pid), entry.name), _COMMAND_MOST),
        rss_bytes=entry.rss_bytes,
    )


def signal_run(
    run_id: str, root: ProcessKey | None, action: TreeAction, grace_s: float = 10.0
) -> SignalReport:
    """Signals every process of a run, also those that it starts meanwhile. See :func:`signal_members`."""

    def again() -> Members:
        return processes_of_run(run_id, root)

    return signal_members(again(), action, grace_s, again)


def signal_attempt(
    run_id: str, serial: int, root: ProcessKey | None, action: TreeAction, grace_s: float = 10.0
) -> SignalReport:
    """Signals every process of one attempt of a run, and none of its other attempts."""

    def again() -> Members:
        return processes_of_attempt(run_id, serial, root)

    return signal_members(again(), action, grace_s, again)


def signal_members(
    members: Iterable[TreeMember],
    action: TreeAction,
    grace_s: float = 10.0,
    rescan: Callable[[], Members] | None = None,
) -> SignalReport:
    """Signals these processes and what they start meanwhile; waits until they are gone for ``stop`` and ``kill``.

    ``stop`` gives them ``grace_s`` seconds to end by themselves. ``rescan`` names further members each time the tree
    is looked at again. Processes 0 and 1, kernel threads, this process and its ancestors are refused.
    """
    work = _Signalling(members, action, rescan)
    if action == "pause":
        work.freeze()
    elif action == "resume":
        work.resume()
    elif action == "stop":
        work.stop(grace_s)
    else:
        work.kill()
    return work.report(action)


class _Signalling:
    """One action on one growing set of processes."""

    def __init__(
        self, members: Iterable[TreeMember], action: TreeAction, rescan: Callable[[], Members] | None
    ) -> None:
        table = read_table()
        self._action = action
        self._rescan = rescan
        self._forbidden = {os.getpid(), *ancestors(os.getpid(), _parents(table))}
        self._members: dict[ProcessKey, TreeMember] = {}
        self._groups: set[int] = set()
        self._marks: set[tuple[str, str]] = set()
        self._signalled: dict[ProcessKey, None] = {}
        self._killed: dict[ProcessKey, None] = {}
        self._grew = False
        """New members came while we worked."""
        self._stirred = False
        """Processes began during the newest look, any of which may be one of ours that was missed."""
        self._refused: dict[ProcessKey, str] = {}
        self._before = {(entry.pid, entry.started_ns) for entry in table.values()}
        self._admit(members, table)

    def _admit(self, members: Iterable[TreeMember], table: Mapping[int, Entry]) -> list[ProcessKey]:
        new = []
        for member in members:
            key = member.key
            if key in self._members or key in self._refused:
                continue
            if reason := self._reason_against(member, table.get(key.pid)):
                self._refused[key] = reason
                continue
            self._members[key] = member
            new.append(key)
            entry = table.get(key.pid)
            if entry and entry.group == key.pid:
                self._groups.add(key.pid)
            if mark := _mark_of(key.pid):
                self._marks.add(mark)
        return new

    def _reason_against(self, member: TreeMember, entry: Entry | None) -> str | None:
        pid = member.key.pid
        if pid <= 1:
            return f"Process {pid} is the system itself and is never signalled."
        if pid in self._forbidden:
            return f"Process {pid} ({member.name}) is Nightdesk itself or one of its parents and is never signalled."
        if entry is not None and entry.kernel:
            return f"Process {pid} ({member.name}) is part of the kernel and can't be signalled."
        if entry is not None and entry.started_ns != member.key.started_ns:
            return _reused(member)
        return None

    def freeze(self) -> None:
        """SIGSTOP to all, parents first, until no look at the table shows a new child."""
        fresh = list(self._members)
        empty = 0
        for _ in range(_FREEZE_ROUNDS):
            for key in fresh:
                self._send(key, signal.SIGSTOP)
            self._wait_stopped(fresh)
            fresh = self._newcomers()
            empty = 0 if fresh else empty + 1
            if empty > self._calm_looks:
                return

    def resume(self) -> None:
        """SIGCONT to all, children first, so that a parent never waits for one that still sleeps."""
        if self._rescan:
            self._admit(self._rescan(), read_table())
        for key in reversed(list(self._members)):
            self._send(key, signal.SIGCONT)

    def stop(self, grace_s: float) -> None:
        """SIGTERM, at most ``grace_s`` seconds of patience, then :meth:`kill` for the rest.

        The tree stands still meanwhile, so that no parent answers the end of a child with a new one.
        """
        self.freeze()
        self._measure()
        self._end_kindly(list(self._members))
        deadline = time.monotonic() + grace_s
        pause = _POLL_S
        while self._alive() and time.monotonic() < deadline:
            time.sleep(pause)
            pause = min(pause * 1.3, 0.25)
            self._end_kindly(self._abandoned())
        if self._alive() or self._newcomers() or self._grew or self._stirred:
            self.kill()

    def kill(self) -> None:
        """Freezes the tree so that nothing can be started any more, then SIGKILL to all, and waits."""
        self.freeze()
        self._measure()
        deadline = time.monotonic() + _KILL_WAIT_S
        for key in reversed(list(self._members)):
            self._send(key, signal.SIGKILL)
        empty = 0
        while time.monotonic() < deadline and empty <= self._calm_looks:
            fresh = self._newcomers()
            for key in fresh:
                self._send(key, signal.SIGKILL)
            empty = 0 if fresh or self._alive() else empty + 1
            if self._calm_looks or not empty:
                time.sleep(_POLL_S)

    @property
    def _calm_looks(self) -> int:
        return _CALM_LOOKS if self._grew or self._stirred else 0

    def report(self, action: TreeAction) -> SignalReport:
        """What was done, and for a stop or kill what is left."""
        alive = {key for key in self._members if is_alive(key)}
        ending = action in ("stop", "kill")
        gone = tuple(key for key in self._members if key not in alive)
        return SignalReport(
            action=action,
            signalled=tuple(self._signalled),
            gone=gone,
            killed=tuple(key for key in gone if key in self._killed),
            freed_bytes=memory_of([self._members[key] for key in gone]) or 0 if ending else None,
            left=tuple(self._stuck(key) for key in self._members if ending and key in alive),
            refused=tuple(self._refused.values()),
        )

    def _measure(self) -> None:
        """Each one's part of the memory, while all stand still: later it is gone."""
        for key, member in self._members.items():
            if member.share_bytes is None and is_alive(key):
                self._members[key] = replace(member, share_bytes=read_share(key.pid))

    def _stuck(self, key: ProcessKey) -> TreeMember:
        """A process that is still there; with what keeps it where not even SIGKILL reaches it."""
        entry, member = read_entry(key.pid), self._members[key]
        if entry is None or entry.state != "D" or key in self._refused:
            return member
        return replace(member, stuck=waits_for("D", read_place(key.pid)))

    def _send(self, key: ProcessKey, number: signal.Signals) -> None:
        outcome = send_signal(key, number)
        if outcome == "sent":
            self._signalled[key] = None
            if number == signal.SIGKILL:
                self._killed[key] = None
        elif outcome == "reused":
            self._refused[key] = _reused(self._members[key])
        elif outcome == "denied":
            self._refused[key] = _denied(self._members[key], self._action)

    def _end_kindly(self, keys: Iterable[ProcessKey]) -> None:
        """SIGTERM to the leaves first, then SIGCONT to those that are stopped: they could not hear it otherwise."""
        leaves_first = list(keys)[::-1]
        for key in leaves_first:
            self._send(key, signal.SIGTERM)
        for key in leaves_first:
            entry = read_entry(key.pid)
            if entry and entry.state in "Tt":
                self._send(key, signal.SIGCONT)

    def _alive(self) -> list[ProcessKey]:
        return [key for key in self._members if key not in self._refused and is_alive(key)]

    def _wait_stopped(self, keys: Iterable[ProcessKey]) -> None:
        """Up to a fifth of a second: a process that was told to stop may still be about to fork."""
        deadline = time.monotonic() + 0.2
        for key in keys:
            while (entry := read_entry(key.pid)) and entry.state in "RS" and time.monotonic() < deadline:
                if key in self._refused or entry.started_ns != key.started_ns:
                    break
                time.sleep(0.001)

    def _newcomers(self) -> list[ProcessKey]:
        """What appeared since the last look: children, and what lost its parent but has a member's group or marker."""
        table = read_table()
        living = [key.pid for key in self._members if _is(table.get(key.pid), key)]
        found = [member for member in _members(descendants(living, _parents(table)), table) if member.depth]
        fresh = (e for e in table.values() if e.alive and (e.pid, e.started_ns) not in self._before)
        found += [_member(e, 1) for e in fresh if e.group in self._groups or _mark_of(e.pid) in self._marks]
        if self._rescan:
            found += self._rescan()
        allowed = (member for member in found if member.key.pid not in self._forbidden)
        admitted = self._admit(allowed, table)
        self._grew = self._grew or bool(admitted)
        self._stirred = not pids().issubset(table)
        return admitted

    def _abandoned(self) -> list[ProcessKey]:
        """Newcomers without a living parent among us. One with a parent may be its clean-up and is left in peace."""
        self._newcomers()
        living = {key.pid for key in self._alive()}
        waiting = (key for key in self._members if key.pid in living and key not in self._signalled)
        return [key for key in waiting if (e := read_entry(key.pid)) is not None and e.ppid not in living]


def _is(entry: Entry | None, key: ProcessKey) -> bool:
    return entry is not None and entry.started_ns == key.started_ns


def _reused(member: TreeMember) -> str:
    return f"Process {member.key.pid} ({member.name}) is gone and its number was given to another process."


_DEEDS: dict[TreeAction, tuple[str, str]] = {
    "pause": ("pause", "-STOP "),
    "resume": ("resume", "-CONT "),
    "stop": ("end", ""),
    "kill": ("end", "-KILL "),
}
"""What the user wanted, and the option of ``kill`` for it."""


def _denied(member: TreeMember, action: TreeAction) -> str:
    pid, user = member.key.pid, user_of(member.key.pid)
    who = user if user == "root" else f"{user} or root"
    deed, option = _DEEDS[action]
    return (
        f"No right to signal process {pid} ({member.name}): it belongs to {user}; "
        f"only {who} can {deed} it: sudo kill {option}{pid}"
    )


def _mark_of(pid: int) -> tuple[str, str] | None:
    """Run and attempt that the process was started for; None where it is not marked with both."""
    run, attempt = read_marker(pid), read_attempt(pid)
    return (run, attempt) if run and attempt else None


def send_signal(key: ProcessKey, number: signal.Signals) -> Outcome:
    """Sends one signal to exactly this process and tells what came of it. Raises nothing for a process that is gone."""
    if key.pid <= 1:
        return "denied"
    try:
        return _send_pinned(key, number) if sys.platform == "linux" else _send_checked(key, number)
    except ProcessLookupError:
        return "gone"
    except PermissionError:
        return "denied"


def _send_pinned(key: ProcessKey, number: signal.Signals) -> Outcome:
    """Through a descriptor that holds on to the process from before the check."""
    try:
        descriptor = os.pidfd_open(key.pid)
    except OSError as fault:
        if fault.errno in (errno.ESRCH, errno.EPERM):
            raise
        return _send_checked(key, number)
    try:
        outcome = _checked(key)
        if outcome == "sent":
            signal.pidfd_send_signal(descriptor, number)
        return outcome
    finally:
        os.close(descriptor)


def _send_checked(key: ProcessKey, number: signal.Signals) -> Outcome:
    """Where the system has no process descriptors the check comes immediately before the signal."""
    outcome = _checked(key)
    if outcome == "sent":
        os.kill(key.pid, number)
    return outcome


def _checked(key: ProcessKey) -> Outcome:
    entry = read_entry(key.pid)
    if entry is None or (_is(entry, key) and not entry.alive):
        return "gone"
    return "sent" if _is(entry, key) else "reused"

"""Samples the process table and tells what changed, with the owner of each process."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import PurePath

from nightdesk.core.foreign import safe_line
from nightdesk.core.markers import DESK, is_elsewhere, run_in
from nightdesk.core.processes.ownership import Desk, Facts, Kind, Owner, classify, owners, part_of_nightdesk
from nightdesk.engine.processes import table as system
from nightdesk.engine.processes.histories import Histories
from nightdesk.engine.processes.ports import PortWatch
from nightdesk.engine.processes.table import Entry, TableReader
from nightdesk.model.base import ProcessKey
from nightdesk.model.desk import ProcessesChanged
from nightdesk.model.process import ProcessRef, ProcessRow

_REFRESH_ROUNDS = 30
"""Each process is asked again for its command line after so many samples: exec keeps number and start time."""
_YOUNG_ROUNDS = 5
"""A process that is new to us is asked at each of so many samples, because programs exec soon after the fork."""
_PATIENCE_NS = 2_000_000_000
"""How long something must look like an orphan: a run that ends takes its processes along a moment later."""
_RSS_STEP = 100_000
_COMMAND_LIMIT = 4096


class _Known:
    """What is kept of a process between samples."""

    __slots__ = (
        "argv",
        "before",
        "born",
        "command",
        "desk",
        "earlier_ppid",
        "elsewhere",
        "entry",
        "key",
        "kind",
        "marker",
        "part",
        "read_ns",
        "row",
        "user",
    )

    def __init__(self, entry: Entry, born: int) -> None:
        self.key = ProcessKey(pid=entry.pid, started_ns=entry.started_ns)
        self.born = born
        self.entry = self.before = entry
        self.read_ns = 0
        self.argv: tuple[str, ...] | None = None
        self.command = ""
        self.user = "?"
        self.kind: Kind = "other"
        self.marker: str | None = None
        self.elsewhere = False
        self.desk: str | None = None
        self.part: str | None = None
        self.earlier_ppid: int | None = None
        self.row: ProcessRow | None = None

    def ask(self, words: tuple[str, ...]) -> bool:
        """Reads the command line again; where it is another, also marker and user. True where it is another."""
        pid, name = self.entry.pid, self.entry.name
        argv = system.read_argv(pid)
        if argv == self.argv or (not argv and self.argv and not self.entry.alive):
            return False
        self.argv = argv
        self.command = safe_line(system.command_text(argv, name), _COMMAND_LIMIT)
        markers, desk = system.read_markers(pid), os.environ.get(DESK)
        self.marker, self.elsewhere = run_in(markers, desk), is_elsewhere(markers, desk)
        self.desk = safe_line(PurePath(markers[DESK]).name, 64) if self.elsewhere else None
        self.user = system.user_of(pid)
        self.judge(words)
        return True

    def judge(self, words: tuple[str, ...]) -> None:
        """Decides by its command line what kind of process it is."""
        argv = self.argv or ()
        self.kind = classify(self.entry.name, argv, words, keeper=system.is_keeper(argv))
        self.part = part_of_nightdesk(self.kind, argv)

    def facts(self, recorded: str | None) -> Facts:
        entry = self.entry
        return Facts(
            pid=entry.pid,
            ppid=entry.ppid,
            group=entry.group,
            session=entry.session,
            name=entry.name,
            kind=self.kind,
            marker=self.marker,
            earlier_ppid=self.earlier_ppid,
            recorded=recorded,
            elsewhere=self.elsewhere,
        )


class ProcessWatch:
    """The process table of the desk. Samples are taken one at a time, in whichever thread."""

    def __init__(
        self,
        watch_words: tuple[str, ...],
        runs: Callable[[], Mapping[str, str]],
        known_runs: Callable[[str], bool] = lambda run: False,
        recorded: Callable[[], Mapping[ProcessKey, str]] = dict,
        devices: Callable[[], Mapping[int, int]] = dict,
    ) -> None:
        """``runs`` gives the job of each active run, ``known_runs`` tells whether this desk ever had a run.

        ``recorded`` gives the run of each process that the records of runs name, ``devices`` the accelerator memory
        of each process.
        """
        self._words = _lower(watch_words)
        self._runs = runs
        self.is_known = known_runs
        """Whether this desk ever had a run."""
        self._recorded = recorded
        self._devices = devices
        self._ports = PortWatch()
        self.histories = Histories()
        self._lock = threading.Lock()
        self._reader = TableReader(self._is_quiet)
        self._known: dict[int, _Known] = {}
        self._owners: dict[int, Owner] = {}
        self._owned_for: Mapping[str, str] = {}
        self._suspects: dict[ProcessKey, int] = {}
        self._rejudge = False
        self._round = 0

    def set_words(self, watch_words: tuple[str, ...]) -> None:
        """Takes other watch words; they hold from the next sample on."""
        self._words = _lower(watch_words)
        for known in self._known.values():
            known.judge(self._words)
        self._rejudge = True

    def listener(self, port: int) -> ProcessRef | None:
        """The process that listens on a port, as of the newest sample; None where none is known."""
        row = next((row for row in self.rows() if port in row.ports), None)
        if row is None:
            return None
        key = row.key
        return ProcessRef(pid=key.pid, started_ns=key.started_ns, name=row.name, command=row.command)

    def rows(self) -> tuple[ProcessRow, ...]:
        """All processes as of the last sample, kernel threads left out, ordered by number."""
        return tuple(known.row for _, known in sorted(self._known.items()) if known.row is not None)

    def close(self) -> None:
        """Closes the files that were kept open between samples."""
        self._reader.close()

    def sample(self, now_ns: int, every: int = 1) -> ProcessesChanged:
        """Reads the whole table; the difference to the sample before. Blocks for some milliseconds.

        Processes that are not ours and stand still are read ``every`` so-manieth time only.
        """
        with self._lock:
            return self._sample(now_ns, every)

    def hurry(self) -> None:
        """With the next sample, ports are looked up again too."""
        self._ports.hurry()

    def _sample(self, now_ns: int, every: int) -> ProcessesChanged:
        self._round += 1
        read_ns = time.monotonic_ns()
        table = self._reader.read(every)
        gone = self._forget(table)
        fresh = self._take(table)
        self._judge(fresh or bool(gone), now_ns)
        ours = [pid for pid, owner in self._owners.items() if owner.owner != "other"]
        ports, devices = self._ports.look(self._known, ours), self._devices()
        changed = [
            row
            for pid, known in self._known.items()
            if (row := self._show(known, read_ns, ports.get(pid, ()), devices.get(pid)))
        ]
        self._remember(now_ns, devices)
        return ProcessesChanged(at_ns=now_ns, changed=tuple(changed), gone=tuple(gone))

    def _remember(self, now_ns: int, devices: Mapping[int, int]) -> None:
        wanted = (
            (known.key, known.entry)
            for known in self._known.values()
            if known.row and (known.row.owner != "other" or self.histories.wants(known.key))
        )
        self.histories.note(now_ns, wanted, devices)

    def _is_quiet(self, pid: int) -> bool:
        known = self._known.get(pid)
        row = known.row if known else None
        return row is not None and row.owner == "other" and not row.cpu_ratio

    def _forget(self, table: Mapping[int, Entry]) -> list[ProcessKey]:
        gone = []
        for pid, known in list(self._known.items()):
            entry = table.get(pid)
            if entry is None or entry.started_ns != known.key.started_ns:
                del self._known[pid]
                self._suspects.pop(known.key, None)
                if known.row is not None:
                    gone.append(known.key)
        return gone

    def _take(self, table: Mapping[int, Entry]) -> bool:
        """Notes new processes and changed facts; True where owners must be judged again."""
        fresh = False
        for pid, entry in table.items():
            known = self._known.get(pid)
            if known is None:
                known = self._known[pid] = _Known(entry, self._round)
                known.ask(self._words)
                fresh = True
                continue
            before = known.before = known.entry
            known.entry = entry
            if entry.ppid != before.ppid:
                known.earlier_ppid = before.ppid
                fresh = True
            fresh = fresh or entry.group != before.group or entry.session != before.session
            age = self._round - known.born
            if age < _YOUNG_ROUNDS or entry.name != before.name or (age + pid) % _REFRESH_ROUNDS == 0:
                fresh = known.ask(self._words) or fresh
        return fresh

    def _judge(self, fresh: bool, now_ns: int) -> None:
        active = dict(self._runs())
        if not (fresh or self._rejudge or active != self._owned_for):
            return
        self._rejudge = False
        desk = Desk(active, self.is_known, system.hangup_ignored)
        recorded = self._recorded()
        found = owners(
            {pid: known.facts(recorded.get(known.key)) for pid, known in self._known.items()}, desk
        )
        self._owned_for = active
        self._owners = {
            pid: self._patient(self._known[pid].key, owner, now_ns) for pid, owner in found.items()
        }

    def _patient(self, key: ProcessKey, owner: Owner, now_ns: int) -> Owner:
        """An orphan only after a while; until then what it was, a process of its run or a watched one."""
        if owner.owner != "orphan":
            self._suspects.pop(key, None)
            return owner
        since = self._suspects.setdefault(key, now_ns)
        if now_ns - since >= _PATIENCE_NS:
            return owner
        self._rejudge = True
        return Owner("run", owner.run) if owner.run else Owner("watched")

    def _show(
        self, known: _Known, read_ns: int, ports: tuple[int, ...], device: int | None
    ) -> ProcessRow | None:
        """The row where it differs noticeably from the one before, else None."""
        entry, old = known.entry, known.row
        owner = self._owners[entry.pid]
        if old is not None and entry is known.before and not old.cpu_ratio and old.cpu_ratio is not None:
            cpu: float | None = 0.0
        else:
            cpu = _cpu(known, read_ns)
        unchanged = entry is known.before and old is not None and old.cpu_ratio == cpu
        if entry.pid not in self._reader.skipped:
            known.read_ns = read_ns
        if unchanged and old is not None and _same(old, owner, known.command, ports, device):
            return None
        row = _row(known, owner, cpu, ports, device)
        if old is not None and row == old:
            return None
        known.row = row
        return row


def _lower(words: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(word.lower() for word in words if word)


def _cpu(known: _Known, read_ns: int) -> float | None:
    """Share of one core since the entry before, in steps of 0.1 %; None at first sight."""
    if known.row is None or read_ns <= known.read_ns:
        return None
    used = known.entry.cpu_ns - known.before.cpu_ns
    return round(max(used, 0) / (read_ns - known.read_ns), 3)


def _same(row: ProcessRow, owner: Owner, command: str, ports: tuple[int, ...], device: int | None) -> bool:
    held = row.command == command and row.ports == ports and row.device_bytes == device
    return held and (row.owner, row.run, row.job, row.orphan_reason) == owner


def _row(
    known: _Known, owner: Owner, cpu: float | None, ports: tuple[int, ...], device: int | None
) -> ProcessRow:
    entry = known.entry
    return ProcessRow(
        key=known.key,
        ppid=entry.ppid,
        name=safe_line(entry.name, 64),
        command=known.command,
        user=known.user,
        state=entry.state,
        cpu_ratio=cpu,
        rss_bytes=round(entry.rss_bytes / _RSS_STEP) * _RSS_STEP,
        threads=entry.threads,
        owner=owner.owner,
        run=owner.run,
        job=owner.job,
        orphan_reason=owner.orphan_reason,
        ports=ports,
        device_bytes=device,
        part=known.part,
        desk=known.desk,
    )

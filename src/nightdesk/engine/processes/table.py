"""The system's process table: one entry, all entries, command lines and run markers.

Linux is read from ``/proc`` directly, because psutil takes ten times as long; elsewhere psutil answers.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from nightdesk.core.markers import ATTEMPT, DESK, parse_environment, run_in

LINUX = sys.platform.startswith("linux")
_KERNEL_FLAG = 0x00200000
"""PF_KTHREAD of the kernel's flags field."""
_KERNEL_ROUNDS = 10
"""After so many reads, numbers of kernel threads are looked at again: one may have become a process."""
_COMMAND_LIMIT = 32_768
"""Bytes of a command line that are kept."""
_TICKS = os.sysconf("SC_CLK_TCK") if LINUX else 100
_TICK_NS = 1_000_000_000 // _TICKS
_PAGE = os.sysconf("SC_PAGE_SIZE") if LINUX else 4096


class Entry(NamedTuple):
    """One process as the system shows it at one moment."""

    pid: int
    ppid: int
    group: int
    session: int
    state: str
    started_ns: int
    cpu_ns: int
    threads: int
    rss_bytes: int
    name: str
    kernel: bool
    """A thread of the kernel: no memory, no command line, can't be signalled."""

    @property
    def alive(self) -> bool:
        """False for a zombie: it only waits for its parent to look."""
        return self.state not in "ZX"


@functools.cache
def boot_ns() -> int:
    """When the system booted, nanoseconds since the epoch. Read once, so that start times never drift."""
    for line in Path("/proc/stat").read_bytes().splitlines():
        if line.startswith(b"btime "):
            return int(line[6:]) * 1_000_000_000
    return 0


def read_entry(pid: int) -> Entry | None:
    """The process with this number, or None."""
    if pid <= 0:
        return None
    if not LINUX:
        return _psutil_entry(pid)
    raw = _proc_file(pid, "stat", 1024)
    return _as_it_lives(parse_stat(raw, boot_ns())) if raw else None


def pids() -> set[int]:
    """The numbers that are in use now."""
    if not LINUX:
        import psutil

        return set(psutil.pids())
    return {int(name) for name in os.listdir("/proc") if name.isdecimal()}  # noqa: PTH208 - speed


def read_table() -> dict[int, Entry]:
    """All processes of the system by number."""
    if not LINUX:
        return _psutil_table()
    boot = boot_ns()
    table: dict[int, Entry] = {}
    for name in os.listdir("/proc"):  # noqa: PTH208 - a Path per process would double the time
        if name.isdecimal() and (raw := _stat_bytes(name)) and (entry := _as_it_lives(parse_stat(raw, boot))):
            table[entry.pid] = entry
    return table


class TableReader:
    """Reads the table again and again. An entry that did not change comes back as the same object.

    On Linux the files stay open between reads, which saves a third of the time; such a descriptor can only ever
    show the process that it was opened for.
    """

    def __init__(self, spare: Callable[[int], bool] = lambda pid: False) -> None:
        """``spare`` tells whether a process is quiet and may be read less often."""
        self._spare = spare
        self.skipped: set[int] = set()
        """Processes that the last read left as they were."""
        self._files: dict[str, int] = {}
        self._limit = _descriptor_limit()
        self._raw: dict[str, bytes] = {}
        self._entries: dict[str, Entry] = {}
        self._kernel: set[str] = set()
        self._round = 0

    def read(self, every: int = 1) -> dict[int, Entry]:
        """All processes by number, kernel threads left out; quiet ones are read every so-manieth time only."""
        if not LINUX:
            return {pid: entry for pid, entry in read_table().items() if not entry.kernel}
        self._round += 1
        if self._round % _KERNEL_ROUNDS == 0:
            self._kernel.clear()
        names = [name for name in os.listdir("/proc") if name.isdecimal()]  # noqa: PTH208 - speed
        entries = self._read_all(names, every)
        for name in self._files.keys() - entries.keys():
            os.close(self._files.pop(name))
        self._raw = {name: self._raw[name] for name in entries}
        self._entries = entries
        return {entry.pid: entry for entry in entries.values()}

    def close(self) -> None:
        """Closes the files that were kept open."""
        for descriptor in self._files.values():
            os.close(descriptor)
        self._files.clear()

    def _read_all(self, names: list[str], every: int) -> dict[str, Entry]:
        boot, before, raws = boot_ns(), self._entries, self._raw
        entries: dict[str, Entry] = {}
        self.skipped.clear()
        for name in names:
            if name in self._kernel:
                continue
            entry = before.get(name)
            if entry is not None and (entry.pid + self._round) % every and self._spare(entry.pid):
                entries[name] = entry
                self.skipped.add(entry.pid)
                continue
            raw = self._stat(name)
            if raw != raws.get(name):
                entry = parse_stat(raw, boot)
                raws[name] = raw
                if entry is not None and (shown := _as_it_lives(entry)) is not entry:
                    entry, raws[name] = shown, b""  # its other threads change without this file
            if entry is None:
                continue
            if entry.kernel:
                self._kernel.add(name)
                continue
            entries[name] = entry
        return entries

    def _stat(self, name: str) -> bytes:
        descriptor = self._files.get(name)
        if descriptor is not None:
            try:
                return os.pread(descriptor, 1024, 0)
            except OSError:
                os.close(self._files.pop(name))
        if len(self._files) >= self._limit:
            return _stat_bytes(name)
        try:
            self._files[name] = descriptor = os.open(f"/proc/{name}/stat", os.O_RDONLY | os.O_CLOEXEC)
            return os.pread(descriptor, 1024, 0)
        except OSError:
            return b""


def _descriptor_limit() -> int:
    """How many descriptors may stay open: a quarter of what the system allows, at most 1,500."""
    import resource

    return min(resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 4, 1500)


def _stat_bytes(pid: str) -> bytes:
    try:
        descriptor = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(descriptor, 1024)
    except OSError:
        return b""
    finally:
        os.close(descriptor)


def parse_stat(raw: bytes, boot: int) -> Entry | None:
    """An entry from a line of ``/proc/PID/stat``; None where the line is damaged.

    The name may hold blanks and brackets, so the fields are counted from the last bracket.
    """
    head, _, tail = raw.rpartition(b") ")
    number, _, name = head.partition(b" (")
    fields = tail.split(None, 22)
    if len(fields) < 22:
        return None
    return Entry(
        int(number),
        int(fields[1]),
        int(fields[2]),
        int(fields[3]),
        fields[0].decode("ascii", "replace"),
        boot + int(fields[19]) * _TICK_NS,
        (int(fields[11]) + int(fields[12])) * _TICK_NS,
        int(fields[17]),
        int(fields[21]) * _PAGE,
        name.decode("utf-8", "replace"),
        bool(int(fields[6]) & _KERNEL_FLAG),
    )


def _as_it_lives(entry: Entry | None) -> Entry | None:
    """The entry, with state and memory of another thread where the first has ended before the rest.

    The system shows such a process as a zombie without memory; it goes on and holds all that it held.
    """
    if entry is None or entry.state != "Z" or entry.threads < 2:
        return entry
    folder = thread_folder(entry.pid)
    other = parse_stat(_read_file(f"{folder}/stat", 1024), 0) if folder else None
    return entry if other is None else entry._replace(state=other.state, rss_bytes=other.rss_bytes)


def thread_folder(pid: int) -> str | None:
    """Where a thread stands that goes on after the first of its process has ended; None where there is none."""
    folder = f"/proc/{pid}/task"
    try:
        # Two links more than there are threads: this is asked of everybody who shows nothing.
        if os.stat(folder).st_nlink < 4 or not _is_zombie(pid):  # noqa: PTH116 - hot path
            return None
        others = [name for name in os.listdir(folder) if name != str(pid)]  # noqa: PTH208 - likewise
    except OSError:
        return None
    for name in others:
        entry = parse_stat(_read_file(f"{folder}/{name}/stat", 1024), 0)
        if entry is not None and entry.alive:
            return f"{folder}/{name}"
    return None


def _is_zombie(pid: int) -> bool:
    entry = parse_stat(_proc_file(pid, "stat", 1024), 0)
    return entry is not None and entry.state == "Z"


def read_argv(pid: int) -> tuple[str, ...]:
    """The arguments of a process; empty where it has none, is gone or may not be asked."""
    if not LINUX:
        return _psutil_argv(pid)
    raw = _memory_file(pid, "cmdline", _COMMAND_LIMIT)
    return tuple(part.decode("utf-8", "replace") for part in raw.rstrip(b"\0").split(b"\0")) if raw else ()


def read_marker(pid: int) -> str | None:
    """The run of our desk that the process was started for; None where unmarked, another desk's, or not readable."""
    return run_in(read_markers(pid), os.environ.get(DESK))


def read_attempt(pid: int) -> str | None:
    """The attempt that the process was started for; None where unmarked, or not readable."""
    return read_markers(pid).get(ATTEMPT)


def read_markers(pid: int) -> dict[str, str]:
    """The variables of ours that the process was started with; none where it is unmarked or not readable."""
    if not LINUX:
        return _psutil_markers(pid)
    raw = _memory_file(pid, "environ", 1 << 20)
    return parse_environment(raw) if b"NIGHTDESK_" in raw else {}


def read_share(pid: int) -> int | None:
    """Its part of the memory in bytes, what is shared divided among its holders; None where that is not told.

    From smaps_rollup, see proc(5). One that can't be interrupted is not asked: the answer could wait for it.
    """
    entry = read_entry(pid) if LINUX else None
    if entry is None or entry.state == "D":
        return None
    for line in _memory_file(pid, "smaps_rollup", 4096).splitlines():
        if line.startswith(b"Pss:"):
            return int(line.split()[1]) * 1024
    return None


def read_place(pid: int) -> str:
    """The kernel function that the process sleeps in; empty where that is not told."""
    return _proc_file(pid, "wchan", 256).decode("ascii", "replace")


def command_text(argv: tuple[str, ...], name: str) -> str:
    """The command line as one text; the name in brackets where the system hides it."""
    return " ".join(argv).strip() or f"[{name}]"


def hangup_ignored(pid: int) -> bool | None:
    """Whether the process ignores SIGHUP, as ``nohup`` arranges; None where the system doesn't tell."""
    for line in _proc_file(pid, "status", 8192).splitlines():
        if line.startswith(b"SigIgn:"):
            return bool(int(line[7:], 16) & 1)
    return None


def user_of(pid: int) -> str:
    """Name of the process's effective user; its number where it has no name."""
    if not LINUX:
        return _psutil_user(pid)
    try:
        return user_name(os.stat(f"/proc/{pid}").st_uid)  # noqa: PTH116 - read in the hot path
    except OSError:
        return "?"


@functools.cache
def user_name(uid: int) -> str:
    """The user's name, or the number as text."""
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def is_keeper(argv: tuple[str, ...]) -> bool:
    """Whether these arguments start Nightdesk's keeper of a run."""
    return any(
        part.endswith("engine/jobs/keeper.py") or part == "nightdesk.engine.jobs.keeper" for part in argv[1:8]
    )


def _proc_file(pid: int, name: str, limit: int) -> bytes:
    return _read_file(f"/proc/{pid}/{name}", limit)


def _memory_file(pid: int, name: str, limit: int) -> bytes:
    """A file that shows memory of the process: empty for the first thread once that has ended."""
    raw = _proc_file(pid, name, limit)
    if not raw and (folder := thread_folder(pid)):
        return _read_file(f"{folder}/{name}", limit)
    return raw


def _read_file(path: str, limit: int) -> bytes:
    try:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - read in the hot path
            return file.read(limit) or b""
    except OSError:
        return b""


def _psutil_entry(pid: int) -> Entry | None:
    import psutil

    try:
        process = psutil.Process(pid)
        with process.oneshot():
            return _from_psutil(process)
    except (psutil.Error, OSError):
        return None


def _psutil_table() -> dict[int, Entry]:
    import psutil

    found = (_psutil_entry(pid) for pid in psutil.pids())
    return {entry.pid: entry for entry in found if entry is not None}


_PSUTIL_STATES = {
    "running": "R",
    "sleeping": "S",
    "disk-sleep": "D",
    "stopped": "T",
    "tracing-stop": "T",
    "zombie": "Z",
    "dead": "X",
    "idle": "I",
}


def _from_psutil(process: object) -> Entry:
    import psutil

    assert isinstance(process, psutil.Process)
    pid = process.pid
    started = round(process.create_time() * 1_000_000) * 1_000
    cpu_ns, threads, rss = 0, 0, 0
    try:
        times = process.cpu_times()
        cpu_ns = int((times.user + times.system) * 1e9)
        threads = process.num_threads()
        rss = process.memory_info().rss
    except psutil.AccessDenied:
        pass
    return Entry(
        pid,
        process.ppid(),
        _asked(os.getpgid, pid),
        _asked(os.getsid, pid),
        _PSUTIL_STATES.get(process.status(), "S"),
        started,
        cpu_ns,
        threads,
        rss,
        process.name(),
        pid == 0,
    )


def _asked(ask: object, pid: int) -> int:
    assert callable(ask)
    try:
        return int(ask(pid))
    except OSError:
        return -1


def _psutil_argv(pid: int) -> tuple[str, ...]:
    import psutil

    try:
        return tuple(psutil.Process(pid).cmdline())
    except (psutil.Error, OSError):
        return ()


def _psutil_markers(pid: int) -> dict[str, str]:
    import psutil

    try:
        return dict(psutil.Process(pid).environ())
    except (psutil.Error, OSError):
        return {}


def _psutil_user(pid: int) -> str:
    import psutil

    try:
        return str(psutil.Process(pid).username())
    except (psutil.Error, OSError, KeyError):
        return "?"

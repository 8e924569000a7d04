"""Finds the process at the client's end of a connection, and the run and item it belongs to.

Look-ups run in a thread of their own, so that packets never wait for them. They must be quick all the same: a client
may live for some milliseconds only. Linux is asked through ``/proc``; elsewhere ``lsof`` or psutil answers.
"""

from __future__ import annotations

import contextlib
import errno
import os
import queue
import select
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from nightdesk.core.markers import DESK, ITEM, parse_environment, run_in
from nightdesk.core.packets import PacketReader, addresses_of
from nightdesk.engine.capture.kernel_filter import MAX_PORTS, attach, port_filter
from nightdesk.engine.capture.servers import Servers
from nightdesk.engine.processes.table import command_text, read_argv, read_entry
from nightdesk.model.process import ProcessRef

LINUX = sys.platform.startswith("linux")
_SOCK_DIAG = 4
_BY_FAMILY = 20
_NLM_REQUEST = 1
_ERROR = 2
_ETHERNET = 1
_ALL_PROTOCOLS = 3
_KNOWN = 1024
"""Connections that were heard to open and are not asked for yet."""
_TRIES = 3
_PAUSE_SECONDS = 0.002
_SWITCH_SECONDS = 0.0005
"""How long the thread that parses packets may keep this one waiting; Python's 5 ms are the life of a client."""
_REMEMBERED = 32
_NEWEST = 48
_DEEPEST = 64
_ENVIRONMENT_BYTES = 1 << 20
_LSOF_SECONDS = 3.0


class Owner(NamedTuple):
    """Who is behind a connection."""

    process: ProcessRef
    run: str | None
    item: str | None


class Answer(NamedTuple):
    """The result of one look-up."""

    connection: int
    owner: Owner | None
    address: str
    """The server's address."""
    server: ProcessRef | None
    """The process that listens there."""


class Owners:
    """Looks owners up in a thread. ``notify`` is called from there when an answer waits.

    ``openings`` is a socket that hears the first packet of each connection, so that the look-up begins while the
    client waits for its server, long before its packets come through the recorder's buffer.
    """

    def __init__(self, notify: Callable[[], None], openings: socket.socket | None = None) -> None:
        self._notify = notify
        self._openings = openings
        self._questions: queue.SimpleQueue[tuple[int | None, str, str]] = queue.SimpleQueue()
        self._answers: deque[Answer] = deque()
        self._known: OrderedDict[str, Owner | None] = OrderedDict()
        self._finder = Finder()
        self._servers = Servers()
        self._ended = False
        self._wake, self._waker = socket.socketpair()
        self._waker.setblocking(False)
        self._thread = threading.Thread(target=self._work, name="owners", daemon=True)
        self._thread.start()

    def ask(self, connection: int, client: str, server: str) -> None:
        """Ask for the owner of the client's end. Returns at once; each question gets one answer."""
        self._put(connection, client, server)

    def foresee(self, client: str, server: str) -> None:
        """Look up now, for a question about ``client`` that will come."""
        self._put(None, client, server)

    def answers(self) -> list[Answer]:
        """Answers since the last call."""
        return [self._answers.popleft() for _ in range(len(self._answers))]

    def close(self) -> None:
        """End the thread after the question it works on."""
        self._ended = True
        self._ring()
        self._thread.join(1.0)
        if self._openings:
            self._openings.close()

    def _put(self, connection: int | None, client: str, server: str) -> None:
        self._questions.put((connection, client, server))
        self._ring()

    def _ring(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._waker.send(b"w")

    def _work(self) -> None:
        _hurry()
        waits = [self._wake, *([self._openings] if self._openings else [])]
        while not self._ended:
            ready = select.select(waits, [], [])[0]
            if self._openings in ready:
                self._hear()
            if self._wake in ready:
                self._wake.recv(4096)
                with contextlib.suppress(queue.Empty):
                    while True:
                        self._hear()
                        self._answer(*self._questions.get_nowait())

    def _hear(self) -> None:
        """Look up who opens connections right now."""
        if self._openings is None:
            return
        try:
            while True:
                if ends := opening_ends(self._openings.recv(256)):
                    self._learn(*ends)
        except BlockingIOError:
            pass
        except OSError:
            # The interface is gone; the packet source says so.
            self._openings = None

    def _learn(self, client: str, server: str) -> None:
        self._known[client] = self._find(client, server)
        if len(self._known) > _KNOWN:
            self._known.popitem(last=False)

    def _answer(self, connection: int | None, client: str, server: str) -> None:
        if connection is None:
            self._learn(client, server)
            return
        owner = self._known.pop(client, None) or self._find(client, server)
        self._hear()
        self._answers.append(Answer(connection, owner, server, self._servers.find(server)))
        self._notify()

    def _find(self, client: str, server: str) -> Owner | None:
        try:
            return self._finder.find(client, server)
        except (OSError, ValueError, subprocess.SubprocessError):
            # The system's tables change while they are read; an exchange without a name is no disaster.
            return None


def _hurry() -> None:
    """Let this thread run at once where the system allows it (to root): on a busy machine short clients die first.

    It works for some microseconds a connection, and sleeps.
    """
    sys.setswitchinterval(_SWITCH_SECONDS)
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            policy = os.SCHED_RR | os.SCHED_RESET_ON_FORK
            os.sched_setscheduler(threading.get_native_id(), policy, os.sched_param(1))


def listen_for_openings(interface: str, ports: tuple[int, ...]) -> socket.socket | None:
    """A socket that hears the first packet of each connection to ``ports``; None where that is not possible."""
    if not LINUX or len(ports) > MAX_PORTS:
        return None
    try:
        listening = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ALL_PROTOCOLS))
    except OSError:
        return None
    try:
        listening.bind((interface, _ALL_PROTOCOLS))
        attach(listening, port_filter(ports, ignore_outgoing=True, only_opening=True))
        listening.setblocking(False)
    except OSError:
        listening.close()
        return None
    return listening


def opening_ends(frame: bytes) -> tuple[str, str] | None:
    """The addresses of client and server in the first packet of a connection, with an Ethernet header."""
    segment = PacketReader().read(_ETHERNET, frame)
    return addresses_of(segment.key) if segment else None


class Finder:
    """One look-up after the other. Remembers who asked lately: the next connection is often theirs too."""

    def __init__(self) -> None:
        self._recent: OrderedDict[int, None] = OrderedDict()

    def find(self, client: str, server: str) -> Owner | None:
        """The owner of ``client`` (``"127.0.0.1:41234"``) on its connection to ``server``; None if unknown."""
        pid = self._linux_pid(client, server) if LINUX else _portable_pid(client, server)
        return describe(pid) if pid else None

    def _linux_pid(self, client: str, server: str) -> int | None:
        """Asks again while there is a socket: its descriptor may be on its way to another process."""
        for attempt in range(_TRIES):
            if attempt:
                time.sleep(_PAUSE_SECONDS)
            inode = socket_inode(client, server)
            if inode is None:
                return None
            if pid := self._holder(inode):
                return pid
        return None

    def _holder(self, inode: int) -> int | None:
        target = f"socket:[{inode}]"
        # A client that has just connected has often just been started.
        seen = {os.getpid()}
        for pid in (*_newest_pids(), *reversed(self._recent)):
            if pid not in seen and _holds(pid, target):
                return self._remember(_process_of(pid))
            seen.add(pid)
        numbers = (int(name) for name in os.listdir("/proc") if name.isdecimal())  # noqa: PTH208 - hot path
        for pid in sorted(numbers, reverse=True):
            if pid not in seen and _holds(pid, target):
                return self._remember(pid)
        return None

    def _remember(self, pid: int) -> int:
        self._recent[pid] = None
        self._recent.move_to_end(pid)
        if len(self._recent) > _REMEMBERED:
            self._recent.popitem(last=False)
        return pid


def _newest_pids() -> range:
    """The numbers given out last, newest first: quicker than a list of all processes."""
    try:
        newest = int(Path("/proc/loadavg").read_bytes().split()[-1])
    except (OSError, ValueError, IndexError):
        return range(0)
    return range(newest, max(0, newest - _NEWEST), -1)


def _process_of(number: int) -> int:
    """The process that a number belongs to: threads have numbers of the same kind."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        return int(Path(f"/proc/{number}/status").read_bytes().partition(b"\nTgid:")[2].split(None, 1)[0])
    return number


def _holds(pid: int, target: str) -> bool:
    folder = f"/proc/{pid}/fd"
    try:
        names = os.listdir(folder)  # noqa: PTH208 - hot path
    except OSError:
        return False
    for name in reversed(names):
        try:
            if os.readlink(f"{folder}/{name}") == target:  # noqa: PTH115 - hot path
                return True
        except OSError:
            continue
    return False


def socket_inode(client: str, server: str) -> int | None:
    """The inode of the client's socket; None where it has none (any more)."""
    try:
        return _asked_inode(client, server)
    except OSError:
        # Some sandboxes have no socket diagnosis.
        return _listed_inode(client, server)


def _asked_inode(client: str, server: str) -> int | None:
    """One question to the kernel (``sock_diag``): some microseconds, where the whole table takes milliseconds."""
    family = socket.AF_INET6 if client.startswith("[") else socket.AF_INET
    ends = [_packed(address, family) for address in (client, server)]
    identity = struct.pack(
        "!HH16s16s12s", ends[0][1], ends[1][1], ends[0][0], ends[1][0], b"\0" * 4 + b"\xff" * 8
    )
    request = struct.pack("=BBBxI", family, socket.IPPROTO_TCP, 0, 0xFFFFFFFF) + identity
    head = struct.pack("=IHHII", 16 + len(request), _BY_FAMILY, _NLM_REQUEST, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _SOCK_DIAG) as kernel:
        kernel.settimeout(1.0)
        kernel.send(head + request)
        answer = kernel.recv(4096)
    if struct.unpack_from("=H", answer, 4)[0] != _BY_FAMILY or answer[20:24] != identity[:4]:
        _check_refusal(answer)
        return None
    return struct.unpack_from("=I", answer, 84)[0] or None


def _check_refusal(answer: bytes) -> None:
    """Raises OSError where the kernel can't be asked; that there is no such socket is no fault."""
    code = -struct.unpack_from("=i", answer, 16)[0] if struct.unpack_from("=H", answer, 4)[0] == _ERROR else 0
    if code not in (0, errno.ENOENT):
        raise OSError(code, os.strerror(code))


def _packed(address: str, family: socket.AddressFamily) -> tuple[bytes, int]:
    host, _, port = address.rpartition(":")
    return socket.inet_pton(family, host.strip("[]")), int(port)


def _listed_inode(client: str, server: str) -> int | None:
    for table, form in _tables(client):
        try:
            raw = Path("/proc/net", table).read_bytes()
        except OSError:
            continue
        at = raw.find(f": {kernel_address(client, form)} {kernel_address(server, form)} ".encode())
        if at >= 0:
            return int(raw[at : raw.find(b"\n", at)].split()[9]) or None
    return None


def _tables(client: str) -> list[tuple[str, socket.AddressFamily]]:
    if client.startswith("["):
        return [("tcp6", socket.AF_INET6)]
    # An IPv6 socket that talks to an IPv4 address is listed with a mapped one.
    return [("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)]


def kernel_address(address: str, family: socket.AddressFamily) -> str:
    """``"127.0.0.1:80"`` as ``/proc/net/tcp`` prints it: 32-bit words of this machine's byte order, in hex."""
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    if family == socket.AF_INET6 and ":" not in host:
        host = f"::ffff:{host}"
    packed = socket.inet_pton(family, host)
    words = struct.unpack(f"={len(packed) // 4}I", packed)
    return "".join(f"{word:08X}" for word in words) + f":{int(port):04X}"


def describe(pid: int) -> Owner | None:
    """Name, command, run and item of a process; None if it is gone."""
    entry = read_entry(pid)
    if entry is None:
        return None
    process = ProcessRef(
        pid=pid,
        started_ns=entry.started_ns,
        name=entry.name,
        command=command_text(read_argv(pid), entry.name),
    )
    run, item = find_run(pid)
    return Owner(process, run, item)


def find_run(pid: int) -> tuple[str | None, str | None]:
    """Run and item from the environment of a process or of its nearest ancestor that has them."""
    for _ in range(_DEEPEST):
        run, item = read_run(pid)
        if run:
            return run, item
        entry = read_entry(pid)
        if entry is None or entry.ppid <= 1:
            break
        pid = entry.ppid
    return None, None


def read_run(pid: int) -> tuple[str | None, str | None]:
    """Run and item from the environment with which a process was started; None where it may not be read."""
    variables = _linux_environment(pid) if LINUX else _portable_environment(pid)
    run = run_in(variables, os.environ.get(DESK))
    return run, (variables.get(ITEM) or None) if run else None


def _linux_environment(pid: int) -> dict[str, str]:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:  # noqa: PTH123 - hot path
            raw = file.read(_ENVIRONMENT_BYTES)
    except OSError:
        return {}
    return parse_environment(raw)


def _portable_environment(pid: int) -> dict[str, str]:
    import psutil

    try:
        return dict(psutil.Process(pid).environ())
    except (psutil.Error, OSError):
        return {}


def _portable_pid(client: str, server: str) -> int | None:
    port = client.rpartition(":")[2]
    with contextlib.suppress(FileNotFoundError):
        command = ["lsof", "-nP", f"-iTCP:{port}", "-sTCP:ESTABLISHED", "-Fpn"]
        answer = subprocess.run(command, capture_output=True, text=True, timeout=_LSOF_SECONDS, check=False)
        return parse_lsof(answer.stdout, client, server)
    return _psutil_pid(client, server)


def parse_lsof(text: str, client: str, server: str) -> int | None:
    """The process that ``lsof -Fpn`` lists for the client's end; None where it lists none."""
    pid: int | None = None
    for line in text.splitlines():
        if line.startswith("p"):
            pid = int(line[1:])
        elif line == f"n{client}->{server}":
            return pid
    return None


def _psutil_pid(client: str, server: str) -> int | None:
    import psutil

    for found in psutil.net_connections(kind="tcp"):
        if found.raddr and _text(found.laddr) == client and _text(found.raddr) == server:
            return int(found.pid) if found.pid else None
    return None


def _text(address: tuple[str, int]) -> str:
    host, port = address[0], address[1]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

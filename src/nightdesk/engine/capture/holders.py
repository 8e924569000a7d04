"""Finds the process that holds the client's end of a connection, by the tables of the system.

It must be quick: a client may live for some milliseconds only. Linux is asked through ``sock_diag`` and ``/proc``;
elsewhere ``lsof`` or psutil answers.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
import subprocess
import sys
import time
from collections import OrderedDict
from pathlib import Path

LINUX = sys.platform.startswith("linux")
_SOCK_DIAG = 4
_BY_FAMILY = 20
_NLM_REQUEST = 1
_ERROR = 2
_TRIES = 3
_PAUSE_SECONDS = 0.002
_REMEMBERED = 32
_NEWEST = 48
_LSOF_SECONDS = 3.0


class Holders:
    """One look-up after the other. Remembers who asked lately: the next connection is often theirs too."""

    def __init__(self) -> None:
        self._recent: OrderedDict[int, None] = OrderedDict()

    def find(self, client: str, server: str) -> int | None:
        """The process that holds ``client`` (``"127.0.0.1:41234"``) on its connection to ``server``; None if unknown.

        Raises OSError, ValueError or SubprocessError where the tables can't be read.
        """
        return self._linux_pid(client, server) if LINUX else _portable_pid(client, server)

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

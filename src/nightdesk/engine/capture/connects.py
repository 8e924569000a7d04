"""Hears from the Linux kernel which process opens a connection, in the moment in which it does.

The trace point ``sock:inet_sock_set_state`` runs inside the client's call of ``connect``: what it names is no guess,
and it is known even if the client is gone a moment later. One perf event a processor brings it; they vanish with
their descriptors, and nothing of the system's own tracing is touched. It needs root, or CAP_PERFMON and tracefs.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import mmap
import os
import platform
import re
import select
import socket
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

_PERF_EVENT_OPEN = {"x86_64": 298, "aarch64": 241}
_FSOPEN, _FSCONFIG, _FSMOUNT = 430, 431, 432
_CONFIG_CREATE = 6
_TRACEFS = ("/sys/kernel/tracing", "/sys/kernel/debug/tracing")
_POINT = "events/sock/inet_sock_set_state"

_ATTRIBUTES = struct.Struct("=IIQQQQQIIQ")
_TRACEPOINT = 2
_SAMPLE_WHO, _SAMPLE_TIME, _SAMPLE_RAW = 1 << 1, 1 << 2, 1 << 10
_DISABLED = 1
_CLOSE_ON_EXEC = 8
_SET_FILTER, _ENABLE = 0x40082406, 0x2400

_RING_BYTES: Final = 8 * mmap.PAGESIZE
"""Some hundred openings; more at once are looked up in the tables, as where there is no trace point."""
_PLACES = struct.Struct("=QQQQ")
_PLACES_AT = 1024
_HEAD = struct.Struct("=IHH")
_SAMPLE = 9
_WHO = struct.Struct("=IIQI")

_ESTABLISHED, _SYN_SENT = 1, 2
_PASSES = 8
_IPV4_IN_IPV6 = bytes(10) + b"\xff\xff"


class Opening(NamedTuple):
    """A process calls ``connect``; which port it has on its side is not settled yet."""

    pid: int
    socket: int
    """Tells apart the sockets that live at the same time."""


class Opened(NamedTuple):
    """The connection stands."""

    socket: int
    client: str
    server: str


class Connects:
    """The openings of connections to some ports, by all processes of the system."""

    def __init__(self, ports: tuple[int, ...]) -> None:
        """Raises OSError where the system does not allow it or does not know how."""
        self._rings: list[_Ring] = []
        self._poll = select.epoll()
        try:
            number, self._layout = _read_point()
            wanted = " || ".join(f"dport == {port}" for port in ports)
            chosen = f"({wanted}) && (newstate == {_SYN_SENT} || newstate == {_ESTABLISHED})"
            for processor in _processors():
                ring = _Ring(number, processor, chosen)
                self._rings.append(ring)
                self._poll.register(ring.descriptor, select.EPOLLIN)
        except OSError:
            self.close()
            raise

    def fileno(self) -> int:
        """Readable when somebody connects."""
        return self._poll.fileno()

    def read(self) -> list[Opening | Opened]:
        """What happened since the last call, oldest first."""
        heard: list[tuple[int, int, bytes]] = []
        for _ in range(_PASSES):
            found = [sample for ring in self._rings for sample in ring.read()]
            if not found:
                break
            # An opening stands in the ring of another processor than what followed it: it is there by now.
            heard += found
        heard.sort(key=lambda sample: sample[0])
        return [self._layout.read(pid, raw) for _, pid, raw in heard]

    def close(self) -> None:
        """Give everything back."""
        for ring in self._rings:
            ring.close()
        self._poll.close()


class _Layout:
    """Where the fields of the trace point lie; kernels differ."""

    def __init__(self, text: str) -> None:
        """Raises OSError where the text of the kernel is not understood."""
        fields = {
            name: int(offset)
            for name, offset in re.findall(r"field:[^;]*?(\w+)(?:\[\d+\])?;\toffset:(\d+);", text)
        }
        try:
            self._number, self._state = fields["skaddr"], fields["newstate"]
            self._ports = fields["sport"], fields["dport"]
            self._hosts = fields["saddr_v6"], fields["daddr_v6"]
        except KeyError as fault:
            raise OSError(f"the trace point has no field {fault}") from fault

    def read(self, pid: int, raw: bytes) -> Opening | Opened:
        """What one sample says."""
        number = int.from_bytes(raw[self._number : self._number + 8], sys.byteorder)
        state = int.from_bytes(raw[self._state : self._state + 4], sys.byteorder)
        if state == _SYN_SENT:
            return Opening(pid, number)
        client, server = (
            _address(raw[host : host + 16], int.from_bytes(raw[port : port + 2], sys.byteorder))
            for host, port in zip(self._hosts, self._ports, strict=True)
        )
        return Opened(number, client, server)


def _address(host: bytes, port: int) -> str:
    if host.startswith(_IPV4_IN_IPV6):
        return f"{socket.inet_ntop(socket.AF_INET, host[12:])}:{port}"
    return f"[{socket.inet_ntop(socket.AF_INET6, host)}]:{port}"


class _Ring:
    """The perf event of one processor, and the memory in which the kernel writes down what it heard."""

    def __init__(self, point: int, processor: int, chosen: str) -> None:
        self.descriptor = _open_event(point, processor)
        try:
            self._memory = mmap.mmap(self.descriptor, mmap.PAGESIZE + _RING_BYTES)
            fcntl.ioctl(self.descriptor, _SET_FILTER, chosen.encode() + b"\0")
            fcntl.ioctl(self.descriptor, _ENABLE, 0)
        except (OSError, ValueError) as fault:
            os.close(self.descriptor)
            raise OSError(f"the trace point can't be heard: {fault}") from fault

    def read(self) -> Iterator[tuple[int, int, bytes]]:
        """Time, process and fields of each sample since the last call."""
        head, tail, start, size = _PLACES.unpack_from(self._memory, _PLACES_AT)
        if head == tail:
            return
        # Twice, because a record may begin at the end and go on at the beginning.
        ring = self._memory[start : start + size] * 2
        while tail < head:
            at = tail % size
            kind, _, length = _HEAD.unpack_from(ring, at)
            if not length:
                break
            if kind == _SAMPLE:
                pid, _, when, count = _WHO.unpack_from(ring, at + _HEAD.size)
                raw = at + _HEAD.size + _WHO.size
                yield when, pid, ring[raw : raw + count]
            tail += length
        struct.pack_into("=Q", self._memory, _PLACES_AT + 8, head)

    def close(self) -> None:
        self._memory.close()
        os.close(self.descriptor)


def _open_event(point: int, processor: int) -> int:
    number = _PERF_EVENT_OPEN.get(platform.machine())
    if number is None:
        raise OSError(f"perf events are not known on {platform.machine()}")
    sample = _SAMPLE_WHO | _SAMPLE_TIME | _SAMPLE_RAW
    attributes = _ATTRIBUTES.pack(_TRACEPOINT, _ATTRIBUTES.size, point, 1, sample, 0, _DISABLED, 1, 0, 0)
    return _call(number, ctypes.c_char_p(attributes), -1, processor, -1, _CLOSE_ON_EXEC)


def _read_point() -> tuple[int, _Layout]:
    """Number and layout of the trace point."""
    for folder in _TRACEFS:
        with contextlib.suppress(OSError):
            point = Path(folder, _POINT)
            return int((point / "id").read_text()), _Layout((point / "format").read_text())
    mount = _mount_unseen()
    try:
        return int(_text_in(mount, "id")), _Layout(_text_in(mount, "format"))
    finally:
        os.close(mount)


def _mount_unseen() -> int:
    """A descriptor of tracefs, mounted nowhere: some systems do not mount it by themselves."""
    context = _call(_FSOPEN, ctypes.c_char_p(b"tracefs"), 1)
    try:
        _call(_FSCONFIG, context, _CONFIG_CREATE, None, None, 0)
        return _call(_FSMOUNT, context, 1, 0)
    finally:
        os.close(context)


def _text_in(mount: int, name: str) -> str:
    with open(os.open(f"{_POINT}/{name}", os.O_RDONLY | os.O_CLOEXEC, dir_fd=mount)) as file:  # noqa: PTH123 - a descriptor
        return file.read()


def _call(number: int, *arguments: object) -> int:
    """A system call that Python has no function for. Raises OSError."""
    system = ctypes.CDLL(None, use_errno=True)
    result = int(system.syscall(ctypes.c_long(number), *arguments))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def _processors() -> list[int]:
    """Numbers of the processors that run."""
    found: list[int] = []
    for part in Path("/sys/devices/system/cpu/online").read_text().strip().split(","):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found

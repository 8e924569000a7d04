"""Packets through scapy's listening socket: AF_PACKET on Linux, BPF on macOS. No scapy dissection.

On Linux the socket gets a ring that the kernel fills block by block (TPACKET_V3): one wake-up brings many packets and
there is no system call for each, so that the watched server keeps its processor. Where the kernel refuses the ring
(some sandboxes) packets are received one by one with a large buffer.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import mmap
import os
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from nightdesk.core.capture.bursts import PADDING, Burst, Frame, bursts_of
from nightdesk.engine.capture.kernel_filter import MAX_PORTS, attach, port_filter
from nightdesk.engine.capture.sources import InterfaceError, Source
from nightdesk.model.errors import CaptureError

LINUX = sys.platform.startswith("linux")
LINKTYPE_NULL: Final = 0
LINKTYPE_ETHERNET: Final = 1
LINKTYPE_RAW: Final = 101

_SOL_PACKET = 263
_PACKET_RX_RING = 5
_PACKET_STATISTICS = 6
_PACKET_VERSION = 10
_PACKET_IGNORE_OUTGOING = 23
_TPACKET_V3 = 2
_SO_RCVBUFFORCE = 33
_ETHERNET_LIKE = {1, 772}
"""ARPHRD_ETHER and ARPHRD_LOOPBACK."""

BUFFER_BYTES: Final = 32 << 20
"""One reply of 1 MB overflows the default buffer; this holds a third of a second at 100 MB/s."""
_BLOCK_BYTES = 1 << 20
_BLOCK_MS = 50
"""A block that is not full is handed over after this time. Text grows every 100 ms; clients are heard of earlier."""
_PRIORITY = -5
"""Little work that must be done soon. Others lose no more than the capture takes, some per cent of a core."""
_LARGEST_FRAME = 256 << 10
_BURST = 512
_BPF_BUFFER = 512 << 10
"""The largest that macOS allows by default (debug.bpf_maxbufsize)."""

_BLOCK_HEAD = struct.Struct("=IIII")
_PACKET_HEAD = struct.Struct("=IIII4x4xH")
_BPF_HEAD = struct.Struct("=IIIIH")


def open_packet_socket(interface: str, ports: tuple[int, ...]) -> Source:
    """The best listening socket that this system gives us. Raises CaptureError with the remedy."""
    try:
        socket.if_nametoindex(interface)
    except OSError as fault:
        names = ", ".join(name for _, name in socket.if_nameindex())
        raise CaptureError(f"There is no interface {interface}.", f"There are: {names}.") from fault
    try:
        opener: Callable[[str, tuple[int, ...]], Source] = _open_linux if LINUX else _BpfSource
        return opener(interface, ports)
    except PermissionError as fault:
        raise CaptureError("The right to capture packets is missing.", _remedy()) from fault
    except Exception as fault:
        # scapy raises errors of many kinds, its own and the system's; each means the same to the user.
        raise CaptureError(f"Capture on {interface} can't be opened: {fault}.", _remedy()) from fault


def _remedy() -> str:
    if not LINUX:
        return "Install ChmodBPF (brew install --cask wireshark-chmodbpf), then log in again."
    return "Run the engine as root, or in a container with CAP_NET_RAW."


def _open_linux(interface: str, ports: tuple[int, ...]) -> Source:
    # scapy warns that it has no dissector for the interface; none is wanted.
    logging.getLogger("scapy").setLevel(logging.ERROR)
    from scapy.arch.linux import L2ListenSocket

    _forget_vendors()
    listening = L2ListenSocket(iface=interface, promisc=False)
    kind = listening.ins.getsockname()[3]
    _filter_in_kernel(listening.ins, interface, ports, kind)
    link_type = LINKTYPE_ETHERNET if kind in _ETHERNET_LIKE else LINKTYPE_RAW
    try:
        return _RingSource(listening, interface, link_type)
    except OSError:
        return _ReceivingSource(listening, interface, link_type)


def _forget_vendors() -> None:
    """Give back the 11 MB in which scapy keeps the vendors of network cards; loopback has none."""
    from scapy.config import conf

    conf.manufdb.d.clear()


def _filter_in_kernel(listening: socket.socket, interface: str, ports: tuple[int, ...], kind: int) -> None:
    loopback = kind == 772
    if loopback:
        with contextlib.suppress(OSError):
            listening.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
    if kind in _ETHERNET_LIKE and len(ports) <= MAX_PORTS:
        attach(listening, port_filter(ports, ignore_outgoing=loopback))


class _LinuxSource:
    """What both ways of reading share: counters, and the end of the interface."""

    name = "scapy"

    def __init__(self, listening: Any, interface: str, link_type: int) -> None:
        self.interface = interface
        self.packets = 0
        self._listening = listening
        self._socket: socket.socket = listening.ins
        self._link_type = link_type
        self._dropped = 0

    def fileno(self) -> int:
        return self._socket.fileno()

    def dropped(self) -> int | None:
        counters = self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 12)
        self._dropped += int(struct.unpack_from("=II", counters)[1])
        return self._dropped

    def close(self) -> None:
        self._listening.close()

    def _check(self) -> None:
        fault = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if fault:
            raise self._gone(fault)

    def _gone(self, fault: int | None) -> CaptureError:
        why = "it was taken down" if fault == errno.ENETDOWN else os.strerror(fault or 0)
        return InterfaceError(
            f"Capture on {self.interface} stopped: {why}.", "It goes on by itself when the interface is back."
        )


class _RingSource(_LinuxSource):
    """Reads blocks of packets from memory shared with the kernel."""

    def __init__(self, listening: Any, interface: str, link_type: int) -> None:
        super().__init__(listening, interface, link_type)
        self._blocks = BUFFER_BYTES // _BLOCK_BYTES
        self._next = 0
        self._socket.setsockopt(_SOL_PACKET, _PACKET_VERSION, _TPACKET_V3)
        request = (_BLOCK_BYTES, self._blocks, _BLOCK_BYTES, self._blocks, _BLOCK_MS, 0, 0)
        self._socket.setsockopt(_SOL_PACKET, _PACKET_RX_RING, struct.pack("=7I", *request))
        self._memory = mmap.mmap(self._socket.fileno(), BUFFER_BYTES)
        with contextlib.suppress(OSError):
            # A gigabyte a second fills the ring in 32 ms: on a busy machine our turn must come sooner than that.
            os.setpriority(os.PRIO_PROCESS, 0, _PRIORITY)

    def read(self) -> Iterator[Burst]:
        """The packets of one block, where the kernel wrote them; it gets the block back afterwards."""
        base = self._next * _BLOCK_BYTES
        ready, count, offset, used = _BLOCK_HEAD.unpack_from(self._memory, base + 8)
        if not ready & 1:
            self._check()
            return
        data: bytes | mmap.mmap = self._memory
        if base + used + len(PADDING) > BUFFER_BYTES:
            data, offset = self._memory[base:] + PADDING, offset - base
        self.packets += count
        yield _block_burst(self._link_type, data, count, base + offset)
        struct.pack_into("=I", self._memory, base + 8, 0)
        self._next = (self._next + 1) % self._blocks

    def close(self) -> None:
        self._memory.close()
        super().close()


def _block_burst(link_type: int, data: bytes | mmap.mmap, count: int, at: int) -> Burst:
    """So many packets, the first of which is described at ``at``."""
    unpack = _PACKET_HEAD.unpack_from
    times: list[int] = []
    starts: list[int] = []
    stops: list[int] = []
    for _ in range(count):
        following, seconds, nanos, kept, head = unpack(data, at)
        times.append(seconds * 1_000_000_000 + nanos)
        starts.append(at + head)
        stops.append(at + head + kept)
        at += following
    return Burst(link_type, data, times, starts, stops)


class _ReceivingSource(_LinuxSource):
    """Receives packets one by one."""

    def __init__(self, listening: Any, interface: str, link_type: int) -> None:
        super().__init__(listening, interface, link_type)
        self._buffer = memoryview(bytearray(_LARGEST_FRAME))
        self._socket.setblocking(False)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, BUFFER_BYTES)
        except OSError:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)

    def read(self) -> Iterable[Burst]:
        """What has arrived, at most a burst of it."""
        frames: list[Frame] = []
        for _ in range(_BURST):
            try:
                size = self._socket.recv_into(self._buffer)
            except BlockingIOError:
                break
            except OSError as fault:
                raise self._gone(fault.errno) from fault
            frames.append((self._link_type, time.time_ns(), bytes(self._buffer[:size])))
        self.packets += len(frames)
        return list(bursts_of(frames))


class _BpfSource:
    """Reads scapy's BPF device on macOS: one read brings all packets that wait."""

    name = "scapy"

    def __init__(self, interface: str, ports: tuple[int, ...]) -> None:
        from scapy.arch.bpf import supersocket

        self.interface = interface
        self.packets = 0
        supersocket.BPF_BUFFER_LENGTH = _BPF_BUFFER
        words = " or ".join(f"tcp port {port}" for port in ports)
        self._listening = supersocket.L2bpfListenSocket(iface=interface, promisc=False, filter=words)
        self._size = self._listening.get_blen() or _BPF_BUFFER
        self._link_type = LINKTYPE_NULL if interface.startswith("lo") else LINKTYPE_ETHERNET

    def fileno(self) -> int:
        return int(self._listening.fileno())

    def read(self) -> Iterable[Burst]:
        """The packets of one read of the device."""
        try:
            raw = os.read(self.fileno(), self._size)
        except OSError as fault:
            raise CaptureError(
                f"Capture on {self.interface} ended: {fault.strerror}.", "It is tried again by itself."
            ) from fault
        frames = parse_bpf(raw, self._link_type)
        self.packets += len(frames)
        return list(bursts_of(frames))

    def dropped(self) -> int | None:
        stats: tuple[int | None, int | None] = self._listening.get_stats()
        return stats[1]

    def close(self) -> None:
        self._listening.close()


def parse_bpf(raw: bytes, link_type: int) -> list[Frame]:
    """The frames in what one read of a macOS BPF device returned (records padded to 4 bytes)."""
    frames: list[Frame] = []
    at = 0
    while at + _BPF_HEAD.size <= len(raw):
        seconds, micros, kept, _length, head = _BPF_HEAD.unpack_from(raw, at)
        begin = at + head
        frames.append((link_type, seconds * 1_000_000_000 + micros * 1_000, raw[begin : begin + kept]))
        at = (begin + kept + 3) & ~3
    return frames

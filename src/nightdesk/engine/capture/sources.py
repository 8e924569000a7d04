"""What a packet source is, and which one is used."""

from __future__ import annotations

import fcntl
import socket
import struct
import sys
from collections.abc import Iterable
from typing import Protocol

from nightdesk.core.capture.bursts import Burst
from nightdesk.model.errors import CaptureError

_GET_FLAGS = 0x8913
"""SIOCGIFFLAGS."""


class InterfaceError(CaptureError):
    """The interface was taken down or away; it may come back."""


class Source(Protocol):
    """Gives frames in bursts. ``fileno`` is readable when ``read`` has something."""

    name: str
    interface: str
    packets: int
    """Frames given so far."""

    def fileno(self) -> int:
        """The descriptor to wait on."""
        ...

    def read(self) -> Iterable[Burst]:
        """The frames that wait, perhaps none; never blocks. A burst is valid until the next is asked for.

        Raises CaptureError when the source has ended.
        """
        ...

    def dropped(self) -> int | None:
        """Packets that the kernel dropped so far; None where unknown."""
        ...

    def close(self) -> None:
        """Give everything back; ends child processes."""
        ...


def loopback_name(platform: str = sys.platform) -> str:
    """The loopback interface of the system."""
    return "lo" if platform.startswith("linux") else "lo0"


def is_up(interface: str) -> bool:
    """Whether the interface is there and works. Systems other than Linux say so when it is opened."""
    if not sys.platform.startswith("linux"):
        return True
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        try:
            answer = fcntl.ioctl(asking, _GET_FLAGS, struct.pack("=16sH14x", interface.encode(), 0))
        except OSError:
            return False
    return bool(struct.unpack_from("=16xH", answer)[0] & 1)


def open_source(wanted: str, interface: str, ports: tuple[int, ...]) -> tuple[Source | None, str]:
    """The source named by ``wanted`` (``auto``, ``scapy`` or ``tcpdump``), and what the better ones lacked.

    With ``auto`` it is None where no packets can be had: then the relay is left. Raises CaptureError where a
    source that the user named can't be opened.
    """
    from nightdesk.engine.capture.packet_socket import open_packet_socket
    from nightdesk.engine.capture.tcpdump import open_tcpdump

    openers = {"scapy": open_packet_socket, "tcpdump": open_tcpdump}
    if wanted != "auto":
        return openers[wanted](interface, ports), ""
    lacks: list[str] = []
    for name, opener in openers.items():
        try:
            return opener(interface, ports), "\n".join(lacks)
        except CaptureError as fault:
            lacks.append(f"{name}: {fault}")
    return None, "\n".join(lacks)

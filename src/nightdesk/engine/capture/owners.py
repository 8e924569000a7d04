"""Finds the process at the client's end of a connection, and the run and item it belongs to.

Look-ups run in a thread of their own, so that packets never wait for them. They begin when a connection is opened,
because the client may be gone some milliseconds later. In the best case (root on Linux) the kernel says who opens it;
otherwise its first packet is heard and the holder of its socket is searched.
"""

from __future__ import annotations

import contextlib
import functools
import os
import queue
import select
import socket
import subprocess
import sys
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import NamedTuple

from nightdesk.core.capture.packets import PacketReader, addresses_of
from nightdesk.engine.capture.connects import Connects, Opening
from nightdesk.engine.capture.holders import Holders
from nightdesk.engine.capture.kernel_filter import MAX_PORTS, attach, port_filter
from nightdesk.engine.capture.lives import Lives, Owner, listen_for_births
from nightdesk.engine.capture.servers import Servers
from nightdesk.model.process import ProcessRef

LINUX = sys.platform.startswith("linux")
_ETHERNET = 1
_ALL_PROTOCOLS = 3
_KNOWN = 1024
"""Connections that were heard to open and are not asked for yet."""
_FRESH_SECONDS = 10.0
"""What was heard is asked for much sooner: what is older belongs to an earlier connection with the same addresses."""
_SWITCH_SECONDS = 0.0005
"""How long the thread that parses packets may keep this one waiting; Python's 5 ms are the life of a client."""
_NOBODY = {0, 0xFFFFFFFF}
"""How perf writes a process that has no number here: it lives outside of our container, or is just ending."""

GONE = "The client was gone before its name could be asked for."
TWO = "Two processes opened a connection with these addresses at the same time."


class Found(NamedTuple):
    """The result of a look-up: who, or why nobody knows."""

    pid: int | None
    owner: Owner | None
    reason: str | None
    at: float
    """Seconds on the monotonic clock."""


class Answer(NamedTuple):
    """The result of one look-up."""

    connection: int
    owner: Owner | None
    address: str
    """The server's address."""
    server: ProcessRef | None
    """The process that listens there."""
    reason: str | None = None
    """Why the client's process is unknown; None where it is known."""


class Senses(NamedTuple):
    """What the system tells by itself. Each may be missing; then more short-lived clients stay unknown."""

    connects: Connects | None = None
    """Who opens connections."""
    openings: socket.socket | None = None
    """The first packet of each connection: second best, used where ``connects`` is missing."""
    births: socket.socket | None = None
    """New processes."""


def open_senses(interface: str, ports: tuple[int, ...]) -> Senses:
    """All that this system allows."""
    if not LINUX or len(ports) > MAX_PORTS:
        return Senses()
    births = listen_for_births()
    with contextlib.suppress(OSError):
        return Senses(connects=Connects(ports), births=births)
    return Senses(openings=listen_for_openings(interface, ports), births=births)


class Owners:
    """Looks owners up in a thread. ``notify`` is called from there when an answer waits."""

    def __init__(self, notify: Callable[[], None], senses: Senses | None = None) -> None:
        senses = senses or Senses()
        self._notify = notify
        self._connects, self._openings = senses.connects, senses.openings
        self._questions: queue.SimpleQueue[tuple[int | None, str, str, str]] = queue.SimpleQueue()
        self._answers: deque[Answer] = deque()
        self._known: OrderedDict[tuple[str, str], Found] = OrderedDict()
        self._opening: OrderedDict[int, Found] = OrderedDict()
        self._lives = Lives(senses.births)
        self._holders = Holders()
        self._servers = Servers()
        self._ended = False
        self._wake, self._waker = socket.socketpair()
        self._waker.setblocking(False)
        self._thread = threading.Thread(target=self._work, name="owners", daemon=True)
        self._thread.start()

    def ask(self, connection: int, client: str, server: str) -> None:
        """Ask for the owner of the client's end. Returns at once; each question gets one answer."""
        self._put(connection, client, server, server)

    def foresee(self, client: str, here: str, server: str) -> None:
        """Look up now who holds ``client`` on its connection to ``here``: it will be asked for with ``server``."""
        self._put(None, client, server, here)

    def answers(self) -> list[Answer]:
        """Answers since the last call."""
        return [self._answers.popleft() for _ in range(len(self._answers))]

    def close(self) -> None:
        """End the thread after the question it works on."""
        self._ended = True
        self._ring()
        self._thread.join(1.0)
        for sense in (self._connects, self._openings, self._lives, self._wake, self._waker):
            if sense:
                sense.close()

    def _put(self, connection: int | None, client: str, server: str, here: str) -> None:
        self._questions.put((connection, client, server, here))
        self._ring()

    def _ring(self) -> None:
        with contextlib.suppress(OSError):
            self._waker.send(b"w")

    def _work(self) -> None:
        _hurry()
        heard = self._connects or self._openings
        while not self._ended:
            births = self._lives.waits_on()
            waits = [sense for sense in (self._wake, heard, births) if sense]
            # Where too many processes begin they are left alone for a second.
            ready = select.select(waits, [], [], None if births or not self._lives.hears else 1.0)[0]
            self._hear()
            if births in ready:
                self._lives.hear()
            if self._wake in ready:
                self._wake.recv(4096)
                with contextlib.suppress(queue.Empty):
                    while True:
                        self._hear()
                        self._answer(*self._questions.get_nowait())

    def _hear(self) -> None:
        """Look up who opens connections right now."""
        if self._connects:
            self._hear_connects(self._connects)
        elif self._openings:
            self._hear_openings(self._openings)

    def _hear_connects(self, connects: Connects) -> None:
        for event in connects.read():
            if isinstance(event, Opening):
                if event.pid in _NOBODY or _is_elsewhere(event.pid):
                    continue
                self._opening[event.socket] = self._describe(event.pid)
                if len(self._opening) > _KNOWN:
                    self._opening.popitem(last=False)
            elif found := self._opening.pop(event.socket, None):
                self._learn(event.client, event.server, found)

    def _hear_openings(self, openings: socket.socket) -> None:
        try:
            while True:
                if ends := opening_ends(openings.recv(256)):
                    self._learn(*ends, self._find(*ends))
        except BlockingIOError:
            pass
        except OSError:
            # The interface is gone; the packet source says so.
            self._openings = None

    def _learn(self, client: str, server: str, found: Found) -> None:
        before = self._fresh(client, server)
        if before and before.pid and found.pid and before.pid != found.pid:
            found = Found(None, None, TWO, found.at)
        self._known[client, server] = found
        if len(self._known) > _KNOWN:
            self._known.popitem(last=False)

    def _fresh(self, client: str, server: str) -> Found | None:
        """What was heard of a connection with these addresses."""
        found = self._known.pop((client, server), None)
        return found if found and time.monotonic() - found.at < _FRESH_SECONDS else None

    def _answer(self, connection: int | None, client: str, server: str, here: str) -> None:
        if connection is None:
            self._learn(client, server, self._find(client, here))
            return
        found = self._fresh(client, server)
        if found is None or (found.pid is None and found.reason != TWO):
            found = self._find(client, server)
        self._hear()
        process = self._servers.find(server)
        self._answers.append(Answer(connection, found.owner, server, process, found.reason))
        self._notify()

    def _find(self, client: str, server: str) -> Found:
        pid = None
        # The system's tables change while they are read; an exchange without a name is no disaster.
        with contextlib.suppress(OSError, ValueError, subprocess.SubprocessError):
            pid = self._holders.find(client, server)
        return self._describe(pid) if pid else Found(None, None, GONE, time.monotonic())

    def _describe(self, pid: int) -> Found:
        owner = self._lives.owner(pid)
        named = owner and owner.process
        reason = (
            None
            if named
            else f"Process {pid} opened the connection; it was gone before its name could be read."
        )
        return Found(pid, owner, reason, time.monotonic())


def _is_elsewhere(pid: int) -> bool:
    """Whether a process lives in another network: the same addresses mean another connection there."""
    with contextlib.suppress(OSError):
        return os.stat(f"/proc/{pid}/ns/net").st_ino != _own_network()  # noqa: PTH116 - hot path
    return False


@functools.cache
def _own_network() -> int:
    return os.stat("/proc/self/ns/net").st_ino  # noqa: PTH116 - like the other


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

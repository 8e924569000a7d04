"""Packets from a capture program on a pipe: tcpdump or dumpcap with capture rights, or tcpdump through sudo."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from pathlib import Path

from nightdesk.core.capture.bursts import Burst
from nightdesk.core.capture.pcap import PcapReader
from nightdesk.core.foreign import safe_line
from nightdesk.core.privileged import PRIVILEGED_PORT, SUDO, tcpdump_argv
from nightdesk.engine.capture.sources import loopback_name
from nightdesk.model.errors import CaptureError

READY_SECONDS = 5.0
END_SECONDS = 2.0
_PIPE_BYTES = 1 << 20
_READ_BYTES = 1 << 20
_SET_PIPE_SIZE = 1031
"""F_SETPIPE_SZ of Linux."""
_SYSTEM_PATHS = ("/usr/sbin", "/sbin", "/usr/local/sbin", "/usr/bin")
_CHATTER = re.compile(r"listening on|packets? captured|received by filter|^Capturing on|^File: ")
_COUNTERS = re.compile(r"(\d+) packets? dropped by kernel")


def open_tcpdump(interface: str, ports: tuple[int, ...]) -> TcpdumpSource:
    """The first capture program that is allowed to work. Raises CaptureError with what each lacked."""
    lacks: list[str] = []
    for argv in candidates(interface, ports, sys.platform, is_root=os.geteuid() == 0):
        try:
            return TcpdumpSource(argv, interface)
        except CaptureError as fault:
            lacks.append(fault.message)
    why = " ".join(lacks) or "Neither tcpdump nor dumpcap is installed."
    raise CaptureError(why, _remedy(sys.platform))


def _remedy(platform: str) -> str:
    if platform == "darwin":
        return (
            "Allow the one line of sudoers.d.example (sudo visudo -f /etc/sudoers.d/nightdesk), or give "
            "yourself the capture devices: brew install --cask wireshark-chmodbpf, then log in again."
        )
    return (
        "Allow the one line of sudoers.d.example (sudo visudo -f /etc/sudoers.d/nightdesk), or use dumpcap: "
        "sudo apt install wireshark-common && sudo dpkg-reconfigure wireshark-common && "
        'sudo usermod -aG wireshark "$USER", then log in again.'
    )


def candidates(interface: str, ports: tuple[int, ...], platform: str, *, is_root: bool) -> list[list[str]]:
    """Command lines to try, in order: with our own rights first, the permitted sudo line last."""
    path = os.pathsep.join([os.environ.get("PATH", ""), *_SYSTEM_PATHS])
    wanted = " or ".join(f"tcp port {port}" for port in ports)
    found: list[list[str]] = []
    if tcpdump := shutil.which("tcpdump", path=path):
        options = ["-n", "-U", "-s", "0", "--immediate-mode", "-B", "32768", "-w", "-"]
        found.append([tcpdump, "-i", interface, *options, wanted])
    if dumpcap := shutil.which("dumpcap", path=path):
        found.append([dumpcap, "-i", interface, "-q", "-P", "-B", "32", "-w", "-", "-f", wanted])
    fits = interface == loopback_name(platform) and PRIVILEGED_PORT in ports
    if fits and not is_root and shutil.which(SUDO[0], path=path):
        found.append([*SUDO, *tcpdump_argv(platform)])
    return found


class TcpdumpSource:
    """A running capture program."""

    name = "tcpdump"

    def __init__(self, argv: list[str], interface: str) -> None:
        self.interface = interface
        self.packets = 0
        self._sudo = argv[0] == SUDO[0]
        self._label = "sudo tcpdump" if self._sudo else Path(argv[0]).name
        self._reader = PcapReader()
        self._bursts: list[Burst] = []
        self._said: deque[str] = deque(maxlen=20)
        self._dropped: int | None = None
        self._is_listening = False
        try:
            self._process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
        except OSError as fault:
            raise CaptureError(f"{self._label} can't be started: {fault.strerror}.") from fault
        assert self._process.stdout
        self._out = self._process.stdout.fileno()
        self._listener = threading.Thread(target=self._listen, name="tcpdump.stderr", daemon=True)
        self._listener.start()
        if sys.platform.startswith("linux"):
            with contextlib.suppress(OSError):
                fcntl.fcntl(self._out, _SET_PIPE_SIZE, _PIPE_BYTES)
        self._await_header()
        os.set_blocking(self._out, False)

    def fileno(self) -> int:
        """The pipe."""
        return self._out

    def read(self) -> list[Burst]:
        """The packets in the pipe. Raises CaptureError when the program is gone."""
        waiting, self._bursts = self._bursts, []
        try:
            raw = os.read(self._out, _READ_BYTES)
        except BlockingIOError:
            return waiting
        if not raw:
            raise self._death()
        bursts = [*waiting, *self._reader.bursts(raw)]
        self.packets += sum(len(burst.times) for burst in bursts)
        return bursts

    def dropped(self) -> int | None:
        """As of the question before: the program is asked by a signal and answers later."""
        if self._is_listening and sys.platform.startswith("linux") and self._label == "tcpdump":
            with contextlib.suppress(ProcessLookupError, PermissionError):
                self._process.send_signal(signal.SIGUSR1)
        return self._dropped

    def close(self) -> None:
        """End the program. One that runs as root can't be signalled by us: it ends at its next packet."""
        assert self._process.stdout
        if self._process.poll() is None:
            with contextlib.suppress(PermissionError, ProcessLookupError):
                self._process.terminate()
        self._process.stdout.close()
        deadline = time.monotonic() + END_SECONDS
        while self._process.poll() is None and time.monotonic() < deadline:
            if self._sudo:
                _make_a_packet()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(0.05)
        self._listener.join(0.2)

    def _await_header(self) -> None:
        """Wait for the head of the pcap stream: it proves that the program may capture."""
        if not select.select([self._out], [], [], READY_SECONDS)[0]:
            self.close()
            raise CaptureError(f"{self._label} did not begin within {READY_SECONDS:.0f} s.")
        raw = os.read(self._out, _READ_BYTES)
        if not raw:
            raise self._death()
        self._bursts = list(self._reader.bursts(raw))

    def _death(self) -> CaptureError:
        self.close()
        # The system's reason follows in brackets, the counters after that: the line with the name says it best.
        named = [line for line in self._said if re.match(r"(tcpdump|dumpcap|sudo): ", line)]
        last = [*self._said, *named][-1] if self._said else f"status {self._process.returncode}"
        return CaptureError(f"{self._label} ended: {safe_line(last).rstrip('.')}.")

    def _listen(self) -> None:
        assert self._process.stderr
        with self._process.stderr as lines:
            for raw in lines:
                line = raw.decode(errors="replace").strip()
                if "listening on" in line:
                    # Before it says so, the signal that asks for the counters would kill it.
                    self._is_listening = True
                if found := _COUNTERS.search(line):
                    self._dropped = int(found[1])
                elif line and not _CHATTER.search(line):
                    self._said.append(line)


def _make_a_packet() -> None:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", PRIVILEGED_PORT), 0.1):
        pass

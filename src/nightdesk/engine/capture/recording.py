"""A capture file as a source: read from its beginning to its end, also while it is still being written to a pipe.

Nobody is looked up for its connections: the processes of that time are gone, and the ports belong to others now.
"""

from __future__ import annotations

import contextlib
import os
import select
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from nightdesk.core.capture.exchanges import Assembler, CaptureEvent, ConnectionOpened
from nightdesk.core.capture.pcap import PcapReader
from nightdesk.engine.capture.ending import Ending
from nightdesk.model.errors import CaptureError
from nightdesk.model.exchange import CaptureStatus, capture_encoder
from nightdesk.model.units import format_count

BLOCK_BYTES = 1 << 20
STATUS_SECONDS = 5.0
_OUTPUT = 1


class Recording:
    """One file, its assembler, and what became of both."""

    def __init__(self, path: Path, assembler: Assembler) -> None:
        self.packets = 0
        self.ended = False
        self.fault = ""
        self._path = path
        self._assembler = assembler
        self._reader = PcapReader()

    def run(self, ending: Ending) -> None:
        """Read until the end, print what was found, then stay until told to end. Raises BrokenPipeError."""
        self._print_status()
        try:
            # Opening a pipe waits until somebody writes to it.
            file = os.open(self._path, os.O_RDONLY)
        except OSError as fault:
            self.fault = f"{self._path.name} can't be read: {fault.strerror}."
        else:
            try:
                self._read(file, ending)
            finally:
                os.close(file)
        self.ended = True
        while not ending.asked:
            self._print_status()
            ending.look(select.select(ending.wait_on, [], [], STATUS_SECONDS)[0])

    def _read(self, file: int, ending: Ending) -> None:
        try:
            while not ending.asked:
                ready = select.select([file, *ending.wait_on], [], [])[0]
                ending.look([each for each in ready if each != file])
                if file not in ready:
                    continue
                block = os.read(file, BLOCK_BYTES)
                if not block:
                    self._reader.finish()
                    break
                self._take(block)
        except CaptureError as fault:
            self.fault = str(fault)
        except OSError as fault:
            if isinstance(fault, BrokenPipeError):
                raise
            self.fault = f"Reading stopped: {fault.strerror}."
        self._print(self._assembler.finish(0))

    def _take(self, block: bytes) -> None:
        for burst in self._reader.bursts(block):
            self.packets += len(burst.starts)
            self._print(self._assembler.feed_bursts((burst,)))

    def _print(self, events: Iterable[CaptureEvent]) -> None:
        said = [event for event in events if not isinstance(event, ConnectionOpened)]
        if said:
            _write(b"".join(capture_encoder.encode(event) + b"\n" for event in said))

    def _print_status(self) -> None:
        read = f"{format_count(self.packets)} packets were read." if self.ended else None
        said = CaptureStatus(
            state="failed" if self.fault else "live",
            source="file",
            packets=self.packets,
            message=f"{self.fault} {read}" if self.fault else read,
        )
        _write(capture_encoder.encode(said) + b"\n")


def _write(data: bytes) -> None:
    waiting = memoryview(data)
    while waiting:
        waiting = waiting[os.write(_OUTPUT, waiting) :]


def run_recording(
    path: Path, ports: tuple[int, ...], *, record: Literal["full", "metadata", "none"], max_body_bytes: int
) -> int:
    """Print what the file at ``path`` holds, then stay until told to end; the exit code.

    Without ``ports`` the servers' side of each connection is guessed.
    """
    assembler = Assembler(frozenset(ports) or None, record=record, max_body_bytes=max_body_bytes)
    with contextlib.suppress(BrokenPipeError):
        Recording(path, assembler).run(Ending())
    return 0

"""Commands that the desk itself runs to learn something: which items there are, whether an output is valid."""

from __future__ import annotations

import os
import selectors
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple, TypeAlias

from nightdesk.engine.processes.signals import signal_members, start_time_ns, tree_of
from nightdesk.model.base import ProcessKey
from nightdesk.model.process import TreeMember
from nightdesk.model.units import format_bytes, format_duration

COMMAND_SECONDS = 60.0
"""A command that lists items, or checks one output, has so long."""
OUTPUT_MOST = 64_000_000
"""Bytes that such a command may print: a list of a million paths has about as many."""
_TICK_S = 0.1
_PIECE = 1 << 16
_Process: TypeAlias = "subprocess.Popen[bytes]"
_Pipe: TypeAlias = IO[bytes]


class ShortCommandError(Exception):
    """A command that came to no end of its own: it took too long, printed too much, or nobody wants it any more."""


class Answer(NamedTuple):
    """What became of a short command."""

    exit_status: int
    """Negative: the signal that ended it."""
    output: bytes
    errors: bytes


@dataclass(frozen=True, slots=True)
class _Until:
    """When a command is given up."""

    deadline: float
    seconds: float
    unwanted: Callable[[], bool]

    def check(self) -> None:
        """Raises ShortCommandError where it is."""
        if self.unwanted():
            raise ShortCommandError("nobody waits for it any more")
        if time.monotonic() > self.deadline:
            raise ShortCommandError(f"it took longer than {format_duration(int(self.seconds * 1e9))}")


def ask(
    arguments: Sequence[str],
    folder: str | Path,
    environment: Mapping[str, str],
    *,
    unwanted: Callable[[], bool] = lambda: False,
    seconds: float = COMMAND_SECONDS,
) -> Answer:
    """Run a command to its end and give what it said. Blocks.

    Raises OSError where it can't be started and ShortCommandError where it does not end within ``seconds``, prints
    more than ``OUTPUT_MOST``, or ``unwanted`` becomes true. Then it is ended with everything below it. What it leaves
    in the background on purpose may keep its output open: nobody waits for that.
    """
    process = subprocess.Popen(
        arguments,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    until = _Until(time.monotonic() + seconds, seconds, unwanted)
    began_ns = start_time_ns(process.pid) or 0
    assert process.stdout is not None
    assert process.stderr is not None
    with process.stdout, process.stderr:
        try:
            output, errors = _read(process, (process.stdout, process.stderr), until)
            _wait(process, until)
        except BaseException:
            _end(process, began_ns)
            raise
    return Answer(process.returncode, output, errors)


def _read(process: _Process, sources: tuple[_Pipe, _Pipe], until: _Until) -> tuple[bytes, bytes]:
    """What the command prints, until both its outputs are closed or it has ended."""
    said = {source: bytearray() for source in sources}
    with selectors.DefaultSelector() as selector:
        for source in sources:
            os.set_blocking(source.fileno(), False)
            selector.register(source, selectors.EVENT_READ)
        while selector.get_map():
            ready = selector.select(_TICK_S)
            for key, _ in ready:
                piece = key.fileobj.read(_PIECE)  # type: ignore[union-attr]  # - a pipe, as registered above
                said[key.fileobj] += piece or b""  # type: ignore[index]  # - as above
                if piece == b"":
                    selector.unregister(key.fileobj)
            if sum(map(len, said.values())) > OUTPUT_MOST:
                raise ShortCommandError(f"it printed more than {format_bytes(OUTPUT_MOST)}")
            until.check()
            if not ready and process.poll() is not None:
                break
    output, errors = (bytes(said[source]) for source in sources)
    return output, errors


def _wait(process: _Process, until: _Until) -> None:
    while True:
        with suppress(subprocess.TimeoutExpired):
            process.wait(_TICK_S)
            return
        until.check()


def _end(process: _Process, began_ns: int) -> None:
    """End the command and everything below it. It can't be reaped meanwhile, so its number stays its own."""
    key = ProcessKey(pid=process.pid, started_ns=began_ns)

    def again() -> tuple[TreeMember, ...]:
        return tree_of(key)

    signal_members(again(), "kill", rescan=again)
    process.kill()
    process.wait()

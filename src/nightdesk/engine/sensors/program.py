"""A measuring program as a child process: started, read without waiting, judged, restarted, and never left behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import IO, Protocol

from nightdesk.engine.sensors.source import State
from nightdesk.model.sample import Sample

NS = 1_000_000_000
_CHUNK = 65_536
_CHUNKS_A_STEP = 16
_COMPLAINT_BYTES = 4096
_PATIENCE_S = 2.0
"""A program that is asked to end has this long before it is killed."""


class Reader(Protocol):
    """The sans-io reader of what a program prints."""

    @property
    def dropped(self) -> int:
        """Documents that could not be read."""

    @property
    def oversized(self) -> int:
        """Times a document ran past all bounds."""

    def feed(self, data: bytes, at_ns: int | None = None) -> list[Sample]:
        """Samples that end within ``data``."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a program gave nothing: one sentence, the remedy, and whether only the user can mend it."""

    message: str
    remedy: str = ""
    permanent: bool = False

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}".strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """When a program counts as hanging or flooding, and how long to wait before the next try."""

    silent_ns: int = 15 * NS
    """No sample for this long: it hangs."""
    bytes_a_second: int = 8_000_000
    """More than this: it floods. Honest streams stay below 1 MB."""
    first_pause_ns: int = NS
    longest_pause_ns: int = 60 * NS
    permanent_pause_ns: int = 600 * NS


@dataclass(slots=True)
class _Life:
    """One run of the program, from its start to its end."""

    child: subprocess.Popen[bytes]
    output: IO[bytes]
    errors: IO[bytes]
    reader: Reader
    heard_ns: int
    window_ns: int
    window_bytes: int = 0
    samples: int = 0
    complaint: bytearray = field(default_factory=bytearray)


class Program:
    """Keeps one program running and turns its output into samples.

    ``argv`` is asked for each start, so that a source can change it after a failure. ``explain`` turns what the program
    complained about and its exit status into a :class:`Failure`.
    """

    def __init__(
        self,
        name: str,
        argv: Callable[[], Sequence[str]],
        reader: Callable[[], Reader],
        explain: Callable[[str, int | None], Failure],
        limits: Limits | None = None,
    ) -> None:
        self.name = name
        self._argv = argv
        self._reader = reader
        self._explain = explain
        self._limits = limits or Limits()
        self._life: _Life | None = None
        self._failure: Failure | None = None
        self._failures = 0
        self._live = False
        self._again_ns = 0
        self._pause_ns = self._limits.first_pause_ns
        self._leftovers: list[subprocess.Popen[bytes]] = []

    @property
    def state(self) -> State:
        """``starting``, ``live`` or ``failed``."""
        return "failed" if self._failure else "live" if self._live else "starting"

    @property
    def problem(self) -> str | None:
        """Why it failed last, until it works again."""
        return str(self._failure) if self._failure else None

    @property
    def hopeless(self) -> bool:
        """True when only the user can mend it, or it failed three times in a row."""
        return self._failure is not None and (self._failure.permanent or self._failures >= 3)

    @property
    def files(self) -> tuple[int, ...]:
        """The pipes of the running program."""
        if self._life is None:
            return ()
        return tuple(pipe.fileno() for pipe in (self._life.output, self._life.errors) if not pipe.closed)

    @property
    def wakes_ns(self) -> int | None:
        """When the next start or the next look at a silent program is due."""
        return self._again_ns if self._life is None else self._life.heard_ns + self._limits.silent_ns

    def step(self, now_ns: int, at_ns: int) -> list[Sample]:
        """Starts, reads, judges and restarts the program; returns what it printed. Never waits for output."""
        self._leftovers = [child for child in self._leftovers if child.poll() is None]
        if self._life is None:
            if now_ns >= self._again_ns:
                self._start(now_ns)
            return []
        samples, ended = self._drain(self._life, now_ns, at_ns)
        if samples:
            self._heard(self._life, len(samples), now_ns)
        failure = self._judge(self._life, ended, now_ns)
        if failure is not None:
            self._fail(failure, now_ns)
        return samples

    def close(self) -> None:
        """Ends the program and its group. Where the system forbids the signal, the closed pipe does."""
        life, self._life = self._life, None
        if life is not None:
            self._end(life)
        for child in self._leftovers:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(_PATIENCE_S)

    def _start(self, now_ns: int) -> None:
        if self._leftovers:
            stuck = f"{self.name} (process {self._leftovers[0].pid}) could not be ended and still runs."
            self._failed(Failure(stuck, "It is started again when that one is gone."), now_ns)
            return
        argv = list(self._argv())
        try:
            child = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                process_group=0,
            )
        except OSError as fault:
            self._failed(self._explain(f"{argv[0]}: {fault.strerror}", None), now_ns)
            return
        output, errors = child.stdout, child.stderr
        assert output is not None
        assert errors is not None
        for pipe in (output, errors):
            os.set_blocking(pipe.fileno(), False)
        self._life = _Life(child, output, errors, reader=self._reader(), heard_ns=now_ns, window_ns=now_ns)

    def _drain(self, life: _Life, now_ns: int, at_ns: int) -> tuple[list[Sample], bool]:
        samples: list[Sample] = []
        ended = False
        for _ in range(_CHUNKS_A_STEP):
            data = _read(life.output.fileno())
            if not data:
                ended = data is not None
                break
            life.window_bytes += len(data)
            samples += life.reader.feed(data, at_ns)
        self._listen(life)
        if now_ns - life.window_ns >= NS and life.window_bytes <= self._limits.bytes_a_second:
            life.window_ns, life.window_bytes = now_ns, 0
        return samples, ended

    def _listen(self, life: _Life) -> None:
        pipe = life.errors
        if pipe.closed:
            return
        for _ in range(_CHUNKS_A_STEP):
            data = _read(pipe.fileno())
            if data == b"":
                pipe.close()
            if not data:
                break
            life.window_bytes += len(data)
            life.complaint += data
            del life.complaint[:-_COMPLAINT_BYTES]

    def _heard(self, life: _Life, samples: int, now_ns: int) -> None:
        life.heard_ns = now_ns
        life.samples += samples
        self._live, self._failure, self._failures = True, None, 0
        if life.samples >= 5:
            self._pause_ns = self._limits.first_pause_ns

    def _judge(self, life: _Life, ended: bool, now_ns: int) -> Failure | None:
        limits = self._limits
        if ended:
            return self._obituary(life)
        if life.reader.oversized or life.window_bytes > limits.bytes_a_second:
            return Failure(f"{self.name} floods: it printed far more than one measurement. It was stopped.")
        if now_ns - life.heard_ns >= limits.silent_ns:
            seconds = limits.silent_ns / NS
            return Failure(f"{self.name} hangs: no measurement for {seconds:.0f} s. It was stopped.")
        return None

    def _obituary(self, life: _Life) -> Failure:
        try:
            code = life.child.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            code = None
        self._listen(life)
        return self._explain(life.complaint.decode("utf-8", "replace"), code)

    def _fail(self, failure: Failure, now_ns: int) -> None:
        life, self._life = self._life, None
        if life is not None:
            self._end(life)
        self._failed(failure, now_ns)

    def _failed(self, failure: Failure, now_ns: int) -> None:
        self._failure, self._live = failure, False
        self._failures += 1
        pause_ns = self._limits.permanent_pause_ns if failure.permanent else self._pause_ns
        self._again_ns = now_ns + pause_ns
        self._pause_ns = min(self._limits.longest_pause_ns, self._pause_ns * 2)

    def _end(self, life: _Life) -> None:
        child = life.child
        life.output.close()
        life.errors.close()
        for number in (signal.SIGTERM, signal.SIGKILL):
            # The group holds what the program started, also when it ended itself. Root's processes refuse.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(child.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(_PATIENCE_S)
        if child.returncode is None:
            self._leftovers.append(child)


def _read(handle: int) -> bytes | None:
    """What is there to read: None if nothing now, empty at the end."""
    try:
        return os.read(handle, _CHUNK)
    except BlockingIOError:
        return None

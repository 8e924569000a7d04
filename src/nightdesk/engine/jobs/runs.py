"""The folder of a run: what is on disk so that a run outlives the engine that started it.

``plan.json`` is written once; ``run.json`` is replaced at each step; ``items.jsonl`` gets a line for each item that is
over, before ``run.json`` says so. ``attempts/N`` holds ``spec``, ``pid.json`` and ``result.json`` of attempt N.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple, TypeVar

import msgspec

from nightdesk.core.jobs.failures import TAIL_BYTES
from nightdesk.core.jobs.plans import Plan
from nightdesk.core.jobs.work import Ledger, Work, queue_of
from nightdesk.model.base import Noun, ProcessKey
from nightdesk.model.job import ItemRecord, Run

T = TypeVar("T")
BEGUN = 1
"""The keeper's ``BEGUN``."""
_record_decoder = msgspec.json.Decoder(ItemRecord)
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


class Stored(Noun, frozen=True, kw_only=True):
    """Content of ``run.json``."""

    run: Run
    ledger: Ledger


class PidRecord(Noun, frozen=True, kw_only=True):
    """Content of ``pid.json``; the start times are the keeper's clock, not the kernel's."""

    serial: int
    keeper: ProcessKey
    command: ProcessKey


class Result(Noun, frozen=True, kw_only=True):
    """Content of ``result.json``: how an attempt ended."""

    serial: int
    started_ns: int
    ended_ns: int
    exit_status: int | None = None
    signal: int | None = None
    user_ns: int = 0
    system_ns: int = 0
    max_rss_bytes: int = 0
    step: str | None = None
    """``folder`` or ``command``: what kept the command from running; then ``errno`` says why."""
    errno: int = 0


class Folder:
    """Whole files in one folder. All methods block for less than a millisecond or so."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def replace(self, name: str, body: bytes) -> None:
        """Write a whole file or nothing, readable by its owner only."""
        new = self.path / f"{name}.new"
        with _open_private(new, os.O_TRUNC) as file:
            file.write(body)
        new.replace(self.path / name)

    def read(self, name: str, kind: type[T]) -> T | None:
        """What a file holds; None where it is missing or damaged."""
        try:
            return msgspec.json.decode((self.path / name).read_bytes(), type=kind)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError):
            return None


class Spec(NamedTuple):
    """What a keeper has to start."""

    folder: str = ""
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = {}
    """What is added to the engine's."""


class AttemptFolder(Folder):
    """One folder below ``attempts`` of a run: what its keeper reads and writes."""

    def __init__(self, path: Path, serial: int) -> None:
        super().__init__(path)
        self.serial = serial

    @property
    def _lock(self) -> Path:
        return self.path / "keeper.lock"

    def save_spec(self, folder: str, arguments: Iterable[str], environment: Mapping[str, str]) -> None:
        """Write what the keeper has to start."""
        for folder_path in (self.path.parent, self.path):
            folder_path.mkdir(mode=0o700, exist_ok=True)
        fields = [f"serial={self.serial}", f"folder={folder}"]
        fields += [f"arg={argument}" for argument in arguments]
        fields += [f"env={name}={value}" for name, value in environment.items()]
        self.replace("spec", b"".join(os.fsencode(field) + b"\0" for field in fields))

    def spec(self) -> Spec:
        """What the keeper had to start; empty where that is not known any more."""
        try:
            fields = (self.path / "spec").read_bytes().split(b"\0")[:-1]
        except OSError:
            return Spec()
        pairs = [
            (os.fsdecode(key), os.fsdecode(value)) for key, _, value in (f.partition(b"=") for f in fields)
        ]
        return Spec(
            next((value for key, value in pairs if key == "folder"), ""),
            tuple(value for key, value in pairs if key == "arg"),
            dict(value.partition("=")[::2] for key, value in pairs if key == "env"),
        )

    def was_begun(self) -> bool:
        """Whether the command may have been started: its keeper sets the lock's time right before."""
        try:
            return int(self._lock.stat().st_mtime) == BEGUN
        except FileNotFoundError:
            return False

    def pids(self) -> PidRecord | None:
        """The processes of the attempt; None before its command runs."""
        record = self.read("pid.json", PidRecord)
        return record if record and record.serial == self.serial else None

    def result(self) -> Result | None:
        """How the attempt ended; None before that."""
        result = self.read("result.json", Result)
        return result if result and result.serial == self.serial else None

    def clear(self) -> None:
        """Take the folder away: what it says is kept elsewhere."""
        shutil.rmtree(self.path, ignore_errors=True)

    def lock_for_keeper(self) -> int:
        """A descriptor that holds the folder's lock. The keeper inherits it, so the lock is free when it is gone."""
        descriptor = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return descriptor

    def has_keeper(self) -> bool:
        """Whether a keeper lives. No number is compared, so neither a used-again pid nor a moved clock deceives."""
        try:
            descriptor = os.open(self._lock, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False


class RunFolder(Folder):
    """One folder below ``.nightdesk/runs``."""

    @property
    def run_id(self) -> str:
        """The id of the run."""
        return self.path.name

    def attempt(self, serial: int) -> AttemptFolder:
        """The folder of one attempt; it may not exist yet, or no longer."""
        return AttemptFolder(self.path / "attempts" / str(serial), serial)

    def save_plan(self, plan: Plan) -> None:
        """Write the plan, once."""
        self.replace("plan.json", msgspec.json.encode(plan))

    def save(self, work: Work) -> None:
        """Write the run as it is now."""
        self.replace("run.json", msgspec.json.encode(Stored(run=work.run, ledger=work.ledger)))

    def load(self) -> Work | None:
        """The run as it was last written; None where its files are missing or damaged."""
        stored = self.read("run.json", Stored)
        plan = self.read("plan.json", Plan)
        if not stored or not plan:
            return None
        ledger, queue = queue_of(plan, stored.ledger, self.items())
        return Work(stored.run, plan, ledger, queue)

    def append_items(self, records: Iterable[ItemRecord]) -> None:
        """Note what became of items. Raises OSError; then a part of the last line may have been written."""
        body = b"".join(msgspec.json.encode(record) + b"\n" for record in records)
        with _open_private(self.path / "items.jsonl", os.O_APPEND, "ab") as file:
            # A line that a full disk cut is ended first, so that it spoils no other.
            if file.tell() and not self._ends_with_line():
                body = b"\n" + body
            file.write(body)

    def _ends_with_line(self) -> bool:
        with (self.path / "items.jsonl").open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read(1) == b"\n"

    def items(self) -> Iterator[ItemRecord]:
        """What became of the items, in the order of time; lines that were cut are passed over."""
        try:
            file = (self.path / "items.jsonl").open("rb")
        except OSError:
            return
        with file:
            for line in file:
                with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError):
                    yield _record_decoder.decode(line)

    def failed_items(self) -> Iterator[ItemRecord]:
        """The items that failed, in the order of time. Much quicker than all."""
        with contextlib.suppress(OSError), (self.path / "items.jsonl").open("rb") as file:
            for line in file:
                if b'"failed"' in line:
                    with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError):
                        record = _record_decoder.decode(line)
                        if record.state == "failed":
                            yield record

    def append_log(self, log: Path, text: str) -> None:
        """Add a line of the desk's own to the run's log."""
        with _open_private(log, os.O_APPEND) as file:
            file.write(text.encode("utf-8", "replace"))

    def log_tail(self, log: Path, start: int, most: int = TAIL_BYTES) -> str:
        """The end of the log, at most so much as is worth looking at, from byte ``start`` on.

        Of a log that was emptied meanwhile all is newer than that.
        """
        with contextlib.suppress(OSError), log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(start if start <= size else 0, size - most))
            return file.read(most).decode("utf-8", "replace")
        return ""


def _open_private(path: Path, flags: int, mode: Literal["wb", "ab"] = "wb") -> BinaryIO:
    """A file to write that nobody else can read, from the moment it exists."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | flags, 0o600), mode)


def plain_name(job: str) -> str:
    """The job's name as part of a file name."""
    return _UNSAFE.sub("_", job).lstrip(".-")[:60] or "job"


def create_folder(runs: Path, job: str, now_ns: int) -> tuple[RunFolder, Path]:
    """A new run folder, named after job, local time and microsecond, and the path of its log.

    The microseconds keep apart what several desks start in one second: processes are known by the id of their run.
    """
    stamp = time.localtime(now_ns // 10**9)
    name = plain_name(job)
    runs.mkdir(mode=0o700, parents=True, exist_ok=True)
    number = now_ns // 1000 % 10**6
    while True:
        path = runs / f"{name}-{time.strftime('%Y%m%d-%H%M%S', stamp)}-{number:06d}"
        try:
            path.mkdir(mode=0o700)
        except FileExistsError:
            number += 1
            continue
        return RunFolder(path), path / f"{name}_{time.strftime('%Y%m%d_%H%M%S', stamp)}.log"


def log_id(path: Path) -> str:
    """Id of a log file, stable for its path."""
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:12]


def run_folders(runs: Path) -> tuple[RunFolder, ...]:
    """All run folders, in no order that means anything."""
    if not runs.is_dir():
        return ()
    return tuple(RunFolder(path) for path in runs.iterdir() if path.is_dir() and path.name[0] != ".")

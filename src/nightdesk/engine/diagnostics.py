"""Keeps of each failed attempt what was known of its last minutes: ``failures/SERIAL`` in the folder of its run."""

from __future__ import annotations

import asyncio
import logging
import os
import platform
import shutil
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import TypeAlias

import msgspec
from msgspec.structs import replace

from nightdesk import __version__
from nightdesk.core import markers
from nightdesk.core.masking import masked_arguments, masked_environment, masked_text, secrets_of
from nightdesk.core.processes.tree import descendants
from nightdesk.engine.jobs.ended import EndedAttempt
from nightdesk.engine.jobs.runs import Folder, RunFolder
from nightdesk.model.base import ProcessKey
from nightdesk.model.desk import ModelServer
from nightdesk.model.diagnosis import Diagnosis, FailedAttempt
from nightdesk.model.errors import UsageError
from nightdesk.model.exchange import ExchangeRow
from nightdesk.model.process import ProcessRow
from nightdesk.model.sample import Sample

logger = logging.getLogger(__name__)

MINUTES_NS = 5 * 60 * 10**9
KEPT_FIRST, KEPT_LAST = 10, 40
"""Failures of a run that are kept: the first ones tell most often what began, the last ones how it ended."""
EXCHANGES, SAMPLES, PROCESSES = 50, 120, 200
LOG_BYTES = 65_536
VALUE_CHARS = 2_000
_Seen: TypeAlias = tuple[int, tuple[ProcessRow, ...]]
"""When processes were seen, and which."""


class Diagnostics:
    """Remembers the processes of active runs, and writes a folder for each attempt that fails."""

    def __init__(
        self,
        exchanges: Callable[[str, int], Awaitable[Iterable[ExchangeRow]]],
        samples: Callable[[int, int], Iterable[Sample]],
        servers: Callable[[], Iterable[ModelServer]],
    ) -> None:
        """``exchanges`` gives the newest of a run, newest first; ``samples`` those of a span and blocks."""
        self._exchanges = exchanges
        self._samples = samples
        self._servers = servers
        self._seen: dict[str, _Seen] = {}

    def see(self, rows: Iterable[ProcessRow], active: Mapping[str, str], at_ns: int) -> None:
        """Remember the processes of the active runs, for the moment when they are gone."""
        found: dict[str, list[ProcessRow]] = {}
        for row in rows:
            if row.run in active:
                found.setdefault(row.run or "", []).append(row)
        self._seen = {run: seen for run, seen in self._seen.items() if run in active}
        self._seen.update({run: (at_ns, tuple(each)) for run, each in found.items()})

    async def keep(self, ended: EndedAttempt) -> None:
        """Write what is known of a failed attempt. A fault here must not hold its run up: it is logged."""
        seen = self._seen.get(ended.what.run)
        try:
            rows = await self._exchanges(ended.what.run, EXCHANGES)
            await asyncio.to_thread(self._write, ended, seen, tuple(rows))
        except OSError as fault:
            logger.warning("The failure of %s could not be kept: %s", ended.what.run, fault)

    def _write(self, ended: EndedAttempt, seen: _Seen | None, rows: tuple[ExchangeRow, ...]) -> None:
        folder = Folder(_place(ended.folder) / str(ended.what.serial))
        folder.path.parent.mkdir(mode=0o700, exist_ok=True)
        folder.path.mkdir(mode=0o700, exist_ok=True)
        made = replace(
            self._diagnosis(ended, seen), folder=str(folder.path), exchanges=_last_exchanges(ended, rows)
        )
        folder.replace("log.txt", made.log_tail.encode("utf-8", "replace"))
        folder.replace("failure.json", msgspec.json.encode(replace(made, log_tail="")))
        thin_out(folder.path.parent)

    def _diagnosis(self, ended: EndedAttempt, seen: _Seen | None) -> Diagnosis:
        what, end_ns = ended.what, ended.what.ended_ns
        since_ns = max(end_ns - MINUTES_NS, 0)
        spec = ended.folder.attempt(what.serial).spec()
        environment = {name: v for name, v in os.environ.items() if name not in markers.MARKERS}
        environment |= spec.environment
        secrets = secrets_of(environment)
        tail = ended.folder.log_tail(Path(ended.log_path), ended.log_offset, LOG_BYTES)
        samples = tuple(self._samples(since_ns, end_ns))
        at_ns, rows = seen or (None, ())
        return Diagnosis(
            what=what,
            folder="",
            launched_ns=ended.launched_ns,
            started_ns=ended.started_ns,
            exit_status=ended.exit_status,
            signal=ended.signal,
            command=masked_arguments(spec.arguments, secrets),
            working_folder=spec.folder,
            environment=masked_environment(environment, VALUE_CHARS),
            log_path=ended.log_path,
            log_tail=masked_text(tail, secrets),
            processes=_below(rows, ended.process, alone=ended.is_alone)[:PROCESSES],
            processes_at_ns=at_ns,
            samples=samples[:: len(samples) // SAMPLES + 1],
            versions=self._versions(),
        )

    def _versions(self) -> dict[str, str]:
        servers = {f"server {each.address}": each.version for each in self._servers() if each.version}
        return {
            "nightdesk": __version__,
            "engine's python": platform.python_version(),
            "system": platform.platform(),
            **servers,
        }


def _last_exchanges(ended: EndedAttempt, rows: Iterable[ExchangeRow]) -> tuple[ExchangeRow, ...]:
    what, begun_ns = ended.what, max(ended.what.ended_ns - MINUTES_NS, ended.launched_ns)
    found = [
        row
        for row in rows
        if (row.ended_ns or what.ended_ns) >= begun_ns
        and row.started_ns <= what.ended_ns
        and (what.item is None or row.item in (None, what.item))
    ]
    return tuple(sorted(found, key=lambda row: row.started_ns))


def _below(rows: Iterable[ProcessRow], root: ProcessKey | None, *, alone: bool) -> tuple[ProcessRow, ...]:
    """The processes of one attempt; of a run that works on one thing at a time, all of its processes."""
    by_pid = {row.key.pid: row for row in rows}
    parents = {pid: row.ppid for pid, row in by_pid.items()}
    if alone:
        roots = tuple(pid for pid, row in by_pid.items() if row.ppid not in by_pid)
    else:
        roots = (root.pid,) if root and root.pid in by_pid and by_pid[root.pid].key == root else ()
    return tuple(by_pid[pid] for pid, _ in descendants(roots, parents) if pid in by_pid)


def _place(folder: RunFolder) -> Path:
    return folder.path / "failures"


def _serials(place: Path) -> list[int]:
    if not place.is_dir():
        return []
    return sorted(int(path.name) for path in place.iterdir() if path.name.isdecimal())


def thin_out(place: Path) -> None:
    """Of too many folders of failures, remove those between the first and the last ones."""
    for serial in _serials(place)[KEPT_FIRST:-KEPT_LAST]:
        shutil.rmtree(place / str(serial), ignore_errors=True)


def kept_failures(folder: RunFolder) -> tuple[FailedAttempt, ...]:
    """The failed attempts of a run of which something was kept, oldest first. Blocks."""
    place = _place(folder)
    found = (Folder(place / str(serial)).read("failure.json", Diagnosis) for serial in _serials(place))
    return tuple(each.what for each in found if each)


def kept_failure(folder: RunFolder, serial: int) -> Diagnosis:
    """What was kept of one failed attempt. Blocks. Raises UsageError where nothing was."""
    own = Folder(_place(folder) / str(serial))
    found = own.read("failure.json", Diagnosis)
    if found is None:
        raise UsageError(
            f"Nothing was kept of attempt {serial} of {folder.run_id}.",
            f"nightdesk failure {folder.run_id} shows what was.",
        )
    try:
        tail = (own.path / "log.txt").read_text(encoding="utf-8", errors="replace")
    except OSError:
        tail = ""
    return replace(found, log_tail=tail)

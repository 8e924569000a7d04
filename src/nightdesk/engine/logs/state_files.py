"""Progress from files in which scripts keep their own state: JSON, JSON Lines, or a query to an SQLite database."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from nightdesk.client.desk import Desk
from nightdesk.core.logs.state_progress import State, of_row, read_state
from nightdesk.model.job import ENDED, Run
from nightdesk.model.logs import Progress

EVERY_SECONDS = 2.0
BYTES_MOST = 4 << 20
"""Of a longer file only the end is read."""
OnProgress = Callable[[str, Progress], None]


class StateFiles:
    """Looks at the state files of runs in work, each only when it has changed."""

    def __init__(self, desk: Callable[[], Desk], runs: Callable[[], Iterable[Run]], tell: OnProgress) -> None:
        """``desk`` gives the configuration of now, ``runs`` all runs; those that are over are left alone."""
        self._desk = desk
        self._runs = runs
        self._tell = tell
        self._seen: dict[str, tuple[int, int]] = {}
        self._begun: dict[str, tuple[float, int]] = {}

    async def run(self) -> None:
        """Look until it is cancelled."""
        while True:
            desk = self._desk()
            jobs = {name: job for name, job in desk.config.jobs.items() if job.progress}
            for run in self._runs() if jobs else ():
                if run.job in jobs and run.state not in ENDED:
                    job = jobs[run.job]
                    folder = desk.folder / job.folder
                    progress = await asyncio.to_thread(self.look, run, job.progress or "", folder)
                    if progress is not None:
                        self._tell(run.id, progress)
            await asyncio.sleep(EVERY_SECONDS)

    def look(self, run: Run, spec: str, folder: Path) -> Progress | None:
        """The progress of a run by its state file; None where there is nothing new. Blocks."""
        path, query = split_spec(spec)
        target = folder / Path(path).expanduser()
        try:
            status = target.stat()
            stamp = (status.st_mtime_ns, status.st_size)
            # A database in WAL mode changes beside itself.
            if not query and self._seen.get(run.id) == stamp:
                return None
            if run.started_ns is not None and status.st_mtime_ns < run.started_ns and not query:
                return None
            state = _queried(target, query) if query else read_state(_end_of(target))
        except OSError:
            return None
        self._seen[run.id] = stamp
        return None if state is None else self._progress(run.id, state)

    def _progress(self, run: str, state: State) -> Progress | None:
        now_ns = time.time_ns()
        done, at_ns = self._begun.setdefault(run, (state.done, now_ns))
        if state.done < done:
            done, at_ns = self._begun[run] = (state.done, now_ns)
        gained, took = state.done - done, (now_ns - at_ns) / 1e9
        rate = gained / took if gained > 0 and took > 0 else None
        left = None
        if rate is not None and state.total is not None:
            left = int((state.total - state.done) / rate * 1e9)
        return Progress(
            done=state.done,
            total=state.total,
            item=state.item,
            rate_per_s=rate,
            eta_ns=left,
            at_ns=now_ns,
            source="state",
        )


def split_spec(spec: str) -> tuple[str, str]:
    """``state/progress.json`` or ``work.db: SELECT ...`` as path and query."""
    path, mark, query = spec.partition(": ")
    return (path.strip(), query.strip()) if mark and query.lstrip()[:6].lower() == "select" else (spec, "")


def _end_of(path: Path) -> str:
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size > BYTES_MOST:
            file.seek(size - BYTES_MOST)
            file.readline()
        return file.read(BYTES_MOST).decode("utf-8", "replace")


def _queried(path: Path, query: str) -> State | None:
    """The first row of a query; the database is opened for reading only."""
    import sqlite3

    try:
        base = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=1.0)
        try:
            row = base.execute(query).fetchone()
        finally:
            base.close()
    except sqlite3.Error as fault:
        raise OSError(0, str(fault)) from fault
    return of_row(row) if row is not None else None

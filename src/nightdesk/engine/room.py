"""Looks whether the disk has room for the logs of the runs, and tells it as the state of a source."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from nightdesk.core.jobs.room import Log, RoomWatch
from nightdesk.engine.awake import Tell
from nightdesk.model.job import ENDED, Run

LOOK_SECONDS = 20.0


class Room:
    """The room on the disk of a desk."""

    def __init__(
        self,
        folder: Path,
        runs: Callable[[], Iterable[Run]],
        tell: Tell,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._folder = folder
        self._runs = runs
        self._tell = tell
        self._now_ns = now_ns
        self._watch = RoomWatch()
        self._told: str | None = ""

    async def run(self) -> None:
        """Look from time to time, until cancelled."""
        while True:
            self.look()
            await asyncio.sleep(LOOK_SECONDS)

    def look(self) -> None:
        """Look once, and tell what is another than before."""
        try:
            free = shutil.disk_usage(self._folder).free
        except OSError:
            return  # the folder is away: others say so
        logs = {path: Log(job, size) for job, path, size in _sizes(self._runs())}
        warned = self._watch.look(self._now_ns(), free, logs)
        message = warned.message if warned else None
        if message == self._told:
            return
        self._told = message
        self._tell("degraded" if warned else "live", warned.label if warned else "", message)


def _sizes(runs: Iterable[Run]) -> Iterable[tuple[str, str, int]]:
    """(job, path, bytes) of the logs to which runs write."""
    for run in runs:
        if run.state in ENDED:
            continue
        for path in {run.log_path, *(flight.log_path for flight in run.flights)}:
            try:
                yield run.job, path or "", Path(path or "").stat().st_size
            except OSError:
                continue

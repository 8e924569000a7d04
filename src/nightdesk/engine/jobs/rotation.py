"""Gives up the folders of old runs, a few at a time."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Collection
from pathlib import Path

from nightdesk.core.jobs.retention import KeptRun, outdated
from nightdesk.engine.jobs.runs import RunFolder, Stored, run_folders
from nightdesk.model.config import StoreSection, span_ns
from nightdesk.model.job import ENDED

logger = logging.getLogger(__name__)

LOOK_SECONDS = 60.0
AT_ONCE = 5
"""Folders that are removed in one step: the disk is needed by others."""
BROKEN_NS = 24 * 3600 * 10**9
"""A folder that tells of no run is given up after this time: its engine was ended while it made it."""
GONE = ".gone-"
"""A folder that is being removed bears this before its name; it is no run any more."""


class Rotation:
    """Remembers what the folders of ended runs hold: that does not change any more."""

    def __init__(self, runs: Path) -> None:
        self._runs = runs
        self._kept: dict[str, KeptRun] = {}

    def step(self, store: StoreSection, active: Collection[str], now_ns: int) -> tuple[str, ...]:
        """Remove a few of the folders that are outdated; ids of their runs. Blocks while it looks and removes.

        Never one of ``active``, and never one whose keeper lives. What the disk refuses is tried again next time.
        """
        try:
            return self._step(store, active, now_ns)
        except OSError as fault:
            logger.warning("Old runs can't be removed now: %s", fault)
            return ()

    def _step(self, store: StoreSection, active: Collection[str], now_ns: int) -> tuple[str, ...]:
        self._finish()
        broken = []
        for folder in run_folders(self._runs):
            if folder.run_id in active or folder.run_id in self._kept:
                continue
            kept = _look(folder)
            if kept is not None:
                self._kept[folder.run_id] = kept
            elif _is_broken(folder, now_ns):
                broken.append(folder.run_id)
        gone = outdated(
            self._kept.values(),
            at_ns=now_ns,
            keep=store.keep_runs,
            keep_ns=span_ns(store.keep),
            max_bytes=store.max_run_bytes,
        )
        removed = tuple(run_id for run_id in (*broken, *gone)[:AT_ONCE] if self._remove(run_id))
        if removed:
            logger.info("The folders of %d old runs were removed: %s", len(removed), ", ".join(removed))
        return removed

    def _remove(self, run_id: str) -> bool:
        """A rename first: a folder that is half removed must not look like a run."""
        self._kept.pop(run_id, None)
        path = self._runs / run_id
        try:
            if _has_keeper(RunFolder(path)):
                return False
            gone = path.with_name(GONE + run_id)
            path.rename(gone)
        except OSError as fault:
            logger.warning("The folder of the old run %s can't be removed: %s", run_id, fault)
            return False
        shutil.rmtree(gone, ignore_errors=True)
        return True

    def _finish(self) -> None:
        """What an engine before began to remove."""
        for path in self._runs.glob(f"{GONE}*"):
            shutil.rmtree(path, ignore_errors=True)


def _look(folder: RunFolder) -> KeptRun | None:
    """None for a run that has not ended, and for a folder that tells of none."""
    stored = folder.read("run.json", Stored)
    if stored is None or stored.run.state not in ENDED:
        return None
    size = sum(path.lstat().st_size for path in folder.path.rglob("*"))
    return KeptRun(folder.run_id, stored.run.job, stored.run.mode, stored.run.created_ns, size)


def _is_broken(folder: RunFolder, now_ns: int) -> bool:
    try:
        changed_ns = folder.path.stat().st_mtime_ns
    except OSError:
        return False
    return changed_ns < now_ns - BROKEN_NS and folder.load() is None and not _has_keeper(folder)


def _has_keeper(folder: RunFolder) -> bool:
    attempts = folder.path / "attempts"
    serials = (path.name for path in attempts.iterdir()) if attempts.is_dir() else ()
    return any(folder.attempt(int(serial)).has_keeper() for serial in serials if serial.isdecimal())


def next_look(removed: tuple[str, ...]) -> float:
    """Seconds until the next step: soon, where there may be more to remove."""
    return 1.0 if len(removed) == AT_ONCE else LOOK_SECONDS

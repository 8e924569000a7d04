"""The viewer's copy of the desk: a snapshot with the numbered changes applied to it."""

from __future__ import annotations

from collections import deque
from typing import Any, assert_never

from nightdesk.model.base import ProcessKey
from nightdesk.model.desk import (
    Change,
    DeskChanged,
    DeskInfo,
    ExchangeChanged,
    ExchangeCounts,
    LogChanged,
    LogGone,
    ModelServer,
    ProcessesChanged,
    RunChanged,
    SampleAdded,
    ServersChanged,
    Snapshot,
    SourceChanged,
    SourceState,
)
from nightdesk.model.exchange import ExchangeRow
from nightdesk.model.job import JobView, Run
from nightdesk.model.logs import LogFile
from nightdesk.model.process import ProcessRow
from nightdesk.model.sample import Sample

EXCHANGES_KEPT = 2000
"""Rows that a viewer holds; older ones are asked from the store."""
SAMPLES_KEPT_NS = 600 * 10**9
"""The chart shows ten minutes."""
RUNS_KEPT = 200

PARTS = ("desk", "sources", "servers", "processes", "exchanges", "samples", "jobs", "runs", "logs")


class Mirror:
    """What the engine has said so far. Only the link changes it; panes read it.

    ``revisions`` counts the changes of each part of :data:`PARTS`, so that a pane can tell whether anything
    it shows is different from the last time it looked.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self.revisions: dict[str, int] = dict.fromkeys(PARTS, 1)
        self.load(snapshot)

    @classmethod
    def from_snapshot(cls, snapshot: Snapshot) -> Mirror:
        """A fresh copy."""
        return cls(snapshot)

    def load(self, snapshot: Snapshot) -> None:
        """Replace everything, for example after changes were lost."""
        self.at_ns = snapshot.at_ns
        self.desk: DeskInfo = snapshot.desk
        self.sources: dict[str, SourceState] = {source.name: source for source in snapshot.sources}
        self.servers: tuple[ModelServer, ...] = snapshot.servers
        self.processes: dict[ProcessKey, ProcessRow] = {row.key: row for row in snapshot.processes}
        self.exchanges: dict[int, ExchangeRow] = {row.id: row for row in snapshot.exchanges}
        self.counts: ExchangeCounts = snapshot.counts
        self.samples: deque[Sample] = deque(snapshot.samples)
        self.jobs: dict[str, JobView] = {job.name: job for job in snapshot.jobs}
        self.runs: dict[str, Run] = {run.id: run for run in snapshot.runs}
        self.logs: dict[str, LogFile] = {log.id: log for log in snapshot.logs}
        for part in PARTS:
            self.revisions[part] += 1

    def apply(self, change: Change) -> None:
        """Take in one change."""
        match change:
            case DeskChanged():
                self.desk = change.desk
                self.jobs = {job.name: job for job in change.jobs}
                self._touch("desk")
                self._touch("jobs")
            case SourceChanged():
                self.sources[change.source.name] = change.source
                self._touch("sources")
            case ServersChanged():
                self.servers = change.servers
                self._touch("servers")
            case ProcessesChanged():
                self._apply_processes(change)
            case ExchangeChanged():
                self._apply_exchange(change)
            case SampleAdded():
                self._apply_sample(change.sample)
            case RunChanged():
                self.runs[change.run.id] = change.run
                _trim(self.runs, RUNS_KEPT)
                self._touch("runs")
            case LogChanged():
                self.logs[change.log.id] = change.log
                self._touch("logs")
            case LogGone():
                self.logs.pop(change.id, None)
                self._touch("logs")
            case _:
                assert_never(change)

    def _apply_processes(self, change: ProcessesChanged) -> None:
        for key in change.gone:
            self.processes.pop(key, None)
        self.processes.update((row.key, row) for row in change.changed)
        self.at_ns = change.at_ns
        if change.gone or change.changed:
            self._touch("processes")

    def _apply_exchange(self, change: ExchangeChanged) -> None:
        self.exchanges[change.row.id] = change.row
        _trim(self.exchanges, EXCHANGES_KEPT)
        self.counts = change.counts
        self._touch("exchanges")

    def _apply_sample(self, sample: Sample) -> None:
        self.samples.append(sample)
        while self.samples[0].at_ns < sample.at_ns - SAMPLES_KEPT_NS:
            self.samples.popleft()
        self._touch("samples")

    def _touch(self, part: str) -> None:
        self.revisions[part] += 1


def _trim(rows: dict[Any, Any], limit: int) -> None:
    while len(rows) > limit:
        del rows[next(iter(rows))]

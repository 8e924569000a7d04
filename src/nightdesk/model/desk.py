"""What an engine tells a viewer: a snapshot, then numbered changes."""

from __future__ import annotations

from typing import Literal

import msgspec

from nightdesk.model.alarm import Alarm
from nightdesk.model.base import Noun, ProcessKey
from nightdesk.model.energy import DeskEnergy
from nightdesk.model.exchange import ExchangeRow
from nightdesk.model.job import JobView, Run
from nightdesk.model.logs import LogFile
from nightdesk.model.process import ProcessRef, ProcessRow
from nightdesk.model.sample import Sample

API_VERSION = 1
"""Raised when a viewer of one version can no longer understand an engine of another."""


class SourceState(Noun, frozen=True, kw_only=True):
    """A source of the engine: capture, sensors, processes, logs, store; what keeps the machine awake; the disk."""

    name: Literal["capture", "sensors", "processes", "logs", "store", "jobs", "awake", "disk"]
    state: Literal["starting", "live", "degraded", "failed", "off"]
    label: str = ""
    """Short, for the header: ``lo0 tcpdump``, ``powermetrics``."""
    message: str | None = None
    """Why it is not live, and the next step."""
    at_ns: int
    restarts: int = 0
    dropped: int | None = None
    packets: int | None = None


class LoadedModel(Noun, frozen=True, kw_only=True):
    """A model that a server holds in memory, from ``/api/ps``."""

    name: str
    size_bytes: int | None = None
    vram_bytes: int | None = None
    context: int | None = None
    expires_ns: int | None = None


class ModelServer(Noun, frozen=True, kw_only=True):
    """A model server on a watched port."""

    address: str
    state: Literal["up", "down"]
    version: str | None = None
    models: tuple[LoadedModel, ...] = ()
    installed: tuple[str, ...] = ()
    """Models that it could load, from ``/api/tags``; asked once a minute."""
    process: ProcessRef | None = None
    """Who listens on the port; absent where that may not be seen."""
    message: str | None = None
    at_ns: int


class DeskInfo(Noun, frozen=True, kw_only=True):
    """The desk and its engine."""

    name: str
    folder: str
    config_path: str | None = None
    """Absent for the default desk."""
    config_problems: tuple[str, ...] = ()
    """Faults in the file as it is now; the engine goes on with the last good one."""
    engine_version: str
    api_version: int
    engine: ProcessKey
    host: str
    platform: str


class ExchangeCounts(Noun, frozen=True, kw_only=True):
    """Exchanges since the engine began."""

    running: int
    done: int
    failed: int
    """failed, aborted and incomplete together"""
    verdicts: int


class Snapshot(Noun, frozen=True, kw_only=True):
    """Everything a viewer needs to draw, as of change number ``seq``."""

    seq: int
    at_ns: int
    desk: DeskInfo
    sources: tuple[SourceState, ...]
    servers: tuple[ModelServer, ...]
    processes: tuple[ProcessRow, ...]
    exchanges: tuple[ExchangeRow, ...]
    """The newest ones, oldest first."""
    counts: ExchangeCounts
    samples: tuple[Sample, ...]
    """The last ten minutes, oldest first."""
    jobs: tuple[JobView, ...]
    runs: tuple[Run, ...]
    logs: tuple[LogFile, ...]


# Changes, told apart by "type".


class DeskChanged(Noun, frozen=True, kw_only=True, tag_field="type", tag="desk"):
    """The configuration was read again."""

    desk: DeskInfo
    jobs: tuple[JobView, ...]


class SourceChanged(Noun, frozen=True, kw_only=True, tag_field="type", tag="source"):
    """A source came, went or changed its counters."""

    source: SourceState


class ServersChanged(Noun, frozen=True, kw_only=True, tag_field="type", tag="servers"):
    """The model servers were asked again and answered differently."""

    servers: tuple[ModelServer, ...]


class ProcessesChanged(Noun, frozen=True, kw_only=True, tag_field="type", tag="processes"):
    """Rows that differ from the sample before, and processes that are gone."""

    at_ns: int
    changed: tuple[ProcessRow, ...]
    gone: tuple[ProcessKey, ...]


class ExchangeChanged(Noun, frozen=True, kw_only=True, tag_field="type", tag="exchange"):
    """A new or changed exchange. A running one comes at most five times a second."""

    row: ExchangeRow
    counts: ExchangeCounts


class SampleAdded(Noun, frozen=True, kw_only=True, tag_field="type", tag="sample"):
    """A new sample."""

    sample: Sample


class RunChanged(Noun, frozen=True, kw_only=True, tag_field="type", tag="run"):
    """A new or changed run."""

    run: Run


class LogChanged(Noun, frozen=True, kw_only=True, tag_field="type", tag="log"):
    """A log file grew, was cut, came or went. At most four times a second for one file."""

    log: LogFile


class LogGone(Noun, frozen=True, kw_only=True, tag_field="type", tag="log_gone"):
    """A log file is no longer followed."""

    id: str


Change = (
    DeskChanged
    | SourceChanged
    | ServersChanged
    | ProcessesChanged
    | ExchangeChanged
    | SampleAdded
    | RunChanged
    | LogChanged
    | LogGone
)
change_encoder = msgspec.json.Encoder()
change_decoder: msgspec.json.Decoder[Change] = msgspec.json.Decoder(Change)
snapshot_decoder: msgspec.json.Decoder[Snapshot] = msgspec.json.Decoder(Snapshot)


class Status(Noun, frozen=True, kw_only=True):
    """``nightdesk status``: the desk in one object."""

    desk: DeskInfo
    started_ns: int
    at_ns: int
    sources: tuple[SourceState, ...]
    servers: tuple[ModelServer, ...]
    counts: ExchangeCounts
    runs: tuple[Run, ...]
    """Active runs, then the newest ended run of each job."""
    orphans: tuple[ProcessRow, ...]
    energy: DeskEnergy | None = None
    """Of the night so far; absent where nothing reports its power."""
    alarms: tuple[Alarm, ...] = ()


class ErrorBody(Noun, frozen=True, kw_only=True):
    """Body of every answer that is not 2xx."""

    message: str
    hint: str = ""

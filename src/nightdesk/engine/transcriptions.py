"""What the transcriptions of a run have come to, read from the events of its processes or from its logs.

Nothing is followed: a file is read on when somebody asks.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from nightdesk.core.jobs.work import Work
from nightdesk.core.logs.lines import LineSplitter
from nightdesk.core.whisper.files import EVENTS_NAME, Transcribing
from nightdesk.core.whisper.logs import WhisperLogReader
from nightdesk.engine.jobs.runs import RunFolder
from nightdesk.model.job import ENDED, Run
from nightdesk.model.units import NS
from nightdesk.model.whisper import (
    AnyWhisperEvent,
    AudioState,
    ModelLoaded,
    ModelLoading,
    Position,
    Transcription,
)

KEPT = 4
"""Runs that are remembered."""
READ_MOST = 4 * 2**20
"""Bytes that are read for one answer; the rest comes with the next one."""
_decoder: msgspec.json.Decoder[AnyWhisperEvent] = msgspec.json.Decoder(AnyWhisperEvent)


class Span(NamedTuple):
    """The part of a log that belongs to an item; all of the log is nobody's."""

    path: str
    start: int
    item: str = ""


class ItemFacts(NamedTuple):
    """What the run knows of an item."""

    item: str
    state: AudioState
    began_ns: int
    took_s: float | None


@dataclass
class _Reading:
    """One file, read on from where the reading ended last."""

    path: Path
    offset: int
    splitter: LineSplitter = field(default_factory=LineSplitter)
    reader: WhisperLogReader = field(default_factory=WhisperLogReader)

    def lines(self, end: int | None, most: int) -> list[str]:
        """The lines that were written since, up to byte ``end``."""
        try:
            with self.path.open("rb") as file:
                size = file.seek(0, 2)
                if size < self.offset:
                    self.offset = 0  # begun anew
                file.seek(self.offset)
                room = most if end is None else min(most, max(0, end - self.offset))
                body = file.read(room)
        except OSError:
            return []
        self.offset += len(body)
        return self.splitter.feed(body)


@dataclass
class _Known:
    files: Transcribing
    readings: dict[Span, _Reading] = field(default_factory=dict)
    items: dict[str, ItemFacts] = field(default_factory=dict)


class Transcriptions:
    """Answers for the newest runs that were asked for. Blocks; may be called by any thread."""

    def __init__(self, find: Callable[[str], Run], active: Callable[[str], Work | None]) -> None:
        """``find`` gives a run, or raises UsageError; ``active`` all of a run that has not ended."""
        self._find = find
        self._active = active
        self._known: dict[str, _Known] = {}
        self._lock = threading.Lock()

    def view(self, run_id: str, file: int | None, after: int, now_ns: int) -> Transcription:
        """All files of a run, and the segments of one. Raises UsageError for an unknown run."""
        run = self._find(run_id)
        with self._lock:
            events = Path(run.folder) / EVENTS_NAME
            known = self._remembered(run, has_events=events.exists())
            if known.files.program == "nightdesk":
                self._read_events(known, events)
            else:
                self._read_logs(known, run)
            self._settle(known, run)
            worked_s = None
            if run.started_ns is not None:
                worked_s = ((run.ended_ns or now_ns) - run.started_ns) / NS
            return known.files.view(run_id, now_ns, file=file, after=after, worked_s=worked_s)

    def _remembered(self, run: Run, *, has_events: bool) -> _Known:
        known = self._known.pop(run.id, None)
        if known is None or (has_events and known.files.program != "nightdesk"):
            in_turn = not has_events and run.items_total is None
            known = _Known(Transcribing("nightdesk" if has_events else None, in_turn=in_turn))
        self._known[run.id] = known
        while len(self._known) > KEPT:
            del self._known[next(iter(self._known))]
        return known

    def _read_events(self, known: _Known, path: Path) -> None:
        span = Span(str(path), 0)
        reading = known.readings.setdefault(span, _Reading(path, 0, LineSplitter(2**20)))
        for line in reading.lines(None, READ_MOST):
            try:
                known.files.apply(_decoder.decode(line))
            except (msgspec.DecodeError, UnicodeDecodeError):
                continue  # a full disk cut it

    def _read_logs(self, known: _Known, run: Run) -> None:
        spans = sorted(self._spans(known, run))
        left = READ_MOST
        for span, following in zip(spans, [*spans[1:], None], strict=True):
            end = following.start if following is not None and following.path == span.path else None
            reading = known.readings.get(span)
            if reading is None:
                reading = known.readings[span] = _Reading(Path(span.path), span.start)
                if span.item:
                    known.files.begin_item(span.item)
            before = reading.offset
            for line in reading.lines(end, left):
                for event in reading.reader.feed(line):
                    known.files.apply(_of_item(event, span.item))
            left -= max(0, reading.offset - before)
            self._look_at_bar(known, reading, span)
            known.files.program = known.files.program or reading.reader.program

    def _look_at_bar(self, known: _Known, reading: _Reading, span: Span) -> None:
        """A progress bar is a line that does not end for hours."""
        bar = reading.splitter.pending
        if "%" in bar and "->" not in bar:
            for event in reading.reader.feed(bar):
                if isinstance(event, Position):
                    known.files.apply(_of_item(event, span.item))

    def _spans(self, known: _Known, run: Run) -> Iterator[Span]:
        if run.items_total is None:
            if run.log_path:
                yield Span(run.log_path, 0)
            return
        for record in RunFolder(Path(run.folder)).items():
            if record.state in ("done", "failed") and record.started_ns:
                took_s = (record.ended_ns - record.started_ns) / NS
                state: AudioState = "done" if record.state == "done" else "failed"
                known.items[record.item] = ItemFacts(record.item, state, record.started_ns, took_s)
                path = record.log_path or run.log_path
                if path and record.log_offset is not None:
                    yield Span(path, record.log_offset, record.item)
        work = self._active(run.id)
        for attempt in work.ledger.attempts if work else ():
            if work is None or attempt.index is None or work.plan.items is None:
                continue
            item = work.plan.items[attempt.index]
            known.items[item] = ItemFacts(item, "running", attempt.started_ns or 0, None)
            path = attempt.log_path or run.log_path
            if path:
                yield Span(path, attempt.log_offset, item)

    def _settle(self, known: _Known, run: Run) -> None:
        if known.files.program == "nightdesk" and run.items_total is not None:
            for _ in self._spans(known, run):
                pass
        for facts in known.items.values():
            if known.files.has(facts.item) or facts.state == "failed":
                known.files.settle(*facts)
        if run.state in ENDED:
            known.files.close(run.state == "done")


def _of_item(event: AnyWhisperEvent, item: str) -> AnyWhisperEvent:
    """An event of a log that is an item's: whatever the program calls the file, it is the item."""
    if not item or isinstance(event, ModelLoading | ModelLoaded):
        return event
    return replace(event, file=item)

"""The items of runs as lists, kept until their run moves on, and what became of items in earlier runs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from nightdesk.core.jobs.item_list import ItemList, list_items
from nightdesk.core.jobs.work import Work
from nightdesk.engine.jobs.runs import RunFolder
from nightdesk.model.errors import NightdeskError
from nightdesk.model.items import ItemDetail, ItemPage
from nightdesk.model.job import ENDED, ItemRecord, Run

LISTS_KEPT = 4
LINES_MOST = 30
TAIL_BYTES = 16_384
_decoder = msgspec.json.Decoder(ItemRecord)


@dataclass
class _Records:
    """The newest records of a run's items, read on from where the reading ended last."""

    path: Path
    offset: int = 0
    newest: dict[int, ItemRecord] = field(default_factory=dict)

    def read_on(self) -> int:
        """Take in what was written since; how much there is now."""
        try:
            with self.path.open("rb") as file:
                file.seek(self.offset)
                body = file.read()
        except OSError:
            return self.offset
        whole = body[: body.rfind(b"\n") + 1]
        for line in whole.splitlines():
            self._take(line)
        self.offset += len(whole)
        return self.offset

    def _take(self, line: bytes) -> None:
        try:
            record = _decoder.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return  # a full disk cut it
        if record.index is None:
            return
        if record.state == "again":
            self.newest.pop(record.index, None)
        else:
            self.newest[record.index] = record


@dataclass
class _Kept:
    records: _Records
    work: Work | None = None
    read: int = -1
    made: ItemList | None = None


class ItemLists:
    """Lists of the newest runs that were asked for. Methods block, and may be called by any thread."""

    def __init__(self, find: Callable[[str], Run], active: Callable[[str], Work | None]) -> None:
        """``find`` gives a run, or raises UsageError; ``active`` all of a run that has not ended."""
        self._find = find
        self._active = active
        self._kept: dict[str, _Kept] = {}
        self._lock = threading.Lock()

    def page(
        self, run_id: str, states: str, text: str, sort: str, offset: int, limit: int, now_ns: int
    ) -> ItemPage:
        """A part of the items of a run. Raises UsageError for an unknown run, state or order."""
        with self._lock:
            return self._list(run_id).page(states, text, sort, offset, limit, now_ns)

    def detail(self, run_id: str, index: int, now_ns: int) -> ItemDetail:
        """One item with the end of its output. Raises UsageError where there is no such item."""
        with self._lock:
            listed = self._list(run_id)
            row = listed.row(index, now_ns)
            path, start, end = listed.span(index)
        record = listed.records.get(index)
        kept = None
        if record is not None and record.serial is not None:
            kept = Path(listed.work.run.folder) / "attempts" / str(record.serial)
        return ItemDetail(
            run=run_id,
            row=row,
            log_path=path,
            log_start=start,
            lines=_last_lines(path, start, end),
            folder=str(kept) if kept is not None and row.state == "failed" and kept.is_dir() else None,
        )

    def log_path(self, run_id: str, index: int) -> str:
        """The file that holds the output of an item. Raises NightdeskError where it has none."""
        with self._lock:
            listed = self._list(run_id)
            item = listed.row(index, 0).item
            path = listed.span(index)[0]
        if path is None:
            raise NightdeskError(f"{item} has no log: it was not worked on in this run.")
        return path

    def record(self, run: Run, item: str) -> ItemRecord | None:
        """What became of an item in a run; None where it was not worked on there."""
        with self._lock:
            listed = self._list(run.id)
            newest = (each for each in listed.records.values() if each.item == item)
            return next((each for each in newest if each.state in ("done", "failed")), None)

    def _list(self, run_id: str) -> ItemList:
        kept = self._kept.pop(run_id, None)
        if kept is None:
            run = self._find(run_id)
            kept = _Kept(_Records(Path(run.folder) / "items.jsonl"))
        self._kept[run_id] = kept
        while len(self._kept) > LISTS_KEPT:
            del self._kept[next(iter(self._kept))]
        # The run first: records are written before the run moves on, so they are never older than it.
        work = self._active(run_id)
        if work is None:
            if kept.made is not None and kept.made.work.run.state in ENDED:
                return kept.made
            work = RunFolder(Path(self._find(run_id).folder)).load()
            if work is None:
                raise NightdeskError(f"The record of {run_id} can't be read.", "Its folder was damaged.")
        read = kept.records.read_on()
        if kept.made is None or work is not kept.work or read != kept.read:
            kept.work, kept.read = work, read
            kept.made = list_items(work, kept.records.newest)
        return kept.made


def _last_lines(path: str | None, start: int | None, end: int | None) -> tuple[str, ...]:
    if path is None:
        return ()
    try:
        with Path(path).open("rb") as file:
            size = file.seek(0, 2)
            end = size if end is None else min(end, size)
            begin = max(start or 0, end - TAIL_BYTES)
            file.seek(begin)
            body = file.read(max(0, end - begin))
    except OSError:
        return ()
    text = body.decode("utf-8", "replace")
    return tuple(line.rsplit("\r", 1)[-1] for line in text.rstrip("\n").split("\n")[-LINES_MOST:] if line)

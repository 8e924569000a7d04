"""Log files and the progress that is read from them."""

from __future__ import annotations

from typing import Literal

from nightdesk.model.base import Noun


class Progress(Noun, frozen=True, kw_only=True):
    """How far a batch is, as read from what it prints."""

    done: float
    """Units finished. A printed ``[12/52] Processing x`` means that 11 are finished and the 12th runs."""
    total: float | None = None
    unit: str = "it"
    item: str | None = None
    """The unit in work, where the line names it."""
    rate_per_s: float | None = None
    """Units a second, from the line itself (tqdm) or from the times at which lines came."""
    eta_ns: int | None = None
    """Time left, as a length. Absent while no rate is known."""
    eta_low_ns: int | None = None
    """Between this and :attr:`eta_high_ns` lies the time left in about four of five cases."""
    eta_high_ns: int | None = None
    note: str | None = None
    """Why less is done than was told before."""
    at_ns: int
    """When the newest progress line came."""
    source: str
    """What this was read from: ``counter``, ``tqdm``, ``percent``, ``position``, ``pattern``, ``state`` …"""

    def done_of_whole(self, ended_well: bool) -> float:
        """Units finished; after a good end also the one that the last counter line had only begun."""
        begun_last = self.source == "counter" and self.total is not None and self.done == self.total - 1
        return self.done + 1 if ended_well and begun_last else self.done


class LogFile(Noun, frozen=True, kw_only=True):
    """A log file that the engine follows."""

    id: str
    """Stable for the path: the first 12 hex digits of its SHA-256."""
    path: str
    name: str
    origin: Literal["watch", "run"]
    run: str | None = None
    size_bytes: int
    modified_ns: int
    started_ns: int | None = None
    state: Literal["live", "gone", "failed"] = "live"
    message: str | None = None
    """Why it can't be read, and what to do."""
    generation: int = 0
    """Grows when the file was truncated or replaced: offsets of an older generation mean nothing."""
    progress: Progress | None = None
    last_line: str = ""
    errors: int = 0
    """Lines that look like errors (level word or ``Traceback``) seen while following."""


class LogWindow(Noun, frozen=True, kw_only=True):
    """Some whole lines of a log file. ``text`` is as in the file, undecodable bytes replaced."""

    id: str
    generation: int
    start: int
    """Byte offset of the first line."""
    end: int
    """Byte offset behind the last line."""
    size_bytes: int
    unfinished: int | None = None
    """Byte offset of the last line where it has no end yet: ask again from there."""
    first_line: int | None = None
    """Number, from 1, of the first line. Absent until the lines before it are counted."""
    lines: tuple[str, ...]
    """Without line ends. A line above the limit is cut and says how many bytes are hidden."""
    starts: tuple[int, ...] = ()
    """Where each line begins, in bytes from ``start``."""
    files: tuple[int, ...] = ()
    """In a view of several logs: the place of each line's file in :attr:`LogView.files`."""
    origins: tuple[int, ...] = ()
    """In a view of several logs: where each line begins in its file."""


class LogViewFile(Noun, frozen=True, kw_only=True):
    """A file of which lines stand in a view."""

    id: str
    name: str
    path: str
    run: str | None = None


class LogView(Noun, frozen=True, kw_only=True):
    """Several logs in one: merged by time, only the wanted lines. Its ``id`` is asked for windows as that of a file."""

    id: str
    query: str
    files: tuple[LogViewFile, ...]
    """Rotated files stand before the one they come from."""
    size_bytes: int
    since_ns: int | None = None
    """What is older was left out; None where all was read."""
    reached_ns: int | None = None
    """When the last line was written that was looked at."""
    complete: bool = False
    """All that there was when it was last asked for is in it."""
    full: bool = False
    """It holds as much as a view can; what follows is left out."""


class LogIndex(Noun, frozen=True, kw_only=True):
    """How many lines a log file has."""

    id: str
    generation: int
    lines: int
    """Lines counted so far, an unfinished last one among them."""
    complete: bool
    """All of the file is counted."""
    indexed_bytes: int
    size_bytes: int


class LogSearch(Noun, frozen=True, kw_only=True):
    """A search through a log file, as far as it has come. Places are byte offsets of the lines' beginnings."""

    text: str
    regex: bool = False
    count: int
    """Lines found so far."""
    scanned_bytes: int
    size_bytes: int
    complete: bool
    place: int | None = None
    """Which of the found lines the asked one is, from 1."""
    before: int | None = None
    """The nearest found line before the asked one."""
    after: int | None = None
    """The nearest found line behind the asked one."""
    fault: str | None = None
    """Why the search ended early."""


class LogErrorGroup(Noun, frozen=True, kw_only=True):
    """Errors of a log that are alike."""

    times: int
    cause: str
    where: str = ""
    """``file:line in name`` of the innermost frame of the user's own code."""
    first: int
    """Byte offset of the first one."""
    last: int
    first_ns: int | None = None
    last_ns: int | None = None
    lines: int = 1
    """Lines of the first one: a traceback has many."""


class LogErrors(Noun, frozen=True, kw_only=True):
    """The errors of a log file, as far as it was looked through; the group that began first at the front."""

    id: str
    generation: int
    groups: tuple[LogErrorGroup, ...]
    scanned_bytes: int
    size_bytes: int
    complete: bool


class LogBin(Noun, frozen=True, kw_only=True):
    """How many lines of each level a stretch of a log file holds."""

    start: int
    """Byte offset of the first line that was looked at."""
    at_ns: int | None = None
    """When the first line with a time was written."""
    errors: int = 0
    warnings: int = 0
    others: int = 0


class LogItem(Noun, frozen=True, kw_only=True):
    """An item of a batch that ended, as the lines of its log count them."""

    number: int
    """From 1."""
    name: str | None = None
    start: int
    """Byte offset of the line that told of it first."""
    started_ns: int
    took_ns: int


class LogItems(Noun, frozen=True, kw_only=True):
    """How long the items took that a log tells of, in their order."""

    id: str
    generation: int
    items: tuple[LogItem, ...]
    """The newest thousands."""
    left_out: int = 0
    """Older ones."""
    scanned_bytes: int
    size_bytes: int
    complete: bool


class LogLevels(Noun, frozen=True, kw_only=True):
    """The levels of a log file from its beginning to its end, in stretches of equal length."""

    id: str
    generation: int
    bins: tuple[LogBin, ...]
    size_bytes: int
    sampled: bool = False
    """Only a part of each stretch was read: the counts are those of the part."""

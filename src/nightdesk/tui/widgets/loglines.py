"""The tail of a log file: level signs at the left, follows the end, asks for older and newer lines at its ends."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, ClassVar, Literal, TypeAlias

from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message

from nightdesk.tui.glyphs import UNICODE, Glyphs
from nightdesk.tui.text import Tone
from nightdesk.tui.widgets.lines import LineView, Pieces, wrap

if TYPE_CHECKING:
    from nightdesk.core.logs.levels import Level
    from nightdesk.core.logs.tracebacks import Fold

Place: TypeAlias = Literal["beginning", "top", "middle", "end"]

_DYE = re.compile("\x1b\\[[0-9;:]*[mK]")
"""Colours and "clear the rest of the line": left out. Any other control stays visible as a replacement sign."""
_STAMP = (
    r"\[?(?:time=)?\"?\d{4}[-/]\d\d[-/]\d\d(?:[ T]| - )\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?\"?\]?\s?"
    r"|\[?\d\d:\d\d:\d\d(?:[.,]\d+)?\]?\s"
)
TONES: dict[Level, Tone] = {"error": "bad", "warning": "warn", "debug": "faint", "info": "", "": ""}
LEAST: tuple[Level, ...] = ("", "warning", "error")
"""What can be chosen as the least level that is shown."""
BEGIN = "Traceback (most recent call last):"
WRAPPED_MOST = 2_000
"""Characters of a line that are wrapped; the rest is cut."""


def undyed(line: str) -> str:
    """The line without colour codes."""
    return _DYE.sub("", line) if "\x1b" in line else line


def log_pieces(line: str, glyphs: Glyphs, marked: bool = False) -> Pieces:
    """Sign, time and text of a line; of a JSON line its message and fields. A bookmark stands before the sign."""
    from nightdesk.core.logs.formats import level_of, read_log_line

    text = undyed(line)
    flag = glyphs.picked if marked else ""
    if text.startswith("{"):
        read = read_log_line(text)
        sign = flag or _sign(read.level, glyphs)
        clock = f"{datetime.fromtimestamp(read.at_ns / 1e9):%H:%M:%S} " if read.at_ns is not None else ""
        return (f"{sign} ", TONES[read.level]), (clock, "muted"), (read.text, TONES[read.level])
    level = level_of(text)
    sign, tone = flag or _sign(level, glyphs), TONES[level]
    stamp = re.match(_STAMP, text)
    if stamp is None:
        return (f"{sign} ", tone), (text, tone)
    return (f"{sign} ", tone), (stamp.group(), "muted"), (text[stamp.end() :], tone)


def _sign(level: Level, glyphs: Glyphs) -> str:
    return {"error": glyphs.fail, "warning": glyphs.warn}.get(level, " ")


def is_shown(line: str, least: Level) -> bool:
    """Whether a line matters enough."""
    from nightdesk.core.logs.formats import level_of

    level = level_of(undyed(line)) if least else ""
    return not least or level == "error" or (least == "warning" and level == "warning")


def folds_of(lines: Sequence[str]) -> tuple[Fold, ...]:
    """The tracebacks among lines."""
    if not any(BEGIN in text for text in lines):
        return ()
    from nightdesk.core.logs.tracebacks import tracebacks_of  # not before there is one

    return tuple(tracebacks_of(lines))


class LogLines(LineView):
    """Lines of a log. While ``following`` it stays at the end; scrolling up lets go, the end takes hold again."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "find(1)", "Next match", show=False, id="loglines.next"),
        Binding("N", "find(-1)", "Previous match", show=False, id="loglines.before"),
        Binding("f", "fold", "Fold", show=False, id="loglines.fold", tooltip="Tracebacks in one line each, or whole"),
        Binding("enter", "unfold", "Unfold", show=False, id="loglines.unfold",
                tooltip="The first folded traceback on the screen"),
    ]  # fmt: skip

    @dataclass
    class Moved(Message):
        """The user moved, or wants to move, to a place: an end of the loaded lines, or the file's beginning."""

        lines: LogLines
        place: Place

    @dataclass
    class Find(Message):
        """The user wants the next line that holds the needle, in a direction."""

        step: int

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's name for it
        super().__init__(id=id)
        self.lines: Sequence[str] = ()
        self.following = True
        self.marked: Set[int] = frozenset()
        """Indexes of lines with a bookmark."""
        self.tags: Sequence[str] = ()
        """In front of each line: of which file it is. Empty where all are of one."""
        self.folding = True
        self._folds: dict[int, Fold] = {}
        """Tracebacks that stand in one line, by their first line."""
        self._unfolded: set[int] = set()
        self.wrapping = False
        self.least: Level = ""
        self._found: int | None = None
        self._width = 2
        """Cells for which the rows were laid out."""
        self._rows: list[tuple[int, int]] | None = None
        """(line, part of it) of each row, where rows are not lines: wrapped, or with lines left out."""

    @property
    def glyphs(self) -> Glyphs:
        """The table of signs in use."""
        return getattr(self.app, "glyphs", UNICODE)

    @property
    def count(self) -> int:
        """Rows."""
        return len(self.lines) if self._rows is None else len(self._rows)

    @property
    def current(self) -> int:
        """The line that keys are about: the one found last while it is on the screen, else the topmost."""
        top = self.line_at(self.scroll_offset.y)
        bottom = self.line_at(self.scroll_offset.y + max(self.size.height, 1) - 1)
        return self._found if self._found is not None and top <= self._found <= bottom else top

    def line_at(self, row: int) -> int:
        """The line in a row; the last one where there are fewer rows."""
        if self._rows is None:
            return max(0, min(row, len(self.lines) - 1))
        return self._rows[max(0, min(row, len(self._rows) - 1))][0] if self._rows else 0

    def row_of(self, index: int) -> int:
        """The row in which a line begins, or that of the next line shown."""
        return index if self._rows is None else bisect_left(self._rows, (index, 0))

    def pieces(self, index: int) -> Pieces:
        """One row."""
        at, part = (index, 0) if self._rows is None else self._rows[index]
        whole = self._whole(at)
        return self._wrapped(whole)[part] if self.wrapping else whole

    def _whole(self, at: int) -> Pieces:
        """A line, or the traceback that is folded to it."""
        fold = self._folds.get(at)
        pieces = log_pieces(self.lines[at], self.glyphs, at in self.marked)
        if fold is not None:
            sign = self.glyphs.picked if at in self.marked else self.glyphs.folded
            more = f"  {fold.stop - fold.start} lines" + (f", {fold.where}" if fold.where else "")
            pieces = ((f"{sign} ", "bad"), (fold.cause, "bad"), (more, "muted"))
        return ((f"{self.tags[at]} ", "accent"), *pieces) if at < len(self.tags) else pieces

    def _wrapped(self, pieces: Pieces) -> list[Pieces]:
        return wrap(tuple((text[:WRAPPED_MOST], tone) for text, tone in pieces), self._width)

    def _lay_out(self) -> None:
        folds = folds_of(self.lines) if self.folding else ()
        self._folds = {fold.start: fold for fold in folds if fold.start not in self._unfolded}
        if not self.wrapping and not self.least and not self._folds:
            self._rows = None
            return
        hidden = {at for fold in self._folds.values() for at in range(fold.start + 1, fold.stop)}
        shown = [
            at
            for at, text in enumerate(self.lines)
            if at not in hidden and (at in self._folds or is_shown(text, self.least))
        ]
        if not self.wrapping:
            self._rows = [(at, 0) for at in shown]
            return
        width = self._width = max(self.size.width, 2)
        self._rows = []
        for at in shown:
            short = len(self.lines[at]) < width // 2 - 2 and at not in self._folds and not self.tags
            parts = 1 if short else len(self._wrapped(self._whole(at)))
            self._rows += [(at, part) for part in range(parts)]

    def choose_looks(self, *, wrapping: bool, least: Level) -> None:
        """Wrap lines or not, leave out lines that matter less than ``least``; the place stays."""
        top = self.current
        self.wrapping, self.least = wrapping, least
        self.column = 0
        self._lay_out()
        self.show_count()
        self.call_after_refresh(self._to_row, self.row_of(top))

    def action_fold(self) -> None:
        """All tracebacks in one line each, or whole."""
        self.folding = not self.folding
        self._unfolded.clear()
        self.choose_looks(wrapping=self.wrapping, least=self.least)

    def action_unfold(self) -> None:
        """Show the first folded traceback on the screen whole."""
        top = self.scroll_offset.y
        for row in range(top, min(top + max(self.size.height, 1), self.count)):
            if self.unfold(self.line_at(row)):
                return

    def unfold(self, index: int) -> bool:
        """Show a traceback whole by one of its lines; whether it was folded."""
        if not self._open_fold(index):
            return False
        self.following = False
        self.choose_looks(wrapping=self.wrapping, least=self.least)
        return True

    def fold_again(self) -> None:
        """Other lines will be shown: what was unfolded among the old ones does not count."""
        self._unfolded.clear()

    def _open_fold(self, index: int) -> bool:
        start = next((at for at, fold in self._folds.items() if at <= index < fold.stop), None)
        if start is not None:
            self._unfolded.add(start)
        return start is not None

    def on_click(self, event: events.Click) -> None:
        """A click on a folded traceback shows it whole."""
        self.unfold(self.line_at(self.scroll_offset.y + event.y))

    def _to_row(self, row: int) -> None:
        self.scroll_to(
            y=self.max_scroll_y if self.following else row, animate=False, immediate=True, force=True
        )

    def show(self, lines: Sequence[str], shift: int = 0) -> None:
        """Show ``lines``; ``shift`` of them are new above the ones shown before (negative: gone)."""
        top, rest = self.line_at(self.scroll_offset.y), self.scroll_offset.y
        rest -= self.row_of(top)
        self.lines = lines
        if self._found is not None:
            self._found += shift
        if shift or not lines:
            self._unfolded = {at + shift for at in self._unfolded if at + shift >= 0} if lines else set()
        self._lay_out()
        self.show_count()
        if self.following:
            self.scroll_to(y=self.max_scroll_y, animate=False, immediate=True, force=True)
        elif shift:
            row = self.row_of(max(0, top + shift)) + rest
            self.scroll_to(y=max(0, row), animate=False, immediate=True, force=True)

    def point_at(self, index: int) -> None:
        """Bring a line into the middle; it is the one that was found."""
        self.following = False
        self._found = index
        if any(at < index < fold.stop for at, fold in self._folds.items()) and self._open_fold(index):
            self._lay_out()
            self.show_count()
        row = max(0, self.row_of(index) - self.size.height // 2)
        self.scroll_to(y=row, animate=False, immediate=True, force=True)
        self.refresh()

    def on_resize(self) -> None:
        """The end is elsewhere, and wrapped lines have other rows."""
        if self.wrapping:
            self._lay_out()
            self.show_count()
        if self.following:
            self.scroll_to(y=self.max_scroll_y, animate=False, immediate=True, force=True)

    # Moving

    def watch_scroll_y(self, old: float, new: float) -> None:
        """Whoever leaves the end is let go; tell where we are."""
        super().watch_scroll_y(old, new)
        if round(old) == round(new):
            return
        if self.following and not self.at_end:
            self.following = False
        if not self.following:
            self._tell("end" if self.at_end else "top" if round(new) <= 0 else "middle")

    def _tell(self, place: Place) -> None:
        self.post_message(self.Moved(self, place))

    def _want(self, by: float) -> None:
        """A move that the loaded lines have no room for asks for more of them."""
        if by < 0 and self.scroll_offset.y <= 0:
            self.following = False
            self._tell("top")
        elif by > 0 and self.at_end and not self.following:
            self._tell("end")

    def action_line(self, by: int) -> None:
        """Up or down by lines."""
        self._want(by)
        super().action_line(by)

    def action_page(self, pages: float) -> None:
        """Up or down by pages."""
        self._want(pages)
        super().action_page(pages)

    def action_to_top(self) -> None:
        """To the beginning of the file."""
        self.following = False
        self._found = None
        self._tell("beginning")
        super().action_to_top()

    def action_to_end(self) -> None:
        """Follow the end again."""
        self.following = True
        self._found = None
        super().action_to_end()
        self._tell("end")

    # Finding

    def action_find(self, step: int) -> None:
        """To the next line that holds the needle."""
        self.post_message(self.Find(step))

    def find(self, step: int) -> int | None:
        """The next loaded line that holds the needle, as a row of the screen would come to it."""
        needle = self.needle.casefold()
        bottom = min(self.count, self.scroll_offset.y + self.size.height) - 1
        if self._found is not None:
            start = self._found
        elif step < 0:
            start = self.line_at(bottom) + 1
        else:
            start = self.line_at(self.scroll_offset.y) - 1
        last = len(self.lines)
        around = range(start + 1, last) if step > 0 else range(min(start, last) - 1, -1, -1)
        return next(
            (
                at
                for at in around
                if needle in self.lines[at].casefold() and is_shown(self.lines[at], self.least)
            ),
            None,
        )

    @property
    def from_line(self) -> int | None:
        """The line that was found last."""
        return self._found

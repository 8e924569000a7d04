"""The tail of a log file: level signs at the left, follows the end, asks for older and newer lines at its ends."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

from textual.binding import Binding, BindingType
from textual.message import Message

from nightdesk.tui.glyphs import UNICODE, Glyphs
from nightdesk.tui.text import Tone
from nightdesk.tui.widgets.lines import LineView, Pieces

Level: TypeAlias = Literal["error", "warning", "debug", ""]
Place: TypeAlias = Literal["beginning", "top", "middle", "end"]

_DYE = re.compile("\x1b\\[[0-9;:]*[mK]")
"""Colours and "clear the rest of the line": left out. Any other control stays visible as a replacement sign."""
_LEVEL = re.compile(
    r"(?P<error>\b(?:ERROR|CRITICAL|FATAL|PANIC|SEVERE)\b|^Traceback \(most recent|^\s*[\w.]*(?:Error|Exception): "
    r"|level=(?:error|fatal)|^E\d{4} )"
    r"|(?P<warning>\b(?:WARN|WARNING)\b|\w*Warning: |level=warn|^W\d{4} )"
    r"|(?P<debug>\b(?:DEBUG|TRACE)\b|level=debug)"
)
_STAMP = re.compile(
    r"\[?(?:time=)?\"?\d{4}[-/]\d\d[-/]\d\d[ T]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?\"?\]?\s?"
    r"|\[?\d\d:\d\d:\d\d(?:[.,]\d+)?\]?\s"
)
LOOKED_AT = 300
"""Characters of a line in which a level is looked for."""
TONES: dict[Level, Tone] = {"error": "bad", "warning": "warn", "debug": "faint", "": ""}


def undyed(line: str) -> str:
    """The line without colour codes."""
    return _DYE.sub("", line) if "\x1b" in line else line


def level_of(line: str) -> Level:
    """What a line says of its weight: the first level word, exception or key near its beginning."""
    found = _LEVEL.search(line[:LOOKED_AT])
    match found.lastgroup if found else None:
        case "error":
            return "error"
        case "warning":
            return "warning"
        case "debug":
            return "debug"
        case _:
            return ""


def log_pieces(line: str, glyphs: Glyphs) -> Pieces:
    """Sign, time and text of a line."""
    text = undyed(line)
    level = level_of(text)
    sign = {"error": glyphs.fail, "warning": glyphs.warn}.get(level, " ")
    tone = TONES[level]
    stamp = _STAMP.match(text)
    if stamp is None:
        return (f"{sign} ", tone), (text, tone)
    return (f"{sign} ", tone), (stamp.group(), "muted"), (text[stamp.end() :], tone)


class LogLines(LineView):
    """Lines of a log. While ``following`` it stays at the end; scrolling up lets go, the end takes hold again."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "find(1)", "Next match", show=False, id="loglines.next"),
        Binding("N", "find(-1)", "Match before", show=False, id="loglines.before"),
    ]

    @dataclass
    class Moved(Message):
        """The user moved, or wants to move, to a place: an end of the loaded lines, or the file's beginning."""

        lines: LogLines
        place: Place

    @dataclass
    class NotFound(Message):
        """No loaded line in that direction holds the needle."""

        step: int

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's name for it
        super().__init__(id=id)
        self.lines: Sequence[str] = ()
        self.following = True
        self._found: int | None = None

    @property
    def glyphs(self) -> Glyphs:
        """The table of signs in use."""
        return getattr(self.app, "glyphs", UNICODE)

    @property
    def count(self) -> int:
        """Loaded lines."""
        return len(self.lines)

    def pieces(self, index: int) -> Pieces:
        """One line."""
        return log_pieces(self.lines[index], self.glyphs)

    def show(self, lines: Sequence[str], shift: int = 0) -> None:
        """Show ``lines``; ``shift`` of them are new above the ones shown before (negative: gone)."""
        self.lines = lines
        if self._found is not None:
            self._found += shift
        self.show_count()
        if self.following:
            self.scroll_to(y=self.max_scroll_y, animate=False, immediate=True, force=True)
        elif shift:
            self.scroll_to(y=max(0, self.scroll_offset.y + shift), animate=False, immediate=True, force=True)

    def on_resize(self) -> None:
        """The end is elsewhere."""
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
        if not self.needle:
            return
        index = self._next(step)
        if index is None:
            self.post_message(self.NotFound(step))
            return
        self._found = index
        self.scroll_to(y=max(0, index - self.size.height // 2), animate=False)

    def _next(self, step: int) -> int | None:
        needle = self.needle.casefold()
        bottom = min(self.count, self.scroll_offset.y + self.size.height)
        start = self._found if self._found is not None else (bottom if step < 0 else self.scroll_offset.y - 1)
        around = range(start + 1, self.count) if step > 0 else range(min(start, self.count) - 1, -1, -1)
        return next((at for at in around if needle in self.lines[at].casefold()), None)

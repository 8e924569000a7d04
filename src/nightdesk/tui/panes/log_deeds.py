"""What the keys of the logs pane do besides moving: find, go to, mark, filter by level, copy, open elsewhere."""

from __future__ import annotations

from abc import abstractmethod
from bisect import bisect_right
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from textual import on
from textual.binding import Binding, BindingType
from textual.widgets import Static

from nightdesk.model.errors import NightdeskError
from nightdesk.model.logs import LogFile, LogLevels, LogSearch, LogViewFile, LogWindow
from nightdesk.model.units import NS
from nightdesk.tui.asks import Ask
from nightdesk.tui.link import Engine
from nightdesk.tui.panes.log_buffer import LogBuffer, Request
from nightdesk.tui.panes.pane import Pane, View
from nightdesk.tui.text import Cell, Part, line
from nightdesk.tui.widgets.loglines import LEAST, LogLines, undyed

if TYPE_CHECKING:
    from nightdesk.tui.panes.log_scope import Scope
    from nightdesk.tui.screens.log_places import Found

PATTERN = "~"
"""In front of a needle: it is a pattern."""
AGAIN_SECONDS = 0.2
"""After so long a search that goes on is asked again."""
LEVELS_EVERY_NS = 5 * NS


class LogDeeds(Pane[View]):
    """A pane with the lines of one file, and actions on them."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("colon", "go_to", "go to", key_display=":", id="logs.go_to", tooltip="A line, time or percentage"),
        Binding("X", "errors", "errors", id="logs.errors", tooltip="The errors of this file, alike ones together"),
        Binding("d", "durations", "Items", show=False, id="logs.durations",
                tooltip="How long each item took, with a chart"),
        Binding("l", "level", "level", id="logs.level", tooltip="All lines, warnings and errors, errors only"),
        Binding("w", "wrap", "Wrap", show=False, id="logs.wrap", tooltip="Wrap long lines, or not"),
        Binding("h", "levels", "Levels", show=False, id="logs.levels", tooltip="Errors and warnings along the file"),
        Binding("a", "merge", "all logs", id="logs.merge", tooltip="All logs in one, merged by time; or one again"),
        Binding("ampersand", "only", "only", key_display="&", id="logs.only",
                tooltip="Only some lines: by job, item, level, time, words"),
        Binding("o", "own_file", "Own file", show=False, id="logs.own_file", tooltip="This line in its own file"),
        Binding("m", "mark", "Bookmark", show=False, id="logs.mark", tooltip="Set or remove a bookmark here"),
        Binding("apostrophe", "next_mark", "Next bookmark", show=False, key_display="'", id="logs.next_mark"),
        Binding("t", "traffic", "Traffic then", show=False, id="logs.traffic", tooltip="Exchanges of this moment"),
        Binding("s", "samples", "Samples then", show=False, id="logs.samples", tooltip="Accelerators at this moment"),
        Binding("i", "item", "Item then", show=False, id="logs.item", tooltip="The item in progress at this moment"),
        Binding("y", "copy", "Copy", show=False, id="logs.copy", tooltip="Copy the lines on the screen"),
        Binding("e", "outside('editor')", "Editor", show=False, id="logs.editor", tooltip="In $EDITOR at this line"),
        Binding("vertical_line", "outside('pager')", "Pager", show=False, key_display="|", id="logs.pager",
                tooltip="In $PAGER at this line"),
    ]  # fmt: skip

    def __init__(self) -> None:
        super().__init__()
        self.buffer: LogBuffer | None = None
        self._marks: dict[str, list[int]] = {}
        self._search: LogSearch | None = None
        self._counted: tuple[str, bool, int, int] | None = None
        self._seeking = 0
        """Grows with each search; answers to older ones are left alone."""
        self._sought = ""
        self._surveyed_ns = 0
        self.scope: Scope | None = None
        """The view of several logs on the screen; None: one file."""

    @property
    @abstractmethod
    def shown_file(self) -> LogFile | None:
        """*override*: the file on the screen."""

    @abstractmethod
    def ask_lines(self, request: Request | None) -> None:
        """*override*: ask for a window."""

    @property
    def log_lines(self) -> LogLines:
        """The lines on the screen."""
        return self.query_one(LogLines)

    def begin_file(self) -> None:
        """Another file: what was found in the one before does not count."""
        self._search, self._sought, self._counted, self._surveyed_ns = None, "", None, 0
        self._seeking += 1

    def remark(self) -> Part:
        """How many lines were found, how far a search is, which levels are shown."""
        parts = []
        if self._search is not None and self.filter_text:
            found, open_end = self._search, "" if self._search.complete else "+"
            place = f"{found.place:,} of " if found.place is not None else ""
            parts.append(f"{place}{found.count:,}{open_end} lines")
        if self._sought:
            parts.append(self._sought)
        least = self.log_lines.least
        if self.scope is not None and (told := self.scope.remark()):
            parts.append(told)
        if least:
            parts.append("errors only" if least == "error" else "warnings and errors")
        return Cell(f" {self.glyphs.dot} ".join(parts), "accent") if parts else ""

    def _question(
        self,
        call: Callable[[Engine, str], Awaitable[Any]],
        reply: Callable[[Any], None],
        *,
        about: int | None = None,
    ) -> None:
        """Ask about the shown file; an answer that comes when another file or search is on the screen is dropped."""
        file = self.shown_file
        if file is None:
            return
        name = file.id

        def answered(answer: Any) -> None:
            if not self.is_mounted or self.shown_file is None or self.shown_file.id != name:
                return
            if about is not None and about != self._seeking:
                return
            if isinstance(answer, NightdeskError):
                self._sought = ""
                self.notify(f"{answer.message} {answer.hint}".strip(), severity="warning", markup=False)
                self.show_remark()
            else:
                reply(answer)

        self.post_message(Ask(lambda engine: call(engine, name), answered))

    # Finding

    @property
    def _needle(self) -> tuple[str, bool]:
        text = self.filter_text
        return (text[1:], True) if text.startswith(PATTERN) else (text, False)

    def count_matches(self) -> None:
        """Have the lines counted that hold the needle, where needle, file or found line changed."""
        text, regex = self._needle
        if not text:
            self._search, self._counted = None, None
            return
        at = self._found_offset()
        wanted = (text, regex, at, self.buffer.size_bytes if self.buffer is not None else 0)
        if self._counted == wanted:
            return
        if self._search is not None and (self._search.text, self._search.regex) != (text, regex):
            self._search = None
        self._counted = wanted
        self._question(lambda engine, log: engine.log_search(log, text, regex=regex, at=at), self._take_count)

    def _take_count(self, answer: LogSearch) -> None:
        if (answer.text, answer.regex) == self._needle:
            self._search = answer
            self.show_remark()
            if not answer.complete:
                self._counted = None
                self.set_timer(AGAIN_SECONDS, self.count_matches)

    def _found_offset(self) -> int:
        found = self.log_lines.from_line
        held = self.buffer.offsets if self.buffer is not None else []
        return held[found] if found is not None and found < len(held) else -1

    @on(LogLines.Find)
    def _find(self, event: LogLines.Find) -> None:
        text, regex = self._needle
        if not text or self.buffer is None:
            return
        index = None if regex else self.log_lines.find(event.step)
        if index is not None:
            self.log_lines.point_at(index)
            self.count_matches()
            return
        self._seeking += 1
        self._search_on(event.step, self._begin_at(event.step, regex), self._seeking)

    def _begin_at(self, step: int, regex: bool) -> int:
        assert self.buffer is not None
        found = self._found_offset()
        if regex:
            here = self.buffer.offsets[self.log_lines.current] if self.buffer.offsets else 0
            return found if found >= 0 else here - (step > 0)
        return self.buffer.end - 1 if step > 0 else self.buffer.start

    def _search_on(self, step: int, at: int, serial: int) -> None:
        text, regex = self._needle
        self._question(
            lambda engine, log: engine.log_search(log, text, regex=regex, at=at),
            lambda answer: self._sought_answer(step, at, serial, answer),
            about=serial,
        )

    def _sought_answer(self, step: int, at: int, serial: int, answer: LogSearch) -> None:
        self._take_count(answer)
        known = answer.complete or (answer.after is not None if step > 0 else answer.scanned_bytes >= at)
        hit = (answer.after if step > 0 else answer.before) if known else None
        self._sought = (
            "" if known else f"searching, {answer.scanned_bytes * 100 // max(answer.size_bytes, 1)} %"
        )
        if answer.fault is not None:
            self.notify(f"The search ended early: {answer.fault}.", severity="warning", markup=False)
        elif hit is not None:
            self.go_to_offset(hit)
            self.count_matches()
        elif known:
            self.notify(f"No more matches {'above' if step < 0 else 'below'}.", markup=False)
        else:
            self._search_on(step, at, serial)
        self.show_remark()

    # Going

    def go_to_offset(self, offset: int) -> None:
        """Bring the line that begins there into the middle."""
        if self.buffer is None:
            return
        index = self.buffer.index_of(offset)
        if index is not None:
            self.log_lines.point_at(index)
        else:
            self.log_lines.following = False
            self.ask_lines(self.buffer.jump(offset))

    def land(self, window: LogWindow) -> None:
        """Show this window alone, its first line marked as found; what lies before it is asked for."""
        assert self.buffer is not None
        self.buffer.take_alone(window)
        lines = self.log_lines
        lines.following = False
        self.show_marks()
        lines.fold_again()
        lines.show(self.buffer.lines)
        lines.point_at(0)
        self.ask_lines(self.buffer.older())
        self.redraw()

    def action_go_to(self) -> None:
        """Ask where to go."""
        from nightdesk.tui.screens.log_places import GoToScreen

        self.app.push_screen(GoToScreen(), self._go_to)

    def _go_to(self, text: str | None) -> None:
        from nightdesk.core.moments import read_moment

        file = self.shown_file
        if not text or file is None:
            return
        digits = text.replace(",", "").replace("_", "")
        moment = read_moment(text)
        if digits.isdecimal():
            number = max(int(digits), 1)
            self._question(lambda engine, log: engine.log_line(log, number), self.land)
        elif text.endswith("%") and text[:-1].strip().replace(".", "", 1).isdecimal():
            share = min(float(text[:-1]), 100.0) / 100
            at = int(file.size_bytes * share)
            self._question(lambda engine, log: engine.log_window(log, start=at), self.land)
        elif moment is not None:
            self.go_to_moment(moment.at_ns(self.now_ns))
        else:
            self.notify("A line (1234), a time (03:12, 2h, 2026-11-21T03:12) or a share (40%).", markup=False)

    def go_to_moment(self, at_ns: int) -> None:
        """To the first line that was written then or later."""
        self._question(lambda engine, log: engine.log_moment(log, at_ns), self.land)

    def action_errors(self) -> None:
        """List the errors of the file."""
        from nightdesk.tui.screens.log_places import LogErrorsScreen, reaches

        if (file := self.shown_file) is not None:
            query = self.scope.query if self.scope is not None else None
            self.app.push_screen(LogErrorsScreen(reaches(file, query)), self._error_chosen)

    def action_durations(self) -> None:
        """How long the items took of which the file tells."""
        from nightdesk.tui.screens.log_items import LogItemsScreen

        if (file := self.shown_file) is not None:
            self.app.push_screen(LogItemsScreen(file.id, file.name, file.run), self._item_chosen)

    def _error_chosen(self, found: Found | None) -> None:
        if found is None:
            return
        if found.query is None or (self.scope is not None and self.scope.query == found.query):
            self.go_to_offset(found.at)
        else:
            self.show_scope(found.query, found.at)

    def _item_chosen(self, offset: int | None) -> None:
        if offset is not None:
            self.go_to_offset(offset)

    # Several logs in one

    def show_scope(self, query: str | None, offset: int | None = None) -> None:
        """A view of the logs that ``query`` asks for, there the line at ``offset``; None: one file again."""
        from nightdesk.tui.panes.log_scope import Scope

        self.scope = Scope(self, query, offset=offset) if query is not None else None
        if self.scope is not None:
            self.scope.ask()
        self.redraw()
        self.show_remark()

    def action_merge(self) -> None:
        """All logs in one, or one again."""
        self.show_scope("" if self.scope is None else None)

    def action_only(self) -> None:
        """Ask for which lines."""
        from nightdesk.tui.panes.log_moments import in_words
        from nightdesk.tui.panes.log_scope import OnlyScreen

        file = self.shown_file
        one = f"file:{in_words(file)} " if file is not None else ""
        self.app.push_screen(OnlyScreen(self.scope.query if self.scope else one), self._show_only)

    def _show_only(self, query: str | None) -> None:
        if query is not None:
            self.show_scope(query)

    def origin(self) -> tuple[LogViewFile, int] | None:
        """The file of the current line, and where the line begins in it; None where one file is shown."""
        buffer, at = self.buffer, self.log_lines.current
        if self.scope is None or buffer is None or at >= len(buffer.files):
            return None
        file = self.scope.file_at(buffer.files[at])
        return None if file is None else (file, buffer.origins[at])

    def action_own_file(self) -> None:
        """Show the line among its neighbours in its own file."""
        found = self.origin()
        if found is None:
            self.notify("This is its own file already.", markup=False)
            return
        file, offset = found
        if self.desk is None or file.id not in self.desk.logs:
            self.notify(f"{file.name} is not followed: the line stands at byte {offset:,}.", markup=False)
            return
        self.show_scope(None)
        self.show_log(file.id)
        self.call_after_refresh(self.go_to_offset, offset)

    @abstractmethod
    def show_log(self, log: str, at_ns: int | None = None) -> None:
        """*override*: show another file; without an id all logs around a moment."""

    # Bookmarks

    def show_marks(self) -> None:
        """The lines held that have a bookmark; in a view of several logs, of which file each line is."""
        buffer = self.buffer
        scope = self.scope
        self.log_lines.tags = scope.tags(buffer.files) if scope is not None and buffer is not None else ()
        marks = self._marks.get(buffer.log, []) if buffer is not None else []
        found = {buffer.index_of(offset) for offset in marks} if buffer is not None else set()
        self.log_lines.marked = frozenset(index for index in found if index is not None)

    def _here(self) -> int | None:
        buffer = self.buffer
        return buffer.offsets[self.log_lines.current] if buffer is not None and buffer.offsets else None

    def action_mark(self) -> None:
        """A bookmark at the line that was found, or at the topmost; there already: take it away."""
        here = self._here()
        if here is None or self.buffer is None:
            return
        marks = self._marks.setdefault(self.buffer.log, [])
        if here in marks:
            marks.remove(here)
        else:
            marks.insert(bisect_right(marks, here), here)
        self.show_marks()
        self.log_lines.refresh()

    def action_next_mark(self) -> None:
        """To the next bookmark; behind the last one to the first."""
        here = self._here()
        marks = self._marks.get(self.buffer.log, []) if self.buffer is not None else []
        if not marks or here is None:
            self.notify("No bookmark in this file: m puts one.", markup=False)
            return
        self.go_to_offset(marks[bisect_right(marks, here) % len(marks)])

    # Looks

    def action_wrap(self) -> None:
        """Wrap long lines, or cut them again."""
        lines = self.log_lines
        lines.choose_looks(wrapping=not lines.wrapping, least=lines.least)

    def action_level(self) -> None:
        """The next choice of levels."""
        lines = self.log_lines
        least = LEAST[(LEAST.index(lines.least) + 1) % len(LEAST)]
        lines.choose_looks(wrapping=lines.wrapping, least=least)
        self.fill()
        self.show_remark()

    def fill(self) -> None:
        """Look further back while the lines that matter do not fill the screen."""
        lines, buffer = self.log_lines, self.buffer
        if lines.least and buffer is not None and lines.count < lines.size.height and buffer.may_hold_more:
            self.ask_lines(buffer.older())

    def action_levels(self) -> None:
        """Show or hide errors and warnings along the file."""
        bar = self.query_one("#log-levels", Static)
        bar.toggle_class("-open")
        self._surveyed_ns = 0
        self.survey(self.now_ns)

    def survey(self, now_ns: int) -> None:
        """Have the levels counted, where they are shown."""
        open_ = self.query_one("#log-levels", Static).has_class("-open")
        if open_ and now_ns - self._surveyed_ns >= LEVELS_EVERY_NS:
            self._surveyed_ns = now_ns
            self._question(lambda engine, log: engine.log_levels(log), self._show_levels)

    def _show_levels(self, answer: LogLevels) -> None:
        from nightdesk.tui.panes.log_levels import levels_line

        bar = self.query_one("#log-levels", Static)
        bar.update(line(*levels_line(answer, max(bar.size.width, 20), self.glyphs)))

    # Elsewhere

    def action_traffic(self) -> None:
        """The exchanges of the half minute before and behind the line."""
        from nightdesk.tui.panes.log_moments import show_traffic

        show_traffic(self)

    def action_samples(self) -> None:
        """What the accelerators did at the moment of the line."""
        from nightdesk.tui.panes.log_moments import show_samples

        show_samples(self)

    def action_item(self) -> None:
        """The item that was in work when the line was written."""
        from nightdesk.tui.panes.log_moments import show_item

        show_item(self)

    def action_copy(self) -> None:
        """Copy the lines on the screen."""
        from nightdesk.tui.log_outside import copy_text

        lines = self.log_lines
        rows = range(lines.scroll_offset.y, min(lines.scroll_offset.y + lines.size.height, lines.count))
        shown = dict.fromkeys(lines.line_at(row) for row in rows)
        text = "\n".join(undyed(lines.lines[index]) for index in shown)
        if text:
            self.run_worker(copy_text(self.app, f"{len(shown)} lines", text), exit_on_error=False)

    def action_outside(self, kind: Literal["editor", "pager"]) -> None:
        """The file itself in the editor or the pager, at this line."""
        from nightdesk.tui.log_outside import open_at

        file, buffer = self.shown_file, self.buffer
        if file is None or buffer is None:
            return
        if (found := self.origin()) is None:
            open_at(self.app, kind, file.path, buffer.number(self.log_lines.current))
            return
        own, offset = found

        def answered(answer: Any) -> None:
            number = answer.first_line if isinstance(answer, LogWindow) else None
            open_at(self.app, kind, own.path, number)

        self.post_message(Ask(lambda engine: engine.log_window(own.id, start=offset, max_bytes=1), answered))

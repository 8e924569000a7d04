"""Pane 5: the followed log files, one at a time: which one, how far it is, its newest lines.

Selected from logs; lines come in windows from the engine. Empty while no file matches ``[watch] logs``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from rich.cells import cell_len
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import Static

from nightdesk.client.mirror import Mirror
from nightdesk.core.foreign import safe_line
from nightdesk.model.errors import NightdeskError
from nightdesk.model.job import ENDED
from nightdesk.model.logs import LogFile, LogWindow, Progress
from nightdesk.model.units import NS, format_bytes, format_duration
from nightdesk.tui.asks import Ask
from nightdesk.tui.glyphs import Glyphs
from nightdesk.tui.panes.log_buffer import LogBuffer, Request
from nightdesk.tui.panes.log_deeds import PATTERN, LogDeeds
from nightdesk.tui.panes.pane import LIVE, Heading, Look
from nightdesk.tui.text import Cell, Part, Tone, line
from nightdesk.tui.widgets.loglines import LogLines
from nightdesk.tui.widgets.meter import format_rate, is_percent, progress_bar

QUIET_NS = 60 * NS
MORE = 8
"""Cells for how many names are left out at both ends."""


@dataclass(frozen=True, slots=True)
class LogsView:
    """What the pane shows. ``names``: (id, name, errors) of the followed files, newest first."""

    names: tuple[tuple[str, str, int], ...]
    file: LogFile | None
    age_ns: int = 0
    left_ns: int | None = None
    """Time left by the file's progress, as of now."""
    needle: str = ""


def select(
    desk: Mirror, now_ns: int, chosen: str | None, shown: str | None = None, needle: str = ""
) -> LogsView:
    """All files, those written in the newest minutes first, and the one that is ``chosen``.

    Where none is chosen: see :func:`foremost`.
    """
    files = sorted(desk.logs.values(), key=lambda file: (-(file.modified_ns // QUIET_NS), file.name))
    if not files:
        return LogsView((), None)
    busy = frozenset(run.id for run in desk.runs.values() if run.state not in ENDED)
    file = desk.logs.get(chosen or "") or foremost(files, desk.logs.get(shown or ""), busy)
    left = None
    if file.progress is not None and file.progress.eta_ns is not None and _goes_on(file, now_ns, busy):
        left = max(0, file.progress.eta_ns - max(0, now_ns - file.progress.at_ns)) // NS * NS
    names = tuple((each.id, each.name, each.errors) for each in files)
    return LogsView(names, file, max(0, now_ns - file.modified_ns) // NS * NS, left, needle)


def _goes_on(file: LogFile, now_ns: int, busy: frozenset[str]) -> bool:
    """Whether a time left means anything: the run is not over, or the file of another was written lately."""
    if file.run is not None:
        return file.run in busy
    late = file.progress is not None and now_ns - file.progress.at_ns > (file.progress.eta_ns or 0)
    return not late or now_ns - file.modified_ns <= QUIET_NS


def foremost(files: Sequence[LogFile], shown: LogFile | None, busy: frozenset[str]) -> LogFile:
    """The file to show unasked: of a run in progress (``busy``), one that tells how far it is first; of those
    written in the last minute a run's before others; then the newest.

    The one ``shown`` stays while that would only change it for another of its kind.
    """
    newest_ns = max(file.modified_ns for file in files)

    def rank(file: LogFile) -> tuple[bool, bool, bool, bool]:
        runs = file.run is not None and file.run in busy
        active = newest_ns - file.modified_ns <= QUIET_NS
        return runs, runs and file.progress is not None, active, active and file.origin == "run"

    best = max(files, key=lambda file: (*rank(file), file.modified_ns))
    return shown if shown is not None and rank(shown) == rank(best) else best


def selector(view: LogsView, glyphs: Glyphs, width: int) -> list[Part]:
    """The names in one line: the shown file stands out, errors are counted beside their file."""
    at = next((index for index, name in enumerate(view.names) if view.file and name[0] == view.file.id), -1)
    labels = [_label(name, errors, index == at, glyphs) for index, (_, name, errors) in enumerate(view.names)]
    fits = sum(cell_len(label.plain) + 1 for label in labels) <= width
    first = 0 if fits else max(0, at - 1)
    if sum(cell_len(label.plain) + 1 for label in labels[first : at + 1]) > width - MORE:
        first = at
    parts: list[Part] = [Cell(f"+{first} ", "faint")] if first else []
    used = 0
    for index, label in enumerate(labels[first:], first):
        used += cell_len(label.plain) + 1
        if used > width - MORE and index > at and not fits:
            parts.append(Cell(f"+{len(labels) - index}", "faint"))
            break
        parts += [label, " "]
    return parts


def _label(name: str, errors: int, shown: bool, glyphs: Glyphs) -> Cell:
    clean = safe_line(name, 60)
    words = f"[{clean}]" if shown else f" {clean} "
    count = f" {glyphs.fail}{errors}" if errors else ""
    return Cell(words, "strong" if shown else "muted", ((count, "bad"),))


def progress_parts(progress: Progress, left_ns: int | None, width: int, glyphs: Glyphs) -> list[Part]:
    """Bar, count, rate, time left, and the item in work."""
    ratio = progress.done / progress.total if progress.total else None
    words = [f"{ratio * 100:.0f} %"] if ratio is not None else []
    if not is_percent(progress):
        of = f"/{progress.total:g}" if progress.total else ""
        words.append(f"{progress.done:g}{of} {progress.unit}")
    if left_ns is not None and progress.done != progress.total:
        words.append(f"ETA {format_duration(left_ns)}{_range(progress)}" if left_ns > NS else "ETA passed")
    if progress.rate_per_s and not is_percent(progress):
        words.append(format_rate(progress.rate_per_s, progress.unit))
    told = f" {glyphs.dot} ".join(words)
    bar = progress_bar(ratio, max(6, min(32, width // 3, width - 1 - cell_len(told))), glyphs)
    why = Cell(f"  {glyphs.warn} {progress.note}" if progress.note else "", "warn")
    return [bar, " ", Cell(told), why, Cell(f"  {progress.item}" if progress.item else "", "muted")]


def _range(progress: Progress) -> str:
    """Between what the time left lies, where that is far enough apart to matter."""
    low, high = progress.eta_low_ns, progress.eta_high_ns
    if low is None or high is None or high - low < max(low // 5, 30 * NS):
        return ""
    return f" ({format_duration(low // NS * NS)} to {format_duration(high // NS * NS)})"


class LogsPane(LogDeeds[LogsView]):
    """One log at a time; follows its end until the user looks back."""

    NUMBER = 5
    TITLE = "Logs"
    PARTS = ("logs", "runs")
    SOURCE = "logs"
    TICKS = True
    BINDING_GROUP_TITLE = "Logs"
    HELP = """
## Logs

The files that match `[watch] logs` and the logs of runs, the one written last first; `[` and `]` change the file.
The lines are read from the file itself, in windows around what you look at; nothing is copied.

The end is **followed** until you scroll up; `G` follows again. Errors (✗) and warnings (⚠) are marked at the left.
A progress bar that overwrites itself shows its newest state only. Left and right move along lines that are too long.

`/` marks a word, `~` in front makes it a pattern; `n` and `N` go to the next line that holds it, anywhere in the file;
how many lines hold it stands below. `:` goes to a line, a time or a share of the file.

`a` shows all logs in one, merged by time, each line behind the name of its file; `a` again goes back to one. `&` shows
only some lines: by job, item, level, time, words or a pattern, of one log or of all. `o` shows a line in its own file.
Rotated files (`app.log.1.gz`) stand before the one they come from.

Tracebacks stand in one line with their cause: `enter` or a click unfolds one, `f` all of them.

`X` lists the errors, alike ones together; `d` charts how long each item took; `l` shows warnings and errors only;
`h` shows levels along the file. `w` wraps long lines. `m` puts a bookmark, `'` goes to the next one. `t` shows the
exchanges of a line's moment, `s` the accelerators then, `i` the item that was in work. `y` copies the lines on the
screen, `e` and `|` open the file in your editor and pager.
"""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("right_square_bracket", "file(1)", "next file", key_display="]", id="logs.next_file"),
        Binding("left_square_bracket", "file(-1)", "previous file", key_display="[", id="logs.file_before"),
        Binding("F", "follow", "follow", id="logs.follow", tooltip="Follow the end of the file"),
    ]
    DEFAULT_CSS = """
    LogsPane { & #log-names, & #log-progress, & #log-levels { height: 1; padding: 0 1; text-wrap: nowrap; } }
    LogsPane #log-progress.-none, LogsPane #log-levels { display: none; }
    LogsPane #log-levels.-open { display: block; }
    LogsPane.-one #log-names { display: none; }
    """

    def __init__(self) -> None:
        super().__init__()
        self.chosen: str | None = None
        self._asked: Request | None = None
        self._problem: str | None = None

    @property
    def shown_file(self) -> LogFile | None:
        """The file on the screen."""
        return self.view.file if self.view is not None else None

    def compose_body(self) -> ComposeResult:
        """Names, progress, lines."""
        yield Vertical(
            Static(id="log-names", markup=False),
            Static(id="log-progress", markup=False),
            Static(id="log-levels", markup=False),
            LogLines(id="log-lines"),
        )

    def select(self, desk: Mirror, now_ns: int) -> LogsView:
        """The view for the chosen file."""
        shown = self.buffer.log if self.buffer is not None else None
        found = select(desk, now_ns, self.chosen, shown, self.filter_text)
        if self.scope is None:
            return found
        self.scope.look(desk)
        view = self.scope.file()
        return replace(found, file=view, left_ns=None, age_ns=0) if view is not None else found

    def look(self, view: LogsView) -> Look:
        """Empty without files; failed when the shown file can't be read."""
        if view.file is None:
            source = self.source
            return Look(
                "empty",
                "No log file yet.",
                (f"{source.message}\n" if source and source.message else "")
                + "Logs of runs appear here by themselves. Other files: name them in nightdesk.toml, for example\n\n"
                '[watch]\nlogs = ["logs/*.log", "~/.ollama/logs/server.log"]',
            )
        if view.file.state == "failed":
            return Look("failed", f"{view.file.path} can't be read: {view.file.message or 'no reason given'}")
        return LIVE

    def heading(self, view: LogsView) -> Heading:
        """File, whether its end is followed, when it was last written."""
        if view.file is None:
            return Heading()
        gone = view.file.state == "gone"
        lines = self.query_one(LogLines)
        state = "gone" if gone else "following" if lines.following else self._place(view.file)
        tone: Tone = "warn" if gone else "muted"
        note = (Cell(view.file.name, "muted"), Cell(f" {self.glyphs.dash * 2} ", "border"), Cell(state, tone))
        age = format_bytes(view.file.size_bytes)
        if self.scope is None:
            age += f" {self.glyphs.dot} written {format_duration(view.age_ns)} ago"
        return Heading(note, (Cell(age, "muted"),) if self.size.width > 70 else ())

    def _place(self, file: LogFile) -> str:
        buffer, lines = self.buffer, self.query_one(LogLines)
        if buffer is None or not file.size_bytes or not lines.count:
            return "stopped"
        share = (lines.scroll_offset.y + lines.size.height / 2) / lines.count
        at = buffer.start + share * (buffer.end - buffer.start)
        number = buffer.number(lines.current)
        told = f"line {number:,}, " if number is not None else ""
        return f"{told}at {min(1.0, at / file.size_bytes) * 100:.0f} %, G follows"

    def draw(self, view: LogsView, old: LogsView | None) -> None:
        """Names and progress; lines are asked for."""
        if view.file is None:
            return
        width = self.size.width - 4
        self.set_class(len(view.names) < 2 or self.size.height < 8, "-one")
        self.query_one("#log-names", Static).update(line(*selector(view, self.glyphs, width)), layout=False)
        bar = self.query_one("#log-progress", Static)
        bar.set_class(view.file.progress is None, "-none")
        if view.file.progress is not None:
            parts = progress_parts(view.file.progress, view.left_ns, width, self.glyphs)
            bar.update(line(*parts), layout=False)
        lines = self.query_one(LogLines)
        lines.needle = "" if view.needle.startswith(PATTERN) else view.needle
        self._keep_up(view.file)
        self.count_matches()
        self.survey(self.now_ns)

    def on_resize(self) -> None:
        """Names and bar have another width."""
        self.call_after_refresh(self._draw_again)

    def _draw_again(self) -> None:
        if self.view is not None and self.desk is not None:
            self.draw(self.view, None)

    # Lines

    def _keep_up(self, file: LogFile) -> None:
        """Ask for the end when the file has changed and its end is looked at."""
        lines = self.query_one(LogLines)
        if self.buffer is None or self.buffer.log != file.id:
            self.buffer, self._asked = LogBuffer(file.id), None
            self.begin_file()
            self._tell(None)
            lines.following, lines.column, lines.tags = True, 0, ()
            lines.show(())
        if file.state == "gone":
            return
        if self.buffer.generation not in (None, file.generation):
            lines.following = True
        if lines.following and (self.buffer.is_behind(file) or self.buffer.has_newer):
            self.ask_lines(self.buffer.tail())
        elif not lines.following:
            self.buffer.size_bytes = max(self.buffer.size_bytes, file.size_bytes)

    def ask_lines(self, request: Request | None) -> None:
        """Ask for a window; one question at a time, but a jump takes the place of others."""
        if request is None or (self._asked is not None and not request.alone):
            return
        self._asked = request
        name, start, end, most, _ = request
        self.post_message(
            Ask(
                lambda engine: engine.log_window(name, start=start, end=end, max_bytes=most),
                lambda answer: self._take(request, answer),
            )
        )

    def _take(self, asked: Request, answer: Any | NightdeskError) -> None:
        if not self.is_mounted or asked is not self._asked or self.buffer is None:
            return
        self._asked = None
        if not isinstance(answer, LogWindow):
            self._tell(str(answer))
            return
        self._tell(None)
        taken = self.buffer.take(asked, answer)
        if isinstance(taken, Request):
            self.ask_lines(taken)
            return
        lines = self.query_one(LogLines)
        self.show_marks()
        if asked.alone:
            lines.fold_again()
        lines.show(self.buffer.lines, taken)
        if asked.alone:
            lines.point_at(self.buffer.index_of(asked.start or 0) or 0)
            self.ask_lines(self.buffer.older())
        elif asked.start == 0 and not lines.following:
            lines.scroll_to(y=0, animate=False, immediate=True)
        if self.view is not None:
            self._show_heading(self.heading(self.view))
        self.fill()
        self.count_matches()

    def _tell(self, problem: str | None) -> None:
        """A window that can't be had is said at the progress line's place."""
        if problem != self._problem and self.view is not None:
            self._problem = problem
            self._show_bar(self.view)

    def _show_bar(self, view: LogsView) -> None:
        bar = self.query_one("#log-progress", Static)
        progress = view.file.progress if view.file is not None else None
        bar.set_class(progress is None and self._problem is None, "-none")
        if self._problem is not None:
            bar.update(line(Cell(f"{self.glyphs.warn} {self._problem}", "warn")))
        elif progress is not None:
            bar.update(line(*progress_parts(progress, view.left_ns, self.size.width - 4, self.glyphs)))

    @on(LogLines.Moved)
    def _moved(self, event: LogLines.Moved) -> None:
        if self.view is None or self.view.file is None or self.buffer is None:
            return
        if event.place == "beginning":
            self._asked = None
            self.ask_lines(self.buffer.head() if self.buffer.has_older else None)
        elif event.place == "top":
            self.ask_lines(self.buffer.older())
        elif event.place == "end":
            if self.buffer.has_newer and not event.lines.following:
                self.ask_lines(self.buffer.newer())
            else:
                event.lines.following = True
                self._keep_up(self.view.file)
        self._show_heading(self.heading(self.view))

    # Keys

    def show_log(self, log: str, at_ns: int | None = None) -> None:
        """Show another file; without an id all logs around a moment."""
        if at_ns is not None:
            from nightdesk.tui.panes.log_moments import show_moment

            show_moment(self, at_ns)
            return
        self.chosen, self.scope = log, None
        self.redraw()
        if self.view is not None:
            self._show_heading(self.heading(self.view))

    def action_file(self, step: int) -> None:
        """The next file."""
        if self.view is None or self.view.file is None:
            return
        ids = [name[0] for name in self.view.names]
        at = ids.index(self.view.file.id) + step if self.view.file.id in ids else 0
        self.show_log(ids[at % len(ids)])

    def action_follow(self) -> None:
        """Stay at the end again."""
        self.query_one(LogLines).action_to_end()

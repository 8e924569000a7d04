"""The transcriptions of a run: its files, what is heard as it comes, how sure the model is, alarms.

Shows `nightdesk transcribe`, and what Whisper's own command, whisper.cpp, faster-whisper and whisperX print.
"""

from __future__ import annotations

import shlex
from typing import Any, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.widgets import Static

from nightdesk.client.mirror import Mirror
from nightdesk.model.errors import NightdeskError
from nightdesk.model.job import ENDED, Run
from nightdesk.model.units import NS
from nightdesk.model.whisper import JudgedSegment, Transcription
from nightdesk.tui.asks import Ask, FeedRequested, OpenLog
from nightdesk.tui.screens.whisper_rows import (
    FILE_COLUMNS,
    SEGMENT_COLUMNS,
    about,
    alarm_line,
    chart,
    detail_words,
    file_rows,
    segment_rows,
    summary,
)
from nightdesk.tui.text import Cell, content, line
from nightdesk.tui.widgets.grid import Grid, Row
from nightdesk.tui.widgets.sheet import Sheet

WIDE = 120
"""Cells from which files and text stand side by side."""
TALL_FROM = 36
"""Lines from which the chart has three lines of bars."""


class WhisperScreen(Sheet[None]):
    """Files, text, quality."""

    TALL = True
    HELP = """
## A transcription

Files on one side, the text of one of them on the other, as it is heard. **sure** is the mean probability of the words.
Below, the same over the length of the audio; a column shows the worst of its stretch.

`↻` the text repeats itself: it compresses better than 2.4 to 1, or the same words come four times. `○` text, though
the model thinks that nobody speaks. `?` the model is not sure. `⇡` more words than anybody can say. `n` goes from one
to the next, `y` copies a command that plays the place.

Time left is counted in audio, not in files. A program that prints no times of its own is measured from the start of
the run.
"""
    DEFAULT_CSS = """
    WhisperScreen {
        & > #sheet { width: 100%; max-width: 100%; height: 100%; max-height: 100%; }
        & > #sheet.-tall { height: 100%; }
        #whisper-sum, #whisper-alarm, #whisper-detail { height: 1; text-wrap: nowrap; text-overflow: ellipsis; }
        #whisper-both { layout: vertical; height: 1fr; margin-top: 1; }
        #whisper-files { height: 5; }
        #whisper-text { height: 1fr; }
        &.-wide #whisper-both { layout: horizontal; }
        &.-wide #whisper-files { width: 2fr; height: 1fr; max-height: 100%; margin-right: 2; }
        &.-wide #whisper-text { width: 3fr; height: 1fr; }
        #whisper-chart { height: auto; margin-top: 1; text-wrap: nowrap; }
        KeyLine { margin-top: 0; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab", "other", "files/text", id="whisper.other", tooltip="Switch between files and text"),
        Binding(
            "f", "follow", "follow", id="whisper.follow", tooltip="Show the current file and its newest text"
        ),
        Binding(
            "n", "finding(1)", "next finding", id="whisper.next", tooltip="The next segment to listen to"
        ),
        Binding("N", "finding(-1)", "Previous finding", show=False, id="whisper.before"),
        Binding("a", "alarm", "alarm", id="whisper.alarm", tooltip="Go to where the newest alarm was raised"),
        Binding(
            "y",
            "play",
            "copy play command",
            id="whisper.play",
            tooltip="Copy the ffplay command of the segment",
        ),
        Binding("l", "log", "log", id="whisper.log", tooltip="Show the run's log in the logs pane"),
    ]

    def __init__(self, run: str) -> None:
        super().__init__()
        self.run_id = run
        self.follows = True
        self.made: Transcription | None = None
        self.segments: list[JudgedSegment] = []
        """Of the file that is shown."""
        self._rows: list[Row] = []
        self._shown: int | None = None
        """Index of that file."""
        self._wanted: int | None = None
        """The file that the user chose; None while following."""
        self._run: Run | None = None
        self._asked_ns = 0
        self._is_asking = False
        self._is_final = False
        self._goal_s: float | None = None
        """Where the cursor is to go once the segments are there."""

    def compose_sheet(self) -> ComposeResult:
        """Sums, files and text, chart."""
        yield Static(id="whisper-sum", markup=False)
        yield Static(id="whisper-alarm", markup=False)
        with Container(id="whisper-both"):
            yield Grid(FILE_COLUMNS, sign=self.glyphs.cursor, marks=True, opens=False, id="whisper-files")
            yield Grid(SEGMENT_COLUMNS, sign=self.glyphs.cursor, opens=False, id="whisper-text")
        yield Static(id="whisper-detail", markup=False)
        yield Static(id="whisper-chart", markup=False)

    def on_mount(self) -> None:
        """Ask at once."""
        self.set_class(self.app.size.width >= WIDE, "-wide")
        self.texts.focus()
        self.show_title(line(Cell("Whisper", "strong"), "  ", Cell(self.run_id, "muted")))
        self.query_one("#whisper-sum", Static).update(line(Cell("Reading …", "muted")))
        self.app.post_message(FeedRequested())

    def on_resize(self) -> None:
        """Side by side where there is room."""
        self.set_class(self.app.size.width >= WIDE, "-wide")
        self.call_after_refresh(self._draw)

    @property
    def files(self) -> Grid:
        """The list of files."""
        return self.query_one("#whisper-files", Grid)

    @property
    def texts(self) -> Grid:
        """The segments."""
        return self.query_one("#whisper-text", Grid)

    # Data

    def feed(self, desk: Mirror | None, now_ns: int) -> None:
        """Ask once a second while the run goes on, and once more when it has ended."""
        if desk is None or not self.query("#whisper-text"):
            return
        self._run = desk.runs.get(self.run_id, self._run)
        if self._is_asking or (self._is_final and self.made is not None):
            return
        if now_ns >= self._asked_ns + NS or not self._asked_ns:
            self._asked_ns = now_ns
            self._is_final = self._run is not None and self._run.state in ENDED
            self._fetch()

    def _fetch(self, *, afresh: bool = False) -> None:
        run, file = self.run_id, self._wanted
        after = 0 if afresh or (file is not None and file != self._shown) else len(self.segments)
        self._is_asking = True
        self.post_message(
            Ask(
                lambda engine: engine.transcription(run, file=file, after=after),
                lambda answer: self._take(answer, after),
            )
        )

    def _take(self, answer: Any | NightdeskError, after: int) -> None:
        self._is_asking = False
        if not self.query("#whisper-text"):
            return
        if not isinstance(answer, Transcription):
            words = str(answer) if isinstance(answer, NightdeskError) else f"Not a transcription: {answer!r}"
            self.query_one("#whisper-sum", Static).update(line(Cell(f"{self.glyphs.fail} {words}", "bad")))
            return
        count = answer.files[answer.file].segments if answer.file is not None else 0
        is_other = answer.file != self._shown or count < len(self.segments)
        if is_other and after:
            self._fetch(afresh=True)  # only the end of another file was sent
            return
        if is_other or not after:
            self.segments, self._rows = [], []
        self._shown, self.made = answer.file, answer
        if after == len(self.segments):
            self.segments += answer.segments
        self._draw()
        if len(self.segments) < count and answer.segments:
            self._fetch()

    # Drawing

    def _draw(self) -> None:
        made = self.made
        if made is None or not self.query("#whisper-text"):
            return
        job = self._run.job if self._run else self.run_id
        parts = [Cell("Whisper", "strong"), f" {self.glyphs.part_of} ", job, "  ", *about(made, self.glyphs)]
        self.show_title(line(*parts))
        if made.program is None:
            self._show_nothing()
            return
        total = self._run.items_total if self._run is not None else None
        self.query_one("#whisper-sum", Static).update(line(*summary(made, total, self.glyphs)))
        self.query_one("#whisper-alarm", Static).update(line(*alarm_line(made, self.glyphs)))
        self.files.show_rows(file_rows(made, self.glyphs))
        if self.follows and made.file is not None:
            with self.prevent(Grid.Moved):
                self.files.cursor = made.file
        self.files.scroll_to_cursor()
        self._show_text()
        self._show_chart(made)

    def _show_nothing(self) -> None:
        words = "This run has printed no Whisper output."
        hint = (
            "Output of Whisper, whisper.cpp, faster-whisper, whisperX and nightdesk transcribe is recognised."
        )
        self.query_one("#whisper-sum", Static).update(line(Cell(words, "muted")))
        self.query_one("#whisper-alarm", Static).update(line(Cell(hint, "faint")))

    def _show_text(self) -> None:
        grid = self.texts
        known = len(self._rows)
        self._rows += segment_rows(self.segments[known:], known, self.glyphs)
        rows = tuple(self._rows)
        with self.prevent(Grid.Moved):
            grid.show_rows(rows)
            if self._goal_s is not None:
                grid.cursor = self._at(self._goal_s)
                self._goal_s = None
            elif self.follows:
                grid.cursor = len(rows) - 1
        self._show_detail()

    def _at(self, start_s: float) -> int:
        found = (index for index, each in enumerate(self.segments) if each.heard.start_s >= start_s)
        return next(found, len(self.segments) - 1)

    def _show_detail(self) -> None:
        made, segment = self.made, self.segment
        shown = made.files[made.file] if made is not None and made.file is not None else None
        if shown is not None and shown.problem and (segment is None or self.focused is self.files):
            detail = Cell(f"{self.glyphs.fail} {shown.problem}", "bad")
        else:
            detail = Cell(detail_words(segment) if segment is not None else "", "muted")
        self.query_one("#whisper-detail", Static).update(line(detail))

    def _show_chart(self, made: Transcription) -> None:
        widget = self.query_one("#whisper-chart", Static)
        if made.file is None:
            widget.update("")
            return
        height = 3 if self.app.size.height >= TALL_FROM else 1
        width = self.query_one("#sheet").size.width - 2
        lines = chart(self.segments, made.silences, made.files[made.file], width, height, self.glyphs)
        parts = [part for each in lines for part in (*each, "\n")]
        widget.update(content(*parts[:-1]))

    # Keys

    @property
    def segment(self) -> JudgedSegment | None:
        """The one under the cursor."""
        place = self.texts.cursor
        return self.segments[place] if 0 <= place < len(self.segments) else None

    @on(Grid.Moved, "#whisper-files")
    def _file_moved(self) -> None:
        """Show the file under the cursor."""
        chosen = self.files.cursor_key
        if isinstance(chosen, int) and chosen != self._shown:
            self.follows, self._wanted = False, chosen
            self._fetch()

    @on(Grid.Moved, "#whisper-text")
    def _text_moved(self) -> None:
        """Whoever looks back does not want to be pulled to the end."""
        self.follows = self.follows and self.texts.cursor == len(self.segments) - 1
        if not self.follows and self._wanted is None:
            self._wanted = self._shown
        self._show_detail()

    def action_other(self) -> None:
        """Between files and text."""
        self.set_focus(self.texts if self.focused is self.files else self.files)

    def action_follow(self) -> None:
        """Show the file in work and its newest text, or stay here."""
        self.follows = not self.follows
        self._wanted = None if self.follows else self._shown
        self.notify("Following the newest text." if self.follows else "Staying here.", markup=False)
        self._fetch()

    def action_finding(self, step: int) -> None:
        """To the next segment with a finding."""
        places = [index for index, each in enumerate(self.segments) if each.findings]
        here = self.texts.cursor
        ahead = (
            [each for each in places if each > here] if step > 0 else [each for each in places if each < here]
        )
        if not ahead:
            self.notify("No more findings in that direction.", markup=False)
            return
        self.follows, self._wanted = False, self._shown
        self.texts.cursor = ahead[0] if step > 0 else ahead[-1]

    def action_alarm(self) -> None:
        """To the newest alarm."""
        made = self.made
        if made is None or not made.alarms:
            self.notify("No alarm was raised.", markup=False)
            return
        newest = made.alarms[-1]
        names = [file.name for file in made.files]
        if newest.file in names:
            self.follows, self._wanted, self._goal_s = False, names.index(newest.file), newest.start_s
            self.files.select_key(self._wanted)
            self._fetch()

    def action_play(self) -> None:
        """Copy the command that plays the segment under the cursor."""
        segment, made = self.segment, self.made
        if segment is None or made is None or made.file is None or self._run is None:
            return
        name = made.files[made.file].name
        heard = segment.heard
        length = max(1.0, heard.end_s - heard.start_s)
        command = ["ffplay", "-nodisp", "-autoexit", "-ss", f"{heard.start_s:g}", "-t", f"{length:g}", name]
        from nightdesk.tui.log_outside import copy_text

        self.run_worker(copy_text(self.app, "Play command", shlex.join(command)), exit_on_error=False)

    def action_log(self) -> None:
        """Show the log in the logs pane."""
        if self._run is not None and self._run.log is not None:
            log, app = self._run.log, self.app
            while len(app.screen_stack) > 1:
                app.pop_screen()
            app.post_message(OpenLog(log))

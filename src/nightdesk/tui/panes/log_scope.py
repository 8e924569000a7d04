"""Views of several logs in the logs pane: what is asked for, what came, and the way back to one file.

Imported when a key asks for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Input, Static

from nightdesk.client.mirror import Mirror
from nightdesk.core.foreign import safe_line
from nightdesk.model.errors import NightdeskError
from nightdesk.model.logs import LogFile, LogView, LogViewFile
from nightdesk.tui.asks import Ask
from nightdesk.tui.text import Cell, line
from nightdesk.tui.widgets.field import Field
from nightdesk.tui.widgets.sheet import Sheet

if TYPE_CHECKING:
    from nightdesk.tui.panes.log_deeds import LogDeeds

TAG_CELLS = 14
AGAIN_SECONDS = 0.1


class Scope:
    """One view of several logs, as the pane has it."""

    def __init__(
        self, pane: LogDeeds[Any], query: str, at_ns: int | None = None, offset: int | None = None
    ) -> None:
        """``at_ns``: the moment to go to once it is whole; ``offset``: the line to go to."""
        self._pane = pane
        self._at_ns = at_ns
        self._offset = offset
        self.query = query
        self.view: LogView | None = None
        self._tags: list[str] = []
        self._seen: object = None
        self._asking = False

    def look(self, desk: Mirror) -> None:
        """Ask again where one of the logs has changed."""
        seen = tuple((log.id, log.generation, log.size_bytes) for log in desk.logs.values())
        if seen != self._seen and not self._asking:
            self._seen = seen
            self.ask()

    def ask(self) -> None:
        """Ask for what there is by now."""
        self._asking = True
        self._pane.post_message(Ask(lambda engine: engine.log_view(self.query), self._take))

    def _take(self, answer: Any) -> None:
        self._asking = False
        if not self._pane.is_mounted or self._pane.scope is not self:
            return
        if isinstance(answer, NightdeskError):
            self._pane.notify(f"{answer.message} {answer.hint}".strip(), severity="warning", markup=False)
            if self.view is None:
                self._pane.show_scope(None)
            return
        self.view = answer
        desk = self._pane.desk
        self._tags = tags_of(answer.files, desk) if desk is not None else []
        self._pane.redraw()
        self._pane.show_remark()
        if not answer.complete and not answer.full:
            self._pane.set_timer(AGAIN_SECONDS, self.ask)
        elif self._offset is not None:
            offset, self._offset = self._offset, None
            self._pane.call_after_refresh(self._pane.go_to_offset, offset)
        elif self._at_ns is not None:
            at_ns, self._at_ns = self._at_ns, None
            self._pane.go_to_moment(at_ns)

    def file(self) -> LogFile | None:
        """The view as if it were a file; None before it came."""
        view = self.view
        if view is None:
            return None
        name = self.query or "all logs"
        return LogFile(
            id=view.id,
            path=view.files[-1].path if view.files else "",
            name=f"{len(view.files)} files: {name}" if len(view.files) > 1 else name,
            origin="watch",
            size_bytes=view.size_bytes,
            modified_ns=view.reached_ns or 0,
        )

    def tags(self, numbers: list[int]) -> list[str]:
        """What stands in front of lines of these files."""
        tags = self._tags
        return [tags[number] if number < len(tags) else "" for number in numbers] if len(tags) > 1 else []

    def remark(self) -> str:
        """How far it is, and what was left out."""
        view = self.view
        if view is None:
            return "searching the logs"
        if view.full:
            return "this view is full: a narrower choice shows the rest"
        if not view.complete:
            return f"searching the logs, at {clock(view.reached_ns)}" if view.reached_ns else "looking"
        return f"from {clock(view.since_ns)} on" if view.since_ns is not None else ""

    def file_at(self, number: int) -> LogViewFile | None:
        """A file by its number."""
        files = self.view.files if self.view is not None else ()
        return files[number] if number < len(files) else None


def clock(at_ns: int) -> str:
    """Day and time."""
    from datetime import datetime

    return f"{datetime.fromtimestamp(at_ns / 1e9):%a %H:%M:%S}"


def tags_of(files: tuple[LogViewFile, ...], desk: Mirror) -> list[str]:
    """A short name of each file: of a run its job, of others the name without what all have in common."""
    names = []
    for file in files:
        run = desk.runs.get(file.run or "")
        names.append(safe_line(run.job if run is not None else file.name.removesuffix(".log"), 60))
    width = min(max((len(name) for name in names), default=0), TAG_CELLS)
    return [f"{name if len(name) <= width else name[: width - 1] + '…':<{width}}" for name in names]


class OnlyScreen(Sheet[str]):
    """Answers with which lines of which logs are wanted."""

    DEFAULT_CSS = "OnlyScreen #sheet { width: 84; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "go", "show", id="log_only.go", tooltip="Show these lines"),
        Binding(
            "escape", "close", "back", key_display="esc", id="log_only.close", tooltip="Leave it as it is"
        ),
    ]
    WORDS = (
        "job:NAME  item:NAME  run:ID  file:NAME    of these, or of all logs\n"
        "level:error  level:warning                and what is worse\n"
        "since:02:10  until:3h                     written then, or so long ago\n"
        'words, "two words", or ~pattern up to the end of the line\n'
        "Nothing at all: every line of all logs, merged by time."
    )

    def __init__(self, query: str) -> None:
        super().__init__()
        self._query = query

    def compose_sheet(self) -> ComposeResult:
        """The line to type in, and what may stand there."""
        words = Field(
            self._query, placeholder="level:error since:2h", compact=True, id="only", max_length=400
        )
        words.select_on_focus = False
        yield words
        yield Static(self.WORDS, markup=False)

    def on_mount(self) -> None:
        """Type at once."""
        self.show_title(line("Only lines with ", Cell("…", "muted")))
        self.query_one(Input).focus()

    @on(Input.Submitted)
    def action_go(self) -> None:
        """Answer."""
        self.dismiss(self.query_one(Input).value.strip())

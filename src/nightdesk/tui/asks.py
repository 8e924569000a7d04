"""What panes and screens ask for. The app decides, the link sends, an error becomes a notice."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal

from textual.message import Message

from nightdesk.model.base import ProcessKey
from nightdesk.model.errors import NightdeskError
from nightdesk.model.inspection import Feedback
from nightdesk.model.job import Run, RunAction, StartRun
from nightdesk.model.process import TreeAction
from nightdesk.tui.link import Engine


@dataclass
class ProcessesRequested(Message):
    """Show a process or its stacks, signal trees, end orphans, or stop all. What ends something is confirmed first."""

    deed: Literal["open", "stacks", "signal", "clean", "stop_all"]
    keys: tuple[ProcessKey, ...] = ()
    action: TreeAction = "pause"


@dataclass
class StartRequested(Message):
    """Start a run."""

    request: StartRun


@dataclass
class SingleRequested(Message):
    """Choose one item of ``job`` and run it alone."""

    job: str


@dataclass
class RunActionRequested(Message):
    """Pause, resume, stop or kill a run. Stop and kill are confirmed first."""

    run: str
    action: RunAction


@dataclass
class OpenJob(Message):
    """Show a job and its runs."""

    job: str


@dataclass
class OpenGraph(Message):
    """Show which job waits for which; ``job`` is selected first."""

    job: str = ""


@dataclass
class OpenExchange(Message):
    """Show one exchange."""

    id: int


@dataclass
class OpenItems(Message):
    """Show the items of a run."""

    run: str


@dataclass
class OpenOutputs(Message):
    """Show what the rules of a job say of its outputs."""

    job: str


@dataclass
class OpenWhisper(Message):
    """Show the transcriptions of a run."""

    run: str


@dataclass
class RetryRequested(Message):
    """Do again what failed in this run, and what an ended run has not reached."""

    run: Run


@dataclass
class OpenFailure(Message):
    """Show why the newest failed attempt of a run, or of an item of it, failed."""

    run: str
    item: str | None = None


@dataclass
class OpenTrial(Message):
    """Show a run of a single item, or a dry run: log, exchanges, accelerators, what was before."""

    run: str


class VerdictsSeen(Message):
    """The user has looked at the newest verdicts."""


@dataclass
class MarkForDiff(Message):
    """Keep this exchange as the left side of the next diff; the same one again takes the mark away."""

    id: int


@dataclass
class OpenDiff(Message):
    """Compare two exchanges. ``left`` 0: the marked one, without a mark the original of a replay, or words on how."""

    left: int
    right: int


@dataclass
class OpenReplay(Message):
    """Send the request of an exchange again, unchanged or edited."""

    id: int


@dataclass
class OpenComparison(Message):
    """Send the request of an exchange to several models and show the answers in a table."""

    id: int


@dataclass
class CancelRequested(Message):
    """End a running exchange, after asking by which way."""

    id: int


@dataclass
class FeedbackGiven(Message):
    """The user marks an exchange. The mark that it has already is taken back; a note stays unless another is given."""

    id: int
    feedback: Feedback


@dataclass
class OpenNote(Message):
    """Write a note on an exchange, and mark it."""

    id: int


@dataclass
class OpenConversation(Message):
    """Show the exchanges of the client or run of this exchange in order, as a conversation."""

    id: int


@dataclass
class OpenProfile(Message):
    """Show where the time of the exchanges went that match ``query``."""

    query: str = ""


@dataclass
class FilterTraffic(Message):
    """Show the list of exchanges, filtered by ``query``."""

    query: str


@dataclass
class OpenLog(Message):
    """Show a log file in the logs pane, by the id of the file; without one all logs around a moment."""

    id: str = ""
    at_ns: int | None = None


@dataclass
class Ask(Message):
    """Ask the engine something: ``call`` is given the engine; ``reply`` gets the answer or the error.

    ``reply`` runs in the event loop, also after the asking widget has gone: check ``is_mounted`` there.
    ``Ask(lambda engine: engine.log_window(id, end=end), self.show_window)``
    """

    call: Callable[[Engine], Awaitable[Any]]
    reply: Callable[[Any | NightdeskError], None]


class FeedRequested(Message):
    """Give the panes the desk now: something was shown that was hidden before."""

    def can_replace(self, message: Message) -> bool:
        """One is enough."""
        return isinstance(message, FeedRequested)

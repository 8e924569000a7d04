"""The viewer's link to its engine: starts or attaches to it, keeps the mirror, tells how the link is.

The only place of the viewer that waits for anything. It runs as one worker of the app; panes never see it.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, TypeVar

from nightdesk.client.mirror import Mirror
from nightdesk.model.base import prepare_nouns
from nightdesk.model.desk import ExchangeChanged, Snapshot
from nightdesk.model.errors import NightdeskError

if TYPE_CHECKING:
    from nightdesk.model.base import ProcessKey
    from nightdesk.model.conversation import Conversation
    from nightdesk.model.desk import Change
    from nightdesk.model.diagnosis import Diagnosis, FailedAttempt
    from nightdesk.model.energy import EnergyReport, ExchangeEnergy, RunEnergy
    from nightdesk.model.exchange import Exchange
    from nightdesk.model.inspected import ProcessDetail, Stacks
    from nightdesk.model.inspection import (
        CancelHow,
        CancelReport,
        CancelWays,
        ExchangePage,
        ExchangePlace,
        ExchangeTotals,
        Feedback,
        OfferedModel,
        Replay,
        ReplayRequest,
    )
    from nightdesk.model.items import ItemComparison, ItemDetail, ItemPage
    from nightdesk.model.job import ItemMove, Run, RunAction, StartRun
    from nightdesk.model.logs import (
        LogErrors,
        LogFile,
        LogIndex,
        LogItems,
        LogLevels,
        LogSearch,
        LogView,
        LogWindow,
    )
    from nightdesk.model.outputs import OutputPage, OutputResult, OutputsFlagged
    from nightdesk.model.process import OrphanTree, SignalReport, StopAllReport, TreeAction, TreeMember
    from nightdesk.model.profile import Profile
    from nightdesk.model.sample import Sample
    from nightdesk.model.whisper import Transcription

RETRY_SECONDS = (0.5, 1.0, 2.0, 5.0)
"""Pauses between tries after the engine stopped answering; the last one repeats."""

T = TypeVar("T")


class Engine(Protocol):
    """What the viewer asks of an engine; :class:`nightdesk.client.api.AsyncEngine` does it."""

    def changes(self) -> AsyncIterator[Snapshot | Change]:
        """A snapshot, then changes."""

    async def exchange(self, exchange_id: int) -> Exchange:
        """One exchange with its bodies."""

    async def grown(self, known: Exchange) -> Exchange:
        """A running exchange as it is now, when ``known`` is how it was."""

    async def replay(self, request: ReplayRequest) -> Replay:
        """Send the request of an exchange again."""

    async def models_for(self, exchange_id: int) -> tuple[OfferedModel, ...]:
        """What the server of this exchange can answer with."""

    async def ways_to_cancel(self, exchange_id: int) -> CancelWays:
        """How a running exchange can be ended."""

    async def cancel(self, exchange_id: int, how: CancelHow) -> CancelReport:
        """End a running exchange, and watch what the server does."""

    async def profile(self, query: str = "") -> Profile:
        """Where the time of exchanges went."""

    async def conversation(self, exchange_id: int) -> Conversation:
        """The exchanges of one client in order."""

    async def feedback(self, exchange_id: int) -> Feedback:
        """What the user thinks of an exchange."""

    async def give_feedback(self, exchange_id: int, feedback: Feedback) -> Feedback:
        """Record what the user thinks of an exchange."""

    async def page(
        self, query: str = "", *, sort: str = "-started", offset: int = 0, limit: int = 200
    ) -> ExchangePage:
        """A part of the list of exchanges."""

    async def trouble(self, query: str = "", *, sort: str = "-started", offset: int = 0) -> ExchangePlace:
        """The first place from ``offset`` on with a verdict or an error."""

    async def totals(self, query: str = "") -> ExchangeTotals:
        """Sums over the exchanges that match."""

    async def samples(self, since_ns: int, until_ns: int, resolution_s: int) -> tuple[Sample, ...]:
        """Recorded samples of a span."""

    async def energy(self) -> EnergyReport:
        """The energy of the night and of the newest runs."""

    async def run_energy(self, run_id: str) -> RunEnergy:
        """The energy of a run and its items."""

    async def exchange_energy(self, exchange_id: int) -> ExchangeEnergy:
        """The energy of an exchange."""

    async def item_page(
        self,
        run_id: str,
        *,
        state: str = "",
        text: str = "",
        sort: str = "index",
        offset: int = 0,
        limit: int = 200,
    ) -> ItemPage:
        """A part of the items of a run."""

    async def item_detail(self, run_id: str, index: int) -> ItemDetail:
        """One item of a run in full."""

    async def item_log(self, run_id: str, index: int) -> LogFile:
        """The log that holds the output of an item."""

    async def move_items(self, run_id: str, move: ItemMove) -> Run:
        """Do items first or last, pass over them, or do them again."""

    async def outputs(
        self,
        job: str,
        *,
        state: str = "",
        rule: str = "",
        text: str = "",
        flagged: bool = False,
        offset: int = 0,
        limit: int = 200,
    ) -> OutputPage:
        """What the rules of a job say of its outputs."""

    async def output_items(self, job: str) -> tuple[str, ...]:
        """The items whose outputs the rules of a job are for."""

    async def look_at_outputs(self, job: str, items: tuple[str, ...]) -> tuple[OutputResult, ...]:
        """Apply the rules of a job to the outputs of these items now."""

    async def flag_outputs(self, job: str, flags: OutputsFlagged) -> OutputPage:
        """Flag the outputs of items, or take their flags away."""

    async def transcription(self, run_id: str, *, file: int | None = None, after: int = 0) -> Transcription:
        """The transcriptions of a run, and the segments of one file."""

    async def comparison(self, run_id: str) -> ItemComparison:
        """A run of a single item beside what the item gave before."""

    async def failures(self, run_id: str) -> tuple[FailedAttempt, ...]:
        """The failed attempts of a run of which something was kept."""

    async def failure(self, run_id: str, serial: int) -> Diagnosis:
        """What was kept of one failed attempt."""

    async def tree(self, key: ProcessKey) -> tuple[TreeMember, ...]:
        """A process and everything below it."""

    async def run_tree(self, run_id: str) -> tuple[TreeMember, ...]:
        """Every process of a run."""

    async def signal(self, key: ProcessKey, action: TreeAction) -> SignalReport:
        """Signal a tree."""

    async def signal_several(self, keys: tuple[ProcessKey, ...], action: TreeAction) -> SignalReport:
        """Signal several trees."""

    async def detail(self, key: ProcessKey) -> ProcessDetail:
        """One process in full."""

    async def stacks(self, key: ProcessKey) -> Stacks:
        """Where the threads of a Python process stand."""

    async def orphans(self) -> tuple[OrphanTree, ...]:
        """What was left behind."""

    async def clean(self, keys: tuple[ProcessKey, ...]) -> SignalReport:
        """End orphans."""

    async def everything(self) -> tuple[TreeMember, ...]:
        """What a stop of everything would end."""

    async def stop_all(self) -> StopAllReport:
        """Stop everything that the desk started."""

    async def start(self, request: StartRun) -> Run:
        """Start a job."""

    async def act(self, run_id: str, action: RunAction) -> Run:
        """Pause, resume, stop or kill a run."""

    async def items(self, job: str) -> tuple[str, ...]:
        """The items of a job."""

    async def log_view(self, query: str = "") -> LogView:
        """Several logs in one."""

    async def log_window(
        self, log_id: str, *, start: int | None = None, end: int | None = None, max_bytes: int = 65536
    ) -> LogWindow:
        """Whole lines of a log file."""

    async def log_line(self, log_id: str, number: int, *, max_bytes: int = 65536) -> LogWindow:
        """Lines of a log file from a line on."""

    async def log_moment(self, log_id: str, at_ns: int, *, max_bytes: int = 65536) -> LogWindow:
        """Lines of a log file from a moment on."""

    async def log_errors(self, log_id: str) -> LogErrors:
        """The errors of a log file."""

    async def log_items(self, log_id: str) -> LogItems:
        """How long the items of a log took."""

    async def log_levels(self, log_id: str) -> LogLevels:
        """The levels of a log file over its length."""

    async def log_index(self, log_id: str) -> LogIndex:
        """How many lines a log file has."""

    async def log_search(self, log_id: str, text: str, *, regex: bool = False, at: int = -1) -> LogSearch:
        """Lines of a log file that hold a text."""

    async def aclose(self) -> None:
        """Close connections."""


@dataclass(frozen=True, slots=True)
class LinkState:
    """How the link is. ``since_ns``: when the engine last said something, once it has."""

    kind: Literal["starting", "live", "lost", "failed"]
    message: str = ""
    hint: str = ""
    since_ns: int | None = None


class Link:
    """Keeps the mirror. ``opened`` blocks until there is an engine; it runs in a thread of its own."""

    def __init__(self, opened: Callable[[], Engine], told: Callable[[], None]) -> None:
        """``told`` is called in the event loop after each change."""
        self._open = opened
        self._told = told
        self.engine: Engine | None = None
        self.mirror: Mirror | None = None
        self.state = LinkState("starting")
        self.streaming = False
        """A reply grew since the last :meth:`settle`."""
        self.drawn = False
        """The first snapshot has been drawn."""
        self._wake = asyncio.Event()

    def settle(self) -> None:
        """What came so far has been drawn."""
        self.streaming = False
        self.drawn = self.mirror is not None

    def retry(self) -> None:
        """Try again now: attach to the engine, or start one."""
        self._wake.set()

    async def follow(self) -> None:
        """Attach, follow, attach again; ends only when cancelled. A failure becomes a state."""
        tries = 0
        while True:
            try:
                if self.engine is None:
                    self.engine = await in_thread(self._prepared)
                async for item in self.engine.changes():
                    tries = 0
                    self._take(item)
                self._lose("The engine has ended; runs go on.", "Press ctrl+r to start it again.")
            except NightdeskError as error:
                self._lose(error.message, error.hint)
            except Exception as error:  # noqa: BLE001 - any fault of the link becomes a state on screen
                self._lose(f"The link to the engine broke: {error!r}", "")
            await self._pause(RETRY_SECONDS[min(tries, len(RETRY_SECONDS) - 1)])
            tries += 1

    def _prepared(self) -> Engine:
        """An engine, and all nouns that it talks in: the viewer itself loads few of them at its start."""
        engine = self._open()
        prepare_nouns()
        return engine

    def _take(self, item: Snapshot | Change) -> None:
        if isinstance(item, Snapshot):
            if self.mirror is None:
                self.mirror = Mirror.from_snapshot(item)
            else:
                self.mirror.load(item)
        elif self.mirror is not None:
            self.mirror.apply(item)
            if isinstance(item, ExchangeChanged) and item.row.state == "running":
                self.streaming = True
        self.state = LinkState("live", since_ns=time.time_ns())
        self._told()

    def _lose(self, message: str, hint: str) -> None:
        kind: Literal["lost", "failed"] = "lost" if self.mirror is not None else "failed"
        if "ctrl+r" not in hint:
            hint = f"{hint} ctrl+r tries again.".strip()
        self.state = LinkState(kind, message, hint, self.state.since_ns)
        self._told()

    async def _pause(self, seconds: float) -> None:
        """Wait. Someone who asks for a try gets one that may start an engine."""
        try:
            await asyncio.wait_for(self._wake.wait(), seconds)
        except TimeoutError:
            if self.engine is None:
                await self._wake.wait()
        else:
            await self.close()
        self._wake.clear()

    async def close(self) -> None:
        """Let go of the engine; it goes on."""
        engine, self.engine = self.engine, None
        if engine is not None:
            await engine.aclose()


async def in_thread(work: Callable[[], T]) -> T:
    """The result of ``work``, run in a thread that does not hold up the end of the program."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def settle(call: Callable[[], None]) -> None:
        if not done.done():
            call()

    def tell(call: Callable[[], None]) -> None:
        # Where the loop is closed the program has ended, and nobody waits any more.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(settle, call)

    def run() -> None:
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001 - handed to the one who waits
            caught = error
            tell(lambda: done.set_exception(caught))
        else:
            tell(lambda: done.set_result(result))

    threading.Thread(target=run, daemon=True, name="engine start").start()
    return await done

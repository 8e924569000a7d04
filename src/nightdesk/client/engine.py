"""The engine as a command sees it: one call, one answer, and nothing slow to import."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from nightdesk.client.answers import (
    ANSWER_SECONDS,
    ENDING_SECONDS,
    LISTING_SECONDS,
    PREFIX,
    SILENCE_SECONDS,
    T,
    decode,
    outputs_query,
    window_query,
)
from nightdesk.client.events import EventParser
from nightdesk.client.transport import exchange
from nightdesk.model.base import ProcessKey
from nightdesk.model.conversation import Conversation
from nightdesk.model.desk import Change, Snapshot, Status
from nightdesk.model.diagnosis import Diagnosis, FailedAttempt
from nightdesk.model.energy import EnergyReport, ExchangeEnergy, RunEnergy
from nightdesk.model.errors import EngineUnavailableError
from nightdesk.model.exchange import Exchange
from nightdesk.model.inspected import ProcessDetail, Stacks
from nightdesk.model.inspection import (
    CancelHow,
    CancelReport,
    CancelRequest,
    CancelWays,
    ExchangePage,
    ExchangeTotals,
    Feedback,
    OfferedModel,
    Replay,
    ReplayRequest,
)
from nightdesk.model.items import ItemComparison, ItemDetail, ItemPage
from nightdesk.model.job import ItemMove, ItemRecord, JobView, Run, RunAction, StartRun
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
from nightdesk.model.outputs import OutputPage, OutputResult, OutputsAsked, OutputsFlagged
from nightdesk.model.process import (
    OrphanTree,
    ProcessRow,
    SignalReport,
    SignalRequest,
    StopAllReport,
    TreeAction,
    TreeMember,
)
from nightdesk.model.profile import Profile
from nightdesk.model.sample import Sample
from nightdesk.model.whisper import Transcription


class Engine:
    """Plain HTTP and JSON over the desk's Unix socket; ``curl --unix-socket`` can do the same.

    Raises EngineUnavailableError when nobody answers, NightdeskError with the engine's own sentence when it refuses.
    """

    def __init__(self, socket: Path) -> None:
        self.socket = socket

    def status(self) -> Status:
        """The desk in one object."""
        return self._get("/status", Status)

    def snapshot(self) -> Snapshot:
        """Everything that a viewer draws."""
        return self._get("/snapshot", Snapshot)

    def processes(self, *, fresh: bool = False) -> tuple[ProcessRow, ...]:
        """The process table as of the newest sample, or as it is now."""
        return self._get("/processes", tuple[ProcessRow, ...], {"fresh": 1} if fresh else None)

    def samples(self, since_ns: int, until_ns: int = 2**62, resolution_s: int = 1) -> tuple[Sample, ...]:
        """Recorded samples of a span; resolutions are 1, 10 and 60 seconds."""
        asked = f"since_ns={since_ns}&until_ns={until_ns}&resolution_s={resolution_s}"
        return self._get(f"/samples?{asked}", tuple[Sample, ...])

    def energy(self) -> EnergyReport:
        """The energy of the night and of the newest runs."""
        return self._get("/energy", EnergyReport)

    def run_energy(self, run_id: str) -> RunEnergy:
        """The energy of a run and its items."""
        return self._get(f"/runs/{run_id}/energy", RunEnergy)

    def exchange_energy(self, exchange_id: int) -> ExchangeEnergy:
        """The energy of an exchange."""
        return self._get(f"/exchanges/{exchange_id}/energy", ExchangeEnergy)

    def tree(self, key: ProcessKey) -> tuple[TreeMember, ...]:
        """The process and everything below it, root first."""
        return self._get(f"/processes/{key.pid}/{key.started_ns}/tree", tuple[TreeMember, ...])

    def signal(self, key: ProcessKey, action: TreeAction) -> SignalReport:
        """Pause, resume, stop or kill one tree; the first process of a run stands for the run."""
        path = f"/processes/{key.pid}/{key.started_ns}/{action}"
        return self._post(path, SignalReport, seconds=ENDING_SECONDS)

    def signal_several(self, keys: tuple[ProcessKey, ...], action: TreeAction) -> SignalReport:
        """Pause, resume, stop or kill several trees."""
        return self._post(f"/processes/{action}", SignalReport, SignalRequest(keys=keys), ENDING_SECONDS)

    def detail(self, key: ProcessKey) -> ProcessDetail:
        """One process in full, with the last hour of it."""
        return self._get(f"/processes/{key.pid}/{key.started_ns}/detail", ProcessDetail)

    def stacks(self, key: ProcessKey) -> Stacks:
        """Where the threads of a Python process stand."""
        return self._get(f"/processes/{key.pid}/{key.started_ns}/stacks", Stacks)

    def orphans(self) -> tuple[OrphanTree, ...]:
        """What was left behind, the largest first, with everything below."""
        return self._get("/orphans", tuple[OrphanTree, ...])

    def clean(self, keys: tuple[ProcessKey, ...]) -> SignalReport:
        """End those of the named processes that are orphans, with everything below."""
        return self._post("/orphans/clean", SignalReport, SignalRequest(keys=keys), ENDING_SECONDS)

    def run_tree(self, run_id: str) -> tuple[TreeMember, ...]:
        """Every process of a run, as a stop or a kill would hit them."""
        return self._get(f"/runs/{run_id}/tree", tuple[TreeMember, ...])

    def everything(self) -> tuple[TreeMember, ...]:
        """What a stop of everything would end."""
        return self._get("/stop-all", tuple[TreeMember, ...])

    def stop_all(self) -> StopAllReport:
        """Stop all runs, end what earlier runs left behind, unload the models. Waits until that is done."""
        return self._post("/stop-all", StopAllReport, seconds=ENDING_SECONDS)

    def jobs(self) -> tuple[JobView, ...]:
        """The desk's jobs."""
        return self._get("/jobs", tuple[JobView, ...])

    def items(self, job: str) -> tuple[str, ...]:
        """The items of a job, as its glob finds them now."""
        return self._ask("GET", f"/jobs/{job}/items", tuple[str, ...], None, None, LISTING_SECONDS)

    def runs(self) -> tuple[Run, ...]:
        """The newest runs, oldest first."""
        return self._get("/runs", tuple[Run, ...])

    def run(self, run_id: str) -> Run:
        """One run."""
        return self._get(f"/runs/{run_id}", Run)

    def start(self, request: StartRun) -> Run:
        """Start a job."""
        return self._post("/runs", Run, request, LISTING_SECONDS)

    def item_records(self, run_id: str) -> tuple[ItemRecord, ...]:
        """What became of the items of a run so far, in the order of time."""
        return self._get(f"/runs/{run_id}/items", tuple[ItemRecord, ...])

    def move_items(self, run_id: str, move: ItemMove) -> Run:
        """Do items of a run first or last, pass over them, or do them again."""
        return self._post(f"/runs/{run_id}/items", Run, move)

    def item_page(
        self,
        run_id: str,
        *,
        state: str = "",
        text: str = "",
        sort: str = "index",
        offset: int = 0,
        limit: int = 200,
    ) -> ItemPage:
        """A part (of at most 1,000) of the items of a run that match. ``state`` names states with commas between.

        Sorted by index, order (of work), item, state, took or attempts; a hyphen in front turns it round.
        """
        asked: dict[str, str | int] = {
            "state": state,
            "text": text,
            "sort": sort,
            "offset": offset,
            "limit": limit,
        }
        return self._get(f"/runs/{run_id}/items/page", ItemPage, asked)

    def item_detail(self, run_id: str, index: int) -> ItemDetail:
        """One item of a run with its failure and the end of its output. ``index`` counts from 0."""
        return self._get(f"/runs/{run_id}/items/{index}", ItemDetail)

    def item_log(self, run_id: str, index: int) -> LogFile:
        """The log that holds the output of an item; from now on it is followed."""
        return self._post(f"/runs/{run_id}/items/{index}/log", LogFile)

    def transcription(self, run_id: str, *, file: int | None = None, after: int = 0) -> Transcription:
        """The transcriptions of a run; segments of one file from a number on, else of the one in work."""
        chosen = "" if file is None else f"&file={file}"
        return self._get(f"/runs/{run_id}/whisper?after={after}{chosen}", Transcription)

    def comparison(self, run_id: str) -> ItemComparison:
        """A run of a single item beside what the item gave before."""
        return self._get(f"/runs/{run_id}/comparison", ItemComparison)

    def outputs(
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
        """A part of what the rules of a job say of its outputs, the worst first, and all of it summed up."""
        asked = outputs_query(state, rule, text, flagged=flagged, offset=offset, limit=limit)
        return self._get(f"/jobs/{job}/outputs", OutputPage, asked)

    def output_items(self, job: str) -> tuple[str, ...]:
        """The items whose outputs the rules of a job are for."""
        return self._get(f"/jobs/{job}/outputs/items", tuple[str, ...])

    def look_at_outputs(self, job: str, items: tuple[str, ...]) -> tuple[OutputResult, ...]:
        """Apply the rules of a job to the outputs of these items now."""
        asked = OutputsAsked(items=items)
        return self._post(f"/jobs/{job}/outputs", tuple[OutputResult, ...], asked, ENDING_SECONDS)

    def flag_outputs(self, job: str, flags: OutputsFlagged) -> OutputPage:
        """Flag the outputs of items, or take their flags away."""
        return self._post(f"/jobs/{job}/outputs/flags", OutputPage, flags)

    def failures(self, run_id: str) -> tuple[FailedAttempt, ...]:
        """The failed attempts of a run of which something was kept, oldest first."""
        return self._get(f"/runs/{run_id}/failures", tuple[FailedAttempt, ...])

    def failure(self, run_id: str, serial: int) -> Diagnosis:
        """What was kept of one failed attempt."""
        return self._get(f"/runs/{run_id}/failures/{serial}", Diagnosis)

    def act(self, run_id: str, action: RunAction) -> Run:
        """Pause, resume, stop or kill a run."""
        return self._post(f"/runs/{run_id}/{action}", Run)

    def exchange(self, exchange_id: int) -> Exchange:
        """One exchange with its bodies."""
        return self._get(f"/exchanges/{exchange_id}", Exchange)

    def replay(self, request: ReplayRequest) -> Replay:
        """Send the request of an exchange again; returns at once with the ids of the new exchanges."""
        return self._post("/exchanges/replay", Replay, request)

    def models_for(self, exchange_id: int) -> tuple[OfferedModel, ...]:
        """What the server of this exchange can answer with, by name."""
        return self._get(f"/exchanges/{exchange_id}/models", tuple[OfferedModel, ...])

    def ways_to_cancel(self, exchange_id: int) -> CancelWays:
        """How a running exchange can be ended."""
        return self._get(f"/exchanges/{exchange_id}/cancel", CancelWays)

    def cancel(self, exchange_id: int, how: CancelHow) -> CancelReport:
        """End a running exchange; waits some seconds to see whether the server stops."""
        return self._post(f"/exchanges/{exchange_id}/cancel", CancelReport, CancelRequest(how=how))

    def page(
        self, query: str = "", *, sort: str = "-started", offset: int = 0, limit: int = 200
    ) -> ExchangePage:
        """One page (of at most 1,000 rows) of the exchanges that match a query, running ones among them."""
        asked: dict[str, str | int] = {"query": query, "sort": sort, "offset": offset, "limit": limit}
        return self._get("/exchanges/page", ExchangePage, asked)

    def totals(self, query: str = "") -> ExchangeTotals:
        """Sums over the exchanges that match a query."""
        return self._get("/exchanges/totals", ExchangeTotals, {"query": query})

    def documents(self, query: str = "") -> Iterator[bytes]:
        """The ended exchanges that match a query, each as one line of JSON, oldest first, as they are read.

        Raises EngineUnavailableError where the engine ends before that was all.
        """
        path = "/exchanges/documents"
        status, chunks = exchange(self.socket, "GET", PREFIX + path, {"query": query}, None, SILENCE_SECONDS)
        if status != 200:
            decode(status, b"".join(chunks), path, bytes)
        waiting: list[bytes] = []
        for chunk in chunks:
            first, *more = chunk.split(b"\n")
            waiting.append(first)
            for piece in more:
                if not (line := b"".join(waiting)):
                    return
                yield line
                waiting = [piece]
        raise EngineUnavailableError(
            "The engine ended before all exchanges were read.", "Start it with nightdesk up, and ask again."
        )

    def query_words(self) -> dict[str, tuple[str, ...]]:
        """The values that occur, by key of a query, the most frequent first: for completion."""
        return self._get("/exchanges/words", dict[str, tuple[str, ...]])

    def feedback(self, exchange_id: int) -> Feedback:
        """What the user thinks of an exchange; empty where nothing was said."""
        return self._get(f"/exchanges/{exchange_id}/feedback", Feedback)

    def give_feedback(self, exchange_id: int, feedback: Feedback) -> Feedback:
        """Mark an exchange, or note something; neither takes the feedback back. The answer says when."""
        return self._post(f"/exchanges/{exchange_id}/feedback", Feedback, feedback)

    def profile(self, query: str = "") -> Profile:
        """Where the time of the exchanges went that match a query, with advice."""
        return self._get("/exchanges/profile", Profile, {"query": query})

    def conversation(self, exchange_id: int) -> Conversation:
        """The exchanges of the same run, process or connection around one, in order."""
        return self._get(f"/exchanges/{exchange_id}/conversation", Conversation)

    def logs(self) -> tuple[LogFile, ...]:
        """The followed files."""
        return self._get("/logs", tuple[LogFile, ...])

    def log_view(self, query: str = "") -> LogView:
        """Several logs in one: merged by time, only the lines that ``query`` asks for. Asking again goes on.

        Its id is asked for windows, searches, errors and levels like that of a file. Raises UsageError.
        """
        return self._get("/logs/view", LogView, {"query": query})

    def log_window(
        self, log_id: str, *, start: int | None = None, end: int | None = None, max_bytes: int = 65536
    ) -> LogWindow:
        """Whole lines of a followed file: forwards from ``start``, or backwards from ``end`` (None: its end)."""
        return self._get(f"/logs/{log_id}/window", LogWindow, window_query(start, end, max_bytes))

    def shutdown(self) -> Status:
        """Ask the engine to end. Runs go on."""
        return self._post("/shutdown", Status)

    def log_line(self, log_id: str, number: int, *, max_bytes: int = 65536) -> LogWindow:
        """Whole lines from line ``number`` (from 1) on; the last line where there are fewer."""
        asked: dict[str, str | int] = {"number": number, "max_bytes": max_bytes}
        return self._get(f"/logs/{log_id}/line", LogWindow, asked)

    def log_moment(self, log_id: str, at_ns: int, *, max_bytes: int = 65536) -> LogWindow:
        """Whole lines from the first one on that was written at ``at_ns`` or later."""
        asked: dict[str, str | int] = {"at_ns": at_ns, "max_bytes": max_bytes}
        return self._get(f"/logs/{log_id}/moment", LogWindow, asked)

    def log_errors(self, log_id: str) -> LogErrors:
        """The errors of a file, alike ones put together; asking again goes on where it is not complete."""
        return self._get(f"/logs/{log_id}/errors", LogErrors)

    def log_items(self, log_id: str) -> LogItems:
        """How long the items took that a file counts in its lines; where it is not complete, asking again goes on."""
        return self._get(f"/logs/{log_id}/items", LogItems)

    def log_levels(self, log_id: str) -> LogLevels:
        """How many errors, warnings and other lines there are, from the file's beginning to its end."""
        return self._get(f"/logs/{log_id}/levels", LogLevels)

    def log_index(self, log_id: str) -> LogIndex:
        """How many lines a followed file has, as far as they are counted."""
        return self._get(f"/logs/{log_id}/index", LogIndex)

    def log_search(self, log_id: str, text: str, *, regex: bool = False, at: int = -1) -> LogSearch:
        """Lines that hold a text, and those next to the line that starts at ``at`` (-1: before the first).

        An answer that is not complete says how far the search is; asking again goes on.
        """
        asked: dict[str, str | int] = {"text": text, "regex": int(regex), "at": at}
        return self._get(f"/logs/{log_id}/search", LogSearch, asked)

    def changes(self) -> Iterator[Snapshot | Change]:
        """A snapshot, then changes, until the engine ends."""
        status, chunks = exchange(self.socket, "GET", PREFIX + "/events", None, None, SILENCE_SECONDS)
        if status != 200:
            decode(status, b"".join(chunks), "/events", Snapshot)
        parser = EventParser()
        for chunk in chunks:
            yield from parser.feed(chunk)

    def _get(self, path: str, kind: type[T], query: dict[str, str | int] | None = None) -> T:
        return self._ask("GET", path, kind, query, None)

    def _post(self, path: str, kind: type[T], body: object = None, seconds: float = ANSWER_SECONDS) -> T:
        return self._ask("POST", path, kind, None, msgspec.json.encode(body), seconds)

    def _ask(
        self,
        method: str,
        path: str,
        kind: type[T],
        query: dict[str, str | int] | None,
        body: bytes | None,
        seconds: float = ANSWER_SECONDS,
    ) -> T:
        status, chunks = exchange(self.socket, method, PREFIX + path, query, body, seconds)
        return decode(status, b"".join(chunks), path, kind)

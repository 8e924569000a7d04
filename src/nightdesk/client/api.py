"""The engine as the viewer sees it: the calls of :class:`nightdesk.client.engine.Engine`, without blocking."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
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
    ExchangePlace,
    ExchangeTotals,
    Feedback,
    OfferedModel,
    Replay,
    ReplayRequest,
)
from nightdesk.model.items import ItemComparison, ItemDetail, ItemPage
from nightdesk.model.job import ItemMove, ItemRecord, Run, RunAction, StartRun
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
    SignalReport,
    SignalRequest,
    StopAllReport,
    TreeAction,
    TreeMember,
)
from nightdesk.model.profile import Profile
from nightdesk.model.sample import Sample
from nightdesk.model.whisper import Transcription

BASE = "http://nightdesk"
"""Any host will do: the socket decides who answers."""
CONNECT_SECONDS = 10.0
"""An engine that has gone refuses at once; on a busy machine one that is there may take its time."""
_JSON = {"Content-Type": "application/json"}


class AsyncEngine:
    """Raises EngineUnavailableError and NightdeskError as the commands' client does."""

    def __init__(self, socket: Path) -> None:
        self.socket = socket
        self._http = httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport(uds=str(socket)),
            base_url=BASE,
            timeout=httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS),
        )

    async def aclose(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def status(self) -> Status:
        """The desk in one object."""
        return await self._get("/status", Status)

    async def tree(self, key: ProcessKey) -> tuple[TreeMember, ...]:
        """The process and everything below it, root first."""
        return await self._get(f"/processes/{key.pid}/{key.started_ns}/tree", tuple[TreeMember, ...])

    async def signal(self, key: ProcessKey, action: TreeAction) -> SignalReport:
        """Pause, resume, stop or kill one tree; the first process of a run stands for the run."""
        path = f"/processes/{key.pid}/{key.started_ns}/{action}"
        return await self._post(path, SignalReport, seconds=ENDING_SECONDS)

    async def signal_several(self, keys: tuple[ProcessKey, ...], action: TreeAction) -> SignalReport:
        """Pause, resume, stop or kill several trees."""
        wanted = SignalRequest(keys=keys)
        return await self._post(f"/processes/{action}", SignalReport, wanted, ENDING_SECONDS)

    async def detail(self, key: ProcessKey) -> ProcessDetail:
        """One process in full, with the last hour of it."""
        return await self._get(f"/processes/{key.pid}/{key.started_ns}/detail", ProcessDetail)

    async def stacks(self, key: ProcessKey) -> Stacks:
        """Where the threads of a Python process stand."""
        return await self._get(f"/processes/{key.pid}/{key.started_ns}/stacks", Stacks)

    async def orphans(self) -> tuple[OrphanTree, ...]:
        """What was left behind, the largest first, with everything below."""
        return await self._get("/orphans", tuple[OrphanTree, ...])

    async def clean(self, keys: tuple[ProcessKey, ...]) -> SignalReport:
        """End those of the named processes that are orphans, with everything below."""
        return await self._post("/orphans/clean", SignalReport, SignalRequest(keys=keys), ENDING_SECONDS)

    async def everything(self) -> tuple[TreeMember, ...]:
        """What a stop of everything would end."""
        return await self._get("/stop-all", tuple[TreeMember, ...])

    async def stop_all(self) -> StopAllReport:
        """Stop all runs, end what earlier runs left behind, unload the models. Waits until that is done."""
        return await self._post("/stop-all", StopAllReport, seconds=ENDING_SECONDS)

    async def run_tree(self, run_id: str) -> tuple[TreeMember, ...]:
        """Every process of a run, as a stop or a kill would hit them."""
        return await self._get(f"/runs/{run_id}/tree", tuple[TreeMember, ...])

    async def items(self, job: str) -> tuple[str, ...]:
        """The items of a job, as its glob finds them now."""
        return await self._get(f"/jobs/{job}/items", tuple[str, ...], seconds=LISTING_SECONDS)

    async def start(self, request: StartRun) -> Run:
        """Start a job."""
        return await self._post("/runs", Run, request, LISTING_SECONDS)

    async def item_records(self, run_id: str) -> tuple[ItemRecord, ...]:
        """What became of the items of a run so far, in the order of time."""
        return await self._get(f"/runs/{run_id}/items", tuple[ItemRecord, ...])

    async def move_items(self, run_id: str, move: ItemMove) -> Run:
        """Do items of a run first or last, pass over them, or do them again."""
        return await self._post(f"/runs/{run_id}/items", Run, move)

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
        return await self._get(f"/runs/{run_id}/items/page", ItemPage, asked)

    async def item_detail(self, run_id: str, index: int) -> ItemDetail:
        """One item of a run with its failure and the end of its output. ``index`` counts from 0."""
        return await self._get(f"/runs/{run_id}/items/{index}", ItemDetail)

    async def item_log(self, run_id: str, index: int) -> LogFile:
        """The log that holds the output of an item; from now on it is followed."""
        return await self._post(f"/runs/{run_id}/items/{index}/log", LogFile)

    async def transcription(self, run_id: str, *, file: int | None = None, after: int = 0) -> Transcription:
        """The transcriptions of a run; segments of one file from a number on, else of the one in work."""
        chosen = "" if file is None else f"&file={file}"
        return await self._get(f"/runs/{run_id}/whisper?after={after}{chosen}", Transcription)

    async def comparison(self, run_id: str) -> ItemComparison:
        """A run of a single item beside what the item gave before."""
        return await self._get(f"/runs/{run_id}/comparison", ItemComparison)

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
        """A part of what the rules of a job say of its outputs, the worst first, and all of it summed up."""
        return await self._get(
            f"/jobs/{job}/outputs",
            OutputPage,
            outputs_query(state, rule, text, flagged=flagged, offset=offset, limit=limit),
        )

    async def output_items(self, job: str) -> tuple[str, ...]:
        """The items whose outputs the rules of a job are for."""
        return await self._get(f"/jobs/{job}/outputs/items", tuple[str, ...])

    async def look_at_outputs(self, job: str, items: tuple[str, ...]) -> tuple[OutputResult, ...]:
        """Apply the rules of a job to the outputs of these items now."""
        asked = OutputsAsked(items=items)
        return await self._post(f"/jobs/{job}/outputs", tuple[OutputResult, ...], asked, ENDING_SECONDS)

    async def flag_outputs(self, job: str, flags: OutputsFlagged) -> OutputPage:
        """Flag the outputs of items, or take their flags away."""
        return await self._post(f"/jobs/{job}/outputs/flags", OutputPage, flags)

    async def failures(self, run_id: str) -> tuple[FailedAttempt, ...]:
        """The failed attempts of a run of which something was kept, oldest first."""
        return await self._get(f"/runs/{run_id}/failures", tuple[FailedAttempt, ...])

    async def failure(self, run_id: str, serial: int) -> Diagnosis:
        """What was kept of one failed attempt."""
        return await self._get(f"/runs/{run_id}/failures/{serial}", Diagnosis)

    async def act(self, run_id: str, action: RunAction) -> Run:
        """Pause, resume, stop or kill a run."""
        return await self._post(f"/runs/{run_id}/{action}", Run)

    async def exchange(self, exchange_id: int) -> Exchange:
        """One exchange with its bodies; of a running one, what has come so far."""
        return await self._get(f"/exchanges/{exchange_id}", Exchange)

    async def grown(self, known: Exchange) -> Exchange:
        """A running exchange as it is now, when ``known`` is how it was: only what is new is fetched."""
        begins: dict[str, str | int] = {"text_from": len(known.text), "thinking_from": len(known.thinking)}
        found = await self._get(f"/exchanges/{known.id}", Exchange, begins)
        if found.state != "running" or not any(begins.values()):
            return found
        return msgspec.structs.replace(
            found,
            text=known.text + found.text,
            thinking=known.thinking + found.thinking,
            prompt=known.prompt,
            request_body=known.request_body,
        )

    async def replay(self, request: ReplayRequest) -> Replay:
        """Send the request of an exchange again; returns at once with the ids of the new exchanges."""
        return await self._post("/exchanges/replay", Replay, request)

    async def models_for(self, exchange_id: int) -> tuple[OfferedModel, ...]:
        """What the server of this exchange can answer with, by name."""
        return await self._get(f"/exchanges/{exchange_id}/models", tuple[OfferedModel, ...])

    async def ways_to_cancel(self, exchange_id: int) -> CancelWays:
        """How a running exchange can be ended."""
        return await self._get(f"/exchanges/{exchange_id}/cancel", CancelWays)

    async def cancel(self, exchange_id: int, how: CancelHow) -> CancelReport:
        """End a running exchange; waits some seconds to see whether the server stops."""
        return await self._post(f"/exchanges/{exchange_id}/cancel", CancelReport, CancelRequest(how=how))

    async def page(
        self, query: str = "", *, sort: str = "-started", offset: int = 0, limit: int = 200
    ) -> ExchangePage:
        """One page (of at most 1,000 rows) of the exchanges that match a query, running ones among them."""
        asked: dict[str, str | int] = {"query": query, "sort": sort, "offset": offset, "limit": limit}
        return await self._get("/exchanges/page", ExchangePage, asked)

    async def trouble(self, query: str = "", *, sort: str = "-started", offset: int = 0) -> ExchangePlace:
        """The first place from ``offset`` on, of the recorded ones in this order, with a verdict or an error."""
        asked: dict[str, str | int] = {"query": query, "sort": sort, "offset": offset}
        return await self._get("/exchanges/trouble", ExchangePlace, asked)

    async def totals(self, query: str = "") -> ExchangeTotals:
        """Sums over the exchanges that match a query."""
        return await self._get("/exchanges/totals", ExchangeTotals, {"query": query})

    async def samples(self, since_ns: int, until_ns: int, resolution_s: int) -> tuple[Sample, ...]:
        """Recorded samples of a span; resolutions are 1, 10 and 60 seconds."""
        asked: dict[str, str | int] = {
            "since_ns": since_ns,
            "until_ns": until_ns,
            "resolution_s": resolution_s,
        }
        return await self._get("/samples", tuple[Sample, ...], asked)

    async def energy(self) -> EnergyReport:
        """The energy of the night and of the newest runs."""
        return await self._get("/energy", EnergyReport)

    async def run_energy(self, run_id: str) -> RunEnergy:
        """The energy of a run and its items."""
        return await self._get(f"/runs/{run_id}/energy", RunEnergy)

    async def exchange_energy(self, exchange_id: int) -> ExchangeEnergy:
        """The energy of an exchange."""
        return await self._get(f"/exchanges/{exchange_id}/energy", ExchangeEnergy)

    async def query_words(self) -> dict[str, tuple[str, ...]]:
        """The values that occur, by key of a query, the most frequent first: for completion."""
        return await self._get("/exchanges/words", dict[str, tuple[str, ...]])

    async def feedback(self, exchange_id: int) -> Feedback:
        """What the user thinks of an exchange; empty where nothing was said."""
        return await self._get(f"/exchanges/{exchange_id}/feedback", Feedback)

    async def give_feedback(self, exchange_id: int, feedback: Feedback) -> Feedback:
        """Mark an exchange, or note something; neither takes the feedback back. The answer says when."""
        return await self._post(f"/exchanges/{exchange_id}/feedback", Feedback, feedback)

    async def profile(self, query: str = "") -> Profile:
        """Where the time of the exchanges went that match a query, with advice."""
        return await self._get("/exchanges/profile", Profile, {"query": query})

    async def conversation(self, exchange_id: int) -> Conversation:
        """The exchanges of the same run, process or connection around one, in order."""
        return await self._get(f"/exchanges/{exchange_id}/conversation", Conversation)

    async def log_view(self, query: str = "") -> LogView:
        """Several logs in one: merged by time, only the lines that ``query`` asks for. Asking again goes on.

        Its id is asked for windows, searches, errors and levels like that of a file. Raises UsageError.
        """
        return await self._get("/logs/view", LogView, {"query": query})

    async def log_window(
        self, log_id: str, *, start: int | None = None, end: int | None = None, max_bytes: int = 65536
    ) -> LogWindow:
        """Whole lines of a followed file: forwards from ``start``, or backwards from ``end`` (None: its end)."""
        return await self._get(f"/logs/{log_id}/window", LogWindow, window_query(start, end, max_bytes))

    async def log_line(self, log_id: str, number: int, *, max_bytes: int = 65536) -> LogWindow:
        """Whole lines from line ``number`` (from 1) on; the last line where there are fewer."""
        asked: dict[str, str | int] = {"number": number, "max_bytes": max_bytes}
        return await self._get(f"/logs/{log_id}/line", LogWindow, asked)

    async def log_moment(self, log_id: str, at_ns: int, *, max_bytes: int = 65536) -> LogWindow:
        """Whole lines from the first one on that was written at ``at_ns`` or later."""
        asked: dict[str, str | int] = {"at_ns": at_ns, "max_bytes": max_bytes}
        return await self._get(f"/logs/{log_id}/moment", LogWindow, asked)

    async def log_errors(self, log_id: str) -> LogErrors:
        """The errors of a file, alike ones put together; asking again goes on where it is not complete."""
        return await self._get(f"/logs/{log_id}/errors", LogErrors)

    async def log_items(self, log_id: str) -> LogItems:
        """How long the items took that a file counts in its lines; where it is not complete, asking again goes on."""
        return await self._get(f"/logs/{log_id}/items", LogItems)

    async def log_levels(self, log_id: str) -> LogLevels:
        """How many errors, warnings and other lines there are, from the file's beginning to its end."""
        return await self._get(f"/logs/{log_id}/levels", LogLevels)

    async def log_index(self, log_id: str) -> LogIndex:
        """How many lines a followed file has, as far as they are counted."""
        return await self._get(f"/logs/{log_id}/index", LogIndex)

    async def log_search(self, log_id: str, text: str, *, regex: bool = False, at: int = -1) -> LogSearch:
        """Lines that hold a text, and those next to the line that starts at ``at`` (-1: before the first).

        An answer that is not complete says how far the search is; asking again goes on.
        """
        asked: dict[str, str | int] = {"text": text, "regex": int(regex), "at": at}
        return await self._get(f"/logs/{log_id}/search", LogSearch, asked)

    async def changes(self) -> AsyncIterator[Snapshot | Change]:
        """A snapshot, then changes; a new snapshot after changes were lost. Ends when the engine ends."""
        with _named(self.socket):
            async with self._http.stream("GET", PREFIX + "/events", timeout=SILENCE_SECONDS) as answer:
                parser = EventParser()
                async for chunk in answer.aiter_bytes():
                    for event in parser.feed(chunk):
                        yield event

    async def _get(
        self,
        path: str,
        kind: type[T],
        query: dict[str, str | int] | None = None,
        seconds: float = ANSWER_SECONDS,
    ) -> T:
        limit = httpx.Timeout(seconds, connect=CONNECT_SECONDS)
        with _named(self.socket):
            answer = await self._http.get(PREFIX + path, params=query, timeout=limit)
        return decode(answer.status_code, answer.content, path, kind)

    async def _post(
        self, path: str, kind: type[T], body: object = None, seconds: float = ANSWER_SECONDS
    ) -> T:
        content, limit = msgspec.json.encode(body), httpx.Timeout(seconds, connect=CONNECT_SECONDS)
        with _named(self.socket):
            answer = await self._http.post(PREFIX + path, content=content, headers=_JSON, timeout=limit)
        return decode(answer.status_code, answer.content, path, kind)


class _named:  # noqa: N801 - reads as a function in a with statement
    """Turns transport errors into a sentence that names the socket."""

    def __init__(self, socket: Path) -> None:
        self.socket = socket

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, httpx.TimeoutException):
            raise EngineUnavailableError(
                f"The engine at {self.socket} did not answer in time.",
                "Look at its log: nightdesk doctor names the file.",
            ) from error
        if isinstance(error, httpx.TransportError):
            raise EngineUnavailableError(
                f"No engine answers at {self.socket}.", "Start one with: nightdesk up"
            ) from error

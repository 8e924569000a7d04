"""The viewer under test: a desk made of model structs, an engine that says what the test tells it to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec

from nightdesk.client.mirror import Mirror
from nightdesk.core.inspection.conditions import measure
from nightdesk.core.inspection.query import parse
from nightdesk.core.outputs.results import page as outputs_page
from nightdesk.core.outputs.results import wanted
from nightdesk.model.base import ProcessKey
from nightdesk.model.conversation import Conversation
from nightdesk.model.desk import (
    Change,
    DeskInfo,
    ExchangeCounts,
    LoadedModel,
    ModelServer,
    Snapshot,
    SourceState,
)
from nightdesk.model.diagnosis import Diagnosis, FailedAttempt
from nightdesk.model.energy import EnergyReport, ExchangeEnergy, RunEnergy
from nightdesk.model.errors import NightdeskError
from nightdesk.model.exchange import Exchange, ExchangeRow
from nightdesk.model.inspected import ProcessDetail, ProcessHistory, Stacks
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
from nightdesk.model.job import Failure, ItemMove, JobView, Run, RunAction, RunState, StartRun
from nightdesk.model.logs import (
    LogErrors,
    LogFile,
    LogIndex,
    LogItems,
    LogLevels,
    LogSearch,
    LogView,
    LogWindow,
    Progress,
)
from nightdesk.model.outputs import OutputPage, OutputResult, OutputsFlagged
from nightdesk.model.process import (
    OrphanTree,
    Ownership,
    ProcessRow,
    SignalReport,
    StopAllReport,
    TreeAction,
    TreeMember,
)
from nightdesk.model.profile import Profile
from nightdesk.model.sample import Sample
from nightdesk.model.whisper import Transcription
from nightdesk.tui.app import Viewer

NS = 10**9
NOW = 1_763_691_247 * NS


def key(pid: int) -> ProcessKey:
    """A process that started an hour ago."""
    return ProcessKey(pid=pid, started_ns=NOW - 3600 * NS - pid)


def process(pid: int, ppid: int, command: str, owner: Ownership = "other", **more: Any) -> ProcessRow:
    """A row of the process table."""
    given = {"cpu_ratio": 0.0, "rss_bytes": 10_000_000, "state": "S", "user": "night", **more}
    given.setdefault("name", command.partition(" ")[0])
    return ProcessRow(key=key(pid), ppid=ppid, command=command, owner=owner, **given)


def job(name: str, **more: Any) -> JobView:
    """A job of the desk."""
    given = {
        "command": f"python {name}.py",
        "drives_items": False,
        "has_single": False,
        "has_dry_run": False,
        **more,
    }
    return JobView(name=name, **given)


def run(name: str, state: RunState, **more: Any) -> Run:
    """A run of the job ``name``."""
    given = {
        "id": f"{name}-1",
        "mode": "full",
        "command": f"python {name}.py",
        "folder": "/desk",
        "created_ns": NOW - 600 * NS,
        "started_ns": NOW - 600 * NS,
        **more,
    }
    return Run(job=name, state=state, **given)


def snapshot(**more: Any) -> Snapshot:
    """A night with three jobs, an orphan, a model server, and 100 processes of other people."""
    progress = Progress(
        done=37, total=52, unit="file", rate_per_s=0.0035, eta_ns=4320 * NS, at_ns=NOW, source="items"
    )
    processes = (
        process(4091, 1, "python scripts/transcribe.py a.mp3", "run", cpu_ratio=3.8, rss_bytes=4_800_000_000,
                run="transcribe-1", job="transcribe", state="R"),
        process(4120, 4091, "ffmpeg -i a.mp3", "run", cpu_ratio=0.5, run="transcribe-1", job="transcribe"),
        process(900, 1, "ollama serve", "service", cpu_ratio=0.02, rss_bytes=140_000_000),
        process(3900, 1, "python old.py", "orphan", rss_bytes=19_700_000_000, orphan_reason="its run is gone"),
        *(process(200 + number, 1, f"daemon{number} --quiet") for number in range(100)),
    )  # fmt: skip
    given: dict[str, Any] = {
        "seq": 1,
        "at_ns": NOW,
        "desk": DeskInfo(
            name="ai-makerspace",
            folder="/desk",
            engine_version="0.1.0",
            api_version=1,
            engine=key(77),
            host="studio",
            platform="Linux",
        ),
        "sources": (SourceState(name="capture", state="live", label="lo tcpdump", at_ns=NOW),),
        "servers": (
            ModelServer(
                address="127.0.0.1:11434",
                state="up",
                version="0.12.6",
                models=(LoadedModel(name="llama3.1:8b", size_bytes=24_100_000_000),),
                at_ns=NOW,
            ),
        ),
        "processes": processes,
        "exchanges": (),
        "counts": ExchangeCounts(running=0, done=0, failed=0, verdicts=2),
        "samples": (),
        "jobs": (
            job("transcribe", has_single=True, drives_items=True, active_run="transcribe-1"),
            job("synthesize", has_dry_run=True, needs=("transcribe",), active_run="synthesize-1"),
            job("report", last_run="report-1"),
        ),
        "runs": (
            run(
                "report",
                "failed",
                ended_ns=NOW - 60 * NS,
                exit_status=1,
                failure=Failure(kind="oom", evidence="out of memory"),
            ),
            run("transcribe", "running", items_total=52, items_done=37, progress=progress),
            run("synthesize", "waiting", reason="waits for transcribe"),
        ),
        "logs": (),
    }
    return Snapshot(**{**given, **more})


class FakeEngine:
    """Says the snapshot, then whatever is put into ``more``; remembers what it was asked."""

    def __init__(self, first: Snapshot) -> None:
        self.first = first
        self.more: asyncio.Queue[Snapshot | Change | None] = asyncio.Queue()
        self.asked: list[tuple[Any, ...]] = []
        self.stored: tuple[ExchangeRow, ...] = ()
        """Exchanges that are too old for the snapshot."""
        self.pages: list[tuple[str, str, int, int]] = []
        self.given: dict[int, Feedback] = {}
        self.history: tuple[Sample, ...] = ()
        """Samples that are too old for the snapshot."""
        self.spent = EnergyReport()
        self.spent_on: dict[int, ExchangeEnergy] = {}
        self.output_results: list[OutputResult] = []
        self.transcriptions: Callable[[str, int | None, int], Transcription] = lambda run, *_: Transcription(
            run=run
        )
        self.refuses: NightdeskError | None = None
        self.details: dict[int, ProcessDetail] = {}
        """What is told of a process, by its number; the row alone where nothing is given."""
        self.members: tuple[TreeMember, ...] = (
            TreeMember(
                key=key(3900), depth=0, name="python", command="python old.py", rss_bytes=19_700_000_000
            ),
            TreeMember(
                key=key(3901), depth=1, name="python", command="python child.py", rss_bytes=300_000_000
            ),
        )

    async def changes(self) -> AsyncIterator[Snapshot | Change]:
        yield self.first
        while (item := await self.more.get()) is not None:
            yield item

    def _note(self, *asked: Any) -> None:
        if self.refuses is not None:
            raise self.refuses
        self.asked.append(asked)

    async def tree(self, key: ProcessKey) -> tuple[TreeMember, ...]:
        return self.members

    async def samples(self, since_ns: int, until_ns: int, resolution_s: int) -> tuple[Sample, ...]:
        self.asked.append(("samples", since_ns, until_ns, resolution_s))
        return tuple(one for one in self.history if since_ns <= one.at_ns <= until_ns)

    async def energy(self) -> EnergyReport:
        return self.spent

    async def run_energy(self, run_id: str) -> RunEnergy:
        found = next((one for one in self.spent.runs if one.run == run_id), None)
        if found is None:
            raise NightdeskError(f"No energy is known of run {run_id}.", "Nothing here reports its power.")
        return found

    async def exchange_energy(self, exchange_id: int) -> ExchangeEnergy:
        if exchange_id not in self.spent_on:
            raise NightdeskError(
                f"No energy is known of exchange {exchange_id}.", "Nothing here reports its power."
            )
        return self.spent_on[exchange_id]

    async def run_tree(self, run_id: str) -> tuple[TreeMember, ...]:
        return self.members

    async def signal(self, key: ProcessKey, action: TreeAction) -> SignalReport:
        self._note("signal", key, action)
        return self._ended(action)

    async def signal_several(self, keys: tuple[ProcessKey, ...], action: TreeAction) -> SignalReport:
        self._note("signal_several", keys, action)
        return self._ended(action)

    async def detail(self, key: ProcessKey) -> ProcessDetail:
        row = next((row for row in self.first.processes if row.key == key), None)
        if row is None:
            raise NightdeskError("It is gone.")
        return self.details.get(key.pid) or ProcessDetail(
            row=row, at_ns=NOW, history=ProcessHistory(key=key, step_ns=10 * NS, note="It begins now.")
        )

    async def stacks(self, key: ProcessKey) -> Stacks:
        self._note("stacks", key)
        return Stacks(
            key=key, at_ns=NOW, took_ns=40_000_000, text='Thread 1 (idle): "Main"\n    wait (old.py:7)'
        )

    async def orphans(self) -> tuple[OrphanTree, ...]:
        rows = [row for row in self.first.processes if row.owner == "orphan"]
        return tuple(
            OrphanTree(root=row, members=self.members, ports=(8080,), rss_bytes=row.rss_bytes or 0)
            for row in rows
        )

    async def clean(self, keys: tuple[ProcessKey, ...]) -> SignalReport:
        self._note("clean", keys)
        return self._ended("stop")

    async def everything(self) -> tuple[TreeMember, ...]:
        return self.members

    async def stop_all(self) -> StopAllReport:
        self._note("stop_all")
        said = "Unloaded llama3.1:8b (24.1 GB) in 1.0s."
        return StopAllReport(runs=("transcribe-1",), processes=self._ended("stop"), models=said)

    def _ended(self, action: str) -> SignalReport:
        keys = tuple(member.key for member in self.members)
        ending = action in ("stop", "kill")
        killed = keys if action == "kill" else keys[1:] if ending else ()
        return SignalReport(
            action=action,
            signalled=keys,
            gone=keys if ending else (),
            left=(),
            refused=(),
            killed=killed,
            freed_bytes=20_000_000_000 if ending else None,
        )

    async def start(self, request: StartRun) -> Run:
        self._note("start", request)
        return run(request.job, "running")

    async def act(self, run_id: str, action: RunAction) -> Run:
        self._note("act", run_id, action)
        return run("transcribe", "paused")

    async def items(self, job: str) -> tuple[str, ...]:
        return tuple(f"audio/session_{number:02}.mp3" for number in range(20))

    async def exchange(self, exchange_id: int) -> Exchange:
        raise NightdeskError("There is no such exchange.")

    async def grown(self, known: Exchange) -> Exchange:
        return await self.exchange(known.id)

    async def replay(self, request: ReplayRequest) -> Replay:
        raise NightdeskError("There is nothing to send it to.")

    async def models_for(self, exchange_id: int) -> tuple[OfferedModel, ...]:
        return ()

    async def ways_to_cancel(self, exchange_id: int) -> CancelWays:
        raise NightdeskError("There is no such exchange.")

    async def cancel(self, exchange_id: int, how: CancelHow) -> CancelReport:
        raise NightdeskError("There is no such exchange.")

    async def profile(self, query: str = "") -> Profile:
        raise NightdeskError("There is no profile.")

    async def conversation(self, exchange_id: int) -> Conversation:
        raise NightdeskError("There is no conversation.")

    async def feedback(self, exchange_id: int) -> Feedback:
        return self.given.get(exchange_id, Feedback())

    async def give_feedback(self, exchange_id: int, feedback: Feedback) -> Feedback:
        self._note("feedback", exchange_id, feedback)
        self.given[exchange_id] = feedback
        return feedback

    async def totals(self, query: str = "") -> ExchangeTotals:
        found = self._found(query)
        return ExchangeTotals(count=len(found), reply_tokens=sum(row.reply_tokens or 0 for row in found))

    async def page(
        self, query: str = "", *, sort: str = "-started", offset: int = 0, limit: int = 200
    ) -> ExchangePage:
        self.pages.append((query, sort, offset, limit))
        found = self._sorted(query, sort)
        return ExchangePage(rows=tuple(found[offset : offset + limit]), offset=offset, total=len(found))

    async def trouble(self, query: str = "", *, sort: str = "-started", offset: int = 0) -> ExchangePlace:
        found = self._sorted(query, sort)
        wrong = (place for place in range(offset, len(found)) if found[place].verdicts)
        return ExchangePlace(place=next(wrong, None))

    def _sorted(self, query: str, sort: str) -> list[ExchangeRow]:
        key, falls = sort.removeprefix("-"), sort.startswith("-")
        return sorted(self._found(query), key=lambda row: _order(row, key), reverse=falls)

    def _found(self, query: str) -> list[ExchangeRow]:
        wanted = parse(query)
        return [row for row in (*self.stored, *self.first.exchanges) if wanted.matches(row, NOW)]

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
        raise NightdeskError("There is no such run.")

    async def item_detail(self, run_id: str, index: int) -> ItemDetail:
        raise NightdeskError("There is no such run.")

    async def item_log(self, run_id: str, index: int) -> LogFile:
        raise NightdeskError("There is no such run.")

    async def move_items(self, run_id: str, move: ItemMove) -> Run:
        self._note("move_items", run_id, move)
        return run("transcribe", "running")

    async def failures(self, run_id: str) -> tuple[FailedAttempt, ...]:
        return ()

    async def failure(self, run_id: str, serial: int) -> Diagnosis:
        raise NightdeskError("There is no such failure.")

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
        asked = wanted(state, rule, text, flagged=flagged)
        return outputs_page(job, self.output_results, asked, offset=offset, limit=limit)

    async def output_items(self, job: str) -> tuple[str, ...]:
        return tuple(each.item for each in self.output_results)

    async def look_at_outputs(self, job: str, items: tuple[str, ...]) -> tuple[OutputResult, ...]:
        self.asked.append(("look_at_outputs", job, items))
        return tuple(each for each in self.output_results if each.item in items)

    async def flag_outputs(self, job: str, flags: OutputsFlagged) -> OutputPage:
        self.asked.append(("flag_outputs", job, flags))
        self.output_results = [
            replaced(each, flagged=flags.flagged, note=flags.note) if each.item in flags.items else each
            for each in self.output_results
        ]
        return await self.outputs(job)

    async def transcription(self, run_id: str, *, file: int | None = None, after: int = 0) -> Transcription:
        self.asked.append(("transcription", run_id, file, after))
        return self.transcriptions(run_id, file, after)

    async def comparison(self, run_id: str) -> ItemComparison:
        raise NightdeskError("There is no such run.")

    async def log_view(self, query: str = "") -> LogView:
        return LogView(id="view-1", query=query, files=(), size_bytes=0, complete=True)

    async def log_window(
        self, log_id: str, *, start: int | None = None, end: int | None = None, max_bytes: int = 65536
    ) -> LogWindow:
        return LogWindow(id=log_id, generation=0, start=0, end=0, size_bytes=0, lines=())

    async def log_line(self, log_id: str, number: int, *, max_bytes: int = 65536) -> LogWindow:
        return await self.log_window(log_id)

    async def log_moment(self, log_id: str, at_ns: int, *, max_bytes: int = 65536) -> LogWindow:
        return await self.log_window(log_id)

    async def log_errors(self, log_id: str) -> LogErrors:
        return LogErrors(id=log_id, generation=0, groups=(), scanned_bytes=0, size_bytes=0, complete=True)

    async def log_items(self, log_id: str) -> LogItems:
        return LogItems(id=log_id, generation=0, items=(), scanned_bytes=0, size_bytes=0, complete=True)

    async def log_levels(self, log_id: str) -> LogLevels:
        return LogLevels(id=log_id, generation=0, bins=(), size_bytes=0)

    async def log_index(self, log_id: str) -> LogIndex:
        return LogIndex(id=log_id, generation=0, lines=0, complete=True, indexed_bytes=0, size_bytes=0)

    async def log_search(self, log_id: str, text: str, *, regex: bool = False, at: int = -1) -> LogSearch:
        return LogSearch(text=text, regex=regex, count=0, scanned_bytes=0, size_bytes=0, complete=True)

    async def aclose(self) -> None:
        pass


def _order(row: ExchangeRow, key: str) -> tuple[Any, int]:
    if key == "started":
        return row.started_ns, row.id
    if key in ("model", "job", "state"):
        return getattr(row, key) or "", row.id
    return measure(row, key, NOW) or 0, row.id


def viewer(engine: FakeEngine, **more: Any) -> Viewer:
    """A viewer on ``engine`` whose clock stands still."""
    return Viewer("ai-makerspace", lambda: engine, **{"clock": lambda: NOW, **more})


def screen_lines(app: Viewer) -> list[str]:
    """The screen as text, one line a row."""
    strips = app.screen._compositor.render_strips()
    return ["".join(segment.text for segment in strip) for strip in strips]


def screen_text(app: Viewer) -> str:
    """The screen as one text."""
    return "\n".join(screen_lines(app))


async def until(pilot: Any, true: Any, seconds: float = 60.0) -> None:
    """Wait until ``true()``; fails after ``seconds``."""
    limit = asyncio.get_running_loop().time() + seconds
    while not true():
        assert asyncio.get_running_loop().time() < limit, "it never became true:\n" + screen_text(pilot.app)
        await pilot.pause(0.02)


def mirror(**more: Any) -> Mirror:
    """The viewer's copy of the standard night."""
    return Mirror.from_snapshot(snapshot(**more))


def replaced(row: Any, **more: Any) -> Any:
    """A struct with other fields."""
    return msgspec.structs.replace(row, **more)

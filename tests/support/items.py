"""An engine for tests of the viewer that has a run of many items."""

from __future__ import annotations

from typing import Any

from nightdesk.core.jobs.item_list import ItemList, list_items
from nightdesk.core.jobs.plans import Plan
from nightdesk.core.jobs.work import Attempt, Delayed, ItemQueue, Ledger, Work
from nightdesk.model.desk import Snapshot
from nightdesk.model.items import ItemComparison, ItemDetail, ItemOutcome, ItemPage
from nightdesk.model.job import Failure, ItemMove, ItemRecord, Run
from nightdesk.model.logs import LogFile, LogWindow
from tests.support.viewer import NOW, NS, FakeEngine, replaced, run, snapshot

DONE, FAILED, SKIPPED = 10, 2, 3
"""Of the items: so many are over, in this order; one more is in work, and one is tried again."""
RUN = "transcribe-1"


def failure(index: int) -> Failure:
    """Why an item failed."""
    return Failure(kind="oom", evidence=f"CUDA out of memory at item {index + 1}")


class ItemEngine(FakeEngine):
    """Says what the state machine's own list says of ``count`` items."""

    def __init__(self, count: int, **more: Any) -> None:
        names = tuple(f"audio/part_{number:06}.mp3" for number in range(1, count + 1))
        over = DONE + FAILED + SKIPPED
        counts = {"items_done": DONE + SKIPPED, "items_skipped": SKIPPED, "items_failed": FAILED}
        self.run = run("transcribe", more.pop("state", "running"), items_total=count, **counts, **more)
        super().__init__(self._night())
        attempt = Attempt(serial=99, index=over, tries=1, launched_ns=NOW - 5 * NS, started_ns=NOW - 5 * NS)
        delayed = Delayed(index=over + 1, tries=2, due_ns=NOW + 90 * NS)
        plan = Plan(job="transcribe", mode="full", arguments=("x",), folder="/desk", grace_ns=NS, items=names)
        queue = ItemQueue(
            pending=tuple(range(over + 2, count)),
            failed=tuple(range(DONE, DONE + FAILED)),
            skipped=frozenset(range(DONE + FAILED, over)),
            done=DONE,
        )
        work = Work(self.run, plan, Ledger(attempts=(attempt,), delayed=(delayed,)), queue)
        self.listed: ItemList = list_items(work, {index: _record(names, index) for index in range(over)})
        self.item_pages: list[dict[str, Any]] = []

    def _night(self) -> Snapshot:
        night = snapshot()
        runs = tuple(self.run if each.id == RUN else each for each in night.runs)
        told: Snapshot = replaced(night, runs=runs)
        return told

    async def item_page(self, run_id: str, **asked: Any) -> ItemPage:
        self.item_pages.append(asked)
        states = asked.pop("state")
        return self.listed.page(states, asked["text"], asked["sort"], asked["offset"], asked["limit"], NOW)

    async def item_detail(self, run_id: str, index: int) -> ItemDetail:
        lines = ("Transcribing", "CUDA out of memory")
        row = self.listed.row(index, NOW)
        return ItemDetail(
            run=run_id,
            row=row,
            log_path="/desk/items/x.log",
            lines=lines,
            exchanges=2,
            prompt_tokens=3100,
            reply_tokens=812,
        )

    async def item_log(self, run_id: str, index: int) -> LogFile:
        self._note("log", run_id, index)
        return LogFile(
            id="abc", path="/desk/x.log", name="x.log", origin="run", size_bytes=0, modified_ns=NOW
        )

    async def move_items(self, run_id: str, move: ItemMove) -> Run:
        self._note("move", run_id, move)
        after: Run = replaced(self.run, items_failed=0 if move.failed else self.run.items_failed)
        return after

    async def start(self, request: Any) -> Run:
        self._note("start", request)
        started: Run = replaced(self.run, id="transcribe-2", mode=request.mode, item=request.item)
        return started

    async def log_window(self, log_id: str, **asked: Any) -> LogWindow:
        lines = ("Transcribing with large-v3", "skip  audio/a.mp3  (a.json is there and not older)")
        return LogWindow(id=log_id, generation=0, start=0, end=80, size_bytes=80, lines=lines)

    async def comparison(self, run_id: str) -> ItemComparison:
        before = ItemOutcome(run=RUN, state="failed", took_ns=9 * NS, failure=failure(0), exchanges=0)
        now = ItemOutcome(run=run_id, state="done", took_ns=4 * NS, exchanges=2, prompt_tokens=3100)
        return ItemComparison(
            item="audio/part_000001.mp3",
            now=now,
            before=before,
            output_path="/desk/out/part.json",
            output_before="one\nthe old words\nthree\n",
            output_now="one\nthe new words\nthree\n",
        )


def _record(names: tuple[str, ...], index: int) -> ItemRecord:
    state = "done" if index < DONE else "failed" if index < DONE + FAILED else "skipped"
    began = None if state == "skipped" else NOW - 500 * NS
    return ItemRecord(
        item=names[index],
        index=index,
        state=state,  # type: ignore[arg-type]  # - one of three words
        attempts=0 if state == "skipped" else 1 + index % 2,
        started_ns=began,
        ended_ns=NOW - (400 - index) * NS,
        failure=failure(index) if state == "failed" else None,
    )

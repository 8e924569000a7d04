"""The items of a run as a list: states, filters, orders, pages, and where the output of an item lies."""

from __future__ import annotations

from typing import Any

import pytest

from nightdesk.core.jobs.item_list import SORTS, ItemList, list_items
from nightdesk.core.jobs.plans import Plan
from nightdesk.core.jobs.work import Attempt, Delayed, ItemQueue, Ledger, Work
from nightdesk.model.errors import UsageError
from nightdesk.model.job import Failure, ItemRecord, ItemState, Run

NS = 10**9
NOW = 1000 * NS
ITEMS = ("a", "b", "c", "d", "e", "f", "g")


def record(index: int, state: ItemState, ended: int, **more: Any) -> ItemRecord:
    """What became of an item."""
    given: dict[str, Any] = {"started_ns": (ended - 1 - index) * NS, "attempts": 1, **more}
    return ItemRecord(item=ITEMS[index], index=index, state=state, ended_ns=ended * NS, **given)


def make(items: tuple[str, ...] | None = ITEMS, **attempt: Any) -> ItemList:
    """``a`` done late, ``b`` failed early, ``c`` passed over, ``d`` in work, ``e`` delayed, ``g`` before ``f``."""
    run = Run(
        id="r",
        job="j",
        mode="full",
        state="running",
        command="x",
        folder="/r",
        log_path="/r/run.log",
        created_ns=1,
    )
    plan = Plan(job="j", mode="full", arguments=("x",), folder="/", grace_ns=NS, items=items)
    busy = Attempt(
        serial=9, index=3, tries=2, launched_ns=900 * NS, started_ns=901 * NS, still_ns=9 * NS, **attempt
    )
    ledger = Ledger(attempts=(busy,), delayed=(Delayed(index=4, tries=3, due_ns=NOW + NS),))
    queue = ItemQueue(
        pending=(6, 5),
        closed=frozenset({5}),
        why_closed="Waits for w.",
        failed=(1,),
        skipped=frozenset({2}),
        done=1,
    )
    failure = Failure(kind="oom", evidence="Out of memory on device 0")
    records = {
        0: record(0, "done", 500, log_offset=100),
        1: record(1, "failed", 300, failure=failure, log_offset=0),
        2: record(2, "skipped", 100, started_ns=None, attempts=0),
    }
    return list_items(Work(run, plan, ledger, queue), records)


def found(listed: ItemList, states: str = "", text: str = "", sort: str = "index") -> str:
    """The items that match, as one word."""
    return "".join(row.item for row in listed.page(states, text, sort, 0, 100, NOW).rows)


def test_each_item_has_the_state_that_the_run_says() -> None:
    page = make().page("", "", "index", 0, 100, NOW)
    assert [row.state for row in page.rows] == [
        "done", "failed", "skipped", "running", "delayed", "closed", "waiting"
    ]  # fmt: skip
    assert page.counts == dict.fromkeys(
        ("done", "failed", "skipped", "running", "delayed", "closed", "waiting"), 1
    )
    by_name = {row.item: row for row in page.rows}
    assert by_name["d"].took_ns == 90 * NS, "time in which it was paused does not count"
    assert (by_name["d"].attempts, by_name["e"].attempts, by_name["c"].attempts) == (2, 3, 0)
    assert (by_name["g"].place, by_name["f"].place) == (0, 1)
    assert by_name["f"].reason == "Waits for w." and by_name["g"].reason is None
    assert by_name["e"].due_ns == NOW + NS
    assert by_name["b"].failure is not None and by_name["a"].took_ns == NS


@pytest.mark.parametrize(
    ("states", "text", "items"),
    [
        ("failed", "", "b"),
        ("waiting,closed", "", "fg"),
        ("running delayed", "", "de"),
        ("", "MEMORY device", "b"),
        ("", "oom", "b"),
        ("done", "memory", ""),
        ("", "", "abcdefg"),
    ],
)
def test_states_and_words_choose_items(states: str, text: str, items: str) -> None:
    assert found(make(), states, text) == items


def test_orders_follow_the_work_the_name_the_state_and_the_time() -> None:
    listed = make()
    assert found(listed, sort="order") == "cbadegf"
    assert found(listed, sort="-index") == "gfedcba"
    assert found(listed, sort="state")[0] == "d"
    assert found(listed, sort="-took")[:3] == "dba"
    assert found(listed, sort="attempts")[-2:] == "de"
    assert all(len(found(listed, sort=f"{way}{name}")) == 7 for name in SORTS for way in ("", "-"))


def test_pages_are_parts_of_one_order_and_say_how_many_match() -> None:
    names = tuple(f"item {number}" for number in range(100_000))
    run = Run(id="r", job="j", mode="full", state="running", command="x", folder="/", created_ns=1)
    plan = Plan(job="j", mode="full", arguments=("x",), folder="/", grace_ns=NS, items=names)
    listed = list_items(Work(run, plan, Ledger(), ItemQueue(pending=tuple(range(100_000)))), {})
    page = listed.page("waiting", "item", "-index", 99_990, 200, NOW)
    assert (page.total, len(page.rows), page.rows[-1].item) == (100_000, 10, "item 0")
    assert listed.page("", "99999", "index", 0, 200, NOW).rows[0].place == 99_999
    assert listed.page("", "", "index", 200_000, 200, NOW).rows == ()


def test_an_unknown_order_state_or_place_is_refused_with_what_there_is() -> None:
    with pytest.raises(UsageError, match="can't be sorted by size") as fault:
        make().page("", "", "size", 0, 1, NOW)
    assert "took" in fault.value.hint
    with pytest.raises(UsageError, match="no state broken"):
        make().page("broken", "", "index", 0, 1, NOW)
    with pytest.raises(UsageError, match="no item number 7"):
        make().row(7, NOW)
    with pytest.raises(UsageError, match="drives no items"):
        make(items=None)


def test_the_output_of_an_item_ends_where_that_of_the_next_one_begins() -> None:
    listed = make(log_offset=250)
    assert listed.span(1) == ("/r/run.log", 0, 100)
    assert listed.span(0) == ("/r/run.log", 100, 250)
    assert listed.span(3) == ("/r/run.log", 250, None)
    assert listed.span(6) == (None, None, None)
    assert make(log_path="/r/items/4.log").span(3)[0] == "/r/items/4.log"

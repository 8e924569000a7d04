"""Pages, orders, filters and sums of recorded exchanges, in a real database."""

import sqlite3
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from nightdesk.core.inspection.conditions import measure
from nightdesk.core.inspection.query import parse
from nightdesk.core.inspection.searched import searched_text
from nightdesk.engine.store import retention, upgrade
from nightdesk.engine.store.exchanges import Fresh
from nightdesk.engine.store.history import History
from nightdesk.engine.store.migrations import MIGRATIONS
from nightdesk.engine.store.retention import prune
from nightdesk.model.errors import UsageError
from nightdesk.model.exchange import Exchange, Message, MissingBytes, Prompt, Verdict, row_of
from nightdesk.model.inspection import SORTS, Feedback
from nightdesk.model.process import ProcessRef
from tests.unit.test_query import HITS, MISSES

BEGIN = 1_795_000_000 * 10**9
NOW = BEGIN + 4000 * 10**9
MODELS = ("Qwen2.5-coder:32b", "llama3.1:8b", None)


def exchange(number: int, **changes: Any) -> Exchange:
    began = BEGIN + number * 10**9
    given: dict[str, Any] = {
        "id": number,
        "state": ("complete", "failed", "aborted", "complete", "complete")[number % 5],
        "client_addr": "127.0.0.1:50000",
        "server_addr": "127.0.0.1:11434",
        "connection": 1,
        "position": number,
        "path": "/api/chat",
        "method": "POST",
        "status": 500 if number % 7 == 0 else 200,
        "dialect": "ollama",
        "operation": "chat",
        "streamed": True,
        "fragments": 3,
        "model": MODELS[number % 3],
        "text": f"A golden river number {number}. Ströme",
        "thinking": "hmm" if number % 4 else "pondering",
        "tool_calls": (),
        "done": True,
        "done_reason": "stop" if number % 3 else "length",
        "started_ns": began,
        "first_token_ns": began + number % 11 * 10**9 if number % 6 else None,
        "ended_ns": began + (number * 37 % 100) * 10**9,
        "prompt_tokens": number * 613 % 9000,
        "reply_tokens": number * 71 % 300 if number % 8 else None,
        "generation_ns": (number % 9) * 10**9,
        "request_bytes": number * 5000,
        "request_sha256": "0" * 64,
        "response_bytes": 20,
        "response_sha256": "1" * 64,
        "missing_bytes": MissingBytes(request=0, response=0),
        "process": ProcessRef(pid=4000 + number, started_ns=1, name="python3", command="python3 a.py"),
        "verdicts": (Verdict(kind="context_cut", evidence="", advice=""),) if number % 10 == 0 else (),
        "run": f"transcribe-{number % 20}",
        "job": ("transcribe", "synthesize")[number % 2],
        "item": f"talk {number}.mp3",
        "prompt": Prompt(messages=(Message(role="user", content=f"lantern Café {number}"),)),
    }
    return Exchange(**(given | changes))


ALL = tuple(exchange(number) for number in range(1, 61))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[History]:
    made = History(tmp_path / "desk.db", keep_ns=2**62, max_bytes=10**9)
    yield made
    made.close()


def fill(store: History, exchanges: tuple[Exchange, ...] = ALL) -> None:
    for one in exchanges:
        store.save_exchange(one)
    store.flush()


def page_ids(store: History, query: str = "", **asked: Any) -> list[int]:
    return [row.id for row in store.page(parse(query), now_ns=NOW, **asked).rows]


def fresh(one: Exchange) -> Fresh:
    return Fresh(row_of(one), lambda: searched_text(one))


@pytest.mark.parametrize("can_search", [True, False])
def test_the_store_finds_exactly_what_matches_in_memory(store: History, can_search: bool) -> None:
    fill(store)
    store.can_search = can_search
    more = (
        "status:error",
        "first>5s",
        "-first>5s",
        "pond",
        "-golden",
        '"river number 1"',
        "strome",
        "cafe 17",
    )
    for text in (*HITS, *MISSES, *more):
        query = parse(text)
        wanted = [one.id for one in ALL if query.matches(row_of(one), NOW, fresh(one).text)]
        assert page_ids(store, text, sort="started") == wanted, text
        assert store.totals(query, now_ns=NOW).count == len(wanted), text


@pytest.mark.parametrize("sort", [sign + name for name in SORTS for sign in ("", "-")])
def test_pages_follow_one_another_in_every_order_with_running_ones_in_their_place(
    store: History, sort: str
) -> None:
    fill(store, ALL[:50])
    running = tuple(fresh(msgspec.structs.replace(one, state="running", ended_ns=None)) for one in ALL[50:57])
    for one in ALL[57:]:
        store._unsaved[one.id] = one
    seen: list[int] = []
    for offset in range(0, 70, 7):
        page = store.page(parse(""), now_ns=NOW, sort=sort, offset=offset, limit=7, running=running)
        assert page.total == 60 and page.offset == offset
        seen += [row.id for row in page.rows]
    store._unsaved.clear()
    assert sorted(seen) == list(range(1, 61))
    rows = {one.id: row_of(one) for one in ALL} | {one.row.id: one.row for one in running}
    values = [value(rows[number], sort.removeprefix("-")) for number in seen]
    known = [one for one in values if one is not None]
    assert known == sorted(known, reverse=sort.startswith("-"))
    assert values == [*known, *[None] * (60 - len(known))]


@pytest.mark.parametrize("sort", ["-started", "took", "-tokens", "model"])
def test_the_next_one_in_trouble_is_found_in_every_order_with_running_ones_in_their_place(
    store: History, sort: str
) -> None:
    fill(store, ALL[::2])
    running = tuple(fresh(one) for one in ALL[1::2])
    rows = store.page(parse(""), now_ns=NOW, sort=sort, limit=1000, running=running).rows
    stored = {one.id for one in ALL[::2]}
    wrong = [
        place
        for place, row in enumerate(rows)
        if row.id in stored and (row.verdicts or row.state in ("failed", "aborted", "incomplete"))
    ]
    assert wrong, "there is something to find"
    for begin in range(len(rows) + 1):
        found = store.trouble(parse(""), now_ns=NOW, sort=sort, offset=begin, running=running)
        assert found == next((place for place in wrong if place >= begin), None)


def value(row: Any, name: str) -> Any:
    direct = {"started": row.started_ns, "state": row.state, "model": row.model, "job": row.job}
    known = direct[name] if name in direct else measure(row, name, NOW)
    return known.casefold() if isinstance(known, str) else known


def test_an_unknown_order_is_refused_with_the_known_ones(store: History) -> None:
    with pytest.raises(UsageError, match="took"):
        store.page(parse(""), now_ns=NOW, sort="id; DROP TABLE exchanges")


def test_an_exchange_that_is_written_and_still_held_is_counted_once(store: History) -> None:
    fill(store, ALL[:3])
    store._unsaved[3] = ALL[2]
    assert page_ids(store) == [3, 2, 1]
    assert store.totals(parse(""), now_ns=NOW).count == 3
    store._unsaved.clear()


def test_totals_add_up_what_is_stored_and_what_runs(store: History) -> None:
    fill(store, ALL[:40])
    running = tuple(fresh(one) for one in ALL[40:])
    totals = store.totals(parse("model:qwen"), now_ns=NOW, running=running)
    wanted = [one for one in ALL if one.model == MODELS[0]]
    took = sorted((one.ended_ns or 0) - one.started_ns for one in wanted)
    rated = [one for one in wanted if one.reply_tokens is not None and one.generation_ns]
    assert totals.count == len(wanted)
    assert totals.states == {
        state: count
        for state in ("complete", "failed", "aborted")
        if (count := sum(one.state == state for one in wanted))
    }
    assert totals.verdicts == {"context_cut": sum(bool(one.verdicts) for one in wanted)}
    assert totals.prompt_tokens == sum(one.prompt_tokens or 0 for one in wanted)
    assert totals.reply_tokens == sum(one.reply_tokens or 0 for one in wanted)
    assert totals.tokens_per_s == pytest.approx(
        sum(one.reply_tokens or 0 for one in rated) * 1e9 / sum(one.generation_ns or 0 for one in rated)
    )
    assert totals.duration.max_ns == took[-1]
    assert totals.duration.p50_ns in (took[9], took[10]) and totals.duration.p95_ns == took[18]
    nothing = store.totals(parse("model:none"), now_ns=NOW)
    assert nothing.count == 0 and nothing.duration.p50_ns is None and nothing.tokens_per_s is None


def test_feedback_is_shown_found_and_taken_back(store: History) -> None:
    fill(store, ALL[:5])
    store.save_feedback(2, Feedback(mark="good", note="as it should be", at_ns=5))
    store.save_feedback(9, Feedback(mark="bad", at_ns=6))
    fill(store, ALL[5:9])
    assert page_ids(store, "mark:good") == [2]
    assert page_ids(store, "mark:*") == [9, 2]
    assert store.page(parse("id:2"), now_ns=NOW).rows[0].mark == "good"
    assert store.newest(10)[1].mark == "good"
    path = store.path
    again = History(path, keep_ns=2**62, max_bytes=10**9)
    assert again.feedback(2) == Feedback(mark="good", note="as it should be", at_ns=5)
    again.save_feedback(2, Feedback(at_ns=7))
    again.flush()
    assert page_ids(again, "mark:*") == [9] and again.feedback(2) == Feedback()
    again.close()


def test_an_exchange_that_is_written_again_replaces_its_words(store: History) -> None:
    fill(store, ALL[:3])
    fill(store, (msgspec.structs.replace(ALL[1], text="Nothing but sand.", verdicts=()),))
    assert page_ids(store, "sand") == [2]
    assert page_ids(store, "golden") == [3, 1]


def old_database(path: Path, exchanges: tuple[Exchange, ...]) -> None:
    """As the first version of the schema kept it."""
    database = sqlite3.connect(path)
    database.executescript(MIGRATIONS[0] + "PRAGMA user_version = 1;")
    database.execute("CREATE VIRTUAL TABLE exchange_text USING fts5 (prompt, reply, content='')")
    for one in exchanges:
        summary = msgspec.json.encode(row_of(one))
        content = zlib.compress(msgspec.json.encode(one), 1)
        values = (one.id, one.started_ns, one.ended_ns, one.state, one.model, one.run, one.job, one.item)
        database.execute(
            "INSERT INTO exchanges VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", (*values, summary, content)
        )
    database.commit()
    database.close()


def test_a_database_of_the_first_version_is_upgraded_in_steps_while_it_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upgrade, "STEP_ROWS", 7)
    old_database(tmp_path / "desk.db", ALL[:40])
    store = History(tmp_path / "desk.db", keep_ns=2**62, max_bytes=10**9)
    assert [row.id for row in store.newest(3)] == [38, 39, 40]
    fill(store, ALL[40:45])
    limit = time.monotonic() + 20
    while store.page(parse(""), now_ns=NOW).total < 45:
        assert time.monotonic() < limit
        time.sleep(0.02)
    assert page_ids(store, "lantern", limit=100) == list(range(45, 0, -1))
    assert page_ids(store, "size>150kb", sort="size", limit=3) == [30, 31, 32]
    until_done = time.monotonic() + 20
    while has_table(store.path, "exchange_text"):
        assert time.monotonic() < until_done
        time.sleep(0.02)
    store.close()
    again = History(tmp_path / "desk.db", keep_ns=2**62, max_bytes=10**9)
    assert page_ids(again, "lantern", limit=100) == list(range(45, 0, -1))
    again.close()


def has_table(path: Path, name: str) -> bool:
    with sqlite3.connect(path) as database:
        found = database.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (name,)).fetchone()
    database.close()
    return found is not None


def prune_all(store: History, now_ns: int, **limits: int) -> None:
    for _ in range(10):
        with sqlite3.connect(store.path, isolation_level=None) as database:
            prune(database, now_ns, can_search=True, **limits)
        database.close()


def test_the_old_is_forgotten_with_its_words_but_not_what_has_feedback(store: History) -> None:
    fill(store)
    store.save_feedback(5, Feedback(mark="good"))
    store.save_feedback(6, Feedback(note="look again"))
    store.flush()
    prune_all(store, BEGIN + 50 * 10**9, keep_ns=10 * 10**9, max_bytes=10**9)
    assert page_ids(store, limit=100) == [*range(60, 39, -1), 6, 5]
    assert page_ids(store, "lantern", limit=100) == [*range(60, 39, -1), 6, 5]
    assert store.exchange(5) == ALL[4] and store.exchange(7) is None


def test_where_the_size_demands_it_what_has_feedback_goes_last(
    store: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "PRUNE_ROWS", 6)
    fill(store)
    store.save_feedback(5, Feedback(mark="good"))
    store.flush()
    prune_all(store, NOW, keep_ns=2**61, max_bytes=1)
    assert page_ids(store, limit=100) == [5]
    prune_all(store, NOW, keep_ns=2**61, max_bytes=1)
    assert page_ids(store, limit=100) == []
    fill(store, ALL[:2])
    assert page_ids(store, "lantern") == [2, 1]


def test_the_newest_come_whole_without_those_that_are_large(store: History) -> None:
    words = " ".join(str(number * number) for number in range(60_000))
    fill(store, (*ALL[:10], exchange(11, text=words)))
    assert [one.id for one in store.recent(limit=3)] == [10, 9, 8]
    assert store.recent(limit=3)[0].prompt == ALL[9].prompt

import sqlite3
import stat
import time
from pathlib import Path
from typing import Any

import pytest

from nightdesk.core.inspection.query import parse
from nightdesk.engine.store.history import History
from nightdesk.engine.store.migrations import MIGRATIONS
from nightdesk.model.errors import StoreError
from nightdesk.model.exchange import Exchange, Message, MissingBytes, Prompt
from nightdesk.model.sample import Cpu, Sample


def exchange(number: int, text: str = "A golden river.") -> Exchange:
    return Exchange(
        id=number,
        state="complete",
        client_addr="127.0.0.1:50000",
        server_addr="127.0.0.1:11434",
        connection=1,
        position=number,
        dialect="ollama",
        operation="chat",
        streamed=True,
        fragments=3,
        model="tiny",
        text=text,
        thinking="",
        tool_calls=(),
        done=True,
        started_ns=10**18 + number,
        ended_ns=10**18 + number + 5,
        request_bytes=10,
        request_sha256="0" * 64,
        response_bytes=20,
        response_sha256="1" * 64,
        missing_bytes=MissingBytes(request=0, response=0),
        verdicts=(),
        run="night-1",
        prompt=Prompt(messages=(Message(role="user", content=f"lantern number {number}"),)),
    )


def ids(store: History, query: str = "", **asked: Any) -> list[int]:
    return [row.id for row in store.page(parse(query), now_ns=2 * 10**18, **asked).rows]


def open_store(folder: Path, **options: int) -> History:
    return History(folder / "desk.db", keep_ns=options.get("keep_ns", 15 * 10**17), max_bytes=10**9)


def test_exchanges_come_back_whole_and_can_be_searched(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    for number in range(1, 6):
        store.save_exchange(exchange(number))
    store.flush()
    assert store.exchange(3) == exchange(3)
    assert [row.id for row in store.newest(2)] == [4, 5]
    assert ids(store, '"lantern number 2"') == [2]
    assert ids(store, "id:1-2") == [2, 1]
    assert store.next_exchange_id() == 6
    store.close()


def test_text_is_found_without_a_search_index_too(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.can_search = False
    for number in range(1, 6):
        store.save_exchange(exchange(number))
    store.flush()
    assert ids(store, '"LANTERN number 2"') == [2]
    assert ids(store, '"golden river"', limit=2) == [5, 4]
    assert ids(store, '"golden river" run:another') == []
    store.close()


def test_the_database_is_closed_to_others_from_the_beginning(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.save_exchange(exchange(1))
    store.flush()
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    store.close()
    assert set(modes.values()) == {0o600}, modes


def test_a_damaged_database_is_moved_aside_and_recording_goes_on(tmp_path: Path) -> None:
    (tmp_path / "desk.db").write_bytes(b"this is no database" * 1000)
    store = open_store(tmp_path)
    store.save_exchange(exchange(1))
    store.flush()
    assert store.exchange(1) == exchange(1)
    assert store.notice and "damaged" in store.notice
    assert any("damaged" in path.name for path in tmp_path.iterdir())
    store.close()


def test_a_locked_database_is_one_sentence_with_the_next_step(tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "desk.db", isolation_level=None)
    other.execute("CREATE TABLE t (x)")
    other.execute("PRAGMA locking_mode = EXCLUSIVE")
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StoreError, match="can't be opened"):
        open_store(tmp_path)
    other.close()


def test_a_database_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    newer = sqlite3.connect(tmp_path / "desk.db")
    newer.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    newer.close()
    with pytest.raises(StoreError, match="Update Nightdesk"):
        open_store(tmp_path)


def test_a_store_that_cannot_write_says_so_and_recovers(tmp_path: Path) -> None:
    said: list[tuple[str, str | None]] = []
    store = History(
        tmp_path / "desk.db", keep_ns=15 * 10**17, max_bytes=10**9, on_state=lambda s, m: said.append((s, m))
    )
    store._writer.execute("PRAGMA query_only = ON")
    store.save_exchange(exchange(1))
    store.flush()
    store._writer.execute("PRAGMA query_only = OFF")
    store.save_exchange(exchange(2))
    store.flush()
    store.close()
    assert said[0][0] == "degraded" and "could not be written" in (said[0][1] or "")
    assert said[-1][0] == "live"


def test_samples_are_kept_in_three_resolutions(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    start = time.time_ns() - 130 * 10**9
    for second in range(120):
        at_ns = start + second * 10**9
        cpu = Cpu(ratio=second % 2)
        store.save_sample(Sample(at_ns=at_ns, elapsed_ns=10**9, source="host", devices=(), cpu=cpu))
    store.flush()
    kept = [store.samples(0, 2**62, resolution) for resolution in (1, 10, 60)]
    store.close()
    assert [len(each) for each in kept] == [120, 12, 2]
    # What the longer ones skip is in them as its mean, with the least and the greatest value.
    last = kept[1][-1]
    assert (last.elapsed_ns, last.cpu and last.cpu.ratio) == (10 * 10**9, 0.5)
    assert last.spread["cpu.ratio"] == (0, 1)


def test_an_exchange_can_be_read_from_the_moment_it_is_given(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    with sqlite3.connect(tmp_path / "desk.db", isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")  # the writer thread has to wait
        store.save_exchange(exchange(1))
        assert store.exchange(1) == exchange(1)
        other.execute("ROLLBACK")
    store.flush()
    assert store.exchange(1) == exchange(1)
    store.close()

"""Recorded exchanges, asked for over the socket of a real engine and with the real commands."""

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from nightdesk.client.api import AsyncEngine
from nightdesk.client.desk import Desk, find_desk
from nightdesk.client.engine import Engine
from nightdesk.client.launch import ensure_engine, make_folders
from nightdesk.core.inspection.query import quoted
from nightdesk.engine.store.history import History
from nightdesk.model.errors import EngineUnavailableError, UsageError
from nightdesk.model.exchange import Exchange
from nightdesk.model.inspection import Feedback
from tests.engine.test_store_exchanges import ALL, BEGIN
from tests.support.world import until

NIGHTDESK = str(Path(sys.executable).with_name("nightdesk"))
CONFIG = """
[capture]
source = "off"
[sensors]
source = "off"
[export]
redact = ['golden \\w+']
"""


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """A desk with sixty recorded exchanges and an engine."""
    folder = tmp_path_factory.mktemp("desk")
    with pytest.MonkeyPatch.context() as patch:
        (folder / "run").mkdir(mode=0o700)
        patch.setenv("XDG_RUNTIME_DIR", str(folder / "run"))
        (folder / "nightdesk.toml").write_text(CONFIG)
        made = find_desk(folder)
        make_folders(made)
        store = History(made.database, keep_ns=2**62, max_bytes=10**9)
        for one in ALL:
            store.save_exchange(one)
        store.flush()
        store.close()
        ensure_engine(made, ('store.keep="10000d"',))
        yield made
        pid = Engine(made.socket).shutdown().desk.engine.pid
        until(lambda: not is_alive(pid), "the engine's end")


def is_alive(pid: int) -> bool:
    with contextlib.suppress(ProcessLookupError, ChildProcessError):
        os.kill(pid, 0)
        return True
    return False


def run(desk: Desk, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [NIGHTDESK, *words], cwd=desk.folder, capture_output=True, text=True, check=False, timeout=60
    )


def lines(desk: Desk, *words: str) -> list[dict[str, Any]]:
    done = run(desk, *words)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_pages_and_totals_come_over_the_socket(desk: Desk) -> None:
    engine = Engine(desk.socket)
    page = engine.page('model:qwen "golden river"', sort="-took", offset=2, limit=5)
    took = [(row.ended_ns or 0) - row.started_ns for row in page.rows]
    assert page.total == 20 and len(page.rows) == 5 and took == sorted(took, reverse=True)
    assert engine.totals("model:qwen").count == 20
    words = engine.query_words()
    assert words["job"] == ("synthesize", "transcribe") and words["verdict"] == ("context_cut",)


def test_the_viewers_client_asks_the_same_questions(desk: Desk) -> None:
    async def ask() -> tuple[int, int, str]:
        engine = AsyncEngine(desk.socket)
        try:
            given = await engine.give_feedback(50, Feedback(note="odd"))
            assert given.at_ns and (await engine.feedback(50)).note == "odd"
            await engine.give_feedback(50, Feedback())
            words = await engine.query_words()
            return (
                (await engine.page("job:scribe")).total,
                (await engine.totals("id:1-9")).count,
                words["model"][0],
            )
        finally:
            await engine.aclose()

    assert asyncio.run(ask()) == (30, 9, "llama3.1:8b")


def test_a_wrong_filter_is_refused_with_place_and_remedy(desk: Desk) -> None:
    engine = Engine(desk.socket)
    for ask in (engine.page, engine.totals, lambda text: list(engine.documents(text))):
        with pytest.raises(UsageError, match=r"modle \(at 1\) is no key.*Did you mean model"):
            ask("modle:x")
    with pytest.raises(UsageError, match="can't be sorted"):
        engine.page(sort="colour")
    with pytest.raises(UsageError, match="There is no exchange 999"):
        engine.give_feedback(999, Feedback(mark="good"))


def test_whole_exchanges_are_streamed_in_the_order_of_their_begin(desk: Desk) -> None:
    documents = list(Engine(desk.socket).documents("job:scribe"))
    assert [msgspec.json.decode(one, type=Exchange) for one in documents] == [
        one for one in ALL if one.job == "transcribe"
    ]
    assert list(Engine(desk.socket).documents("job:nobody")) == []


def test_feedback_marks_the_list_chooses_the_dataset_and_can_be_taken_back(desk: Desk) -> None:
    assert "good · so" in run(desk, "feedback", "5", "good", "--note", "so").stdout
    assert run(desk, "feedback", "10", "good").returncode == 0
    assert [one["id"] for one in lines(desk, "traffic", "-q", "mark:good", "--json")] == [5, 10]
    assert "feedback good · so" in run(desk, "show", "5").stdout
    chats = lines(desk, "export", "--dataset")
    assert [chat["messages"][0]["content"] for chat in chats] == ["lantern Café 5", "lantern Café 10"]
    assert all("golden river" not in chat["messages"][-1]["content"] for chat in chats)
    assert json.loads(run(desk, "feedback", "5", "bad", "--json").stdout)["note"] == "so"
    assert "no feedback" in run(desk, "feedback", "5", "clear").stdout
    assert "no feedback" in run(desk, "feedback", "10", "clear").stdout


def test_lists_follow_the_options_of_the_filter(desk: Desk) -> None:
    def ids(*words: str) -> list[int]:
        return [one["id"] for one in lines(desk, "traffic", "--json", *words)]

    assert ids("-n", "3") == [58, 59, 60]
    assert ids("--model", "QWEN", "--job", "transcribe", "-n", "2") == [54, 60]
    assert ids("--status", "500", "-q", "id:1-20") == [7, 14]
    assert ids("--run", "transcribe-3", "--grep", "river number 23") == [23]
    assert ids("--sort", "-size", "-n", "2") == [60, 59]
    assert ids("--since", "2000-01-01", "--until", "2001-01-01") == []
    assert "No exchange matches job:" in run(desk, "traffic", "--job", "nobody").stdout
    wrong = run(desk, "traffic", "--status", "eror")
    assert wrong.returncode == 2 and "Did you mean error?" in wrong.stderr


def test_exports_of_the_recorded_are_whole_and_redacted(desk: Desk) -> None:
    exported = lines(desk, "export", "--jsonl", "-q", "id:3,4")
    assert [one["id"] for one in exported] == [3, 4] and exported[0]["started_ns"] == BEGIN + 3 * 10**9
    assert exported[0]["text"].startswith("A [redacted] number 3")
    done = run(desk, "export", "--har", "-o", "night.har", "--redact", "--grep", "golden river")
    assert done.returncode == 0 and "60 exchanges" in done.stderr
    archive = json.loads((desk.folder / "night.har").read_text())
    assert [entry["_id"] for entry in archive["log"]["entries"]] == list(range(1, 61))
    nothing = run(desk, "export", "--har", "-q", quoted("zeppelin"))
    assert json.loads(nothing.stdout)["log"]["entries"] == [] and "0 exchanges" in nothing.stderr


def test_an_answer_that_breaks_off_is_no_whole_export(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()

        def serve() -> None:
            client, _ = listening.accept()
            with client:
                client.recv(65536)
                client.sendall(b'HTTP/1.0 200 OK\r\n\r\n{"id":1}\n{"id":')

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        documents = Engine(path).documents()
        assert next(documents) == b'{"id":1}'
        with pytest.raises(EngineUnavailableError, match="before all exchanges were read"):
            next(documents)
        thread.join(10)

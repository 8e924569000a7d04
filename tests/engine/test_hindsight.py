"""Profiles and conversations from a real engine and its store, over its real socket."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from nightdesk.client.desk import Desk, find_desk
from nightdesk.client.engine import Engine
from nightdesk.client.launch import ensure_engine
from nightdesk.engine.store.history import History
from nightdesk.model.errors import UsageError
from nightdesk.model.exchange import Exchange, Message, MissingBytes, Prompt
from nightdesk.model.inspection import Feedback
from nightdesk.model.process import ProcessRef

NS = 10**9
CONFIG = '[capture]\nsource = "off"\n[sensors]\nsource = "off"\n'
PYTHON = ProcessRef(pid=4101, started_ns=7, name="python", command="python chat.py")
AGAIN = ProcessRef(pid=4101, started_ns=8, name="python", command="python chat.py")


def until(condition: Callable[[], Any], what: str, seconds: float = 20) -> Any:
    limit = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < limit, f"waited {seconds} s for {what}"
        time.sleep(0.02)
    return value


def exchange(number: int, at: int, *said: str, **more: Any) -> Exchange:
    """A chat of 10 seconds, 6 of them loading, that begins ``at`` seconds after a moment two hours ago."""
    begun = (time.time_ns() // NS - 7200 + at) * NS
    roles = ("user", "assistant")
    given: dict[str, Any] = {
        "id": number,
        "state": "complete",
        "client_addr": "127.0.0.1:41234",
        "server_addr": "127.0.0.1:11434",
        "connection": 1,
        "position": number,
        "dialect": "ollama",
        "operation": "chat",
        "streamed": True,
        "fragments": 9,
        "model": "llama3.1:8b",
        "text": f"answer {number}",
        "thinking": "",
        "tool_calls": (),
        "done": True,
        "done_reason": "stop",
        "prompt_tokens": 100,
        "reply_tokens": 30,
        "load_ns": 6 * NS,
        "prompt_ns": 1 * NS,
        "generation_ns": 3 * NS,
        "started_ns": begun,
        "first_token_ns": begun + 7 * NS,
        "ended_ns": begun + 10 * NS,
        "request_bytes": 0,
        "request_sha256": "",
        "response_bytes": 0,
        "response_sha256": "",
        "missing_bytes": MissingBytes(request=0, response=0),
        "process": PYTHON,
        "verdicts": (),
        "prompt": Prompt(
            messages=tuple(Message(role=roles[n % 2], content=words) for n, words in enumerate(said)),
            keep_alive=0,
        ),
        "request_body": "x" * 1000,
        **more,
    }
    return Exchange(**given)


def recorded() -> list[Exchange]:
    """A talk of three turns, a process of the same number, a run, a connection, a replay."""
    nobody: dict[str, Any] = {"process": None, "client_addr": "127.0.0.1:50001"}
    run: dict[str, Any] = {
        "run": "batch-1",
        "job": "batch",
        "process": AGAIN,
        "model": "qwen3:8b",
        "load_ns": None,
    }
    return [
        exchange(1, 0, "q1"),
        exchange(2, 20, "q1", "answer 1", "q2"),
        exchange(3, 40, "q1", "answer 1", "q2", "answer 2", "q3"),
        exchange(4, 60, "mine", process=AGAIN),
        exchange(5, 80, "a", item="a.mp3", **run),
        exchange(6, 100, "b", item="b.mp3", **run),
        exchange(7, 120, "c", **nobody),
        exchange(8, 140, "d", **(nobody | {"client_addr": "127.0.0.1:50002"})),
        exchange(9, 160, "e", **nobody),
        exchange(10, 180, "q1", replay_of=1),
    ]


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """A desk whose store was filled before its engine began."""
    folder = tmp_path_factory.mktemp("hindsight")
    runtime = folder / "run"
    runtime.mkdir(mode=0o700)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(runtime))
        (folder / "nightdesk.toml").write_text(CONFIG)
        made = find_desk(folder)
        made.database.parent.mkdir(mode=0o700, exist_ok=True)
        store = History(made.database, keep_ns=10**18, max_bytes=10**9)
        for one in recorded():
            store.save_exchange(one)
        store.close()
        ensure_engine(made)
        yield made
        with contextlib.suppress(Exception):
            pid = Engine(made.socket).shutdown().desk.engine.pid
            until(lambda: not psutil.pid_exists(pid), "the engine's end")


@pytest.fixture(scope="module")
def engine(desk: Desk) -> Engine:
    return Engine(desk.socket)


def test_a_profile_sums_up_what_is_stored_and_says_why_models_were_loaded(engine: Engine) -> None:
    made = engine.profile()
    total = made.total
    assert (total.count, made.replays) == (9, 1)
    # Seven loads of 6 s; of run batch-1 nothing was told but 1 s prompt and 3 s generation, the first 7 s waited.
    assert total.parts.total_ns == 90 * NS
    assert total.parts.load_ns == 42 * NS
    assert total.parts.queue_ns == 12 * NS
    assert total.loads == 7 and total.switches == 1
    # Process 4101 (1 to 4: three times 10 s), the run (10 s), the connection 50001 (30 s).
    assert total.pause_ns == 70 * NS
    assert [(group.name, group.count) for group in made.models] == [("llama3.1:8b", 7), ("qwen3:8b", 2)]
    advice = {one.kind: one.text for one in made.advice}
    assert "47% of the time is model reloads" in advice["reloads"]
    assert "keep_alive is 0; set keep_alive to 10m" in advice["reloads"]


def test_a_filter_counts_only_what_it_selects(engine: Engine) -> None:
    made = engine.profile("model:qwen")
    assert (made.total.count, made.total.pause_ns) == (2, 10 * NS)
    assert engine.profile("job:batch since:90m").total.count == 0
    assert engine.profile('job:"=batch" since:3h').total.count == 2
    assert engine.profile("answer").total.count == 9
    assert engine.profile(made.models[0].query).total.count == 2
    with pytest.raises(UsageError, match="no key"):
        engine.profile("modell:x")


def test_a_conversation_is_of_one_process_not_of_one_number(engine: Engine) -> None:
    made = engine.conversation(2)
    assert (made.tied_by, made.subject) == ("process", "python (4101)")
    assert [turn.exchange for turn in made.turns] == [1, 2, 3, 10]
    assert [(turn.thread, turn.continues, turn.by) for turn in made.turns[:3]] == [
        (1, None, ""),
        (1, 1, "prefix"),
        (1, 2, "prefix"),
    ]
    assert [[message.content for message in turn.new] for turn in made.turns[:3]] == [["q1"], ["q2"], ["q3"]]
    assert made.turns[1].pause_ns == 10 * NS
    assert made.turns[3].replay_of == 1 and made.turns[3].unchanged
    assert [turn.exchange for turn in engine.conversation(4).turns] == [4]


def test_a_conversation_of_a_run_and_of_a_connection(engine: Engine) -> None:
    run = engine.conversation(6)
    assert (run.tied_by, [turn.item for turn in run.turns]) == ("run", ["a.mp3", "b.mp3"])
    line = engine.conversation(7)
    assert (line.tied_by, [turn.exchange for turn in line.turns]) == ("connection", [7, 9])
    with pytest.raises(UsageError, match="There is no exchange 99"):
        engine.conversation(99)


def test_a_mark_is_given_seen_in_the_list_and_taken_back(engine: Engine) -> None:
    given = engine.give_feedback(5, Feedback(mark="bad", note="too short"))
    assert given.at_ns > 0 and engine.feedback(5).note == "too short"
    until(lambda: [row.id for row in engine.page("mark:bad").rows] == [5], "the mark in the list")
    assert engine.profile("mark:bad").total.count == 1
    engine.give_feedback(5, Feedback())
    until(lambda: engine.page("mark:*").total == 0, "no mark in the list")


def test_the_command_prints_the_same_for_people_and_for_programs(desk: Desk) -> None:
    program = str(Path(sys.executable).with_name("nightdesk"))
    words = [program, "--desk", str(desk.folder), "profile", "--model", "qwen3", "--since", "3h"]
    shown = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60).stdout
    for expected in (
        "2 exchanges",
        "20.0s in exchanges",
        "client pauses 10.0s",
        "queue 60%",
        "batch › a.mp3",
    ):
        assert expected in shown
    made = json.loads(subprocess.run([*words, "--json"], capture_output=True, check=True, timeout=60).stdout)
    assert made["total"]["parts"] == {"queue_ns": 12 * NS, "prompt_ns": 2 * NS, "generation_ns": 6 * NS}
    assert made["query"] == 'model:"qwen3" since:"3h"'
    nothing = [*words[:4], "--job", "nobody"]
    told = subprocess.run(nothing, capture_output=True, text=True, check=True, timeout=60).stdout
    assert told == 'No exchange matches job:"nobody".\n'

"""Replays: sent to the desk's own model server only, recorded like all traffic, counted as nobody's."""

from __future__ import annotations

import asyncio
import json
from itertools import pairwise
from typing import Any

import pytest

from nightdesk.engine.replay import AGENT
from nightdesk.model.desk import ExchangeChanged
from nightdesk.model.errors import NightdeskError, UsageError
from nightdesk.model.exchange import Exchange, Image, Message, MissingBytes, Prompt
from nightdesk.model.inspection import ReplayRequest
from tests.support.replay import LLAMA, Bench, demo_server, recorded, until


def test_a_replay_streams_into_the_book_and_belongs_to_no_job() -> None:
    with demo_server(speed=200, load_s=0) as server:
        original = recorded(server.port)
        bench = Bench(server.port)

        async def play() -> Exchange:
            async with bench.running():
                replay = bench.replays.begin(original, ReplayRequest(exchange=7))
                assert replay.of == 7 and replay.exchanges == (100,) and not replay.left_out
                return (await bench.ended(100))[0]

        got = asyncio.run(play())
    assert (got.state, got.replay_of, got.model, got.done_reason) == ("complete", 7, LLAMA, "stop")
    assert (got.job, got.run, got.item, got.process) == (None, None, None, None)
    assert got.text and got.reply_tokens and got.first_token_ns
    assert got.request_body == original.request_body, "byte for byte"
    headers = dict(got.request_headers)
    assert headers["User-Agent"] == AGENT, "by which the capture leaves it out"
    assert headers["Host"] == original.server_addr
    rows = [change.row for change in bench.changes if isinstance(change, ExchangeChanged)]
    assert rows[0].state == "running" and {row.replay_of for row in rows} == {7}


def test_several_models_are_asked_one_after_another() -> None:
    models = ("gemma3:4b", "qwen2.5-coder:32b", "no-such-model")
    with demo_server(speed=0, load_s=0) as server:
        bench = Bench(server.port)

        async def play() -> list[Exchange]:
            async with bench.running():
                replay = bench.replays.begin(recorded(server.port), ReplayRequest(exchange=7, models=models))
                return await bench.ended(*replay.exchanges)

        got = asyncio.run(play())
    assert [one.model for one in got] == list(models)
    assert [one.state for one in got] == ["complete", "complete", "failed"]
    assert all(one.ended_ns and one.ended_ns <= two.started_ns for one, two in pairwise(got))
    assert "not found" in str(got[2].error)


def test_an_edited_body_is_sent_as_edited() -> None:
    body = {"model": LLAMA, "prompt": "Say it in one word.", "options": {"num_predict": 3}, "stream": False}
    with demo_server(speed=0, load_s=0) as server:
        bench = Bench(server.port)
        original = recorded(server.port, path="/api/generate", operation="generate")

        async def play() -> Exchange:
            async with bench.running():
                bench.replays.begin(original, ReplayRequest(exchange=7, body=body))
                return (await bench.ended(100))[0]

        got = asyncio.run(play())
    assert json.loads(got.request_body or "") == body
    assert got.prompt and got.prompt.prompt == "Say it in one word." and got.reply_tokens == 3


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("192.168.1.9:11434", "not a model server of this desk"),
        ("10.0.0.1:{port}", "not a model server of this desk"),
        ("127.0.0.1:22", "not a model server of this desk"),
        ("evil.example:{port}", "not a model server of this desk"),
    ],
)
def test_nothing_is_sent_anywhere_but_to_a_server_of_the_desk(address: str, words: str) -> None:
    bench = Bench(11434)
    original = recorded(11434, server_addr=address.format(port=11434))
    with pytest.raises(UsageError, match=words):
        bench.replays.begin(original, ReplayRequest(exchange=7))


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"request_body": None}, "request body was not recorded"),
        ({"request_body": None, "unknown": {"text": "This job's content is not recorded (record)."}},
         "This job's content is not recorded"),
        ({"request_body": '{"model": "cut'}, "not whole in the record"),
        ({"missing_bytes": MissingBytes(request=5, response=0)}, "not whole in the record"),
        ({"prompt": Prompt(messages=(Message(role="user", content="", images=(Image(sha256="a", bytes=9),)),))},
         "its prompt holds images, of which only hash and size are kept"),
        ({"operation": "manage", "path": "/api/delete", "method": "DELETE"}, "it asks no model"),
        ({"path": "/api/chat HTTP/1.1\r\nX: y"}, "its path is not a usable address"),
    ],
)  # fmt: skip
def test_what_can_not_be_sent_again_is_refused_with_the_reason(more: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError) as refused:
        Bench(11434).replays.begin(recorded(11434, **more), ReplayRequest(exchange=7))
    assert words in str(refused.value)


def test_a_body_that_holds_the_place_of_an_image_is_refused() -> None:
    body = {"model": LLAMA, "prompt": "", "images": ["⟨12 bytes, sha256 abc⟩"]}
    with pytest.raises(UsageError, match="place of an image"):
        Bench(11434).replays.begin(recorded(11434), ReplayRequest(exchange=7, body=body))


def test_masked_headers_are_left_out_and_it_says_so() -> None:
    with demo_server(speed=0, load_s=0) as server:
        bench = Bench(server.port)
        headers = (("Authorization", "⟨masked⟩"), ("X-Trace", "1"), ("Expect", "100-continue"))

        async def play() -> Exchange:
            async with bench.running():
                replay = bench.replays.begin(
                    recorded(server.port, request_headers=headers), ReplayRequest(exchange=7)
                )
                assert replay.left_out == ("Authorization",)
                return (await bench.ended(100))[0]

        got = asyncio.run(play())
    names = {name for name, _ in got.request_headers}
    assert "Authorization" not in names and "Expect" not in names and "X-Trace" in names
    assert got.note == "Sent without Authorization: only the mask was recorded."


def test_a_server_that_is_down_is_the_error_of_the_replay() -> None:
    bench = Bench(1)

    async def play() -> Exchange:
        async with bench.running():
            bench.replays.begin(recorded(1), ReplayRequest(exchange=7))
            return (await bench.ended(100))[0]

    got = asyncio.run(play())
    assert got.state == "failed" and got.error == "127.0.0.1:1 can't be reached: nobody listens."


def test_a_cancelled_replay_closes_its_connection_and_the_next_one_goes_on() -> None:
    body = {"model": LLAMA, "prompt": "Tell a long story.", "options": {"num_predict": 4000}}
    with demo_server(speed=40, load_s=0) as server:
        bench = Bench(server.port)
        original = recorded(server.port, body, path="/api/generate", operation="generate")

        async def play() -> None:
            async with bench.running():
                first = bench.replays.begin(original, ReplayRequest(exchange=7)).exchanges[0]
                waiting = bench.replays.begin(original, ReplayRequest(exchange=7)).exchanges[0]
                short = {"model": LLAMA, "prompt": "x", "options": {"num_predict": 2}}
                last = bench.replays.begin(original, ReplayRequest(exchange=7, body=short)).exchanges[0]
                await until(lambda: (held := bench.book.held(first)) and held.text, "text of the first")
                assert bench.book.held(waiting) is None, "one after another"
                assert bench.replays.cancel(waiting)
                assert bench.replays.cancel(first)
                ended = await bench.ended(first, last)
                assert ended[0].state == "aborted" and ended[0].aborted_by == "client"
                assert ended[1].state == "complete"
                assert waiting not in bench.saved, "it was never sent"
                assert not bench.replays.cancel(first)

        asyncio.run(play())


def test_the_end_of_the_engine_ends_a_replay_and_its_record() -> None:
    body = {"model": LLAMA, "prompt": "Tell a long story.", "options": {"num_predict": 4000}}
    with demo_server(speed=40, load_s=0) as server:
        bench = Bench(server.port)

        async def play() -> None:
            async with bench.running():
                original = recorded(server.port, body, path="/api/generate", operation="generate")
                bench.replays.begin(original, ReplayRequest(exchange=7))
                await until(lambda: (held := bench.book.held(100)) and held.first_byte_ns, "the first byte")

        asyncio.run(play())
    assert bench.saved[100].state == "aborted"


def test_a_capture_that_stops_takes_no_replay_along() -> None:
    with demo_server(speed=100, load_s=0) as server:
        bench = Bench(server.port)

        async def play() -> Exchange:
            async with bench.running():
                bench.replays.begin(recorded(server.port), ReplayRequest(exchange=7))
                await until(lambda: bench.book.held(100) is not None, "its beginning")
                bench.book.capture_ended("killed")
                return (await bench.ended(100))[0]

        assert asyncio.run(play()).state == "complete"


def test_the_models_of_a_server_are_listed_by_name() -> None:
    with demo_server(speed=0, load_s=0) as server:
        bench = Bench(server.port, 1)
        models = asyncio.run(bench.replays.models(f"127.0.0.1:{server.port}"))
        assert LLAMA in [model.name for model in models]
        assert [model.name for model in models] == sorted(model.name for model in models)
        with pytest.raises(NightdeskError, match="nobody listens"):
            asyncio.run(bench.replays.models("127.0.0.1:1"))

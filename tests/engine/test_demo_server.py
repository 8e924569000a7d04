"""The demo's model server, talked to by real clients and by bare sockets."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from io import StringIO
from typing import Any

import httpx
import ollama
import openai
import pytest

from nightdesk.demo.server import ModelServer, Settings

LLAMA = "llama3.1:8b"
THINKER = "qwen3:8b-think"
EMBEDDER = "nomic-embed-text"
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


class Running:
    """A model server in a thread of its own."""

    def __init__(self, **settings: Any) -> None:
        self.log = StringIO()
        self.server = ModelServer(Settings(log=self.log, **settings))
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Running:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        assert not self._thread.is_alive()

    @property
    def url(self) -> str:
        return self.server.address

    def _run(self) -> None:
        async def serve() -> None:
            await self.server.start()
            self._ready.set()
            await self._stop.wait()
            await self.server.stop()

        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(serve())

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.server.port), timeout=10)

    def post(self, path: str, body: object) -> bytes:
        """The raw bytes of one answer, read until the server closes."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Length: {len(data)}\r\n\r\n"
        with self.connect() as link:
            link.sendall(head.encode() + data)
            return read_all(link)


def read_all(link: socket.socket) -> bytes:
    parts = []
    while part := link.recv(65536):
        parts.append(part)
    return b"".join(parts)


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


@pytest.fixture(scope="module")
def fast() -> Iterator[Running]:
    with Running(speed=0, load_s=0) as running:
        yield running


@pytest.fixture
def client(fast: Running) -> Iterator[ollama.Client]:
    with ollama.Client(host=fast.url) as one:
        yield one


def test_stream_is_framed_as_go_frames_it(fast: Running) -> None:
    raw = fast.post(
        "/api/generate", {"model": LLAMA, "prompt": "a <b> & c", "options": {"seed": 3, "stop": ["x<"]}}
    )
    head, _, body = raw.partition(b"\r\n\r\n")
    names = [line.split(b":")[0] for line in head.split(b"\r\n")[1:]]
    assert names == [b"Content-Type", b"Date", b"Connection", b"Transfer-Encoding"]
    assert b"application/x-ndjson" in head
    assert body.endswith(b"\n\r\n0\r\n\r\n")
    while body != b"0\r\n\r\n":
        size, _, body = body.partition(b"\r\n")
        line, body = body[: int(size, 16)], body[int(size, 16) + 2 :]
        assert line.endswith(b"\n")
        assert json.loads(line)["model"] == LLAMA


def test_keep_alive_is_implicit_and_one_connection_carries_many_requests(fast: Running) -> None:
    with fast.connect() as link:
        for _ in range(3):
            link.sendall(b"GET /api/version HTTP/1.1\r\nHost: localhost\r\n\r\n")
            answer = link.recv(4096)
            head, _, body = answer.partition(b"\r\n\r\n")
            names = [line.split(b":")[0] for line in head.split(b"\r\n")[1:]]
            assert names == [b"Content-Type", b"Date", b"Content-Length"]
            assert json.loads(body) == {"version": "0.32.15"}


def test_bodies_beyond_2048_bytes_are_one_chunk(fast: Running) -> None:
    raw = fast.post("/api/embed", {"model": EMBEDDER, "input": ["a", "b"]})
    head, _, body = raw.partition(b"\r\n\r\n")
    size, _, rest = body.partition(b"\r\n")
    assert b"Transfer-Encoding: chunked" in head and b"Content-Length" not in head
    assert rest[int(size, 16) :] == b"\r\n0\r\n\r\n"
    assert [len(one) for one in json.loads(rest[: int(size, 16)])["embeddings"]] == [768, 768]


def test_angle_brackets_and_ampersands_are_escaped_as_go_does(fast: Running) -> None:
    raw = fast.post("/api/show", {"model": "no<such>&model"})
    assert b"404 Not Found" in raw
    assert raw.endswith(rb"""{"error":"model 'no\u003csuch\u003e\u0026model' not found"}""")


def test_an_old_client_gets_an_unchunked_body_that_ends_with_the_connection(fast: Running) -> None:
    body = json.dumps({"model": LLAMA, "prompt": "x"}).encode()
    with fast.connect() as link:
        link.sendall(b"POST /api/generate HTTP/1.0\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        raw = read_all(link)
    head, _, text = raw.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.0 200 OK")
    assert b"chunked" not in head and b"Content-Length" not in head
    assert json.loads(text.splitlines()[-1])["done"] is True


def test_chunked_request_bodies_are_read(fast: Running) -> None:
    parts = [b'{"model":"nomic-embed', b'-text","prompt":"x"}']
    with httpx.Client(base_url=fast.url, trust_env=False) as client:
        assert len(client.post("/api/embeddings", content=iter(parts)).json()["embedding"]) == 768


def test_generate_gives_the_same_text_for_the_same_seed_and_measured_counts(client: ollama.Client) -> None:
    first, again = (client.generate(LLAMA, "Summarise <it>", options={"seed": 7}) for _ in range(2))
    other = client.generate(LLAMA, "Summarise <it>", options={"seed": 8})
    assert first.response == again.response != other.response
    assert first.done_reason == "stop"
    assert first.context is not None and len(first.context) > 5
    assert first.eval_count and first.eval_duration and first.total_duration
    assert first.total_duration >= first.eval_duration


def test_a_stream_says_what_the_whole_answer_says(client: ollama.Client) -> None:
    whole = client.chat(THINKER, [{"role": "user", "content": "hi"}])
    parts = list(client.chat(THINKER, [{"role": "user", "content": "hi"}], stream=True))
    assert "".join(part.message.content or "" for part in parts) == whole.message.content
    assert "".join(part.message.thinking or "" for part in parts) == whole.message.thinking
    assert whole.message.thinking
    assert parts[-1].eval_count == whole.eval_count == len(parts) - 1


def test_thinking_can_be_switched_off_and_is_refused_by_models_that_cannot(client: ollama.Client) -> None:
    quiet = client.chat(THINKER, [{"role": "user", "content": "hi"}], think=False)
    assert quiet.message.thinking is None
    with pytest.raises(ollama.ResponseError, match="does not support thinking"):
        client.chat(LLAMA, [{"role": "user", "content": "hi"}], think=True)


def test_tools_are_called_and_their_result_is_answered_with_text(client: ollama.Client) -> None:
    messages: list[Any] = [{"role": "user", "content": "Weather?"}]
    parts = list(client.chat(LLAMA, messages, tools=[WEATHER], stream=True))
    calls = [call for part in parts for call in part.message.tool_calls or []]
    assert [call.function.name for call in calls] == ["get_weather"]
    assert isinstance(calls[0].function.arguments["city"], str)
    answer = client.chat(LLAMA, [*messages, {"role": "tool", "content": "sunny"}], tools=[WEATHER])
    assert answer.message.content and not answer.message.tool_calls


def test_json_and_schemas_are_obeyed(client: ollama.Client) -> None:
    schema = {
        "type": "object",
        "properties": {
            "mood": {"enum": ["good", "bad"]},
            "score": {"type": "integer", "minimum": 1, "maximum": 5},
            "tags": {"type": "array", "items": {"type": "string"}, "minItems": 2},
        },
        "required": ["mood", "score", "tags"],
    }
    assert json.loads(client.generate(LLAMA, "x", format="json").response or "")["headline"]
    for seed in range(5):
        value = json.loads(client.generate(LLAMA, "x", format=schema, options={"seed": seed}).response or "")
        assert value["mood"] in ("good", "bad") and 1 <= value["score"] <= 5 and len(value["tags"]) >= 2


def test_a_long_prompt_is_cut_to_half_its_context_and_the_log_says_so(
    fast: Running, client: ollama.Client
) -> None:
    cut = client.generate(LLAMA, "word " * 3000, options={"num_ctx": 512})
    assert cut.prompt_eval_count == 258
    assert 'msg="truncating input prompt" limit=258 prompt=3006 keep=4 new=258' in fast.log.getvalue()
    fits = client.generate(LLAMA, "word " * 3000, options={"num_ctx": 8192})
    assert fits.prompt_eval_count == 3006


def test_a_conversation_loses_old_messages_before_the_last_one_is_cut(
    fast: Running, client: ollama.Client
) -> None:
    before = fast.log.getvalue().count("truncating")
    turns = [{"role": "user", "content": "word " * 300} for _ in range(10)]
    answer = client.chat(LLAMA, turns, options={"num_ctx": 1000})
    assert answer.prompt_eval_count == 3 * 306
    assert fast.log.getvalue().count("truncating") == before


def test_num_predict_ends_the_reply_with_reason_length(client: ollama.Client) -> None:
    cut = client.generate(LLAMA, "x", options={"num_predict": 5})
    assert (cut.done_reason, cut.eval_count) == ("length", 5)


def test_the_repeat_guard_ends_a_looping_stream_without_a_final_object(client: ollama.Client) -> None:
    parts = list(client.generate("tinyllama:1.1b", "x", stream=True))
    assert parts[-1].done is False
    assert [part.response for part in parts[-30:]] == [" again"] * 30


def test_models_are_listed_loaded_and_unloaded(client: ollama.Client) -> None:
    assert {LLAMA, "qwen2.5-coder:32b", THINKER} <= {model.model for model in client.list().models}
    loaded = client.generate("gemma3:4b", "", keep_alive="10m")
    assert loaded.done_reason == "load"
    entry = next(model for model in client.ps().models if model.model == "gemma3:4b")
    assert entry.context_length == 4096 and entry.expires_at is not None
    assert client.generate("gemma3:4b", "", keep_alive=0).done_reason == "unload"
    assert "gemma3:4b" not in {model.model for model in client.ps().models}
    assert client.show(LLAMA).capabilities == ["completion", "tools", "vision"]


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        ("/api/generate", {"model": "nope", "prompt": "x"}, 404, "model 'nope' not found"),
        ("/api/chat", b'{"model":', 400, "unexpected EOF"),
        ("/api/chat", b"", 400, "missing request body"),
        ("/api/chat", b"[1]", 400, "json: cannot unmarshal"),
        ("/api/chat", {"messages": []}, 400, "model is required"),
        ("/api/chat", {"model": EMBEDDER, "messages": []}, 400, "does not support chat"),
        ("/api/generate", {"model": LLAMA, "prompt": "x", "format": "yaml"}, 500, "invalid format"),
        ("/api/generate", {"model": LLAMA, "prompt": "x", "options": {"num_ctx": "many"}}, 500, "of type integer"),
        ("/api/generate", {"model": LLAMA, "prompt": "x", "keep_alive": "soon"}, 400, "invalid duration"),
        ("/api/generate", {"model": LLAMA, "prompt": "x", "images": ["not base64!!"]}, 400, "illegal base64"),
        ("/api/nothing", {}, 404, "404 page not found"),
        ("/api/tags", {}, 405, "405 method not allowed"),
        ("/v1/chat/completions", {"model": LLAMA}, 400, "[] is too short - 'messages'"),
        ("/v1/messages", {"model": "nope", "messages": [{"role": "user"}], "max_tokens": 5}, 404, "nope"),
    ],
)  # fmt: skip
def test_mistakes_get_the_status_and_the_words_of_ollama(
    fast: Running, path: str, body: object, status: int, message: str
) -> None:
    raw = fast.post(path, body)
    assert raw.startswith(f"HTTP/1.1 {status} ".encode())
    text = raw.partition(b"\r\n\r\n")[2].decode()
    assert message in (text if text[0] != "{" else json.dumps(json.loads(text), ensure_ascii=False))


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /api/tags HTTP/1.1\r\nHost: evil.example\r\n\r\n", b"403"),
        (b"GET /api/tags HTTP/1.1\r\nHost: localhost\r\nOrigin: https://evil.example\r\n\r\n", b"403"),
        (b"GET /api/tags HTTP/1.1\r\n\r\n", b"400 Bad Request: missing required Host header"),
        (b"nonsense\r\n\r\n", b"400"),
        (b"POST /api/chat HTTP/1.1\r\nHost: x\r\nContent-Length: -4\r\n\r\n", b"413"),
    ],
)
def test_foreign_hosts_and_broken_requests_are_refused(fast: Running, head: bytes, status: bytes) -> None:
    with fast.connect() as link:
        link.sendall(head)
        assert link.recv(4096).startswith(b"HTTP/1.1 " + status)


def test_thirty_two_requests_run_side_by_side(fast: Running) -> None:
    def ask(number: int) -> str:
        with ollama.Client(host=fast.url) as client:
            return client.generate(LLAMA, f"Item {number}").response or ""

    with ThreadPoolExecutor(32) as pool:
        replies = list(pool.map(ask, range(32)))
    assert len(set(replies)) == 32


def test_async_ollama_client_streams(fast: Running) -> None:
    async def ask() -> list[str]:
        async with ollama.AsyncClient(host=fast.url) as client:
            return [part.response async for part in await client.generate(LLAMA, "x", stream=True)]

    assert len(asyncio.run(ask())) > 10


def test_openai_client_gets_text_usage_thinking_and_tools(fast: Running) -> None:
    with openai.OpenAI(base_url=f"{fast.url}/v1", api_key="none") as client:
        asked: Any = {"model": THINKER, "messages": [{"role": "user", "content": "hi"}]}
        whole = client.chat.completions.create(**asked)
        events = list(
            client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True})
        )
        called = client.chat.completions.create(**asked | {"model": LLAMA}, tools=[WEATHER])
        plain = client.completions.create(model=LLAMA, prompt="x", max_tokens=4)
        vectors = client.embeddings.create(model=EMBEDDER, input=["a", "b"])
        names = [model.id for model in client.models.list()]
        with pytest.raises(openai.NotFoundError, match="model 'nope' not found"):
            client.chat.completions.create(**asked | {"model": "nope"})
    text = "".join(event.choices[0].delta.content or "" for event in events if event.choices)
    assert text == whole.choices[0].message.content
    assert events[0].choices[0].delta.role == "assistant"
    assert events[-1].usage == whole.usage
    assert called.choices[0].finish_reason == "tool_calls"
    assert called.choices[0].message.tool_calls
    assert (plain.choices[0].finish_reason, plain.usage and plain.usage.completion_tokens) == ("length", 4)
    assert [len(one.embedding) for one in vectors.data] == [768, 768]
    assert LLAMA in names


def test_async_openai_client_streams_without_usage(fast: Running) -> None:
    async def ask() -> list[Any]:
        async with openai.AsyncOpenAI(base_url=f"{fast.url}/v1", api_key="none") as client:
            messages: Any = [{"role": "user", "content": "hi"}]
            stream = await client.chat.completions.create(model=LLAMA, messages=messages, stream=True)
            return [event async for event in stream]

    events = asyncio.run(ask())
    assert all(event.usage is None for event in events)
    assert events[-1].choices[0].finish_reason == "stop"


def test_the_end_of_an_openai_stream_is_one_chunk(fast: Running) -> None:
    body = {"model": LLAMA, "messages": [{"role": "user", "content": "x"}], "stream": True, "max_tokens": 3}
    raw = fast.post("/v1/chat/completions", {**body, "stream_options": {"include_usage": True}})
    last = re.split(rb"\r\n[0-9a-f]+\r\n", raw)[-2]
    events = last.strip().split(b"\n\n")
    assert events[-1] == b"data: [DONE]"
    assert [len(json.loads(event[6:])["choices"]) for event in events[:-1]] == [1, 0]


def test_anthropic_events_come_in_order_and_say_what_the_whole_answer_says(fast: Running) -> None:
    body = {"model": THINKER, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 900}
    with httpx.Client(base_url=fast.url, trust_env=False) as client:
        whole = client.post("/v1/messages", json=body).json()
        stream = client.post("/v1/messages", json={**body, "stream": True})
    assert stream.headers["cache-control"] == "no-cache"
    events = [json.loads(line[6:]) for line in stream.text.splitlines() if line.startswith("data: ")]
    kinds = [event["type"] for event in events if event["type"] != "content_block_delta"]
    block = ["content_block_start", "content_block_stop"]
    assert kinds == ["message_start", *block, *block, "message_delta", "message_stop"]
    texts = [event["delta"].get("text", "") for event in events if event["type"] == "content_block_delta"]
    assert "".join(texts) == whole["content"][1]["text"]
    assert events[-2]["usage"] == whole["usage"]


def test_curl_sees_the_greeting_and_continues_with_a_big_body(fast: Running, tmp_path: Any) -> None:
    big = tmp_path / "big.json"
    big.write_text(json.dumps({"model": LLAMA, "prompt": "lorem " * 200_000, "options": {"num_predict": 3}}))
    greeting = subprocess.run(["curl", "-s", fast.url], capture_output=True, check=True, timeout=30)
    head = subprocess.run(["curl", "-sI", fast.url], capture_output=True, check=True, timeout=30)
    sent = subprocess.run(
        ["curl", "-sv", "--data-binary", f"@{big}", f"{fast.url}/api/generate"],
        capture_output=True, check=True, timeout=30,
    )  # fmt: skip
    assert greeting.stdout == b"Ollama is running"
    assert b"Content-Length: 17" in head.stdout
    assert b"< HTTP/1.1 100 Continue" in sent.stderr
    assert json.loads(sent.stdout.splitlines()[-1])["prompt_eval_count"] == 2050


def test_a_client_that_leaves_stops_the_generation(fast: Running) -> None:
    with Running(speed=20, load_s=0) as slow:
        body = json.dumps({"model": LLAMA, "prompt": "x"}).encode()
        with slow.connect() as link:
            link.sendall(
                b"POST /api/generate HTTP/1.1\r\nHost: x.local\r\nContent-Length: %d\r\n\r\n" % len(body)
                + body
            )
            assert b'"done":false' in link.recv(4096)
            link.shutdown(socket.SHUT_WR)
            rest = read_all(link)
        assert b"context canceled" in rest
        assert b'"done":true' not in rest
        wait_until(lambda: slow.log.getvalue().count("[GIN]") == 1, "the request should have ended")
        held = slow.server.shelf.loaded()
        assert [one.busy for one in held] == [0]


def test_a_client_that_leaves_before_the_first_byte_gets_a_500(fast: Running) -> None:
    with Running(speed=20, load_s=60) as slow:
        body = json.dumps({"model": LLAMA, "prompt": "x"}).encode()
        with slow.connect() as link:
            link.sendall(
                b"POST /api/generate HTTP/1.1\r\nHost: x.local\r\nContent-Length: %d\r\n\r\n" % len(body)
                + body
            )
            link.shutdown(socket.SHUT_WR)
            assert read_all(link).startswith(b"HTTP/1.1 500 ")
        assert slow.server.shelf.loaded() == []


def test_loading_and_writing_take_the_time_that_was_asked_for() -> None:
    with Running(speed=100, load_s=0.2) as slow, ollama.Client(host=slow.url) as client:
        first = client.generate(LLAMA, "x", options={"num_predict": 32})
        second = client.generate(LLAMA, "x", options={"num_predict": 32})
    assert first.load_duration and first.load_duration >= 150_000_000
    assert (second.load_duration or 0) < first.load_duration
    assert second.eval_duration and second.eval_duration >= 190_000_000

"""Real clients talk to the demo's model server; the capture must say exactly what each client got."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import ollama
import openai
import pytest

from nightdesk.demo.server import ModelServer, Settings
from nightdesk.model.exchange import Exchange, ExchangeSeen
from tests.support.capture import PATIENCE, Capture, capture_refusal, capturing

REFUSAL = capture_refusal()
NEEDS_CAPTURE = [
    pytest.mark.capture,
    pytest.mark.skipif(REFUSAL is not None, reason=REFUSAL or "capture works"),
]
NEEDS_TCPDUMP = pytest.mark.skipif(not shutil.which("tcpdump"), reason="no tcpdump")
SOURCES = [
    pytest.param("scapy", marks=NEEDS_CAPTURE),
    pytest.param("tcpdump", marks=[*NEEDS_CAPTURE, NEEDS_TCPDUMP]),
    "relay",
]
LLAMA, THINKER, EMBEDDER = "llama3.1:8b", "qwen3:8b-think", "nomic-embed-text"
KEPT_BYTES = 4_000_000
"""Longer bodies are cut in the record, and the record says so."""
ASKED: list[Any] = [{"role": "user", "content": "What is the weather in Paris?"}]
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


@dataclass
class Got:
    """What a client was given. None: this client does not say."""

    path: str
    streamed: bool
    text: str = ""
    thinking: str = ""
    calls: list[tuple[str, Any]] = field(default_factory=list)
    prompt_tokens: int | None = None
    reply_tokens: int | None = None
    done_reason: str | None = None
    total_ns: int | None = None
    fragments: int | None = None


@contextlib.contextmanager
def served() -> Iterator[ModelServer]:
    """The demo's model server in a thread, as fast as it can."""
    server, loop, ready, over = (
        ModelServer(Settings(speed=0, load_s=0)),
        asyncio.new_event_loop(),
        threading.Event(),
        asyncio.Event(),
    )

    async def serve() -> None:
        await server.start()
        ready.set()
        await over.wait()
        await server.stop()

    thread = threading.Thread(target=lambda: (loop.run_until_complete(serve()), loop.close()))
    thread.start()
    try:
        assert ready.wait(PATIENCE)
        yield server
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(PATIENCE)


def _of_ollama(path: str, parts: list[Any], streamed: bool) -> Got:
    got = Got(path, streamed, fragments=len(parts) if streamed else None)
    for part in parts:
        message = part.message if path == "/api/chat" else part
        got.text += (message.content if path == "/api/chat" else message.response) or ""
        got.thinking += message.thinking or ""
        calls = getattr(message, "tool_calls", None) or []
        got.calls += [(call.function.name, dict(call.function.arguments)) for call in calls]
    last = parts[-1]
    got.prompt_tokens, got.reply_tokens = last.prompt_eval_count, last.eval_count
    got.done_reason, got.total_ns = last.done_reason, last.total_duration
    return got


def by_ollama(url: str) -> list[Got]:
    with ollama.Client(url) as client:
        return [
            _of_ollama("/api/chat", list(client.chat(LLAMA, ASKED, stream=True)), True),
            _of_ollama("/api/chat", [client.chat(LLAMA, ASKED)], False),
            _of_ollama("/api/chat", list(client.chat(LLAMA, ASKED, tools=[WEATHER], stream=True)), True),
            _of_ollama(
                "/api/generate", list(client.generate(THINKER, "Why?", think=True, stream=True)), True
            ),
            _of_ollama("/api/generate", [client.generate(LLAMA, "Why?", options={"num_predict": 5})], False),
        ]


def by_ollama_async(url: str) -> list[Got]:
    async def ask() -> list[Got]:
        async with ollama.AsyncClient(url) as client:
            parts = [part async for part in await client.chat(THINKER, ASKED, think=True, stream=True)]
            whole = await client.generate(LLAMA, "Why?")
        return [_of_ollama("/api/chat", parts, True), _of_ollama("/api/generate", [whole], False)]

    return asyncio.run(ask())


def _of_openai(chunks: list[Any]) -> Got:
    got = Got("/v1/chat/completions", True, fragments=len(chunks))
    calls: dict[int, list[str]] = {}
    for chunk in chunks:
        if chunk.usage:
            got.prompt_tokens, got.reply_tokens = chunk.usage.prompt_tokens, chunk.usage.completion_tokens
        for choice in chunk.choices:
            got.text += choice.delta.content or ""
            got.thinking += getattr(choice.delta, "reasoning", None) or ""
            got.done_reason = choice.finish_reason or got.done_reason
            for part in choice.delta.tool_calls or []:
                call = calls.setdefault(part.index, ["", ""])
                call[0] += part.function.name or ""
                call[1] += part.function.arguments or ""
    got.calls = [(name, arguments) for name, arguments in calls.values()]
    return got


def _of_answer(answer: Any) -> Got:
    message, usage = answer.choices[0].message, answer.usage
    calls = [(call.function.name, call.function.arguments) for call in message.tool_calls or []]
    return Got(
        "/v1/chat/completions", False, message.content or "", "", calls, usage.prompt_tokens,
        usage.completion_tokens, answer.choices[0].finish_reason,
    )  # fmt: skip


def by_openai(url: str) -> list[Got]:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="sk-none") as client:
        create = client.chat.completions.create
        usage: Any = {"include_usage": True}
        return [
            _of_openai(list(create(model=LLAMA, messages=ASKED, stream=True, stream_options=usage))),
            _of_openai(list(create(model=LLAMA, messages=ASKED, stream=True))),
            _of_openai(list(create(model=LLAMA, messages=ASKED, tools=[WEATHER], stream=True))),
            _of_answer(create(model=LLAMA, messages=ASKED)),
        ]


def by_openai_async(url: str) -> list[Got]:
    async def ask() -> list[Got]:
        async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="sk-none") as client:
            stream = await client.chat.completions.create(model=LLAMA, messages=ASKED, stream=True)
            chunks = [chunk async for chunk in stream]
            return [
                _of_openai(chunks),
                _of_answer(await client.chat.completions.create(model=LLAMA, messages=ASKED)),
            ]

    return asyncio.run(ask())


def _of_lines(path: str, lines: list[dict[str, Any]]) -> Got:
    last = lines[-1]
    text = "".join(line.get("response", "") for line in lines)
    return Got(
        path, True, text, "", [], last.get("prompt_eval_count"), last.get("eval_count"), last["done_reason"],
        last["total_duration"], len(lines),
    )  # fmt: skip


def by_httpx(url: str) -> list[Got]:
    got = []
    with httpx.Client(base_url=url) as client:
        for _ in range(50):
            with client.stream("POST", "/api/generate", json={"model": LLAMA, "prompt": "Why?"}) as answer:
                got.append(_of_lines("/api/generate", [json.loads(line) for line in answer.iter_lines()]))
    return got


def by_curl(url: str) -> list[Got]:
    """Also a prompt of megabytes, for which curl asks leave first; and a head only."""
    got = []
    for prompt in ("Why?", "Why? " * 500_000):
        argv = ["curl", "-sN", f"{url}/api/generate", "-d", "@-"]
        body = json.dumps({"model": LLAMA, "prompt": prompt})
        said = subprocess.run(argv, input=body, capture_output=True, text=True, check=True, timeout=PATIENCE)
        got.append(_of_lines("/api/generate", [json.loads(line) for line in said.stdout.splitlines()]))
    subprocess.run(["curl", "-sI", f"{url}/"], check=True, capture_output=True, timeout=PATIENCE)
    return [*got, Got("/", False)]


def ended(capture: Capture, count: int) -> list[Exchange]:
    """The first ``count`` exchanges that ended, in the order in which they began."""

    def look() -> list[Exchange] | None:
        found = {s.exchange.id: s.exchange for s in list(capture.lines) if isinstance(s, ExchangeSeen)}
        done = [found[number] for number in sorted(found) if found[number].state != "running"]
        return done if len(done) >= count else None

    return capture.until(look, f"{count} ended exchanges")


def expect_same(found: Exchange, got: Got) -> None:
    """Field by field."""
    assert (found.path, found.state, found.streamed) == (got.path, "complete", got.streamed)
    assert found.note is None or found.response_bytes > KEPT_BYTES
    assert (found.text, found.thinking, found.done_reason) == (got.text, got.thinking, got.done_reason)
    assert [(call.name, call.arguments) for call in found.tool_calls] == got.calls
    assert (found.prompt_tokens, found.reply_tokens) == (got.prompt_tokens, got.reply_tokens)
    assert found.total_ns == got.total_ns
    assert got.fragments is None or found.fragments == got.fragments
    assert found.missing_bytes.request == found.missing_bytes.response == 0


CLIENTS: list[Callable[[str], list[Got]]] = [
    by_ollama, by_ollama_async, by_openai, by_openai_async, by_httpx, by_curl,
]  # fmt: skip


@pytest.mark.parametrize("source", SOURCES)
def test_the_capture_says_what_every_client_got(source: str) -> None:
    with served() as server, capturing("--source", source, "--ports", str(server.port)) as capture:
        url = server.address
        if source == "relay":
            url = f"http://{capture.live().relay}"
        got = [one for client in CLIENTS for one in client(url)]
        found = ended(capture, len(got))
    assert len(found) == len(got)
    for exchange, expected in zip(found, got, strict=True):
        expect_same(exchange, expected)
    assert {exchange.server_process.pid for exchange in found if exchange.server_process} == {os.getpid()}

"""Exchanges for tests of the inspector, and an engine that answers with them."""

from __future__ import annotations

import json
from typing import Any

from nightdesk.model.desk import ExchangeCounts
from nightdesk.model.errors import NightdeskError
from nightdesk.model.exchange import Exchange, Image, Message, MissingBytes, Prompt, ToolCall, row_of
from nightdesk.model.inspection import ExchangeTotals, Spread
from nightdesk.model.process import ProcessRef
from tests.support.viewer import NOW, FakeEngine, snapshot

NS = 10**9
MS = 10**6
COUNTS = ExchangeCounts(running=0, done=1, failed=0, verdicts=0)
HOSTILE = "\x1b]52;c;aGk=\x07\x1b[2J[/] [@click=app.quit]x[/] \u202eabc\u202c \x9b31m \x00\r\tend"


def exchange(number: int = 1, **more: Any) -> Exchange:
    """A complete chat with everything that Ollama tells."""
    given: dict[str, Any] = {
        "id": number,
        "state": "complete",
        "client_addr": "127.0.0.1:41234",
        "server_addr": "127.0.0.1:11434",
        "connection": 3,
        "position": 2,
        "method": "POST",
        "path": "/api/chat",
        "dialect": "ollama",
        "operation": "chat",
        "status": 200,
        "streamed": True,
        "stream_format": "ndjson",
        "fragments": 821,
        "model": "qwen2.5-coder:32b",
        "text": "## Executive Summary\n\nAll is **well**.",
        "thinking": "The user wants a summary.",
        "tool_calls": (ToolCall(id="c1", name="search", arguments={"q": "minutes"}),),
        "done": True,
        "done_reason": "stop",
        "prompt_tokens": 3100,
        "reply_tokens": 820,
        "load_ns": 2 * NS,
        "prompt_ns": 3 * NS,
        "generation_ns": 20 * NS,
        "total_ns": 26 * NS,
        "started_ns": NOW - 60 * NS,
        "first_byte_ns": NOW - 55 * NS,
        "first_token_ns": NOW - 54 * NS,
        "ended_ns": NOW - 33 * NS,
        "request_bytes": 12_300,
        "request_sha256": "ab" * 32,
        "response_bytes": 98_000,
        "response_sha256": "cd" * 32,
        "missing_bytes": MissingBytes(request=0, response=0),
        "process": ProcessRef(pid=4101, started_ns=NOW, name="python", command="python batch.py"),
        "server_process": ProcessRef(pid=900, started_ns=NOW, name="ollama", command="ollama serve"),
        "run": "synthesize-1",
        "job": "synthesize",
        "item": "item 9",
        "verdicts": (),
        "prompt": Prompt(
            messages=(
                Message(role="system", content="You summarise."),
                Message(
                    role="user", content="Summarise this.", images=(Image(sha256="ef" * 32, bytes=5000),)
                ),
            ),
            options={"num_ctx": 8192},
            tools=({"type": "function"},),
        ),
        "request_headers": (("Host", "localhost"), ("Authorization", "⟨masked⟩")),
        "response_headers": (("Content-Type", "application/x-ndjson"),),
        "request_body": json.dumps({"model": "qwen2.5-coder:32b", "stream": True, "n": -1.5}),
        "response_body": '{"message":{"content":"a"}}\n{"message":{"content":"b"}}',
        **more,
    }
    return Exchange(**given)


class ExchangeEngine(FakeEngine):
    """Answers with the exchanges it is given."""

    def __init__(self, *known: Exchange) -> None:
        super().__init__(snapshot(exchanges=tuple(row_of(one) for one in known), counts=COUNTS))
        self.known = {one.id: one for one in known}
        self.usual: ExchangeTotals | NightdeskError = ExchangeTotals(
            count=40,
            tokens_per_s=82.0,
            first_token=Spread(p50_ns=1 * NS, p95_ns=4 * NS),
            duration=Spread(p50_ns=26 * NS, p95_ns=60 * NS),
        )

    async def exchange(self, exchange_id: int) -> Exchange:
        self.asked.append(("exchange", exchange_id))
        if exchange_id not in self.known:
            raise NightdeskError(f"There is no exchange {exchange_id}.", "It may be too old.")
        return self.known[exchange_id]

    async def totals(self, query: str = "") -> ExchangeTotals:
        self.asked.append(("totals", query))
        if isinstance(self.usual, NightdeskError):
            raise self.usual
        return self.usual

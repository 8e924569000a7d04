"""The OpenAI paths that Ollama answers: /v1/chat/completions, /v1/completions, /v1/embeddings, /v1/models."""

from __future__ import annotations

import base64
import struct
import time
from collections.abc import Callable
from typing import Literal

import msgspec

from nightdesk.demo import voice
from nightdesk.demo.generation import Ask, Generation, Piece, RefusedError, Tally, Turn
from nightdesk.demo.models import Card
from nightdesk.demo.ollama import OllamaDialect, check_options, decode
from nightdesk.demo.wire import PLAIN_JSON, SSE, ClientGoneError, Reply, encode
from nightdesk.model.base import Json

MARK = "fp_ollama"


class ChatMessage(msgspec.Struct, kw_only=True):
    """A message of /v1/chat/completions or /v1/messages."""

    role: str = ""
    content: str | list[dict[str, Json]] | None = None


class StreamOptions(msgspec.Struct, kw_only=True):
    """What else a stream should hold."""

    include_usage: bool = False


class Common(msgspec.Struct, kw_only=True):
    """What chat and plain completions share."""

    model: str = ""
    stream: bool = False
    stream_options: StreamOptions | None = None
    max_tokens: int | None = None
    seed: int | None = None
    stop: str | list[str] | None = None


class ChatRequest(Common, kw_only=True):
    """Body of /v1/chat/completions."""

    messages: list[ChatMessage] = []
    max_completion_tokens: int | None = None
    tools: list[dict[str, Json]] | None = None
    response_format: dict[str, Json] | None = None
    reasoning_effort: str | None = None
    temperature: float | None = None


class CompletionRequest(Common, kw_only=True):
    """Body of /v1/completions."""

    prompt: str = ""


class EmbeddingRequest(msgspec.Struct, kw_only=True):
    """Body of /v1/embeddings."""

    model: str = ""
    input: str | list[str] = ""
    encoding_format: str = "float"
    dimensions: int | None = None


def plain_text(content: str | list[dict[str, Json]] | None) -> str:
    """The text parts of a message's content."""
    if isinstance(content, list):
        return "\n".join(str(part.get("text", "")) for part in content if part.get("type") == "text")
    return content or ""


def refusal(status: int, message: str) -> Json:
    """An error as OpenAI clients expect it."""
    kind = {400: "invalid_request_error", 404: "not_found_error"}.get(status, "api_error")
    return {"error": {"message": message, "type": kind, "param": None, "code": None}}


def usage(tally: Tally) -> dict[str, int]:
    """The token counts."""
    total = tally.prompt_tokens + tally.reply_tokens
    return {
        "prompt_tokens": tally.prompt_tokens,
        "completion_tokens": tally.reply_tokens,
        "total_tokens": total,
    }


def _shape(wanted: dict[str, Json] | None) -> Json:
    match (wanted or {}).get("type"):
        case "json_object":
            return "json"
        case "json_schema":
            return ((wanted or {}).get("json_schema") or {}).get("schema") or "json"
        case _:
            return None


def _event(value: object) -> bytes:
    return b"data: " + encode(value) + b"\n\n"


class _Frame:
    """What all objects of one answer share."""

    def __init__(self, kind: Literal["chat.completion", "text_completion"], model: str, seed: str) -> None:
        prefix = "chatcmpl" if kind == "chat.completion" else "cmpl"
        self.chat = kind == "chat.completion"
        self.kind = kind
        self.model = model
        self.head = {
            "id": f"{prefix}-{voice.source_of(seed).randint(1, 999)}",
            "created": int(time.time_ns() / 1e9),
        }

    def whole(self, choice: Json, counts: dict[str, int]) -> Json:
        """A complete answer."""
        kind = {"object": self.kind, **self._rest()}
        return {"id": self.head["id"], **kind, "choices": [choice], "usage": counts}

    def event(
        self, choices: list[Json], model: str | None = None, counts: dict[str, int] | None = None
    ) -> bytes:
        """One event of a stream."""
        kind = "chat.completion.chunk" if self.chat else "text_completion"
        value = {"id": self.head["id"], "object": kind, **self._rest(), "choices": choices}
        if model is not None:
            value["model"] = model
        return _event({**value, "usage": counts} if counts else value)

    def _rest(self) -> dict[str, Json]:
        return {"created": self.head["created"], "model": self.model, "system_fingerprint": MARK}


class OpenAIDialect:
    """Answers the OpenAI paths with the models of Ollama's."""

    def __init__(self, ollama: OllamaDialect) -> None:
        self._ollama = ollama

    async def chat(self, reply: Reply) -> None:
        """POST /v1/chat/completions."""
        asked = decode(reply.request.body, ChatRequest)
        if not asked.messages:
            raise RefusedError(400, "[] is too short - 'messages'")
        card = self._ollama.writer(asked.model, "chat")
        turns = [Turn(one.role, plain_text(one.content)) for one in asked.messages]
        ask = self._ask(card, asked, turns, asked.max_completion_tokens)
        ask.tools = list(asked.tools or [])
        ask.shape = _shape(asked.response_format)
        ask.think = card.thinks and asked.reasoning_effort != "none"
        await self._answer(reply, asked, ask, _Frame("chat.completion", asked.model, str(turns)))

    async def completions(self, reply: Reply) -> None:
        """POST /v1/completions."""
        asked = decode(reply.request.body, CompletionRequest)
        card = self._ollama.writer(asked.model, "generate")
        ask = self._ask(card, asked, [Turn("user", asked.prompt)], None)
        await self._answer(reply, asked, ask, _Frame("text_completion", asked.model, asked.prompt))

    def _ask(self, card: Card, asked: Common, turns: list[Turn], most: int | None) -> Ask:
        options = {"seed": asked.seed or 0, "num_predict": most or asked.max_tokens, "stop": asked.stop}
        return Ask(card, turns, options=check_options({k: v for k, v in options.items() if v is not None}))

    async def _answer(self, reply: Reply, asked: Common, ask: Ask, frame: _Frame) -> None:
        generation = self._ollama.start(ask, reply)
        if asked.stream:
            await self._stream(reply, asked, generation, frame)
            return
        pieces = [piece async for piece in generation.pieces()]
        choice = _whole_choice(pieces, frame.chat)
        choice["finish_reason"] = _finish(pieces, generation.tally)
        await reply.json(frame.whole(choice, usage(generation.tally)), kind=PLAIN_JSON, newline=True)

    async def _stream(self, reply: Reply, asked: Common, generation: Generation, frame: _Frame) -> None:
        shape: Callable[[Piece, bool], dict[str, Json]] = _delta if frame.chat else _text_choice
        reply.stream(SSE)
        seen: list[Piece] = []
        try:
            async for piece in generation.pieces():
                await reply.chunk(frame.event([shape(piece, not seen)]))
                seen.append(piece)
        except ClientGoneError:
            if reply.began:
                await reply.chunk(frame.event([shape(Piece("text"), False)], model=""))
                await reply.end()
            raise
        end: dict[str, Json] = {"index": 0, "finish_reason": _finish(seen, generation.tally)}
        last = frame.event([{**end, "delta": {}} if frame.chat else {"text": "", **end}])
        if asked.stream_options and asked.stream_options.include_usage:
            last += frame.event([], counts=usage(generation.tally))
        await reply.chunk(last + b"data: [DONE]\n\n")
        await reply.end()

    async def embeddings(self, reply: Reply) -> None:
        """POST /v1/embeddings."""
        asked = decode(reply.request.body, EmbeddingRequest)
        card = self._ollama.card(asked.model)
        if not card.embedding:
            raise RefusedError(501, "This server does not support embeddings. Start it with `--embeddings`")
        await self._ollama.start(Ask(card, []), reply).load()
        texts = [asked.input] if isinstance(asked.input, str) else asked.input
        size = min(asked.dimensions or card.embedding, card.embedding)
        data = [
            {
                "object": "embedding",
                "embedding": _packed(voice.vector(text, size), asked.encoding_format),
                "index": at,
            }
            for at, text in enumerate(texts)
        ]
        count = sum(voice.count_tokens(text) for text in texts)
        counts = {"prompt_tokens": count, "total_tokens": count}
        await reply.json(
            {"object": "list", "data": data, "model": asked.model, "usage": counts},
            kind=PLAIN_JSON,
            newline=True,
        )

    async def models(self, reply: Reply) -> None:
        """GET /v1/models."""
        data = [
            {"id": card.name, "object": "model", "created": 1763661851, "owned_by": "library"}
            for card in self._ollama.shelf.cards
        ]
        await reply.json({"object": "list", "data": data}, kind=PLAIN_JSON, newline=True)


def _packed(vector: list[float], encoding: str) -> Json:
    return (
        base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
        if encoding == "base64"
        else vector
    )


def _tool_calls(piece: Piece) -> list[Json]:
    call = piece.call
    if call is None:
        return []
    function = {"name": call.name, "arguments": encode(call.arguments).decode()}
    return [{"id": call.id, "index": call.index, "type": "function", "function": function}]


def _delta(piece: Piece, first: bool) -> dict[str, Json]:
    delta: dict[str, Json] = {"role": "assistant"} if first else {}
    delta["content"] = piece.text if piece.kind == "text" else ""
    if piece.kind == "thinking":
        delta["reasoning"] = piece.text
    if piece.call:
        delta["tool_calls"] = _tool_calls(piece)
    return {"index": 0, "delta": delta, "finish_reason": None}


def _text_choice(piece: Piece, _first: bool) -> dict[str, Json]:
    return {"text": piece.text, "index": 0, "finish_reason": None}


def _whole_choice(pieces: list[Piece], chat: bool) -> dict[str, Json]:
    text = "".join(piece.text for piece in pieces if piece.kind == "text")
    if not chat:
        return {"text": text, "index": 0}
    message: dict[str, Json] = {"role": "assistant", "content": text}
    if thinking := "".join(piece.text for piece in pieces if piece.kind == "thinking"):
        message["reasoning"] = thinking
    if calls := [call for piece in pieces for call in _tool_calls(piece)]:
        message["tool_calls"] = calls
    return {"index": 0, "message": message}


def _finish(pieces: list[Piece], tally: Tally) -> str:
    if tally.reason == "length":
        return "length"
    return "tool_calls" if any(piece.call for piece in pieces) else "stop"

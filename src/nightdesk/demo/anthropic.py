"""The Anthropic path that Ollama answers: /v1/messages, as named server-sent events or as one object."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from nightdesk.demo import voice
from nightdesk.demo.generation import Ask, Generation, Piece, RefusedError, Tally, Turn
from nightdesk.demo.ollama import OllamaDialect, decode
from nightdesk.demo.openai import ChatMessage, plain_text
from nightdesk.demo.wire import PLAIN_JSON, SSE, Reply, encode
from nightdesk.model.base import Json

STREAM_HEADERS = {"Cache-Control": "no-cache", "Connection": "keep-alive"}


class MessagesRequest(msgspec.Struct, kw_only=True):
    """Body of /v1/messages."""

    model: str = ""
    messages: list[ChatMessage] = []
    system: str | list[dict[str, Json]] | None = None
    max_tokens: int = 0
    stream: bool = False
    tools: list[dict[str, Json]] | None = None
    stop_sequences: list[str] | None = None
    thinking: dict[str, Json] | None = None


def refusal(status: int, message: str) -> Json:
    """An error as Anthropic clients expect it."""
    kind = {400: "invalid_request_error", 404: "not_found_error"}.get(status, "api_error")
    error = {"type": kind, "message": message}
    return {"type": "error", "error": error, "request_id": f"req_{_id(message)}"}


def _id(*parts: object) -> str:
    return f"{voice.source_of(*parts).getrandbits(96):024x}"


def _event(name: str, **fields: Json) -> bytes:
    return f"event: {name}\ndata: ".encode() + encode({"type": name, **fields}) + b"\n\n"


class AnthropicDialect:
    """Answers /v1/messages with the models of Ollama's paths."""

    def __init__(self, ollama: OllamaDialect) -> None:
        self._ollama = ollama

    async def messages(self, reply: Reply) -> None:
        """POST /v1/messages."""
        asked = decode(reply.request.body, MessagesRequest)
        ask = self._ask(asked)
        generation = self._ollama.start(ask, reply)
        ident = f"msg_{_id(str(asked.messages))}"
        head = {"id": ident, "type": "message", "role": "assistant", "model": asked.model}
        if asked.stream:
            await self._stream(reply, generation, head)
            return
        pieces = [piece async for piece in generation.pieces()]
        end = {"stop_reason": _reason(pieces, generation.tally), "usage": _usage(generation.tally)}
        await reply.json({**head, "content": list(_blocks(pieces)), **end}, kind=PLAIN_JSON, newline=True)

    def _ask(self, asked: MessagesRequest) -> Ask:
        if asked.max_tokens <= 0:
            raise RefusedError(400, "max_tokens is required and must be positive")
        if not asked.messages:
            raise RefusedError(400, "messages is required")
        card = self._ollama.writer(asked.model, "chat")
        turns = [Turn("system", plain_text(asked.system))] if asked.system else []
        for one in asked.messages:
            parts = one.content if isinstance(one.content, list) else []
            answered = any(part.get("type") == "tool_result" for part in parts)
            turns.append(Turn("tool" if answered else one.role, plain_text(one.content)))
        tools = [{**tool, "parameters": tool.get("input_schema")} for tool in asked.tools or []]
        think = card.thinks and (asked.thinking or {}).get("type") != "disabled"
        options: dict[str, Json] = {"num_predict": asked.max_tokens, "stop": asked.stop_sequences or []}
        return Ask(card, turns, options=options, think=think, tools=tools)

    async def _stream(self, reply: Reply, generation: Generation, head: dict[str, Json]) -> None:
        estimate = sum(voice.count_tokens(turn.content) for turn in generation.ask.turns)
        usage = {"input_tokens": estimate, "output_tokens": 0}
        reply.stream(SSE, STREAM_HEADERS)
        pieces: list[Piece] = []
        index = -1
        async for piece in generation.pieces():
            if not pieces:
                await reply.chunk(_event("message_start", message={**head, "content": [], "usage": usage}))
            if not pieces or pieces[-1].kind != piece.kind:
                if index >= 0:
                    await reply.chunk(_event("content_block_stop", index=index))
                index += 1
                await reply.chunk(_event("content_block_start", index=index, content_block=_empty(piece)))
            await reply.chunk(_event("content_block_delta", index=index, delta=_delta(piece)))
            pieces.append(piece)
        await reply.chunk(_event("content_block_stop", index=max(index, 0)))
        delta = {"stop_reason": _reason(pieces, generation.tally)}
        await reply.chunk(_event("message_delta", delta=delta, usage=_usage(generation.tally)))
        await reply.chunk(_event("message_stop"))
        await reply.end()


def _empty(piece: Piece) -> Json:
    if piece.call:
        return {"type": "tool_use", "id": piece.call.id, "name": piece.call.name, "input": {}}
    return {"type": piece.kind, piece.kind: ""}


def _delta(piece: Piece) -> Json:
    if piece.call:
        return {"type": "input_json_delta", "partial_json": encode(piece.call.arguments).decode()}
    return {"type": f"{piece.kind}_delta", piece.kind: piece.text}


def _blocks(pieces: list[Piece]) -> Iterator[Json]:
    for kind in ("thinking", "text"):
        if text := "".join(piece.text for piece in pieces if piece.kind == kind):
            yield {"type": kind, kind: text}
    for piece in pieces:
        if piece.call:
            yield {**_empty(piece), "input": piece.call.arguments}


def _reason(pieces: list[Piece], tally: Tally) -> str:
    if tally.reason == "length":
        return "max_tokens"
    return "tool_use" if any(piece.call for piece in pieces) else "end_turn"


def _usage(tally: Tally) -> dict[str, int]:
    return {"input_tokens": tally.prompt_tokens, "output_tokens": tally.reply_tokens}

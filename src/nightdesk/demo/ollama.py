"""Ollama's own paths: /api/generate, /api/chat, /api/embed and what manages models."""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from nightdesk.demo import voice
from nightdesk.demo.generation import Ask, Generation, Piece, RefusedError, Turn, span_of
from nightdesk.demo.models import Card, Shelf
from nightdesk.demo.wire import NDJSON, ClientGoneError, Reply, encode, stamp
from nightdesk.model.base import Json

VERSION = "0.32.15"
GONE = "error reading llama-server response: context canceled"
"""What Ollama still sends to a client that has left."""

T = TypeVar("T")


class Function(msgspec.Struct):
    """The call inside a tool call."""

    name: str = ""
    arguments: Json = None


class ToolCall(msgspec.Struct):
    """A tool call of an earlier turn."""

    function: Function = msgspec.field(default_factory=Function)


class Message(msgspec.Struct):
    """A message of /api/chat."""

    role: str = ""
    content: str = ""
    images: list[str] | None = None
    tool_calls: list[ToolCall] | None = None


class Common(msgspec.Struct, kw_only=True):
    """What /api/generate and /api/chat share."""

    model: str = ""
    stream: bool | None = None
    format: Json = None
    options: dict[str, Json] | None = None
    keep_alive: Json = None
    think: bool | str | None = None
    truncate: bool | None = None


class GenerateRequest(Common, kw_only=True):
    """Body of /api/generate."""

    prompt: str = ""
    system: str = ""
    raw: bool = False
    images: list[str] | None = None


class ChatRequest(Common, kw_only=True):
    """Body of /api/chat."""

    messages: list[Message] = []
    tools: list[dict[str, Json]] | None = None


class EmbedRequest(msgspec.Struct, kw_only=True):
    """Body of /api/embed (input) and /api/embeddings (prompt)."""

    model: str = ""
    input: str | list[str] | None = None
    prompt: str = ""
    truncate: bool | None = None
    dimensions: int | None = None
    keep_alive: Json = None


class NamedRequest(msgspec.Struct, kw_only=True):
    """Body of /api/show."""

    model: str = ""
    name: str = ""


def decode(body: bytes, kind: type[T]) -> T:
    """``body`` as ``kind``. Raises RefusedError with what Ollama says to broken JSON."""
    if not body.strip():
        raise RefusedError(400, "missing request body")
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as fault:
        raise RefusedError(400, f"json: cannot unmarshal request: {fault}") from fault
    except (msgspec.DecodeError, UnicodeDecodeError) as fault:
        if "truncated" in str(fault):
            raise RefusedError(400, "unexpected EOF") from fault
        first = body.lstrip()[:1].decode("latin-1")
        raise RefusedError(400, f"invalid character {first!r} looking for beginning of value") from fault


def check_options(options: dict[str, Json]) -> dict[str, Json]:
    """``options`` again. Raises RefusedError where one has the wrong type."""
    for name in ("num_ctx", "num_predict", "seed"):
        value = options.get(name)
        if isinstance(value, float) and value.is_integer():
            options[name] = int(value)
        elif value is not None and (not isinstance(value, int) or isinstance(value, bool)):
            raise RefusedError(500, f'option "{name}" must be of type integer')
    return options


class OllamaDialect:
    """Answers Ollama's own paths."""

    def __init__(self, shelf: Shelf, speed: float, warn: Callable[[str], None]) -> None:
        self.shelf = shelf
        self.speed = speed
        self.warn = warn

    def card(self, name: str, message: str = "model '{}' not found") -> Card:
        """The card of ``name``. Raises RefusedError with 404."""
        if not name:
            raise RefusedError(400, "model is required")
        card = self.shelf.find(name)
        if card is None:
            raise RefusedError(404, message.format(name))
        return card

    def writer(self, name: str, verb: str) -> Card:
        """The card of a model that writes. Raises RefusedError."""
        card = self.card(name)
        if card.embedding:
            raise RefusedError(400, f'"{name}" does not support {verb}')
        return card

    def start(self, ask: Ask, reply: Reply) -> Generation:
        """A generation that ends when the client of ``reply`` leaves."""
        return Generation(ask, self.shelf, self.speed, reply.gone, self.warn)

    async def generate(self, reply: Reply) -> None:
        """POST /api/generate."""
        asked = decode(reply.request.body, GenerateRequest)
        card = self.writer(asked.model, "generate")
        check_images(asked.images)
        ask = self._ask(card, asked, [Turn("system", asked.system)] if asked.system else [])
        if not asked.prompt:
            await self._load_only(reply, asked, ask, {"response": ""})
            return
        ask.turns.append(Turn("user", asked.prompt))
        said: list[str] = []

        def shaped(piece: Piece) -> dict[str, Json]:
            said.append(piece.text)
            if piece.kind == "thinking":
                return {"response": "", "thinking": piece.text}
            return {"response": piece.text}

        def last() -> dict[str, Json]:
            return {} if asked.raw else {"context": [*voice.token_ids(asked.prompt + "".join(said))]}

        await self._answer(reply, asked, ask, shaped, {"response": ""}, last)

    async def chat(self, reply: Reply) -> None:
        """POST /api/chat."""
        asked = decode(reply.request.body, ChatRequest)
        card = self.writer(asked.model, "chat")
        for message in asked.messages:
            check_images(message.images)
        ask = self._ask(card, asked, [Turn(one.role, one.content) for one in asked.messages])
        ask.tools = list(asked.tools or [])
        if not asked.messages:
            await self._load_only(reply, asked, ask, {"message": {"role": "assistant", "content": ""}})
            return
        await self._answer(
            reply, asked, ask, _chat_piece, {"message": {"role": "assistant", "content": ""}}, dict
        )

    def _ask(self, card: Card, asked: Common, turns: list[Turn]) -> Ask:
        if asked.think and not card.thinks:
            raise RefusedError(400, f'"{asked.model}" does not support thinking')
        if isinstance(asked.format, str) and asked.format not in ("", "json"):
            quoted = encode(asked.format).decode()
            text = f'invalid format: {encode(quoted).decode()}; expected "json" or a valid JSON Schema object'
            raise RefusedError(500, text)
        return Ask(
            card=card,
            turns=turns,
            options=check_options(dict(asked.options or {})),
            think=card.thinks and asked.think is not False,
            shape=asked.format,
            keep_ns=span_of(asked.keep_alive),
            truncate=asked.truncate is not False,
        )

    async def _load_only(self, reply: Reply, asked: Common, ask: Ask, empty: dict[str, Json]) -> None:
        reason = "load" if ask.keep_ns else "unload"
        if ask.keep_ns:
            generation = self.start(ask, reply)
            await generation.load()
            self.shelf.release(self.shelf.hold(ask.card, ask.context), ask.keep_ns)
        else:
            self.shelf.unload(ask.card)
        head = {"model": asked.model, "created_at": stamp(time.time_ns())}
        await reply.json({**head, **empty, "done": True, "done_reason": reason})

    async def _answer(
        self,
        reply: Reply,
        asked: Common,
        ask: Ask,
        shaped: Callable[[Piece], dict[str, Json]],
        empty: dict[str, Json],
        last: Callable[[], dict[str, Json]],
    ) -> None:
        generation = self.start(ask, reply)
        if asked.stream is False:
            parts = [shaped(piece) async for piece in generation.pieces()]
            end = _final(asked.model, _merged(parts, empty), generation, last())
            await reply.json(end)
            return
        reply.stream(NDJSON)
        try:
            async for piece in generation.pieces():
                head = {"model": asked.model, "created_at": stamp(time.time_ns())}
                await reply.chunk(encode({**head, **shaped(piece), "done": False}) + b"\n")
        except ClientGoneError:
            if reply.began:
                await reply.chunk(encode({"error": GONE}) + b"\n")
                await reply.end()
            raise
        if generation.tally.reason:
            await reply.chunk(encode(_final(asked.model, empty, generation, last())) + b"\n")
        await reply.end()

    async def embed(self, reply: Reply) -> None:
        """POST /api/embed."""
        began = time.monotonic_ns()
        asked = decode(reply.request.body, EmbedRequest)
        card = self._embedder(asked)
        texts = [asked.input] if isinstance(asked.input, str) else asked.input or []
        ask = Ask(card, [], keep_ns=span_of(asked.keep_alive))
        generation = self.start(ask, reply)
        counts = [self._fit(card, asked, text) for text in texts]
        await generation.load()
        self.shelf.release(self.shelf.hold(card, ask.context), ask.keep_ns)
        vectors = [
            voice.vector(text, min(asked.dimensions or card.embedding, card.embedding)) for text in texts
        ]
        answer: dict[str, Json] = {"model": asked.model, "embeddings": vectors}
        answer["total_duration"] = time.monotonic_ns() - began
        answer["load_duration"] = generation.tally.load_ns
        if total := sum(counts):
            answer["prompt_eval_count"] = total
        await reply.json(answer)

    async def embeddings(self, reply: Reply) -> None:
        """POST /api/embeddings, the older form."""
        asked = decode(reply.request.body, EmbedRequest)
        card = self._embedder(asked)
        await self.start(Ask(card, []), reply).load()
        await reply.json({"embedding": voice.vector(asked.prompt, card.embedding) if asked.prompt else []})

    def _embedder(self, asked: EmbedRequest) -> Card:
        card = self.card(asked.model, 'model "{}" not found, try pulling it first')
        if not card.embedding:
            raise RefusedError(501, "This server does not support embeddings. Start it with `--embeddings`")
        return card

    @staticmethod
    def _fit(card: Card, asked: EmbedRequest, text: str) -> int:
        count = voice.count_tokens(text)
        if count > card.context_length and asked.truncate is False:
            raise RefusedError(400, "the input length exceeds the context length")
        return min(count, card.context_length)

    async def tags(self, reply: Reply) -> None:
        """GET /api/tags."""
        await reply.json({"models": [_listed(card) for card in self.shelf.cards]})

    async def ps(self, reply: Reply) -> None:
        """GET /api/ps."""
        models = []
        for one in self.shelf.loaded():
            entry = {k: v for k, v in _listed(one.card).items() if k not in ("modified_at", "capabilities")}
            size = int(one.card.size * 1.15) + one.context * 131_072
            entry |= {"size": size, "expires_at": stamp(one.expires_ns)}
            models.append({**entry, "size_vram": size, "context_length": one.context})
        await reply.json({"models": models})

    async def version(self, reply: Reply) -> None:
        """GET /api/version."""
        await reply.json({"version": VERSION})

    async def show(self, reply: Reply) -> None:
        """POST /api/show."""
        asked = decode(reply.request.body, NamedRequest)
        card = self.card(asked.model or asked.name)
        info = {
            "general.architecture": card.family,
            "general.parameter_count": int(
                float(card.parameters[:-1]) * (1e6 if card.parameters[-1] == "M" else 1e9)
            ),
            f"{card.family}.context_length": card.context_length,
            f"{card.family}.embedding_length": card.embedding or 4096,
        }
        await reply.json(
            {
                "modelfile": f'# Modelfile generated by "ollama show"\nFROM {card.name}\nTEMPLATE {{{{ .Prompt }}}}\n',
                "template": "{{ .Prompt }}",
                "details": card.details,
                "model_info": info,
                "capabilities": card.capabilities,
                "modified_at": _listed(card)["modified_at"],
            }
        )


def check_images(images: list[str] | None) -> None:
    """Raises RefusedError where an image is not base64."""
    for at, image in enumerate(images or []):
        try:
            base64.b64decode(image, validate=True)
        except (binascii.Error, ValueError) as fault:
            where = f"Alias.images.{at} of type api.ImageData"
            raise RefusedError(
                400, f"json: cannot unmarshal string into {where}: illegal base64 data"
            ) from fault


def _chat_piece(piece: Piece) -> dict[str, Json]:
    message: dict[str, Json] = {"role": "assistant", "content": piece.text if piece.kind == "text" else ""}
    if piece.kind == "thinking":
        message["thinking"] = piece.text
    if piece.call:
        call = piece.call
        function = {"index": call.index, "name": call.name, "arguments": call.arguments}
        message["tool_calls"] = [{"id": call.id, "function": function}]
    return {"message": message}


def _merged(parts: list[dict[str, Json]], empty: dict[str, Json]) -> dict[str, Json]:
    """All parts as one: texts and lists are joined, key by key."""
    whole: dict[str, Any] = dict(empty)
    for part in parts:
        for key, value in part.items():
            before = whole.get(key)
            if key == "role" or before is None:
                whole[key] = value
            elif isinstance(value, dict):
                whole[key] = _merged([value], before)
            else:
                whole[key] = before + value
    return whole


def _final(
    model: str, body: dict[str, Json], generation: Generation, last: dict[str, Json]
) -> dict[str, Json]:
    tally = generation.tally
    end: dict[str, Json] = {
        "model": model,
        "created_at": stamp(time.time_ns()),
        **body,
        "done": bool(tally.reason),
    }
    if not tally.reason:
        return end
    counts = {
        "total_duration": tally.total_ns,
        "load_duration": tally.load_ns,
        "prompt_eval_count": tally.prompt_tokens,
        "prompt_eval_duration": tally.prompt_ns,
        "eval_count": tally.reply_tokens,
        "eval_duration": tally.generation_ns,
    }
    return {**end, "done_reason": tally.reason, **last, **{k: v for k, v in counts.items() if v}}


def _listed(card: Card) -> dict[str, Json]:
    return {
        "name": card.name,
        "model": card.name,
        "modified_at": "2025-11-20T18:04:11.503926Z",
        "size": card.size,
        "digest": card.digest,
        "details": card.details,
        "capabilities": card.capabilities,
    }

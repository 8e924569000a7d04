"""Exchanges with a model server, and what the capture process says about them.

The field names of :class:`Exchange` are a contract (``--json``): they never change meaning.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from nightdesk.model.base import Json, Noun
from nightdesk.model.process import ProcessRef

ExchangeState = Literal["running", "complete", "incomplete", "aborted", "partial", "failed"]
Dialect = Literal["ollama", "openai", "anthropic", "http"]
Operation = Literal["chat", "generate", "embed", "manage", "other"]


class ToolCall(Noun, frozen=True, kw_only=True):
    """A call that the model asked for. ``arguments`` as received: an object (Ollama) or JSON text (OpenAI)."""

    id: str | None = None
    name: str
    arguments: Json


class Embeddings(Noun, frozen=True, kw_only=True):
    """Shape of the vectors in a reply; the numbers themselves are not kept."""

    count: int
    dims: int


class Logprobs(Noun, frozen=True, kw_only=True):
    """How sure the model was of its reply, where the client asked for logarithms of probabilities."""

    count: int
    """Tokens with a probability."""
    mean: float
    """Mean of the natural logarithms, 0 at most: ``exp(-mean)`` is the perplexity."""
    lowest: float


class Transfer(Noun, frozen=True, kw_only=True):
    """How far a pull, push or create is with the part that it works on, in bytes."""

    completed: int
    total: int


class MissingBytes(Noun, frozen=True, kw_only=True):
    """Bytes that the capture did not see, for each direction."""

    request: int
    response: int


VerdictKind = Literal[
    "context_cut",
    "context_nearly_full",
    "empty_reply",
    "reply_cut",
    "loop",
    "whitespace_loop",
    "only_thinking",
    "unfinished",
    "bad_json",
    "stalled",
    "slow_first_token",
    "model_reload",
    "client_gone",
    "error_in_stream",
    "server_error",
]
"""All kinds of verdicts; docs/verdicts.md explains each."""


class Verdict(Noun, frozen=True, kw_only=True):
    """A finding, why we believe it, and what to do about it."""

    kind: str
    """A stable word: ``context_cut``, ``empty_reply``, ``loop`` …"""
    evidence: str
    advice: str


class Image(Noun, frozen=True, kw_only=True):
    """An image in a prompt: kept as hash and size, never as content."""

    sha256: str
    bytes: int


class Message(Noun, frozen=True, kw_only=True):
    """One message of a chat prompt."""

    role: str
    content: str
    thinking: str | None = None
    images: tuple[Image, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    tool_name: str | None = None


class Prompt(Noun, frozen=True, kw_only=True):
    """What the client sent, understood."""

    system: str | None = None
    prompt: str | None = None
    messages: tuple[Message, ...] = ()
    images: tuple[Image, ...] = ()
    tools: tuple[Json, ...] = ()
    options: dict[str, Json] = {}
    format: Json = None
    keep_alive: Json = None


class Exchange(Noun, frozen=True, kw_only=True):
    """One HTTP request and its response with a model server."""

    id: int
    """In the store: unique for the desk. From a file: 1, 2, … in the order in which requests began."""
    state: ExchangeState
    client_addr: str
    server_addr: str
    connection: int
    """Number of the connection within the capture, from 1."""
    position: int
    """1 for the first exchange of its connection."""
    method: str | None = None
    path: str | None = None
    dialect: Dialect
    operation: Operation
    status: int | None = None
    streamed: bool
    stream_format: Literal["ndjson", "sse"] | None = None
    fragments: int
    """NDJSON objects, or SSE events without ``[DONE]``."""
    model: str | None = None
    text: str
    thinking: str
    tool_calls: tuple[ToolCall, ...]
    embeddings: Embeddings | None = None
    logprobs: Logprobs | None = None
    statuses: tuple[str, ...] = ()
    transfer: Transfer | None = None
    """Of the newest status line that tells it."""
    done: bool
    done_reason: str | None = None
    error: Json = None
    prompt_tokens: int | None = None
    reply_tokens: int | None = None
    load_ns: int | None = None
    prompt_ns: int | None = None
    generation_ns: int | None = None
    total_ns: int | None = None
    started_ns: int
    first_byte_ns: int | None = None
    first_token_ns: int | None = None
    ended_ns: int | None = None
    request_bytes: int
    request_sha256: str
    response_bytes: int
    response_sha256: str
    missing_bytes: MissingBytes
    aborted_by: Literal["client", "server"] | None = None
    process: ProcessRef | None = None
    server_process: ProcessRef | None = None
    """Who listens on the server's port; only in a live capture, and only where the server runs on this machine."""
    run: str | None = None
    job: str | None = None
    item: str | None = None
    verdicts: tuple[Verdict, ...]
    text_pieces: tuple[str, ...] | None = None
    """Only where packets are missing: the pieces of ``text`` between the gaps, in order."""
    note: str | None = None
    """One sentence on anything odd in the recording: cut bodies, conflicting retransmissions."""
    prompt: Prompt | None = None
    request_headers: tuple[tuple[str, str], ...] = ()
    """As sent, in order; ``Authorization`` and cookies masked."""
    response_headers: tuple[tuple[str, str], ...] = ()
    request_body: str | None = None
    """The body as text, cut at the recorder's limit; undecodable bytes are replaced."""
    response_body: str | None = None
    fragment_gaps_ns: tuple[int, ...] = ()
    """Packet time of each fragment since the one before it, of the first since ``started_ns``; cut at the
    recorder's limit."""
    replay_of: int | None = None
    """Sent by Nightdesk as a replay of this exchange; no traffic of any job."""
    unknown: dict[str, str] = {}


class ExchangeRow(Noun, frozen=True, kw_only=True):
    """An exchange as one line of a list."""

    id: int
    state: ExchangeState
    started_ns: int
    ended_ns: int | None = None
    first_token_ns: int | None = None
    method: str | None = None
    path: str | None = None
    operation: Operation
    dialect: Dialect
    status: int | None = None
    model: str | None = None
    process: str | None = None
    pid: int | None = None
    client_addr: str | None = None
    """Only where the process is unknown."""
    server_addr: str | None = None
    run: str | None = None
    job: str | None = None
    item: str | None = None
    fragments: int
    prompt_tokens: int | None = None
    reply_tokens: int | None = None
    generation_ns: int | None = None
    missing: int = 0
    error: str | None = None
    done_reason: str | None = None
    request_bytes: int = 0
    response_bytes: int = 0
    prompt_ns: int | None = None
    load_ns: int | None = None
    replay_of: int | None = None
    mark: Literal["good", "bad"] | None = None
    """What the user thinks of it."""
    verdicts: tuple[str, ...] = ()
    tail: str
    """The newest characters of the reply (of the thinking, before the reply begins), for the list."""


TAIL_CHARS = 240
"""Enough to fill what is left of a 300-column line."""


def error_text(error: Json) -> str:
    """The sentence in an error, whatever object it is wrapped in; the object itself where it has none."""
    for _ in range(4):
        if isinstance(error, dict) and (inner := error.get("message") or error.get("error")):
            error = inner
        elif isinstance(error, str) and error.startswith('{"'):
            try:
                error = msgspec.json.decode(error)
            except (msgspec.DecodeError, RecursionError, ValueError):
                break
        else:
            break
    return error if isinstance(error, str) else "" if error is None else str(error)


def row_of(exchange: Exchange) -> ExchangeRow:
    """The line for the list; cost is independent of the length of the reply."""
    reply = exchange.text or exchange.thinking
    return ExchangeRow(
        id=exchange.id,
        state=exchange.state,
        started_ns=exchange.started_ns,
        ended_ns=exchange.ended_ns,
        first_token_ns=exchange.first_token_ns,
        method=exchange.method,
        path=exchange.path,
        operation=exchange.operation,
        dialect=exchange.dialect,
        status=exchange.status,
        model=exchange.model,
        process=exchange.process.name if exchange.process else None,
        pid=exchange.process.pid if exchange.process else None,
        client_addr=None if exchange.process else exchange.client_addr,
        server_addr=exchange.server_addr,
        run=exchange.run,
        job=exchange.job,
        item=exchange.item,
        fragments=exchange.fragments,
        prompt_tokens=exchange.prompt_tokens,
        reply_tokens=exchange.reply_tokens,
        generation_ns=exchange.generation_ns,
        missing=exchange.missing_bytes.request + exchange.missing_bytes.response,
        error=None if exchange.error is None else error_text(exchange.error)[:TAIL_CHARS],
        done_reason=exchange.done_reason,
        request_bytes=exchange.request_bytes,
        response_bytes=exchange.response_bytes,
        prompt_ns=exchange.prompt_ns,
        load_ns=exchange.load_ns,
        replay_of=exchange.replay_of,
        verdicts=tuple(verdict.kind for verdict in exchange.verdicts),
        tail=reply[-TAIL_CHARS:],
    )


# What the capture process prints: one JSON object a line, told apart by "type".


class CaptureStatus(Noun, frozen=True, kw_only=True, tag_field="type", tag="status"):
    """The state of the source, printed when it changes and with the counters every few seconds."""

    state: Literal["starting", "live", "failed"]
    source: str
    """``scapy``, ``tcpdump``, ``relay``, ``file`` or ``none``."""
    interface: str | None = None
    ports: tuple[int, ...] = ()
    packets: int = 0
    dropped: int | None = None
    """Packets that the kernel dropped before we saw them; unknown for some sources."""
    message: str | None = None
    """Why it failed, and the exact next step."""
    relay: str | None = None
    """Address of the relay (``127.0.0.1:port``) when the source is a relay."""


class ExchangeSeen(Noun, frozen=True, kw_only=True, tag_field="type", tag="exchange"):
    """An exchange has begun, has its response head, or has ended. ``exchange`` is complete as of now."""

    exchange: Exchange


class ExchangeGrew(Noun, frozen=True, kw_only=True, tag_field="type", tag="grew"):
    """New text of a running exchange; several fragments are collected for up to 100 ms."""

    id: int
    at_ns: int
    fragments: int
    """Fragments so far, in all."""
    text: str = ""
    """Text to append."""
    thinking: str = ""
    """Thinking to append."""
    first_token_ns: int | None = None


CaptureLine = CaptureStatus | ExchangeSeen | ExchangeGrew
capture_encoder = msgspec.json.Encoder()
capture_decoder: msgspec.json.Decoder[CaptureLine] = msgspec.json.Decoder(CaptureLine)

"""The OpenAI dialect: chat completions, completions, embeddings and responses, streamed as events or not."""

from __future__ import annotations

from typing import Any

import msgspec

from nightdesk.core.capture.dialects.ollama import dims_of
from nightdesk.core.capture.dialects.reader import ReplyReader
from nightdesk.core.capture.dialects.reply import TOOL_CALLS, Reply, mapping, sequence, word
from nightdesk.core.capture.dialects.vectors import split_objects
from nightdesk.model.exchange import Embeddings, ToolCall


class _Delta(msgspec.Struct, gc=False):
    content: str = ""
    reasoning: str | None = None
    reasoning_content: str | None = None
    tool_calls: Any = None


class _Choice(msgspec.Struct, gc=False):
    delta: _Delta
    index: int = 0
    finish_reason: str | None = None
    text: str | None = None
    logprobs: Any = None


class _Chunk(msgspec.Struct, gc=False):
    """What the usual event of a chat says; all others are read again in full."""

    choices: tuple[_Choice]
    usage: Any = None
    error: Any = None


_chunks = msgspec.json.Decoder(_Chunk)
_FAULTS = (msgspec.DecodeError, msgspec.ValidationError, RecursionError, UnicodeDecodeError)


class OpenAIReader(ReplyReader):
    """``/v1/chat/completions`` and ``/v1/completions``."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply)
        self._calls: dict[int, _Call] = {}

    def read_events(self, block: bytes) -> None:
        """Whole events. The last of a block may be the end of the reply; those before it usually are plain text."""
        last = block.rfind(b'\n\ndata: {"', 0, -2) + 2
        if self.reply.model is not None and last > 2 and self._read_usual(block[:last]):
            block = block[last:]
        super().read_events(block)

    def _read_usual(self, block: bytes) -> bool:
        """Takes events of plain text, one line each; leaves anything else untouched."""
        if not block.startswith(b"data: "):
            return False
        try:
            chunks = _chunks.decode_lines(block[6:].replace(b"\n\ndata: ", b"\n"))
        except _FAULTS:
            return False
        texts = []
        for chunk in chunks:
            choice = chunk.choices[0]
            delta = choice.delta
            if (
                chunk.usage is not None or chunk.error is not None or choice.index or choice.text or choice.logprobs
                or choice.finish_reason or delta.reasoning or delta.reasoning_content or delta.tool_calls
            ):  # fmt: skip
                return False
            texts.append(delta.content)
        self.reply.fragments += len(chunks)
        self.reply.add_text("".join(texts))
        return True

    def read_event(self, value: dict[str, Any]) -> None:
        """A chunk: text, thinking or parts of tool calls in ``delta``, counts in ``usage``."""
        reply = self.reply
        reply.model = reply.model or word(value.get("model"))
        self.add_error(value)
        reply.take_usage(value.get("usage"))
        for choice in sequence(value.get("choices")):
            choice = mapping(choice)
            if choice.get("index", 0) != 0:
                continue
            self._read_message(mapping(choice.get("delta")), streamed=True)
            reply.add_text(word(choice.get("text")) or "")
            self._read_logprobs(choice)
            reply.done_reason = word(choice.get("finish_reason")) or reply.done_reason

    def read_object(self, value: dict[str, Any]) -> None:
        """A whole answer."""
        reply = self.reply
        reply.model = reply.model or word(value.get("model"))
        self.add_error(value)
        reply.take_usage(value.get("usage"))
        for choice in sequence(value.get("choices"))[:1]:
            self._read_message(mapping(mapping(choice).get("message")), streamed=False)
            reply.add_text(word(mapping(choice).get("text")) or "")
            self._read_logprobs(mapping(choice))
            reply.done_reason = word(mapping(choice).get("finish_reason"))
            reply.done = reply.done_reason is not None

    def _read_logprobs(self, choice: dict[str, Any]) -> None:
        told = mapping(choice.get("logprobs"))
        self.reply.add_logprobs(told.get("content") or told.get("token_logprobs"))

    def _read_message(self, message: dict[str, Any], *, streamed: bool) -> None:
        reply = self.reply
        reply.add_thinking(word(message.get("reasoning")) or word(message.get("reasoning_content")) or "")
        reply.add_text(word(message.get("content")) or "")
        for position, part in enumerate(sequence(message.get("tool_calls"))):
            index = part.get("index") if streamed and isinstance(part, dict) else position
            self._read_call(index if isinstance(index, int) else position, mapping(part))

    def _read_call(self, index: int, part: dict[str, Any]) -> None:
        function = mapping(part.get("function"))
        call = self._calls.get(index)
        identity = word(part.get("id"))
        if call is None or (identity and call.id and identity != call.id):
            if call is None and len(self._calls) >= TOOL_CALLS:
                return
            if call is not None:
                self.reply.add_spent_call(call.whole())
            call = self._calls[index] = _Call(identity, word(function.get("name")) or "")
            self.reply.has_token = True
        call.name = call.name or word(function.get("name")) or ""
        arguments = function.get("arguments")
        if isinstance(arguments, str) and self.reply.spend(len(arguments)):
            call.arguments.append(arguments)

    def finish(self) -> None:
        """Tool calls are complete only now."""
        calls, self._calls = self._calls, {}
        for index in sorted(calls):
            self.reply.add_spent_call(calls[index].whole())


class _Call:
    """A tool call that comes in parts."""

    __slots__ = ("arguments", "id", "name")

    def __init__(self, identity: str | None, name: str) -> None:
        self.id = identity
        self.name = name
        self.arguments: list[str] = []

    def whole(self) -> ToolCall:
        """The call with its arguments as JSON text."""
        return ToolCall(id=self.id, name=self.name, arguments="".join(self.arguments))


class _Vector(msgspec.Struct):
    embedding: msgspec.Raw


class _Vectors(msgspec.Struct):
    model: str = ""
    error: Any = None
    data: list[_Vector] | None = None
    usage: Any = None


_vectors = msgspec.json.Decoder(_Vectors)


class OpenAIEmbedReader(ReplyReader):
    """``/v1/embeddings``, numbers or base64."""

    def read_document(self, data: bytes) -> None:
        """Counts vectors without building them."""
        split = split_objects(data)
        try:
            value = _vectors.decode(data if split is None else split.rest)
            if split is not None and (value.data is None or len(value.data) != split.number):
                split, value = None, _vectors.decode(data)
        except _FAULTS:
            super().read_document(data)
            return
        reply = self.reply
        reply.model = value.model or None
        if value.error not in (None, ""):
            reply.take_error(value.error)
        reply.take_usage(value.usage)
        if value.data is not None:
            first = split.first if split else bytes(value.data[0].embedding) if value.data else b""
            dims = dims_of(first)
            reply.embeddings = Embeddings(count=len(value.data), dims=dims)


class ResponsesReader(ReplyReader):
    """``/v1/responses``: named events, the last of which holds the whole answer again."""

    def read_event(self, value: dict[str, Any]) -> None:
        """One event, told apart by ``type``."""
        reply, kind = self.reply, value.get("type")
        if kind == "response.output_text.delta":
            reply.add_text(word(value.get("delta")) or "")
            reply.add_logprobs(value.get("logprobs"))
        elif kind in ("response.reasoning_summary_text.delta", "response.reasoning_text.delta"):
            reply.add_thinking(word(value.get("delta")) or "")
        elif kind == "response.function_call_arguments.delta":
            reply.has_token = True
        elif kind == "response.output_item.done":
            self._read_call(mapping(value.get("item")))
        elif kind in ("response.created", "response.in_progress"):
            reply.model = reply.model or word(mapping(value.get("response")).get("model"))
        elif kind in ("response.completed", "response.incomplete", "response.failed"):
            self._read_end(mapping(value.get("response")))
        elif kind == "error":
            reply.take_error(value.get("error") or value.get("message") or "error")

    def read_object(self, value: dict[str, Any]) -> None:
        """A whole answer."""
        self._read_end(value)
        for item in sequence(value.get("output")):
            item = mapping(item)
            self._read_call(item)
            add = self.reply.add_thinking if item.get("type") == "reasoning" else self.reply.add_text
            for part in map(mapping, sequence(item.get("content"))):
                add(word(part.get("text")) or "")
                self.reply.add_logprobs(part.get("logprobs"))
            for part in sequence(item.get("summary")):
                self.reply.add_thinking(word(mapping(part).get("text")) or "")

    def _read_end(self, response: dict[str, Any]) -> None:
        reply = self.reply
        reply.model = reply.model or word(response.get("model"))
        reply.done_reason = word(response.get("status")) or reply.done_reason
        reply.done = reply.done_reason is not None
        reply.take_usage(response.get("usage"))
        self.add_error(response)

    def _read_call(self, item: dict[str, Any]) -> None:
        if item.get("type") == "function_call":
            identity = word(item.get("call_id")) or word(item.get("id"))
            name = word(item.get("name")) or ""
            self.reply.add_tool_call(ToolCall(id=identity, name=name, arguments=item.get("arguments")))

"""Ollama's own API: one JSON object a line, the last one with ``done`` and the counts."""

from __future__ import annotations

from typing import Any

import msgspec

from nightdesk.core.capture.dialects.reader import ReplyReader, decode_or_none
from nightdesk.core.capture.dialects.reply import count, mapping, sequence, word
from nightdesk.core.capture.dialects.vectors import Vectors, split_list
from nightdesk.model.exchange import Embeddings, ToolCall


class _ChatMessage(msgspec.Struct, gc=False):
    content: str = ""
    thinking: str = ""
    tool_calls: Any = None


class _ChatPiece(msgspec.Struct, gc=False):
    """What the usual line of ``/api/chat`` says; all other lines are read again in full."""

    message: _ChatMessage
    done: bool = False
    error: Any = None
    logprobs: Any = None


class _GeneratePiece(msgspec.Struct, gc=False):
    """What the usual line of ``/api/generate`` says."""

    response: str
    thinking: str = ""
    done: bool = False
    error: Any = None
    tool_calls: Any = None
    logprobs: Any = None


class _Fragment(msgspec.Struct, gc=False):
    """Only what is needed; ``context`` (every token number so far) is skipped without being built."""

    model: str = ""
    response: str = ""
    thinking: str = ""
    message: _ChatMessage | None = None
    tool_calls: list[Any] | None = None
    status: str | None = None
    completed: int | None = None
    total: int | None = None
    logprobs: Any = None
    error: Any = None
    done: bool = False
    done_reason: str | None = None
    prompt_eval_count: int | None = None
    eval_count: int | None = None
    load_duration: int | None = None
    prompt_eval_duration: int | None = None
    eval_duration: int | None = None
    total_duration: int | None = None


_decoder = msgspec.json.Decoder(_Fragment)
_chat_pieces = msgspec.json.Decoder(_ChatPiece)
_generate_pieces = msgspec.json.Decoder(_GeneratePiece)
_FAULTS = (msgspec.DecodeError, msgspec.ValidationError, RecursionError, UnicodeDecodeError)


class OllamaReader(ReplyReader):
    """``/api/generate``, ``/api/chat`` and the management calls."""

    def read_lines(self, lines: bytes) -> None:
        """Whole lines of an NDJSON stream; a line that is no JSON object says nothing."""
        if self.reply.model is not None:
            last = lines.rfind(b"\n", 0, -1) + 1
            if last and lines.find(b'"done":true', last) > 0:
                self.read_lines(lines[:last])
                lines = lines[last:]
            elif self._read_usual(lines):
                return
        try:
            fragments = _decoder.decode_lines(lines)
        except _FAULTS:
            super().read_lines(lines)
            return
        self.reply.fragments += len(fragments)
        for fragment in fragments:
            self._read(fragment)

    def _read_usual(self, lines: bytes) -> bool:
        """Takes a burst of plain text; leaves any other untouched."""
        if b'"message":' in lines[:200]:
            return self._read_chat(lines)
        return self._read_generate(lines)

    def _read_chat(self, lines: bytes) -> bool:
        try:
            pieces = _chat_pieces.decode_lines(lines)
        except _FAULTS:
            return False
        texts = []
        for piece in pieces:
            message = piece.message
            if message.thinking or message.tool_calls or piece.done or piece.error or piece.logprobs:
                return False
            texts.append(message.content)
        self.reply.fragments += len(pieces)
        self.reply.add_text("".join(texts))
        return True

    def _read_generate(self, lines: bytes) -> bool:
        try:
            pieces = _generate_pieces.decode_lines(lines)
        except _FAULTS:
            return False
        texts = []
        for piece in pieces:
            if piece.thinking or piece.done or piece.error or piece.tool_calls or piece.logprobs:
                return False
            texts.append(piece.response)
        self.reply.fragments += len(pieces)
        self.reply.add_text("".join(texts))
        return True

    def _read(self, fragment: _Fragment) -> None:
        reply, message = self.reply, fragment.message
        reply.model = reply.model or fragment.model or None
        reply.add_thinking(fragment.thinking)
        reply.add_text(fragment.response)
        if message is not None:
            reply.add_thinking(message.thinking)
            reply.add_text(message.content)
            self._add_calls(sequence(message.tool_calls))
        self._add_calls(sequence(fragment.tool_calls))
        reply.add_logprobs(fragment.logprobs)
        if fragment.status is not None:
            reply.add_status(fragment.status)
            reply.take_transfer(fragment.completed, fragment.total)
        if fragment.error not in (None, ""):
            reply.take_error(fragment.error)
        if fragment.done:
            reply.done = True
            self._read_counts(msgspec.structs.asdict(fragment))

    def read_object(self, value: dict[str, Any]) -> None:
        """One object, whatever the types of its fields."""
        reply = self.reply
        message = mapping(value.get("message"))
        for source, text in ((value, "response"), (message, "content")):
            reply.add_thinking(word(source.get("thinking")) or "")
            reply.add_text(word(source.get(text)) or "")
            self._add_calls(sequence(source.get("tool_calls")))
        reply.model = reply.model or word(value.get("model"))
        if isinstance(value.get("status"), str):
            reply.add_status(value["status"])
            reply.take_transfer(value.get("completed"), value.get("total"))
        reply.add_logprobs(value.get("logprobs"))
        self.add_error(value)
        if value.get("done") is True:
            reply.done = True
        if value.get("done") is True or "total_duration" in value or "prompt_eval_count" in value:
            self._read_counts(value)

    def read_document(self, data: bytes) -> None:
        """One object, or the objects of a stream that was declared as one document."""
        value = decode_or_none(data)
        if isinstance(value, dict):
            self.read_object(value)
        elif value is None and b"\n" in data.strip():
            self.read_lines(data)

    def _read_counts(self, value: dict[str, Any]) -> None:
        reply = self.reply
        reply.done_reason = word(value.get("done_reason")) or reply.done_reason
        reply.prompt_tokens = count(value.get("prompt_eval_count"))
        reply.reply_tokens = count(value.get("eval_count"))
        reply.load_ns = count(value.get("load_duration"))
        reply.prompt_ns = count(value.get("prompt_eval_duration"))
        reply.generation_ns = count(value.get("eval_duration"))
        reply.total_ns = count(value.get("total_duration"))

    def _add_calls(self, calls: list[Any]) -> None:
        for call in calls:
            function = mapping(mapping(call).get("function"))
            name = word(function.get("name"))
            if name:
                arguments = function.get("arguments")
                self.reply.add_tool_call(ToolCall(id=word(call.get("id")), name=name, arguments=arguments))


class _Vectors(msgspec.Struct):
    """The vectors stay raw: counting commas is enough to know their length."""

    model: str = ""
    error: Any = None
    embeddings: list[msgspec.Raw] | None = None
    embedding: msgspec.Raw = msgspec.Raw(b"")
    prompt_eval_count: int | None = None
    load_duration: int | None = None
    total_duration: int | None = None


_vectors = msgspec.json.Decoder(_Vectors)


class OllamaEmbedReader(OllamaReader):
    """``/api/embed`` and the older ``/api/embeddings``."""

    def read_document(self, data: bytes) -> None:
        """Counts vectors and their numbers without building them."""
        split = split_list(data)
        if split is None or not self._read_rest(split.rest, split):
            self._read_whole(data)

    def _read_rest(self, rest: bytes, split: Vectors) -> bool:
        """Takes a document whose vectors were counted; False where they were not the reply's."""
        try:
            value = _vectors.decode(rest)
        except _FAULTS:
            return False
        if value.embeddings != []:
            return False
        self._take(value, Embeddings(count=split.number, dims=dims_of(split.first)))
        return True

    def _read_whole(self, data: bytes) -> None:
        try:
            value = _vectors.decode(data)
        except _FAULTS:
            super().read_document(data)
            return
        vectors = value.embeddings
        if vectors is None and bytes(value.embedding):
            vectors = [value.embedding]
        found = None
        if vectors is not None:
            found = Embeddings(count=len(vectors), dims=dims_of(bytes(vectors[0])) if vectors else 0)
        self._take(value, found)

    def _take(self, value: _Vectors, embeddings: Embeddings | None) -> None:
        reply = self.reply
        reply.model = value.model or None
        if value.error not in (None, ""):
            reply.take_error(value.error)
        reply.embeddings = embeddings or reply.embeddings
        reply.prompt_tokens, reply.load_ns = count(value.prompt_eval_count), count(value.load_duration)
        reply.total_ns = count(value.total_duration)


def dims_of(vector: bytes) -> int:
    """Length of a vector: an array of numbers, or base64 of 4-byte numbers."""
    raw = vector.strip()
    if raw.startswith(b'"'):
        return len(raw.strip(b'"').rstrip(b"=")) * 3 // 4 // 4
    return raw.count(b",") + 1 if raw.strip(b"[] \t\r\n") else 0

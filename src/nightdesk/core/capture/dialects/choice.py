"""Which dialect a request speaks, and the reader for its response."""

from __future__ import annotations

from typing import Any

from nightdesk.core.capture.dialects.anthropic import AnthropicReader
from nightdesk.core.capture.dialects.ollama import OllamaEmbedReader, OllamaReader
from nightdesk.core.capture.dialects.openai import OpenAIEmbedReader, OpenAIReader, ResponsesReader
from nightdesk.core.capture.dialects.reader import PlainReader, ReplyReader, decode_or_none
from nightdesk.core.capture.dialects.reply import Reply
from nightdesk.model.exchange import Dialect, Operation

_PATHS: dict[str, tuple[Dialect, Operation, type[ReplyReader]]] = {
    "/api/generate": ("ollama", "generate", OllamaReader),
    "/api/chat": ("ollama", "chat", OllamaReader),
    "/api/embed": ("ollama", "embed", OllamaEmbedReader),
    "/api/embeddings": ("ollama", "embed", OllamaEmbedReader),
    "/v1/chat/completions": ("openai", "chat", OpenAIReader),
    "/chat/completions": ("openai", "chat", OpenAIReader),
    "/v1/completions": ("openai", "generate", OpenAIReader),
    "/v1/embeddings": ("openai", "embed", OpenAIEmbedReader),
    "/v1/responses": ("openai", "chat", ResponsesReader),
    "/v1/messages": ("anthropic", "chat", AnthropicReader),
}
_MANAGED = (
    "pull", "push", "create", "copy", "delete", "show", "tags", "ps", "version", "blobs", "me", "signout",
)  # fmt: skip


def choose(path: str | None) -> tuple[Dialect, Operation, type[ReplyReader]]:
    """Dialect, operation and reader by the path of the request; the guessing reader where no request was seen."""
    if path is None:
        return "http", "other", GuessingReader
    plain = path.partition("?")[0].rstrip("/")
    if plain.startswith("http://"):
        plain = "/" + plain[7:].partition("/")[2]
    if plain in _PATHS:
        return _PATHS[plain]
    if plain.startswith("/api/") and plain[5:].partition("/")[0] in _MANAGED:
        return "ollama", "manage", OllamaReader
    if plain.startswith("/v1/models"):
        return "openai", "manage", PlainReader
    return "http", "other", PlainReader


class GuessingReader(ReplyReader):
    """The capture missed the request: the first object tells the dialect."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply)
        self._reader: ReplyReader | None = None
        self.guess: tuple[Dialect, Operation] | None = None

    def _choose(self, value: Any) -> ReplyReader:
        if self._reader is None and isinstance(value, dict):
            path = _path_of(value)
            if path is not None:
                dialect, operation, reader = choose(path)
                self.guess = (dialect, operation)
                self._reader = reader(self.reply)
        return self._reader or PlainReader(self.reply)

    def read_lines(self, lines: bytes) -> None:
        """Chooses by the first line that can be read."""
        for line in lines.split(b"\n"):
            if self._reader is None and line:
                self._choose(decode_or_none(line))
        (self._reader or PlainReader(self.reply)).read_lines(lines)

    def read_event(self, value: dict[str, Any]) -> None:
        """Chooses by the first event."""
        self._choose(value).read_event(value)

    def read_document(self, data: bytes) -> None:
        """Chooses by the document."""
        self._choose(decode_or_none(data)).read_document(data)

    def finish(self) -> None:
        """Passed on."""
        if self._reader is not None:
            self._reader.finish()


def _path_of(value: dict[str, Any]) -> str | None:
    """The path whose answers look like this."""
    kind = str(value.get("type", ""))
    if kind.startswith("response.") or value.get("object") == "response":
        return "/v1/responses"
    if kind.startswith(("message", "content_block")):
        return "/v1/messages"
    if "choices" in value:
        return "/v1/completions" if value.get("object") == "text_completion" else "/v1/chat/completions"
    if value.get("object") == "list" and "data" in value:
        return "/v1/embeddings"
    if "embeddings" in value or "embedding" in value:
        return "/api/embed"
    if "message" in value and "model" in value:
        return "/api/chat"
    if "response" in value and "model" in value:
        return "/api/generate"
    return "/api/pull" if "status" in value else None

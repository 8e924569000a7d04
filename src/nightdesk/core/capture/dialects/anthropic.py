"""The Anthropic dialect: ``/v1/messages``, as named events or as one document."""

from __future__ import annotations

from typing import Any

from nightdesk.core.capture.dialects.reader import ReplyReader
from nightdesk.core.capture.dialects.reply import Reply, mapping, sequence, word
from nightdesk.model.exchange import ToolCall


class AnthropicReader(ReplyReader):
    """Content comes in numbered blocks: text, thinking, tool use."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply)
        self._estimate: dict[str, Any] = {}
        """Counts of the beginning: only the end confirms them."""
        self._call: tuple[str | None, str, list[str]] | None = None

    def read_event(self, value: dict[str, Any]) -> None:
        """One event, told apart by ``type``. Counts at the end correct the estimate of the beginning."""
        reply, kind = self.reply, value.get("type")
        if kind == "content_block_delta":
            self._read_delta(mapping(value.get("delta")))
        elif kind == "content_block_start":
            self._begin_block(mapping(value.get("content_block")))
        elif kind == "content_block_stop":
            self.finish()
        elif kind == "message_start":
            message = mapping(value.get("message"))
            reply.model = word(message.get("model"))
            self._estimate = mapping(message.get("usage"))
        elif kind == "message_delta":
            reply.done_reason = word(mapping(value.get("delta")).get("stop_reason")) or reply.done_reason
            reply.take_usage({**self._estimate, **mapping(value.get("usage"))})
        elif kind == "message_stop":
            reply.done = True
        elif kind == "error":
            self.add_error(value)

    def _begin_block(self, block: dict[str, Any]) -> None:
        if block.get("type") == "tool_use":
            self.reply.has_token = True
            self._call = (word(block.get("id")), word(block.get("name")) or "", [])
            return
        self.reply.add_text(word(block.get("text")) or "")
        self.reply.add_thinking(word(block.get("thinking")) or "")

    def _read_delta(self, delta: dict[str, Any]) -> None:
        self.reply.add_text(word(delta.get("text")) or "")
        self.reply.add_thinking(word(delta.get("thinking")) or "")
        part = delta.get("partial_json")
        if self._call is not None and isinstance(part, str) and self.reply.spend(len(part)):
            self._call[2].append(part)

    def finish(self) -> None:
        """The tool call in work is over."""
        if self._call is not None:
            identity, name, parts = self._call
            self._call = None
            self.reply.add_spent_call(ToolCall(id=identity, name=name, arguments="".join(parts)))

    def read_object(self, value: dict[str, Any]) -> None:
        """A whole answer, or an error."""
        reply = self.reply
        self.add_error(value)
        reply.model = word(value.get("model"))
        reply.done_reason = word(value.get("stop_reason"))
        reply.done = reply.done_reason is not None
        reply.take_usage(value.get("usage"))
        for block in sequence(value.get("content")):
            block = mapping(block)
            reply.add_text(word(block.get("text")) or "")
            reply.add_thinking(word(block.get("thinking")) or "")
            if block.get("type") == "tool_use":
                name = word(block.get("name")) or ""
                reply.add_tool_call(
                    ToolCall(id=word(block.get("id")), name=name, arguments=block.get("input"))
                )

"""What a response says so far: the accumulator that all dialects write to."""

from __future__ import annotations

from typing import Any

import msgspec

from nightdesk.model.base import Json
from nightdesk.model.exchange import Embeddings, Logprobs, ToolCall, Transfer

STATUS_LINES = 10_000
"""Status lines kept of one pull, create or push; a pull prints one for each 60 ms."""
TOOL_CALLS = 1_000
"""Tool calls kept of one reply; a model in a loop must not fill the memory."""

ERROR_LIMIT = 64 << 10
"""Longest error that is kept as it is; servers repeat bodies in their errors, but hardly all of it."""
JOIN = 4096
"""So many small strings of a stream are joined: one costs fifty bytes more than its characters."""
GAP_CHARS = 128
"""What a gap costs, in characters: its mark and the list of the piece behind it."""

COUNT_LIMIT = (1 << 63) - 1
"""The largest number that JSON readers and the store take; a server that sends more counts nothing real."""


class Reply:
    """The understood content of one response. Sizes are counted, so that the owner can keep them bounded."""

    __slots__ = (
        "done", "done_reason", "embeddings", "error", "fragments", "fresh_text", "fresh_thinking", "gaps",
        "generation_ns", "has_token", "load_ns", "logprobs", "model", "pieces", "prompt_ns", "prompt_tokens",
        "reply_tokens", "room", "statuses", "thinking", "tool_calls", "total_ns", "transfer", "was_cut",
    )  # fmt: skip

    def __init__(self, room: int) -> None:
        self.room = room
        """Characters of text that may still be kept."""
        self.has_token = False
        """Something that the model made has come: text, thinking or a tool call."""
        self.was_cut = False
        self.pieces: list[list[str]] = [[]]
        """The text between the gaps."""
        self.gaps: list[int] = []
        self.thinking: list[str] = []
        self.fresh_text: list[str] = []
        """Text since the owner last took it away."""
        self.fresh_thinking: list[str] = []
        self.tool_calls: list[ToolCall] = []
        self.statuses: list[str] = []
        self.fragments = 0
        self.done = False
        self.done_reason: str | None = None
        self.error: Json = None
        self.model: str | None = None
        self.embeddings: Embeddings | None = None
        self.logprobs: Logprobs | None = None
        self.transfer: Transfer | None = None
        self.prompt_tokens: int | None = None
        self.reply_tokens: int | None = None
        self.load_ns: int | None = None
        self.prompt_ns: int | None = None
        self.generation_ns: int | None = None
        self.total_ns: int | None = None

    def add_text(self, text: str) -> None:
        """Appends to the text."""
        if text := self._fitting(text):
            self.pieces[-1].append(text)
            self.fresh_text.append(text)
            if len(self.pieces[-1]) > JOIN:
                self.compact()

    def add_thinking(self, text: str) -> None:
        """Appends to the thinking."""
        if text := self._fitting(text):
            self.thinking.append(text)
            self.fresh_thinking.append(text)
            if len(self.thinking) > JOIN:
                self.compact()

    def add_gap(self, size: int) -> None:
        """Bytes are missing here. Where no more text is kept, a gap behind a gap makes that one bigger."""
        mark = f"⟨{size} bytes missing⟩"
        if self.room <= 0 and self.gaps and not any(self.pieces[-1]):
            self.gaps[-1] += size
            return
        self.room = max(0, self.room - GAP_CHARS)
        self.gaps.append(size)
        if self.thinking and not any(self.pieces):
            self.thinking.append(mark)
            self.fresh_thinking.append(mark)
        self.pieces.append([])
        self.fresh_text.append(mark)

    def spend(self, size: int) -> bool:
        """Whether there is room for something of this size; takes it."""
        if size > self.room:
            self.was_cut = True
            return False
        self.room -= size
        return True

    def add_tool_call(self, call: ToolCall) -> None:
        """Appends a tool call that came whole."""
        self.has_token = True
        if self.spend(len(msgspec.json.encode(call))):
            self.add_spent_call(call)

    def add_spent_call(self, call: ToolCall) -> None:
        """Appends a tool call that came in parts, for which room was taken."""
        if len(self.tool_calls) < TOOL_CALLS:
            self.tool_calls.append(call)
        else:
            self.was_cut = True

    def add_status(self, status: str) -> None:
        """Appends a status line."""
        if len(self.statuses) < STATUS_LINES and self.spend(len(status)):
            self.statuses.append(status)
        else:
            self.was_cut = True

    def add_logprobs(self, entries: Any) -> None:
        """Logarithms of the probabilities of the next tokens: numbers, or objects with ``logprob``."""
        found = [entry.get("logprob") if isinstance(entry, dict) else entry for entry in sequence(entries)]
        values = [float(value) for value in found if isinstance(value, float | int) and -1e6 < value <= 0]
        if not values:
            return
        old = self.logprobs or Logprobs(count=0, mean=0.0, lowest=0.0)
        number = old.count + len(values)
        self.logprobs = Logprobs(
            count=number,
            mean=(old.mean * old.count + sum(values)) / number,
            lowest=min(old.lowest, *values),
        )

    def take_transfer(self, completed: Any, total: Any) -> None:
        """Bytes done and bytes in all of what a status line speaks of; both must be told."""
        done, size = count(completed, 0), count(total)
        if size and done is not None:
            self.transfer = Transfer(completed=done, total=size)

    def take_error(self, error: Json) -> None:
        """The error of the reply; of one that is too long, the beginning of its text."""
        raw = msgspec.json.encode(error)
        self.error = error if len(raw) <= ERROR_LIMIT else raw[:ERROR_LIMIT].decode("utf-8", "replace")

    def take_usage(self, usage: Any) -> None:
        """Token counts as the OpenAI and Anthropic dialects spell them; the newest wins."""
        if isinstance(usage, dict):
            self.prompt_tokens = count(
                usage.get("prompt_tokens", usage.get("input_tokens")), self.prompt_tokens
            )
            self.reply_tokens = count(
                usage.get("completion_tokens", usage.get("output_tokens")), self.reply_tokens
            )

    def text(self) -> str:
        """The text with a visible mark for each gap."""
        parts = ["".join(self.pieces[0])]
        for size, piece in zip(self.gaps, self.pieces[1:], strict=True):
            parts.append(f"⟨{size} bytes missing⟩")
            parts.extend(piece)
        return "".join(parts)

    def compact(self) -> None:
        """Joins the many small strings of a long stream."""
        if len(self.pieces[-1]) > 1:
            self.pieces[-1] = ["".join(self.pieces[-1])]
        if len(self.thinking) > 1:
            self.thinking = ["".join(self.thinking)]

    def _fitting(self, text: str) -> str:
        self.has_token = self.has_token or bool(text)
        self.room -= len(text)
        if self.room >= 0:
            return text
        self.was_cut = True
        kept = text[: self.room] if -self.room < len(text) else ""
        self.room = 0
        return kept


def count(value: Any, default: int | None = None) -> int | None:
    """A count or a duration as a server sends it; anything but a whole number from 0 to ``COUNT_LIMIT`` is unknown."""
    is_count = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= COUNT_LIMIT
    return value if is_count else default


def word(value: Any) -> str | None:
    """A string that is not empty."""
    return value if isinstance(value, str) and value else None


def mapping(value: Any) -> dict[str, Any]:
    """An object; empty for anything else."""
    return value if isinstance(value, dict) else {}


def sequence(value: Any) -> list[Any]:
    """An array; empty for anything else."""
    return value if isinstance(value, list) else []

"""The exchanges of one client in order, each with what it added to the ones before."""

from __future__ import annotations

from typing import Literal

from nightdesk.model.base import Json, Noun
from nightdesk.model.exchange import ExchangeState, Message, Operation, ToolCall, Verdict


class Turn(Noun, frozen=True, kw_only=True):
    """One exchange as a step of a conversation. Long texts are cut; the exchange itself holds them whole."""

    exchange: int
    thread: int
    """Turns with the same number belong to one conversation; numbers count from 1 in order of their first turn."""
    continues: int | None = None
    """Id of the exchange whose messages this one repeats."""
    by: Literal["prefix", "reply", ""] = ""
    """How that is known: it repeats all earlier messages, or only the last message and its reply."""
    state: ExchangeState
    operation: Operation
    model: str | None = None
    item: str | None = None
    started_ns: int
    ended_ns: int | None = None
    first_token_ns: int | None = None
    pause_ns: int | None = None
    """Since the end of the turn before; negative where that one was still open. Absent for the first turn."""
    system: str | None = None
    """The system prompt, where it is new or has changed."""
    repeated: int = 0
    """Messages that were sent before and are not shown again."""
    dropped: int = 0
    """Earlier messages that the client left out this time."""
    new: tuple[Message, ...] = ()
    """What the client added; a plain prompt is one message of the role ``user``."""
    unchanged: bool = False
    """The same messages again: another try."""
    thinking: str = ""
    reply: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    tools: tuple[str, ...] = ()
    """Names of the tools that the model was offered."""
    error: Json = None
    done_reason: str | None = None
    prompt_tokens: int | None = None
    reply_tokens: int | None = None
    context: int | None = None
    """The context that the client asked for (``num_ctx``)."""
    verdicts: tuple[Verdict, ...] = ()
    replay_of: int | None = None
    cut: int = 0
    """Characters of messages, thinking and reply that are left out here."""


class Conversation(Noun, frozen=True, kw_only=True):
    """The turns of one client, in the order in which they began."""

    exchange: int
    """The one that was asked for; it is among the turns."""
    tied_by: Literal["run", "process", "connection", "alone"]
    """What the exchanges have in common. ``alone``: nothing is known that would tie others to it."""
    subject: str
    """The run, the process, or the client's address."""
    turns: tuple[Turn, ...]
    earlier: int = 0
    """Exchanges of the same client before the first turn that are left out."""
    later: int = 0

"""The exchanges of one client as a conversation: what each added to the ones before, and which of them belong together.

Exchanges are of one client when they have the same run, else the same process (number and start), else the same
connection (address of the client). Nothing else ties them: another client with equal words is another conversation.

Within a client, a chat request *continues* an earlier one when it repeats it:

1. by ``prefix``: its messages begin with all messages of the earlier request, role, text, images and tool calls alike.
   The longest such request wins, of equal ones the newest. The same messages once more are another try.
2. by ``reply``: somewhere in it stand the last message of the earlier request and, right behind, the text that the
   model answered. So a client is followed that drops old messages.

System prompts are left out of the comparison; a turn shows its own where it differs from that of the turn before.

A request that continues none begins a conversation of its own. A plain ``generate`` names no history, so each is a
conversation of one turn; a list of them is read in the order of time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

from nightdesk.model.base import Json
from nightdesk.model.conversation import Conversation, Turn
from nightdesk.model.exchange import Exchange, Message

CUT_CHARS = 4000
"""Of each text in a turn; the exchange holds it whole."""
MESSAGES_MOST = 200
"""New messages that a turn shows."""
TIED = Literal["run", "process", "connection", "alone"]


@dataclass(frozen=True, slots=True)
class Tie:
    """What the exchanges of one client have in common."""

    by: TIED
    subject: str
    key: tuple[object, ...]


def tie_of(exchange: Exchange) -> Tie:
    """What makes others belong to the same client as ``exchange``."""
    if exchange.run is not None:
        return Tie("run", exchange.run, ("run", exchange.run))
    process = exchange.process
    if process is not None:
        key = ("process", process.pid, process.started_ns)
        return Tie("process", f"{process.name} ({process.pid})", key)
    if exchange.client_addr:
        return Tie("connection", exchange.client_addr, ("connection", exchange.client_addr))
    return Tie("alone", "", ("alone", exchange.id))


@dataclass(frozen=True, slots=True)
class _Link:
    """The exchange that is continued, how many of the messages are known from it, and how many of its own are gone."""

    index: int
    by: Literal["prefix", "reply"]
    known: int
    dropped: int = 0


class _Threads:
    """What was said so far, so that a request can be recognised that goes on from it."""

    def __init__(self) -> None:
        self._whole: dict[bytes, int] = {}
        self._answered: dict[bytes, tuple[int, int]] = {}
        """Last message and its reply → (index, number of messages of that request)."""

    def find(self, messages: Sequence[Message], chain: Sequence[bytes]) -> _Link | None:
        """What a request continues. ``chain``: the digest of each beginning of its messages."""
        for size in range(len(messages), 0, -1):
            index = self._whole.get(chain[size - 1])
            if index is not None and messages[size - 1].role != "system":
                return _Link(index, "prefix", size)
        for place in range(len(messages) - 1, 0, -1):
            found = self._answered.get(_pair(messages[place - 1], messages[place].content))
            if found is not None and messages[place].role == "assistant":
                index, size = found
                return _Link(index, "reply", place + 1, max(0, size - place))
        return None

    def note(
        self, index: int, exchange: Exchange, messages: Sequence[Message], chain: Sequence[bytes]
    ) -> None:
        """Remember a request and its reply."""
        if messages:
            self._whole[chain[-1]] = index
            if exchange.text:
                self._answered[_pair(messages[-1], exchange.text)] = index, len(messages)


def conversation(
    chosen: int, tie: Tie, exchanges: Iterable[Exchange], *, earlier: int = 0, later: int = 0
) -> Conversation:
    """The conversation of one client from its exchanges, in the order in which they began."""
    threads = _Threads()
    shown: list[Exchange] = []
    turns: list[Turn] = []
    systems: dict[int, str | None] = {}
    for exchange in exchanges:
        messages = exchange.prompt.messages if exchange.prompt else ()
        chain = _chain(messages)
        link = threads.find(messages, chain)
        number = turns[link.index].thread if link else 1 + max((turn.thread for turn in turns), default=0)
        system = _system_of(exchange)
        changed = number not in systems or systems[number] != system
        pause = None if not shown else exchange.started_ns - _end_of(shown[-1])
        before = shown[link.index] if link else None
        turns.append(_turn(exchange, number, link, before, system if changed else None, pause))
        systems[number] = system
        threads.note(len(shown), exchange, messages, chain)
        shown.append(_bare_exchange(exchange))
    return Conversation(
        exchange=chosen, tied_by=tie.by, subject=tie.subject, turns=tuple(turns), earlier=earlier, later=later
    )


def _bare_exchange(exchange: Exchange) -> Exchange:
    """What is still asked about it: its times and its reply. A long history would fill the memory many times."""
    return msgspec.structs.replace(
        exchange, prompt=None, thinking="", request_body=None, response_body=None, fragment_gaps_ns=()
    )


def _turn(
    exchange: Exchange,
    thread: int,
    link: _Link | None,
    before: Exchange | None,
    system: str | None,
    pause_ns: int | None,
) -> Turn:
    new, repeated = _added(exchange, link, before)
    cutter = _Cutter()
    prompt = exchange.prompt
    shown = tuple(cutter.message(message) for message in new[:MESSAGES_MOST])
    return Turn(
        exchange=exchange.id,
        thread=thread,
        continues=before.id if before else None,
        by=link.by if link else "",
        state=exchange.state,
        operation=exchange.operation,
        model=exchange.model,
        item=exchange.item,
        started_ns=exchange.started_ns,
        ended_ns=exchange.ended_ns,
        first_token_ns=exchange.first_token_ns,
        pause_ns=pause_ns,
        system=None if system is None else cutter.text(system),
        repeated=repeated,
        dropped=link.dropped if link else 0,
        new=shown,
        unchanged=link is not None and prompt is not None and link.known == len(prompt.messages),
        thinking=cutter.text(exchange.thinking),
        reply=cutter.text(exchange.text),
        tool_calls=exchange.tool_calls[:MESSAGES_MOST],
        tools=_tool_names(prompt.tools) if prompt else (),
        error=exchange.error,
        done_reason=exchange.done_reason,
        prompt_tokens=exchange.prompt_tokens,
        reply_tokens=exchange.reply_tokens,
        context=_context(exchange),
        verdicts=exchange.verdicts,
        replay_of=exchange.replay_of,
        cut=cutter.left_out + sum(len(message.content) for message in new[MESSAGES_MOST:]),
    )


def _added(
    exchange: Exchange, link: _Link | None, before: Exchange | None
) -> tuple[tuple[Message, ...], int]:
    """The messages that are new, and how many are repeated. The model's own reply, sent back, is a repetition."""
    prompt = exchange.prompt
    if prompt is None:
        return (), 0
    if not prompt.messages:
        plain = Message(role="user", content=prompt.prompt or "", images=prompt.images)
        return ((plain,) if plain.content or plain.images else ()), 0
    known = link.known if link else 0
    rest = prompt.messages[known:]
    if link and link.by == "prefix" and before and rest and _is_reply(rest[0], before):
        known += 1
    return tuple(message for message in prompt.messages[known:] if message.role != "system"), known


def _is_reply(message: Message, before: Exchange) -> bool:
    """Whether ``message`` is what the model answered, as it was or without blanks around and thinking."""
    if message.role != "assistant":
        return False
    calls = [call.name for call in message.tool_calls]
    return message.content.strip() == before.text.strip() and calls == [
        call.name for call in before.tool_calls
    ]


def _system_of(exchange: Exchange) -> str | None:
    prompt = exchange.prompt
    if prompt is None:
        return None
    texts = [prompt.system or "", *(one.content for one in prompt.messages if one.role == "system")]
    return "\n".join(text for text in texts if text) or None


def _chain(messages: Sequence[Message]) -> list[bytes]:
    """The digest of each beginning; system prompts are left out of it."""
    digest, chain = hashlib.blake2b(digest_size=16), []
    for message in messages:
        if message.role != "system":
            digest.update(msgspec.json.encode(_bare(message)))
        chain.append(digest.digest())
    return chain


def _bare(message: Message) -> tuple[Json, ...]:
    calls = [(call.name, call.arguments) for call in message.tool_calls]
    return message.role, message.content, [image.sha256 for image in message.images], calls


def _pair(asked: Message, answer: str) -> bytes:
    words = msgspec.json.encode((_bare(asked), answer.strip()))
    return hashlib.blake2b(words, digest_size=16).digest()


def _end_of(exchange: Exchange) -> int:
    return exchange.started_ns if exchange.ended_ns is None else exchange.ended_ns


def _context(exchange: Exchange) -> int | None:
    value = exchange.prompt.options.get("num_ctx") if exchange.prompt else None
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _tool_names(tools: Sequence[Json]) -> tuple[str, ...]:
    names = []
    for tool in tools[:MESSAGES_MOST]:
        described = tool.get("function", tool) if isinstance(tool, dict) else None
        name = described.get("name") if isinstance(described, dict) else None
        names.append(name[:200] if isinstance(name, str) else "?")
    return tuple(names)


class _Cutter:
    """Shortens texts and counts what it leaves out."""

    def __init__(self) -> None:
        self.left_out = 0

    def text(self, text: str) -> str:
        """At most so many characters, from the beginning and the end."""
        over = len(text) - CUT_CHARS
        if over <= 0:
            return text
        self.left_out += over
        return f"{text[: CUT_CHARS * 3 // 4]}\n…\n{text[-CUT_CHARS // 4 :]}"

    def message(self, message: Message) -> Message:
        """The message with its texts cut."""
        thinking = None if message.thinking is None else self.text(message.thinking)
        return msgspec.structs.replace(message, content=self.text(message.content), thinking=thinking)

"""One generation: loads the model, reads the prompt, writes token by token, and measures each part.

The three dialects turn their requests into an :class:`Ask` and what comes out into their own objects.
"""

from __future__ import annotations

import asyncio
import math
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Literal

import msgspec

from nightdesk.demo import shapes, voice
from nightdesk.demo.models import DEFAULT_CONTEXT, DEFAULT_KEEP_NS, FOREVER_NS, Card, Shelf
from nightdesk.demo.wire import ClientGoneError
from nightdesk.model.base import Json

PROMPT_PACE = 25.0
"""A prompt is read that many times faster than a reply is written."""
GLANCE_S = 0.05
"""How often a waiting generation looks whether its client is still there."""
REPEAT_GUARD = 30
STALL_AT, STALL_S = 24, 4.0
"""A model that stalls is silent for so many seconds before this token."""
BLANKS = 2000
KEPT = 4
"""Tokens at the beginning of a prompt that a cut leaves alone."""
MESSAGE_TOKENS = 6
"""What a chat template adds to each message."""


class RefusedError(Exception):
    """The request can't be served. Holds status and text of the answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call."""

    id: str
    index: int
    name: str
    arguments: Json


@dataclass(frozen=True, slots=True)
class Piece:
    """What a stream shows in one fragment."""

    kind: Literal["text", "thinking", "call"]
    text: str = ""
    call: Call | None = None


@dataclass(frozen=True, slots=True)
class Turn:
    """A message of the conversation."""

    role: str
    content: str


@dataclass(slots=True)
class Ask:
    """What a client wants, in no dialect."""

    card: Card
    turns: list[Turn]
    options: dict[str, Json] = field(default_factory=dict)
    think: bool = False
    tools: list[Json] = field(default_factory=list)
    shape: Json = None
    """``"json"`` or a JSON schema."""
    keep_ns: int = DEFAULT_KEEP_NS
    truncate: bool = True

    @property
    def context(self) -> int:
        """Tokens of context in force."""
        return int(self.options.get("num_ctx") or min(DEFAULT_CONTEXT, self.card.context_length))


@dataclass(slots=True)
class Tally:
    """Measured counts and durations."""

    prompt_tokens: int = 0
    reply_tokens: int = 0
    load_ns: int = 0
    prompt_ns: int = 0
    generation_ns: int = 0
    total_ns: int = 0
    reason: str | None = None
    """``stop`` or ``length``; None where the repeat guard ended it."""


def span_of(keep_alive: Json) -> int:
    """Nanoseconds of a ``keep_alive``: seconds as a number, or text such as ``"5m"``. Negative means for ever."""
    if keep_alive is None:
        return DEFAULT_KEEP_NS
    if isinstance(keep_alive, int | float):
        seconds = float(keep_alive)
    else:
        seconds = _go_duration(str(keep_alive))
    return FOREVER_NS if seconds < 0 else int(seconds * 1e9)


def _go_duration(text: str) -> float:
    units = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
    bare = text.lstrip("-")
    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|s|m|h)", bare)
    if "".join(number + unit for number, unit in parts) != bare or not parts:
        try:
            return float(text)
        except ValueError:
            raise RefusedError(400, f'time: invalid duration "{text}"') from None
    seconds = sum(float(number) * units[unit] for number, unit in parts)
    return -seconds if text.startswith("-") else seconds


class Generation:
    """One reply in the making. Iterate :meth:`pieces`; :attr:`tally` is complete afterwards."""

    def __init__(
        self, ask: Ask, shelf: Shelf, speed: float, gone: Callable[[], bool], warn: Callable[[str], None]
    ) -> None:
        self.ask = ask
        self.tally = Tally()
        self._shelf = shelf
        self._speed = speed * ask.card.pace
        self._gone = gone
        self._warn = warn
        self._source = self._make_source()
        self._looped = False

    def _make_source(self) -> Random:
        seed = self.ask.options.get("seed", 0)
        said = "\x1e".join(f"{turn.role}:{turn.content}" for turn in self.ask.turns)
        return voice.source_of(seed, self.ask.card.name, said)

    async def load(self) -> None:
        """Loads the model where it is not in memory. Raises ClientGoneError."""
        began = time.monotonic_ns()
        card, context = self.ask.card, self.ask.context
        async with self._shelf.gate(card):
            if self._shelf.needs_load(card, context):
                await self._wait(self._shelf.load_s * (card.size / 5e9) ** 0.3)
                self._shelf.release(self._shelf.hold(card, context), self.ask.keep_ns)
        self.tally.load_ns = time.monotonic_ns() - began

    async def pieces(self) -> AsyncIterator[Piece]:
        """Everything that the reply consists of, in order and in time. Raises ClientGoneError, RefusedError."""
        began = time.monotonic_ns()
        self.tally.prompt_tokens = self._fit_prompt()
        await self.load()
        held = self._shelf.hold(self.ask.card, self.ask.context)
        try:
            await self._read_prompt()
            async for piece in self._written():
                yield piece
        finally:
            self._shelf.release(held, self.ask.keep_ns)
            self.tally.total_ns = time.monotonic_ns() - began

    async def _read_prompt(self) -> None:
        began = time.monotonic_ns()
        if self._speed > 0:
            await self._wait(self.tally.prompt_tokens / (self._speed * PROMPT_PACE))
        self.tally.prompt_ns = time.monotonic_ns() - began

    async def _written(self) -> AsyncIterator[Piece]:
        began = time.monotonic_ns()
        try:
            for piece in self._limited():
                if self._stalls_now():
                    await self._wait(STALL_S)
                    began += int(STALL_S * 1e9)
                await self._keep_pace(began)
                self.tally.generation_ns = time.monotonic_ns() - began
                yield piece
        finally:
            self.tally.generation_ns = time.monotonic_ns() - began

    def _stalls_now(self) -> bool:
        stalls = self.ask.card.habit == "stalls" and self._speed > 0
        return stalls and self.tally.reply_tokens == STALL_AT

    async def _keep_pace(self, began: int) -> None:
        if self._gone():
            raise ClientGoneError
        if self._speed <= 0:
            await asyncio.sleep(0)
            return
        ahead = self.tally.reply_tokens / self._speed - (time.monotonic_ns() - began) / 1e9
        if ahead > 0.001:
            await self._wait(ahead)

    async def _wait(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            await asyncio.sleep(min(left, GLANCE_S))
            if self._gone():
                raise ClientGoneError

    def _fit_prompt(self) -> int:
        """Tokens of the prompt as the model sees it: old messages are dropped, a too long last one is cut."""
        sizes = [(turn.role, voice.count_tokens(turn.content) + MESSAGE_TOKENS) for turn in self.ask.turns]
        context = self.ask.context
        total = sum(size for _, size in sizes)
        if total > context and not self.ask.truncate:
            raise RefusedError(400, "the input length exceeds the context length")
        while total > context and (old := _oldest(sizes)) is not None:
            total -= sizes.pop(old)[1]
        if total <= context:
            return total
        limit = KEPT + (context - KEPT) // 2
        self._warn(f'msg="truncating input prompt" limit={limit} prompt={total} keep={KEPT} new={limit}')
        return limit

    def _limited(self) -> Iterator[Piece]:
        most = self.ask.options.get("num_predict")
        limit = most if isinstance(most, int) and most > 0 else math.inf
        stops = self.ask.options.get("stop") or []
        stops = [stops] if isinstance(stops, str) else stops
        said = ""
        for tokens, piece in self._said():
            if self.tally.reply_tokens >= limit:
                self.tally.reason = "length"
                return
            self.tally.reply_tokens += tokens
            said += piece.text
            if piece.kind == "text" and any(stop in said for stop in stops):
                break
            yield piece
        else:
            if self._looped:
                return
        self.tally.reason = "stop"

    def _said(self) -> Iterator[tuple[int, Piece]]:
        if self.ask.think:
            yield from (
                (1, Piece("thinking", token)) for token in voice.tokens_of(voice.thought(self._source))
            )
        if self.ask.tools and self.ask.turns and self.ask.turns[-1].role != "tool":
            yield self._call()
            return
        yield from ((1, Piece("text", token)) for token in voice.tokens_of(self._text()))
        if self.ask.card.habit == "blanks" and self.ask.shape:
            yield from ((1, Piece("text", "\n    ")) for _ in range(BLANKS))
        if self.ask.card.loops and not self.ask.shape:
            yield from ((1, Piece("text", " again")) for _ in range(REPEAT_GUARD))
            self._looped = True

    def _text(self) -> str:
        if not self.ask.shape:
            return voice.article(self._source)
        plain = self.ask.shape == "json"
        value = shapes.story(self._source) if plain else shapes.value_of(self.ask.shape, self._source)
        text = msgspec.json.encode(value).decode()
        match self.ask.card.habit:
            case "blanks":
                return text[:-1]
            case "fences":
                return f"```json\n{text}\n```"
            case _:
                return text

    def _call(self) -> tuple[int, Piece]:
        last = self.ask.turns[-1].content.lower()
        functions = [tool.get("function", tool) for tool in self.ask.tools]
        named = [one for one in functions if str(one.get("name", "")).lower() in last]
        chosen = (named or functions)[0]
        arguments = shapes.value_of(chosen.get("parameters") or {"type": "object"}, self._source)
        letters = "".join(self._source.choices("abcdefghijklmnopqrstuvwxyz0123456789", k=8))
        call = Call(f"call_{letters}", 0, str(chosen.get("name", "")), arguments)
        return voice.count_tokens(str(arguments)) + 8, Piece("call", call=call)


def _oldest(sizes: list[tuple[str, int]]) -> int | None:
    return next((at for at, (role, _) in enumerate(sizes[:-1]) if role != "system"), None)

"""What is different between two exchanges: prompt, options, response and thinking as texts, timing as figures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal

import msgspec

from nightdesk.core.inspection.diff import TextDiff, diff_texts
from nightdesk.model.exchange import Exchange, Image, Message, ToolCall

Part = Literal["prompt", "options", "response", "timing"]
PARTS: tuple[Part, ...] = ("prompt", "options", "response", "timing")
Unit = Literal["ns", "tokens", "bytes", "tokens/s", ""]
NS = 1_000_000_000


class Section(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One text of both exchanges, compared. ``missing`` says why a side has none, where that is not its nature."""

    part: Part
    title: str
    diff: TextDiff
    missing: str | None = None


class Figure(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One measured value of both; absent where it is unknown."""

    name: str
    unit: Unit = ""
    left: float | None = None
    right: float | None = None

    @property
    def difference(self) -> float | None:
        """Right less left."""
        return None if self.left is None or self.right is None else self.right - self.left

    @property
    def ratio(self) -> float | None:
        """Right by left."""
        return self.right / self.left if self.left and self.right is not None else None


class Fact(msgspec.Struct, frozen=True, kw_only=True):
    """One word of both: model, state, reason."""

    name: str
    left: str
    right: str


class ExchangeDiff(msgspec.Struct, frozen=True, kw_only=True):
    """Two exchanges side by side."""

    left: int
    right: int
    facts: tuple[Fact, ...]
    sections: tuple[Section, ...]
    figures: tuple[Figure, ...]


def diff_exchanges(left: Exchange, right: Exchange) -> ExchangeDiff:
    """Everything that can be compared, in the order of the parts."""
    return ExchangeDiff(
        left=left.id,
        right=right.id,
        facts=tuple(_facts(left, right)),
        sections=tuple(_sections(left, right)),
        figures=tuple(_figures(left, right)),
    )


# Texts


def _sections(left: Exchange, right: Exchange) -> Iterator[Section]:
    texts: tuple[tuple[Part, str, Callable[[Exchange], str]], ...] = (
        ("prompt", "system", _system),
        ("prompt", "prompt", _prompt),
        ("options", "options", _options),
        ("options", "format", _format),
        ("options", "tools", _tools),
        ("response", "thinking", lambda exchange: exchange.thinking),
        ("response", "text", lambda exchange: exchange.text),
        ("response", "tool calls", lambda exchange: "\n".join(_calls(exchange.tool_calls))),
        ("response", "error", _error),
    )
    for part, title, text_of in texts:
        ours, theirs = text_of(left), text_of(right)
        missing = _missing(part, left, right)
        main = title in ("prompt", "text", "options")
        if ours or theirs or main:
            yield Section(
                part=part, title=title, diff=diff_texts(ours, theirs), missing=missing if main else None
            )


def _missing(part: str, left: Exchange, right: Exchange) -> str | None:
    """Why a side has no such text although it was sent."""
    lost = []
    for side in (left, right):
        if part in ("prompt", "options") and side.prompt is None:
            lost.append(f"Of exchange {side.id} no prompt was recorded or understood.")
        elif part == "response" and not (side.text or side.thinking) and "text" in side.unknown:
            lost.append(f"Exchange {side.id}: {side.unknown['text']}")
    return " ".join(lost) or None


def _system(exchange: Exchange) -> str:
    return (exchange.prompt.system if exchange.prompt else None) or ""


def _prompt(exchange: Exchange) -> str:
    """The messages as one text, each below a line with its role; or the prompt."""
    asked = exchange.prompt
    if asked is None:
        return ""
    lines: list[str] = []
    for message in asked.messages:
        lines += _message(message)
    if asked.prompt is not None:
        lines.append(asked.prompt)
    lines += _images(asked.images)
    return "\n".join(lines)


def _message(message: Message) -> Iterator[str]:
    name = f" {message.tool_name}" if message.tool_name else ""
    yield f"[{message.role}{name}]"
    if message.thinking:
        yield f"(thinking) {message.thinking}"
    yield message.content
    yield from _images(message.images)
    yield from _calls(message.tool_calls)
    yield ""


def _images(images: Iterable[Image]) -> Iterator[str]:
    for image in images:
        yield f"[image of {image.bytes:,} bytes, sha256 {image.sha256}]"


def _calls(calls: Iterable[ToolCall]) -> Iterator[str]:
    for call in calls:
        yield f"[tool call {call.name}]"
        yield json_text(call.arguments)


def _options(exchange: Exchange) -> str:
    asked = exchange.prompt
    if asked is None:
        return ""
    values = {**asked.options, **({} if asked.keep_alive is None else {"keep_alive": asked.keep_alive})}
    lines = [f"{exchange.method or '?'} {exchange.path or '?'}", f"model: {exchange.model or '?'}"]
    return "\n".join([*lines, *(f"{name}: {_short(value)}" for name, value in sorted(values.items()))])


def _format(exchange: Exchange) -> str:
    asked = exchange.prompt
    return "" if asked is None or asked.format is None else json_text(asked.format)


def _tools(exchange: Exchange) -> str:
    return "\n".join(map(json_text, exchange.prompt.tools)) if exchange.prompt else ""


def _error(exchange: Exchange) -> str:
    return "" if exchange.error is None else json_text(exchange.error)


def _short(value: Any) -> str:
    try:
        return msgspec.json.encode(value).decode()
    except (RecursionError, UnicodeEncodeError):
        return "(a value that can't be shown)"


def json_text(value: Any) -> str:
    """A JSON value indented, a text as it is; one that is nested too deep as a remark."""
    if isinstance(value, str):
        return value
    short = _short(value)
    try:
        return msgspec.json.format(short, indent=2)
    except (msgspec.DecodeError, RecursionError):
        return short


# Figures


def _facts(left: Exchange, right: Exchange) -> Iterator[Fact]:
    for name in ("model", "state", "status", "done_reason", "server_addr"):
        ours, theirs = (getattr(side, name) for side in (left, right))
        yield Fact(name=name.replace("_", " "), left=_word(ours), right=_word(theirs))
    kinds = [", ".join(v.kind.replace("_", " ") for v in side.verdicts) or "none" for side in (left, right)]
    yield Fact(name="verdicts", left=kinds[0], right=kinds[1])


def _word(value: object) -> str:
    return "–" if value is None else str(value)


def _figures(left: Exchange, right: Exchange) -> Iterator[Figure]:
    for (name, unit, ours), (_, _, theirs) in zip(_measured(left), _measured(right), strict=True):
        if ours is not None or theirs is not None:
            yield Figure(name=name, unit=unit, left=ours, right=theirs)


def _measured(exchange: Exchange) -> Iterator[tuple[str, Unit, float | None]]:
    yield "duration", "ns", _since(exchange, exchange.ended_ns)
    yield "first byte", "ns", _since(exchange, exchange.first_byte_ns)
    yield "first token", "ns", _since(exchange, exchange.first_token_ns)
    yield "queue and load", "ns", exchange.load_ns
    yield "prompt evaluation", "ns", exchange.prompt_ns
    yield "generation", "ns", exchange.generation_ns
    yield "server's total", "ns", exchange.total_ns
    yield "prompt tokens", "tokens", exchange.prompt_tokens
    yield "reply tokens", "tokens", exchange.reply_tokens
    yield "prompt speed", "tokens/s", _rate(exchange.prompt_tokens, exchange.prompt_ns)
    yield "reply speed", "tokens/s", _rate(exchange.reply_tokens, exchange.generation_ns)
    yield "fragments", "", exchange.fragments
    yield "characters of text", "", len(exchange.text)
    yield "characters of thinking", "", len(exchange.thinking)
    yield "sent", "bytes", exchange.request_bytes
    yield "received", "bytes", exchange.response_bytes


def _since(exchange: Exchange, at_ns: int | None) -> float | None:
    return None if at_ns is None else max(0, at_ns - exchange.started_ns)


def _rate(tokens: int | None, spent_ns: int | None) -> float | None:
    return tokens * NS / spent_ns if tokens and spent_ns else None

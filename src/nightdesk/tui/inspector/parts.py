"""The parts of an exchange that can be copied, opened outside and saved, each as its exact text."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from nightdesk.core.foreign import safe_line
from nightdesk.core.inspection import snippets
from nightdesk.model.exchange import Exchange, Message
from nightdesk.model.units import UNKNOWN, format_duration
from nightdesk.tui.inspector.pages import JSON, PROMPT, RESPONSE
from nightdesk.tui.inspector.prose import plain


class Part(NamedTuple):
    """Something to copy. ``text`` makes it when it is wanted."""

    key: str
    """The letter that chooses it."""
    name: str
    suffix: str
    """Of a file that holds it."""
    text: Callable[[], str]
    notes: tuple[str, ...] = ()
    """In what it is not exact."""


def parts_of(exchange: Exchange, page: str, shown: Callable[[], str]) -> list[Part]:
    """All parts that this exchange has; ``shown`` gives the text of the page named ``page``."""
    asked = exchange.prompt
    missing = snippets.shortcomings(exchange)
    found = [Part("v", f"this page ({page})", ".txt", shown)]
    if asked is not None and (asked.messages or asked.prompt is not None or asked.system):
        found.append(Part("p", "prompt", ".md", lambda: prompt_text(exchange)))
    if system_text(exchange):
        found.append(Part("s", "system prompt", ".md", lambda: system_text(exchange)))
    if exchange.text:
        found.append(Part("r", "reply", ".md", lambda: exchange.text))
    if exchange.thinking:
        found.append(Part("t", "thinking", ".md", lambda: exchange.thinking))
    if exchange.request_body is not None:
        body = exchange.request_body
        found.append(
            Part("i", "request body", ".json", lambda: body, missing[-1:] if _is_cut(missing) else ())
        )
    if exchange.response_body is not None:
        answer = exchange.response_body
        found.append(Part("o", "response body", _suffix(exchange), lambda: answer))
    found += [
        Part("c", "request as curl", ".sh", lambda: snippets.curl(exchange).text, missing),
        Part("y", "request as Python", ".py", lambda: snippets.python(exchange).text, missing),
        Part("l", "one line about it", ".txt", lambda: link(exchange)),
    ]
    return found


def usual_part(page: int) -> str:
    """The letter of the part that a page is about."""
    return {PROMPT: "p", RESPONSE: "r", JSON: "i"}.get(page, "v")


def _is_cut(notes: tuple[str, ...]) -> bool:
    return bool(notes) and "body" in notes[-1]


def _suffix(exchange: Exchange) -> str:
    return {"ndjson": ".ndjson", "sse": ".txt"}.get(exchange.stream_format or "", ".json")


def system_text(exchange: Exchange) -> str:
    """The system prompt, wherever it stands."""
    asked = exchange.prompt
    if asked is None:
        return ""
    told = [
        asked.system or "",
        *(one.content for one in asked.messages if one.role in ("system", "developer")),
    ]
    return "\n\n".join(text for text in told if text)


def prompt_text(exchange: Exchange) -> str:
    """The one prompt as it is; messages under their roles."""
    asked = exchange.prompt
    if asked is None:
        return ""
    told = [f"## system\n\n{asked.system}"] if asked.system and asked.messages else []
    told += [_message_text(message) for message in asked.messages]
    if asked.prompt is not None:
        told.append(asked.prompt)
    return "\n\n".join(told)


def _message_text(message: Message) -> str:
    told = [f"## {message.role}", message.content]
    told += [f"[image: {image.bytes:,} bytes, sha256 {image.sha256}]" for image in message.images]
    told += [f"[tool call {call.name}] {plain(call.arguments)}" for call in message.tool_calls]
    return "\n\n".join(text for text in told if text)


def link(exchange: Exchange) -> str:
    """One line that tells somebody else what this is about, and how to see it."""
    spent = None if exchange.ended_ns is None else max(0, exchange.ended_ns - exchange.started_ns)
    words = [
        f"exchange {exchange.id}",
        exchange.state,
        f"{exchange.method or '?'} {exchange.path or UNKNOWN}",
        exchange.model or "",
        " ".join(word for word in (exchange.job, exchange.item) if word),
        format_duration(spent),
        ", ".join(verdict.kind for verdict in exchange.verdicts),
        f"nightdesk show {exchange.id}",
    ]
    return safe_line(" · ".join(word for word in words if word))

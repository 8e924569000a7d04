"""What was asked: system prompt, messages by role, tools, images as size and hash, pasted files folded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from nightdesk.core.foreign import safe_line
from nightdesk.model.exchange import Exchange, Image, Message, ToolCall
from nightdesk.model.units import counted, format_bytes
from nightdesk.tui.glyphs import Glyphs
from nightdesk.tui.inspector.context import prompt_lines
from nightdesk.tui.inspector.jsontree import tree
from nightdesk.tui.inspector.prose import (
    EMPTY,
    LIMIT,
    Lines,
    Setting,
    fact,
    fold,
    plain,
    sentence,
    text_lines,
)

MANY = 12
"""Messages from which on all but the system prompt and the newest ones are folded at first."""
NEWEST = 4
SHUT_CALLS = 3


def prompt(exchange: Exchange, setting: Setting) -> Lines:
    """In the order in which the model gets it."""
    asked, glyphs = exchange.prompt, setting.glyphs
    if asked is None:
        yield sentence(
            "No prompt was understood in this request; the JSON page shows what was recorded of it."
        )
        return
    if asked.system:
        yield fold("system", "system", glyphs, characters(asked.system), hidden=glimpse(asked.system))
        yield from prompt_lines(asked.system, "system", glyphs, depth=1)
        yield EMPTY
    count = len(asked.messages)
    for number, message in enumerate(asked.messages, 1):
        older = count > MANY and message.role != "system" and number <= count - NEWEST
        yield from _message(message, number, glyphs, shut=older)
    if asked.prompt is not None:
        yield fold("prompt", "prompt", glyphs, characters(asked.prompt), hidden=glimpse(asked.prompt))
        yield from prompt_lines(asked.prompt, "prompt", glyphs, depth=1)
        yield EMPTY
    yield from _images(asked.images, 0)
    if asked.tools:
        yield fold("tools", "tools", glyphs, str(len(asked.tools)))
        for number, tool in enumerate(asked.tools, 1):
            yield from tree(plain(tool), f"tools.{number}", depth=1, shut=len(asked.tools) > SHUT_CALLS)


def characters(text: str) -> str:
    """``12,300 characters``"""
    return counted(len(text), "character")


def glimpse(text: str) -> str:
    """The first words, for a folded part."""
    return safe_line(" ".join(text[:400].split())[:100])


def _message(message: Message, number: int, glyphs: Glyphs, *, shut: bool) -> Lines:
    name = f" {glyphs.dot} {message.tool_name}" if message.tool_name else ""
    note = f"{number} {glyphs.dot} {characters(message.content)}"
    key = f"message.{number}"
    yield fold(key, message.role + name, glyphs, note, shut=shut, hidden=glimpse(message.content))
    if message.thinking:
        yield from thinking_lines(message.thinking, f"{key}.thinking", glyphs, 1)
    if message.content:
        yield from prompt_lines(message.content, key, glyphs, depth=1)
    yield from _images(message.images, 1)
    yield from tool_call_lines(message.tool_calls, key, glyphs, 1)
    yield EMPTY


def _images(images: Sequence[Image], depth: int) -> Lines:
    for image in images:
        yield fact("image", format_bytes(image.bytes), "", f"sha256 {image.sha256}", depth)


def thinking_lines(text: str, key: str, glyphs: Glyphs, depth: int = 0, *, shut: bool = True) -> Lines:
    """Thinking, folded to its first words."""
    hidden = glimpse(text)
    yield fold(key, "thinking", glyphs, characters(text), shut=shut, depth=depth, hidden=hidden)
    yield from text_lines(text, "muted", depth + 1, LIMIT)


def tool_call_lines(calls: Iterable[ToolCall], key: str, glyphs: Glyphs, depth: int = 0) -> Lines:
    """Each call with its arguments; many of them are folded."""
    held = tuple(calls)
    for number, call in enumerate(held, 1):
        shut = len(held) > SHUT_CALLS
        arguments = plain(call.arguments)
        yield fold(
            f"{key}.call.{number}",
            f"tool call {call.name}",
            glyphs,
            call.id or "",
            shut=shut,
            depth=depth,
            hidden=glimpse(arguments),
        )
        yield from tree(arguments, f"{key}.call.{number}", depth=depth + 1)

"""Exchanges as samples for fine-tuning: one conversation a line, ``{"messages": […], "tools": […]}``."""

from __future__ import annotations

import msgspec

from nightdesk.model.base import Json
from nightdesk.model.exchange import Exchange, Message, Prompt, ToolCall

OPERATIONS = ("chat", "generate")


def sample(exchange: Exchange) -> dict[str, Json] | None:
    """The conversation with the reply as its last message; None where there is nothing whole to learn from.

    Left out are exchanges that have not ended well, have no reply, miss packets, were not recorded, or hold images,
    of which only the hash is kept. Thinking is left out of the messages.
    """
    prompt = exchange.prompt
    is_whole = (
        exchange.state == "complete" and not exchange.missing_bytes.response + exchange.missing_bytes.request
    )
    if prompt is None or not is_whole or exchange.operation not in OPERATIONS or _has_images(prompt):
        return None
    asked = _asked(prompt)
    if not any(message["role"] != "system" for message in asked) or not (
        exchange.text or exchange.tool_calls
    ):
        return None
    reply = _message("assistant", exchange.text, exchange.tool_calls)
    made: dict[str, Json] = {"messages": [*asked, reply]}
    if prompt.tools:
        made["tools"] = [_tool(tool) for tool in prompt.tools]
    return made


def _has_images(prompt: Prompt) -> bool:
    return bool(prompt.images) or any(message.images for message in prompt.messages)


def _asked(prompt: Prompt) -> list[dict[str, Json]]:
    messages = [_of(message) for message in prompt.messages]
    if prompt.prompt:
        messages.append(_message("user", prompt.prompt))
    if prompt.system and not any(message["role"] == "system" for message in messages):
        messages.insert(0, _message("system", prompt.system))
    return messages


def _of(message: Message) -> dict[str, Json]:
    role = "system" if message.role == "developer" else message.role
    made = _message(role, message.content, message.tool_calls)
    if message.tool_name:
        made["name"] = message.tool_name
    return made


def _message(role: str, content: str, calls: tuple[ToolCall, ...] = ()) -> dict[str, Json]:
    made: dict[str, Json] = {"role": role, "content": content}
    if calls:
        made["tool_calls"] = [_call(number, call) for number, call in enumerate(calls)]
    return made


def _call(number: int, call: ToolCall) -> dict[str, Json]:
    arguments = call.arguments
    text = arguments if isinstance(arguments, str) else msgspec.json.encode(arguments).decode()
    function = {"name": call.name, "arguments": text}
    return {"id": call.id or f"call_{number}", "type": "function", "function": function}


def _tool(tool: Json) -> Json:
    """A tool's description in the one form, whatever the dialect sent."""
    if isinstance(tool, dict) and "input_schema" in tool and "function" not in tool:
        known = {name: tool[name] for name in ("name", "description") if name in tool}
        return {"type": "function", "function": {**known, "parameters": tool["input_schema"]}}
    return tool

"""What a client asked: the request body of each dialect as a :class:`Prompt`. Images become hash and size."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from typing import Any

from nightdesk.core.capture.dialects.reader import decode_or_none
from nightdesk.core.capture.dialects.reply import mapping, sequence, word
from nightdesk.model.base import Json
from nightdesk.model.exchange import Dialect, Image, Message, Operation, Prompt, ToolCall

_BASE64_RUN = re.compile(r'(?<=")(?:data:[\w/+.-]{1,80};base64,)?([A-Za-z0-9+/]{256,}={0,2})(?=")')
_OPTIONS = (
    "temperature", "top_p", "top_k", "seed", "stop", "max_tokens", "max_completion_tokens", "max_output_tokens",
    "num_predict", "num_ctx", "presence_penalty", "frequency_penalty", "n", "reasoning_effort", "tool_choice",
    "dimensions", "truncate", "shift", "think", "raw", "stream", "suffix", "template", "logprobs", "top_logprobs",
    "encoding_format", "parallel_tool_calls",
)  # fmt: skip


def read_prompt(dialect: Dialect, operation: Operation, body: bytes) -> tuple[Prompt | None, str | None]:
    """The prompt and the model that is asked for; None for what can't be read or is no inference."""
    value = decode_or_none(body)
    if not isinstance(value, dict):
        return None, None
    model = word(value.get("model")) or word(value.get("name"))
    if operation in ("manage", "other"):
        return None, model
    messages, system = _messages(dialect, value)
    return Prompt(
        system=system or _text_of(value.get("system") or value.get("instructions")) or None,
        prompt=_prompt_text(value),
        messages=messages,
        images=tuple(_image(image) for image in sequence(value.get("images")) if isinstance(image, str)),
        tools=tuple(sequence(value.get("tools"))),
        options=_options(value),
        format=value.get("format", value.get("response_format", value.get("text"))),
        keep_alive=value.get("keep_alive"),
    ), model


def without_images(body: str) -> str:
    """The body with every long base64 string replaced by its hash and size."""
    return _BASE64_RUN.sub(lambda found: _placeholder(_image(found[1])), body)


def _placeholder(image: Image) -> str:
    return f"⟨{image.bytes} bytes, sha256 {image.sha256}⟩"


def _options(value: dict[str, Any]) -> dict[str, Json]:
    options = {name: value[name] for name in _OPTIONS if name in value}
    options.update(mapping(value.get("options")))
    return options


def _prompt_text(value: dict[str, Any]) -> str | None:
    for name in ("prompt", "input"):
        content = value.get(name)
        if isinstance(content, str):
            return content
        if isinstance(content, list) and content and all(isinstance(part, str) for part in content):
            return "\n".join(content)
    return None


def _messages(dialect: Dialect, value: dict[str, Any]) -> tuple[tuple[Message, ...], str | None]:
    raw = value.get("messages")
    if not isinstance(raw, list):
        raw = [item for item in sequence(value.get("input")) if isinstance(item, dict)]
    return tuple(_message(dialect, mapping(item)) for item in raw if isinstance(item, dict)), None


def _message(dialect: Dialect, item: dict[str, Any]) -> Message:
    content = item.get("content", item.get("output"))
    images = [_image(image) for image in sequence(item.get("images")) if isinstance(image, str)]
    calls = [_call(mapping(call)) for call in sequence(item.get("tool_calls"))]
    thinking = [word(item.get("thinking")) or ""]
    if item.get("type") == "function_call":
        calls.append(_call({"id": item.get("call_id"), "function": item}))
    for part in sequence(content):
        part = mapping(part)
        if (image := _part_image(part)) is not None:
            images.append(image)
        if part.get("type") == "tool_use":
            calls.append(_call({"id": part.get("id"), "function": {**part, "arguments": part.get("input")}}))
        thinking.append(word(part.get("thinking")) or "")
    return Message(
        role=word(item.get("role")) or str(item.get("type", "")),
        content=_text_of(content),
        thinking="".join(thinking) or None,
        images=tuple(images),
        tool_calls=tuple(calls),
        tool_name=word(item.get("tool_name")) or word(item.get("name")) or word(item.get("tool_call_id")),
    )


def _text_of(content: Any) -> str:
    """The text of a content field: a string, or the text of its parts."""
    if isinstance(content, str):
        return content
    texts = []
    for part in sequence(content):
        part = mapping(part)
        texts.append(word(part.get("text")) or (_text_of(part.get("content")) if "content" in part else ""))
    return "\n".join(text for text in texts if text)


def _part_image(part: dict[str, Any]) -> Image | None:
    url = part.get("image_url")
    data = mapping(url).get("url") if isinstance(url, dict) else url
    if data is None and part.get("type") == "image":
        data = mapping(part.get("source")).get("data")
    return _image(data) if isinstance(data, str) else None


def _call(call: dict[str, Any]) -> ToolCall:
    function = mapping(call.get("function"))
    name = word(function.get("name")) or ""
    return ToolCall(id=word(call.get("id")), name=name, arguments=function.get("arguments"))


def _image(data: str) -> Image:
    """Hash and size of the decoded image; of the text itself where it is no base64 (an address, a fault)."""
    text = data.partition(";base64,")[2] or data
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raw = data.encode("utf-8", "replace")
    return Image(sha256=hashlib.sha256(raw).hexdigest(), bytes=len(raw))

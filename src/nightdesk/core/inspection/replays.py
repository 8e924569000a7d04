"""Which requests can be sent again, and with what in them: bodies, headers, quick fields. Raises UsageError."""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple

import msgspec

from nightdesk.core.capture.sides import MASKED
from nightdesk.model.base import Json
from nightdesk.model.errors import UsageError
from nightdesk.model.exchange import Dialect, Exchange

ASKS = frozenset({"chat", "generate", "embed"})
"""Operations that change nothing on the server; pulling or deleting a model again would."""
_HOP = frozenset(
    {"host", "connection", "keep-alive", "content-length", "transfer-encoding", "te", "trailer", "upgrade"}
    | {"expect", "user-agent", "content-encoding", "accept-encoding", "proxy-connection", "origin", "referer"}
)
"""Headers that belong to the one connection, or that would be wrong for another body."""
_IMAGE = " bytes, sha256 "


class QuickField(NamedTuple):
    """A setting that is changed often, and where it stands in the body of a dialect."""

    name: str
    path: tuple[str, ...]


QUICK: dict[Dialect, tuple[QuickField, ...]] = {
    "ollama": tuple(
        QuickField(name, ("options", name)) for name in ("temperature", "num_ctx", "num_predict", "seed")
    ),
    "openai": (
        QuickField("temperature", ("temperature",)),
        QuickField("num_predict", ("max_tokens",)),
        QuickField("seed", ("seed",)),
    ),
    "anthropic": (
        QuickField("temperature", ("temperature",)),
        QuickField("num_predict", ("max_tokens",)),
    ),
    "http": (),
}


def check_request(exchange: Exchange) -> None:
    """Raises UsageError where this request must not or can't be sent again, whatever its body is."""
    number = exchange.id
    if exchange.operation not in ASKS or exchange.method != "POST" or not exchange.path:
        what = f"{exchange.method or '?'} {exchange.path or '?'}"
        raise UsageError(
            f"Exchange {number} ({what}) is not sent again: it asks no model.",
            "Only chats, completions and embeddings are: anything else may change the server.",
        )
    if not exchange.path.startswith("/") or any(ord(sign) < 33 or ord(sign) > 126 for sign in exchange.path):
        raise UsageError(f"Exchange {number} can't be sent again: its path is not a usable address.")


def recorded_body(exchange: Exchange) -> str:
    """The request body as it was sent. Raises UsageError where the record does not hold all of it."""
    number, body = exchange.id, exchange.request_body
    if body is None:
        reason = exchange.unknown.get("text", "Its request body was not recorded.")
        raise UsageError(f"Exchange {number} can't be sent again. {reason}", _OWN_BODY)
    if holds_images(exchange):
        raise UsageError(
            f"Exchange {number} can't be sent again: its prompt holds images, of which only hash and size are kept.",
            _OWN_BODY,
        )
    if exchange.missing_bytes.request or not _is_whole(exchange, body):
        raise UsageError(
            f"Exchange {number} can't be sent again: its request body is not whole in the record.", _OWN_BODY
        )
    return body


_OWN_BODY = "Give a body of your own: nightdesk replay ID --body FILE."


def holds_images(exchange: Exchange) -> bool:
    """The prompt has images, or something else of which the record keeps the hash only."""
    asked = exchange.prompt
    if asked is not None and (asked.images or any(message.images for message in asked.messages)):
        return True
    return "⟨" in (exchange.request_body or "") and _IMAGE in (exchange.request_body or "")


def _is_whole(exchange: Exchange, body: str) -> bool:
    raw = body.encode("utf-8", "replace")
    if hashlib.sha256(raw).hexdigest() == exchange.request_sha256:
        return True
    is_coded = any(name.lower() == "content-encoding" for name, _ in exchange.request_headers)
    # A compressed body has the hash of its compressed form; whole JSON is the proof then.
    return is_coded and _is_json(raw)


def _is_json(raw: bytes) -> bool:
    try:
        msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


def body_for(recorded: str | None, edited: Json, model: str | None) -> bytes:
    """What is sent: the edited body or the recorded one, byte for byte where no other model is wanted.

    Raises UsageError where there is none, or where it still holds the place of an image.
    """
    if edited is None:
        assert recorded is not None
        raw = recorded.encode("utf-8", "replace")
        return raw if model is None else _with_model(parse_body(recorded), model)
    if not isinstance(edited, dict):
        raise UsageError("The body of a request must be a JSON object.")
    whole = _encoded(edited)
    if _IMAGE in whole.decode() and "⟨" in whole.decode():
        raise UsageError(
            "The body holds the place of an image, not the image: only its hash was kept.",
            "Put the base64 text back, or take the image out.",
        )
    return whole if model is None else _with_model(edited, model)


def _with_model(body: dict[str, Any], model: str) -> bytes:
    name = "name" if "model" not in body and "name" in body else "model"
    return _encoded({**body, name: model})


def _encoded(body: Json) -> bytes:
    try:
        return msgspec.json.encode(body)
    except (RecursionError, UnicodeEncodeError) as fault:
        raise UsageError(f"The body can't be written as JSON: {fault}.") from fault


def parse_body(text: str) -> dict[str, Any]:
    """A body from its text. Raises UsageError with line and column of the first fault."""
    import json

    try:
        value = json.loads(text)
    except json.JSONDecodeError as fault:
        raise UsageError(
            f"The body is not JSON: {fault.msg} in line {fault.lineno}, column {fault.colno}."
        ) from fault
    except RecursionError as fault:
        raise UsageError("The body is nested too deep.") from fault
    if not isinstance(value, dict):
        raise UsageError("The body of a request must be a JSON object.")
    return value


def headers_for(
    exchange: Exchange, size: int, agent: str, host: str
) -> tuple[list[tuple[str, str]], list[str]]:
    """The headers of the replay, and the names of those that were left out because only their mask is known."""
    masked = [name for name, value in exchange.request_headers if MASKED in value]
    kept = [
        (name, value)
        for name, value in exchange.request_headers
        if name.lower() not in _HOP and MASKED not in value and _is_plain(name) and _is_plain(value)
    ]
    if not any(name.lower() == "content-type" for name, _ in kept):
        kept.append(("Content-Type", "application/json"))
    own = [("Host", host), ("User-Agent", agent)]
    last = [("Accept-Encoding", "identity"), ("Content-Length", str(size)), ("Connection", "close")]
    return [*own, *kept, *last], masked


def _is_plain(text: str) -> bool:
    """Nothing that would end the line or the head."""
    return text.isascii() and text.isprintable()


def request_bytes(path: str, headers: list[tuple[str, str]], body: bytes) -> bytes:
    """The request as it goes over the wire."""
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers), "", ""]
    return "\r\n".join(lines).encode("ascii") + body


# Quick fields


def quick_values(dialect: Dialect, body: dict[str, Any]) -> dict[str, str]:
    """The quick fields of the dialect as texts; empty where the body does not set them."""
    return {field.name: _as_text(_at(body, field.path)) for field in QUICK[dialect]}


def with_quick(dialect: Dialect, body: dict[str, Any], values: dict[str, str]) -> dict[str, Any]:
    """The body with these settings; an empty text takes the setting out. Raises UsageError for no number."""
    for field in QUICK[dialect]:
        text = values.get(field.name, "").strip()
        if text == _as_text(_at(body, field.path)):
            continue
        body = _put(body, field.path, _number(field.name, text) if text else None)
    return body


def _as_text(value: object) -> str:
    return "" if value is None else str(value)


def _at(body: dict[str, Any], path: tuple[str, ...]) -> Any:
    value: Any = body
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _put(body: dict[str, Any], path: tuple[str, ...], value: Any) -> dict[str, Any]:
    name, *rest = path
    changed = dict(body)
    if rest:
        inner = body.get(name)
        changed[name] = _put(inner if isinstance(inner, dict) else {}, tuple(rest), value)
    elif value is None:
        changed.pop(name, None)
    else:
        changed[name] = value
    return changed


def _number(name: str, text: str) -> int | float:
    try:
        value = float(text)
        if value not in (float("inf"), float("-inf")) and value == value:
            return int(text) if text.lstrip("+-").isdecimal() else value
    except (ValueError, OverflowError):
        pass
    raise UsageError(f"{name} must be a number, not {text!r}.")


def prompt_place(body: dict[str, Any]) -> tuple[str | int, ...] | None:
    """Where the text that the user asked stands in a body: the prompt, or the last message of the user."""
    if isinstance(body.get("prompt"), str):
        return ("prompt",)
    if isinstance(body.get("input"), str):
        return ("input",)
    messages = body.get("messages")
    for index in range(len(messages) - 1, -1, -1) if isinstance(messages, list) else ():
        message = messages[index] if isinstance(messages, list) else None
        if isinstance(message, dict) and message.get("role") == "user":
            return _text_place(message, index)
    return None


def _text_place(message: dict[str, Any], index: int) -> tuple[str | int, ...] | None:
    content = message.get("content")
    if isinstance(content, str):
        return "messages", index, "content"
    for part, entry in enumerate(content if isinstance(content, list) else ()):
        if isinstance(entry, dict) and isinstance(entry.get("text"), str):
            return "messages", index, "content", part, "text"
    return None


def prompt_text(body: dict[str, Any]) -> str:
    """The text at :func:`prompt_place`, empty where there is none."""
    value: Any = body
    for step in prompt_place(body) or ():
        value = value[step]
    return value if isinstance(value, str) else ""


def with_prompt(body: dict[str, Any], text: str) -> dict[str, Any]:
    """The body with another text at :func:`prompt_place`."""
    place = prompt_place(body)
    if place is None:
        return body
    changed: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(body))
    value: Any = changed
    for step in place[:-1]:
        value = value[step]
    value[place[-1]] = text
    return changed

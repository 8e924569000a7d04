"""The request of an exchange as a command for a shell and as a Python program that send it again.

The body is sent byte for byte where the record holds all of it; where it does not (cut, images left out, bytes that
are no UTF-8) the snippet says so. Nothing in a snippet can be obeyed by a terminal or a shell: control characters are
written as escapes.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pprint import pformat
from typing import Any, NamedTuple
from urllib.parse import quote

from nightdesk.core.foreign import safe, safe_line
from nightdesk.model.exchange import Exchange

MASKED = "⟨masked⟩"
PLACEHOLDER = "PUT-YOUR-OWN-HERE"
"""Stands where a secret was; secrets are never recorded."""
ARGUMENT_BYTES = 100_000
"""Linux takes no single argument above 128 KiB; longer bodies go through a pipe."""
LITERAL_CHARS = 2_000_000
"""A longer body is not taken apart into Python values: it is written as bytes."""
DEEPEST = 50
_FRAMING = frozenset(
    {"content-length", "transfer-encoding", "connection", "keep-alive", "expect", "te", "upgrade"}
)
_LEFT_OUT = "⟨"
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def _names(words: str) -> frozenset[str]:
    return frozenset(words.split())


_OLLAMA_CALLS = {
    "/api/chat": (
        "chat",
        _names("model messages tools stream think logprobs top_logprobs format options keep_alive"),
    ),
    "/api/generate": (
        "generate",
        _names(
            "model prompt suffix system template context stream think logprobs top_logprobs raw format images "
            "options keep_alive"
        ),
    ),
    "/api/embed": ("embed", _names("model input truncate options keep_alive dimensions")),
    "/api/embeddings": ("embeddings", _names("model prompt options keep_alive")),
}
"""Path → the method of the client, and every argument it takes."""
_OPENAI_CALLS = {
    "/v1/chat/completions": (
        "chat.completions.create",
        _names(
            "model messages stream temperature top_p max_tokens tools tool_choice response_format stop seed "
            "stream_options"
        ),
    ),
    "/v1/completions": (
        "completions.create",
        _names("model prompt stream temperature top_p max_tokens stop seed suffix stream_options"),
    ),
    "/v1/embeddings": ("embeddings.create", _names("model input dimensions encoding_format")),
    "/v1/responses": (
        "responses.create",
        _names("model input instructions stream temperature top_p max_output_tokens tools tool_choice"),
    ),
}
"""Path → the method of the client, and arguments it takes; whatever else was sent goes into ``extra_body``."""


class Snippet(NamedTuple):
    """Source text, and one sentence for each way in which it can't be exactly what was sent."""

    text: str
    notes: tuple[str, ...]


# What can't be exact


def shortcomings(exchange: Exchange) -> tuple[str, ...]:
    """Why the recorded request is not all of what was sent; empty where it is."""
    return tuple(_shortcomings(exchange))


def _shortcomings(exchange: Exchange) -> Iterator[str]:
    masked = [name for name, value in exchange.request_headers if MASKED in value]
    if masked:
        names = ", ".join(safe_line(name, 60) for name in masked)
        yield f"{names}: the value was masked when it was recorded; put your own in its place."
    if not exchange.request_headers:
        yield "No request headers were recorded."
    odd = [
        name for name, value in exchange.request_headers if not _is_plain(name, value) and MASKED not in value
    ]
    if odd:
        names = ", ".join(safe_line(name, 60) for name in odd)
        yield f"{names}: left out, it holds signs that a header can't be given here."
    yield from _body_shortcomings(exchange)


def _body_shortcomings(exchange: Exchange) -> Iterator[str]:
    body = exchange.request_body
    if body is None:
        if exchange.request_bytes:
            yield f"The body ({exchange.request_bytes:,} bytes) was not recorded; none is sent."
        return
    data = body.encode("utf-8", "replace")
    if hashlib.sha256(data).hexdigest() == exchange.request_sha256:
        return
    if _encoding(exchange):
        yield "The body was sent compressed; here it is sent as it reads."
    elif exchange.missing_bytes.request:
        yield f"{exchange.missing_bytes.request:,} bytes of the body are missing from the capture."
    elif "sha256 " in body and _LEFT_OUT in body:
        yield "Images are recorded as size and hash only: put them back before sending."
    elif len(data) < exchange.request_bytes:
        yield f"The body is cut in the record: {len(data):,} of {exchange.request_bytes:,} bytes."
    else:
        yield "The recorded body is not byte for byte what was sent (bytes that are not UTF-8, or a change in it)."


def _encoding(exchange: Exchange) -> str:
    values = [value for name, value in exchange.request_headers if name.lower() == "content-encoding"]
    return values[0] if values and values[0].lower() != "identity" else ""


def _is_plain(name: str, value: str) -> bool:
    return _HEADER_NAME.fullmatch(name) is not None and value.isascii() and value.isprintable()


def _headers(exchange: Exchange) -> Iterator[tuple[str, str]]:
    """The headers to send, in order: framing is left to the client, secrets are placeholders."""
    same_host = exchange.server_addr
    for name, value in exchange.request_headers:
        lower = name.lower()
        if lower in _FRAMING or (lower == "host" and value == same_host):
            continue
        if lower == "content-encoding" and _encoding(exchange):
            continue
        if MASKED in value and _HEADER_NAME.fullmatch(name):
            scheme = re.match(r"(Bearer|Basic) ", value)
            yield name, (scheme[0] if scheme else "") + PLACEHOLDER
        elif _is_plain(name, value):
            yield name, value


def _url(exchange: Exchange) -> str:
    path = exchange.path or "/"
    if "://" in path:
        return quote(path, safe="!#$%&'()*+,/:;=?@[]~")
    return f"http://{exchange.server_addr}" + quote(path, safe="!#$%&'()*+,/:;=?@[]~")


# For a shell


def curl(exchange: Exchange) -> Snippet:
    """A command for any POSIX shell that sends the request and shows the reply as it comes."""
    notes = shortcomings(exchange)
    method = _method(exchange)
    parts = [
        "curl -sS -N -g --path-as-is",
        "-I" if method == "HEAD" else f"-X {method}",
        _quoted(_url(exchange)),
    ]
    headers = list(_headers(exchange))
    sent = {name.lower() for name, _ in headers}
    parts += [f"-H {_quoted(f'{name}: {value}' if value else f'{name};')}" for name, value in headers]
    if exchange.request_headers:
        own = ["Accept", "User-Agent"] + (["Content-Type"] if exchange.request_body else [])
        parts += [f"-H '{name}:'" for name in own if name.lower() not in sent]
    parts += ["--compressed"] if "accept-encoding" in sent else []
    lead = ""
    if exchange.request_body:
        data = exchange.request_body
        parts.append("-H 'Expect:'")
        if _is_harmless(data) and len(data.encode("utf-8", "replace")) <= ARGUMENT_BYTES and data[0] != "@":
            parts.append(f"--data-binary {_quoted(data)}")
        else:
            lead = _printf(data) + " |\n"
            parts.append("--data-binary @-")
    said = "".join(f": {_quoted('Note: ' + safe_line(note, 400))}\n" for note in notes)
    return Snippet(said + lead + " \\\n  ".join(parts) + "\n", notes)


def _method(exchange: Exchange) -> str:
    method = exchange.method or ("POST" if exchange.request_body else "GET")
    return method if method.isascii() and method.isalpha() else "GET"


def _is_harmless(text: str) -> bool:
    return "\r" not in text and safe(text) is text


def _quoted(text: str) -> str:
    """One word of a POSIX shell."""
    return "'" + text.replace("'", "'\\''") + "'"


_FOR_PRINTF = re.compile(rb"[\\\x00-\x09\x0b-\x1f\x7f]")


def _printf(body: str) -> str:
    """A printf (built into every shell, so without a limit of length) that writes exactly ``body``."""
    if _is_harmless(body):
        return f"printf %s {_quoted(body)}"
    pieces = []
    for piece in re.split("([^\x20-\x7e\n]+)", body):
        data = piece.encode("utf-8", "replace")
        if _is_harmless(piece):
            pieces.append(_FOR_PRINTF.sub(_octal, data).decode())
        else:
            pieces.append("".join(f"\\0{byte:03o}" for byte in data))
    return f"printf %b {_quoted(''.join(pieces))}"


def _octal(found: re.Match[bytes]) -> bytes:
    return b"\\\\" if found[0] == b"\\" else b"\\0%03o" % found[0][0]


# For Python


def python(exchange: Exchange) -> Snippet:
    """A program that sends the request: with the server's own client where that takes every field, else with httpx."""
    notes = shortcomings(exchange)
    text = _by_client(exchange) or _by_httpx(exchange)
    said = "".join(f"# Note: {safe_line(note, 400)}\n" for note in notes)
    return Snippet(said + text, notes)


def _by_client(exchange: Exchange) -> str | None:
    body = _body_value(exchange)
    path = (exchange.path or "").partition("?")[0]
    if body is None or _method(exchange) != "POST":
        return None
    if exchange.dialect == "ollama" and path in _OLLAMA_CALLS:
        call, known = _OLLAMA_CALLS[path]
        if set(body) <= known and isinstance(body.get("stream", False), bool):
            return _ollama(exchange, call, body)
    if exchange.dialect == "openai" and path in _OPENAI_CALLS:
        call, known = _OPENAI_CALLS[path]
        if {"model"} <= set(body) and isinstance(body.get("stream", False), bool):
            return _openai(exchange, call, body, known)
    return None


def _ollama(exchange: Exchange, call: str, body: dict[str, Any]) -> str:
    # The server streams where nothing is said, the client asks for one answer where nothing is said.
    streams = call in ("chat", "generate") and body.get("stream", True)
    given = {**body, "stream": streams} if call in ("chat", "generate") else body
    return (
        "# The same fields and values as recorded; the client may add its defaults.\n"
        "from ollama import Client\n\n"
        f"client = Client(host={f'http://{exchange.server_addr}'!r})\n"
        f"request = {_literal(given)}\n"
        f"answer = client.{call}(**request)\n" + _show(streams)
    )


def _openai(exchange: Exchange, call: str, body: dict[str, Any], known: frozenset[str]) -> str:
    plain = {name: value for name, value in body.items() if name in known}
    extra = {name: value for name, value in body.items() if name not in known}
    more = f"extra = {_literal(extra)}\n" if extra else ""
    return (
        "# The same fields and values as recorded; the client may add its defaults.\n"
        "import os\n\nfrom openai import OpenAI\n\n"
        f"client = OpenAI(base_url={f'http://{exchange.server_addr}/v1'!r}, "
        'api_key=os.environ.get("OPENAI_API_KEY", "unused"))\n'
        f"request = {_literal(plain)}\n{more}"
        f"answer = client.{call}(**request{', extra_body=extra' if extra else ''})\n"
        + _show(bool(body.get("stream")))
    )


def _show(streams: bool) -> str:
    return "for part in answer:\n    print(part)\n" if streams else "print(answer)\n"


def _by_httpx(exchange: Exchange) -> str:
    body = exchange.request_body
    lines = [
        "# Sends exactly these bytes.",
        "import httpx",
        "",
        f"headers = {_literal(list(_headers(exchange)))}",
    ]
    sent = ""
    if body:
        lines.append(f"body = {_bytes_literal(body)}")
        sent = ", content=body"
    lines += [
        f"url = {_url(exchange)!r}",
        f"with httpx.stream({_method(exchange)!r}, url, headers=headers{sent}, timeout=None) as answer:",
        "    print(answer.status_code)",
        "    for text in answer.iter_text():",
        '        print(text, end="", flush=True)',
    ]
    return "\n".join(lines) + "\n"


def _bytes_literal(body: str) -> str:
    """As text where it reads as text, in one line else: an expression that gives the exact bytes."""
    if body.isascii():
        return repr(body.encode())
    return f"{body!r}.encode()" if "\ufffd" not in body else repr(body.encode("utf-8", "replace"))


def _body_value(exchange: Exchange) -> dict[str, Any] | None:
    """The body as an object that Python can write down exactly; None where it is not one."""
    body = exchange.request_body
    if not body or len(body) > LITERAL_CHARS or exchange.missing_bytes.request:
        return None
    try:
        value = json.loads(body, object_pairs_hook=_unique, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None
    names = isinstance(value, dict) and all(name.isidentifier() for name in value)
    return value if names and _is_exact(value) else None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a name comes twice")
    return value


def _refuse(word: str) -> Any:
    raise ValueError(word)


def _is_exact(value: Any) -> bool:
    """Neither too deep to write down nor a number that Python rounds to infinity."""
    level = [value]
    for _ in range(DEEPEST):
        if not level:
            return True
        below: list[Any] = []
        for each in level:
            if isinstance(each, float) and each in (float("inf"), float("-inf")):
                return False
            below += each.values() if isinstance(each, dict) else each if isinstance(each, list) else ()
        level = below
    return not level


def _literal(value: Any) -> str:
    return pformat(value, width=100, sort_dicts=False)

"""Exchanges as entries of an HTTP archive (HAR 1.2), for the network tab of a browser and tools that read it.

What the format has no place for stands in fields that begin with ``_``.
"""

from __future__ import annotations

import itertools
from datetime import UTC, datetime
from http import HTTPStatus
from urllib.parse import parse_qsl, urlsplit

from nightdesk import __version__
from nightdesk.model.base import Json
from nightdesk.model.exchange import Exchange

HEAD = {"version": "1.2", "creator": {"name": "nightdesk", "version": __version__}}
"""Everything of ``log`` but ``pages`` and ``entries``."""
_HTTP = "HTTP/1.1"
_NOT_SEEN = -1
_STREAM_TYPES = {"ndjson": "application/x-ndjson", "sse": "text/event-stream"}


def entry(exchange: Exchange) -> dict[str, Json]:
    """One entry. ``wait`` is the time until the first byte of the response, ``receive`` that until its end."""
    timings = _timings(exchange)
    return {
        "startedDateTime": _clock(exchange.started_ns),
        "time": sum(span for span in timings.values() if span > 0),
        "request": _request(exchange),
        "response": _response(exchange),
        "cache": {},
        "timings": timings,
        "serverIPAddress": exchange.server_addr.rpartition(":")[0].strip("[]"),
        "connection": str(exchange.connection),
        **_ours(exchange),
    }


def _clock(at_ns: int) -> str:
    return datetime.fromtimestamp(at_ns // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%S") + (
        f".{at_ns % 10**9 // 10**6:03d}Z"
    )


def _timings(exchange: Exchange) -> dict[str, float]:
    ended_ns = exchange.ended_ns or exchange.first_byte_ns or exchange.started_ns
    first_ns = exchange.first_byte_ns or ended_ns
    return {
        "blocked": _NOT_SEEN,
        "dns": _NOT_SEEN,
        "connect": _NOT_SEEN,
        "send": 0,
        "wait": max(0, first_ns - exchange.started_ns) / 1e6,
        "receive": max(0, ended_ns - first_ns) / 1e6,
        "ssl": _NOT_SEEN,
    }


def _request(exchange: Exchange) -> dict[str, Json]:
    path = exchange.path or "/"
    url = path if "://" in path else f"http://{exchange.server_addr}{path}"
    request: dict[str, Json] = {
        "method": exchange.method or "GET",
        "url": url,
        "httpVersion": _HTTP,
        "cookies": [],
        "headers": _headers(exchange.request_headers),
        "queryString": _query_of(path),
        "headersSize": _NOT_SEEN,
        "bodySize": exchange.request_bytes,
    }
    if exchange.request_body is not None:
        mime = _header(exchange.request_headers, "content-type") or "application/json"
        request["postData"] = {"mimeType": mime, "text": exchange.request_body}
    return request


def _query_of(path: str) -> list[Json]:
    try:
        pairs = parse_qsl(urlsplit(path).query, keep_blank_values=True)
    except ValueError:
        return []
    return [{"name": name, "value": value} for name, value in pairs]


def _response(exchange: Exchange) -> dict[str, Json]:
    headers = exchange.response_headers
    mime = _header(headers, "content-type") or _STREAM_TYPES.get(exchange.stream_format or "", "x-unknown")
    content: dict[str, Json] = {"size": exchange.response_bytes, "mimeType": mime}
    if exchange.response_body is not None:
        content["text"] = exchange.response_body
    else:
        content["comment"] = "The body was not recorded."
    return {
        "status": exchange.status or 0,
        "statusText": _phrase(exchange.status),
        "httpVersion": _HTTP,
        "cookies": [],
        "headers": _headers(headers),
        "content": content,
        "redirectURL": _header(headers, "location") or "",
        "headersSize": _NOT_SEEN,
        "bodySize": exchange.response_bytes,
    }


def _phrase(status: int | None) -> str:
    try:
        return HTTPStatus(status or 0).phrase
    except ValueError:
        return ""


def _headers(headers: tuple[tuple[str, str], ...]) -> list[Json]:
    return [{"name": name, "value": value} for name, value in headers]


def _header(headers: tuple[tuple[str, str], ...], wanted: str) -> str | None:
    return next((value for name, value in headers if name.lower() == wanted), None)


def _ours(exchange: Exchange) -> dict[str, Json]:
    """``_fragments``: milliseconds from the start to each streamed piece."""
    fields = {
        "_id": exchange.id,
        "_state": exchange.state,
        "_model": exchange.model,
        "_operation": exchange.operation,
        "_pid": exchange.process.pid if exchange.process else None,
        "_process": exchange.process.name if exchange.process else None,
        "_run": exchange.run,
        "_job": exchange.job,
        "_item": exchange.item,
        "_promptTokens": exchange.prompt_tokens,
        "_replyTokens": exchange.reply_tokens,
        "_doneReason": exchange.done_reason,
        "_error": exchange.error,
        "_replayOf": exchange.replay_of,
        "_note": exchange.note,
        "_verdicts": [{"kind": one.kind, "evidence": one.evidence} for one in exchange.verdicts] or None,
        "_missingBytes": exchange.missing_bytes.request + exchange.missing_bytes.response or None,
        "_fragments": [{"time": at_ns / 1e6} for at_ns in itertools.accumulate(exchange.fragment_gaps_ns)]
        or None,
    }
    return {name: value for name, value in fields.items() if value is not None}

"""Compressed bodies: as clients and proxies send them, cut anywhere, damaged, and made to burst the memory."""

from __future__ import annotations

import gzip
import importlib
import json
import sys
import zlib
from collections.abc import Callable

import pytest

from nightdesk.core.capture.codings import CodingError, decoder_for
from tests.support.wire import LAST, STREAM_HEAD, Talk, exchanges, piece, request

PLAIN = b'{"model":"m","response":"squeezed","done":true}'


def _brotli(data: bytes) -> bytes:
    return bytes(pytest.importorskip("brotli").compress(data))


def _zstd(data: bytes) -> bytes:
    name = "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd"
    pytest.importorskip(name)
    return bytes(importlib.import_module(name).compress(data))


def _raw(data: bytes) -> bytes:
    squeeze = zlib.compressobj(wbits=-15)
    return squeeze.compress(data) + squeeze.flush()


CODINGS: list[tuple[str, Callable[[bytes], bytes]]] = [
    ("gzip", gzip.compress),
    ("x-gzip", lambda data: gzip.compress(data[:9]) + gzip.compress(data[9:])),
    ("deflate", zlib.compress),
    ("deflate", _raw),
    ("br", _brotli),
    ("zstd", _zstd),
    ("zstd", lambda data: _zstd(data[:9]) + _zstd(data[9:])),
]


@pytest.mark.parametrize(("coding", "squeeze"), CODINGS)
def test_a_body_is_unpacked_at_once_and_byte_by_byte(coding: str, squeeze: Callable[[bytes], bytes]) -> None:
    packed = squeeze(PLAIN)
    whole, bytewise = decoder_for(coding), decoder_for(coding)
    assert whole is not None and bytewise is not None
    assert whole.decode(packed, 1000) == PLAIN
    assert b"".join(bytewise.decode(packed[i : i + 1], 1000) for i in range(len(packed))) == PLAIN


@pytest.mark.parametrize(("coding", "squeeze"), CODINGS)
def test_a_body_that_would_fill_the_memory_is_refused(coding: str, squeeze: Callable[[bytes], bytes]) -> None:
    decoder = decoder_for(coding)
    assert decoder is not None
    with pytest.raises(CodingError, match="more than 65536 bytes"):
        decoder.decode(squeeze(b"\0" * 4_000_000), 65_536)


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd"])
def test_damage_is_our_error(coding: str) -> None:
    decoder = decoder_for(coding)
    if decoder is None:
        pytest.skip(f"no module for {coding}")
    with pytest.raises(CodingError):
        decoder.decode(b"\x07" * 400, 1000)


@pytest.mark.parametrize(("coding", "squeeze"), CODINGS)
def test_the_prompt_of_a_compressed_request_is_read(coding: str, squeeze: Callable[[bytes], bytes]) -> None:
    body = squeeze(json.dumps({"model": "m", "input": "squeezed too"}).encode())
    ask = request(body, "/v1/responses", f"Content-Encoding: {coding}\r\n")
    found = exchanges(Talk().open().send(ask).answer(STREAM_HEAD + LAST).frames)[0]
    assert found.prompt is not None and found.prompt.prompt == "squeezed too"
    assert (found.model, found.request_bytes, found.note) == ("m", len(body), None)


@pytest.mark.parametrize(("coding", "squeeze"), CODINGS)
def test_a_compressed_stream_is_read_as_it_comes(coding: str, squeeze: Callable[[bytes], bytes]) -> None:
    lines = b'{"model":"m","response":"one "}\n' + b'{"model":"m","response":"two","done":true}\n'
    packed = squeeze(lines)
    head = (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nContent-Encoding: %s\r\n" % coding.encode()
    )
    talk = Talk().open().send(request({"model": "m", "prompt": "x"}))
    talk.answer(head + b"Content-Length: %d\r\n\r\n" % len(packed))
    for start in range(0, len(packed), 7):
        talk.answer(packed[start : start + 7])
    found = exchanges(talk.frames)[0]
    assert (found.state, found.text, found.done, found.response_body) == (
        "complete", "one two", True, lines.decode(),
    )  # fmt: skip


def test_an_unknown_coding_is_named_and_its_bytes_are_not_taken_for_text() -> None:
    body = b'{"model":"m","response":"not a line","done":true}\n'
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nContent-Encoding: lzw\r\n"
    talk = Talk().open().send(request({"model": "m", "prompt": "x"}))
    found = exchanges(talk.answer(head + b"Content-Length: %d\r\n\r\n" % len(body) + body).frames)[0]
    assert (found.state, found.text, found.fragments) == ("complete", "", 0)
    assert found.note == "The response body is compressed with lzw, which is not decoded."


def test_a_gzip_bomb_in_a_reply_costs_its_limit_and_is_noted() -> None:
    bomb = gzip.compress(b" " * 60_000_000, 9)
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb)
    talk = Talk().open().send(request({"model": "m", "prompt": "x"}))
    talk.answer(head)
    for start in range(0, len(bomb), 30_000):
        talk.answer(bomb[start : start + 30_000])
    found = exchanges(talk.frames)[0]
    assert found.state == "complete" and "after decompression" in (found.note or "")
    assert found.response_bytes == len(bomb)


def test_a_connection_goes_on_behind_a_compressed_body() -> None:
    talk = Talk().open().send(request(b"\x07\x07", "/v1/responses", "Content-Encoding: gzip\r\n"))
    talk.answer(STREAM_HEAD + LAST).send(request({"model": "m", "prompt": "next"}))
    talk.answer(STREAM_HEAD + piece("fine") + LAST)
    assert [(e.state, e.text) for e in exchanges(talk.frames)] == [("complete", ""), ("complete", "fine")]

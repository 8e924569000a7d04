"""Replies that end too soon, and very long ones, live on loopback: the record says what the client itself got."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from nightdesk.model.exchange import Exchange
from tests.support.capture import PATIENCE, capture_refusal, capturing
from tests.support.wire import LAST, STREAM_HEAD, piece, request

REFUSAL = capture_refusal()
PACKETS = pytest.param(
    "scapy",
    marks=[
        pytest.mark.capture,
        pytest.mark.skipif(REFUSAL is not None, reason=REFUSAL or "capture works"),
    ],
)
SOURCES = pytest.mark.parametrize("source", [PACKETS, "relay"])
WORDS = [f"word{number} " for number in range(40)]
STREAM = b"".join(piece(word) for word in WORDS)
RESET = struct.pack("ii", 1, 0)
FRAGMENTS = 4_000
FLOATS = 111_111


class Stage:
    """One client and one server that agree on when who does what."""

    def __init__(self) -> None:
        self.client_has_it = threading.Event()
        self.server_has_it = threading.Event()
        self.got = b""

    def read_until(self, end: socket.socket, size: int) -> None:
        """What the client gets; it tells when it has so much."""
        while len(self.got) < size:
            more = end.recv(1 << 16)
            assert more, "the server ended too soon"
            self.got += more
        self.client_has_it.set()

    @property
    def text(self) -> str:
        """The reply as the client got it."""
        lines = re.findall(rb"^\{.*\}$", self.got, re.MULTILINE)
        return "".join(json.loads(line)["response"] for line in lines)


def wait_for_end(end: socket.socket) -> None:
    """Until the other side closes or resets."""
    with contextlib.suppress(ConnectionResetError):
        while end.recv(1 << 16):
            pass


def reset(end: socket.socket) -> None:
    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    end.close()


Act = Callable[[Stage, socket.socket], None]


@contextmanager
def serving(stage: Stage, act: Act) -> Iterator[int]:
    """A server that acts once, when the request is there."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(PATIENCE)

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.settimeout(PATIENCE)
                assert connection.recv(1 << 16)
                stage.server_has_it.set()
                act(stage, connection)

        thread = threading.Thread(target=serve)
        thread.start()
        yield int(listening.getsockname()[1])
        thread.join(PATIENCE)


def play(source: str, client: Act, server: Act) -> tuple[Exchange, Stage]:
    """The exchange as captured, and what the client saw."""
    stage = Stage()
    with serving(stage, server) as port, capturing("--source", source, "--ports", str(port)) as capture:
        relay = capture.live().relay
        asked = int(relay.rpartition(":")[2]) if relay else port
        with socket.create_connection(("127.0.0.1", asked), PATIENCE) as end:
            end.sendall(request({"model": "m", "prompt": "x"}))
            client(stage, end)
        ended = capture.exchange("/api/generate", "complete", "aborted", "failed", "incomplete", "partial")
    assert ended.missing_bytes.request == ended.missing_bytes.response == 0
    return ended, stage


LEAVE = pytest.mark.parametrize("leave", [socket.socket.close, reset], ids=["closes", "resets"])


@SOURCES
@LEAVE
def test_a_client_that_leaves_before_the_head_has_aborted(
    source: str, leave: Callable[[socket.socket], None]
) -> None:
    def client(stage: Stage, end: socket.socket) -> None:
        assert stage.server_has_it.wait(PATIENCE)
        leave(end)

    ended, _ = play(source, client, lambda _, end: wait_for_end(end))
    assert (ended.state, ended.aborted_by, ended.status, ended.text) == ("aborted", "client", None, "")


@SOURCES
@LEAVE
def test_a_client_that_leaves_in_the_middle_has_aborted_with_what_it_got(
    source: str, leave: Callable[[socket.socket], None]
) -> None:
    def client(stage: Stage, end: socket.socket) -> None:
        stage.read_until(end, len(STREAM_HEAD + STREAM))
        leave(end)

    def server(_: Stage, end: socket.socket) -> None:
        end.sendall(STREAM_HEAD + STREAM)
        wait_for_end(end)

    ended, stage = play(source, client, server)
    assert (ended.state, ended.aborted_by) == ("aborted", "client")
    assert ended.text == stage.text == "".join(WORDS)
    assert ended.fragments == len(WORDS)


@SOURCES
def test_a_client_that_leaves_after_the_final_object_has_a_complete_exchange(source: str) -> None:
    end_of_body = b"0\r\n\r\n"
    reply = STREAM_HEAD + STREAM + LAST.removesuffix(end_of_body)

    def client(stage: Stage, end: socket.socket) -> None:
        stage.read_until(end, len(reply))

    def server(_: Stage, end: socket.socket) -> None:
        end.sendall(reply)
        wait_for_end(end)
        with contextlib.suppress(OSError):
            end.sendall(end_of_body)

    ended, stage = play(source, client, server)
    assert (ended.state, ended.done, ended.done_reason) == ("complete", True, "stop")
    assert ended.text == stage.text == "".join(WORDS)


@SOURCES
@LEAVE
def test_a_server_that_dies_in_the_middle_has_aborted_with_what_the_client_got(
    source: str, leave: Callable[[socket.socket], None]
) -> None:
    def client(stage: Stage, end: socket.socket) -> None:
        stage.read_until(end, len(STREAM_HEAD + STREAM))
        wait_for_end(end)

    def server(stage: Stage, end: socket.socket) -> None:
        end.sendall(STREAM_HEAD + STREAM)
        assert stage.client_has_it.wait(PATIENCE)
        leave(end)

    ended, stage = play(source, client, server)
    assert (ended.state, ended.aborted_by) == ("aborted", "server")
    assert ended.text == stage.text == "".join(WORDS)


@SOURCES
def test_four_thousand_fragments_are_counted_and_kept(source: str) -> None:
    pieces = [piece(f"{number} ") for number in range(FRAGMENTS)]

    def server(_: Stage, end: socket.socket) -> None:
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        end.sendall(STREAM_HEAD)
        for one in pieces:
            end.sendall(one)
        end.sendall(LAST)

    whole = len(STREAM_HEAD + b"".join(pieces) + LAST)
    ended, stage = play(source, lambda stage, end: stage.read_until(end, whole), server)
    assert (ended.state, ended.fragments) == ("complete", FRAGMENTS + 1)
    assert ended.text == stage.text == "".join(f"{number} " for number in range(FRAGMENTS))


@SOURCES
def test_a_megabyte_of_embeddings_is_complete(source: str) -> None:
    body = json.dumps({"model": "m", "embeddings": [[0.123456] * FLOATS]}, separators=(",", ":")).encode()
    head = (
        f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    )

    def server(_: Stage, end: socket.socket) -> None:
        end.sendall(head + body)

    ended, stage = play(source, lambda stage, end: stage.read_until(end, len(head + body)), server)
    assert stage.got == head + body
    assert (ended.state, ended.response_bytes) == ("complete", len(body))

"""What no recording holds: unseen HEADs, other protocols on the same connection, packets that contradict each other."""

from __future__ import annotations

import pytest

from nightdesk.model.exchange import Exchange
from tests.support.wire import ACK, FIN, LAST, PSH, RST, STREAM_HEAD, Talk, exchanges, piece, request

ASK = request({"model": "m", "prompt": "x"})
HEAD = b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n"
CONFLICT = "different bytes"


def told(talk: Talk) -> list[tuple[object, ...]]:
    return [(e.method, e.state, e.status, e.text) for e in exchanges(talk.frames)]


@pytest.mark.parametrize("length", [b"Content-Length: 17\r\n", b""])
def test_the_answer_to_a_head_that_was_not_seen_swallows_nothing(length: bytes) -> None:
    talk = Talk().open().send(HEAD)
    talk.frames.clear()
    talk.answer(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n" + length + b"\r\n")
    talk.send(ASK).answer(STREAM_HEAD + piece("right")).answer(LAST)
    assert told(talk)[-1] == ("POST", "complete", 200, "right")
    assert told(talk)[0][1:3] == ("partial", 200)


def test_an_upgraded_connection_is_complete_and_what_follows_is_no_traffic() -> None:
    talk = Talk().open().send(b"GET /ws HTTP/1.1\r\nUpgrade: websocket\r\n\r\n")
    talk.answer(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n")
    talk.send(b"\x81\x85abcdefghi").answer(b"\x81\x05hello").send(b"GET / HTTP/1.1\r\n\r\n").close()
    assert told(talk) == [("GET", "complete", 101, "")]


def test_an_upgrade_that_the_server_declines_changes_nothing() -> None:
    talk = Talk().open().send(request({"model": "m"}, extra="Connection: Upgrade\r\nUpgrade: h2c\r\n"))
    talk.answer(STREAM_HEAD + piece("a") + LAST).send(ASK).answer(STREAM_HEAD + piece("b") + LAST)
    assert [row[1::2] for row in told(talk)] == [("complete", "a"), ("complete", "b")]


def test_a_tunnel_is_no_traffic() -> None:
    talk = Talk().open().send(b"CONNECT x:443 HTTP/1.1\r\n\r\n").answer(b"HTTP/1.1 200 OK\r\n\r\n")
    talk.send(b"\x16\x03\x01\x02\0\x01\0").answer(b"\x16\x03\x03\0z\x02").close()
    assert told(talk) == [("CONNECT", "complete", 200, "")]


def test_a_reset_soon_after_the_capture_began_does_not_hide_what_was_read() -> None:
    talk = Talk().open().send(ASK)
    talk.packet(1, PSH | ACK, STREAM_HEAD + piece("some "))
    talk.packet(1, PSH | ACK, piece("words"))
    talk.packet(0, FIN | ACK)
    talk.packet(1, PSH | ACK, piece("", error="context canceled"))
    talk.packet(0, RST)
    for begin in (0, 1, 3):
        found = exchanges(talk.frames[begin:])[0]
        assert (found.state, found.aborted_by, found.text) == ("aborted", "client", "some words")


def only(talk: Talk) -> Exchange:
    found = exchanges(talk.answer(LAST).frames)
    assert len(found) == 1 and found[0].state == "complete"
    return found[0]


def test_a_copy_with_other_bytes_is_noted_and_the_first_wins() -> None:
    talk = Talk().open().send(ASK).answer(STREAM_HEAD).answer(piece("right"))
    talk.packet(1, PSH | ACK, piece("wrong"), back=len(piece("right")))
    found = only(talk)
    assert found.text == "right" and CONFLICT in (found.note or "")


def test_a_copy_of_waiting_bytes_with_others_is_noted() -> None:
    talk = Talk().open().send(ASK).answer(STREAM_HEAD)
    late = talk.packet(1, PSH | ACK, piece("a"), kept=False)
    talk.packet(1, PSH | ACK, piece("right"))
    talk.packet(1, PSH | ACK, piece("wrong"), back=len(piece("right")))
    talk.frames.append((1, talk.at_ns, late[2]))
    found = only(talk)
    assert found.text == "aright" and CONFLICT in (found.note or "")


@pytest.mark.parametrize("size", [1, 5, 40])
def test_equal_copies_longer_copies_and_probes_are_not_noted(size: int) -> None:
    talk = Talk().open().send(ASK).answer(STREAM_HEAD).answer(piece("right"))
    data = STREAM_HEAD + piece("right")
    talk.packet(1, PSH | ACK, data[-size:], back=size)
    talk.packet(1, ACK, b"\0", back=1)
    late = piece("more")
    talk.packet(1, PSH | ACK, data[-size:] + late, back=size)
    talk.places[1] = (talk.places[1] + len(late)) & 0xFFFFFFFF
    found = only(talk)
    assert (found.text, found.note) == ("rightmore", None)

"""Damaged captures that once moved text into another exchange, or broke what is said about them."""

from __future__ import annotations

import json
import struct

import pytest

from nightdesk.core.capture.packets import PacketReader
from nightdesk.core.capture.pcap import PcapReader
from nightdesk.model.exchange import Exchange, capture_encoder
from tests.fuzz.samples import pcapng
from tests.support.wire import (
    ACK,
    PSH,
    RST,
    START_NS,
    STREAM_HEAD,
    Talk,
    ethernet,
    exchanges,
    ipv4,
    piece,
    request,
    tcp,
)  # fmt: skip

LAST = piece("", done=True) + b"0\r\n\r\n"


def ask(word: str) -> bytes:
    return request({"model": "m", "prompt": word})


def told(word: str) -> bytes:
    return STREAM_HEAD + piece(word) + LAST


def words(found: Exchange) -> set[str]:
    content = json.dumps([found.text, found.request_body, found.response_body])
    return {word for word in ("walnut", "bishop", "kiosk") if word in content}


def expect_apart(talk: Talk) -> list[Exchange]:
    found = exchanges(talk.frames)
    for exchange in found:
        assert len(words(exchange)) <= 1, exchange
    return found


def test_two_requests_that_lost_their_heads_stay_two() -> None:
    talk = Talk().open()
    for word in ("walnut", "bishop"):
        talk.send(ask(word)[:70], kept=False).send(ask(word)[70:]).answer(told(word))
    assert [e.text for e in expect_apart(talk)] == ["walnut", "bishop"]


def test_a_request_and_the_answer_before_it_lost_together_are_nobodys() -> None:
    talk = Talk().open()
    talk.send(ask("walnut")[:70], kept=False).send(ask("walnut")[70:]).answer(told("walnut"), kept=False)
    talk.send(ask("bishop"), kept=False).answer(told("bishop"))
    assert "bishop" in [e.text for e in expect_apart(talk)]


def test_an_answer_goes_to_the_request_that_was_read_before_it_where_the_first_was_lost() -> None:
    talk = Talk()
    talk.packet(0, 2)
    talk.packet(1, 2 | ACK, kept=False)
    talk.send(ask("walnut"), kept=False).answer(told("walnut"), kept=False)
    talk.packet(0, ACK)
    talk.send(ask("bishop")).answer(told("bishop")).send(ask("kiosk")).answer(told("kiosk"))
    found = {words(e).pop() if words(e) else "": e for e in expect_apart(talk)}
    assert (found["bishop"].text, found["kiosk"].text) == ("bishop", "kiosk")


def test_a_capture_that_begins_inside_counts_the_answers_it_missed() -> None:
    talk = Talk().open()
    talk.frames.clear()
    talk.send(ask("walnut")).answer(told("walnut"), kept=False)
    talk.frames = talk.frames[:1]
    talk.send(ask("bishop")).answer(told("bishop"))
    found = expect_apart(talk)
    assert [(e.state, e.text) for e in found] == [("incomplete", found[0].text), ("complete", "bishop")]
    assert found[0].prompt is not None and found[0].prompt.prompt == "walnut"


def test_the_acknowledgements_of_a_server_tell_requests_apart_that_nobody_saw() -> None:
    talk = Talk().open()
    talk.frames.clear()
    for word in ("walnut", "bishop"):
        talk.send(ask(word), kept=False)
        talk.packet(1, PSH | ACK, told(word)[:160], kept=word == "walnut")
        talk.packet(1, PSH | ACK, told(word)[160:])
    expect_apart(talk)


def test_what_comes_behind_a_reset_does_not_shift_the_places_of_what_came_before() -> None:
    talk = Talk().open()
    first, second = talk.packet(0, PSH | ACK, ask("walnut"), kept=False), len(ask("walnut"))
    assert second
    answer = talk.packet(1, PSH | ACK, told("walnut"), kept=False)
    later = talk.packet(0, PSH | ACK, ask("bishop"), kept=False)
    talk.frames += [later, first]
    reset = talk.packet(0, RST | ACK, kept=False)
    late = talk.packet(1, PSH | ACK, told("bishop"), kept=False)
    talk.frames += [(link, talk.at_ns + n, frame) for n, (link, _, frame) in enumerate((late, reset, answer))]
    assert next(e for e in expect_apart(talk) if e.text).text == "walnut"


@pytest.mark.parametrize("ticks", [(1 << 64) - 1, 1 << 63])
def test_a_time_that_no_clock_shows_is_replaced_by_the_one_before(ticks: int) -> None:
    talk = Talk().open().send(ask("walnut")).answer(told("walnut"))
    data = bytearray(pcapng(talk.frames, resolution=0))
    at = data.rfind(struct.pack("<I", START_NS // 10**9))
    data[at - 4 : at + 4] = struct.pack("<II", ticks >> 32, ticks & 0xFFFFFFFF)
    frames = list(PcapReader().feed(bytes(data)))
    assert len(frames) == len(talk.frames)
    assert max(at_ns for _, at_ns, _ in frames) == START_NS


def test_counts_that_no_number_holds_are_unknown() -> None:
    line = (
        b'{"model":"m","response":"a","done":true,"eval_count":18446744073709551616,"total_duration":1e30}\n'
    )
    body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(line), line)
    found = exchanges(Talk().open().send(ask("walnut")).answer(STREAM_HEAD + body).frames)[0]
    assert (found.text, found.reply_tokens, found.total_ns) == ("a", None, None)
    assert capture_encoder.encode(found)


def test_overlapping_fragments_hold_no_more_than_two_packets() -> None:
    reader = PacketReader()
    body = tcp(1, 2, 0, 0, ACK, b"x" * 30_000)
    for place in range(1, 8000):
        part = ipv4(body[:24_000] + b"%d" % place, place=0x2000 | place)
        assert reader.read(1, ethernet(part)) is None
    held = sum(len(data) for parts in reader._fragments.values() for data in parts.pieces.values())
    assert held <= 2 * 65_535

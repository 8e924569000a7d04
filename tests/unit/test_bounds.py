"""Memory stays bounded in all, whatever waits, and what was given up for it says so."""

from __future__ import annotations

import struct

from nightdesk.core.capture.bounds import CHECK_BYTES, FIXED_BYTES, TOTAL_BYTES, WAITING_BYTES
from nightdesk.core.capture.drafts import DRAFT_BYTES
from nightdesk.core.capture.exchanges import Assembler
from nightdesk.core.capture.packets import ACK, FIN
from nightdesk.core.capture.streams import PENDING_BYTES, SEGMENT_BYTES
from nightdesk.model.exchange import Exchange, ExchangeSeen
from tests.support.wire import LAST, PSH, STREAM_HEAD, Talk, exchanges, piece, request

ASK = request({"model": "m", "prompt": "x"})


class Watched:
    """An assembler with the most that waited at any time."""

    def __init__(self) -> None:
        self.assembler = Assembler(frozenset({11434}), grow_every_ns=None)
        self.ended: list[Exchange] = []
        self.most = self.fed = 0

    def feed(self, talk: Talk) -> None:
        events = self.assembler.feed_frames(talk.frames)
        talk.frames.clear()
        self.ended += [event.exchange for event in events if isinstance(event, ExchangeSeen)]
        self.fed += 1
        if self.fed % 40:
            return
        flows = [tracked.flow for tracked in self.assembler._tracked.values() if tracked.flow]
        self.most = max(self.most, sum(flow.waiting_bytes for flow in flows))

    def finish(self) -> list[Exchange]:
        events = self.assembler.finish(1)
        return self.ended + [event.exchange for event in events if isinstance(event, ExchangeSeen)]


def test_what_waits_behind_lost_packets_is_bounded_over_thousands_of_connections() -> None:
    watched = Watched()
    for port in range(20_000, 22_000):
        talk = Talk(port).open().send(ASK).answer(STREAM_HEAD + piece("a"))
        talk.packet(1, PSH | ACK, piece("lost"), kept=False)
        for _ in range(2):
            talk.packet(1, PSH | ACK, piece("b" * 30_000))
        watched.feed(talk)
    assert CHECK_BYTES < watched.most <= WAITING_BYTES + CHECK_BYTES
    ends = watched.finish()
    assert len(ends) == 2_000 and {end.state for end in ends} == {"incomplete"}
    assert {end.missing_bytes.response for end in ends} == {len(piece("lost"))}
    assert {end.text for end in ends} <= {f"a⟨{len(piece('lost'))} bytes missing⟩" + "b" * 60_000}
    given_up = [end for end in ends if "not waited for" in (end.note or "")]
    assert len(given_up) > 1_000
    # The oldest first.
    assert max(end.connection for end in given_up) < min(
        end.connection for end in ends if end not in given_up
    )


def test_segments_of_one_byte_count_with_what_they_cost() -> None:
    watched = Watched()
    for port in range(20_000, 20_080):
        talk = Talk(port).open().send(ASK).answer(STREAM_HEAD)
        for _ in range(1_000):
            talk.packet(1, PSH | ACK, b"{", kept=False)
            talk.packet(1, PSH | ACK, b"x")
        watched.feed(talk)
    assert watched.most <= WAITING_BYTES + CHECK_BYTES * SEGMENT_BYTES


def test_thousands_of_pipelined_requests_are_given_up_and_say_so() -> None:
    watched = Watched()
    for port in range(20_000, 20_100):
        talk = Talk(port).open()
        talk.packet(0, PSH | ACK, b"GET /api/ps HTTP/1.1\r\n\r\n" * 200)
        watched.feed(talk)
    tracked = watched.assembler._tracked.values()
    running = sum(len(each.http.waiting) for each in tracked)
    assert running * DRAFT_BYTES <= FIXED_BYTES + CHECK_BYTES
    ends = watched.finish()
    assert len(ends) == 20_000 and {end.state for end in ends} == {"partial"}
    assert sum("Given up" in (end.note or "") for end in ends) >= 20_000 - running


def test_tool_calls_statuses_and_gaps_count_towards_the_text_that_is_kept() -> None:
    talk = Talk().open().send(request({"model": "m"}, "/api/chat")).answer(STREAM_HEAD)
    call = {"function": {"name": "f", "arguments": {"a": "x" * 900}}}
    for _ in range(40):
        talk.answer(piece("", message={"content": "", "tool_calls": [call]}))
    talk.answer(piece("", status="s" * 2_000)).answer(LAST)
    found = exchanges(talk.frames, max_body_bytes=10_000)[0]
    assert (len(found.tool_calls), found.statuses, found.done) == (10, (), True)
    assert found.note is not None and "The text is cut" in found.note


def test_an_error_without_end_is_cut() -> None:
    talk = Talk().open().send(ASK)
    data = STREAM_HEAD + piece("a", error="e" * 500_000) + LAST
    for at in range(0, len(data), 60_000):
        talk.answer(data[at : at + 60_000])
    found = exchanges(talk.frames)[0]
    assert found.state == "failed" and isinstance(found.error, str) and len(found.error) == 65_536


def test_a_server_that_sends_megabytes_after_the_clients_fin_is_read_by_somebody() -> None:
    talk = Talk().open().send(ASK)
    talk.packet(0, FIN | ACK)
    talk.answer(STREAM_HEAD)
    words = "w" * 50_000
    for _ in range(PENDING_BYTES // 50_000 + 5):
        talk.answer(piece(words))
    watched = Watched()
    watched.feed(talk)
    flow = next(iter(watched.assembler._tracked.values())).flow
    assert flow is not None and flow.waiting_bytes < PENDING_BYTES
    assert watched.finish()[0].text.startswith(words)


def test_the_bounds_leave_room_for_one_full_window() -> None:
    """What one connection may hold alone must not give up another."""
    assert WAITING_BYTES >= 4 * PENDING_BYTES and TOTAL_BYTES >= WAITING_BYTES
    assert struct.calcsize("Q") * 20_000 < TOTAL_BYTES // 100

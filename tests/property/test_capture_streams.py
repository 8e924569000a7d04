"""The result does not depend on how a capture is cut, ordered or repeated; nothing that comes in raises."""

from __future__ import annotations

import random
from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nightdesk.core.capture.exchanges import Assembler
from nightdesk.core.capture.pcap import PcapReader
from nightdesk.model.errors import CaptureError
from nightdesk.model.exchange import Exchange, ExchangeSeen
from tests.support.wire import LAST, STREAM_HEAD, Talk, exchanges, frames_of, pcap, piece, recording, request


def night() -> Talk:
    """Two requests on one connection, a head in two parts, tokens in ones and threes."""
    talk = Talk(client_isn=0xFFFFFF00, server_isn=0xFFFFFF80).open()
    ask = request({"model": "m", "prompt": "one"})
    talk.send(ask[:60]).send(ask[60:])
    talk.answer(STREAM_HEAD + piece("The ")).answer(piece("quick ")).answer(
        piece("brown ") + piece("fox ") + piece("jumps")
    )
    talk.answer(LAST)
    talk.send(request({"model": "m", "prompt": "two"}))
    talk.answer(STREAM_HEAD).answer(piece("é ")[:40]).answer(piece("é ")[40:] + piece("done")).answer(
        LAST[:-5]
    ).answer(LAST[-5:])
    return talk.close()


def read_file(blocks: list[bytes]) -> list[Exchange]:
    reader, assembler, events = PcapReader(), Assembler(None, grow_every_ns=None), []
    last = 0
    for block in blocks:
        for frame in reader.feed(block):
            last = frame[1]
            events += assembler.feed_frame(*frame)
    reader.finish()
    events += assembler.finish(last)
    found = [event.exchange for event in events if isinstance(event, ExchangeSeen)]
    return sorted(found, key=lambda exchange: exchange.id)


WHOLE = exchanges(night().frames)


def test_the_night_is_what_it_should_be() -> None:
    assert [(e.state, e.text, e.position) for e in WHOLE] == [
        ("complete", "The quick brown fox jumps", 1),
        ("complete", "é done", 2),
    ]


def test_a_file_byte_by_byte_gives_the_same() -> None:
    data = pcap(night().frames, nano=True)
    assert read_file([data[i : i + 1] for i in range(len(data))]) == WHOLE


@given(st.lists(st.integers(0, 6000), max_size=12), st.booleans(), st.sampled_from("<>"))
def test_random_cuts_of_a_file_give_the_same(cuts: list[int], nano: bool, order: str) -> None:
    data = pcap(night().frames, order=order, nano=nano)
    places = [0, *sorted(cuts), len(data)]
    assert read_file([data[a:b] for a, b in pairwise(places)]) == WHOLE


def content(found: list[Exchange]) -> list[tuple[object, ...]]:
    return [
        (e.state, e.text, e.fragments, e.request_sha256, e.response_sha256, e.status, e.done, e.position)
        for e in found
    ]


@given(st.integers(0, 2**32), st.integers(1, 9))
def test_packets_out_of_order_within_a_window_change_nothing(seed: int, window: int) -> None:
    dice = random.Random(seed)
    frames = night().frames
    order = sorted(range(len(frames)), key=lambda i: i + dice.random() * window)
    times = [frame[1] for frame in frames]
    moved = [(frames[i][0], at, frames[i][2]) for i, at in zip(order, times, strict=True)]
    assert content(exchanges(moved)) == content(WHOLE)


@given(st.integers(0, 2**32))
def test_packets_seen_twice_change_nothing(seed: int) -> None:
    dice = random.Random(seed)
    twice = [copy for frame in night().frames for copy in [frame] * dice.choice((1, 2, 2, 3))]
    assert exchanges(twice) == WHOLE


@settings(max_examples=60)
@given(st.sets(st.integers(3, 40), min_size=1, max_size=6))
def test_lost_packets_never_move_text_between_exchanges(lost: set[int]) -> None:
    frames = [frame for index, frame in enumerate(night().frames) if index not in lost]
    words = [{"The ", "quick ", "brown ", "fox ", "jumps"}, {"é ", "done"}]
    for found in exchanges(frames):
        whole = found.prompt and found.prompt.prompt
        text = "".join(found.text_pieces) if found.text_pieces is not None else found.text
        mine = words[0] if whole == "one" else words[1] if whole == "two" else words[0] | words[1]
        for word in mine:
            text = text.replace(word, "", 1)
        assert text == "", (whole, found.text)


@pytest.mark.parametrize("name", ["10-client-abort", "07-openai-anthropic-compat"])
def test_a_recording_frame_by_frame_gives_the_same_as_in_one_go(name: str) -> None:
    frames = frames_of(recording(f"{name}.pcap"))
    data = recording(f"{name}.pcap").read_bytes()
    assert read_file([data[i : i + 777] for i in range(0, len(data), 777)]) == exchanges(frames)


@given(st.binary(max_size=400), st.sampled_from([0, 1, 12, 101, 108, 113, 276, 999]))
def test_garbage_frames_raise_nothing(frame: bytes, link: int) -> None:
    assembler = Assembler(None)
    assembler.feed_frame(link, 1, frame)
    assembler.finish(2)


@settings(max_examples=200)
@given(st.integers(0, 2**32), st.integers(1, 12))
def test_flipped_bytes_raise_nothing(seed: int, flips: int) -> None:
    dice = random.Random(seed)
    frames = [(link, at, bytearray(frame)) for link, at, frame in night().frames]
    for _ in range(flips):
        frame = dice.choice(frames)[2]
        frame[dice.randrange(14, len(frame))] = dice.randrange(256)
    exchanges([(link, at, bytes(frame)) for link, at, frame in frames])


@given(st.binary(max_size=300))
def test_garbage_files_raise_only_our_error(data: bytes) -> None:
    for start in (b"", b"\xd4\xc3\xb2\xa1", b"\x0a\x0d\x0d\x0a\x1c\0\0\0\x4d\x3c\x2b\x1a"):
        reader = PcapReader()
        with suppress(CaptureError):
            reader.feed(start + data)
            reader.finish()


@given(st.lists(st.tuples(st.booleans(), st.binary(max_size=120)), max_size=12))
def test_garbage_on_a_relay_raises_nothing(parts: list[tuple[bool, bytes]]) -> None:
    assembler = Assembler(frozenset({1}))
    for is_request, data in parts:
        assembler.feed_bytes(
            "c", "127.0.0.1:1", "127.0.0.1:2", "request" if is_request else "response", 5, data
        )
    assembler.close_bytes("c", "request", 6)
    assembler.close_bytes("c", "response", 7)
    assembler.finish(8)

"""One function for each part of the capture core: makes an input from the dice, feeds it, checks what must hold."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from functools import cache

import msgspec

from nightdesk.core.capture.bursts import Frame
from nightdesk.core.capture.dialects.choice import choose
from nightdesk.core.capture.dialects.prompts import read_prompt
from nightdesk.core.capture.dialects.reply import Reply
from nightdesk.core.capture.drafts import Draft
from nightdesk.core.capture.exchanges import Assembler, CaptureEvent
from nightdesk.core.capture.heads import Head
from nightdesk.core.capture.http1 import HEAD_LIMIT, LOST_LIMIT, Body, MessageReader
from nightdesk.core.capture.packets import FRAGMENTED_PACKETS, PacketReader
from nightdesk.core.capture.pcap import PcapReader
from nightdesk.model.errors import CaptureError
from nightdesk.model.exchange import Exchange, ExchangeGrew, ExchangeSeen, capture_encoder
from tests.fuzz.mutations import broken, flipped, hurt, merged, pieces
from tests.fuzz.samples import BODIES, FILES, FRAMES, PROMPTS, REQUESTS, RESPONSES, WORDS, recording
from tests.support.damage import KINDS, Talked, as_live, case_at, faults, own_faults, talks
from tests.support.wire import RECORDINGS, frames_of

_packets = PacketReader()
TALK_FRAMES = 400
"""Longer connections take too long to be read again and again."""


def fuzz_packets(dice: random.Random) -> None:
    """A broken frame gives a segment that lies within it, or none; fragments are bounded."""
    link, frame = dice.choice(FRAMES)
    frame = broken(frame, dice)
    segment = _packets.read(link if dice.random() < 0.9 else dice.randrange(300), frame)
    assert len(_packets._fragments) <= FRAGMENTED_PACKETS
    if segment is not None:
        assert len(segment.payload) <= 65_535 and len(segment.key) in (12, 36)


def fuzz_files(dice: random.Random) -> None:
    """A broken file gives frames no longer than itself, or our error."""
    data = broken(dice.choice(FILES), dice)
    reader = PcapReader()
    total = 0
    with suppress(CaptureError):
        for part in pieces(data, dice):
            for link, at_ns, frame in reader.feed(part):
                total += len(frame)
                assert link >= 0 and -(2**63) <= at_ns < 2**63
        reader.finish()
    assert total <= len(data)


def fuzz_http1(dice: random.Random) -> None:
    """Broken messages, with gaps: no byte appears that was not fed, and little is held."""
    is_request = dice.random() < 0.5
    source = REQUESTS if is_request else RESPONSES
    reader = MessageReader("request" if is_request else "response", lambda: dice.random() < 0.1)
    if dice.random() < 0.2:
        reader.begin_lost()
    data = broken(b"".join(dice.choice(source) for _ in range(dice.randint(1, 3))), dice)
    fed = body = 0
    for part in pieces(data, dice):
        fed += len(part)
        for event in reader.feed(part):
            body += len(event.data) if isinstance(event, Body) else 0
            assert not isinstance(event, Head) or event.start[0]
        assert reader.held_bytes <= max(HEAD_LIMIT, LOST_LIMIT) + len(part)
        if dice.random() < 0.1:
            dice.choice((reader.gap, reader.cut))(dice.choice((1, 7, 400, 10**6)))
    body += sum(len(event.data) for event in reader.eof() if isinstance(event, Body))
    assert body <= fed


def fuzz_dialects(dice: random.Random) -> None:
    """Broken bodies of every dialect, as lines, events and documents; what is understood can be printed."""
    path, body, form = dice.choice(BODIES)
    if dice.random() < 0.1:
        path, body, form = dice.choice(BODIES)[0], body, dice.choice(("ndjson", "sse", "json"))
    body = broken(body, dice)
    dialect, operation, make = choose(path)
    reply = Reply(100_000)
    reader = make(reply)
    read = {"ndjson": reader.read_lines, "sse": reader.read_events, "json": reader.read_document}[form]
    for part in [body] if form == "json" else pieces(body, dice):
        read(part)
    reader.finish()
    prompt, model = read_prompt(dialect, operation, broken(dice.choice(PROMPTS), dice))
    counts = [reply.prompt_tokens, reply.reply_tokens, reply.load_ns, reply.total_ns, reply.generation_ns]
    assert all(value is None or 0 <= value < 2**63 for value in counts)
    msgspec.json.encode([reply.text(), reply.thinking, reply.tool_calls, reply.error, prompt, model, counts])
    assert len(reply.text()) + sum(map(len, reply.thinking)) <= 100_000


def fuzz_drafts(dice: random.Random) -> None:
    """Broken bodies behind a true head, piece by piece, with gaps and codings."""
    path, body, form = dice.choice(BODIES)
    kind = {"ndjson": "application/x-ndjson", "sse": "text/event-stream", "json": "application/json"}[form]
    draft = Draft(1, 1, 1, "full", dice.choice((64, 4096, 4_000_000)), 5)
    if path is not None:
        draft.take_request_head(Head(0, ("POST", path, "HTTP/1.1"), _coding(dice)))
        draft.take_request_body(broken(dice.choice(PROMPTS), dice))
        draft.finish_request()
    if dice.random() < 0.9:
        draft.take_response_head(
            Head(0, ("HTTP/1.1", "200", "OK"), (("content-type", kind), *_coding(dice))), 7
        )
    for part in pieces(broken(body, dice), dice):
        draft.take_response_body(part, dice.randrange(100))
        if dice.random() < 0.1:
            draft.take_gap(dice.randint(1, 999))
    draft.response_done = dice.random() < 0.8
    draft.finish_response()
    draft.state = draft.final_state(at_end=True)
    capture_encoder.encode(draft.build("c", "s"))


def _coding(dice: random.Random) -> tuple[tuple[str, str], ...]:
    if dice.random() < 0.8:
        return ()
    return (
        ("Content-Encoding", dice.choice(("gzip", "deflate", "br", "zstd", "gzip, gzip", "x", "identity"))),
    )


def fuzz_losses(dice: random.Random) -> None:
    """Packets that are lost, late, doubled or shortened never move text into another exchange."""
    frames = hurt(recording(dice), dice)
    if dice.random() < 0.2:
        frames = merged(frames, hurt(recording(dice), dice), dice)
        _expect_own_words(_run(frames, dice), most=2)
        return
    _expect_own_words(_run(frames, dice), most=1)


def fuzz_recordings(dice: random.Random) -> None:
    """Broken packets raise nothing, and everything that is said about them can be printed."""
    frames = recording(dice)
    if dice.random() < 0.3:
        frames = hurt(frames, dice)
    if dice.random() < 0.2:
        frames = merged(frames, recording(dice), dice)
    _run(flipped(frames, dice), dice, has_clock=True)


def fuzz_relays(dice: random.Random) -> None:
    """Broken bytes behind a relay, both ways at once."""
    assembler = Assembler(None, grow_every_ns=dice.choice((None, 0)))
    ends = ("127.0.0.1:5", "127.0.0.1:11434")
    parts: dict[str, list[bytes]] = {
        "request": pieces(broken(b"".join(dice.choices(REQUESTS, k=2)), dice), dice),
        "response": pieces(broken(b"".join(dice.choices(RESPONSES, k=2)), dice), dice),
    }
    at = 0
    while parts["request"] or parts["response"]:
        at += 1
        side = (
            "request" if (dice.random() < 0.6 and parts["request"]) or not parts["response"] else "response"
        )
        _print(
            assembler.feed_bytes(
                "k", *ends, "request" if side == "request" else "response", at, parts[side].pop(0)
            )
        )
    for side in dice.sample(("request", "response"), dice.randint(0, 2)):
        _print(assembler.close_bytes("k", "request" if side == "request" else "response", at))
    _print(assembler.finish(at))


@cache
def _talks() -> list[Talked]:
    """The connections of all recordings; none where the recordings are absent."""
    files = sorted(RECORDINGS.glob("*.pcap"))
    recordings = [frames_of(path) for path in files]
    found = [talk for frames in recordings for talk in (*talks(frames), *talks(as_live(frames)))]
    return [talk for talk in found if len(talk.frames) < TALK_FRAMES]


def fuzz_damages(dice: random.Random) -> None:
    """Real connections with damage at one packet, or with much of it, tell what is there and nothing else."""
    if not _talks():
        return
    talk = dice.choice(_talks())
    if dice.random() < 0.5:
        wrong = faults(talk, case_at(talk, dice.choice(KINDS), dice.randrange(len(talk.frames))))
    else:
        wrong = own_faults(talk, hurt(talk.frames, dice))
    assert not wrong, (talk.truth[0].client_addr, wrong)


def _run(frames: list[Frame], dice: random.Random, *, has_clock: bool = False) -> list[CaptureEvent]:
    """All events of an assembler; every one is printed as the capture process does."""
    ports = dice.choice((None, frozenset({11434})))
    grow = dice.choice((None, 0, 100_000_000))
    assembler = Assembler(ports, grow_every_ns=grow, max_body_bytes=dice.choice((200, 4_000_000)))
    events: list[CaptureEvent] = []
    step = dice.choice((1, 7, 10_000))
    now = 0
    for start in range(0, len(frames), step):
        burst = frames[start : start + step]
        events += assembler.feed_frames(burst)
        now = max(now, *(at for _, at, _ in burst))
        if has_clock and dice.random() < 0.02:
            events += assembler.tick(now + dice.choice((0, 10**10)))
    events += assembler.finish(now)
    _print(events)
    assert not (assembler._tracked or assembler._lanes or assembler._by_number or assembler._timed)
    ended = [e.exchange.id for e in events if isinstance(e, ExchangeSeen) and e.exchange.state != "running"]
    assert len(ended) == len(set(ended)), "an exchange ended twice"
    return events


def _print(events: list[CaptureEvent]) -> None:
    for event in events:
        if isinstance(event, ExchangeSeen | ExchangeGrew):
            capture_encoder.encode(event)


def _expect_own_words(events: list[CaptureEvent], most: int) -> None:
    """An exchange holds one word only. Two captures may use the same word and the same ports: then ``most`` are two."""
    for event in events:
        if isinstance(event, ExchangeSeen) and event.exchange.state != "running":
            found = words_in(event.exchange)
            assert len(found) <= most, f"{found} in one exchange: {event.exchange}"


def words_in(exchange: Exchange) -> set[str]:
    """The words in all content of an exchange."""
    parts = (exchange.text, exchange.thinking, exchange.error, exchange.prompt, exchange.request_body,
             exchange.response_body)  # fmt: skip
    content = msgspec.json.encode(parts).decode()
    return {word for word in WORDS if word in content}


TARGETS: dict[str, tuple[int, Callable[[random.Random], None]]] = {
    "packets": (300, fuzz_packets),
    "files": (120, fuzz_files),
    "http1": (200, fuzz_http1),
    "dialects": (200, fuzz_dialects),
    "drafts": (100, fuzz_drafts),
    "relays": (40, fuzz_relays),
    "losses": (25, fuzz_losses),
    "recordings": (15, fuzz_recordings),
    "damages": (20, fuzz_damages),
}
"""Name: share of the inputs in thousandths, and the function."""

"""Recordings with damage of one kind at one place, and what must hold for what is read of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from nightdesk.core.capture.bursts import Frame
from nightdesk.core.capture.packets import PacketReader, Segment
from nightdesk.model.exchange import Exchange
from tests.support.wire import ACK, MASK, RST, exchanges


@dataclass(slots=True)
class Talked:
    """One connection of a recording, with the exchanges of the undamaged packets."""

    frames: list[Frame] = field(default_factory=list)
    segments: list[Segment] = field(default_factory=list)
    truth: list[Exchange] = field(default_factory=list)

    def owner(self, index: int) -> int:
        """The exchange in which a packet falls: its place in ``truth``."""
        at_ns = self.frames[index][1]
        return max((n for n, t in enumerate(self.truth) if t.started_ns <= at_ns), default=0)


def talks(frames: list[Frame]) -> list[Talked]:
    """The connections of a recording that hold exchanges."""
    found: dict[frozenset[bytes], Talked] = defaultdict(Talked)
    reader = PacketReader()
    for frame in frames:
        segment = reader.read(frame[0], frame[2])
        if segment is not None:
            half = (len(segment.key) - 4) // 2
            ends = {segment.key[:half] + segment.key[-4:-2], segment.key[half : 2 * half] + segment.key[-2:]}
            talk = found[frozenset(ends)]
            talk.frames.append(frame)
            talk.segments.append(segment)
    for talk in found.values():
        talk.truth = exchanges(talk.frames)
    return [talk for talk in found.values() if talk.truth]


def as_live(frames: list[Frame]) -> list[Frame]:
    """What a live capture sees of them: the kernel leaves acknowledgements without bytes out."""
    reader = PacketReader()
    segments = [reader.read(link, frame) for link, _, frame in frames]
    return [frame for frame, s in zip(frames, segments, strict=True) if s and (s.payload or s.flags & 7)]


Case = tuple[str, int, list[Frame]]
"""What was done, at which packet, and what is left."""


KINDS = ("dropped", "two dropped", "doubled", "swapped", "first", "last")


def case_at(talk: Talked, kind: str, at: int) -> Case:
    """A packet dropped, its neighbour too, doubled, swapped with the next, made the first or the last."""
    frames = talk.frames
    left = {
        "dropped": frames[:at] + frames[at + 1 :],
        "two dropped": frames[:at] + frames[at + 2 :],
        "doubled": [*frames[: at + 3], frames[at], *frames[at + 3 :]],
        "swapped": [*frames[:at], *_retimed(frames[at : at + 2]), *frames[at + 2 :]],
        "first": frames[at:],
        "last": frames[: at + 1],
    }
    return kind, at, left[kind]


def cases(talk: Talked) -> Iterator[Case]:
    """Every kind of damage at every packet."""
    for at in range(len(talk.frames)):
        yield from (case_at(talk, kind, at) for kind in KINDS)


def _retimed(pair: list[Frame]) -> list[Frame]:
    """In the other order, each with the time of the other."""
    times = [at_ns for _, at_ns, _ in pair]
    return [(link, at_ns, frame) for (link, _, frame), at_ns in zip(pair[::-1], times, strict=True)]


def faults(talk: Talked, case: Case) -> list[str]:
    """What is wrong with the reading of a damaged connection; empty where nothing is."""
    what, at, frames = case
    found = exchanges(frames)
    wrong = [why for exchange in found for why in _own(talk, exchange)]
    if what in ("doubled", "swapped") or (what == "dropped" and not _matters(talk, at)):
        told, wanted = [_content(e) for e in found], [_content(e) for e in talk.truth]
        if told != wanted:
            wrong.append(f"changed: {_difference(told, wanted)}")
        return wrong
    whole = [_content(t) for n, t in enumerate(talk.truth) if _is_untouched(talk, case, n)]
    told = [_content(e) for e in found]
    wrong += [f"an untouched exchange is not as it was: {row[:6]}" for row in whole if row not in told]
    if what == "dropped" and talk.segments[at].payload:
        wrong += _lost(talk, at, found)
    return wrong


def own_faults(talk: Talked, frames: list[Frame]) -> list[str]:
    """What is wrong with exchanges of a connection of which only these packets are left, whatever happened to them."""
    return [why for exchange in exchanges(frames) for why in _own(talk, exchange)]


def _matters(talk: Talked, at: int) -> bool:
    segment = talk.segments[at]
    return bool(segment.payload or segment.flags & 7)


def _is_untouched(talk: Talked, case: Case, number: int) -> bool:
    what, at, _ = case
    last = at + 1 if what == "two dropped" else at
    owners = {talk.owner(min(index, len(talk.frames) - 1)) for index in (at, last)}
    if what in ("dropped", "two dropped"):
        return number not in owners
    started, ended = talk.truth[number].started_ns, talk.truth[number].ended_ns
    if what == "first":
        return started > talk.frames[at][1]
    return ended is not None and talk.truth[number].state == "complete" and number < talk.owner(at)


def _own(talk: Talked, found: Exchange) -> list[str]:
    """An exchange says nothing that is not in one exchange of the truth, and is complete only if all of it is there."""
    pieces = found.text_pieces if found.text_pieces is not None else (found.text,)
    homes = [t for t in talk.truth if _is_part(pieces, t.text) and found.path in (None, t.path)]
    if not homes:
        return [f"text of nobody: {pieces}"]
    is_whole = _content(found) in [_content(t) for t in homes]
    missing = found.missing_bytes.response or found.missing_bytes.request
    if not is_whole and (found.state == "complete" or (missing and found.state in ("failed", "aborted"))):
        return [f"{found.state} but not whole: {_content(found)[:6]}"]
    if len(found.fragment_gaps_ns) != found.fragments:
        return ["times and fragments differ"]
    return []


def _is_part(pieces: tuple[str, ...], text: str) -> bool:
    at = 0
    for piece in pieces:
        at = text.find(piece, at)
        if at < 0:
            return False
        at += len(piece)
    return True


def _lost(talk: Talked, at: int, found: list[Exchange]) -> list[str]:
    """A lost packet with bytes makes its exchange incomplete, and the number of bytes is known where it was read."""
    segment = talk.segments[at]
    missing = sum(e.missing_bytes.response + e.missing_bytes.request for e in found)
    others = talk.segments[:at] + talk.segments[at + 1 :]
    if any((other.key, other.seq) == (segment.key, segment.seq) and other.payload for other in others):
        return [] if missing == 0 else [f"{missing} bytes missing that came twice"]
    if not any(_has_read(other, segment) for other in others):
        return []
    if missing != len(segment.payload) or not any(e.state == "incomplete" for e in found):
        return [f"{missing} bytes missing of {len(segment.payload)}, {[e.state for e in found]}"]
    return []


def _has_read(other: Segment, lost: Segment) -> bool:
    """The receiver of a lost packet acknowledged it: and so had all before it left."""
    ahead = (other.ack - lost.seq - len(lost.payload)) & MASK
    return other.key != lost.key and other.flags & (ACK | RST) == ACK and ahead < 1 << 31


def _content(e: Exchange) -> tuple[object, ...]:
    return (
        e.path, e.state, e.text, e.status, e.fragments, e.done, e.thinking, e.tool_calls, e.error, e.request_sha256,
        e.response_sha256, e.embeddings, e.missing_bytes, e.aborted_by,
    )  # fmt: skip


def _difference(told: list[tuple[object, ...]], wanted: list[tuple[object, ...]]) -> str:
    if len(told) != len(wanted):
        return f"{len(told)} exchanges, not {len(wanted)}"
    rows = [(a, b) for a, b in zip(told, wanted, strict=True) if a != b]
    return str([[(x, y) for x, y in zip(a, b, strict=True) if x != y] for a, b in rows])

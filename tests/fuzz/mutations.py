"""Damage: to bytes, and to the packets of a recording. Everything depends on the given dice alone."""

from __future__ import annotations

import random
import struct

from nightdesk.core.capture.bursts import Frame

WORDS = (
    b"\r\n", b"\n", b"\n\n", b"0\r\n\r\n", b"HTTP/1.1 200 OK\r\n", b"POST /api/chat HTTP/1.1\r\n", b"chunked",
    b"Transfer-Encoding: chunked\r\n", b"Content-Length: 7\r\n", b"Content-Encoding: gzip\r\n", b"ffffffff\r\n",
    b"data: ", b"event: ", b"[DONE]", b"null", b"true", b'"', b"{", b"}", b"[", b"]", b",", b":", b"-1", b"1e999",
    b"99999999999999999999999999", b'"\\ud800"', b"\\u0000", b"\xff\xfe", b"\xe2\x9f\xa8", b"\0\0\0\0",
    b"\xff\xff\xff\xff", b"\x08\x00", b"\x86\xdd", b"\x81\x00", b"Expect: 100-continue\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n",
)  # fmt: skip


def broken(data: bytes, dice: random.Random) -> bytes:
    """The bytes with one to six faults."""
    out = bytearray(data)
    for _ in range(dice.choice((1, 1, 1, 2, 3, 6))):
        dice.choice(_FAULTS)(out, dice)
    return bytes(out)


def _flip(out: bytearray, dice: random.Random) -> None:
    if out:
        out[dice.randrange(len(out))] ^= 1 << dice.randrange(8)


def _overwrite(out: bytearray, dice: random.Random) -> None:
    if out:
        out[dice.randrange(len(out))] = dice.choice(
            (0, 1, 0x7F, 0x80, 0xFF, 10, 13, 34, 48, dice.randrange(256))
        )


def _insert(out: bytearray, dice: random.Random) -> None:
    at = dice.randint(0, len(out))
    out[at:at] = dice.choice(WORDS)


def _cut(out: bytearray, dice: random.Random) -> None:
    at = dice.randint(0, len(out))
    del out[at : at + dice.choice((1, 2, 8, 64, 512))]


def _end(out: bytearray, dice: random.Random) -> None:
    del out[dice.randint(0, len(out)) :]


def _repeat(out: bytearray, dice: random.Random) -> None:
    at = dice.randint(0, len(out))
    part = bytes(out[at : at + dice.choice((1, 4, 32, 256))])
    out[at:at] = part * dice.choice((1, 2, 40))


def _number(out: bytearray, dice: random.Random) -> None:
    if len(out) >= 4:
        at = dice.randrange(len(out) - 3)
        out[at : at + 4] = struct.pack(dice.choice("<>") + "I", dice.choice((0, 1, 2**16, 2**31, 2**32 - 1)))


_FAULTS = (_flip, _overwrite, _insert, _cut, _end, _repeat, _number)


def pieces(data: bytes, dice: random.Random) -> list[bytes]:
    """The bytes in parts: mostly few, sometimes many."""
    most = dice.choice((0, 1, 3, 12))
    places = sorted(dice.randint(0, len(data)) for _ in range(dice.randint(0, most)))
    return [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]


# What can happen to packets on their way into a file. The packets that are left are true.


def hurt(frames: list[Frame], dice: random.Random) -> list[Frame]:
    """The packets with one to three kinds of loss, repetition and disorder; never with other bytes."""
    for _ in range(dice.choice((1, 1, 2, 3))):
        frames = dice.choice(_HURTS)(frames, dice)
    return frames


def _without_start(frames: list[Frame], dice: random.Random) -> list[Frame]:
    return frames[dice.randint(0, len(frames)) :]


def _without_end(frames: list[Frame], dice: random.Random) -> list[Frame]:
    return frames[: dice.randint(0, len(frames))]


def _lossy(frames: list[Frame], dice: random.Random) -> list[Frame]:
    share = dice.choice((0.01, 0.05, 0.2, 0.6))
    return [frame for frame in frames if dice.random() > share]


def _with_hole(frames: list[Frame], dice: random.Random) -> list[Frame]:
    at = dice.randint(0, len(frames))
    return frames[:at] + frames[at + dice.randint(1, 12) :]


def _disordered(frames: list[Frame], dice: random.Random) -> list[Frame]:
    window = dice.choice((2, 4, 12))
    order = sorted(range(len(frames)), key=lambda i: i + dice.random() * window)
    times = [frame[1] for frame in frames]
    return [(frames[i][0], at, frames[i][2]) for i, at in zip(order, times, strict=True)]


def _repeated(frames: list[Frame], dice: random.Random) -> list[Frame]:
    return [copy for frame in frames for copy in [frame] * dice.choice((1, 1, 1, 2, 3))]


def _late_copies(frames: list[Frame], dice: random.Random) -> list[Frame]:
    out = list(frames)
    for _ in range(dice.randint(1, 5)):
        if frames:
            at = dice.randrange(len(frames))
            link, _, frame = frames[at]
            later = dice.randint(at, len(frames) - 1)
            out.append((link, frames[later][1], frame))
    return sorted(out, key=lambda frame: frame[1])


def _short(frames: list[Frame], dice: random.Random) -> list[Frame]:
    snap = dice.choice((40, 60, 68, 96, 200))
    return [(link, at, frame[:snap] if dice.random() < 0.3 else frame) for link, at, frame in frames]


def _slow(frames: list[Frame], dice: random.Random) -> list[Frame]:
    at, pause = dice.randint(0, len(frames)), dice.choice((10**9, 11 * 10**9, 10**13))
    return frames[:at] + [(link, when + pause, frame) for link, when, frame in frames[at:]]


_HURTS = (
    _without_start, _without_end, _lossy, _lossy, _with_hole, _disordered, _repeated, _late_copies, _short, _slow,
)  # fmt: skip


def flipped(frames: list[Frame], dice: random.Random) -> list[Frame]:
    """The packets, some with faults inside."""
    share = dice.choice((0.02, 0.1, 0.5))
    return [(link, at, broken(frame, dice) if dice.random() < share else frame) for link, at, frame in frames]


def merged(first: list[Frame], second: list[Frame], dice: random.Random) -> list[Frame]:
    """Two captures in one file: by time, or one behind the other."""
    if dice.random() < 0.3:
        return first + second
    return sorted(first + second, key=lambda frame: frame[1])

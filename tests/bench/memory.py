"""Two million packets of a bad night through the capture core: how much memory is left in use, and does it grow?

``python -m tests.bench.memory [PACKETS]`` prints one JSON object. Nothing is stored: packets are made as they are
needed, with many short connections, some that never end, losses, aborts, and replies of a megabyte.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from nightdesk.core.capture.bursts import Frame
from nightdesk.core.capture.exchanges import Assembler
from nightdesk.model.exchange import ExchangeSeen, capture_encoder
from tests.support.wire import LAST, RST, STREAM_HEAD, Talk, piece, request

PACKETS = 2_000_000
BURST = 2_000
LINE = piece("forty-two characters of text in one token ")
BODY = b'{"model":"m","response":"' + b"x" * 1_000_000 + b'","done":true}'
WHOLE = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY


def night(packets: int) -> Iterator[list[Frame]]:
    """Bursts of frames, ``packets`` in all."""
    dice, port, now, made = random.Random(7), 1024, Talk().at_ns, 0
    waiting: list[Frame] = []
    while made < packets:
        port = 1024 + (port - 1023) % 60_000
        talk = Talk(port, client_isn=dice.randrange(2**32), server_isn=dice.randrange(2**32), step_ns=200_000)
        talk.at_ns = now
        waiting += _connection(talk, dice)
        now = talk.at_ns
        while len(waiting) >= BURST:
            burst, waiting = waiting[:BURST], waiting[BURST:]
            made += len(burst)
            yield burst


def _connection(talk: Talk, dice: random.Random) -> list[Frame]:
    talk.open()
    for _ in range(dice.randint(1, 6)):
        talk.send(request({"model": "m", "prompt": "a question " * dice.choice((1, 20, 2000))}))
        if dice.random() < 0.02:
            for at in range(0, len(WHOLE), 32_000):
                talk.answer(WHOLE[at : at + 32_000])
            continue
        talk.answer(STREAM_HEAD)
        for _ in range(dice.randint(10, 60)):
            talk.answer(LINE)
        if dice.random() < 0.1:
            break
        talk.answer(LAST)
    end = dice.random()
    if end < 0.7:
        talk.close()
    elif end < 0.8:
        talk.packet(0, RST)
    return [frame for frame in talk.frames if dice.random() > 0.002]


def resident_bytes() -> int:
    """Memory of this process, now."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0


def live_through(packets: int) -> dict[str, float]:
    """Resident memory in the middle and at the end, the highest seen, and what was found."""
    assembler = Assembler(frozenset({11434}))
    done = seen = middle = highest = 0
    began, next_tick = time.process_time(), 0
    for burst in night(packets):
        events = assembler.feed_frames(burst)
        now = burst[-1][1]
        if now > next_tick:
            events += assembler.tick(now)
            next_tick = now + 100_000_000
        for event in events:
            if isinstance(event, ExchangeSeen):
                capture_encoder.encode(event)
                done += event.exchange.state != "running"
        seen += len(burst)
        if seen % (50 * BURST) == 0:
            highest = max(highest, resident_bytes())
        if not middle and seen >= packets // 2:
            middle = resident_bytes()
    return {
        "packets": seen, "exchanges": done, "seconds": round(time.process_time() - began, 1),
        "middle_bytes": middle, "end_bytes": resident_bytes(), "highest_bytes": highest,
    }  # fmt: skip


def child(packets: int) -> dict[str, float]:
    """The same in a process of its own."""
    argv = [sys.executable, "-m", "tests.bench.memory", str(packets)]
    ran = subprocess.run(argv, cwd=Path(__file__).parents[2], check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(ran.stdout)
    return found


def measure() -> list[tuple[str, str, str]]:
    """The rows of the bench's page."""
    found = child(PACKETS)
    end, grown = found["end_bytes"], found["end_bytes"] - found["middle_bytes"]
    return [
        (f"memory after {found['packets']:,} packets of a bad night", f"{end / 1e6:.0f} MB", "150 MB"),
        ("growth in the second half", f"{grown / 1e6:.1f} MB", "none"),
    ]


def main() -> int:
    """Print the measurement."""
    packets = int(sys.argv[1]) if len(sys.argv) > 1 else PACKETS
    sys.stdout.write(json.dumps(live_through(packets)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

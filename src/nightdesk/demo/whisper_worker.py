"""The orphan of the demo: holds 100 MB and sleeps, as a worker does whose parent forgot it.

It ends when its mark file goes away, and after half an hour in any case.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

HELD_BYTES = 100_000_000
LIFE_S = 1800.0
LOOK_S = 1.0


def hold(mark: Path) -> int:
    """The number of bytes it held, once the mark is gone or its time is over."""
    held = bytearray(b"\x01") * HELD_BYTES
    until = time.monotonic() + LIFE_S
    while mark.exists() and time.monotonic() < until:
        time.sleep(LOOK_S)
    mark.unlink(missing_ok=True)
    return len(held)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Pretend to be a warm Whisper worker.")
    parser.add_argument("--model", default="large-v3")
    parser.add_argument("--while", dest="mark", type=Path, required=True)
    hold(parser.parse_args().mark)

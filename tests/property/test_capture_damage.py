"""Every recording, with one packet lost, doubled, swapped, made the first or the last, one after the other."""

from __future__ import annotations

import random

import pytest

from tests.support.damage import Case, Talked, as_live, cases, faults, talks
from tests.support.wire import RECORDINGS, frames_of, recording

LONGEST = 400
"""Packets of a connection: each is read again for each of its packets."""
SAMPLE = 80
"""Damaged connections of each recording; ``make fuzz`` takes all of them."""
NAMES = sorted(path.stem for path in RECORDINGS.glob("*.pcap"))


def damaged(name: str, source: str) -> list[tuple[Talked, Case]]:
    """All damaged connections of a recording."""
    frames = frames_of(recording(f"{name}.pcap"))
    found = talks(as_live(frames) if source == "live" else frames)
    return [(talk, case) for talk in found if len(talk.frames) < LONGEST for case in cases(talk)]


@pytest.mark.parametrize("source", ["file", "live"])
@pytest.mark.parametrize("name", NAMES)
def test_damage_at_any_packet_moves_no_text_and_is_told(name: str, source: str) -> None:
    dice = random.Random(20_251_121)
    everything = damaged(name, source)
    for talk, case in dice.sample(everything, min(SAMPLE, len(everything))):
        assert faults(talk, case) == [], (talk.truth[0].client_addr, case[:2])

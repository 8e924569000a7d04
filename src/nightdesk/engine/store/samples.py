"""Samples in three resolutions: which ones are due, how they are read."""

from __future__ import annotations

import sqlite3

import msgspec

from nightdesk.core.sensors.sample_means import merged
from nightdesk.model.sample import Sample

TIERS = ((1, 3600), (10, 2 * 86_400), (60, 31 * 86_400))
"""(seconds between samples, seconds they are kept)"""
MOST_HELD = 600
"""Samples of a minute at the fastest pace; a clock that was set back must not gather more."""

_encode = msgspec.json.Encoder().encode
_decoder = msgspec.json.Decoder(Sample)


class Tiers:
    """Remembers when each resolution gets its next sample, and what has come since the last one."""

    def __init__(self) -> None:
        self._ends = dict.fromkeys((seconds for seconds, _ in TIERS), 0)
        self._held: dict[int, list[Sample]] = {seconds: [] for seconds in self._ends}

    def due(self, sample: Sample) -> list[tuple[int, int, bytes]]:
        """Rows for every resolution whose step has passed: one sample for all that came in it."""
        rows = []
        for seconds, end in self._ends.items():
            held = self._held[seconds]
            held.append(sample)
            if sample.at_ns >= end or len(held) >= MOST_HELD:
                self._ends[seconds] = sample.at_ns + seconds * 10**9 - 10**8
                rows.append((seconds, sample.at_ns, _encode(merged(held))))
                held.clear()
        return rows


def read_samples(
    database: sqlite3.Connection, since_ns: int, until_ns: int, resolution_s: int
) -> tuple[Sample, ...]:
    """Samples of a span in one resolution, oldest first."""
    rows = database.execute(
        "SELECT sample FROM samples WHERE resolution_s = ? AND at_ns BETWEEN ? AND ? ORDER BY at_ns",
        (resolution_s, since_ns, until_ns),
    )
    return tuple(_decoder.decode(row[0]) for row in rows)

"""Samples in three resolutions: which ones are due, how they are read."""

from __future__ import annotations

import sqlite3

import msgspec

from nightdesk.model.sample import Sample

TIERS = ((1, 3600), (10, 2 * 86_400), (60, 31 * 86_400))
"""(seconds between samples, seconds they are kept)"""

_encode = msgspec.json.Encoder().encode
_decoder = msgspec.json.Decoder(Sample)


class Tiers:
    """Remembers when each resolution gets its next sample."""

    def __init__(self) -> None:
        self._ends = dict.fromkeys((seconds for seconds, _ in TIERS), 0)

    def due(self, sample: Sample) -> list[tuple[int, int, bytes]]:
        """Rows for every resolution whose step has passed."""
        due = [seconds for seconds, end in self._ends.items() if sample.at_ns >= end]
        for seconds in due:
            self._ends[seconds] = sample.at_ns + seconds * 10**9 - 10**8
        return [(seconds, sample.at_ns, _encode(sample)) for seconds in due]


def read_samples(
    database: sqlite3.Connection, since_ns: int, until_ns: int, resolution_s: int
) -> tuple[Sample, ...]:
    """Samples of a span in one resolution, oldest first."""
    rows = database.execute(
        "SELECT sample FROM samples WHERE resolution_s = ? AND at_ns BETWEEN ? AND ? ORDER BY at_ns",
        (resolution_s, since_ns, until_ns),
    )
    return tuple(_decoder.decode(row[0]) for row in rows)

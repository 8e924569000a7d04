"""A night of traffic leaves the capture core small."""

from __future__ import annotations

import sys

import pytest

from tests.bench.memory import child


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="resident memory is read from /proc")
def test_a_busy_night_leaves_the_memory_small_and_does_not_grow_it() -> None:
    found = child(120_000)
    assert found["exchanges"] > 1500
    assert found["end_bytes"] < 150_000_000
    assert found["end_bytes"] - found["middle_bytes"] < 20_000_000

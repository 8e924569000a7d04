"""A short crash campaign; ``make torture`` is the long one."""

from __future__ import annotations

import sys

import pytest

from tests.torture.campaign import Campaign
from tests.torture.place import Place

ROUNDS, SECONDS = 8, 18


@pytest.mark.skipif(sys.platform != "linux", reason="the campaign reads /proc")
def test_whatever_is_killed_nothing_is_lost_done_twice_or_left_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("NIGHTDESK_DESK", raising=False)
    monkeypatch.setenv("NIGHTDESK_SOCKET", "")
    place = Place()
    try:
        report = Campaign(place, seed=20_251_121).play(range(1, ROUNDS + 1), SECONDS)
    finally:
        place.close()
    assert report.faults == []
    assert report.rounds >= 1 and report.executions > report.rounds

"""A small slice of ``make fuzz``: every part of the capture core meets some thousand broken inputs."""

from __future__ import annotations

import pytest

from tests.fuzz.run import fuzz
from tests.fuzz.targets import TARGETS

INPUTS = 8_000


@pytest.mark.parametrize("name", TARGETS)
def test_broken_inputs_do_no_harm(name: str) -> None:
    assert fuzz(20_251_121, name, 0, INPUTS * TARGETS[name][0] // 1000) == []

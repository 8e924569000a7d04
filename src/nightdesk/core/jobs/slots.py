"""Slots: what runs share, such as the gpu. ``[slots]`` says how much there is of each."""

from __future__ import annotations

from collections.abc import Mapping


def capacity(slot: str, slots: Mapping[str, int]) -> int:
    """How much there is of a slot: 1 of one that the configuration does not name."""
    return slots.get(slot, 1)

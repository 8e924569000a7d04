"""What is the same in JSON."""

from __future__ import annotations

from nightdesk.model.base import Json


def is_same(one: Json, other: Json) -> bool:
    """Equal as JSON means it: ``true`` is no 1, ``1.0`` is 1."""
    if isinstance(one, bool) is not isinstance(other, bool):
        return False
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(is_same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(is_same(one[name], other[name]) for name in one)
    return bool(one == other)

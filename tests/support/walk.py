"""A walk through the viewer in a real terminal: keys, and what is on the screen then."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from tests.support.world import Screen, until


class Step(NamedTuple):
    """Keys, and what is on the screen then, or no more."""

    keys: tuple[str, ...]
    shows: tuple[str, ...]
    hides: str = ""


def walk(screen: Screen, *steps: Step) -> None:
    """Take the steps one after another; the screen is read after each."""
    for step in steps:
        screen.press(*step.keys)
        screen.wait_for(*step.shows)
        if step.hides:
            until(gone(screen, step.hides), f"“{step.hides}” to go after {step.keys}")


def gone(screen: Screen, words: str) -> Callable[[], bool]:
    """Whether ``words`` are no more on the screen."""
    return lambda: words not in screen.text()

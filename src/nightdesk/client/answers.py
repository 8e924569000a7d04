"""What the two clients share: paths, limits, and how answers become values or errors."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from nightdesk.model.desk import ErrorBody
from nightdesk.model.errors import EngineUnavailableError, NightdeskError, UsageError

PREFIX = "/v1"
ANSWER_SECONDS = 30.0
"""Stopping a tree may wait for its grace period; everything else answers at once."""
ENDING_SECONDS = 900.0
"""What ends runs waits for the grace time of their jobs, which the user sets."""
LISTING_SECONDS = 90.0
"""A command that lists the items of a job may take a minute."""
SILENCE_SECONDS = 40.0
"""The engine says something on the event stream at least every 15 s."""

T = TypeVar("T")


def window_query(start: int | None, end: int | None, max_bytes: int) -> dict[str, str | int]:
    """The query for a window of a log."""
    given = {"start": start, "end": end, "max_bytes": max_bytes}
    return {name: value for name, value in given.items() if value is not None}


def outputs_query(
    state: str, rule: str, text: str, *, flagged: bool, offset: int, limit: int
) -> dict[str, str | int]:
    """The query for a part of the results of a job's outputs."""
    asked: dict[str, str | int] = {
        "state": state,
        "rule": rule,
        "text": text,
        "offset": offset,
        "limit": limit,
    }
    return asked | ({"flagged": 1} if flagged else {})


def decode(status: int, content: bytes, target: str, kind: type[T]) -> T:
    """The answer as a value of ``kind``. Raises the engine's own sentence for anything but success,
    EngineUnavailableError for an answer that was cut.
    """
    if 200 <= status < 300:
        try:
            return msgspec.json.decode(content, type=kind)
        except msgspec.DecodeError as fault:
            raise EngineUnavailableError(
                f"The engine's answer to {target} can't be read: {fault}.",
                "It may have ended meanwhile, or be of another version: nightdesk down, then nightdesk up.",
            ) from fault
    try:
        said = msgspec.json.decode(content, type=ErrorBody)
    except msgspec.DecodeError:
        said = ErrorBody(message=f"The engine answered {status} to {target}.")
    error = UsageError if status in (400, 404, 409) else NightdeskError
    raise error(said.message, said.hint)

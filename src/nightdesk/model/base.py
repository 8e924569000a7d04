"""What every noun is made of: a frozen struct, JSON values, process identity."""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec

Json: TypeAlias = Any
"""A decoded JSON value. Only decoders may look inside without checking."""


class Noun(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base of all values that cross the socket, a pipe or the store.

    A field without a default always appears in JSON. A field with the default ``None`` is absent
    from JSON while its value is unknown. Unknown fields in input are ignored, so that an engine and
    a viewer of different versions can talk. Subclasses repeat ``frozen=True, kw_only=True``: msgspec does not
    inherit the second and type checkers do not see the first.
    """


def prepare_nouns() -> None:
    """Let msgspec look at all nouns that are loaded, before threads do.

    msgspec (0.22) reads a type when it meets it first, without a lock: two threads at once end the process by
    signal 11.
    """
    waiting = [Noun]
    while waiting:
        noun = waiting.pop()
        waiting += noun.__subclasses__()
        msgspec.json.Decoder(noun)


class ProcessKey(Noun, frozen=True, kw_only=True, order=True):
    """A process for all time: numbers are used again, the pair is not."""

    pid: int
    started_ns: int
    """Start time, nanoseconds since the epoch, as precise as the system tells (10 ms on Linux)."""

"""Server-sent events of the engine → snapshots and changes."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from nightdesk.model.desk import API_VERSION, Change, Snapshot, change_decoder, snapshot_decoder
from nightdesk.model.errors import NightdeskError


class EventParser:
    """Server-sent events of the engine → snapshots and changes. Comments (keep-alives) are skipped."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def feed(self, data: bytes) -> Iterator[Snapshot | Change]:
        """The events that are complete with ``data``."""
        self._parts.append(data)
        if b"\n" not in data:
            return
        *blocks, rest = b"".join(self._parts).split(b"\n\n")
        self._parts = [rest]
        for block in blocks:
            event = _parse_event(block)
            if event is not None:
                yield event


def _parse_event(block: bytes) -> Snapshot | Change | None:
    kind = payload = b""
    for line in block.split(b"\n"):
        name, _, value = line.partition(b": ")
        if name == b"event":
            kind = value
        elif name == b"data":
            payload = value
    if kind == b"snapshot":
        snapshot = snapshot_decoder.decode(payload)
        _check_version(snapshot.desk.api_version)
        return snapshot
    try:
        return change_decoder.decode(payload) if kind == b"change" else None
    except msgspec.ValidationError:
        # A newer engine may tell of things that this viewer does not know yet.
        return None


def _check_version(theirs: int) -> None:
    if theirs == API_VERSION:
        return
    older = "The running engine" if theirs < API_VERSION else "This viewer"
    raise NightdeskError(
        f"Engine and viewer speak different versions of the API ({theirs} and {API_VERSION}).",
        f"{older} is the older one: run `nightdesk down` (runs go on) and start Nightdesk again.",
    )

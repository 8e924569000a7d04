"""What the user chose in the viewer and wants to find again: a small file in the state folder, for all desks."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from nightdesk.model.errors import NightdeskError


class Choices(msgspec.Struct, frozen=True, kw_only=True):
    """All that is remembered."""

    traffic_columns: tuple[str, ...] | None = None
    """Keys of the columns of the traffic pane; absent: the width decides."""
    processes_columns: tuple[str, ...] | None = None
    """Likewise of the processes pane."""


def choices_path(env: Mapping[str, str] = os.environ) -> Path:
    """Where the file lies."""
    state = env.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(state) / "nightdesk" / "viewer.json"


def read_choices() -> Choices:
    """What was saved; nothing where there is no such file, or one that can't be read."""
    try:
        return msgspec.json.decode(choices_path().read_bytes(), type=Choices)
    except (OSError, msgspec.MsgspecError):
        return Choices()


def save_choices(choices: Choices) -> None:
    """Write the file anew. Raises NightdeskError where that is not possible."""
    path = choices_path()
    new = path.with_suffix(f".{os.getpid()}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        new.write_bytes(msgspec.json.encode(choices))
        new.replace(path)
    except OSError as fault:
        raise NightdeskError(
            f"The choice can't be saved in {path}: {fault.strerror}.", "It holds until the viewer ends."
        ) from fault

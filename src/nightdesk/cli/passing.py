"""Temporary desks for the verbs that show a file: a private folder with an engine of its own, and the end of both."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from nightdesk.cli.desk import DeskChoice

if TYPE_CHECKING:
    from nightdesk.client.desk import Desk


def make_folder() -> Path:
    """A private folder for the temporary desk, beside the sockets."""
    from nightdesk.client.desk import TEMPORARY_NAME, socket_path
    from nightdesk.client.launch import make_private

    # The engine of this capture is meant, whatever engine the user's shell names.
    for name in ("NIGHTDESK_SOCKET", "NIGHTDESK_DESK"):
        os.environ.pop(name, None)
    base = socket_path(Path("/"), os.environ).parent
    make_private(base)
    folder = Path(tempfile.mkdtemp(prefix="open-", dir=base))
    (folder / TEMPORARY_NAME).touch(0o600)
    return folder


def passing_desk(choice: DeskChoice, folder: Path, flags: tuple[str, ...]) -> Desk:
    """The temporary desk, with the looks of the user's own where there is one that can be read."""
    from dataclasses import replace

    import msgspec

    from nightdesk.client.desk import find_desk
    from nightdesk.model.errors import ConfigError

    desk = find_desk(default=folder, overrides=dict(flag.partition("=")[::2] for flag in flags))
    try:
        looks = choice.desk().config.viewer
    except ConfigError:
        return desk
    return replace(desk, config=msgspec.structs.replace(desk.config, viewer=looks))


def end_desk(folder: Path) -> None:
    """End the engine of the temporary desk and remove its folder."""
    from nightdesk.client.desk import socket_path
    from nightdesk.client.engine import Engine
    from nightdesk.client.launch import is_answering
    from nightdesk.model.errors import NightdeskError

    socket = socket_path(folder, os.environ)
    if is_answering(socket):
        with contextlib.suppress(NightdeskError):
            Engine(socket).shutdown()
    shutil.rmtree(folder, ignore_errors=True)

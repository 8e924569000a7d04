"""Lines of a log to the clipboard, and the log itself in the user's editor or pager."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nightdesk.model.errors import NightdeskError
from nightdesk.tui.clipboard import copy, routes

if TYPE_CHECKING:
    from nightdesk.tui.inspector.outside import Kind


def has(program: str) -> bool:
    """Whether a program is installed."""
    return shutil.which(program) is not None


async def copy_text(app: Any, what: str, text: str) -> None:
    """Copy, and tell by which way."""
    driver = app._driver
    words = await copy(
        text, routes(os.environ, sys.platform, has), lambda sent: driver and driver.write(sent)
    )
    app.notify(f"{what}: {words}", markup=False)


def open_at(app: Any, kind: Kind, path: str, line: int | None) -> None:
    """Give the terminal to the editor or pager with the file itself, at ``line`` where that is known."""
    from nightdesk.tui.inspector import outside

    try:
        command = outside.command_of(kind, os.environ, has)
        words = outside.show_file(app, kind, command, Path(path), line)
    except NightdeskError as error:
        app.notify(f"{error.message} {error.hint}".strip(), severity="error", markup=False)
        return
    if words:
        app.notify(words, markup=False)

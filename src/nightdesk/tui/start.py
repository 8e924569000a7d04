"""The start of the viewer: a first picture at once, then the slow imports."""

from __future__ import annotations

import gc
import sys
from typing import TYPE_CHECKING

from nightdesk.core.foreign import safe_line
from nightdesk.tui.first_picture import show_first_picture, take_back
from nightdesk.tui.theme_files import theme_file

if TYPE_CHECKING:
    from nightdesk.client.desk import Desk
    from nightdesk.tui.app import Viewer
    from nightdesk.tui.link import Engine

NAME_CELLS = 40


def run_viewer(
    desk: Desk,
    *,
    theme: str | None = None,
    ascii: bool = False,  # noqa: A002 - the option's name
    mode: str = "desk",
    flags: tuple[str, ...] = (),
) -> int:
    """Show the desk until the user leaves; the exit status. ``flags`` go to an engine that has to be started."""
    gc.disable()  # a tenth of the time to the first picture; the viewer enables it again then
    viewer_section = desk.config.viewer
    drawn = show_first_picture(
        safe_line(desk.name, NAME_CELLS),
        mode,
        theme_file(theme or viewer_section.theme),
        ascii=ascii or viewer_section.ascii,
    )
    try:
        viewer = make_viewer(desk, theme=theme, ascii=ascii, mode=mode, flags=flags)
    except BaseException:
        if drawn:
            take_back()
        raise
    return show(viewer, mouse=viewer_section.mouse)


def make_viewer(
    desk: Desk,
    *,
    theme: str | None = None,
    ascii: bool = False,  # noqa: A002 - the option's name
    mode: str = "desk",
    flags: tuple[str, ...] = (),
) -> Viewer:
    """A viewer of ``desk`` with its configuration; what is given here wins over it."""
    from nightdesk.tui import terminal
    from nightdesk.tui.app import Viewer

    def opened() -> Engine:
        from nightdesk.client.api import AsyncEngine
        from nightdesk.client.launch import ensure_engine

        ensure_engine(desk, flags)
        return AsyncEngine(desk.socket)

    viewer = Viewer(
        desk.name,
        opened,
        theme=theme or desk.config.viewer.theme,
        ascii=ascii or desk.config.viewer.ascii,
        mode=mode,
        keys=desk.config.viewer.keys,
        utf8=terminal.speaks_utf8(),
    )
    if desk.is_temporary:
        viewer.show_passing("recording" if desk.config.sensors.source == "file" else "capture")
    return viewer


def show(viewer: Viewer, *, mouse: bool = True) -> int:
    """Run ``viewer`` until it ends, then say in one line what goes on; the exit status."""
    from nightdesk.tui import terminal

    status = viewer.run(mouse=mouse)
    if not terminal.is_gone(viewer.terminal):
        sys.stdout.write(viewer.parting_words() + "\n")
    return viewer.return_code or status or 0

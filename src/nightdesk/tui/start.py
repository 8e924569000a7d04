"""The start of the viewer: a first picture at once, then the slow imports."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

from nightdesk.core.foreign import safe_line
from nightdesk.tui.first_picture import show_first_picture, take_back
from nightdesk.tui.theme_files import theme_file

if TYPE_CHECKING:
    from nightdesk.client.desk import Desk

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
        from nightdesk.tui.app import make_viewer, show

        viewer = make_viewer(desk, theme=theme, ascii=ascii, mode=mode, flags=flags)
    except BaseException:
        if drawn:
            take_back()
        raise
    return show(viewer, mouse=viewer_section.mouse)

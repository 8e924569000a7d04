"""The frames of the desk, drawn while Textual still loads: it takes half a second, and an empty terminal looks broken.

Only what is certain before anything was asked: the name of the desk, and the panes with their titles. The viewer
paints over it. Nothing but the standard library is imported here.
"""

from __future__ import annotations

import os
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

LEAST_WIDTH, LEAST_HEIGHT = 60, 15
TABS_BELOW_WIDTH, TABS_BELOW_HEIGHT = 100, 24
"""Below, one pane at a time under a strip of tabs."""
TITLES = {1: "Jobs", 2: "Accelerators", 3: "Ollama traffic", 4: "Processes", 5: "Logs"}
ROWS: Mapping[str, tuple[tuple[int, ...], ...]] = {
    "desk": ((1, 2), (3,), (4, 5)),
    "traffic": ((3,),),
    "jobs": ((1,), (5,)),
    "machine": ((2,), (4,)),
    "logs": ((5,),),
    "accelerators": ((2,),),
}
"""Mode → the panes of each row."""
ENTER, LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"


@dataclass(frozen=True, slots=True)
class Frame:
    """One pane: its place in cells, from the top left."""

    number: int
    left: int
    top: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Ink:
    """Escape sequences; empty where the terminal's own colours are used."""

    ground: str = ""
    frame: str = ""
    words: str = ""
    bar: str = ""


def frames(width: int, height: int, mode: str) -> tuple[Frame, ...]:
    """The panes that the desk shows at this size, in the places that its style sheet gives them."""
    if width < LEAST_WIDTH or height < LEAST_HEIGHT:
        return ()
    rows = ROWS.get(mode, ROWS["desk"])
    if width < TABS_BELOW_WIDTH or height < TABS_BELOW_HEIGHT:
        first = {"traffic": 3, "machine": 4, "logs": 5, "accelerators": 2}.get(mode, 1)
        return (Frame(first, 0, 2, width, height - 3),)
    return tuple(_placed(rows, width, height, mode))


def _placed(rows: tuple[tuple[int, ...], ...], width: int, height: int, mode: str) -> Iterator[Frame]:
    inner, low = height - 2, height < 32
    first = {"desk": 9 if low else 12, "machine": 10 if low else 14}.get(mode, inner // len(rows))
    top = 1
    for index, row in enumerate(rows):
        left_rows = len(rows) - index
        tall = first if index == 0 and len(rows) > 1 else (inner + 1 - top) // left_rows
        for place, number in enumerate(row):
            left = place * (width // len(row))
            wide = width - left if place == len(row) - 1 else width // len(row)
            yield Frame(number, left, top, wide, tall)
        top += tall


def picture(width: int, height: int, mode: str, name: str, ink: Ink, *, ascii: bool) -> str:  # noqa: A002 - the option's name
    """What to write to a terminal of ``width`` × ``height`` cells. ``name`` must be free of control characters."""
    corners = "++++-|" if ascii else "╭╮╰╯─│"
    out = [ENTER, ink.ground, "\x1b[2J\x1b[H", ink.bar, f" nightdesk  {name}"[:width].ljust(width)]
    for frame in frames(width, height, mode):
        out += _box(frame, ink, corners)
    out += [f"\x1b[{height};1H", ink.bar, " " * width, "\x1b[0m"]
    return "".join(out)


def _box(frame: Frame, ink: Ink, corners: str) -> Iterator[str]:
    upper_left, upper_right, lower_left, lower_right, across, down = tuple(corners)
    title = f" {frame.number} {TITLES[frame.number]} "
    rule = across * (frame.width - 3 - len(title))
    yield f"\x1b[{frame.top + 1};{frame.left + 1}H{ink.ground}{ink.frame}{upper_left}{across}"
    yield f"{ink.words}{title}{ink.frame}{rule}{upper_right}"
    for row in range(frame.top + 2, frame.top + frame.height):
        yield f"\x1b[{row};{frame.left + 1}H{down}\x1b[{row};{frame.left + frame.width}H{down}"
    bottom = lower_left + across * (frame.width - 2) + lower_right
    yield f"\x1b[{frame.top + frame.height};{frame.left + 1}H{bottom}"


def ink_of(theme: Path | None, env: Mapping[str, str] = os.environ) -> Ink:
    """The colours of a theme file, where the terminal shows them as they are; else the terminal's own."""
    deep = env.get("COLORTERM", "").lower() in ("truecolor", "24bit")
    if theme is None or not deep or env.get("NO_COLOR"):
        return Ink()
    try:
        file = tomllib.loads(theme.read_text(encoding="utf-8"))
        ground = _color(48, file["background"])
        return Ink(
            ground,
            _color(38, file["variables"]["border-blurred"]),
            _color(38, file["foreground"]),
            _color(48, file["panel"]) + _color(38, file["foreground"]),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        # The viewer says what is wrong with a theme; colours in words (ansi_blue) are the terminal's own.
        return Ink()


def _color(kind: int, value: str) -> str:
    red, green, blue = bytes.fromhex(value.removeprefix("#"))
    return f"\x1b[{kind};2;{red};{green};{blue}m"


def show_first_picture(name: str, mode: str, theme: Path | None, *, ascii: bool) -> bool:  # noqa: A002 - the option's name
    """Draw on the terminal; whether that was done. Undo it with :func:`take_back` if the viewer can't start."""
    try:
        width, height = os.get_terminal_size(sys.stdout.fileno())
        sys.stdout.write(picture(width, height, mode, name, ink_of(theme), ascii=ascii))
        sys.stdout.flush()
    except (OSError, UnicodeEncodeError):
        return False
    return True


def take_back() -> None:
    """Leave the screen as it was before the picture."""
    sys.stdout.write(f"\x1b[0m{LEAVE}")
    sys.stdout.flush()

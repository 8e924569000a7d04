"""Themes from TOML files: the shipped ones and the user's own. A broken file is a sentence, not a crash."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path

import msgspec
from textual.color import Color, ColorParseError
from textual.theme import Theme

DEFAULT = "nightdesk-dark"
COLORS = (
    "primary",
    "secondary",
    "warning",
    "error",
    "success",
    "accent",
    "foreground",
    "background",
    "surface",
    "panel",
    "boost",
)


class ThemeFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A theme file. Colours as ``#rrggbb``, a CSS name, or ``ansi_red`` when ``ansi`` is true."""

    name: str
    primary: str
    secondary: str | None = None
    warning: str | None = None
    error: str | None = None
    success: str | None = None
    accent: str | None = None
    foreground: str | None = None
    background: str | None = None
    surface: str | None = None
    panel: str | None = None
    boost: str | None = None
    dark: bool = True
    ansi: bool = False
    """True: only the terminal's own 16 colours."""
    variables: dict[str, str] = {}


def load_themes(*folders: Path) -> tuple[list[Theme], list[str]]:
    """The themes in ``folders`` (a later one wins), and one sentence for each file that can't be used."""
    themes: dict[str, Theme] = {}
    problems: list[str] = []
    for path in _files(folders):
        try:
            theme = read_theme(path)
        except (OSError, ValueError) as fault:
            problems.append(f"The theme file {path} can't be used: {fault}.")
        else:
            themes[theme.name] = theme
    return list(themes.values()), problems


def _files(folders: tuple[Path, ...]) -> Iterator[Path]:
    for folder in folders:
        if folder.is_dir():
            yield from sorted(folder.glob("*.toml"))


def read_theme(path: Path) -> Theme:
    """The theme in ``path``. Raises OSError or ValueError with the reason."""
    file = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), ThemeFile)
    for name in COLORS:
        value = getattr(file, name)
        if value is not None:
            _check_color(name, value)
    return Theme(**{field: getattr(file, field) for field in ThemeFile.__struct_fields__})


def _check_color(name: str, value: str) -> None:
    try:
        Color.parse(value)
    except ColorParseError as fault:
        raise ValueError(f"{name} = {value!r} is not a colour") from fault

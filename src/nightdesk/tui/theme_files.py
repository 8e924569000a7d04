"""Where theme files lie."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path


def shipped_folder() -> Path:
    """Where our themes lie: package data in an installed wheel, the repository's folder in the source tree."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "themes"
    return inside if inside.is_dir() else package.parents[1] / "themes"


def user_folder(env: Mapping[str, str] = os.environ) -> Path:
    """Where the user's own themes lie."""
    data = env.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(data) / "nightdesk" / "themes"


def theme_file(name: str) -> Path | None:
    """The file that is called like the theme; the user's own comes first."""
    for folder in (user_folder(), shipped_folder()):
        path = folder / f"{name}.toml"
        if "/" not in name and path.is_file():
            return path
    return None

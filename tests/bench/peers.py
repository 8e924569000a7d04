"""Other programs that the benches measure beside us: from ``make bench-peers``, or as the machine has them."""

from __future__ import annotations

import shutil
from pathlib import Path

OWN = Path(__file__).parents[2] / ".bench" / "bin"
REMEDY = "not installed: make bench-peers"


def peer(name: str) -> str | None:
    """Path of a program; None where it is not installed."""
    own = OWN / name
    return str(own) if own.is_file() else shutil.which(name)

"""Notices that a file was written anew."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

LOOK_SECONDS = 2.0
_Look: TypeAlias = tuple[int, int, int] | None


class Edits:
    """Remembers how a file looked: which one it was, when it was written, how large it was."""

    def __init__(self, path: Path | None) -> None:
        """Without a ``path`` there is nothing to notice."""
        self._path = path
        self._seen = self._look()

    def noticed(self) -> bool:
        """Whether the file differs from what it was at the last call. One that is away does not."""
        now = self._look()
        if now is None or now == self._seen:
            return False
        self._seen = now
        return True

    def _look(self) -> _Look:
        try:
            found = self._path.stat() if self._path else None
        except OSError:
            return None
        return (found.st_ino, found.st_mtime_ns, found.st_size) if found else None


async def often(look: Callable[[], None]) -> None:
    """Look every two seconds, until cancelled."""
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        look()

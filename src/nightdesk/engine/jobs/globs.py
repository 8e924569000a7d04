"""Files that match a pattern, each once, also where links lead in circles."""

from __future__ import annotations

import glob
import os
from collections import deque
from collections.abc import Iterator
from pathlib import Path


def matching(folder: str | Path, pattern: str) -> Iterator[str]:
    """Names below ``folder`` that match, as the pattern writes them; hidden ones only where it names them.

    ``**`` stands for any folders in between. Links to folders are followed, and no folder is looked through twice:
    ``glob`` would go round a circle until the system refuses, and with two of them for ever.
    """
    head, stars, rest = os.path.expanduser(pattern).partition("**")  # noqa: PTH111 - a Path would lose what follows
    if not stars:
        yield from glob.iglob(head, root_dir=folder)  # noqa: PTH207 - Path.glob refuses absolute patterns
        return
    rest = rest.lstrip("/") or "*"
    for begin in glob.iglob(head, root_dir=folder) if head else ("",):  # noqa: PTH207 - as above
        top = os.path.join(folder, begin)  # noqa: PTH118 - names that are no UTF-8 come through as they are
        for place in _folders(top):
            for name in matching(os.path.join(top, place), rest):  # noqa: PTH118 - as above
                yield os.path.join(begin, place, name)  # noqa: PTH118 - as above


def _folders(top: str) -> Iterator[str]:
    """The folders below ``top``, relative to it, the shortest ways first; those behind links after all others."""
    seen: set[tuple[int, int]] = set()
    waiting, links = deque([""]), list[str]()
    while waiting or links:
        if not waiting:
            waiting.extend(sorted(links))
            links.clear()
        place = waiting.popleft()
        path = os.path.join(top, place)  # noqa: PTH118 - as above
        try:
            status = os.stat(path)  # noqa: PTH116 - thousands of names
            if (status.st_dev, status.st_ino) in seen:
                continue
            with os.scandir(path) as entries:
                found = [entry for entry in entries if entry.is_dir() and not entry.name.startswith(".")]
        except OSError:
            continue
        seen.add((status.st_dev, status.st_ino))
        yield place
        for entry in found:
            name = os.path.join(place, entry.name)  # noqa: PTH118 - as above
            (links if entry.is_symlink() else waiting).append(name)

"""Process trees: who descends from whom, computed from parent numbers alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from nightdesk.model.base import ProcessKey
from nightdesk.model.job import ENDED, Run


def children_of(parents: Mapping[int, int]) -> dict[int, list[int]]:
    """The children of each process, in order of their numbers. ``parents`` maps a process to its parent."""
    children: dict[int, list[int]] = {}
    for pid in sorted(parents):
        if parents[pid] != pid:
            children.setdefault(parents[pid], []).append(pid)
    return children


def descendants(roots: Iterable[int], parents: Mapping[int, int]) -> list[tuple[int, int]]:
    """The roots and everything below them as (process, depth): a parent before its children, each process once.

    A root below another root appears only there. A loop in ``parents`` (a table read while it changed) ends the walk.
    """
    children = children_of(parents)
    found: list[tuple[int, int]] = []
    seen: set[int] = set()
    for root in _topmost(roots, parents):
        pending = [(root, 0)]
        while pending:
            pid, depth = pending.pop()
            if pid in seen:
                continue
            seen.add(pid)
            found.append((pid, depth))
            pending.extend((child, depth + 1) for child in reversed(children.get(pid, ())))
    return found


def ancestors(pid: int, parents: Mapping[int, int]) -> list[int]:
    """The parent of ``pid``, its parent and so on, as far as the table knows them."""
    line: list[int] = []
    seen = {pid}
    while (parent := parents.get(pid)) is not None and parent not in seen and parent > 0:
        line.append(parent)
        seen.add(parent)
        pid = parent
    return line


def roots_of(run: Run) -> set[ProcessKey]:
    """The processes that stand for a whole run. Of items that are in work at once none stands for all."""
    if len(run.flights) > 1:
        return set()
    return {key for key in (run.keeper, run.process) if key is not None}


def run_of_root(runs: Iterable[Run], key: ProcessKey) -> Run | None:
    """The run in progress that a process stands for."""
    return next((run for run in runs if run.state not in ENDED and key in roots_of(run)), None)


def _topmost(roots: Iterable[int], parents: Mapping[int, int]) -> list[int]:
    wanted = [root for root in dict.fromkeys(roots) if root in parents]
    known = set(wanted)
    top = [root for root in wanted if known.isdisjoint(ancestors(root, parents))]
    return top or wanted

"""Which folders of ended runs are given up."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class KeptRun:
    """The folder of a run that has ended."""

    id: str
    job: str
    mode: str
    created_ns: int
    size: int
    """Bytes of its files."""


def outdated(
    runs: Iterable[KeptRun], *, at_ns: int, keep: int, keep_ns: int, max_bytes: int
) -> tuple[str, ...]:
    """Ids of the runs to give up, the oldest first: beyond the newest ``keep``, older than ``keep_ns``, or those with
    which all folders together hold more than ``max_bytes``. The newest run of each job always stays, a full one
    also behind newer runs of a single item.
    """
    newest_first = sorted(runs, key=lambda run: (run.created_ns, run.id), reverse=True)
    staying = _newest_of_jobs(newest_first)
    total, gone = 0, []
    for place, run in enumerate(newest_first):
        total += run.size
        too_old = run.created_ns < at_ns - keep_ns
        if run.id not in staying and (place >= keep or too_old or total > max_bytes):
            gone.append(run.id)
            total -= run.size
    return tuple(reversed(gone))


def _newest_of_jobs(newest_first: Iterable[KeptRun]) -> Collection[str]:
    newest: dict[tuple[str, str], str] = {}
    for run in newest_first:
        newest.setdefault((run.job, run.mode), run.id)
    return set(newest.values())

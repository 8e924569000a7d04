"""Which job needs which, in layers: what needs nothing stands left, everything else right of all that it needs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from nightdesk.model.job import ENDED, JobView, Run

SWEEPS = 4


class Edge(NamedTuple):
    """``target`` needs ``source``: the whole job, or only the item of the same stem."""

    source: str
    target: str
    by_items: bool = False


class Place(NamedTuple):
    """A job, or a line (of the needs of one job) that passes by on its way to a later layer."""

    job: str
    by_items: bool = False
    passes: bool = False


class Hop(NamedTuple):
    """A piece of an edge: from a place of one layer to one of the next. Edges from one job share pieces."""

    here: Place
    there: Place
    by_items: bool
    targets: tuple[str, ...]
    """The jobs that it leads to."""


@dataclass(frozen=True, slots=True)
class JobGraph:
    """Jobs in layers, and the lines between neighbouring layers."""

    layers: tuple[tuple[Place, ...], ...]
    edges: tuple[Edge, ...]
    hops: tuple[tuple[Hop, ...], ...]
    """For each layer but the last."""

    def needs(self, job: str) -> tuple[str, ...]:
        """What a job needs."""
        return tuple(edge.source for edge in self.edges if edge.target == job)

    def needed_by(self, job: str) -> tuple[str, ...]:
        """Who needs a job."""
        return tuple(edge.target for edge in self.edges if edge.source == job)

    def layer_of(self, job: str) -> int:
        """The layer of a job, from 0. Raises KeyError."""
        for number, layer in enumerate(self.layers):
            if Place(job) in layer:
                return number
        raise KeyError(job)


def run_shown(runs: Iterable[Run], job: str) -> Run | None:
    """The run that tells how a job stands: the newest one of all items that goes on, else the newest that does.

    Where none goes on, the newest of all items; where there never was one, the newest.
    """
    return max(
        (run for run in runs if run.job == job),
        key=lambda run: (run.state not in ENDED, run.mode == "full", run.created_ns),
        default=None,
    )


def graph_of(jobs: Iterable[JobView]) -> JobGraph:
    """The graph of all jobs, in the order of the file where nothing else decides."""
    jobs = tuple(jobs)
    names = {job.name for job in jobs}
    edges = tuple(edge for job in jobs for edge in _edges_of(job, names))
    depth = _depths([job.name for job in jobs], edges)
    rows: list[list[Place]] = [[] for _ in range(max(depth.values(), default=-1) + 1)]
    linked = {name for edge in edges for name in edge[:2]}
    for job in jobs:
        if job.name in linked:
            rows[depth[job.name]].append(Place(job.name))
    hops = _hops(rows, edges, depth)
    _untangle(rows, hops)
    # What has nothing to do with others stands below them.
    for job in jobs:
        if job.name not in linked:
            rows[0].append(Place(job.name))
    return JobGraph(tuple(map(tuple, rows)), edges, tuple(map(tuple, hops)))


def _edges_of(job: JobView, names: set[str]) -> Iterable[Edge]:
    for need in dict.fromkeys((*job.needs, *job.needs_items)):
        if need in names:
            yield Edge(need, job.name, need not in job.needs)


def _depths(names: Sequence[str], edges: Iterable[Edge]) -> dict[str, int]:
    """The longest way to each job. Jobs that wait for each other, which no configuration may hold, get none."""
    needs: dict[str, set[str]] = {name: set() for name in names}
    needed_by: dict[str, list[str]] = defaultdict(list)
    for edge in edges:
        needs[edge.target].add(edge.source)
        needed_by[edge.source].append(edge.target)
    depth = dict.fromkeys(names, 0)
    open_needs = {name: len(needed) for name, needed in needs.items()}
    ready = [name for name, count in open_needs.items() if not count]
    while ready:
        name = ready.pop()
        for follower in needed_by[name]:
            depth[follower] = max(depth[follower], depth[name] + 1)
            open_needs[follower] -= 1
            if not open_needs[follower]:
                ready.append(follower)
    return depth


def _hops(rows: list[list[Place]], edges: Iterable[Edge], depth: Mapping[str, int]) -> list[list[Hop]]:
    """The edges cut at the layers. Adds to ``rows`` the places where one passes by."""
    hops: list[dict[tuple[Place, Place, bool], list[str]]] = [{} for _ in rows[1:]]
    for source, target, by_items in edges:
        here = Place(source)
        for layer in range(depth[source], depth[target]):
            last = layer + 1 == depth[target]
            there = Place(target) if last else Place(source, by_items, passes=True)
            if there not in rows[layer + 1]:
                rows[layer + 1].append(there)
            hops[layer].setdefault((here, there, by_items), []).append(target)
            here = there
    return [[Hop(*ends, tuple(targets)) for ends, targets in layer.items()] for layer in hops]


def _untangle(rows: list[list[Place]], hops: list[list[Hop]]) -> None:
    """Sort each layer by the middle of its neighbours, from left to right and back, so that few lines cross."""
    for _ in range(SWEEPS):
        for layer in range(1, len(rows)):
            _sort_by(rows[layer], rows[layer - 1], [(hop.there, hop.here) for hop in hops[layer - 1]])
        for layer in range(len(rows) - 2, -1, -1):
            _sort_by(rows[layer], rows[layer + 1], [(hop.here, hop.there) for hop in hops[layer]])


def _sort_by(row: list[Place], other: list[Place], pairs: Iterable[tuple[Place, Place]]) -> None:
    at = {place: index for index, place in enumerate(other)}
    neighbours: dict[Place, list[int]] = defaultdict(list)
    for place, neighbour in pairs:
        neighbours[place].append(at[neighbour])
    own = {place: index for index, place in enumerate(row)}

    def middle(place: Place) -> float:
        near = neighbours.get(place)
        return sum(near) / len(near) if near else float(own[place])

    row.sort(key=middle)

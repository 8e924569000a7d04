"""Where the boxes of a job graph stand and how the lines between them run, in cells. Nothing here draws.

Whole jobs leave and enter a box in its upper row, items in the lower one. Each box has a column of its own, between two
layers, in which its lines go up or down; lines that only cross do not touch: the upright one goes over the other.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import permutations
from typing import NamedTuple, TypeAlias

from nightdesk.core.jobs.graph import JobGraph, Place

BOX_HEIGHT = 4
NARROWEST, WIDEST = 22, 34
LEAST_GAP = 4
MOST_TRIED = 5
"""Columns between two layers, up to which every order of them is tried."""
LEFT, RIGHT, UP, DOWN = 1, 2, 4, 8
ACROSS, UPRIGHT = LEFT | RIGHT, UP | DOWN


class Line(NamedTuple):
    """The line from a job to one that needs it."""

    job: str
    target: str
    by_items: bool


class Box(NamedTuple):
    """Where a job stands, in cells from the upper left corner."""

    x: int
    y: int
    width: int


Lanes: TypeAlias = tuple[tuple[str, bool], ...]
"""Whose lines, and of which kind, have a column of their own, from the left."""
Marks: TypeAlias = dict[Line, int]
"""Line → the directions in which it leaves a cell."""
Cells: TypeAlias = dict[tuple[int, int], Marks]


@dataclass(frozen=True, slots=True)
class Joint:
    """A cell that lines pass: the directions in which they leave it, and which they are."""

    directions: int
    lines: frozenset[Line]


@dataclass(slots=True)
class GraphPlan:
    """A drawn graph, without what is in the boxes."""

    boxes: dict[str, Box] = field(default_factory=dict)
    joints: dict[tuple[int, int], Joint] = field(default_factory=dict)
    heads: set[tuple[int, int]] = field(default_factory=set)
    """Where lines come to a box."""
    width: int = 0
    height: int = 0


def plan_graph(graph: JobGraph, width: int, height: int) -> GraphPlan:
    """The plan for a window of this size, which it may exceed."""
    return _Planner(graph, width, height).plan


class _Planner:
    def __init__(self, graph: JobGraph, width: int, height: int) -> None:
        self.graph = graph
        self.plan = GraphPlan()
        self._marks = _marks()
        self._known = {(edge.source, edge.target) for edge in graph.edges}
        self._tops: dict[tuple[int, Place], int] = {}
        tallest = max((sum(self._size(p) for p in layer) for layer in graph.layers), default=0)
        most = max((len(layer) for layer in graph.layers), default=0)
        self._space = int(tallest + most - 1 <= height)
        self._stack()
        lanes = [self._lanes(number) for number in range(len(graph.hops))]
        gaps = [max(LEAST_GAP, len(lane) + 3) for lane in lanes]
        count = max(1, len(graph.layers))
        self._box_width = max(NARROWEST, min(WIDEST, (width - sum(gaps)) // count))
        x = 0
        for number, layer in enumerate(graph.layers):
            self._set_boxes(number, layer, x)
            x += self._box_width
            if number < len(gaps):
                lane = min(_orders(lanes[number]), key=partial(self._cost, number, x, gaps[number]))
                self._draw_hops(self._marks, number, x, gaps[number], lane)
                x += gaps[number]
        self.plan.width = x
        self._join()

    # Rows

    def _size(self, place: Place) -> int:
        return 1 if place.passes else BOX_HEIGHT

    def _stack(self) -> None:
        """Give each place its row: level with what it needs, where nothing else stands there."""
        for number, layer in enumerate(self.graph.layers):
            wanted = self._wanted_rows(number)
            free = 0
            for place in layer:
                top = max(free, wanted.get(place, free))
                self._tops[number, place] = top
                free = top + self._size(place) + self._space
                self.plan.height = max(self.plan.height, free - self._space)

    def _wanted_rows(self, number: int) -> dict[Place, int]:
        if number == 0:
            return {}
        rows: dict[Place, list[int]] = defaultdict(list)
        for here, there, by_items, _ in self.graph.hops[number - 1]:
            rows[there].append(self._row(number - 1, here, by_items) - (0 if there.passes else 1 + by_items))
        return {place: round(sum(found) / len(found)) for place, found in rows.items()}

    def _row(self, number: int, place: Place, by_items: bool) -> int:
        """The row in which lines of a kind leave or enter a place."""
        return self._tops[number, place] + (0 if place.passes else 1 + by_items)

    # Lines

    def _lanes(self, number: int) -> Lanes:
        """Whose lines, and of which kind, go up or down behind a layer, in the order of their columns."""
        down: dict[tuple[str, bool], int] = {}
        up: dict[tuple[str, bool], int] = {}
        for here, there, by_items, _ in self.graph.hops[number]:
            start, end = self._row(number, here, by_items), self._row(number + 1, there, by_items)
            if start != end:
                (down if end > start else up)[here.job, by_items] = start
        rising = (lane for lane in up if lane not in down)
        return *sorted(down, key=lambda lane: -down[lane]), *sorted(rising, key=lambda lane: up[lane])

    def _set_boxes(self, number: int, layer: tuple[Place, ...], x: int) -> None:
        for place in layer:
            top = self._tops[number, place]
            if not place.passes:
                self.plan.boxes[place.job] = Box(x, top, self._box_width)
                continue
            for hop in self.graph.hops[number]:
                if hop.here == place:
                    for target in hop.targets:
                        line = Line(place.job, target, place.by_items)
                        _across(self._marks, x, x + self._box_width, top, line)

    def _cost(self, number: int, x: int, gap: int, lanes: Lanes) -> int:
        """How hard the lines behind a layer are to read: joints that seem to lead where no line goes, crossings."""
        marks = _marks()
        self._draw_hops(marks, number, x, gap, lanes)
        return sum(self._difficulty(lines) for lines in marks.values() if len(lines) > 1)

    def _difficulty(self, lines: Marks) -> int:
        if not any(each & ACROSS and each & UPRIGHT for each in lines.values()):
            return int(
                any(each & ACROSS for each in lines.values())
                and any(each & UPRIGHT for each in lines.values())
            )
        seeming = {(one.job, other.target) for one in lines for other in lines}
        return 0 if seeming <= self._known else 10

    def _draw_hops(self, marks: Cells, number: int, x: int, gap: int, lanes: Lanes) -> None:
        for here, there, by_items, targets in self.graph.hops[number]:
            owner = here.job, by_items
            start, end = self._row(number, here, by_items), self._row(number + 1, there, by_items)
            lane = x + 1 + lanes.index(owner) if owner in lanes else x + 1
            for target in targets:
                line = Line(here.job, target, by_items)
                _across(marks, x, lane, start, line)
                _upright(marks, lane, start, end, line)
                _across(marks, lane, x + gap, end, line)
            if not there.passes:
                self.plan.heads.add((x + gap - 1, end))

    def _join(self) -> None:
        """What each cell shows: lines that turn or branch there touch, lines that only cross do not."""
        for cell, lines in self._marks.items():
            turning = any(each & ACROSS and each & UPRIGHT for each in lines.values())
            upright = {line: each for line, each in lines.items() if each & UPRIGHT}
            shown = lines if turning or not upright else upright
            directions = 0
            for each in shown.values():
                directions |= each
            self.plan.joints[cell] = Joint(directions, frozenset(shown))


def _marks() -> Cells:
    return defaultdict(lambda: defaultdict(int))


def _orders(lanes: Lanes) -> Iterable[Lanes]:
    """The orders that are worth trying; the first is a good guess."""
    return permutations(lanes) if len(lanes) <= MOST_TRIED else (lanes,)


def _across(marks: Cells, x: int, until: int, y: int, line: Line) -> None:
    for at in range(x, until):
        marks[at, y][line] |= RIGHT
        marks[at + 1, y][line] |= LEFT


def _upright(marks: Cells, x: int, y: int, until: int, line: Line) -> None:
    for at in range(min(y, until), max(y, until)):
        marks[x, at][line] |= DOWN
        marks[x, at + 1][line] |= UP


def step(graph: JobGraph, plan: GraphPlan, job: str, way: str) -> str:
    """The job that lies ``left``, ``right``, ``up`` or ``down`` of one: along its lines first, else the nearest.

    Gives ``job`` itself where there is none.
    """
    layer = graph.layer_of(job)
    if way in ("up", "down"):
        column = [place.job for place in graph.layers[layer] if not place.passes]
        at = column.index(job) + (1 if way == "down" else -1)
        return column[at] if 0 <= at < len(column) else job
    near = graph.needed_by(job) if way == "right" else graph.needs(job)
    found = near or tuple(_beside(graph, layer, way))
    box = plan.boxes[job]
    return min(found, key=lambda name: _distance(box, plan.boxes[name]), default=job)


def _beside(graph: JobGraph, layer: int, way: str) -> Iterator[str]:
    beside = layer + (1 if way == "right" else -1)
    if 0 <= beside < len(graph.layers):
        yield from (place.job for place in graph.layers[beside] if not place.passes)


def _distance(one: Box, other: Box) -> tuple[int, int]:
    return abs(one.x - other.x), abs(one.y - other.y)

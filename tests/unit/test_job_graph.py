"""The graph of jobs: layers, lines that pass layers, where boxes and lines stand, how it is walked."""

from __future__ import annotations

from typing import Any

import pytest

from nightdesk.core.jobs.graph import Edge, JobGraph, Place, graph_of, run_shown
from nightdesk.model.job import JobView, Run
from nightdesk.tui.widgets.graph_plan import BOX_HEIGHT, Line, plan_graph, step


def job(name: str, *needs: str, items: tuple[str, ...] = ()) -> JobView:
    return JobView(
        name=name,
        command="x",
        drives_items=False,
        has_single=False,
        has_dry_run=False,
        needs=needs,
        needs_items=items,
    )


PIPELINE = (
    job("report", "validate", "fetch"),
    job("fetch"),
    job("transcribe", "fetch"),
    job("diarize", "fetch"),
    job("clean", items=("transcribe",)),
    job("validate", "clean", "diarize"),
    job("backup"),
)


def names(graph: JobGraph) -> list[set[str]]:
    return [{place.job for place in layer if not place.passes} for layer in graph.layers]


def test_each_job_stands_right_of_all_that_it_needs() -> None:
    graph = graph_of(PIPELINE)
    assert names(graph) == [
        {"fetch", "backup"},
        {"transcribe", "diarize"},
        {"clean"},
        {"validate"},
        {"report"},
    ]
    assert Edge("transcribe", "clean", True) in graph.edges
    assert graph.needs("validate") == ("clean", "diarize")
    assert graph.needed_by("fetch") == ("report", "transcribe", "diarize")


def test_a_job_that_has_nothing_to_do_with_others_stands_below_them() -> None:
    assert graph_of((job("backup"), job("b", "a"), job("a"))).layers[0] == (Place("a"), Place("backup"))


def test_a_need_that_is_no_job_and_jobs_that_wait_for_each_other_do_no_harm() -> None:
    graph = graph_of((job("a", "gone"), job("b", "c"), job("c", "b")))
    assert {name for layer in names(graph) for name in layer} == {"a", "b", "c"}
    plan_graph(graph, 80, 24)


def test_without_jobs_there_is_an_empty_graph() -> None:
    assert plan_graph(graph_of(()), 80, 24).boxes == {}


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (160, 48), (20, 5)])
def test_boxes_never_overlap_and_no_line_runs_through_one(size: tuple[int, int]) -> None:
    plan = plan_graph(graph_of(PIPELINE), *size)
    inside: dict[tuple[int, int], str] = {}
    for name, box in plan.boxes.items():
        for x in range(box.x, box.x + box.width):
            for y in range(box.y, box.y + BOX_HEIGHT):
                assert inside.setdefault((x, y), name) == name
    for (x, y), joint in plan.joints.items():
        if (x, y) in inside:
            edge = plan.boxes[inside[x, y]]
            assert x == edge.x, "a line may only reach a box at its left side"
            assert inside[x, y] in {line.target for line in joint.lines}


@pytest.mark.parametrize("size", [(80, 24), (160, 48)])
def test_every_line_can_be_followed_from_a_job_to_the_one_that_needs_it(size: tuple[int, int]) -> None:
    graph = graph_of(PIPELINE)
    plan = plan_graph(graph, *size)
    for edge in graph.edges:
        line = Line(edge.source, edge.target, edge.by_items)
        source, target = plan.boxes[edge.source], plan.boxes[edge.target]
        row = 1 + edge.by_items
        assert (source.x + source.width, source.y + row) in plan.joints
        assert (target.x - 1, target.y + row) in plan.heads
        assert line in plan.joints[target.x - 1, target.y + row].lines


@pytest.mark.parametrize(
    "jobs",
    [
        PIPELINE,
        (job("a"), job("b"), job("c", "a", "b"), job("d", "a", "b")),
        (job("a"), job("b"), job("c", "a", "b"), job("d", "a")),
        (job("a"), job("b"), job("c", "a", "b"), job("d", "b")),
        (job("a"), job("b"), job("c"), job("d", "a", "c"), job("e", "b"), job("f", "a", "b")),
    ],
)
def test_where_lines_touch_each_really_leads_to_all_that_the_joint_leads_to(
    jobs: tuple[JobView, ...],
) -> None:
    graph = graph_of(jobs)
    known = {(edge.source, edge.target) for edge in graph.edges}
    for joint in plan_graph(graph, 120, 40).joints.values():
        assert {(one.job, other.target) for one in joint.lines for other in joint.lines} <= known


def test_arrows_follow_the_lines() -> None:
    graph = graph_of(PIPELINE)
    plan = plan_graph(graph, 160, 48)

    def walk(start: str, *ways: str) -> str:
        for way in ways:
            start = step(graph, plan, start, way)
        return start

    assert walk("clean", "left") == "transcribe"
    assert walk("clean", "left", "left", "left") == "fetch"
    assert walk("clean", "right", "right", "right") == "report"
    assert {walk("transcribe", "up"), walk("transcribe", "down")} == {"transcribe", "diarize"}
    assert walk("backup", "right") in ("transcribe", "diarize"), "without a line to the nearest"


def run(name: str, state: Any, created_ns: int, mode: Any = "full") -> Run:
    return Run(
        id=f"{name}-{created_ns}",
        job=name,
        mode=mode,
        state=state,
        command="x",
        folder="/",
        created_ns=created_ns,
    )


def test_a_job_is_shown_by_the_run_of_all_items_that_goes_on() -> None:
    old, now, trial = run("a", "done", 1), run("a", "running", 2), run("a", "running", 3, "single")
    assert run_shown([old, now, trial, run("b", "running", 9)], "a") is now
    assert run_shown([old, trial], "a") is trial
    assert run_shown([old, run("a", "done", 3, "single")], "a") is old
    assert run_shown([], "a") is None

"""Who descends from whom."""

from __future__ import annotations

from nightdesk.core.processes.tree import ancestors, children_of, descendants

PARENTS = {1: 0, 10: 1, 11: 10, 12: 10, 13: 11, 20: 1}


def test_descendants_come_after_their_parents_with_their_depth() -> None:
    assert descendants((10,), PARENTS) == [(10, 0), (11, 1), (13, 2), (12, 1)]


def test_a_root_below_another_root_appears_once_in_its_place() -> None:
    assert descendants((13, 10, 20), PARENTS) == [(10, 0), (11, 1), (13, 2), (12, 1), (20, 0)]


def test_a_root_that_is_gone_has_no_descendants() -> None:
    assert descendants((99,), PARENTS) == []


def test_a_loop_in_the_table_ends_the_walk() -> None:
    loop = {5: 7, 6: 5, 7: 6}
    assert sorted(pid for pid, _ in descendants((5,), loop)) == [5, 6, 7]
    assert ancestors(5, loop) == [7, 6]


def test_ancestors_are_listed_nearest_first() -> None:
    assert ancestors(13, PARENTS) == [11, 10, 1]
    assert ancestors(1, PARENTS) == []


def test_a_process_is_never_its_own_child() -> None:
    assert children_of({0: 0, 1: 0}) == {0: [1]}

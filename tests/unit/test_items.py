"""Commands are split first and filled afterwards; outputs decide what needs work."""

from __future__ import annotations

import pytest

from nightdesk.core.jobs.items import (
    fill,
    is_up_to_date,
    names_item,
    natural_order,
    output_path,
    split_command,
)
from nightdesk.model.errors import UsageError


def filled(command: str, item: str | None) -> tuple[str, ...]:
    return fill(split_command(command), item=item, index=3, run_dir="/runs/r 1")


@pytest.mark.parametrize(
    "item", ["a b.mp3", "x;rm -rf ~", "$(id)", "`id`", 'it\'s "here"', "{stem}", "new\nline", "*"]
)
def test_an_item_stays_one_argument_whatever_it_holds(item: str) -> None:
    assert filled("python go.py {item} --out=out/{item}.json", item) == (
        "python",
        "go.py",
        item,
        f"--out=out/{item}.json",
    )


def test_all_places_are_filled() -> None:
    assert filled("x {item} {name} {stem} {index} '{run_dir}/y'", "audio/ep 3.tar.gz") == (
        "x",
        "audio/ep 3.tar.gz",
        "ep 3.tar.gz",
        "ep 3.tar",
        "3",
        "/runs/r 1/y",
    )


def test_other_braces_and_places_without_an_item_are_left_alone() -> None:
    assert filled("""x '{"a": {}}' {other} {item}""", None) == ("x", '{"a": {}}', "{other}", "{item}")


def test_an_item_that_looks_like_an_option_is_made_a_path() -> None:
    assert filled("x {item}", "-rf.mp3") == ("x", "./-rf.mp3")


@pytest.mark.parametrize("command", ["python 'open", "", "   ", 'a "b'])
def test_a_command_that_can_not_be_split_is_refused(command: str) -> None:
    with pytest.raises(UsageError):
        split_command(command)


def test_nothing_that_a_shell_expands_is_expanded() -> None:
    assert split_command("echo $HOME ~ *.py && ls | wc") == (
        "echo",
        "$HOME",
        "~",
        "*.py",
        "&&",
        "ls",
        "|",
        "wc",
    )


def test_a_command_names_an_item_by_any_of_its_three_places() -> None:
    assert [names_item(c) for c in ("x {item}", "x {stem}.a", "x {name}", "x {index}", "x")] == [
        True,
        True,
        True,
        False,
        False,
    ]


def test_the_output_of_an_item() -> None:
    assert output_path("transcripts/{stem}.json", "audio/ep 1.mp3") == "transcripts/ep 1.json"
    assert output_path("{item}.json", "-x") == "-x.json"


@pytest.mark.parametrize(
    ("item_ns", "output_ns", "size", "expected"),
    [
        (10, 11, 1, True),
        (10, 10, 1, True),
        (10, 9, 1, False),
        (10, 11, 0, False),
        (10, None, 0, False),
        (None, 5, 1, True),
    ],
)
def test_an_output_counts_when_it_is_there_not_empty_and_not_older(
    item_ns: int | None, output_ns: int | None, size: int, expected: bool
) -> None:
    assert is_up_to_date(item_ns, output_ns, size) is expected


def test_numbers_in_names_are_ordered_as_numbers() -> None:
    names = ["ep10.mp3", "ep9.mp3", "b", "ep 1", "10", "9", "²"]
    assert sorted(names, key=natural_order) == ["9", "10", "b", "ep9.mp3", "ep10.mp3", "ep 1", "²"]

"""Errors of a log as one line each, told apart and put together."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightdesk.core.logs.tracebacks import LogError, TracebackReader, grouped, likeness


def errors(text: str) -> list[LogError]:
    reader = TracebackReader()
    found = [error for line in text.splitlines() for error in reader.feed(line)]
    return [*found, *reader.finish()]


def printed(program: str) -> str:
    """What a real Python prints when a program fails."""
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False).stderr


def test_a_real_traceback_is_one_error_with_its_cause() -> None:
    text = "INFO begin\n" + printed("def f(): return 1 / 0\nf()") + "INFO goes on\n"
    (error,) = errors(text)
    assert (error.line, error.cause) == (1, "ZeroDivisionError: division by zero")
    assert error.lines == text.count("\n") - 2
    assert error.where == "<string>:1 in f"


def test_a_chain_is_one_error_whose_cause_is_the_last() -> None:
    text = printed("try:\n    {}['x']\nexcept KeyError as e:\n    raise ValueError('no voice') from e")
    (error,) = errors(text)
    assert (error.cause, error.lines) == ("ValueError: no voice", text.count("\n"))
    (during,) = errors(printed("try:\n    {}['x']\nexcept KeyError:\n    [].pop()"))
    assert during.cause == "IndexError: pop from empty list"


@pytest.mark.skipif(sys.version_info < (3, 11), reason="exception groups came with Python 3.11")
def test_a_group_of_exceptions_is_one_error() -> None:
    text = printed("raise ExceptionGroup('two', [ValueError(1), KeyError(2)])") + "INFO goes on\n"
    (error,) = errors(text)
    assert error.cause == "ExceptionGroup: two (2 sub-exceptions)"
    assert error.lines == text.count("\n") - 1


def test_the_error_line_before_a_traceback_belongs_to_it() -> None:
    text = "2025-11-21 23:00:00,000 ERROR item 7 failed\n" + printed("[].pop()") + "INFO next\n"
    (error,) = errors(text)
    assert (error.line, error.cause) == (0, "IndexError: pop from empty list")
    assert error.at_ns is not None


def test_two_tracebacks_behind_each_other_are_two_errors() -> None:
    assert len(errors(printed("[].pop()") * 2)) == 2


def test_a_traceback_that_is_cut_off_is_still_an_error() -> None:
    (error,) = errors('Traceback (most recent call last):\n  File "a.py", line 3, in <module>\n')
    assert (error.cause, error.where) == ("a traceback without its end", "a.py:3 in <module>")


def test_the_users_own_code_is_named_before_that_of_libraries() -> None:
    (error,) = errors(
        'Traceback (most recent call last):\n  File "/home/me/run.py", line 3, in main\n'
        '  File "/x/lib/python3.11/site-packages/httpx/_client.py", line 9, in send\nhttpx.ReadTimeout: late\n'
    )
    assert error.where == "/home/me/run.py:3 in main"


def test_errors_that_differ_in_numbers_names_and_paths_are_alike() -> None:
    lines = [f"2025-11-21 23:0{n}:00 ERROR item {n} '/a/{n}.mp3' took 0x{n}f s\n" for n in range(5)]
    (group,) = grouped(errors("".join(lines) + "INFO fine\n"))
    assert (group.times, group.first.line, group.last.line) == (5, 0, 4)
    assert likeness("CUDA out of memory: 12 GB") != likeness("connection refused by host 12")


def test_groups_are_in_the_order_in_which_they_began() -> None:
    found = grouped(errors("ERROR b\nERROR a\nERROR b\n"))
    assert [(group.first.cause, group.times) for group in found] == [("ERROR b", 2), ("ERROR a", 1)]


def test_lines_that_are_no_errors_give_none() -> None:
    assert errors("INFO 0 errors\n  File x\nno ERRORS\n\n") == []


pieces = st.sampled_from(
    [
        *(
            "Traceback (most recent call last):",
            '  File "a.py", line 3, in f',
            "    x = 1",
            "ValueError: x",
            "",
        ),
        *(
            "ERROR bad",
            "INFO fine",
            "  + Exception Group Traceback (most recent call last):",
            "  | ValueError: y",
        ),
        "During handling of the above exception, another exception occurred:",
    ]
)


@given(st.lists(pieces | st.text(max_size=20), max_size=40))
def test_errors_lie_behind_each_other_within_the_log(lines: list[str]) -> None:
    reader = TracebackReader()
    found = [error for line in lines for error in reader.feed(line)]
    found += reader.finish()
    behind = 0
    for error in found:
        assert error.line >= behind
        assert error.lines >= 1
        behind = error.line + error.lines
    assert behind <= len(lines)

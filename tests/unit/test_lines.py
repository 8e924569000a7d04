"""Lines of logs as a terminal would show them."""

from __future__ import annotations

import sys

from nightdesk.core.logs.lines import LINE_LIMIT, LineSplitter, shown_line, whole_lines


def test_lines_come_out_when_their_end_comes_in() -> None:
    splitter = LineSplitter()
    assert splitter.feed(b"one\ntw") == ["one"]
    assert splitter.pending == "tw"
    assert splitter.feed(b"o\r\n\nthree") == ["two", ""]
    assert splitter.finish() == "three"
    assert splitter.finish() is None


def test_a_progress_bar_counts_as_its_last_frame() -> None:
    splitter = LineSplitter()
    assert splitter.feed(b"\r  1%|\r  2%|\r  3%|") == []
    assert splitter.pending == "  3%|"
    assert splitter.feed(b"\r") == []
    assert splitter.pending == "  3%|"
    assert splitter.feed(b"\r     \r\ndone\n") == ["  3%|", "done"]


def test_a_character_cut_in_two_is_whole_again() -> None:
    data = "größe 世界\n".encode()
    splitter = LineSplitter()
    assert [line for at in range(len(data)) for line in splitter.feed(data[at : at + 1])] == ["größe 世界"]


def test_bytes_that_are_no_text_are_replaced() -> None:
    assert LineSplitter().feed(b"a\xff\xfeb\n") == ["a\ufffd\ufffdb"]


def test_a_long_line_is_cut_and_says_how_much_is_hidden() -> None:
    assert shown_line(b"x" * 20, limit=8) == "xxxxxxxx… (12 bytes hidden)"
    assert shown_line("xxxxxxé and more".encode(), limit=7) == "xxxxxx… (11 bytes hidden)"
    assert shown_line("xxxxxé and more".encode(), limit=7) == "xxxxxé… (9 bytes hidden)"


def test_a_line_without_end_does_not_fill_the_memory() -> None:
    splitter = LineSplitter()
    for _ in range(2000):
        splitter.feed(b"x" * 10_000)
    assert splitter.feed(b"\n")[0].endswith(f"… ({20_000_000 - LINE_LIMIT:,} bytes hidden)")
    for _ in range(2000):
        splitter.feed(b"\r" + b"y" * 10_000)
    assert sum(sys.getsizeof(value) for value in vars(splitter).values()) < 4 * LINE_LIMIT


def test_offsets_lie_behind_the_line_ends() -> None:
    assert list(whole_lines(b"a\n\nbc", 10)) == [(12, b"a"), (13, b""), (15, b"bc")]

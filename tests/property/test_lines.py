"""Lines come out the same however the bytes are cut."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from nightdesk.core.logs.lines import LineSplitter, shown_line, whole_lines

pieces = st.sampled_from(
    [
        *(b"\n", b"\r", b"\r\n", b" ", b"abc", b"\xff", b"\xe4\xb8", b"\x00", b"x" * 70, b"\x1b[31m"),
        *("é".encode(), "世界".encode(), "🎧".encode()),
        b" 37%|###7      | 19/52 [01:12<02:05]",
    ]
)
streams = st.lists(pieces, max_size=40).map(b"".join)


def split(chunks: list[bytes], limit: int) -> list[str | None]:
    splitter = LineSplitter(limit)
    lines: list[str | None] = [line for chunk in chunks for line in splitter.feed(chunk)]
    return [*lines, splitter.pending, splitter.finish()]


@given(streams, st.lists(st.integers(0, 500), max_size=12), st.sampled_from([8, 64, 65_536]))
def test_whole_is_byte_by_byte_is_any_cut(data: bytes, cuts: list[int], limit: int) -> None:
    whole = split([data], limit)
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    assert split([data[a:b] for a, b in itertools.pairwise(edges)], limit) == whole
    assert split([data[at : at + 1] for at in range(len(data))], limit) == whole


@given(streams, st.sampled_from([8, 64, 65_536]))
def test_a_line_shown_alone_is_the_line_of_the_stream(data: bytes, limit: int) -> None:
    lines = [shown_line(raw, limit) for raw in data.split(b"\n")[:-1]]
    assert LineSplitter(limit).feed(data) == lines


@given(streams, st.integers(0, 1000))
def test_whole_lines_cover_every_byte_once(data: bytes, start: int) -> None:
    found = list(whole_lines(data, start))
    ends = [end for end, _ in found]
    assert ends == sorted(set(ends))
    assert not found or ends[-1] == start + len(data)
    assert b"\n".join(raw for _, raw in found) == data.removesuffix(b"\n")

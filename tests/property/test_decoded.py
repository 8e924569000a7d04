"""Compressed and UTF-16 logs come out the same however the bytes arrive."""

from __future__ import annotations

import gzip
import os
import tempfile
import zlib

from hypothesis import given
from hypothesis import strategies as st

from nightdesk.engine.logs.decoded import Kind, Spool, kind_of

TEXTS = st.lists(
    st.sampled_from(
        ["INFO done\n", "é", "世界", "🎧", "\n", "\r\n", "x" * 70, " 37%|███7 | 19/52\r", "\x00", "end"]
    ),
    max_size=30,
).map("".join)
CUTS = st.lists(st.integers(0, 2_000), max_size=10)


def arrived(kind: Kind, data: bytes, cuts: list[int]) -> bytes:
    """The text of a file that grew to ``data`` with a look at each of these sizes."""
    spool = Spool(kind)
    with tempfile.TemporaryFile() as file:
        for cut in [*sorted(min(cut, len(data)) for cut in cuts), len(data)]:
            file.write(data[file.tell() : cut])
            file.flush()
            spool.extend(file.fileno(), cut)
    return os.pread(spool.descriptor, spool.size, 0)


def all_ways(kind: Kind, data: bytes, cuts: list[int]) -> set[bytes]:
    return {arrived(kind, data, each) for each in ([], list(range(len(data))), cuts)}


@given(TEXTS, CUTS, st.sampled_from(["utf-16-le", "utf-16-be"]))
def test_utf_16_whole_is_byte_by_byte_is_any_cut(text: str, cuts: list[int], coding: str) -> None:
    data = "\ufeff".encode(coding) + text.encode(coding)
    assert all_ways("utf-16", data, cuts) == {text.encode()}


@given(TEXTS, TEXTS, CUTS)
def test_gzip_whole_is_byte_by_byte_is_any_cut_of_one_part_or_two(
    first: str, second: str, cuts: list[int]
) -> None:
    data = gzip.compress(first.encode(), mtime=0) + gzip.compress(second.encode(), mtime=0)
    assert kind_of(data) == "gzip"
    assert all_ways("gzip", data, cuts) == {(first + second).encode()}


@given(TEXTS, CUTS, st.integers(10, 400))
def test_a_gzip_that_is_cut_or_damaged_gives_the_same_in_every_way(
    text: str, cuts: list[int], at: int
) -> None:
    data = gzip.compress(text.encode() * 3, mtime=0)
    head = zlib.decompressobj(31).decompress(data[:at])
    assert all_ways("gzip", data[:at], cuts) == {head}
    (found,) = all_ways("gzip", data[:at] + b"\xff" * 9 + data[at + 9 :], cuts)
    assert found.startswith(head)

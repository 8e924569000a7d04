"""Counts embeddings without reading their numbers: a megabyte of them is most of what such a server sends.

Servers write vectors without blanks, one array of plain numbers behind the other. A document that looks like this is
split into its vectors, which are only counted, and the rest, which is read as JSON. Anything else is not split.
Whether the numbers are numbers is not asked.
"""

from __future__ import annotations

from typing import NamedTuple

SHORTEST = 2048
"""Shorter documents are not worth it."""
_NO_NUMBERS = (b"[", b'"', b"{", b"}")


class Vectors(NamedTuple):
    """A document split: the rest, with empty arrays in the places of the vectors, their number, and the first."""

    rest: bytes
    number: int
    first: bytes


def split_list(document: bytes) -> Vectors | None:
    """Splits ``{…"embeddings":[[1,2],[3,4]]…}``; None for what does not look like that."""
    if len(document) < SHORTEST:
        return None
    key = b'"embeddings":['
    begin = document.find(key) + len(key)
    if begin < len(key):
        return None
    number, end, next_one = 0, begin - 1, b","
    while next_one == b",":
        at = end + 1
        end = document.find(b"]", at) + 1
        if not end or not _is_array(document, at, end):
            return None
        number, next_one = number + 1, document[end : end + 1]
    rest = document[:begin] + document[end:]
    if next_one != b"]" or rest.count(b'"embeddings"') != 1:
        return None
    return Vectors(rest, number, document[begin : document.find(b"]", begin) + 1])


def split_objects(document: bytes) -> Vectors | None:
    """Splits ``{…"data":[{…"embedding":[1,2]…},…]…}``, or with texts for arrays; None for what is not like that."""
    if len(document) < SHORTEST:
        return None
    pieces: list[bytes] = []
    first, at = b"", 0
    key = b'"embedding":'
    while (begin := document.find(key, at) + len(key)) >= len(key):
        is_text = document[begin : begin + 1] == b'"'
        end = document.find(b'"' if is_text else b"]", begin + 1) + 1
        if not end or not (is_text or _is_array(document, begin, end)):
            return None
        if document.find(b"\\", begin, end) >= 0:
            return None
        first = first or document[begin:end]
        pieces.append(document[at:begin] + (b'""' if is_text else b"[]"))
        at = end
    return Vectors(b"".join([*pieces, document[at:]]), len(pieces), first) if pieces else None


def _is_array(document: bytes, begin: int, end: int) -> bool:
    """Whether what ends at the first bracket that closes holds neither texts nor objects nor other arrays."""
    if document[begin : begin + 1] != b"[":
        return False
    return all(document.find(mark, begin + 1, end) < 0 for mark in _NO_NUMBERS)

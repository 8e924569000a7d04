"""Words in blocks: whatever the case and whichever letter is rare, the lines are those that a plain look finds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nightdesk.engine.logs.words import words_matcher

LETTERS = st.sampled_from("eEqQoO1.\n ")
WORDS = st.text(st.sampled_from("eEqQoO1. "), min_size=1, max_size=4)


def plain(block: bytes, word: str) -> list[int]:
    found, at = [], 0
    for line in block.split(b"\n"):
        if word.lower().encode() in line.lower():
            found.append(at)
        at += len(line) + 1
    return found


@given(st.lists(LETTERS, max_size=80), WORDS, st.integers(1, 40), st.integers(0, 2000))
def test_the_lines_are_those_that_a_plain_look_finds(
    letters: list[str], word: str, often: int, filled: int
) -> None:
    text = "".join(letters)
    block = (text * often + "\n" + "x" * filled + "\n").encode()
    assert list(words_matcher(word)(block, len(block))) == plain(block, word)


@given(st.lists(LETTERS, min_size=1, max_size=80), WORDS)
def test_what_lies_behind_the_whole_lines_is_not_looked_at(letters: list[str], word: str) -> None:
    block = "".join(letters).encode()
    stop = block.rfind(b"\n") + 1
    expected = plain(block[:stop], word) if stop else []
    assert list(words_matcher(word)(block, stop)) == [at for at in expected if at < stop]

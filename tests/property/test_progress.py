"""Nothing that a program prints can upset the reader of progress."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nightdesk.core.logs.progress import ProgressReader

pieces = st.sampled_from(
    [
        *(
            "[",
            "]",
            "(",
            ")",
            "/",
            "%",
            "|",
            " ",
            "of",
            "12",
            "52",
            "0",
            "999999999",
            "it",
            "s/it",
            "٣",
            "done",
            "?",
        ),
        *("Processing", "progress = ", "\x1b[2K", "\x1b]0;", "INFO - ", "2025-11-21 23:00:00"),
        "37%|###  | 19/52 [01:12<02:05, 3.8s/it]",
    ]
)
lines = st.lists(pieces, max_size=14).map("".join) | st.text(max_size=60)


@given(st.lists(lines, max_size=20))
def test_any_lines_give_sane_progress_or_none(given_lines: list[str]) -> None:
    reader = ProgressReader()
    for at, line in enumerate(given_lines):
        progress = reader.feed(line, at * 1_000_000_000)
        if progress is not None:
            assert progress.done >= 0
            assert progress.total is None or progress.done <= progress.total
            assert progress.rate_per_s is None or progress.rate_per_s > 0
            assert progress.eta_ns is None or progress.eta_ns >= 0


@given(st.integers(1, 500), st.integers(0, 500))
def test_a_counter_is_read_exactly(total: int, number: int) -> None:
    progress = ProgressReader().feed(f"[{number}/{total}] Processing x.mp3", 0)
    if number > total:
        assert progress is None
    else:
        assert progress is not None
        assert (progress.done, progress.total) == (max(number - 1, 0), total)

"""Progress as real programs print it."""

from __future__ import annotations

import pytest

from nightdesk.core.logs.progress import ProgressReader
from nightdesk.model.logs import Progress

SECOND = 1_000_000_000


def read(*lines: str, step_s: float = 1.0) -> Progress | None:
    reader = ProgressReader()
    for number, line in enumerate(lines):
        reader.feed(line, int(number * step_s * SECOND))
    return reader.progress


@pytest.mark.parametrize(
    ("line", "done", "total", "item", "source"),
    [
        ("[12/52] Processing interview_12.mp3", 11, 52, "interview_12.mp3", "counter"),
        ("[12/52] Processing: interview 12 (long).mp3...", 11, 52, "interview 12 (long).mp3", "counter"),
        ("2025-11-21 23:14:02,113 - INFO - [12/52] Processing a.mp3", 11, 52, "a.mp3", "counter"),
        ("2025-11-21 23:14:02,113 - batch.run - INFO - [3/9] b.wav", 2, 9, "b.wav", "counter"),
        ("[2025-11-21 23:14:02] INFO: [3/9] b.wav", 2, 9, "b.wav", "counter"),
        ("INFO:root:[3/9] Transcribing b.wav", 2, 9, "b.wav", "counter"),
        ("11/21/2025 23:14:02 [3/9] Transcribing b.wav", 2, 9, "b.wav", "counter"),
        ("📝 [3/9] Transcribing 'b.wav'", 2, 9, "b.wav", "counter"),
        ("(3/9) b.wav", 2, 9, "b.wav", "counter"),
        ("[ 3 / 9 ] b.wav", 2, 9, "b.wav", "counter"),
        ("✓ [3/9] b.wav (3.2s)", 3, 9, None, "counter"),
        ("[3/9] Done: b.wav", 3, 9, None, "counter"),
        ("[3/9] ✅ b.wav", 3, 9, None, "counter"),
        ("[52/52] Processing last.mp3", 51, 52, "last.mp3", "counter"),
        ("[0/52] starting", 0, 52, None, "counter"),
        ("\x1b[32m[12/52]\x1b[0m Processing a.mp3", 11, 52, "a.mp3", "counter"),
        ("Processing file 12 of 52: a.mp3", 11, 52, "a.mp3", "counter"),
        ("Processing 12/52: a.mp3", 11, 52, "a.mp3", "counter"),
        ("Processing audio file 12/52 - a.mp3", 11, 52, "a.mp3", "counter"),
        ("Step 3/7 : loading", 2, 7, None, "counter"),
        ("Epoch 3/10", 2, 10, None, "counter"),
        ("Processed 12/52", 12, 52, None, "counter"),
        ("Completed 12 of 52 files", 12, 52, None, "counter"),
        ("Progress: 12/52", 12, 52, None, "counter"),
        ("12/52 files", 12, 52, None, "counter"),
        ("done with 12 of 52 transcripts so far", 12, 52, None, "counter"),
        (" 37%|███▋      | 19/52 [01:12<02:05,  3.80s/it]", 19, 52, None, "tqdm"),
        (" 37%|###7      | 19/52 [01:12<02:05,  3.80s/it]", 19, 52, None, "tqdm"),
        (
            "Transcribing:  37%|███▋      | 19/52 [01:12<02:05,  3.80s/it, loss=0.3]",
            19,
            52,
            "Transcribing",
            "tqdm",
        ),
        ("100%|██████████| 30000/30000 [00:12<00:00, 2400.00frames/s]", 30000, 30000, None, "tqdm"),
        ("  4%|▍         | 1234.5/33000.25 [00:10<04:20, 122.1seconds/s]", 1234.5, 33000.25, None, "tqdm"),
        ("model.bin:  45%|████▌     | 64.0M/142M [00:03<00:04, 18.9MB/s]", 64e6, 142e6, "model.bin", "tqdm"),
        ("  0%|          | 0/52 [00:00<?, ?it/s]", 0, 52, None, "tqdm"),
        ("19it [00:12,  1.55it/s]", 19, None, None, "tqdm"),
        ("whisper_print_progress_callback: progress =  37%", 37, 100, None, "percent"),
        ("Progress: 37.50%...", 37.5, 100, None, "percent"),
        ("progress: 5 %", 5, 100, None, "percent"),
        ("Conversion 80% complete", 80, 100, None, "percent"),
        ("pulling 6a0746a1ec1a... 37% ▕███   ▏ 1.7 GB/4.7 GB", 37, 100, "pulling 6a0746a1ec1a...", "percent"),
        ("Transcribing ━━━━━━━━╸     37% 0:02:05", 37, 100, "Transcribing", "percent"),
    ],
)
def test_a_known_form_counts_at_first_sight(
    line: str, done: float, total: float | None, item: str | None, source: str
) -> None:
    progress = read(line)
    assert progress is not None
    assert (progress.done, progress.total, progress.item, progress.source) == (done, total, item, source)


@pytest.mark.parametrize(
    "line",
    [
        "11/21 meeting with the team",
        "Started on 11/21/2025 at 23:00",
        "[11/21/2025 23:00:01] server started",
        "add 1/2 cup of sugar",
        "open 24/7",
        "GET /v1/models 200/404",
        "HTTP 200/404",
        "Python 3.11/3.12 supported",
        "reading /data/2/5/file.mp3",
        "path a/12/52/b",
        "Score: 8/10",
        "Attempt 2/3 failed",
        "[2/3] Retrying in 5 s",
        "retry 1 of 5",
        "loss 0.37% lower",
        "GPU at 82%",
        "CPU 37% mem 40%",
        "memory 10/24 GB",
        "ratio 3/4",
        "one of 5 models",
        "101% done",
        "[53/52] Processing x",
        "https://host/1/2",
        "context 8192/11900 tokens",
        "",
        "%",
        "/",
    ],
)
def test_what_only_looks_like_progress_is_left_alone(line: str) -> None:
    assert read(line, line, line) is None


@pytest.mark.parametrize("word", ["Score:", "Attempt", "rating", "retry"])
def test_scores_and_attempts_are_no_progress_even_when_they_grow(word: str) -> None:
    assert read(*(f"{word} {n}/10" for n in range(1, 8))) is None


def test_an_unknown_form_counts_when_it_was_seen_growing() -> None:
    lines = [f"batch a.json -> {n}/52 ok" for n in range(1, 6)]
    assert read(*lines[:2]) is None
    progress = read(*lines)
    assert progress is not None
    assert (progress.total, progress.source) == (52, "counter")


def test_a_bare_percentage_counts_when_it_was_seen_growing() -> None:
    assert read("10%", "20%") is None
    progress = read("10%", "20%", "30%")
    assert progress is not None and progress.done == 30


def test_rate_and_time_left_come_from_the_times_of_the_lines() -> None:
    progress = read(*(f"[{n}/11] Processing x{n}.mp3" for n in range(1, 7)), step_s=30)
    assert progress is not None
    assert progress.done == 5
    assert progress.rate_per_s == pytest.approx(1 / 30)
    assert progress.eta_ns == 6 * 30 * SECOND


def test_one_long_pause_does_not_spoil_the_rate() -> None:
    reader = ProgressReader()
    times = [0, 10, 20, 30, 5000, 5010, 5020]
    for n, at in enumerate(times, 1):
        reader.feed(f"[{n}/20] Processing x", at * SECOND)
    assert reader.progress is not None
    assert reader.progress.rate_per_s == pytest.approx(0.1)


def test_time_stamps_in_the_lines_count_more_than_when_they_were_read() -> None:
    reader = ProgressReader()
    for n in range(1, 5):
        reader.feed(f"2025-11-21 23:{n:02d}:00,000 - INFO - [{n}/10] Processing x", 7)
    assert reader.progress is not None
    assert reader.progress.rate_per_s == pytest.approx(1 / 60)
    assert reader.progress.eta_ns == 7 * 60 * SECOND


def test_lines_read_all_at_once_give_no_rate() -> None:
    progress = read(*(f"[{n}/11] Processing x" for n in range(1, 7)), step_s=0)
    assert progress is not None
    assert progress.rate_per_s is None
    assert progress.eta_ns is None


def test_tqdm_tells_rate_and_time_left_itself() -> None:
    progress = read(" 37%|███▋      | 19/52 [01:12<1:02:05,  4.00s/it]")
    assert progress is not None
    assert progress.rate_per_s == 0.25
    assert progress.eta_ns == 3725 * SECOND
    assert progress.unit == "it"


def test_the_bar_of_one_file_does_not_hide_the_batch() -> None:
    progress = read(
        "[12/52] Processing a.mp3",
        " 37%|███▋      | 1900/5200 [00:12<00:05, 380frames/s]",
        "progress = 99%",
        "100%|██████████| 5200/5200 [00:17<00:00, 380frames/s]",
    )
    assert progress is not None
    assert (progress.done, progress.total, progress.item) == (11, 52, "a.mp3")


def test_the_inner_of_two_bars_does_not_hide_the_outer() -> None:
    reader = ProgressReader()
    for outer in range(3):
        reader.feed(f"files:  {outer * 10}%|█  | {outer}/10 [00:10<01:30, 10.0s/file]", outer)
        for inner in (0, 50, 100):
            reader.feed(f"segments:  {inner}%|█  | {inner}/100 [00:01<00:01, 50it/s]", outer)
    assert reader.progress is not None
    assert (reader.progress.done, reader.progress.total, reader.progress.unit) == (2, 10, "file")


def test_a_download_that_never_ended_gives_way_to_the_batch_that_runs() -> None:
    reader = ProgressReader()
    reader.feed("model.bin:  98%|█  | 98/100 [00:10<00:01, 10.0it/s]", 0)
    for _ in range(3):
        for n in (1, 50, 100):
            reader.feed(f"{n}%|█  | {n}/100 [00:01<00:01, 50it/s]", 1)
    assert reader.progress is not None
    assert reader.progress.done != 98


def test_a_second_batch_begins_anew() -> None:
    progress = read("[52/52] Processing z", "[1/4] Processing a")
    assert progress is not None
    assert (progress.done, progress.total, progress.rate_per_s) == (0, 4, None)


def test_hostile_lines_raise_nothing_and_end_soon() -> None:
    reader = ProgressReader()
    for line in (
        "[" * 5000 + "1/2]",
        "1/" * 3000,
        "%|" * 3000,
        "a " * 3000 + "of 3",
        "9" * 3000 + "/" + "9" * 3000,
    ):
        reader.feed(line, 0)
    reader.feed("[٣/٩] x", 0)
    reader.feed("2025-99-99 99:99:99 [1/2] Processing x", 0)


def test_escapes_in_an_item_are_made_harmless() -> None:
    progress = read("[1/2] Processing \x1b]0;owned\x07a\u202eb.mp3")
    assert progress is not None and progress.item is not None
    assert "\x1b" not in progress.item and "\u202e" not in progress.item

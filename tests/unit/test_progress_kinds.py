"""Every form of progress line that programs print, and what looks like one and is none."""

from __future__ import annotations

import pytest

from nightdesk.core.logs.progress import ProgressReader
from nightdesk.model.logs import Progress

SECOND = 10**9


def read(lines: str | list[str]) -> Progress | None:
    reader = ProgressReader()
    for number, line in enumerate([lines] if isinstance(lines, str) else lines):
        reader.feed(line, number * SECOND)
    return reader.progress


@pytest.mark.parametrize(
    "lines",
    [
        ["date 11/21 run", "date 11/22 run", "date 11/23 run"],
        ["3 of 3 tests passed"],
        ["page 1/2", "page 2/2"],
        ["subnet 10.0.0.0/8", "subnet 10.1.0.0/16", "subnet 10.2.0.0/24"],
        ["reading data/1/20.wav", "reading data/2/20.wav", "reading data/3/20.wav"],
        ["score 7/10", "score 8/10", "score 9/10"],
        ["retry 1/3", "retry 2/3", "retry 3/3"],
        ["attempt 1 of 3", "attempt 2 of 3"],
        ["Retrying (1/3)", "Retrying (2/3)", "Retrying (3/3)"],
        ["GPU memory 12%", "GPU memory 40%"],
        ["CPU 12%", "CPU 20%", "CPU 30%"],
        ["memory: 12/24 GB", "memory: 13/24 GB", "memory: 14/24 GB"],
        ["WER 12.5%", "WER 13.5%"],
        ["loss 1/2"],
        ["ratio 16/9", "ratio 16/9"],
        ["worker 1/4 ready", "worker 2/4 ready", "worker 3/4 ready"],
        ["offloaded 29/29 layers to GPU"],
        ["llama_model_load: offloading 28 of 29 layers"],
        ["2026/11/21 10:00:00 x", "2026/11/22 10:00:00 x"],
        ["HTTP/1.1 200", "HTTP/1.1 201"],
        ["24/7 support", "24/7 support"],
        ["version 1/2/3"],
        ["5 of 10 GB used", "6 of 10 GB used", "7 of 10 GB used"],
        ["accuracy: 45%", "accuracy: 50%", "accuracy: 60%"],
        ["disk is 91% full"],
        ["12/52", "abc"],
        ["150%|███| 3/2 [00:01<00:00, 1it/s]"],
        ["tests/test_a.py::test_x PASSED [ 50%]", "tests/test_a.py::test_y PASSED [100%]"],
        ["step size 1/2"],
        ["eval 1/1"],
        ["rank 0/8", "rank 1/8", "rank 2/8"],
        ["took 1/2 s"],
        ["fe80::1/64", "10.0.0.1/24"],
        ["progress: 150%"],
        ["chapter 3/4 time", "in 3/4 time", "in 3/4 time"],
        ["100% of tests ok"],
    ],
    ids=lambda lines: lines[0],
)
def test_what_only_looks_like_progress_is_none(lines: list[str]) -> None:
    assert read(lines) is None


@pytest.mark.parametrize(
    ("lines", "done", "total", "unit", "item"),
    [
        (
            ["  0%|          | 0/10 [00:00<?, ?it/s]", " 50%|█████     | 5/10 [00:05<00:05, 1.0it/s]"],
            5,
            10,
            "it",
            None,
        ),
        (["37it [00:05,  7.2it/s]", "38it [00:05,  7.2it/s]"], 38, None, "it", None),
        ("0it [00:00, ?it/s]", 0, None, "it", None),
        ("1.2kit [00:05, 300it/s]", 1200, None, "it", None),
        ("12.3MB [00:05, 2.4MB/s]", 12300000.0, None, "B", None),
        ("  5%|▌         | 1.5M/30.0M [00:01<00:20, 1.5MB/s]", 1500000.0, 30000000.0, "B", None),
        (
            "Downloading:  50%|█████     | 512k/1.00M [00:01<00:01, 512kB/s]",
            512000,
            1000000.0,
            "B",
            "Downloading",
        ),
        ("100%|██████████| 10/10 [00:10<00:00,  1.00s/it]", 10, 10, "it", None),
        (
            [
                "outer:  20%|██        | 1/5 [00:10<00:40, 10.0s/it]",
                "inner:   0%|          | 0/100 [00:00<?, ?it/s]",
                "inner:  50%|█████     | 50/100 [00:05<00:05, 10it/s]",
            ],
            1,
            5,
            "it",
            "outer",
        ),
        ("\x1b[A\x1b[Kouter:  20%|██        | 1/5 [00:10<00:40, 10.0s/it]", 1, 5, "it", "outer"),
        ("50%|#####     | 5/10 [00:05<00:05,  1.00s/it, loss=0.3, acc=0.9]", 5, 10, "it", None),
        ("Epoch 1:  50%|█████     | 5/10 [00:05<00:05,  1.00it/s]", 5, 10, "it", "Epoch 1"),
        (" 10%|█         | 1/10 [1:00:00<9:00:00, 3600.00s/it]", 1, 10, "it", None),
        (" 10%|█         | 1/10 [1 day, 1:00:00<9 days, 9:00:00, 90000.00s/it]", 1, 10, "it", None),
        ("Working... ━━━━━━━━━━━╺━━━━━━━━━━━━━━━━━━━━━━━━━━━━  30% 0:00:07", 30, 100, "%", "Working..."),
        (["[1/10] Processing a.mp3", "[2/10] Processing b.mp3"], 1, 10, "it", "b.mp3"),
        ("Processing file 3 of 10: a.mp3", 2, 10, "it", "a.mp3"),
        ("Step 4/10: build", 3, 10, "it", "build"),
        ("[4/10] CC foo.o", 3, 10, "it", "CC foo.o"),
        (
            "[ 40%] Building C object CMakeFiles/a.dir/b.c.o",
            40,
            100,
            "%",
            "Building C object CMakeFiles/a.dir/b.c.o",
        ),
        ("[100%] Built target a", 100, 100, "%", "Built target a"),
        ("Progress: 45.3%", 45.3, 100, "%", None),
        ("45% complete", 45, 100, "%", None),
        ("45% done", 45, 100, "%", None),
        (
            [
                "Epoch [3/10] Step [40/100] loss 0.1",
                "Epoch [3/10] Step [41/100] loss 0.1",
                "Epoch [3/10] Step [42/100] loss 0.1",
            ],
            2.42,
            10,
            "epochs",
            None,
        ),
        (["Epoch 1/3", "Epoch 2/3", "Epoch 3/3"], 2, 3, "it", None),
        (
            [
                "  1/100 [..............................] - ETA: 10s - loss: 0.3",
                "  2/100 [..............................] - ETA: 10s - loss: 0.3",
                "  3/100 [..............................] - ETA: 10s - loss: 0.3",
            ],
            2,
            100,
            "it",
            None,
        ),
        (
            [
                "pulling manifest",
                "pulling 6a0746a1ec1a:  45% ▕███████         ▏ 2.1 GB/4.7 GB   45 MB/s     58s",
            ],
            45,
            100,
            "%",
            "pulling 6a0746a1ec1a",
        ),
        (
            "frame=  100 fps= 25 q=-1.0 size=     256kB time=00:00:04.00 bitrate= 524.3kbits/s speed=1.00x",
            4,
            None,
            "s of audio",
            None,
        ),
        ("  1,234,567  45%    1.18MB/s    0:00:01", 45, 100, "%", None),
        ("  1,234,567 100%    1.18MB/s    0:00:01 (xfr#3, to-chk=7/10)", 3, 10, "files", None),
        ("     0K .......... .......... .......... .......... .......... 45% 1.2M 1s", 45, 100, "%", None),
        (
            "file.bin            45%[========>           ]   4.50M  1.20MB/s    eta 5s",
            45,
            100,
            "%",
            "file.bin",
        ),
        ("Reading package lists... 45%", 45, 100, "%", "Reading package lists"),
        (["(3/10) installing foo", "(4/10) installing foo"], 3, 10, "it", "installing foo"),
        ("1234/5678 files done", 1234, 5678, "files", None),
        ("1,234/5,678 files", 1234, 5678, "files", None),
        ("1,234 of 5,678 documents processed", 1234, 5678, "documents", None),
        ("10 / 52 items", 10, 52, "items", None),
        ("Transcribed 12/52 (23.1%)", 12, 52, "it", None),
        ("Item 12 / 52", 11, 52, "it", None),
        (["#12/52 a.mp3", "#13/52 a.mp3", "#14/52 a.mp3"], 13, 52, "it", "a.mp3"),
        ("12 out of 52 done", 12, 52, "it", None),
        ("Completed: 12 of 52", 12, 52, "it", None),
        ("Batch 3/10 | loss 1", 2, 10, "it", None),
        ("whisper_print_progress_callback: progress =  45%", 45, 100, "%", None),
        ("Map:  45%|████▌     | 450/1000 [00:01<00:01, 450.00 examples/s]", 450, 1000, "examples", "Map"),
        (
            "Fetching 12 files:  50%|█████     | 6/12 [00:03<00:03,  2.00it/s]",
            6,
            12,
            "it",
            "Fetching 12 files",
        ),
        (
            "model.safetensors:  50%|█████     | 2.34G/4.68G [01:00<01:00, 39.0MB/s]",
            2340000000.0,
            4680000000.0,
            "B",
            "model.safetensors",
        ),
        (
            "Loading checkpoint shards:  50%|█████     | 2/4 [00:03<00:03,  1.50s/it]",
            2,
            4,
            "it",
            "Loading checkpoint shards",
        ),
        (
            "100%|███████████████████████████████████████| 139M/139M [00:02<00:00, 60.1MiB/s]",
            145752064.0,
            145752064.0,
            "B",
            None,
        ),
        ("  45%|████▌     | 2700/6000 [00:10<00:12, 270.00frames/s]", 2700, 6000, "frames", None),
        ("[download] 100% of   10.00MiB in 00:00:08 at 1.25MiB/s", 100, 100, "%", None),
        ("[download]  45.3% of 10.00MiB at Unknown B/s ETA Unknown", 45.3, 100, "%", None),
        ("out_time=00:00:05.500000", 5.5, None, "s of audio", None),
        ("small.pt ━━━━━━━━━━ 1.0/4.0 MB 6.5 MB/s 0:00:01", 1, 4, "MB", "small.pt"),
    ],
)
def test_a_form_of_progress_is_read(
    lines: str | list[str], done: float, total: float | None, unit: str, item: str | None
) -> None:
    progress = read(lines)
    assert progress is not None
    assert progress.done == pytest.approx(done)
    assert progress.total == (None if total is None else pytest.approx(total))
    assert (progress.unit, progress.item) == (unit, item)


def test_tests_of_pytest_count_once_their_share_was_seen_growing() -> None:
    lines = [f"test_x.py::test_{n} PASSED   [ {n}5%]" for n in range(1, 5)]
    progress = read(lines)
    assert read(lines[:2]) is None
    assert progress is not None
    assert (progress.done, progress.total) == (45, 100)


def test_one_recording_after_the_other_is_followed_though_the_first_never_told_its_end() -> None:
    first = ["  Duration: 00:01:00.00, start: 0.0", "size=1kB time=00:00:58.00 bitrate=1kbits/s speed=2x"]
    second = ["  Duration: 00:02:00.00, start: 0.0", "size=1kB time=00:00:12.00 bitrate=1kbits/s speed=2x"]
    progress = read([*first, *second])
    assert progress is not None
    assert (progress.done, progress.total) == (12, 120)
    assert progress.note == "another count than before, which was at 58 of 60"


def test_a_new_bar_of_the_same_length_is_not_called_the_old_one_begun_again() -> None:
    bar = "{} ━━━━━━━━━━━━━━ {}/4 0:00:00"
    progress = read([bar.format("items", 4), bar.format("checks", 1)])
    assert progress is not None
    assert progress.note == "another count than before, which was at 4 of 4"
    again = read([bar.format("items", 4), bar.format("items", 1)])
    assert again is not None
    assert again.note == "the count began again after 4 of 4"

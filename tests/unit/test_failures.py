"""Why a run failed, read from its end and the tail of its log."""

from __future__ import annotations

import errno

import pytest

from nightdesk.core.jobs.failures import end_failure, items_failure, start_failure, timeout_failure

TRACEBACK = """Traceback (most recent call last):
  File "x.py", line 3, in <module>
    main()
"""


@pytest.mark.parametrize(
    ("tail", "kind", "evidence"),
    [
        (TRACEBACK + "ValueError: no audio\n", "error", "ValueError: no audio (exit status 1)"),
        (TRACEBACK + "my.package.TapeError\ncleaning up\n", "error", "my.package.TapeError (exit status 1)"),
        (TRACEBACK + "MemoryError\n", "oom", "MemoryError"),
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB", "oom", None),
        ("RuntimeError: MPS backend out of memory (MPS allocated: 17 GB)", "oom", None),
        ("Error: model requires more system memory (24.1 GiB) than is available", "oom", None),
        ("ollama.ResponseError: model 'qwen9' not found (status code: 404)", "model_missing", None),
        ('Error: model "llama9" not found, try pulling it first', "model_missing", None),
        ("httpx.ConnectError: [Errno 111] Connection refused", "connection_refused", None),
        (
            "ConnectionError: Failed to connect to Ollama. Please check that Ollama is downloaded",
            "connection_refused",
            None,
        ),
        ("json.decoder.JSONDecodeError: Expecting value: line 1 column 1 (char 0)", "invalid_output", None),
        ("step 1\nfatal: no disk\nbye\n", "error", "fatal: no disk (exit status 1)"),
        ("all quiet\n", "error", "all quiet (exit status 1)"),
        ("", "error", "exit status 1"),
    ],
)
def test_the_class_comes_with_the_line_it_was_read_from(tail: str, kind: str, evidence: str | None) -> None:
    failure = end_failure(1, None, tail)
    assert failure is not None and failure.kind == kind
    assert failure.evidence == (evidence or tail)


def test_success_is_believed_whatever_was_printed() -> None:
    assert end_failure(0, None, "CUDA out of memory, trying again\n") is None


def test_an_early_survived_trouble_is_not_the_cause() -> None:
    tail = "Connection refused, trying again\n" + "working\n" * 60 + "ValueError: bad\n"
    failure = end_failure(1, None, tail)
    assert failure is not None and failure.kind == "error"


@pytest.mark.parametrize(
    ("number", "tail", "kind", "word"),
    [
        (9, "", "killed", "SIGKILL"),
        (9, "Connection refused\n", "killed", "memory runs out"),
        (11, "", "killed", "it crashed"),
        (6, "terminate called after throwing an instance of 'std::bad_alloc'\n", "oom", "bad_alloc"),
        (200, "", "killed", "signal 200"),
    ],
)
def test_a_signal_is_named(number: int, tail: str, kind: str, word: str) -> None:
    failure = end_failure(None, number, tail)
    assert failure is not None and failure.kind == kind and word in failure.evidence


def test_of_a_progress_bar_only_its_last_state_is_shown() -> None:
    failure = end_failure(2, None, "10%|#\r 50%|#####\rerror: tape tore\r\n")
    assert failure is not None and failure.evidence == "error: tape tore (exit status 2)"


def test_evidence_is_one_harmless_short_line() -> None:
    failure = end_failure(1, None, "ValueError: \x1b]52;c;AAAA\x07" + "x" * 5000)
    assert failure is not None and "\x1b" not in failure.evidence and len(failure.evidence) <= 300


@pytest.mark.parametrize(
    ("step", "number", "program", "words", "status"),
    [
        ("command", errno.ENOENT, "pyton", "no program named pyton on the PATH", 127),
        ("command", errno.ENOENT, "./x", "There is no file ./x in /desk", 127),
        ("command", errno.EACCES, "./x", "permission denied", 126),
        ("command", errno.ENOEXEC, "./x", "no #! line", 126),
        ("folder", errno.ENOENT, "x", "/desk can't be entered: it does not exist", 126),
        ("command", errno.ELOOP, "x", "ELOOP", 126),
    ],
)
def test_a_start_that_failed_is_explained(
    step: str, number: int, program: str, words: str, status: int
) -> None:
    failure = start_failure(step, number, program, "/desk")
    assert failure.kind == "not_found" and words in failure.evidence
    assert failure.shell_status == status


def test_time_limits_and_failed_items_are_told() -> None:
    assert timeout_failure(7200 * 10**9).evidence == "It was not done within 2h00m."
    assert items_failure(("a", "b"), 2, 5).evidence == "2 of 5 items failed: a, b"
    assert items_failure(tuple("abcdef"), 7, 9).evidence == "7 of 9 items failed: a, b, c, d, e …"

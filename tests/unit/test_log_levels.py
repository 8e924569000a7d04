"""How much lines of many programs matter: errors that are none, and errors that do not say the word."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightdesk.core.logs.formats import level_of
from nightdesk.core.logs.levels import ERROR_HINTS, WARNING_HINTS, may_matter

CORPUS = sorted((Path(__file__).parents[1] / "data" / "lines").glob("*.jsonl"))
LINES = {
    "error": [
        "===== 3 failed, 2 passed in 0.03s =====",
        "FAILED tests/test_a.py::test_b - assert 1 == 2",
        '{"level":50,"time":1700000000000,"pid":1,"hostname":"a","msg":"bad"}',
        '{"level":"ERROR","msg":"x"}',
        '{"levelno":40,"levelname":"ERROR","message":"x"}',
        '{"log":{"level":"error"},"message":"ecs"}',
        '{"error":"model not found"}',
        'level=ERROR msg="x"',
        "lvl=err msg=x",
        "[2026-11-21 10:00:00 +0000] [123] [ERROR] gunicorn",
        "[2026-11-21 10:00:00,123: ERROR/ForkPoolWorker-1] Task x raised",
        "E0000 00:00:1700000000.123456 1 cuda.cc:2] absl",
        "2026-11-21 10:00:00.123456: E tensorflow/core/x.cc:10] tf",
        "Segmentation fault (core dumped)",
        "Killed",
        "make: *** [Makefile:3: all] Error 1",
        "make[1]: *** [x.o] Error 2",
        "foo.c:3:5: error: expected ';'",
        "gcc: fatal error: no input files",
        "CMake Error at CMakeLists.txt:3 (foo):",
        "npm ERR! code ENOENT",
        "npm error code ENOENT",
        "E: Unable to locate package foo",
        "curl: (7) Failed to connect to localhost port 1",
        "wget: unable to resolve host address",
        "fatal: not a git repository",
        "bash: foo: command not found",
        "rsync error: some files could not be transferred (code 23)",
        "Error: something",
        "ERROR something",
        "Exception: bad",
        "ValueError: bad",
        "torch.cuda.OutOfMemoryError: CUDA out of memory.",
        "CUDA error: out of memory",
        "RuntimeError",
        "KeyboardInterrupt",
        "AssertionError",
        "ollama._types.ResponseError: model 'x' not found (status code: 404)",
        "ggml_cuda_init: failed to initialize CUDA: no CUDA",
        "llama_model_load: error loading model: x",
        "srv    load_model: failed to load model",
        "0.00.123.456 E failed",
        "✗ failed session-3.mp3: no voice",
        "❌ Failed",
        "Failed to load x",
        "failed: session-3",
        "  ERROR  ",
        "panic: runtime error: index",
        "thread 'main' panicked at src/main.rs:2:5:",
        "Nov 21 10:00:00 host kernel: Out of memory: Killed process 12 (python)",
        "Nov 21 10:00:00 host sshd[1]: error: x",
        "<3>kernel: err",
        "10:00:00 [Error] x",
        "[error] x",
        "[ERROR] x",
        "[E] x",
        "[E 2026-11-21 10:00:00.1 ServerApp] x",
        "2026/11/21 10:00:00 [error] 123#0: *1 nginx",
        'HTTP Request: POST http://127.0.0.1:11434/api/chat "HTTP/1.1 500 Internal Server Error"',
        "Traceback (most recent call last):",
        "ERROR 0 of 3 workers left",
    ],
    "warning": [
        '{"level":40,"time":1700000000000,"pid":1,"hostname":"a","msg":"hm"}',
        '{"severity":"WARNING","message":"x"}',
        '{"log.level":"warn","message":"ecs"}',
        "2026-11-21 10:00:00,123 - mymod - WARNING - CRITICAL section",
        "[2026-11-21 10:00:00,123: WARNING/MainProcess] celery",
        "W1121 10:00:00.123456 1 file.go:2] klog",
        "2026-11-21 10:00:00.123456: W tensorflow/core/x.cc:10] tf",
        "foo.c:3:5: warning: unused",
        "CMake Warning (dev) at CMakeLists.txt:3",
        "npm WARN deprecated x",
        "npm warn deprecated x",
        "W: An error occurred",
        "0.00.123.456 W warn",
        "UserWarning: FP16 is not supported on CPU",
        "/x/y.py:126: UserWarning: FP16 is not supported on CPU; using FP32 instead",
        "DeprecationWarning: x",
        "WARNING: pip is old",
        "warning: something",
        "Warning: something",
        "[W] x",
        "2026/11/21 10:00:00 [warn] x",
        '127.0.0.1 - - [21/Nov/2026 10:00:00] "GET / HTTP/1.1" 404 -',
        'INFO:     127.0.0.1:1 - "GET / HTTP/1.1" 404 Not Found',
    ],
    "info": [
        "2026-11-21 10:00:00 INFO done, 0 ERRORS found",
        "===== 12 passed in 0.03s =====",
        "tests/test_a.py::test_b PASSED [ 50%]",
        "tests/test_a.py::test_error_handling PASSED [ 50%]",
        "tests/test_a.py::test_ERROR PASSED",
        '{"level":30,"time":1700000000000,"msg":"hello"}',
        '{"name":"app","hostname":"h","pid":1,"level":30,"msg":"bunyan","time":"2026-11-21T10:00:00.000Z","v":0}',
        '{"levelno":20,"message":"x"}',
        'time=2026-11-21T10:00:00.000+01:00 level=INFO source=routes.go:1 msg="error while"',
        'ts=2026 level=info msg="0 errors"',
        "INFO:root:ERROR in text",
        "2026-11-21 10:00:00,123 - root - INFO - FAILED to find, trying again",
        "2026-11-21 10:00:00 | INFO     | __main__:main:3 - ERROR later",
        "[2026-11-21 10:00:00 +0000] [123] [INFO] Listening",
        "2026-11-21 10:00:00.123456: I tensorflow/core/x.cc:10] tf",
        "foo.c:3:5: note: here",
        "N: See apt-secure(8)",
        "0.00.123.456 I build: 1",
        "[INFO] x",
        "[I 10:00:00.1 LabApp] x",
        "2026/11/21 10:00:00 [notice] x",
        "info: y",
        'HTTP Request: POST http://127.0.0.1:11434/api/chat "HTTP/1.1 200 OK"',
    ],
    "debug": [
        '{"level":20,"time":1700000000000,"pid":1,"hostname":"a","msg":"dbg"}',
        '{"level":10,"time":1700000000000,"pid":1,"hostname":"a","msg":"trace"}',
        "0.00.123.456 D warn",
        "TRACE x",
        "DEBUG:x:y",
        "debug: y",
    ],
    "": [
        "pipeline finished: 0 errors, 0 warnings",
        "error_rate=0.01 step=3",
        "no errors found",
        "no error: all fine",
        "Errors: 0",
        "errors: 0, warnings: 3",
        "0 failed, 3 passed",
        "FAILED: 0",
        '{"error":null,"message":"fine"}',
        "llama_model_loader: loaded meta data",
        "print_info: file format = GGUF V3",
        "processing error-report.pdf",
        "Opening /var/log/error.log",
        "file errors.txt written",
        "validation error 0.031 train error 0.02",
        "word error rate: 0.12",
        "Error rate: 3 %",
        "mean squared error: 0.3",
        "✅ Done",
        "✓ saved",
        "goroutine 1 [running]:",
        "127.0.0.1 - - [21/Nov/2026 10:00:00] code 404, message File not found",
        "Epoch 3: loss=0.1 error=0.2",
        "exit status 1",
        "Job exited with code 1",
    ],
}
WORDS = [
    "ERROR",
    "error",
    "Error:",
    "FAILED",
    "failed",
    "fatal:",
    "[E]",
    "[error]",
    "E",
    "W",
    "WARN",
    "warning:",
    "level=error",
    "level=warn",
    "0",
    ":",
    "=",
    "10:00:00",
    "\n",
    "Killed",
    "ValueError:",
    "UserWarning:",
    "HTTP/1.1",
    '"',
    "500",
    "200",
    "not",
    "found",
    "Permission",
    "denied",
    "make:",
    "***",
    "✗",
    "⚠",
    "x",
    "2026-11-21",
]


@pytest.mark.parametrize(
    ("line", "level"), [(line, level) for level, lines in LINES.items() for line in lines]
)
def test_a_line_matters_as_much_as_a_reader_would_say(line: str, level: str) -> None:
    assert level_of(line) == level


def found_in_blocks(line: str) -> bool:
    """Whether a block of lines with this one in it is looked at closely."""
    hints = ERROR_HINTS if level_of(line) == "error" else (*ERROR_HINTS, *WARNING_HINTS)
    raw = line.encode() + b"\n"
    return may_matter(raw, hints) and may_matter(b"a line\n" + raw + b"another\n", hints)


def test_no_block_with_an_error_or_a_warning_is_left_out() -> None:
    recorded = [json.loads(row)["line"] for path in CORPUS for row in path.read_text("utf-8").splitlines()]
    for line in [*recorded, *LINES["error"], *LINES["warning"]]:
        assert level_of(line) not in ("error", "warning") or found_in_blocks(line), line


@given(st.lists(st.sampled_from(WORDS), max_size=8).map(" ".join))
def test_no_mixture_of_level_words_is_left_out(line: str) -> None:
    for each in line.split("\n"):
        assert level_of(each) not in ("error", "warning") or found_in_blocks(each)

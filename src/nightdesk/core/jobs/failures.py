"""Says why an attempt failed: a class that policies can depend on, and the evidence for it.

Read from how the command ended, from the tail of its log, and from the verdicts on its exchanges where those say
nothing of a cause. A class that is read from text is a reading, so the line that it was read from is always given.
"""

from __future__ import annotations

import errno
import re
import signal
from collections.abc import Sequence

from nightdesk.core.foreign import safe_line
from nightdesk.core.masking import masked_text
from nightdesk.model.job import Failure
from nightdesk.model.units import format_duration

TAIL_BYTES = 16_384
"""How much of the end of a log is worth looking at."""
EVIDENCE_LIMIT = 300
NEAR_LINES = 40
"""A line further up than this is more likely an earlier, survived trouble than the cause of the end."""
FINAL: frozenset[str] = frozenset({"not_found", "model_missing"})
"""Classes that another attempt can't help."""

UNEXPLAINED: frozenset[str] = frozenset({"error", "invalid_output"})
"""Classes that say how it ended and not why: verdicts on the exchanges may know more."""

_FLAGS = re.IGNORECASE
_CLASSES = (
    (
        "oom",
        re.compile(
            r"out of memory|OutOfMemoryError|\bMemoryError\b|cannot allocate memory|bad_alloc"
            r"|insufficient memory|requires more system memory|failed to allocate .{0,40}(buffer|memory)",
            _FLAGS,
        ),
    ),
    (
        "model_missing",
        re.compile(
            r"model ['\"]?[^\s'\"]+['\"]? (is )?not found|try pulling it first|model_not_found", _FLAGS
        ),
    ),
    (
        "connection_refused",
        re.compile(
            r"connection ?refused|ECONNREFUSED|failed to connect to ollama|all connection attempts failed"
            r"|could not connect to ollama|errno (111|61)\b",
            _FLAGS,
        ),
    ),
    ("invalid_output", re.compile(r"JSONDecodeError", _FLAGS)),
)
_RAISED = re.compile(r"^([A-Za-z_][\w.]*(Error|Exception|Interrupt|Exit|Timeout|Warning|Iteration))\b(:|$)")
_LOUD = re.compile(r"\b(error|fatal|failed|exception|panic|abort(ed)?|cannot|can't)\b", _FLAGS)


def end_failure(exit_status: int | None, signal_number: int | None, tail: str) -> Failure | None:
    """The failure of a command that ran and ended by itself; None where it succeeded.

    ``tail`` is the end of its log, from this attempt on. Errors that the log shows are believed only because the
    command failed: a command that ends with 0 has succeeded whatever it printed.
    """
    if exit_status == 0:
        return None
    lines = [line for line in _lines(tail) if line.strip()]
    raised = _last(lines, _RAISED)
    if signal_number is not None:
        by_text = _class_of(lines[-NEAR_LINES:], ("oom",))
        return by_text or Failure(kind="killed", evidence=_signal_sentence(signal_number))
    kinds = tuple(kind for kind, _ in _CLASSES)
    failure = (_class_of([raised], kinds) if raised else None) or _class_of(lines[-NEAR_LINES:], kinds)
    if failure is not None:
        return failure
    line = raised or _last(lines[-20:], _LOUD) or (lines[-1] if lines else None)
    said = f"exit status {exit_status}"
    return Failure(kind="error", evidence=_evidence(f"{line.strip()} ({said})") if line else said)


def _class_of(lines: list[str], kinds: tuple[str, ...]) -> Failure | None:
    for kind, pattern in _CLASSES:
        if kind in kinds and (line := _last(lines, pattern)) is not None:
            return Failure(kind=kind, evidence=_evidence(line))
    return None


def start_failure(step: str, number: int, program: str, folder: str) -> Failure:
    """The failure of a command that never ran. ``step`` is ``folder`` or ``command``, ``number`` the errno."""
    if step == "folder":
        sentence = f"The working folder {folder} can't be entered: {_reason(number)}."
    elif number == errno.ENOENT and "/" not in program:
        sentence = f"There is no program named {program} on the PATH of the engine."
    elif number == errno.ENOENT:
        sentence = f"There is no file {program} in {folder}, or the interpreter in its first line is missing."
    elif number == errno.ENOEXEC:
        sentence = f"{program} is not a program: it has no #! line that names its interpreter."
    else:
        sentence = f"{program} can't be started: {_reason(number)}."
    is_missing = step != "folder" and number == errno.ENOENT
    return Failure(kind="not_found", evidence=_evidence(sentence), shell_status=127 if is_missing else 126)


def timeout_failure(limit_ns: int) -> Failure:
    """The failure of an attempt that the desk ended because it took too long."""
    return Failure(kind="timeout", evidence=f"It was not done within {format_duration(limit_ns)}.")


def stall_failure(evidence: str) -> Failure:
    """The failure of an attempt that the desk ended because it showed no sign of life."""
    return Failure(kind="stalled", evidence=_evidence(evidence))


def invalid_failure(reason: str) -> Failure:
    """The failure of an attempt that ended well and left nothing that can be used."""
    return Failure(kind="invalid_output", evidence=_evidence(reason))


def context_failure(cut: str, failure: Failure) -> Failure:
    """The failure of an attempt to which a model answered without having read all; ``cut`` is the evidence for that."""
    return Failure(kind="context_cut", evidence=_evidence(f"{cut} It ended with: {failure.evidence}"))


def items_failure(first: Sequence[str], count: int, total: int) -> Failure:
    """The failure of a run of which ``count`` items failed; ``first`` are the first few of them."""
    names = ", ".join(first[:5]) + (" …" if count > 5 else "")
    return Failure(kind="items", evidence=_evidence(f"{count} of {total} items failed: {names}"))


def _reason(number: int) -> str:
    known = {
        errno.ENOENT: "it does not exist",
        errno.EACCES: "permission denied",
        errno.ENOTDIR: "it is not a folder",
        errno.E2BIG: "its arguments are too long",
    }
    return known.get(number, errno.errorcode.get(number, str(number)))


def _signal_sentence(number: int) -> str:
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = "unknown"
    hint = ""
    if name == "SIGKILL":
        hint = ", which the desk did not send; the kernel does so when memory runs out"
    elif name in ("SIGSEGV", "SIGBUS", "SIGILL", "SIGABRT", "SIGFPE"):
        hint = ": it crashed"
    return f"Ended by signal {number} ({name}){hint}."


def _lines(tail: str) -> list[str]:
    """Lines as a terminal would leave them: of a progress bar only its last state."""
    return [line.rstrip("\r").rpartition("\r")[2] for line in tail.split("\n")]


def _last(lines: list[str], pattern: re.Pattern[str]) -> str | None:
    return next((line for line in reversed(lines) if pattern.search(line)), None)


def _evidence(line: str) -> str:
    return safe_line(masked_text(line.strip(), ()), EVIDENCE_LIMIT)

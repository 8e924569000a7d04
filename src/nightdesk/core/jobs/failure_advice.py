"""Failure classes in words, and what to do about each."""

from __future__ import annotations

from nightdesk.model.job import Failure

WORDS = {
    "error": "error",
    "killed": "killed",
    "oom": "out of memory",
    "timeout": "timed out",
    "stalled": "stalled",
    "not_found": "could not start",
    "lost": "lost",
    "model_missing": "model missing",
    "connection_refused": "connection refused",
    "context_cut": "context cut",
    "invalid_output": "invalid output",
    "items": "items failed",
}
_ADVICE = {
    "error": "The end of its output says what went wrong. Fix that, then try this one alone before all run again.",
    "killed": (
        "Something other than the desk ended it. Look at memory in its last minutes; where that was full, fewer at "
        "a time (parallel) or a smaller model helps."
    ),
    "oom": (
        "Free memory before it starts (unload_models = true), let fewer run at a time (parallel, uses), or take a "
        "smaller model; a fallback command can do so by itself."
    ),
    "timeout": "Where it was still at work, give it more time (timeout); where it hung, its processes show on what.",
    "stalled": (
        "It neither printed, nor used the processor, nor talked to a model server. Where such a silence is usual, "
        "raise stall_after."
    ),
    "not_found": "Another attempt can't help: the command or its working folder in nightdesk.toml has to be mended.",
    "lost": (
        "Its keeper was killed, or the machine went down. What is left of it is among the orphans: end that before it "
        "is done again."
    ),
    "model_missing": "Another attempt can't help: pull the model, or name another one.",
    "connection_refused": "The model server did not answer. See that it runs, and that the job asks the right port.",
    "context_cut": "The prompt was longer than the context: raise num_ctx, or send less.",
    "invalid_output": "It ended well, yet what it left can't be used: look at the output file, and at what check says.",
    "items": "The items have their own reasons: the list of items shows them, and r does only those again.",
}


def class_words(kind: str) -> str:
    """The class of a failure as a person would say it; an unknown one with blanks for its underscores."""
    return WORDS.get(kind) or kind.replace("_", " ")


def failure_words(failure: Failure) -> str:
    """Class and evidence in one line; the class is left out where the evidence names it already."""
    words = class_words(failure.kind)
    if failure.kind in ("error", "items") or words in failure.evidence.casefold():
        return failure.evidence
    return f"{words}: {failure.evidence}"


def advice(kind: str) -> str:
    """What to do about a failure of this class; empty where nothing is known of the class."""
    return _ADVICE.get(kind, "")


def end_words(exit_status: int | None, signal: int | None) -> str:
    """How a command ended: ``by signal 9``, ``with exit status 1``."""
    if signal is not None:
        return f"by signal {signal}"
    return f"with exit status {exit_status}" if exit_status is not None else "without an exit status"

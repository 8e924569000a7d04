"""What a query can ask of an exchange, and how a row in memory answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from nightdesk.core.inspection.words import split_words
from nightdesk.core.moments import Moment
from nightdesk.model.exchange import ExchangeRow

TEXT_KEYS = ("model", "job", "item", "run", "path", "process", "reason", "verdict")
"""Values are looked for inside, ignoring case; ``=value`` is exact, ``*`` is anything but nothing."""
WORD_KEYS: dict[str, tuple[str, ...]] = {
    "state": ("running", "complete", "incomplete", "aborted", "partial", "failed"),
    "op": ("chat", "generate", "embed", "manage", "other"),
    "dialect": ("ollama", "openai", "anthropic", "http"),
    "mark": ("good", "bad", "*"),
}
"""Values are one of a few words."""
STATUS_WORDS = ("error", "ok", "running")
TROUBLE = ("failed", "aborted", "incomplete")
"""States that ``status:error`` means, beside HTTP 400 and above."""
NUMBER_KEYS = ("id", "pid", "replay")
"""Values are numbers or ranges (``100-200``); ``*`` is any."""
TIME_KEYS = ("since", "until")
KEYS = (*TEXT_KEYS, *WORD_KEYS, "status", *NUMBER_KEYS, *TIME_KEYS)

Unit = str
MEASURES: dict[str, Unit] = {
    "took": "time",
    "first": "time",
    "load": "time",
    "tokens": "count",
    "prompt": "count",
    "reply": "count",
    "rate": "rate",
    "size": "size",
}
"""What can be compared: from begin to end, to the first token, loading the model; tokens in all, of the prompt, of the
reply; reply tokens a second; bytes in both directions."""


@dataclass(frozen=True, slots=True)
class Contains:
    """The value of a key holds one of ``values`` (casefolded)."""

    key: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OneOf:
    """The value of a key is one of ``values``; ``*`` stands for any."""

    key: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class HasStatus:
    """The outcome is one of ``values``: ``error``, ``ok``, ``running``, a status (``500``) or a class (``5xx``)."""

    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class InRange:
    """A number lies in one of ``ranges`` (both ends included); no ranges: it is known at all."""

    key: str
    ranges: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Compare:
    """A measure against an amount, in nanoseconds, tokens, tokens a second, or bytes."""

    key: str
    sign: str
    amount: float


@dataclass(frozen=True, slots=True)
class Began:
    """The exchange began not before (``since``) or not after (``until``) a moment."""

    key: str
    moment: Moment


@dataclass(frozen=True, slots=True)
class Phrase:
    """The words of ``text`` stand one after another in prompt or reply."""

    text: str
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Word:
    """The words of ``text`` stand one after another in the row's own words, in prompt or reply; the last one may be
    the beginning of a word.
    """

    text: str
    words: tuple[str, ...]

    @property
    def begins(self) -> bool:
        """One letter alone would be the beginning of nearly everything."""
        return len(self.words[-1]) > 1


Condition = Contains | OneOf | HasStatus | InRange | Compare | Began | Phrase | Word


def holds(condition: Condition, row: ExchangeRow, now_ns: int, text: Callable[[], str] | None) -> bool:
    """Whether a row in memory meets a condition. ``text`` gives prompt and reply; the row's tail stands in for it."""
    match condition:
        case Contains():
            return _contains(condition, row)
        case OneOf():
            value = _WORD_OF[condition.key](row)
            return value in condition.values or (value is not None and "*" in condition.values)
        case HasStatus():
            return any(_has_status(value, row) for value in condition.values)
        case InRange():
            number = _NUMBER_OF[condition.key](row)
            return number is not None and (
                not condition.ranges or any(low <= number <= high for low, high in condition.ranges)
            )
        case Compare():
            measured = measure(row, condition.key, now_ns)
            return measured is not None and _SIGNS[condition.sign](measured, condition.amount)
        case Began():
            at_ns = condition.moment.at_ns(now_ns, is_end=condition.key == "until")
            return row.started_ns >= at_ns if condition.key == "since" else row.started_ns <= at_ns
        case Phrase():
            return _holds_text(condition.words, row, text, begins=False)
        case Word():
            own = holds_words(condition.words, row_words(row), begins=condition.begins)
            return own or _holds_text(condition.words, row, text, begins=condition.begins)


def _contains(condition: Contains, row: ExchangeRow) -> bool:
    texts = [one.casefold() for one in _TEXTS_OF[condition.key](row) if one]
    return any(_is_found(value, text) for value in condition.values for text in texts)


def _is_found(value: str, text: str) -> bool:
    exact = exact_value(value)
    return value == "*" or (value in text if exact is None else exact == text)


def exact_value(value: str) -> str | None:
    """What a text must be where ``value`` asks for more than a part (``=name``); None else."""
    return value[1:] if value.startswith("=") and len(value) > 1 else None


def _has_status(value: str, row: ExchangeRow) -> bool:
    status = row.status or 0
    match value:
        case "error":
            return row.state in TROUBLE or status >= 400
        case "ok":
            return row.state == "complete" and status < 400
        case _ if value in WORD_KEYS["state"]:
            return row.state == value
        case _ if value.endswith("xx"):
            return status // 100 == int(value[0])
        case _:
            return status == int(value)


def measure(row: ExchangeRow, key: str, now_ns: int) -> float | None:
    """A measure of a row; None where it is unknown. A running exchange has taken the time until now."""
    match key:
        case "took":
            return (
                (row.ended_ns or now_ns) - row.started_ns if row.ended_ns or row.state == "running" else None
            )
        case "first":
            return None if row.first_token_ns is None else row.first_token_ns - row.started_ns
        case "load":
            return row.load_ns
        case "tokens":
            counts = [count for count in (row.prompt_tokens, row.reply_tokens) if count is not None]
            return sum(counts) if counts else None
        case "prompt":
            return row.prompt_tokens
        case "reply":
            return row.reply_tokens
        case "rate":
            if row.reply_tokens is None or not row.generation_ns:
                return None
            return row.reply_tokens * 1e9 / row.generation_ns
        case _:
            return row.request_bytes + row.response_bytes


def row_words(row: ExchangeRow) -> str:
    """The row's own words, casefolded: what a bare word is looked for in."""
    held = (row.model, row.job, row.item, row.process, row.operation, row.path, row.error, *row.verdicts)
    return "\n".join(one for one in held if one).casefold()


def _holds_text(
    words: tuple[str, ...], row: ExchangeRow, text: Callable[[], str] | None, *, begins: bool
) -> bool:
    return bool(words) and holds_words(words, text() if text else row.tail, begins=begins)


def holds_words(wanted: tuple[str, ...], text: str, *, begins: bool) -> bool:
    """Whether ``wanted`` stand one after another in ``text``; with ``begins``, the last one may go on there."""
    end = "" if begins else " "
    return f" {' '.join(wanted)}{end}" in f" {' '.join(split_words(text))} "


_SIGNS: dict[str, Callable[[float, float], bool]] = {
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
}
_TEXTS_OF: dict[str, Callable[[ExchangeRow], Sequence[str | None]]] = {
    "model": lambda row: (row.model,),
    "job": lambda row: (row.job,),
    "item": lambda row: (row.item,),
    "run": lambda row: (row.run,),
    "path": lambda row: (row.path,),
    "process": lambda row: (row.process,),
    "reason": lambda row: (row.done_reason,),
    "verdict": lambda row: row.verdicts,
}
_WORD_OF: dict[str, Callable[[ExchangeRow], str | None]] = {
    "state": lambda row: row.state,
    "op": lambda row: row.operation,
    "dialect": lambda row: row.dialect,
    "mark": lambda row: row.mark,
}
_NUMBER_OF: dict[str, Callable[[ExchangeRow], int | None]] = {
    "id": lambda row: row.id,
    "pid": lambda row: row.pid,
    "replay": lambda row: row.replay_of,
}

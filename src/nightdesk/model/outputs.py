"""Outputs of jobs: the rules that they must obey, and what came of looking at them."""

from __future__ import annotations

from typing import Literal, get_args

from nightdesk.model.base import Noun

Rule = Literal[
    "exists",
    "size",
    "schema",
    "headings",
    "patterns",
    "forbidden",
    "not_truncated",
    "not_repeated",
    "language",
    "code",
    "golden",
    "check",
]
"""Named as the keys of ``[jobs.NAME.validate]``; ``size`` stands for both limits, ``check`` is the job's command."""
RULES: tuple[Rule, ...] = get_args(Rule)

Language = Literal[
    "ar", "da", "de", "el", "en", "es", "fr", "he", "hi", "it", "ja", "ko", "nl", "no", "pl", "pt", "ru", "sv", "th",
    "tr", "uk", "zh",
]  # fmt: skip
"""Languages that the estimate tells apart."""

OutputState = Literal["failed", "doubtful", "unknown", "passed"]
"""The worst first. ``doubtful``: a rule that only warns is broken. ``unknown``: nothing could be said, or not all."""
OUTPUT_STATES: tuple[OutputState, ...] = get_args(OutputState)
BINS = 10
"""Of the histogram of scores: each a tenth, the last one with 1.0."""


class RuleResult(Noun, frozen=True, kw_only=True):
    """What one rule says of one output."""

    rule: Rule
    state: OutputState
    evidence: str
    """What was found, in a few words."""
    score: float | None = None
    """0 to 1: how much of the rule is obeyed."""


class OutputResult(Noun, frozen=True, kw_only=True):
    """What the rules of a job say of the output of one item."""

    job: str
    item: str
    run: str | None = None
    """The run that made it; None where it was looked at by hand."""
    at_ns: int
    state: OutputState
    score: float | None = None
    """The mean of the scores of its rules."""
    output: str
    """As the job names it, from its folder."""
    path: str = ""
    """The same from the root."""
    output_bytes: int | None = None
    output_ns: int | None = None
    """When it was changed last."""
    results: tuple[RuleResult, ...] = ()
    flagged: bool = False
    note: str = ""
    """Why it is flagged."""

    @property
    def broken(self) -> tuple[RuleResult, ...]:
        """The rules that it does not obey."""
        return tuple(each for each in self.results if each.state in ("failed", "doubtful"))


class CourseStep(Noun, frozen=True, kw_only=True):
    """Results that came one after another, summed up."""

    from_ns: int
    until_ns: int
    count: int
    failed: int = 0
    doubtful: int = 0


class OutputPage(Noun, frozen=True, kw_only=True):
    """A part of the newest results of a job's items, and all of them summed up."""

    job: str
    rows: tuple[OutputResult, ...] = ()
    offset: int = 0
    total: int = 0
    """Items that match."""
    counts: dict[OutputState, int] = {}
    """All items by state; states that do not occur are absent."""
    flagged: int = 0
    rules: dict[Rule, int] = {}
    """How many items break each rule; rules that nobody breaks are absent."""
    histogram: tuple[int, ...] = ()
    """How many scores fall into each tenth."""
    mean: float | None = None
    """Of all scores."""
    course: tuple[CourseStep, ...] = ()
    """All results that are kept, oldest first, also those that newer ones of the same item replace."""


class OutputsAsked(Noun, frozen=True, kw_only=True):
    """Request: look at the outputs of these items now."""

    items: tuple[str, ...]


class OutputsFlagged(Noun, frozen=True, kw_only=True):
    """Request: flag items, or take the flag away. A flagged output is not believed: its item is done again."""

    items: tuple[str, ...]
    flagged: bool = True
    note: str = ""

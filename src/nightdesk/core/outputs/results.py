"""Results of a job put together: the newest of each item, counts, scores, and how it went over time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from nightdesk.model.errors import UsageError
from nightdesk.model.outputs import (
    BINS,
    OUTPUT_STATES,
    RULES,
    CourseStep,
    OutputPage,
    OutputResult,
    OutputState,
    Rule,
)

STEPS = 240
"""Of the course: more than a screen has columns."""


class Wanted(NamedTuple):
    """Which results are listed. Empty: all."""

    states: tuple[OutputState, ...] = ()
    rule: Rule | None = None
    """Only those that break it."""
    text: str = ""
    flagged: bool = False

    def fits(self, result: OutputResult) -> bool:
        """Whether a result is listed."""
        if self.states and result.state not in self.states:
            return False
        if self.flagged and not result.flagged:
            return False
        if self.rule and all(each.rule != self.rule for each in result.broken):
            return False
        return not self.text or self.text.casefold() in _words_of(result)


def wanted(state: str, rule: str, text: str, *, flagged: bool) -> Wanted:
    """What a request asks for. Raises UsageError for a state or a rule that does not exist."""
    states = tuple(each for each in state.split(",") if each)
    for each in states:
        if each not in OUTPUT_STATES:
            raise UsageError(f"There is no state {each}.", f"The states: {', '.join(OUTPUT_STATES)}.")
    if rule and rule not in RULES:
        raise UsageError(f"There is no rule {rule}.", f"The rules: {', '.join(RULES)}.")
    return Wanted(states, rule or None, text.strip(), flagged)  # type: ignore[arg-type]  # - looked up above


def page(
    job: str, results: Sequence[OutputResult], asked: Wanted, *, offset: int = 0, limit: int = 200
) -> OutputPage:
    """A part of the newest results. ``results`` are all that are kept of the job, oldest first."""
    newest = list({each.item: each for each in results}.values())
    fitting = [each for each in newest if asked.fits(each)]
    fitting.sort(key=_badness)
    counts = Counter(each.state for each in newest)
    broken = Counter(each.rule for result in newest for each in result.broken)
    scores = [each.score for each in newest if each.score is not None]
    return OutputPage(
        job=job,
        rows=tuple(fitting[offset : offset + limit]),
        offset=offset,
        total=len(fitting),
        counts={state: counts[state] for state in OUTPUT_STATES if counts[state]},
        flagged=sum(each.flagged for each in newest),
        rules={rule: broken[rule] for rule in RULES if broken[rule]},
        histogram=histogram(scores),
        mean=round(sum(scores) / len(scores), 4) if scores else None,
        course=course(results),
    )


def _badness(result: OutputResult) -> tuple[int, float, str]:
    """The worst state and score first, then by name: what is looked at again stays where it is."""
    score = 1.0 if result.score is None else result.score
    return OUTPUT_STATES.index(result.state), score, result.item


def histogram(scores: Iterable[float]) -> tuple[int, ...]:
    """How many scores fall into each tenth."""
    found = Counter(min(BINS - 1, int(score * BINS)) for score in scores)
    return tuple(found[place] for place in range(BINS))


def course(results: Sequence[OutputResult], most: int = STEPS) -> tuple[CourseStep, ...]:
    """Results one after another, oldest first; several in a step where there are many."""
    size = max(1, -(-len(results) // most))
    return tuple(_step(results[place : place + size]) for place in range(0, len(results), size))


def _step(results: Sequence[OutputResult]) -> CourseStep:
    states = Counter(each.state for each in results)
    return CourseStep(
        from_ns=results[0].at_ns,
        until_ns=results[-1].at_ns,
        count=len(results),
        failed=states["failed"],
        doubtful=states["doubtful"],
    )


def _words_of(result: OutputResult) -> str:
    words = [result.item, result.output, result.note, *(each.evidence for each in result.results)]
    return "\n".join(words).casefold()


def merged(steps: Sequence[CourseStep], most: int) -> list[CourseStep]:
    """At most so many steps: neighbours put together."""
    size = max(1, -(-len(steps) // most))
    return [_joined(steps[place : place + size]) for place in range(0, len(steps), size)]


def _joined(steps: Sequence[CourseStep]) -> CourseStep:
    return CourseStep(
        from_ns=steps[0].from_ns,
        until_ns=steps[-1].until_ns,
        count=sum(each.count for each in steps),
        failed=sum(each.failed for each in steps),
        doubtful=sum(each.doubtful for each in steps),
    )

"""From when on something is worth a verdict: the ``[verdicts]`` table, in base units."""

from __future__ import annotations

from typing import NamedTuple

from nightdesk.model.config import VerdictsSection, span_ns


class Thresholds(NamedTuple):
    """Limits as the rules use them. The defaults are those of the configuration."""

    slow_first_token_ns: int
    stalled_ns: int
    only_thinking_ns: int
    reload_ns: int
    loop_repeats: int
    whitespace_run: int
    reply_cut_above: int
    context_full: float
    off: frozenset[str]


def thresholds_of(section: VerdictsSection) -> Thresholds:
    """The limits that a configuration asks for."""
    return Thresholds(
        slow_first_token_ns=span_ns(section.slow_first_token),
        stalled_ns=span_ns(section.stalled_after),
        only_thinking_ns=span_ns(section.only_thinking_after),
        reload_ns=span_ns(section.reload_takes),
        loop_repeats=section.loop_repeats,
        whitespace_run=section.whitespace_run,
        reply_cut_above=section.reply_cut_above,
        context_full=section.context_full_percent / 100,
        off=frozenset(section.off),
    )


DEFAULTS = thresholds_of(VerdictsSection())

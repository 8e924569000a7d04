"""Verdicts: findings about exchanges, each with its evidence and what to do about it. docs/verdicts.md explains them.

:func:`verdicts_of` judges an ended exchange, :class:`Watcher` a running one. Where facts are missing there is no
verdict: a guess would cost more trust than it is worth.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_args

from nightdesk.core.verdicts.context import context_verdicts
from nightdesk.core.verdicts.endings import ending_verdicts
from nightdesk.core.verdicts.facts import has_content, is_inference, prompt_texts, verdict, was_cut
from nightdesk.core.verdicts.json_replies import is_complete_json, json_verdicts, wanted_json
from nightdesk.core.verdicts.known import Known
from nightdesk.core.verdicts.loops import Ended, find_loop, white_tail
from nightdesk.core.verdicts.thresholds import DEFAULTS, Thresholds, thresholds_of
from nightdesk.core.verdicts.timing import timing_verdicts
from nightdesk.core.verdicts.watcher import Watcher
from nightdesk.model.exchange import Exchange, Verdict, VerdictKind

__all__ = ["DEFAULTS", "KINDS", "Known", "Thresholds", "Watcher", "thresholds_of", "verdicts_of"]

KINDS: tuple[VerdictKind, ...] = get_args(VerdictKind)
_ORDER: dict[str, int] = {kind: place for place, kind in enumerate(KINDS)}


def verdicts_of(
    exchange: Exchange, limits: Thresholds = DEFAULTS, known: Known | None = None, *, quote: bool = True
) -> tuple[Verdict, ...]:
    """What is to be said of an ended exchange, the gravest first. Without ``quote`` no word of its content is shown."""
    if exchange.state == "running":
        return ()
    known = known or Known()
    repeated = list(_repetition(exchange, limits, quote))
    found = [
        *context_verdicts(exchange, limits, known),
        *repeated,
        *ending_verdicts(exchange, limits, bool(repeated)),
        *json_verdicts(exchange, limits, quote),
        *timing_verdicts(exchange, limits, known),
    ]
    return tuple(
        sorted((one for one in found if one.kind not in limits.off), key=lambda one: _ORDER[one.kind])
    )


def _repetition(exchange: Exchange, limits: Thresholds, quote: bool) -> Iterator[Verdict]:
    if not is_inference(exchange) or not has_content(exchange):
        return
    where, text = (
        ("The reply", exchange.text) if exchange.text.strip() else ("The thinking", exchange.thinking)
    )
    text = text or exchange.text
    if (white := _white_run(exchange, limits)) is not None:
        yield white
        return
    prompt = "\n".join(prompt_texts(exchange.prompt)) if exchange.prompt else ""
    loop = find_loop(text, _ended(exchange), limits.loop_repeats, prompt)
    if loop is not None:
        how = " The server's repeat guard ended it." if _ended(exchange) == "guarded" else ""
        yield verdict(
            "loop",
            loop.evidence(where, quote) + how,
            "Raise repeat_penalty or temperature, or take a larger model; num_predict ends a loop early.",
        )


def _ended(exchange: Exchange) -> Ended:
    if exchange.state == "complete" and not exchange.done:
        return "guarded"
    return "stopped" if exchange.done and not was_cut(exchange) else "cut"


def _white_run(exchange: Exchange, limits: Thresholds) -> Verdict | None:
    size = white_tail(exchange.text)
    if size < limits.whitespace_run:
        return None
    after = ""
    if wanted_json(exchange):
        after = ", behind complete JSON" if is_complete_json(exchange.text) else ", in the middle of the JSON"
    return verdict(
        "whitespace_loop",
        f"The last {size:,} of {len(exchange.text):,} characters are white space{after}.",
        "Say in the prompt that JSON is wanted, give a JSON Schema as format, and limit num_predict.",
    )

"""Time that was lost: a slow first token and its cause, silence in a stream, loads again and again."""

from __future__ import annotations

from collections.abc import Iterator

from nightdesk.core.verdicts.facts import is_inference, verdict
from nightdesk.core.verdicts.known import Known, Reload
from nightdesk.core.verdicts.thresholds import Thresholds
from nightdesk.model.exchange import Exchange, Verdict
from nightdesk.model.units import format_duration

TOOL_PATIENCE = 6
"""While a tool call is written nothing is sent: with tools so many times the usual silence is normal."""
RELOAD_WITHIN_NS = 600 * 10**9
"""A model that was not used for longer is unloaded by right."""
AGAIN = 2
"""So many loads that could have been spared make a verdict."""


def timing_verdicts(exchange: Exchange, limits: Thresholds, known: Known) -> Iterator[Verdict]:
    """``slow_first_token``, ``stalled`` and ``model_reload`` of an ended exchange."""
    if is_inference(exchange):
        yield from _slow_first(exchange, limits, known)
        yield from _stalled(exchange, limits)
    if exchange.operation in ("chat", "generate", "embed"):
        yield from _reloaded(exchange, limits, known)


def patience_ns(exchange: Exchange, limits: Thresholds) -> int:
    """Silence that is normal in this reply."""
    has_tools = exchange.prompt is None or bool(exchange.prompt.tools)
    return limits.stalled_ns * (TOOL_PATIENCE if has_tools else 1)


def _slow_first(exchange: Exchange, limits: Thresholds, known: Known) -> Iterator[Verdict]:
    waited_ns = _first_ns(exchange)
    if waited_ns is None or waited_ns < limits.slow_first_token_ns:
        return
    usual = known.usual_first_ns(exchange.model)
    tail = f"; usual for this model {format_duration(usual)}" if usual is not None else ""
    parts = _parts(exchange, waited_ns)
    if not parts:
        yield verdict(
            "slow_first_token",
            f"The first token came after {format_duration(waited_ns)}; the server gives no durations, so the cause "
            f"is unknown{tail}.",
            "Look at what else ran at that time; Ollama's own paths tell load and prompt evaluation apart.",
        )
        return
    told = ", ".join(f"{name} {format_duration(span)}" for name, span in parts)
    yield verdict(
        "slow_first_token",
        f"The first token came after {format_duration(waited_ns)}, most of it {parts[0][0]}: {told}{tail}.",
        _SLOW_ADVICE[parts[0][0]],
    )


_SLOW_ADVICE = {
    "model load": "Keep the model loaded (keep_alive), order the work by model, and ask with the same num_ctx. "
    "Ollama counts the wait for a free place as load, too.",
    "queue": "The request waited for others: send fewer at once, or raise OLLAMA_NUM_PARALLEL where memory allows.",
    "prompt evaluation": "The prompt is long for this machine: keep its beginning the same, so that the cache works, "
    "shorten it, or check that the model runs on the accelerator.",
}


def _first_ns(exchange: Exchange) -> int | None:
    """Time until the model began to write; of replies that come in one piece by the server's durations."""
    if exchange.streamed:
        return exchange.first_token_ns - exchange.started_ns if exchange.first_token_ns is not None else None
    if exchange.ended_ns is None or exchange.state != "complete":
        return None
    if exchange.generation_ns is None or exchange.prompt_ns is None:
        return None
    return exchange.ended_ns - exchange.started_ns - exchange.generation_ns


def _parts(exchange: Exchange, waited_ns: int) -> list[tuple[str, int]]:
    """Where the time went, the longest first; empty where the server does not say."""
    if exchange.load_ns is None and exchange.prompt_ns is None:
        return []
    load_ns, prompt_ns = exchange.load_ns or 0, exchange.prompt_ns or 0
    parts = [("model load", load_ns), ("prompt evaluation", prompt_ns)]
    parts.append(("queue", max(0, waited_ns - load_ns - prompt_ns)))
    return sorted(parts, key=lambda part: -part[1])


def _stalled(exchange: Exchange, limits: Thresholds) -> Iterator[Verdict]:
    if not exchange.streamed or exchange.first_token_ns is None:
        return
    limit_ns = patience_ns(exchange, limits)
    gaps = [gap for gap in exchange.fragment_gaps_ns[1:] if gap >= limit_ns]
    if (
        exchange.state in ("aborted", "partial")
        and exchange.ended_ns is not None
        and exchange.fragment_gaps_ns
    ):
        last_ns = exchange.started_ns + sum(exchange.fragment_gaps_ns)
        is_all = len(exchange.fragment_gaps_ns) >= exchange.fragments
        if is_all and exchange.ended_ns - last_ns >= limit_ns:
            gaps.append(exchange.ended_ns - last_ns)
    if gaps:
        yield stall_verdict(max(gaps), len(gaps), sum(gaps))


def stall_verdict(longest_ns: int, count: int, total_ns: int) -> Verdict:
    """``stalled`` with its figures."""
    words = f"Silent for {format_duration(longest_ns)} in the middle of the reply"
    if count > 1:
        words = (
            f"Silent {count} times, {format_duration(total_ns)} in all, longest {format_duration(longest_ns)}"
        )
    return verdict(
        "stalled",
        f"{words}, with the connection open.",
        "Check whether the machine slept or swapped, or whether another model took the accelerator at that time.",
    )


def _reloaded(exchange: Exchange, limits: Thresholds, known: Known) -> Iterator[Verdict]:
    found = known.reload_of(exchange, limits.reload_ns, RELOAD_WITHIN_NS)
    if found is None or found.before + 1 < AGAIN or exchange.load_ns is None:
        return
    yield verdict(
        "model_reload",
        f"The model was loaded again ({format_duration(exchange.load_ns)}), {format_duration(found.pause_ns)} after "
        f"its last use; {found.before + 1} of its last {found.seen + 1} exchanges did so.",
        _reload_advice(found),
    )


def _reload_advice(found: Reload) -> str:
    if found.contexts is not None:
        before, now = (f"{size:,}" if size else "the default" for size in found.contexts)
        return f"num_ctx changed from {before} to {now}, which loads the model again: use one num_ctx for all requests."
    if found.keep_alive is not None:
        return f"The request before said keep_alive {found.keep_alive}: leave it out, or say 30m."
    if found.other_model is not None:
        return "Another model ran in between: order the work by model, or raise OLLAMA_MAX_LOADED_MODELS."
    return "Raise keep_alive (OLLAMA_KEEP_ALIVE=30m), and see whether memory is short."

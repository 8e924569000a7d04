"""What the sums of a profile advise. Each sentence carries its figures; below its threshold nothing is said."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from nightdesk.core.foreign import safe_line
from nightdesk.model.base import Json
from nightdesk.model.exchange import Exchange, Prompt
from nightdesk.model.profile import Advice, ProfileGroup
from nightdesk.model.units import format_count, format_duration, format_percent

RELOAD_SHARE, RELOADS_LEAST = 0.2, 3
"""Of the summed durations; fewer loads are those of a normal beginning."""
SWITCH_SHARE, SWITCHES_LEAST = 0.1, 5
PAUSE_SHARE, PAUSES_LEAST_NS = 0.4, 10 * 10**9
QUEUE_SHARE, QUEUE_LEAST_NS = 0.25, 10 * 10**9
PREFIX_SHARE, PREFIX_LEAST = 0.1, 3
"""Prompt evaluation as a share of all time; pairs of exchanges that were seen to evaluate a prefix again."""
PREFIX_CHARS = 2000
PREFIX_OF_PROMPT = 0.5
"""A shared beginning counts when it is at least this part of the prompt."""
SAME_PACE = 0.7
"""A beginning from the cache makes prompts seem faster than right behind a load; with this share of the time for each
token, or more, everything was evaluated."""
LENGTH_SHARE, LENGTHS_LEAST = 0.05, 3
CONTEXT_SHARE, CONTEXTS_LEAST = 0.01, 2
ERROR_SHARE, ERRORS_LEAST = 0.1, 3
LOOP_SHARE = 0.05
LEAST_NS = 5 * 10**9
"""Less time than this is not worth a sentence."""

CONTEXT_KINDS = frozenset({"context_cut"})
LOOP_KINDS = frozenset({"loop", "whitespace_loop"})
LEFT_KINDS = frozenset({"client_gone"})


@dataclass(frozen=True, slots=True)
class Evidence:
    """Exchanges behind the sums. Pairs are (earlier, later) ids; ``known`` may lack some of them."""

    known: Mapping[int, Exchange]
    cuts: Sequence[int] = ()
    """Replies that ended at a token limit."""
    reloads: Sequence[tuple[int, int]] = ()
    """Loads of the model that the same server had just used."""
    repeats: Sequence[tuple[int, int]] = ()
    """Long prompts of one client, one right behind the other."""
    cold: Mapping[str, float] = field(default_factory=dict)
    """By model: nanoseconds for each prompt token where nothing can have been cached."""
    switch_ns: int = 0
    """Spent on loads behind another model."""


def advise(total: ProfileGroup, models: Sequence[ProfileGroup], evidence: Evidence) -> tuple[Advice, ...]:
    """All that the figures carry, what costs most time first."""
    checks: tuple[Callable[[ProfileGroup, Sequence[ProfileGroup], Evidence], Iterator[Advice]], ...] = (
        _reloads,
        _alternation,
        _pauses,
        _queue,
        _prefix,
        _length,
        _context,
        _loops,
        _left,
        _errors,
    )
    found = [advice for check in checks for advice in check(total, models, evidence)]
    return tuple(sorted(found, key=lambda advice: -advice.cost_ns))


def share(part: float, whole: float) -> float:
    """``part`` of ``whole``; 0 of nothing."""
    return part / whole if whole > 0 else 0.0


def _advice(group: ProfileGroup, kind: str, cost_ns: int, text: str, term: str = "") -> Advice:
    return Advice(kind=kind, text=text, cost_ns=cost_ns, query=f"{group.query} {term}".strip())


def _reloads(total: ProfileGroup, models: Sequence[ProfileGroup], evidence: Evidence) -> Iterator[Advice]:
    cost = total.parts.load_ns
    loads = total.loads - total.switches
    of_all = share(cost, total.parts.total_ns)
    own_ns = cost - evidence.switch_ns
    if (
        of_all < RELOAD_SHARE
        or loads < RELOADS_LEAST
        or own_ns < max(LEAST_NS, RELOAD_SHARE * total.parts.total_ns)
    ):
        return
    most = max(models, key=lambda group: group.parts.load_ns, default=None)
    mostly = f", most of it {_name(most.name)}" if most is not None and len(models) > 1 else ""
    yield _advice(
        total,
        "reloads",
        own_ns,
        f"{format_percent(of_all)} of the time is model reloads ({format_duration(cost)}, "
        f"{total.loads} loads{mostly}): {_why_reloaded(evidence)}",
        "load>500ms",
    )


def _why_reloaded(evidence: Evidence) -> str:
    pairs = list(_known_pairs(evidence.reloads, evidence.known))
    changed = [
        (before, after)
        for earlier, later in pairs
        if (before := _option(earlier, "num_ctx")) != (after := _option(later, "num_ctx"))
    ]
    if len(changed) * 2 > len(pairs):
        values = sorted({str(value) for pair in changed for value in pair if value is not None})
        return (
            f"num_ctx changes between calls ({_list(values)}), each change loads the model again; "
            "use one value for all."
        )
    kept = Counter(_keep_alive(earlier) for earlier, _ in pairs)
    value, count = kept.most_common(1)[0] if kept else (None, 0)
    if value is not None and count * 2 > len(pairs):
        return f"keep_alive is {safe_line(str(value), 20)}; set keep_alive to 10m."
    return "set keep_alive (10m, or -1 for the night) in the requests, or OLLAMA_KEEP_ALIVE for the server."


def _alternation(total: ProfileGroup, models: Sequence[ProfileGroup], evidence: Evidence) -> Iterator[Advice]:
    cost = evidence.switch_ns
    of_all = share(cost, total.parts.total_ns)
    if total.switches < SWITCHES_LEAST or of_all < SWITCH_SHARE or cost < LEAST_NS:
        return
    names = _list([_name(group.name) for group in models if group.switches][:3])
    yield _advice(
        total,
        "alternation",
        cost,
        f"Models alternate on one server: {total.switches} loads right behind another model ({names}) took "
        f"{format_duration(cost)}, {format_percent(of_all)} of the time. Do all items with one model, then all "
        "with the next, or let the server keep several (OLLAMA_MAX_LOADED_MODELS).",
        "load>500ms",
    )


def _pauses(total: ProfileGroup, _models: Sequence[ProfileGroup], _evidence: Evidence) -> Iterator[Advice]:
    of_all = share(total.pause_ns, total.pause_ns + total.client_ns)
    if of_all < PAUSE_SHARE or total.pause_ns < PAUSES_LEAST_NS:
        return
    yield _advice(
        total,
        "pauses",
        total.pause_ns,
        f"Client pauses are {format_percent(of_all)} ({format_duration(total.pause_ns)} between calls, "
        f"{format_duration(total.client_ns)} in them): the model waits for the script. Prepare the next item while "
        "the model works, or send two at a time.",
    )


def _queue(total: ProfileGroup, _models: Sequence[ProfileGroup], _evidence: Evidence) -> Iterator[Advice]:
    cost = total.parts.queue_ns
    of_all = share(cost, total.parts.total_ns)
    if of_all < QUEUE_SHARE or cost < QUEUE_LEAST_NS:
        return
    at_once = share(total.parts.total_ns, total.covered_ns)
    words = (
        f"on average {at_once:.1f} exchanges are open at once. Send fewer at a time, or let the server work on more "
        "(OLLAMA_NUM_PARALLEL)."
        if at_once >= 1.3
        else "something that is not in this list keeps the server busy."
    )
    yield _advice(
        total,
        "queue",
        cost,
        f"{format_percent(of_all)} of the time ({format_duration(cost)}) requests wait in the server's queue: {words}",
    )


def _prefix(total: ProfileGroup, _models: Sequence[ProfileGroup], evidence: Evidence) -> Iterator[Advice]:
    of_all = share(total.parts.prompt_ns, total.parts.total_ns)
    if of_all < PREFIX_SHARE or total.parts.prompt_ns < LEAST_NS:
        return
    again = [
        tokens
        for earlier, later in _known_pairs(evidence.repeats, evidence.known)
        if (tokens := shared_tokens(earlier, later)) and evaluated_whole(later, evidence.cold)
    ]
    if len(again) < PREFIX_LEAST:
        return
    middle = sorted(again)[len(again) // 2]
    yield _advice(
        total,
        "prefix",
        total.parts.prompt_ns,
        f"Prompts share a beginning of about {format_count(middle)} tokens, but it is evaluated again each time "
        f"({len(again)} of {len(evidence.repeats)} pairs looked at); prompt evaluation is {format_percent(of_all)} of "
        "the time. Keep the beginning the same to the byte, keep num_ctx the same, and send such prompts one after "
        "another.",
    )


def shared_tokens(earlier: Exchange, later: Exchange) -> int:
    """About how many tokens of the later prompt are the same as in the earlier one from the start; 0 for few."""
    first, second = _flat(earlier.prompt), _flat(later.prompt)
    same = _same_chars(first, second)
    if same < PREFIX_CHARS or same < PREFIX_OF_PROMPT * len(second) or not later.prompt_tokens:
        return 0
    return round(later.prompt_tokens * same / len(second))


def evaluated_whole(exchange: Exchange, cold: Mapping[str, float]) -> bool:
    """Whether its prompt took about as long for each token as a prompt of which nothing is cached."""
    pace = cold.get(exchange.model or "")
    if not pace or not exchange.prompt_tokens or not exchange.prompt_ns:
        return False
    return exchange.prompt_ns / exchange.prompt_tokens >= SAME_PACE * pace


def _length(total: ProfileGroup, _models: Sequence[ProfileGroup], evidence: Evidence) -> Iterator[Advice]:
    context = sum(each.count for each in total.findings if each.kind in CONTEXT_KINDS)
    of_all = share(total.length_cuts, total.replies)
    if of_all < LENGTH_SHARE or total.length_cuts < LENGTHS_LEAST or total.length_cuts <= context:
        return
    limits = Counter(limit for number in evidence.cuts if (limit := _limit(evidence.known.get(number))))
    words = "A token limit cuts"
    if limits:
        name = limits.most_common(1)[0][0][0]
        values = sorted({value for other, value in limits if other == name})
        words = f"{name} ({_list([str(value) for value in values[:4]])}) cuts"
    yield _advice(
        total,
        "length",
        0,
        f"{words} {format_percent(of_all)} of the replies ({total.length_cuts} of {total.replies}): raise it, or ask "
        "for shorter answers.",
        "reason:length,max_tokens",
    )


def _context(total: ProfileGroup, _models: Sequence[ProfileGroup], _evidence: Evidence) -> Iterator[Advice]:
    count = sum(each.count for each in total.findings if each.kind in CONTEXT_KINDS)
    of_all = share(count, total.replies)
    if count < CONTEXTS_LEAST or of_all < CONTEXT_SHARE:
        return
    yield _advice(
        total,
        "context",
        0,
        f"The context was cut in {format_percent(of_all)} of the exchanges ({count} of {total.replies}): the model "
        "has not seen all of the prompt. Raise num_ctx, or split the input.",
        "verdict:context_cut",
    )


def _loops(total: ProfileGroup, _models: Sequence[ProfileGroup], _evidence: Evidence) -> Iterator[Advice]:
    found = [each for each in total.findings if each.kind in LOOP_KINDS]
    cost = sum(each.took_ns for each in found)
    if share(cost, total.parts.total_ns) < LOOP_SHARE or cost < LEAST_NS:
        return
    count = sum(each.count for each in found)
    yield _advice(
        total,
        "loops",
        cost,
        f"{_replies(count)} in a loop, which took {format_duration(cost)}, "
        f"{format_percent(share(cost, total.parts.total_ns))} of the time: set num_predict as a limit, raise "
        "repeat_penalty, or take a larger model.",
        f"verdict:{','.join('=' + each.kind for each in found)}",
    )


def _left(total: ProfileGroup, _models: Sequence[ProfileGroup], _evidence: Evidence) -> Iterator[Advice]:
    found = [each for each in total.findings if each.kind in LEFT_KINDS]
    cost = sum(each.took_ns for each in found)
    if share(cost, total.parts.total_ns) < LOOP_SHARE or cost < LEAST_NS:
        return
    count = sum(each.count for each in found)
    yield _advice(
        total,
        "left",
        cost,
        f"Clients left {count} exchanges before the end, after {format_duration(cost)} together: give them a longer "
        "time-out, or stream the replies.",
        f"verdict:{','.join('=' + each.kind for each in found)}",
    )


def _errors(total: ProfileGroup, _models: Sequence[ProfileGroup], _evidence: Evidence) -> Iterator[Advice]:
    of_all = share(total.errors, total.count)
    if total.errors < ERRORS_LEAST or of_all < ERROR_SHARE:
        return
    yield _advice(
        total,
        "errors",
        0,
        f"{format_percent(of_all)} of the exchanges failed or were left ({total.errors} of {total.count}).",
        "status:failed,aborted",
    )


def _known_pairs(
    pairs: Sequence[tuple[int, int]], known: Mapping[int, Exchange]
) -> Iterator[tuple[Exchange, Exchange]]:
    for earlier, later in pairs:
        if earlier in known and later in known:
            yield known[earlier], known[later]


def _option(exchange: Exchange, name: str) -> Json:
    return exchange.prompt.options.get(name) if exchange.prompt else None


def _keep_alive(exchange: Exchange) -> Json:
    value = exchange.prompt.keep_alive if exchange.prompt else None
    return value if isinstance(value, str | int | float) else None


def _limit(exchange: Exchange | None) -> tuple[str, int] | None:
    names = ("num_predict", "max_tokens", "max_completion_tokens", "max_output_tokens")
    options = exchange.prompt.options if exchange and exchange.prompt else {}
    return next(((name, options[name]) for name in names if isinstance(options.get(name), int)), None)


def _flat(prompt: Prompt | None) -> str:
    if prompt is None:
        return ""
    messages = (f"{message.role}\n{message.content}" for message in prompt.messages)
    return "\n".join((prompt.system or "", *messages, prompt.prompt or ""))


def _same_chars(first: str, second: str) -> int:
    """Length of the common beginning."""
    low, high = 0, min(len(first), len(second))
    while low < high:
        middle = (low + high + 1) // 2
        if first[low:middle] == second[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _replies(count: int) -> str:
    return "One reply ended" if count == 1 else f"{count} replies ended"


def _name(name: str | None) -> str:
    return safe_line(name, 60) if name else "of unknown name"


def _list(words: Sequence[str]) -> str:
    return ", ".join(words)

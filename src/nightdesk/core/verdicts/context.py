"""Was the prompt cut, or is the context nearly full? The server says neither; its counts tell.

``prompt_eval_count`` is taken after the cut. Servers cut a too long last message to ``keep + (num_ctx - keep) / 2``
tokens (with the usual ``num_keep`` of 4: ``num_ctx / 2 + 2``), older ones to ``num_ctx``; whole old messages are
dropped without any signature. A low count alone proves nothing: older servers leave cached prefixes out of it. So a
verdict needs a prompt that cannot have fitted, by the size of its text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from nightdesk.core.verdicts.facts import (
    about,
    asked_context,
    has_content,
    is_inference,
    prompt_size,
    prompt_texts,
    size_of,
    tool_size,
    verdict,
)
from nightdesk.core.verdicts.known import Known
from nightdesk.core.verdicts.thresholds import Thresholds
from nightdesk.model.exchange import Exchange, Verdict

USUAL_PER_TOKEN = 4.0
DENSE_PER_TOKEN = 4.5
"""More letters than most text has: with it an estimate is rather too low."""
DENSEST_PER_TOKEN = 6.5
"""More letters than any language has with today's tokenizers."""
USUAL_CONTEXTS = tuple(1 << power for power in range(9, 19))
"""512 to 262,144: what num_ctx is set to where nobody says what it is. 2,048 and 4,096 are Ollama's defaults."""
KEEP = 4
_RUNS = re.compile(r"(\S)\1{3,}|\s{2,}")
"""Rules of dashes and indentation: many letters, few tokens."""
_RUNS_LOOKED_AT = 2_000_000


class _Context(NamedTuple):
    size: int
    source: str
    """Where the size is from, for the evidence; empty where it is the request's own."""


def context_verdicts(exchange: Exchange, limits: Thresholds, known: Known) -> Iterator[Verdict]:
    """``context_cut`` or ``context_nearly_full``, at most one of them."""
    count = exchange.prompt_tokens
    if not count or exchange.prompt is None or not has_content(exchange):
        return
    if exchange.operation == "embed":
        yield from _embedding_cut(exchange, count, known)
        return
    if not is_inference(exchange):
        return
    found = _cut(exchange, count, known)
    if found is not None:
        yield _cut_verdict(exchange, count, found, known)
        return
    yield from _nearly_full(exchange, count, limits, known)


def _context_of(exchange: Exchange, count: int, known: Known) -> _Context | None:
    """The context in force, where something says so. A count above it proves that it is not."""
    asked, served = asked_context(exchange), known.context_of(exchange)
    if asked is not None and asked >= count:
        return _Context(asked, "")
    if asked is None and served is not None and served >= count:
        return _Context(served, "as the server says")
    return None


def _cut(exchange: Exchange, count: int, known: Known) -> _Context | None:
    """The context to which the prompt was cut; None where it was not, or where nobody can tell."""
    context = _context_of(exchange, count, known)
    if context is not None:
        if _fits_signature(exchange, count, context.size):
            return context if _is_too_long(exchange, context.size, known) else None
        if _least_tokens(exchange, known) > 1.1 * context.size:
            return context
    return _cut_to_usual(exchange, count, known, context.size if context else 1 << 62)


def _cut_to_usual(exchange: Exchange, count: int, known: Known, below: int) -> _Context | None:
    """A cut to a context that nobody named: the signature of a usual one, and far more text than fits in it."""
    for size in USUAL_CONTEXTS:
        if size < below and _fits_signature(exchange, count, size):
            return (
                _Context(size, "as the count suggests")
                if _least_tokens(exchange, known) > 1.1 * size
                else None
            )
    return None


def _fits_signature(exchange: Exchange, count: int, context: int) -> bool:
    assert exchange.prompt is not None
    keep = exchange.prompt.options.get("num_keep")
    kept = keep if isinstance(keep, int) and 0 <= keep < context else KEEP
    return count in (context, context - 1, kept + (context - kept) // 2)


def _is_too_long(exchange: Exchange, context: int, known: Known) -> bool:
    """Whether the text is likely too long. With a signature a likelihood is enough."""
    assert exchange.prompt is not None
    size = prompt_size(exchange.prompt) + tool_size(exchange.prompt)
    learned = known.size_per_token(exchange.model)
    return size / learned > 0.95 * context if learned else size / USUAL_PER_TOKEN > 0.8 * context


def _least_tokens(exchange: Exchange, known: Known) -> float:
    """So many tokens the prompt has at least, rather too few than too many."""
    assert exchange.prompt is not None
    learned = known.most_per_token(exchange.model)
    ratio = max(DENSE_PER_TOKEN, learned) if learned else DENSEST_PER_TOKEN
    size = prompt_size(exchange.prompt)
    if size / ratio < 1.1 * (exchange.prompt_tokens or 0):
        return size / ratio
    return _squeezed_size(exchange) / ratio


def _squeezed_size(exchange: Exchange) -> float:
    assert exchange.prompt is not None
    total, room = 0.0, _RUNS_LOOKED_AT
    for text in prompt_texts(exchange.prompt):
        head = text[:room]
        room -= len(head)
        total += size_of(_RUNS.sub(" ", head)) + len(text) - len(head)
    return total


def _about_tokens(exchange: Exchange, known: Known) -> float:
    assert exchange.prompt is not None
    return prompt_size(exchange.prompt) / (known.size_per_token(exchange.model) or USUAL_PER_TOKEN)


def _cut_verdict(exchange: Exchange, count: int, context: _Context, known: Known) -> Verdict:
    tokens = max(_about_tokens(exchange, known), 1.05 * context.size)
    source = f", {context.source}" if context.source else ""
    if not known.size_per_token(exchange.model):
        source += ". The length of the prompt is an estimate from its letters"
    return verdict(
        "context_cut",
        f"Only {count:,} of about {about(tokens)} prompt tokens reached the model; num_ctx {context.size:,}{source}.",
        f"The beginning or older messages were left out without a word. {_raise_context(exchange, tokens)}",
    )


def _raise_context(exchange: Exchange, tokens: float) -> str:
    enough = next((size for size in USUAL_CONTEXTS if size > 1.2 * tokens), None)
    if enough is None:
        return "Split the prompt: it is longer than usual contexts."
    if exchange.dialect == "ollama":
        return f"Set options.num_ctx to {enough:,} (it costs memory), or shorten the prompt."
    return (
        f"This path takes no num_ctx: start the server with OLLAMA_CONTEXT_LENGTH={enough}, or make a model with "
        f"PARAMETER num_ctx {enough}; or shorten the prompt."
    )


def _nearly_full(exchange: Exchange, count: int, limits: Thresholds, known: Known) -> Iterator[Verdict]:
    context = _context_of(exchange, count, known)
    if context is None or exchange.reply_tokens is None:
        return
    used = count + exchange.reply_tokens
    parts = f"{count:,} prompt + {exchange.reply_tokens:,} reply tokens"
    source = f", {context.source}" if context.source else ""
    if used > context.size:
        yield verdict(
            "context_cut",
            f"The reply outgrew the context: {parts} are more than num_ctx {context.size:,}{source}.",
            "While it wrote, the model forgot the beginning of the prompt. " + _raise_context(exchange, used),
        )
    elif used >= limits.context_full * context.size:
        yield verdict(
            "context_nearly_full",
            f"{used / context.size:.0%} full: {parts} of num_ctx {context.size:,}{source}.",
            f"The next turn of this conversation will be cut. {_raise_context(exchange, used)}",
        )


def _embedding_cut(exchange: Exchange, count: int, known: Known) -> Iterator[Verdict]:
    """A single text that was cut. The counts of a batch are summed, so nothing can be told of its members."""
    if exchange.embeddings is None or exchange.embeddings.count != 1:
        return
    context = _context_of(exchange, count, known)
    sizes = (context.size,) if context else USUAL_CONTEXTS
    size = next((size for size in sizes if count in (size, size - 1)), None)
    if size is None or _least_tokens(exchange, known) <= 1.1 * size:
        return
    tokens = _about_tokens(exchange, known)
    yield verdict(
        "context_cut",
        f"The vector stands for {count:,} of about {about(tokens)} tokens; the rest of the text was left out.",
        "Split the text into pieces before it is embedded; truncate: false makes the server refuse instead.",
    )

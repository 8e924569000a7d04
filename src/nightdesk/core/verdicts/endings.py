"""How a reply ended: empty, cut, without its final object, with an error, or without a client."""

from __future__ import annotations

import re
from collections.abc import Iterator

from nightdesk.core.verdicts.facts import (
    asked_limit,
    has_content,
    is_inference,
    is_short_on_purpose,
    is_whole,
    quoted,
    verdict,
    was_cut,
)
from nightdesk.core.verdicts.json_replies import is_complete_json, wanted_json
from nightdesk.core.verdicts.thresholds import Thresholds
from nightdesk.model.exchange import Exchange, Verdict, error_text
from nightdesk.model.units import format_duration

CANCELLED = 499
"""The status that a server gives when its client has left."""


def ending_verdicts(exchange: Exchange, limits: Thresholds, is_loop: bool) -> Iterator[Verdict]:
    """What can be said of the end. ``is_loop``: a repetition explains it already."""
    if exchange.state in ("failed", "aborted"):
        yield from _trouble(exchange)
    elif is_inference(exchange) and has_content(exchange) and exchange.status == 200:
        yield from _reply(exchange, limits, is_loop)


def _reply(exchange: Exchange, limits: Thresholds, is_loop: bool) -> Iterator[Verdict]:
    if is_loop:
        return
    if not exchange.done:
        yield from _unfinished(exchange)
    elif is_short_on_purpose(exchange, limits.reply_cut_above):
        return
    elif not exchange.text.strip() and not exchange.tool_calls and is_whole(exchange):
        yield _thought_only(exchange) if exchange.thinking.strip() else _empty(exchange)
    elif was_cut(exchange) and not (wanted_json(exchange) and is_complete_json(exchange.text)):
        yield _cut_reply(exchange)


def _unfinished(exchange: Exchange) -> Iterator[Verdict]:
    if exchange.state != "complete" or not is_whole(exchange):
        return
    yield verdict(
        "unfinished",
        f"The stream ended after {exchange.fragments:,} fragments without the final object"
        f"{'' if exchange.dialect == 'ollama' else ' that says why'}: no reason, no counts.",
        "The reply is probably not all of it. The process that ran the model may have died: look at the server's log "
        "and at the memory at that moment.",
    )


def _tokens(exchange: Exchange) -> str:
    return (
        f"{exchange.reply_tokens:,} tokens"
        if exchange.reply_tokens is not None
        else "an unknown number of tokens"
    )


def _limit_words(exchange: Exchange) -> str:
    limit = asked_limit(exchange)
    return f"{limit[0]} {limit[1]:,}" if limit else "the end of the context"


def _thought_only(exchange: Exchange) -> Verdict:
    size = f"{len(exchange.thinking):,} characters of thinking ({_tokens(exchange)}) and no reply"
    if was_cut(exchange):
        return verdict(
            "only_thinking",
            f"{size}: {_limit_words(exchange)} was reached while the model still thought.",
            f"{_raise_limit(exchange)}, or ask without thinking (think: false).",
        )
    return verdict(
        "only_thinking",
        f"{size}; the model stopped by itself (reason {exchange.done_reason}).",
        "Ask again with think: false, or with a template that knows the model's thinking marks.",
    )


def _empty(exchange: Exchange) -> Verdict:
    prompt = f"{exchange.prompt_tokens:,} prompt tokens" if exchange.prompt_tokens is not None else "a prompt"
    reason = exchange.done_reason or "unknown"
    if was_cut(exchange):
        return verdict(
            "empty_reply",
            f"No text after {prompt}: the reply ended with reason {reason} ({_limit_words(exchange)}).",
            "Another try gives the same. The prompt leaves no room: raise num_ctx or shorten the prompt."
            if asked_limit(exchange) is None
            else f"{_raise_limit(exchange)}, or raise num_ctx: the prompt may leave no room.",
        )
    return verdict(
        "empty_reply",
        f"No text after {prompt}, {_tokens(exchange)}; reason {reason}.",
        "The model ended its turn at once. Look at the end of the prompt and at the model's template and stop words.",
    )


def _raise_limit(exchange: Exchange) -> str:
    limit = asked_limit(exchange)
    if limit is None:
        return "Raise num_ctx, or shorten the prompt"
    return f"Raise {limit[0]} above {limit[1]:,}"


def _cut_reply(exchange: Exchange) -> Verdict:
    limit = asked_limit(exchange)
    by = (
        f"by {limit[0]} {limit[1]:,}"
        if limit
        else "at the end of the context, without any limit in the request"
    )
    after = f"after {_tokens(exchange)} " if exchange.reply_tokens is not None else ""
    json = " The JSON that was asked for is not complete." if wanted_json(exchange) else ""
    return verdict(
        "reply_cut",
        f"Cut {after}{by} (reason {exchange.done_reason}).{json}",
        f"{_raise_limit(exchange)}, or ask for a shorter reply.",
    )


def _trouble(exchange: Exchange) -> Iterator[Verdict]:
    if exchange.status == CANCELLED:
        yield verdict(
            "client_gone",
            "The client closed its side after the request; the server took that for a cancellation (status 499).",
            "Keep the sending side of the connection open until the reply has come.",
        )
    elif exchange.state == "aborted":
        yield from _client_gone(exchange)
    elif exchange.status == 200 and exchange.error is not None:
        yield _error_in_stream(exchange)
    elif (exchange.status or 0) >= 400 and not _is_question(exchange):
        yield _server_error(exchange)


def _is_question(exchange: Exchange) -> bool:
    """A client that asks whether something exists gets 404 as a normal answer."""
    return exchange.method == "HEAD"


def _client_gone(exchange: Exchange) -> Iterator[Verdict]:
    """Only before the first token: then the server does not notice, or late. In a stream the next write fails."""
    asked = exchange.operation in ("chat", "generate", "embed") and exchange.model is not None
    if exchange.aborted_by != "client" or not asked or exchange.first_token_ns is not None:
        return
    waited = format_duration(exchange.ended_ns - exchange.started_ns if exchange.ended_ns else None)
    what = "the first token" if exchange.streamed else "the answer"
    yield verdict(
        "client_gone",
        f"The client left after {waited}, before {what} came; the server may go on working for nobody.",
        "Raise the client's timeout, or stream, so that it sees that work goes on. Check with the accelerator's load "
        "whether the server has stopped; before the first token many servers notice late.",
    )


def _error_in_stream(exchange: Exchange) -> Verdict:
    text = error_text(exchange.error)
    return verdict(
        "error_in_stream",
        f"The server reported an error inside a reply with status 200, after {exchange.fragments:,} fragments: "
        f"{quoted(text, 160)}.",
        f"What came before it is not a whole reply; clients that only look at the status take it for one. "
        f"{_remedy(text, exchange)}",
    )


def _server_error(exchange: Exchange) -> Verdict:
    text = error_text(exchange.error)
    said = f": {quoted(text, 160)}" if text else ""
    return verdict(
        "server_error",
        f"Status {exchange.status} for {exchange.method} {exchange.path}{said}.",
        _remedy(text, exchange),
    )


_REMEDIES = (
    (
        r"exceeds? the (available )?context|context length",
        "The prompt is longer than the context and the request forbids a cut: raise options.num_ctx or shorten it.",
    ),
    (
        r"out of memory|more system memory|cudamalloc|unable to (load|allocate)|insufficient memory",
        "The model does not fit in memory: free other models, or use a smaller model or num_ctx.",
    ),
    (
        r"unexpected EOF|runner.*(terminated|stopped|crash)|process.*terminated|connection (reset|refused)",
        "The process that ran the model died, often for lack of memory: look at the server's log at that moment.",
    ),
    (r"server busy|maximum pending", "The queue is full: send fewer at once, or raise OLLAMA_MAX_QUEUE."),
    (r"does not support tools", "Choose a model with tools, or leave tools out of the request."),
    (r"does not support think", "Leave think out of the request, or choose a model that thinks."),
    (r"does not support (chat|generate|insert)", "Choose a model that is made for this."),
    (
        r"support embeddings|does not support embed",
        "Choose an embedding model, for example nomic-embed-text.",
    ),
    (r"support (multimodal|vision|image)", "Choose a model that reads images."),
    (r"image", "Send images as base64 of a PNG or JPEG file."),
    (r"must be of type|cannot unmarshal", "A field of the request has the wrong type; the text names it."),
    (r"invalid format", 'format is "json" or a JSON Schema object.'),
    (r"invalid character|unexpected EOF|request body", "The body of the request is not complete JSON."),
    (r"required|too short", "The request lacks a field; the text names it."),
)
_BY_STATUS = {
    401: "The server wants a key, or refuses this one.",
    403: "The server refuses this Host or Origin: see OLLAMA_ORIGINS and OLLAMA_HOST.",
    404: "The server has no such path: check the address and the server's version.",
    405: "The path exists for another method.",
    429: "Too many requests: send fewer at once.",
    503: "The server has no room now: send fewer at once, or try later.",
}
_MISSING = re.compile(r"model ['\"]?([^'\"\s]+)['\"]? (?:is )?not found|model_not_found", re.IGNORECASE)


def _remedy(text: str, exchange: Exchange) -> str:
    if found := _MISSING.search(text):
        name = (found[1] or exchange.model or "MODEL").removesuffix(":latest")
        return f"The model is not on this server: ollama pull {name}"
    if exchange.status == 400 and "EOF" in text:
        return "The body of the request is not complete JSON."
    for pattern, advice in _REMEDIES:
        if re.search(pattern, text, re.IGNORECASE):
            return advice
    return _BY_STATUS.get(exchange.status or 0, "Look at the server's log at that moment.")

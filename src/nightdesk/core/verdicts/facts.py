"""What the rules read from an exchange: limits that were asked for, sizes, what of the content is known."""

from __future__ import annotations

import re

import msgspec

from nightdesk.model.exchange import Exchange, Prompt, Verdict, VerdictKind

INFERENCE = frozenset({"chat", "generate"})
CUT_REASONS = frozenset({"length", "max_tokens", "incomplete", "max_output_tokens"})
"""How the dialects say that a limit ended the reply."""
_LIMITS = ("num_predict", "max_tokens", "max_completion_tokens", "max_output_tokens")
CUT_NOTE = "The text is cut in the record."
DENSE_WEIGHT = 2.8
"""Chinese, Japanese, Korean: about 1.4 characters per token."""
OTHER_WEIGHT = 1.4
"""Other scripts: about 2.9 characters per token."""
_DENSE = re.compile("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+")
_CLOUD = re.compile(r"[:-]cloud$")


def verdict(kind: VerdictKind, evidence: str, advice: str) -> Verdict:
    """A verdict; its kind is checked by the type checker."""
    return Verdict(kind=kind, evidence=evidence, advice=advice)


def is_inference(exchange: Exchange) -> bool:
    """True where a model was asked to write something; loading and unloading is not."""
    asked = exchange.operation in INFERENCE and exchange.method in ("POST", None)
    return asked and exchange.done_reason not in ("load", "unload")


def has_content(exchange: Exchange) -> bool:
    """True where prompt and reply are in the record, so that an empty text means that none came."""
    return exchange.prompt is not None and "text" not in exchange.unknown


def is_whole(exchange: Exchange) -> bool:
    """True where all of the reply is in the record."""
    missing = exchange.missing_bytes.request + exchange.missing_bytes.response
    return not missing and CUT_NOTE not in (exchange.note or "")


def was_cut(exchange: Exchange) -> bool:
    """True where the server says that a limit ended the reply."""
    return exchange.done_reason in CUT_REASONS


def asked_limit(exchange: Exchange) -> tuple[str, int] | None:
    """Name and value of the option that limits the reply; None where there is none, or where it means no limit."""
    options = exchange.prompt.options if exchange.prompt else {}
    for name in _LIMITS:
        value = options.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return name, value
    return None


def is_short_on_purpose(exchange: Exchange, above: int) -> bool:
    """True where the request allows so few tokens that nobody expects a whole reply: labels, probes, warm-ups."""
    limit = asked_limit(exchange)
    return limit is not None and limit[1] <= above


def asked_context(exchange: Exchange) -> int | None:
    """The ``num_ctx`` of the request, where the server obeys it: Ollama's own paths, and no model in a cloud."""
    if exchange.prompt is None or exchange.dialect != "ollama" or _CLOUD.search(exchange.model or ""):
        return None
    value = exchange.prompt.options.get("num_ctx")
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def prompt_texts(prompt: Prompt) -> list[str]:
    """All text of a prompt that a template shows to the model. Earlier thinking is left out by most."""
    texts = [prompt.system or "", prompt.prompt or ""]
    texts += [message.content for message in prompt.messages]
    return [text for text in texts if text]


def size_of(text: str) -> float:
    """How much text that is for a tokenizer: four for about one token, in all scripts."""
    if text.isascii():
        return len(text)
    plain = len(text.encode("ascii", "ignore"))
    dense = sum(map(len, _DENSE.findall(text)))
    return plain + DENSE_WEIGHT * dense + OTHER_WEIGHT * (len(text) - plain - dense)


def prompt_size(prompt: Prompt) -> float:
    """:func:`size_of` all text of a prompt."""
    return sum(map(size_of, prompt_texts(prompt)))


def tool_size(prompt: Prompt) -> int:
    """Length of the descriptions of tools."""
    return len(msgspec.json.encode(prompt.tools)) if prompt.tools else 0


def has_images(prompt: Prompt) -> bool:
    """True where images take part of the context."""
    return bool(prompt.images) or any(message.images for message in prompt.messages)


def quoted(text: str, limit: int = 60) -> str:
    """``text`` in quotation marks on one line, cut in the middle of nothing."""
    flat = " ".join(text.split())
    return f"“{flat}”" if len(flat) <= limit else f"“{flat[: limit - 1]}…”"


def about(count: float) -> str:
    """An estimate with three digits: ``11,900``."""
    whole = round(count)
    digits = max(0, len(str(abs(whole))) - 3)
    return f"{round(whole, -digits):,}"

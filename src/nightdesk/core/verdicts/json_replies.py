"""JSON that was asked for: is the reply JSON at all, and has it the keys and types of the schema?

Of a schema that part counts which servers turn into grammars.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from nightdesk.core.verdicts.facts import (
    has_content,
    is_inference,
    is_short_on_purpose,
    is_whole,
    verdict,
    was_cut,
)
from nightdesk.core.verdicts.grammar import GrammarCheck
from nightdesk.core.verdicts.thresholds import Thresholds
from nightdesk.model.base import Json
from nightdesk.model.exchange import Exchange, Verdict


def wanted_json(exchange: Exchange) -> bool:
    """True where the request asks for JSON, with a schema or without."""
    return _wanted(exchange) is not None


def is_complete_json(text: str) -> bool:
    """True where ``text`` is one whole JSON value, with white space around it or without."""
    try:
        msgspec.json.decode(text.encode("utf-8", "replace"))
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


def json_verdicts(exchange: Exchange, limits: Thresholds, quote: bool) -> Iterator[Verdict]:
    """``bad_json`` where JSON was asked for and did not come."""
    schema = _wanted(exchange)
    if schema is None or not is_inference(exchange) or not has_content(exchange) or not is_whole(exchange):
        return
    if exchange.state != "complete" or exchange.status != 200 or not exchange.done:
        return
    if not exchange.text.strip() or is_short_on_purpose(exchange, limits.reply_cut_above):
        return
    try:
        value = msgspec.json.decode(exchange.text.encode("utf-8", "replace"))
    except (msgspec.DecodeError, RecursionError) as fault:
        yield _invalid(exchange, fault)
        return
    wrong = next(GrammarCheck(schema).faults(value, schema, "$", 0), None) if schema else None
    if wrong:
        what = wrong if quote else "a part has another shape"
        yield verdict(
            "bad_json",
            f"Valid JSON, but not what the schema asks for: {what}.",
            "Check the reply before it is used; a simpler schema, or a larger model, obeys more often.",
        )


def _invalid(exchange: Exchange, fault: Exception) -> Verdict:
    size = f"{len(exchange.text):,} characters"
    if was_cut(exchange):
        return verdict(
            "bad_json",
            f"JSON was asked for; the {size} that came are not complete, because a limit cut the reply.",
            "Raise the limit on the reply. Do not repair the text: it would look valid and lack its end.",
        )
    if exchange.text.lstrip().startswith("```"):
        return verdict(
            "bad_json",
            f"JSON was asked for; the {size} that came stand in a code fence (```).",
            "Take the fence off, or ask with format, which makes the server enforce JSON.",
        )
    return verdict(
        "bad_json",
        f"JSON was asked for; the {size} that came are none: {_reason(fault)}.",
        "Ask with format (a JSON Schema), which makes the server enforce it, and say in the prompt what is expected.",
    )


def _reason(fault: Exception) -> str:
    text = str(fault)
    return "it is nested too deep" if isinstance(fault, RecursionError) else text[:1].lower() + text[1:120]


def _wanted(exchange: Exchange) -> dict[str, Json] | None:
    """The schema; empty where any JSON will do, None where none was asked for."""
    asked = exchange.prompt.format if exchange.prompt else None
    if asked == "json":
        return {}
    if not isinstance(asked, dict):
        return None
    if exchange.dialect == "ollama":
        return asked or None
    inner = asked.get("format", asked)
    if not isinstance(inner, dict):
        return None
    if inner.get("type") == "json_object":
        return {}
    if inner.get("type") != "json_schema":
        return None
    holder = inner.get("json_schema", inner)
    schema = holder.get("schema") if isinstance(holder, dict) else None
    return schema if isinstance(schema, dict) else {}

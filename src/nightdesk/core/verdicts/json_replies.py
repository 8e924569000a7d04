"""JSON that was asked for: is the reply JSON at all, and has it the keys and types of the schema?

The part of JSON Schema that servers turn into grammars: type, required, properties, items, enum, const, anyOf, oneOf,
allOf, $ref within the schema. What else a schema says is not checked.
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
from nightdesk.core.verdicts.thresholds import Thresholds
from nightdesk.model.base import Json
from nightdesk.model.exchange import Exchange, Verdict

DEEPEST = 64
VALUES = 2_000
"""Values compared with the schema; a longer list is like its beginning."""
_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "number": (int, float),
    "integer": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}


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
    wrong = next(_Check(schema).faults(value, schema, "$", 0), None) if schema else None
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


class _Check:
    """Compares a value with a schema. Looks at a bounded number of values."""

    def __init__(self, root: dict[str, Json]) -> None:
        self._root = root
        self._left = VALUES

    def faults(self, value: Json, schema: Json, path: str, depth: int) -> Iterator[str]:
        """What is wrong, in the order of the schema; ``path`` names the place."""
        self._left -= 1
        if not isinstance(schema, dict) or depth > DEEPEST or self._left < 0:
            return
        if "$ref" in schema:
            yield from self.faults(value, self._resolved(schema["$ref"]), path, depth + 1)
            return
        yield from self._own_faults(value, schema, path)
        yield from self._joined(value, schema, path, depth)
        if isinstance(value, dict):
            yield from self._object(value, schema, path, depth)
        elif isinstance(value, list) and isinstance(schema.get("items"), dict):
            for at, one in enumerate(value[: max(0, self._left)]):
                yield from self.faults(one, schema["items"], f"{path}[{at}]", depth + 1)

    def _own_faults(self, value: Json, schema: dict[str, Json], path: str) -> Iterator[str]:
        kinds = schema.get("type")
        names = [kinds] if isinstance(kinds, str) else kinds if isinstance(kinds, list) else []
        if names and not any(_is_kind(value, name) for name in names):
            yield f"{path} is {_kind(value)}, not {' or '.join(map(str, names))}"
        allowed = schema.get("enum")
        if isinstance(allowed, list) and value not in allowed:
            yield f"{path} is none of the {len(allowed)} allowed values"
        if "const" in schema and value != schema["const"]:
            yield f"{path} is not the one allowed value"

    def _joined(self, value: Json, schema: dict[str, Json], path: str, depth: int) -> Iterator[str]:
        for part in _sequence(schema.get("allOf")):
            yield from self.faults(value, part, path, depth + 1)
        for name in ("anyOf", "oneOf"):
            choices = _sequence(schema.get(name))
            if choices and all(next(self.faults(value, one, path, depth + 1), None) for one in choices):
                yield f"{path} fits none of its {len(choices)} forms"

    def _object(
        self, value: dict[str, Json], schema: dict[str, Json], path: str, depth: int
    ) -> Iterator[str]:
        for name in _sequence(schema.get("required")):
            if isinstance(name, str) and name not in value:
                yield f"{path} lacks the key {name[:60]!r}"
        properties = schema.get("properties")
        if isinstance(properties, dict):
            for name, inner in properties.items():
                if name in value:
                    yield from self.faults(value[name], inner, f"{path}.{name[:60]}", depth + 1)

    def _resolved(self, reference: Json) -> Json:
        if not isinstance(reference, str) or not reference.startswith("#"):
            return None
        found: Json = self._root
        for step in reference[1:].strip("/").split("/"):
            name = step.replace("~1", "/").replace("~0", "~")
            if name:
                found = found.get(name) if isinstance(found, dict) else None
        return found


def _sequence(value: Json) -> list[Json]:
    return value if isinstance(value, list) else []


def _is_kind(value: Json, name: Json) -> bool:
    expected = _TYPES.get(name) if isinstance(name, str) else None
    if expected is None:
        return True
    if isinstance(value, bool):
        return bool in expected
    if name == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, expected)


def _kind(value: Json) -> str:
    if isinstance(value, bool):
        return "boolean"
    return next(name for name, kinds in _TYPES.items() if isinstance(value, kinds))

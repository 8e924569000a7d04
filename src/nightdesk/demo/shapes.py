"""Values that obey a JSON schema: what the demo's models answer when JSON is asked for or a tool is called."""

from __future__ import annotations

from random import Random
from typing import TypeGuard

from nightdesk.demo import voice
from nightdesk.model.base import Json

DEEPEST = 12
"""Schemas that refer to themselves end here."""

_TEXTS = {
    "date": "2025-11-21",
    "date-time": "2025-11-21T23:30:00Z",
    "time": "23:30:00Z",
    "email": "desk@example.org",
    "uri": "https://example.org/story",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


def is_table(value: Json) -> TypeGuard[dict[str, Json]]:
    """True for a JSON object."""
    return isinstance(value, dict)


def story(source: Random) -> Json:
    """The object that a model gives for ``"format": "json"``."""
    return {
        "headline": voice.clause(source).capitalize(),
        "summary": voice.sentence(source),
        "quotes": [voice.sentence(source) for _ in range(source.randint(1, 3))],
        "confidence": round(source.uniform(0.5, 0.99), 2),
    }


def value_of(schema: Json, source: Random) -> Json:
    """A value that obeys ``schema``; null where the schema is beyond this small reader."""
    return _value(schema, schema, source, 0)


def _value(schema: Json, root: Json, source: Random, depth: int) -> Json:
    if not is_table(schema) or depth > DEEPEST:
        return None
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return source.choice(schema["enum"])
    if "$ref" in schema:
        return _value(_referred(schema["$ref"], root), root, source, depth + 1)
    for word in ("anyOf", "oneOf", "allOf"):
        if schema.get(word):
            return _value(schema[word][0], root, source, depth + 1)
    return _typed(schema, root, source, depth)


def _referred(reference: str, root: Json) -> Json:
    found = root
    for step in reference.lstrip("#/").split("/"):
        found = found.get(step) if is_table(found) else None
    return found


def _typed(schema: dict[str, Json], root: Json, source: Random, depth: int) -> Json:
    kind = schema.get("type") or ("object" if "properties" in schema else "string")
    match kind[0] if isinstance(kind, list) else kind:
        case "object":
            names = schema.get("properties", {})
            return {name: _value(sub, root, source, depth + 1) for name, sub in names.items()}
        case "array":
            most = max(schema.get("minItems", 1), min(schema.get("maxItems", 3), 3))
            count = source.randint(schema.get("minItems", min(1, most)), most)
            return [_value(schema.get("items", {}), root, source, depth + 1) for _ in range(count)]
        case "integer":
            return source.randint(*_bounds(schema))
        case "number":
            low, high = _bounds(schema)
            return round(source.uniform(low, high), 2)
        case "boolean":
            return source.random() < 0.5
        case "null":
            return None
        case _:
            return _text(schema, source)


def _bounds(schema: dict[str, Json]) -> tuple[int, int]:
    low = int(schema.get("minimum") or schema.get("exclusiveMinimum") or 0)
    high = int(schema.get("maximum") or schema.get("exclusiveMaximum") or low + 100)
    inside = low + 1 if "exclusiveMinimum" in schema else low
    return inside, max(inside, high - 1 if "exclusiveMaximum" in schema else high)


def _text(schema: dict[str, Json], source: Random) -> str:
    text = _TEXTS.get(schema.get("format", "")) or voice.clause(source).capitalize()
    return text[: schema["maxLength"]] if "maxLength" in schema else text

"""Compares the JSON of a reply with the part of JSON Schema that servers turn into grammars.

It runs in the engine for every reply that was asked for in JSON: it looks at a bounded number of values, evaluates no
patterns, and knows no draft. Outputs are compared with whole schemas elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator

from nightdesk.core.json_values import is_same
from nightdesk.model.base import Json

DEEPEST = 64
VALUES = 2_000
"""Values of a reply that are compared; a longer list is like its beginning."""
_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "number": (int, float),
    "integer": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}


class GrammarCheck:
    """type, required, properties, items, enum, const, anyOf, oneOf, allOf, $ref within the schema. What else a schema
    says is not looked at. Looks at a bounded number of values.
    """

    def __init__(self, root: Json) -> None:
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

    def _fits(self, value: Json, schema: Json, path: str, depth: int) -> bool:
        return next(self.faults(value, schema, path, depth + 1), None) is None

    def _own_faults(self, value: Json, schema: dict[str, Json], path: str) -> Iterator[str]:
        kinds = schema.get("type")
        names = [kinds] if isinstance(kinds, str) else kinds if isinstance(kinds, list) else []
        if names and not any(_is_kind(value, name) for name in names):
            yield f"{path} is {_kind(value)}, not {' or '.join(map(str, names))}"
        allowed = schema.get("enum")
        if isinstance(allowed, list) and not any(is_same(value, one) for one in allowed):
            yield f"{path} is none of the {len(allowed)} allowed values"
        if "const" in schema and not is_same(value, schema["const"]):
            yield f"{path} is not the one allowed value"

    def _joined(self, value: Json, schema: dict[str, Json], path: str, depth: int) -> Iterator[str]:
        for part in _sequence(schema.get("allOf")):
            yield from self.faults(value, part, path, depth + 1)
        for name in ("anyOf", "oneOf"):
            choices = _sequence(schema.get(name))
            if choices and not any(self._fits(value, one, path, depth) for one in choices):
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
            if name and isinstance(found, list):
                found = found[int(name)] if name.isdecimal() and int(name) < len(found) else None
            elif name:
                found = found.get(name) if isinstance(found, dict) else None
        return found


def _sequence(value: Json) -> list[Json]:
    """``value`` where it is a list, else none."""
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

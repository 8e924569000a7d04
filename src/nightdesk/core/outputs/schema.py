"""Compares JSON values with a JSON Schema (2020-12, the vocabularies that assert something).

:class:`GrammarCheck` knows the part that servers turn into grammars; :class:`SchemaCheck` all of it but references to
other documents, ``$dynamicRef`` and the ``unevaluated`` keywords: :func:`unknown_words` names what is not looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from nightdesk.model.base import Json

DEEPEST = 64
VALUES = 2_000
"""Values of a reply that are compared; a longer list is like its beginning."""
FILE_VALUES = 500_000
"""The same of a file."""
TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "number": (int, float),
    "integer": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}
_LIMITS = {
    "minimum": "less than",
    "maximum": "more than",
    "exclusiveMinimum": "not more than",
    "exclusiveMaximum": "not less than",
}
UNKNOWN_WORDS = ("$dynamicRef", "$recursiveRef", "unevaluatedProperties", "unevaluatedItems")


class GrammarCheck:
    """type, required, properties, items, enum, const, anyOf, oneOf, allOf, $ref within the schema. What else a schema
    says is not looked at. Looks at a bounded number of values.
    """

    def __init__(self, root: Json, values: int = VALUES) -> None:
        self._root = root
        self._left = values

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
        for part in sequence(schema.get("allOf")):
            yield from self.faults(value, part, path, depth + 1)
        for name in ("anyOf", "oneOf"):
            choices = sequence(schema.get(name))
            if choices and not any(self._fits(value, one, path, depth) for one in choices):
                yield f"{path} fits none of its {len(choices)} forms"

    def _object(
        self, value: dict[str, Json], schema: dict[str, Json], path: str, depth: int
    ) -> Iterator[str]:
        for name in sequence(schema.get("required")):
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


class SchemaCheck(GrammarCheck):
    """A whole schema."""

    def __init__(self, root: Json) -> None:
        super().__init__(root, FILE_VALUES)

    def faults(self, value: Json, schema: Json, path: str, depth: int) -> Iterator[str]:
        """What is wrong; ``path`` names the place."""
        if schema is False:
            yield f"{path} is not allowed here"
            return
        if isinstance(schema, dict) and "$ref" in schema and len(schema) > 1 and depth <= DEEPEST:
            # Since 2019 what stands beside a reference counts as well.
            yield from super().faults(value, {"$ref": schema["$ref"]}, path, depth)
            schema = {name: inner for name, inner in schema.items() if name != "$ref"}
        yield from super().faults(value, schema, path, depth)

    def _own_faults(self, value: Json, schema: dict[str, Json], path: str) -> Iterator[str]:
        yield from super()._own_faults(value, schema, path)
        if isinstance(value, str):
            yield from _text_faults(value, schema, path)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield from _number_faults(value, schema, path)
        elif isinstance(value, list):
            yield from _size_faults(len(value), schema, ("minItems", "maxItems"), "items", path)
            if schema.get("uniqueItems") is True and (twice := _twice(value)) is not None:
                yield f"{path}[{twice}] is there a second time"
        elif isinstance(value, dict):
            yield from _size_faults(len(value), schema, ("minProperties", "maxProperties"), "keys", path)

    def _joined(self, value: Json, schema: dict[str, Json], path: str, depth: int) -> Iterator[str]:
        yield from super()._joined(value, schema, path, depth)
        fitting = sum(self._fits(value, one, path, depth) for one in sequence(schema.get("oneOf")))
        if fitting > 1:
            yield f"{path} fits {fitting} of its forms, and only one is allowed"
        if "not" in schema and self._fits(value, schema["not"], path, depth):
            yield f"{path} has the form that is not allowed"
        if "if" in schema:
            branch = "then" if self._fits(value, schema["if"], path, depth) else "else"
            yield from self.faults(value, schema.get(branch, True), path, depth + 1)
        if isinstance(value, list):
            yield from self._array(value, schema, path, depth)

    def _array(self, value: list[Json], schema: dict[str, Json], path: str, depth: int) -> Iterator[str]:
        first = sequence(schema.get("prefixItems"))
        for at, (one, inner) in enumerate(zip(value, first, strict=False)):
            yield from self.faults(one, inner, f"{path}[{at}]", depth + 1)
        if schema.get("items") is False and len(value) > len(first):
            yield f"{path} has {len(value)} items, and {len(first)} are allowed"
        if "contains" in schema:
            found = sum(self._fits(one, schema["contains"], path, depth) for one in value)
            yield from _size_faults(
                found, {"minContains": 1} | schema, ("minContains", "maxContains"), "fitting items", path
            )

    def _object(
        self, value: dict[str, Json], schema: dict[str, Json], path: str, depth: int
    ) -> Iterator[str]:
        yield from super()._object(value, schema, path, depth)
        named = _table(schema.get("properties"))
        by_pattern = _table(schema.get("patternProperties"))
        for name, inner in value.items():
            place = f"{path}.{name[:60]}"
            fitting = [sub for pattern, sub in by_pattern.items() if _finds(pattern, name)]
            for sub in fitting:
                yield from self.faults(inner, sub, place, depth + 1)
            if name not in named and not fitting and "additionalProperties" in schema:
                yield from self.faults(inner, schema["additionalProperties"], place, depth + 1)
            if "propertyNames" in schema:
                yield from self.faults(name, schema["propertyNames"], f"the key {name[:60]!r}", depth + 1)
        for name, others in _table(schema.get("dependentRequired")).items():
            missing = [one for one in sequence(others) if one not in value] if name in value else []
            yield from (f"{path} lacks the key {str(one)[:60]!r}, which {name!r} needs" for one in missing)
        for name, inner in _table(schema.get("dependentSchemas")).items():
            if name in value:
                yield from self.faults(value, inner, path, depth + 1)


def schema_faults(value: Json, schema: Json, most: int = 100) -> list[str]:
    """What is wrong with a value, at most so much of it; empty where it is as the schema says."""
    found = SchemaCheck(schema).faults(value, schema, "$", 0)
    return [fault for fault, _ in zip(found, range(most), strict=False)]


def unknown_words(schema: Json) -> tuple[str, ...]:
    """Keywords in a schema that are not looked at, and references to other documents."""
    found: dict[str, None] = {}
    waiting = [schema]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            found.update((word, None) for word in UNKNOWN_WORDS if word in one)
            reference = one.get("$ref")
            if isinstance(reference, str) and not reference.startswith("#"):
                found[f"$ref {reference[:80]}"] = None
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one
    return tuple(found)


def sequence(value: Json) -> list[Json]:
    """``value`` where it is a list, else none."""
    return value if isinstance(value, list) else []


def _table(value: Json) -> dict[str, Json]:
    return value if isinstance(value, dict) else {}


def is_same(one: Json, other: Json) -> bool:
    """Equal as JSON means it: ``true`` is no 1, ``1.0`` is 1."""
    if isinstance(one, bool) is not isinstance(other, bool):
        return False
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(is_same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(is_same(one[name], other[name]) for name in one)
    return bool(one == other)


def _text_faults(value: str, schema: dict[str, Json], path: str) -> Iterator[str]:
    yield from _size_faults(len(value), schema, ("minLength", "maxLength"), "characters", path)
    pattern = schema.get("pattern")
    if isinstance(pattern, str) and not _finds(pattern, value):
        yield f"{path} does not match {pattern[:80]}"
    form = schema.get("format")
    if isinstance(form, str):
        from nightdesk.core.outputs.formats import has_format  # replies never come here

        if not has_format(value, form):
            yield f"{path} is no {form}"


def _number_faults(value: float, schema: dict[str, Json], path: str) -> Iterator[str]:
    for word, words in _LIMITS.items():
        limit = schema.get(word)
        if isinstance(limit, int | float) and not isinstance(limit, bool) and _is_beyond(value, word, limit):
            yield f"{path} is {value:g}, {words} {limit:g}"
    step = schema.get("multipleOf")
    if isinstance(step, int | float) and step > 0 and abs(value / step - round(value / step)) > 1e-9:
        yield f"{path} is {value:g}, no multiple of {step:g}"


def _is_beyond(value: float, word: str, limit: float) -> bool:
    match word:
        case "minimum":
            return value < limit
        case "maximum":
            return value > limit
        case "exclusiveMinimum":
            return value <= limit
    return value >= limit


def _size_faults(
    size: int, schema: dict[str, Json], words: tuple[str, str], what: str, path: str
) -> Iterator[str]:
    least, most = schema.get(words[0]), schema.get(words[1])
    if isinstance(least, int | float) and size < least:
        yield f"{path} has {size} {what}, at least {least:g} are asked for"
    if isinstance(most, int | float) and size > most:
        yield f"{path} has {size} {what}, at most {most:g} are allowed"


def _twice(values: list[Json]) -> int | None:
    """The place of the first value that was there before."""
    plain: set[Json] = set()
    other: list[Json] = []
    for at, one in enumerate(values):
        if isinstance(one, list | dict | bool):
            if any(is_same(one, each) for each in other):
                return at
            other.append(one)
        elif one in plain:
            return at
        else:
            plain.add(one)
    return None


def _finds(pattern: str, text: str) -> bool:
    """Whether a pattern finds something. One that Python can't read finds everything: it says nothing of the value."""
    try:
        return re.search(pattern, text) is not None
    except (re.error, RecursionError, OverflowError):
        return True


def _is_kind(value: Json, name: Json) -> bool:
    expected = TYPES.get(name) if isinstance(name, str) else None
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
    return next(name for name, kinds in TYPES.items() if isinstance(value, kinds))

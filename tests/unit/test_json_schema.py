"""JSON values beside a JSON Schema: each keyword, with a value that obeys it and one that does not."""

from __future__ import annotations

import re
from typing import Any

import pytest

from nightdesk.core.outputs.schema import WORDS, Schema, UnusableSchemaError

CASES: list[tuple[Any, list[Any], list[Any]]] = [
    (True, [1, None], []),
    (False, [], [1, {}]),
    ({"type": "integer"}, [1, 1.0], [1.5, True, "1"]),
    ({"type": ["string", "null"]}, ["a", None], [1]),
    ({"enum": [1, "a", [True]]}, [1, 1.0, "a", [True]], [True, [1], "b"]),
    ({"const": {"a": [1]}}, [{"a": [1.0]}], [{"a": [True]}, {}]),
    ({"minimum": 1, "maximum": 3}, [1, 3, "x"], [0, 4]),
    ({"exclusiveMinimum": 1, "exclusiveMaximum": 3}, [2], [1, 3]),
    ({"multipleOf": 0.5}, [1.5, 7], [0.35]),
    ({"minLength": 2, "maxLength": 3}, ["ab", "äöü", 1], ["a", "abcd"]),
    ({"pattern": "^a+$"}, ["aa", 1], ["b"]),
    ({"format": "date"}, ["2025-11-21"], ["2025-13-01", "21.11.2025"]),
    ({"format": "date-time"}, ["2025-11-21T01:02:03Z", "2025-11-21T01:02:03.5+01:00"], ["2025-11-21", "x"]),
    ({"format": "email"}, ["a@b"], ["a"]),
    ({"format": "uuid"}, ["123e4567-e89b-12d3-a456-426614174000"], ["123"]),
    ({"format": "ipv4"}, ["127.0.0.1"], ["127.0.0.256"]),
    ({"format": "ipv6"}, ["::1"], [":::"]),
    ({"format": "regex"}, ["a"], ["("]),
    ({"format": "something"}, ["x"], []),
    ({"minItems": 1, "maxItems": 2}, [[1], [1, 2]], [[], [1, 2, 3]]),
    ({"uniqueItems": True}, [[1, "1", True, [1]], []], [[1, 1.0], [[1], [1]], [{"a": 1}, {"a": 1}]]),
    ({"items": {"type": "string"}}, [["a"], []], [["a", 1]]),
    ({"prefixItems": [{"type": "string"}], "items": False}, [["a"], []], [[1], ["a", 1]]),
    ({"contains": {"const": 1}, "maxContains": 2}, [[1], [1, 1]], [[], [2], [1, 1, 1]]),
    ({"required": ["a"]}, [{"a": 1}, 3], [{}]),
    ({"properties": {"a": {"type": "string"}}}, [{"a": "x"}, {"b": 1}], [{"a": 1}]),
    ({"properties": {"a": {}}, "additionalProperties": False}, [{"a": 1}], [{"b": 1}]),
    ({"additionalProperties": {"type": "integer"}}, [{"a": 1}], [{"a": "x"}]),
    (
        {"patternProperties": {"^x": {"type": "integer"}}, "additionalProperties": False},
        [{"xa": 1}],
        [{"xa": "1"}],
    ),
    ({"propertyNames": {"maxLength": 2}}, [{"ab": 1}], [{"abc": 1}]),
    ({"minProperties": 1, "maxProperties": 1}, [{"a": 1}], [{}, {"a": 1, "b": 2}]),
    ({"dependentRequired": {"a": ["b"]}}, [{"a": 1, "b": 2}, {"b": 1}], [{"a": 1}]),
    ({"dependentSchemas": {"a": {"required": ["b"]}}}, [{"a": 1, "b": 2}], [{"a": 1}]),
    ({"allOf": [{"minimum": 1}, {"maximum": 2}]}, [1], [0, 3]),
    ({"anyOf": [{"type": "string"}, {"minimum": 5}]}, ["a", 5], [1]),
    ({"oneOf": [{"type": "integer"}, {"minimum": 5}]}, [1, 5.5], [6, 1.5]),
    ({"not": {"type": "string"}}, [1], ["a"]),
    ({"if": {"minimum": 5}, "then": {"multipleOf": 5}, "else": {"const": 1}}, [10, 1], [6, 2]),
    ({"$ref": "#/$defs/n", "$defs": {"n": {"type": "null"}}, "description": "x"}, [None], [1]),
    ({"$ref": "#/$defs/n", "minimum": 3, "$defs": {"n": {"type": "integer"}}}, [3], [2, 3.5]),
    ({"$ref": "#/allOf/0", "allOf": [{"type": "string"}]}, ["a"], [1]),
    ({"properties": {"a": {}}, "unevaluatedProperties": False}, [{"a": 1}], [{"b": 1}]),
    ({"$schema": "http://json-schema.org/draft-07/schema#", "items": [{"const": 1}]}, [[1, 2]], [[2]]),
]


@pytest.mark.parametrize(("schema", "good", "bad"), CASES, ids=[str(case[0])[:40] for case in CASES])
def test_a_keyword_lets_pass_what_obeys_it_and_nothing_else(
    schema: Any, good: list[Any], bad: list[Any]
) -> None:
    asked = Schema(schema)
    assert [value for value in good if asked.faults(value)] == []
    assert [value for value in bad if not asked.faults(value)] == []


def test_a_fault_names_its_place_and_quotes_a_bounded_part_of_the_value() -> None:
    tree = {"type": "object", "properties": {"kids": {"type": "array", "items": {"$ref": "#"}}}}
    assert Schema(tree).faults({"kids": [{"kids": []}]}) == []
    assert Schema(tree).faults({"kids": [{"kids": [3]}]}) == ["$.kids[0].kids[0]: 3 is not of type 'object'"]
    (fault,) = Schema({"type": "object"}).faults(["x" * 10_000])
    assert len(fault) < WORDS + 10
    assert len(Schema({"items": {"type": "null"}}).faults([1] * 1_000, most=7)) == 7


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ([], "no object"),
        ({"type": "objct"}, "'objct' is not valid"),
        ({"pattern": "("}, "'(' is not a 'regex'"),
    ],
)
def test_what_is_no_schema_is_refused_with_the_reason(schema: Any, reason: str) -> None:
    with pytest.raises(UnusableSchemaError, match=re.escape(reason)):
        Schema(schema)


def test_a_schema_that_refers_to_another_document_can_not_be_used_and_nothing_is_fetched() -> None:
    with pytest.raises(UnusableSchemaError, match=r"refers to http://127\.0\.0\.1:9/x\.json"):
        Schema({"properties": {"a": {"$ref": "http://127.0.0.1:9/x.json"}}}).faults({"a": 1})


def test_a_schema_that_goes_round_in_circles_ends_with_words() -> None:
    with pytest.raises(UnusableSchemaError, match="nested too deep"):
        Schema({"$ref": "#"}).faults(1)

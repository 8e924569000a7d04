"""Compares JSON values with a JSON Schema, of whatever draft it names; 2020-12 where it names none.

Nothing is ever fetched: a schema that refers to another document can't be used.
"""

from __future__ import annotations

import datetime
from itertools import islice
from typing import TYPE_CHECKING, cast

from nightdesk.model.base import Json

if TYPE_CHECKING:
    from jsonschema import FormatChecker
    from jsonschema.exceptions import SchemaError, ValidationError

WORDS = 200
"""Characters of a fault: it may quote all of a value."""


class UnusableSchemaError(Exception):
    """What can't be compared with, and why, in words."""


class Schema:
    """A schema that values are compared with. Raises UnusableSchemaError where it is none."""

    def __init__(self, schema: Json) -> None:
        # Loading the package takes longer than looking at an output, and few jobs have a schema.
        from jsonschema import Draft202012Validator
        from jsonschema.exceptions import SchemaError
        from jsonschema.validators import validator_for
        from referencing.jsonschema import EMPTY_REGISTRY

        if not isinstance(schema, dict | bool):
            raise UnusableSchemaError("it holds no object, and a JSON Schema is one")
        kind = validator_for(schema, default=Draft202012Validator)
        try:
            kind.check_schema(cast("dict[str, Json]", schema))  # true and false are schemas, too
        except SchemaError as fault:
            raise UnusableSchemaError(f"it is not a JSON Schema: {_told(fault)}") from fault
        # The registry of the package itself asks the network for what it does not know.
        self._validator = kind(schema, registry=EMPTY_REGISTRY, format_checker=_formats(kind.FORMAT_CHECKER))

    def faults(self, value: Json, most: int = 100) -> list[str]:
        """What is wrong with a value, at most so much of it; empty where it is as the schema says.

        Raises UnusableSchemaError where the schema refers to what is not in it.
        """
        from referencing.exceptions import Unresolvable

        try:
            return [_told(fault) for fault in islice(self._validator.iter_errors(value), most)]
        except Unresolvable as fault:
            raise UnusableSchemaError(f"it refers to {fault.ref}, which is not in it") from fault
        except RecursionError as fault:
            raise UnusableSchemaError("it, or the value, is nested too deep") from fault


def _told(fault: ValidationError | SchemaError) -> str:
    message = fault.message if len(fault.message) <= WORDS else f"{fault.message[: WORDS - 1]}…"
    return f"{fault.json_path}: {message}"


def _formats(known: FormatChecker) -> FormatChecker:
    """The formats that the package can tell without further packages, and moments."""
    from jsonschema import FormatChecker

    checker = FormatChecker(())
    checker.checkers = {**known.checkers, "date-time": (_is_moment, (ValueError,))}
    return checker


def _is_moment(value: object) -> bool:
    """A date and a time with a zone, as RFC 3339 has it; of what is no text nothing is said."""
    if not isinstance(value, str):
        return True
    moment = datetime.datetime.fromisoformat(value)
    return moment.tzinfo is not None and len(value) > len("2000-01-01T00:00Z")

"""All faults of a configuration at once, each in words: what was expected where, and the nearest known name.

The values are compared with the types of :mod:`nightdesk.model.config`; msgspec would stop at the first fault.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import msgspec.inspect as types

from nightdesk.core.foreign import safe_line
from nightdesk.model.base import Json
from nightdesk.model.config import DeskConfig

Path = tuple[str, ...]

SPAN_WORDS = 'a length of time such as "30s", "10m" or "2h"'
SIZE_WORDS = 'an amount of memory such as "512MB" or "20GB"'
SHOWN_MOST = 40
HIDDEN = "***"
# Compiled at their first use: few commands need them, and all of them import this module.
_TELLING_NAME = "key|token|secret|passw|credential|auth"
_TELLING_OPTION = r"((?:--?[\w-]*(?:key|token|secret|passw)[\w-]*(?:=|\s+))|(?:bearer|basic)\s+)[^\s\"']+"
_ADDRESS_WITH_LOGIN = r"(://[^/\s:@]*:)[^/\s@]+(?=@)"


class Fault(NamedTuple):
    """One fault: the path of the key it is about, and a sentence without a full stop."""

    path: Path
    text: str
    is_absence: bool = False
    """True where the table at ``path`` lacks a key."""


@functools.cache
def _whole() -> types.Type:
    return types.type_info(DeskConfig)


def find_faults(tables: Json) -> list[Fault]:
    """What is wrong with the values of a whole file, table by table."""
    return list(_check(tables, _whole(), ()))


def section_name(path: Path) -> str:
    """How a file would head the table of ``path``: ``[jobs.transcribe]``."""
    return f"[{'.'.join(path)}]"


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that ``name`` was probably meant to be."""
    from difflib import get_close_matches  # only a fault needs it

    found = get_close_matches(name.lower(), list(known), 1, 0.6)
    return found[0] if found else None


def is_secret(name: str) -> bool:
    """True where a variable of this name probably holds a secret."""
    return re.search(_TELLING_NAME, name, re.IGNORECASE) is not None


def without_secrets(command: str) -> str:
    """``command`` with the values of options such as ``--api-key`` and passwords in addresses hidden."""
    hidden = rf"\g<1>{HIDDEN}"
    return re.sub(_ADDRESS_WITH_LOGIN, hidden, re.sub(_TELLING_OPTION, hidden, command, flags=re.IGNORECASE))


def type_of(path: Path) -> types.Type | None:
    """What is expected at ``path``, None where nothing is known by that name."""
    current = _whole()
    for name in path:
        current = _bare(current)
        if isinstance(current, types.StructType):
            found = next((field.type for field in current.fields if field.name == name), None)
            if found is None:
                return None
            current = found
        elif isinstance(current, types.DictType):
            current = current.value_type
        else:
            return None
    return current


def takes_text(expected: types.Type) -> bool:
    """True where any text is a value."""
    return isinstance(_bare(expected), types.StrType | types.LiteralType)


def _bare(expected: types.Type) -> types.Type:
    """``expected`` without its notes and without "or absent"."""
    if isinstance(expected, types.Metadata):
        return _bare(expected.type)
    if isinstance(expected, types.UnionType):
        return _bare(next(one for one in expected.types if not isinstance(one, types.NoneType)))
    return expected


def _check(value: Json, expected: types.Type, path: Path) -> Iterator[Fault]:
    match _bare(expected):
        case types.StructType() as kind:
            yield from _check_table(value, kind, path)
        case types.DictType(value_type=inner):
            if not isinstance(value, dict):
                yield _wrong(path, value, "a table")
                return
            for name, one in value.items():
                yield from _check(one, inner, (*path, name))
        case types.VarTupleType(item_type=inner):
            yield from _check_list(value, inner, path)
        case kind:
            if not _fits(value, kind):
                yield _wrong(path, value, _words(kind))


def _check_table(value: Json, kind: types.StructType, path: Path) -> Iterator[Fault]:
    if not isinstance(value, dict):
        yield _wrong(path, value, "a table")
        return
    fields = {field.name: field for field in kind.fields}
    for name, one in value.items():
        if name in fields:
            yield from _check(one, fields[name].type, (*path, name))
        else:
            yield Fault((*path, name), _unknown(name, one, fields, path))
    for name, field in fields.items():
        if field.required and name not in value:
            yield Fault(path, f"{section_name(path)} has no {name}", is_absence=True)


def _unknown(name: str, value: Json, fields: Mapping[str, types.Field], path: Path) -> str:
    shown = safe_line(name, SHOWN_MOST)
    meant = nearest(name, fields)
    if path:
        hint = f"; did you mean {meant!r}?" if meant else f"; it knows {', '.join(sorted(fields))}"
        return f"{section_name(path)} has no key {shown!r}{hint}"
    kind = "section" if isinstance(value, dict) else "key"
    hint = f"; did you mean [{meant}]?" if meant else f"; there are {', '.join(f'[{one}]' for one in fields)}"
    return f"there is no {kind} {f'[{shown}]' if kind == 'section' else repr(shown)}{hint}"


def _check_list(value: Json, inner: types.Type, path: Path) -> Iterator[Fault]:
    words = f"a list of {_words(_bare(inner), many=True)}"
    if not isinstance(value, list):
        yield _wrong(path, value, words)
        return
    for at, one in enumerate(value, 1):
        if not _fits(one, _bare(inner)):
            yield Fault(path, f"{_place(path)} must be {words}; number {at} is {shown(one)}")


def _fits(value: Json, kind: types.Type) -> bool:
    match kind:
        case types.StrType(pattern=pattern):
            return isinstance(value, str) and (pattern is None or re.search(pattern, value) is not None)
        case types.LiteralType(values=values):
            return isinstance(value, str) and value in values
        case types.BoolType():
            return isinstance(value, bool)
        case types.IntType(ge=low, le=high):
            whole = isinstance(value, int) and not isinstance(value, bool)
            return whole and (low is None or value >= low) and (high is None or value <= high)
        case types.FloatType(ge=low, le=high):
            number = isinstance(value, int | float) and not isinstance(value, bool)
            return number and (low is None or value >= low) and (high is None or value <= high)
        case _:
            return False


def _words(kind: types.Type, many: bool = False) -> str:
    match kind:
        case types.LiteralType(values=values):
            return "one of " + ", ".join(f'"{value}"' for value in values)
        case types.BoolType():
            return "true or false"
        case types.IntType(ge=low, le=high) | types.FloatType(ge=low, le=high):
            limits = (
                f" from {low} to {high}"
                if high is not None
                else f" of at least {low}"
                if low is not None
                else ""
            )
            whole = "whole " if isinstance(kind, types.IntType) else ""
            return f"{whole}numbers{limits}" if many else f"a {whole}number{limits}"
        case types.StrType(pattern=None):
            return "texts in quotes" if many else "text in quotes"
        case types.StrType(pattern=str(pattern)) if "GB" in pattern:
            return SIZE_WORDS
        case _:
            return SPAN_WORDS


def _wrong(path: Path, value: Json, words: str) -> Fault:
    hint = ""
    expected = type_of(path)
    bare = _bare(expected) if expected else None
    if isinstance(bare, types.LiteralType) and isinstance(value, str):
        meant = nearest(value, map(str, bare.values))
        hint = f"; did you mean {meant!r}?" if meant else ""
    given = "a value of another kind" if len(path) > 1 and path[-2] == "env" else shown(value)
    return Fault(path, f"{_place(path)} must be {words}, not {given}{hint}")


def _place(path: Path) -> str:
    return (
        f"{section_name(path[:-1])} {safe_line(path[-1], SHOWN_MOST)}"
        if len(path) > 1
        else section_name(path)
    )


def shown(value: Json) -> str:
    """A value of the file in a sentence; long ones are cut, secrets in commands hidden."""
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return safe_line(str(value), SHOWN_MOST)
        case str():
            return f'"{safe_line(without_secrets(value), SHOWN_MOST)}"'
        case list():
            return "a list"
        case dict():
            return "a table"
        case _:
            return "a date or time"

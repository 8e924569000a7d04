"""The reader of ``nightdesk.toml``: text, environment and flags in, a checked configuration or all its problems out.

Defaults < file < environment (``NIGHTDESK_CAPTURE__SOURCE``) < flags (``capture.source``). Nothing here looks at the
disk or at the process's environment.
"""

from __future__ import annotations

import copy
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import msgspec

from nightdesk.core.faults import Fault, find_faults, section_name, takes_text, type_of
from nightdesk.core.job_rules import find_job_faults
from nightdesk.core.toml_lines import lines_of, nearest_line
from nightdesk.model.base import Json
from nightdesk.model.config import DeskConfig
from nightdesk.model.errors import ConfigError

Path = tuple[str, ...]

PREFIX = "NIGHTDESK_"
SEPARATOR = "__"
DEFAULT_NAME = "nightdesk.toml"
_WHERE = re.compile(r" \((?:at line (\d+), column (\d+)|at end of document)\)$")


@dataclass(frozen=True, slots=True)
class Reading:
    """A checked configuration and where its values come from."""

    config: DeskConfig
    origins: dict[str, str]
    """``capture.source`` → ``nightdesk.toml:4``, ``environment NIGHTDESK_…`` or ``--set …``; a key that is absent
    has its default."""


@dataclass(slots=True)
class _Layers:
    """Values of the file with those of environment and flags laid over them."""

    tables: dict[str, Json]
    name: str
    lines: dict[Path, int]
    over: dict[Path, str] = field(default_factory=dict)
    """Where a value came from that was laid over the file."""

    def put(self, path: Path, text: str, origin: str) -> Iterator[str]:
        """Lays ``text`` over the key at ``path``. Yields a sentence where a key on the way holds a value."""
        expected = type_of(path)
        value = _value_of(text)
        if expected is not None and takes_text(expected) and not isinstance(value, str):
            value = text
        level = self.tables
        for name in path[:-1]:
            inner = level.setdefault(name, {})
            if not isinstance(inner, dict):
                yield f"{origin}: {section_name(path[:-1])} is a value in {self.name}, not a table"
                return
            level = inner
        level[path[-1]] = value
        self.over[path] = origin

    def place(self, path: Path) -> str:
        """Where the value at ``path`` stands, for the beginning of a sentence."""
        if origin := self._over(path):
            return origin
        line = nearest_line(self.lines, path)
        return f"line {line}" if line else self.name

    def origin(self, path: Path) -> str:
        """Where the value at ``path`` came from, for a person who looks for it."""
        inside = next((origin for one, origin in self.over.items() if one[: len(path)] == path), None)
        if origin := inside or self._over(path):
            return origin
        line = nearest_line(self.lines, path)
        file = self.name.rpartition("/")[2]
        return f"{file}:{line}" if line else file

    def _over(self, path: Path) -> str | None:
        return next(
            (self.over[path[:end]] for end in range(len(path), 0, -1) if path[:end] in self.over), None
        )


def parse_config(
    text: str,
    env: Mapping[str, str],
    overrides: Mapping[str, str] | None = None,
    name: str = DEFAULT_NAME,
) -> DeskConfig:
    """The configuration in ``text`` (empty for none) under ``env`` and ``overrides`` (``{"capture.source": "relay"}``).

    ``name`` is the file's, for sentences. Raises ConfigError with all problems at once, in the order of the file.
    """
    return read(text, env, overrides, name).config


def read(
    text: str,
    env: Mapping[str, str],
    overrides: Mapping[str, str] | None = None,
    name: str = DEFAULT_NAME,
) -> Reading:
    """As :func:`parse_config`, with the origin of each value that is no default."""
    layers = _Layers(_tables(text, name), name, lines_of(text))
    problems = [*_lay_environment(layers, env), *_lay_flags(layers, overrides or {})]
    faults = find_faults(layers.tables)
    config = msgspec.convert(_sound(layers.tables, faults), DeskConfig)
    faults += find_job_faults(config)
    if faults or problems:
        raise _refusal(name, problems, faults, layers)
    return Reading(config, {".".join(path): layers.origin(path) for path in _leaves(layers.tables, ())})


def _sound(tables: dict[str, Json], faults: list[Fault]) -> dict[str, Json]:
    """``tables`` without the keys that have faults, so that what depends on several keys can still be looked at."""
    if not faults:
        return tables
    sound = copy.deepcopy(tables)
    for fault in faults:
        level: Json = sound
        for name in fault.path[:-1]:
            level = level.get(name) if isinstance(level, dict) else None
        if isinstance(level, dict) and not fault.is_absence:
            level.pop(fault.path[-1], None)
    for job in sound.get("jobs", {}).values():
        job.setdefault("command", "absent")
    return sound


def _tables(text: str, name: str) -> dict[str, Json]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as fault:
        raise ConfigError(f"{name} can't be used.", (_syntax(str(fault), text),)) from fault
    except RecursionError as fault:
        raise ConfigError(f"{name} can't be used.", ("its values are nested too deep",)) from fault


def _syntax(message: str, text: str) -> str:
    """One sentence with line and column from a message of tomllib."""
    where = _WHERE.search(message)
    what = message[: where.start()] if where else message
    if where and where[1]:
        line, column = int(where[1]), int(where[2])
    else:
        written = text.rstrip("\n").split("\n")
        line, column = len(written), len(written[-1]) + 1
    return f"line {line}, column {column}: this is not TOML: {what[:1].lower()}{what[1:]}"


def _lay_environment(layers: _Layers, env: Mapping[str, str]) -> Iterator[str]:
    for variable, value in sorted(env.items()):
        if variable.startswith(PREFIX) and SEPARATOR in variable:
            names = variable.removeprefix(PREFIX).split(SEPARATOR)
            path = _known_path([name.lower() for name in names], layers.tables)
            yield from layers.put(path, value, f"environment {variable}")


def _known_path(names: list[str], tables: dict[str, Json]) -> Path:
    """The path with the spelling of the file, because a variable's name has lost upper and lower case."""
    path: list[str] = []
    level: Json = tables
    for name in names:
        known = level if isinstance(level, dict) else {}
        path.append(next((key for key in known if key.lower().replace("-", "_") == name), name))
        level = known.get(path[-1])
    return tuple(path)


def _lay_flags(layers: _Layers, overrides: Mapping[str, str]) -> Iterator[str]:
    for name, value in overrides.items():
        path = tuple(name.split("."))
        if len(path) < 2 or not all(path):
            yield f"--set {name}: this is not SECTION.KEY"
        else:
            yield from layers.put(path, value, f"--set {name}")


def _value_of(text: str) -> Json:
    """``text`` as a TOML value, else as it is."""
    try:
        parsed = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    return parsed["value"] if set(parsed) == {"value"} and "\n" not in text else text


def _leaves(value: Json, path: Path) -> Iterator[Path]:
    """The paths of all keys: ``section.key`` and ``jobs.name.key``. What is inside a key's value counts as the key."""
    depth = 3 if path[:1] == ("jobs",) else 2
    if isinstance(value, dict) and len(path) < depth:
        for name, inner in value.items():
            yield from _leaves(inner, (*path, name))
    elif path:
        yield path


def _refusal(name: str, problems: list[str], faults: list[Fault], layers: _Layers) -> ConfigError:
    ordered = sorted(faults, key=lambda fault: nearest_line(layers.lines, fault.path) or 0)
    told = (*problems, *(f"{layers.place(fault.path)}: {fault.text}" for fault in ordered))
    count = f"{len(told)} problems" if len(told) > 1 else "a problem"
    return ConfigError(f"{name} has {count}.", told)

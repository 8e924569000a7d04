"""The reader of ``nightdesk.toml``: text, environment and flags in, a checked configuration or all its problems out.

Defaults < file < environment (``NIGHTDESK_CAPTURE__SOURCE``) < flags (``capture.source``). Nothing here looks at the
disk or at the process's environment.
"""

from __future__ import annotations

import copy
import functools
import re
import tomllib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from nightdesk.model.base import Json
from nightdesk.model.config import DeskConfig
from nightdesk.model.errors import ConfigError

if TYPE_CHECKING:
    from nightdesk.core.faults import Fault

Path = tuple[str, ...]

PREFIX = "NIGHTDESK_"
SEPARATOR = "__"
DEFAULT_NAME = "nightdesk.toml"
_WHERE = r" \((?:at line (\d+), column (\d+)|at end of document)\)$"


class Reading(NamedTuple):
    """A checked configuration and where its values come from."""

    config: DeskConfig
    origins: dict[str, str]
    """``capture.source`` → ``nightdesk.toml:4``, ``environment NIGHTDESK_…`` or ``--set …``; a key that is absent
    has its default."""


class _Layers:
    """Values of the file with those of environment and flags laid over them."""

    def __init__(self, tables: dict[str, Json], name: str, text: str) -> None:
        self.tables = tables
        self.name = name
        self._text = text
        self._over: dict[Path, str] = {}

    def put(self, path: Path, text: str, origin: str) -> Iterator[str]:
        """Lays ``text`` over the key at ``path``. Yields a sentence where a key on the way holds a value."""
        from nightdesk.core.faults import takes_text, type_of

        expected = type_of(path)
        value = _value_of(text)
        if expected is not None and takes_text(expected) and not isinstance(value, str):
            value = text
        level = self.tables
        for name in path[:-1]:
            inner = level.setdefault(name, {})
            if not isinstance(inner, dict):
                yield f"{origin}: [{'.'.join(path[:-1])}] is a value in {self.name}, not a table"
                return
            level = inner
        level[path[-1]] = value
        self._over[path] = origin

    def line(self, path: Path) -> int | None:
        """The line of the file on which ``path``, or the table around it, stands."""
        from nightdesk.core.toml_lines import nearest_line

        return nearest_line(self._lines, path)

    def place(self, path: Path) -> str:
        """Where the value at ``path`` stands, for the beginning of a sentence."""
        line = self.line(path)
        return self._laid(path) or (f"line {line}" if line else self.name)

    def origin(self, path: Path) -> str:
        """Where the value at ``path``, or one inside it, came from, for a person who looks for it."""
        inside = next((origin for one, origin in self._over.items() if one[: len(path)] == path), None)
        line = self.line(path)
        file = self.name.rpartition("/")[2]
        return inside or self._laid(path) or (f"{file}:{line}" if line else file)

    def _laid(self, path: Path) -> str | None:
        """What laid a value over ``path`` or over a table around it."""
        return next(
            (self._over[path[:end]] for end in range(len(path), 0, -1) if path[:end] in self._over), None
        )

    @functools.cached_property
    def _lines(self) -> dict[Path, int]:
        from nightdesk.core.toml_lines import lines_of

        return lines_of(self._text)


def parse_config(
    text: str,
    env: Mapping[str, str],
    overrides: Mapping[str, str] | None = None,
    name: str = DEFAULT_NAME,
) -> DeskConfig:
    """The configuration in ``text`` (empty for none) under ``env`` and ``overrides`` (``{"capture.source": "relay"}``).

    ``name`` is the file's, for sentences. Raises ConfigError with all problems at once, in the order of the file.
    """
    if not overrides and not any(map(_is_setting, env)):
        # Every command comes this way: what costs milliseconds waits until there is something to explain.
        try:
            config = msgspec.convert(_tables(text, name), DeskConfig)
        except msgspec.ValidationError:
            pass
        else:
            if not _job_faults(config):
                return config
    return read(text, env, overrides, name).config


def read(
    text: str,
    env: Mapping[str, str],
    overrides: Mapping[str, str] | None = None,
    name: str = DEFAULT_NAME,
) -> Reading:
    """As :func:`parse_config`, with the origin of each value that is no default."""
    from nightdesk.core.faults import find_faults

    layers = _Layers(_tables(text, name), name, text)
    problems = [*_lay_environment(layers, env), *_lay_flags(layers, overrides or {})]
    faults = find_faults(layers.tables)
    config = msgspec.convert(_sound(layers.tables, faults), DeskConfig)
    faults += _job_faults(config)
    if faults or problems:
        raise _refusal(name, problems, faults, layers)
    return Reading(config, {".".join(path): layers.origin(path) for path in _leaves(layers.tables, ())})


def _job_faults(config: DeskConfig) -> list[Fault]:
    from nightdesk.core.jobs.rules import find_job_faults

    return [*find_job_faults(config), *_pattern_faults(config)]


def _pattern_faults(config: DeskConfig) -> list[Fault]:
    if not config.progress.patterns:
        return []
    from nightdesk.core.faults import Fault
    from nightdesk.core.logs.progress_forms import compiled_patterns

    try:
        compiled_patterns(config.progress.patterns)
    except ValueError as fault:
        return [Fault(("progress", "patterns"), str(fault).removesuffix("."))]
    return []


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
    where = re.search(_WHERE, message)
    what = message[: where.start()] if where else message
    if where and where[1]:
        line, column = int(where[1]), int(where[2])
    else:
        written = text.rstrip("\n").split("\n")
        line, column = len(written), len(written[-1]) + 1
    return f"line {line}, column {column}: this is not TOML: {what[:1].lower()}{what[1:]}"


def _is_setting(variable: str) -> bool:
    return variable.startswith(PREFIX) and SEPARATOR in variable


def _lay_environment(layers: _Layers, env: Mapping[str, str]) -> Iterator[str]:
    for variable, value in sorted(env.items()):
        if _is_setting(variable):
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
    ordered = sorted(faults, key=lambda fault: layers.line(fault.path) or 0)
    told = (*problems, *(f"{layers.place(fault.path)}: {fault.text}" for fault in ordered))
    count = f"{len(told)} problems" if len(told) > 1 else "a problem"
    return ConfigError(f"{name} has {count}.", told)

"""Finds the desk: its folder, its configuration, and the places of its engine's files."""

from __future__ import annotations

import hashlib
import os
import tempfile
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from nightdesk.model.config import DeskConfig
from nightdesk.model.errors import ConfigError, NightdeskError

CONFIG_NAME = "nightdesk.toml"
SOCKET_PATH_LIMIT = 103
"""macOS keeps 104 bytes for a socket path, the last one is the terminator; Linux keeps 108."""


@dataclass(frozen=True, slots=True)
class Desk:
    """A desk on disk."""

    folder: Path
    """Where relative paths of the configuration begin."""
    config_path: Path | None
    config: DeskConfig

    @property
    def name(self) -> str:
        """The name in the header."""
        return self.config.desk.name or (self.folder.name if self.config_path else "default desk")

    @property
    def state(self) -> Path:
        """The engine's own folder, 0700."""
        return self.folder / ".nightdesk"

    @property
    def runs(self) -> Path:
        """One folder for each run."""
        return self.state / "runs"

    @property
    def database(self) -> Path:
        """The store."""
        return self.state / "desk.db"

    @property
    def engine_log(self) -> Path:
        """The engine's own log, one JSON object a line."""
        return self.state / "engine.log"

    @property
    def lock(self) -> Path:
        """Held by ``flock`` while an engine runs; holds its pid for people."""
        return self.state / "engine.lock"

    @property
    def socket(self) -> Path:
        """The engine's socket, in a 0700 folder with a short path.

        Raises NightdeskError where even that is longer than the system allows.
        """
        return socket_path(self.folder, os.environ)


def socket_path(folder: Path, env: Mapping[str, str]) -> Path:
    """Where the engine of the desk in ``folder`` listens. ``NIGHTDESK_SOCKET`` in ``env`` wins."""
    chosen = env.get("NIGHTDESK_SOCKET")
    if chosen:
        path = Path(chosen)
    else:
        runtime = env.get("XDG_RUNTIME_DIR")
        digest = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:12]
        if runtime and Path(runtime).is_dir():
            base = Path(runtime) / "nightdesk"
        else:
            base = Path(tempfile.gettempdir()) / f"nightdesk-{os.getuid()}"
        path = base / f"{digest}.sock"
    length = len(os.fsencode(path))
    if length > SOCKET_PATH_LIMIT:
        raise NightdeskError(
            f"The engine's socket path is {length} bytes long, the system allows {SOCKET_PATH_LIMIT}: {path}",
            "Set NIGHTDESK_SOCKET to a shorter path, for example /tmp/desk/engine.sock.",
        )
    return path


def default_folder(env: Mapping[str, str]) -> Path:
    """Folder of the default desk, used where no ``nightdesk.toml`` is found."""
    state = env.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(state) / "nightdesk" / "default"


def find_desk(
    start: Path | None = None,
    env: Mapping[str, str] | None = None,
    *,
    overrides: Mapping[str, str] | None = None,
    default: Path | None = None,
) -> Desk:
    """The desk of ``start`` (a folder or a ``nightdesk.toml``; the current folder and its parents where None).

    ``overrides`` (``{"capture.source": "relay"}``, values as TOML) win over file and environment. ``default`` is
    the folder of a desk without a file; nothing is searched then.
    Raises ConfigError with every problem of the file, or when ``start`` names nothing.
    """
    env = os.environ if env is None else env
    path = None if default else _config_file(start, env)
    if path is None:
        folder = default or default_folder(env)
        return Desk(folder=folder.resolve(), config_path=None, config=_effective({}, overrides))
    return Desk(folder=path.parent.resolve(), config_path=path.resolve(), config=read_config(path, overrides))


def _config_file(start: Path | None, env: Mapping[str, str]) -> Path | None:
    named = start or (Path(env["NIGHTDESK_DESK"]) if env.get("NIGHTDESK_DESK") else None)
    if named is not None:
        path = named / CONFIG_NAME if named.is_dir() else named
        if not path.is_file():
            raise ConfigError(
                f"There is no desk at {named}: {path} does not exist.", hint="Make one with: nightdesk init"
            )
        return path
    here = Path.cwd()
    return next((f / CONFIG_NAME for f in (here, *here.parents) if (f / CONFIG_NAME).is_file()), None)


def read_config(path: Path, overrides: Mapping[str, str] | None = None) -> DeskConfig:
    """The configuration in ``path``. Raises ConfigError with all its problems."""
    try:
        return _effective(tomllib.loads(path.read_text(encoding="utf-8")), overrides)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as fault:
        raise ConfigError(f"{path} can't be used.", (str(fault),)) from fault


def _effective(tables: dict[str, Any], overrides: Mapping[str, str] | None) -> DeskConfig:
    for name, value in (overrides or {}).items():
        section, _, key = name.partition(".")
        tables.setdefault(section, {})[key] = value
    return msgspec.convert(tables, DeskConfig)

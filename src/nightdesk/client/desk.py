"""Finds the desk: its folder, its configuration, and the places of its engine's files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from nightdesk.model.errors import ConfigError, NightdeskError

if TYPE_CHECKING:
    from nightdesk.model.config import DeskConfig

CONFIG_NAME = "nightdesk.toml"
TEMPORARY_NAME = ".temporary"
"""A file that makes its folder a temporary desk."""
SOCKET_PATH_LIMIT = 103
"""macOS keeps 104 bytes for a socket path, the last one is the terminator; Linux keeps 108."""
STATE_NAME = ".nightdesk"
LOCK_NAME = "engine.lock"


@dataclass(frozen=True, slots=True)
class Desk:
    """A desk on disk."""

    folder: Path
    """Where relative paths of the configuration begin."""
    config_path: Path | None
    config: DeskConfig
    overrides: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Flags that win over file and environment, also when the file is read again."""

    def read_again(self) -> Desk:
        """The same desk with its file as it is now. Raises ConfigError with all its problems."""
        return replace(self, config=_parse(self.config_path, os.environ, self.overrides))

    @property
    def name(self) -> str:
        """The name in the header."""
        return self.config.desk.name or (self.folder.name if self.config_path else "default desk")

    @property
    def state(self) -> Path:
        """The engine's own folder, 0700."""
        return self.folder / STATE_NAME

    @property
    def is_temporary(self) -> bool:
        """Made to look at one capture: the engine ends with its last viewer and removes the folder."""
        return (self.folder / TEMPORARY_NAME).is_file()

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
        """Held by ``flock`` while an engine runs; holds its pid, and in a second line its socket."""
        return self.state / LOCK_NAME

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
        digest = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:12]
        candidates = [base / f"{digest}.sock" for base in _socket_folders(env)]
        fitting = (each for each in candidates if len(os.fsencode(each)) <= SOCKET_PATH_LIMIT)
        path = next(fitting, candidates[-1])
    length = len(os.fsencode(path))
    if length > SOCKET_PATH_LIMIT:
        raise NightdeskError(
            f"The engine's socket path is {length} bytes long, the system allows {SOCKET_PATH_LIMIT}: {path}",
            "Set NIGHTDESK_SOCKET to a shorter path, for example /tmp/desk/engine.sock.",
        )
    return path


def _socket_folders(env: Mapping[str, str]) -> Iterator[Path]:
    """Where sockets may lie, the best place first; each is made 0700 and its owner is checked."""
    runtime = env.get("XDG_RUNTIME_DIR")
    if runtime and Path(runtime).is_dir():
        yield Path(runtime) / "nightdesk"
    for temporary in (env.get("TMPDIR"), "/tmp"):  # noqa: S108 - made 0700, owner checked
        if temporary:
            yield Path(temporary) / f"nightdesk-{os.getuid()}"


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
    folder, path = find_place(start, env, default)
    return Desk(
        folder=folder, config_path=path, config=_parse(path, env, overrides), overrides=overrides or {}
    )


def find_place(
    start: Path | None, env: Mapping[str, str], default: Path | None = None
) -> tuple[Path, Path | None]:
    """Folder and configuration file of the desk that :func:`find_desk` finds, without reading the file.

    Raises ConfigError when ``start`` names nothing, or a folder whose name nobody could be shown.
    """
    path = None if default else config_file(start, env)
    folder = (default or default_folder(env)) if path is None else path.parent
    folder = folder.resolve()
    try:
        str(folder).encode()
    except UnicodeEncodeError as fault:
        raise ConfigError(
            f"{folder} can't be a desk: its name is not UTF-8.", hint="Rename that folder."
        ) from fault
    return folder, path.resolve() if path else None


def config_file(start: Path | None, env: Mapping[str, str]) -> Path | None:
    """The ``nightdesk.toml`` that :func:`find_desk` reads, None where there is none.

    Raises ConfigError when ``start`` or ``NIGHTDESK_DESK`` names nothing.
    """
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


def read_origins(desk: Desk) -> dict[str, str]:
    """Where each value of ``desk`` that is no default comes from: ``capture.source`` → ``nightdesk.toml:4``.

    Raises ConfigError when the file has become invalid since.
    """
    from nightdesk.core.configuration import read

    text, name = _text_of(desk.config_path)
    return read(text, os.environ, desk.overrides, name).origins


def read_config(path: Path, overrides: Mapping[str, str] | None = None) -> DeskConfig:
    """The configuration in ``path`` under environment and ``overrides``. Raises ConfigError with all its problems."""
    return _parse(path, os.environ, overrides)


def _parse(path: Path | None, env: Mapping[str, str], overrides: Mapping[str, str] | None) -> DeskConfig:
    # Not above: a verb that finds the engine at work reads no file, and need not learn how.
    from nightdesk.core.configuration import parse_config

    text, name = _text_of(path)
    return parse_config(text, env, overrides, name)


def _text_of(path: Path | None) -> tuple[str, str]:
    """Text and name of the file at ``path``; no text where there is no file. Raises ConfigError."""
    if path is None:
        return "", "The environment"
    try:
        return path.read_text(encoding="utf-8"), str(path)
    except OSError as fault:
        raise ConfigError(f"{path} can't be read: {fault.strerror}.") from fault
    except UnicodeDecodeError as fault:
        raise ConfigError(f"{path} can't be used.", (f"byte {fault.start + 1} is not UTF-8",)) from fault

"""Which desk a command is about, and its engine."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from nightdesk.client.desk import Desk
    from nightdesk.client.engine import Engine


@dataclass(frozen=True, slots=True)
class DeskChoice:
    """The options ``--desk`` and ``--set`` of the command line."""

    path: Path | None
    settings: tuple[str, ...] = ()

    def desk(self) -> Desk:
        """The chosen desk. Raises ConfigError."""
        from nightdesk.client.desk import find_desk

        return find_desk(self.path, overrides=self._overrides())

    def shown_desk(self) -> Desk:
        """The chosen desk for a viewer. A file that broke while an engine works keeps nobody out: the engine goes
        on with what it read before and tells the faults. Raises ConfigError where no engine works.
        """
        from nightdesk.client.desk import Desk, find_place
        from nightdesk.client.launch import is_answering
        from nightdesk.model.config import DeskConfig
        from nightdesk.model.errors import ConfigError

        try:
            return self.desk()
        except ConfigError:
            folder, path = find_place(self.path, os.environ)
            found = Desk(folder=folder, config_path=path, config=DeskConfig())
            if not is_answering(found.socket):
                raise
            return found

    def running(self) -> Engine:
        """A client of the engine, which must be running. Raises EngineUnavailableError, or ConfigError without one."""
        from nightdesk.model.errors import EngineUnavailableError

        engine = self._attached()
        if engine is None:
            raise EngineUnavailableError(
                f"No engine is running for {self.desk().folder}.", "Start one with: nightdesk up"
            )
        return engine

    def started(self) -> Engine:
        """A client of the engine, which is started where none runs."""
        from nightdesk.client.launch import ensure_engine

        return self._attached() or ensure_engine(self.desk(), self.settings)

    def _attached(self) -> Engine | None:
        """The engine that answers, also while the configuration can't be read."""
        from nightdesk.client.desk import find_place, socket_path
        from nightdesk.client.engine import Engine
        from nightdesk.client.launch import is_answering

        self._overrides()
        socket = socket_path(find_place(self.path, os.environ)[0], os.environ)
        return Engine(socket) if is_answering(socket) else None

    def _overrides(self) -> dict[str, str]:
        from nightdesk.model.errors import UsageError

        for setting in self.settings:
            if "=" not in setting or "." not in setting.partition("=")[0]:
                raise UsageError(
                    f"--set {setting} is not SECTION.KEY=VALUE.", "Example: --set capture.source=relay"
                )
        return dict(s.partition("=")[::2] for s in self.settings)


pass_choice = click.make_pass_decorator(DeskChoice)
json_option = click.option(
    "--json", "as_json", is_flag=True, help="JSON for programs; the field names are stable."
)

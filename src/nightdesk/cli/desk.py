"""Which desk a command is about, and its engine."""

from __future__ import annotations

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
        from nightdesk.model.errors import UsageError

        for setting in self.settings:
            if "=" not in setting or "." not in setting.partition("=")[0]:
                raise UsageError(
                    f"--set {setting} is not SECTION.KEY=VALUE.", "Example: --set capture.source=relay"
                )
        return find_desk(self.path, overrides=dict(s.partition("=")[::2] for s in self.settings))

    def running(self) -> Engine:
        """A client of the engine, which must be running. Raises EngineUnavailableError."""
        from nightdesk.client.engine import Engine
        from nightdesk.client.launch import is_answering
        from nightdesk.model.errors import EngineUnavailableError

        desk = self.desk()
        if not is_answering(desk.socket):
            raise EngineUnavailableError(
                f"No engine is running for {desk.folder}.", "Start one with: nightdesk up"
            )
        return Engine(desk.socket)

    def started(self) -> Engine:
        """A client of the engine, which is started where none runs."""
        from nightdesk.client.launch import ensure_engine

        return ensure_engine(self.desk(), self.settings)


pass_choice = click.make_pass_decorator(DeskChoice)
json_option = click.option(
    "--json", "as_json", is_flag=True, help="JSON for programs; the field names are stable."
)

"""``nightdesk init``: writes a short nightdesk.toml from what is found in a folder."""

from __future__ import annotations

import os
from pathlib import Path

import click


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False), default=Path())
def init(folder: Path) -> None:
    """Write a short nightdesk.toml in FOLDER (here, where none is given) from what is found there.

    It never overwrites a file.
    """
    from nightdesk.cli.output import print_line
    from nightdesk.client.desk import CONFIG_NAME
    from nightdesk.client.surroundings import look_around, starter
    from nightdesk.model.errors import NightdeskError, UsageError

    path = folder.resolve() / CONFIG_NAME
    if path.exists() or path.is_symlink():
        raise UsageError(
            f"{path} exists already; nothing was written.", "Check it with: nightdesk config validate"
        )
    found = look_around(folder.resolve(), os.environ)
    for line in found.told():
        print_line(line)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(starter(found))
    except OSError as fault:
        raise NightdeskError(
            f"{path} can't be written: {fault.strerror}.", "Choose a folder of your own."
        ) from fault
    print_line(f"Wrote {path}. Next: nightdesk doctor, then nightdesk.")

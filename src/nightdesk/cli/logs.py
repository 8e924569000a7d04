"""``nightdesk logs``."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from nightdesk.cli.desk import DeskChoice, json_option, pass_choice

if TYPE_CHECKING:
    from nightdesk.client.engine import Engine
    from nightdesk.model.logs import LogFile

FOLLOW_SECONDS = 0.1
WINDOW_BYTES = 1_000_000


@click.command()
@click.argument("target", required=False)
@click.option("--lines", "-n", default=50, show_default=True, help="Lines from the end.")
@click.option("--follow", "-f", is_flag=True, help="Keep printing what is appended.")
@json_option
@pass_choice
def logs(choice: DeskChoice, target: str | None, lines: int, follow: bool, as_json: bool) -> None:
    """Print the end of a log: TARGET is a run, a job, or a file's name. Without TARGET, list the files."""
    from nightdesk.cli.output import print_json_lines, print_line, print_table
    from nightdesk.model.units import format_bytes

    engine = choice.started()
    files = engine.logs()
    if target is not None:
        _print_tail(engine, _find(files, target), lines, follow, as_json)
    elif as_json:
        print_json_lines(files)
    elif files:
        cells = [
            (f.name, f.origin, f.run or "", format_bytes(f.size_bytes), f.message or f.last_line)
            for f in files
        ]
        print_table(("FILE", "ORIGIN", "RUN", "SIZE", "LAST LINE"), cells, last_most=100)
    else:
        print_line("No log is followed: no run has begun, and the globs of [watch] logs match nothing.")


def _find(files: tuple[LogFile, ...], target: str) -> LogFile:
    from nightdesk.model.errors import UsageError

    matches = [
        f for f in files if target in (f.id, f.name, f.path, f.run) or (f.run or "").startswith(target + "-")
    ]
    if not matches:
        raise UsageError(f"No followed log belongs to {target}.", "nightdesk logs lists the files.")
    return max(matches, key=lambda f: f.modified_ns)


def _print_tail(engine: Engine, file: LogFile, lines: int, follow: bool, as_json: bool) -> None:
    from nightdesk.cli.output import print_json, print_line

    window = engine.log_window(file.id, max_bytes=WINDOW_BYTES)
    shown = window.lines[-lines:] if lines else ()
    while True:
        for line in shown:
            if as_json:
                print_json({"id": file.id, "line": line})
            else:
                print_line(line)
        if not follow:
            return
        time.sleep(FOLLOW_SECONDS)
        newer = engine.log_window(file.id, start=window.end, max_bytes=WINDOW_BYTES)
        if newer.generation != window.generation:
            newer = engine.log_window(file.id, start=0, max_bytes=WINDOW_BYTES)
        window, shown = newer, newer.lines

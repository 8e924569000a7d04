"""``nightdesk up`` and ``nightdesk down``."""

from __future__ import annotations

import time
from pathlib import Path

import click

from nightdesk.cli.desk import DeskChoice, json_option, pass_choice

END_SECONDS = 30.0


@click.command()
@json_option
@pass_choice
def up(choice: DeskChoice, as_json: bool) -> None:
    """Start the engine of this desk, without a viewer. It goes on when this terminal closes."""
    from nightdesk.cli.output import print_json, print_line

    engine = choice.started()
    status = engine.status()
    if as_json:
        print_json(status)
    else:
        print_line(f"Engine {status.desk.engine.pid} watches {status.desk.folder}.")


@click.command()
@pass_choice
def down(choice: DeskChoice) -> None:
    """End the engine. Runs go on; the next engine adopts them."""
    from nightdesk.cli.output import print_line
    from nightdesk.client.launch import has_ended
    from nightdesk.model.errors import NightdeskError
    from nightdesk.model.job import ENDED

    engine = choice.running()
    status = engine.shutdown()
    limit = time.monotonic() + END_SECONDS
    while not has_ended(Path(status.desk.folder), engine.socket):
        if time.monotonic() > limit:
            raise NightdeskError(
                f"The engine {status.desk.engine.pid} was asked to end and still runs.",
                f"Its log says why; kill {status.desk.engine.pid} ends it, runs go on.",
            )
        time.sleep(0.02)
    going = sum(run.state not in ENDED for run in status.runs)
    print_line(f"Engine {status.desk.engine.pid} ended; {going} runs go on." if going else "Engine ended.")

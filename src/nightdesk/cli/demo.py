"""``nightdesk demo``: a sample desk with its own model server."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nightdesk.cli.desk import DeskChoice, pass_choice
from nightdesk.model.errors import NightdeskError

if TYPE_CHECKING:
    from nightdesk.client.engine import Engine

FIRST_RUNS = ("synthesize", "prepare", "transcribe", "report")
"""The batch first: traffic is what everybody wants to see."""
END_SECONDS = 20.0


@click.command()
@click.option(
    "--server-only", is_flag=True, help="Only the model server: prints its address, serves until ctrl+c."
)
@click.option(
    "--no-viewer", is_flag=True, help="Server, engine and jobs without the viewer; ctrl+c ends them all."
)
@click.option("--stop", is_flag=True, help="End a demo that goes on in the background.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, help="Port of the model server; 0 takes a free one."
)
@click.option(
    "--speed", type=click.FloatRange(min=0), default=40.0, help="Tokens a second; 0 writes without pauses."
)
@click.option(
    "--folder", type=click.Path(path_type=Path, file_okay=False), help="Where the sample desk is made."
)
@click.option(
    "--log", type=click.Path(path_type=Path, dir_okay=False), help="File for the model server's log."
)
@click.option("--belongs-to", type=click.Path(path_type=Path, file_okay=False), hidden=True)
@pass_choice
def demo(
    choice: DeskChoice,
    server_only: bool,
    no_viewer: bool,
    stop: bool,
    port: int,
    speed: float,
    folder: Path | None,
    log: Path | None,
    belongs_to: Path | None,
) -> None:
    """Show Nightdesk at work: a sample desk with jobs and its own model server.

    The runs and the server go on when the viewer is left; ``nightdesk demo`` comes back to them and
    ``nightdesk demo --stop`` ends them.
    """
    if server_only:
        _serve(port, speed, log, belongs_to)
        return
    from nightdesk.demo.desk import check_folder, default_folder
    from nightdesk.tui.guard import check_terminal

    chosen = (folder or default_folder(os.environ)).expanduser().resolve()
    if stop:
        _stop(chosen)
        return
    check_folder(chosen)
    if not no_viewer:
        check_terminal()
    desk = _make(chosen, choice.settings, port, speed)
    if no_viewer:
        _stay(desk, chosen)
    else:
        _view(desk)


def _serve(port: int, speed: float, log: Path | None, belongs_to: Path | None) -> None:
    import asyncio

    from nightdesk.cli.output import print_line
    from nightdesk.demo import server
    from nightdesk.demo.background import until_unwanted

    def announce(address: str) -> None:
        print_line(address)
        sys.stdout.flush()

    load_s = server.DEFAULT_LOAD_S if speed else 0.0
    unwanted = (lambda one: until_unwanted(belongs_to, one)) if belongs_to else None
    try:
        stream = log.open("a", encoding="utf-8") if log else None
        settings = server.Settings(port=port, speed=speed, load_s=load_s, log=stream)
        asyncio.run(server.serve(settings, announce, unwanted))
    except OSError as fault:
        raise NightdeskError(
            f"The model server can't start on port {port}: {fault.strerror}.",
            "Choose another port with --port, or 0 for a free one.",
        ) from fault


def _make(folder: Path, settings: tuple[str, ...], port: int, speed: float) -> DeskChoice:
    """The desk of ``folder``, with a model server that answers."""
    from nightdesk.demo.background import running_server, start_server
    from nightdesk.demo.desk import make_desk

    # The demo's own server is meant, whatever server the user's shell names.
    os.environ.pop("OLLAMA_HOST", None)
    server = running_server(folder)
    if server is None:
        _end_engine(folder)
    address = server.address if server else start_server(folder, port, speed)
    make_desk(folder, address, pause=min(1.0, 40 / speed) if speed else 0.0)
    return DeskChoice(folder, settings)


def _view(choice: DeskChoice) -> None:
    from nightdesk.cli.output import print_line
    from nightdesk.tui.guard import guarded

    status = guarded(lambda: _open(choice))
    print_line("The demo goes on. Come back with: nightdesk demo. End it with: nightdesk demo --stop")
    sys.exit(status)


def _open(choice: DeskChoice) -> int:
    from nightdesk.tui.start import run_viewer

    # Read before the thread reads it as well: msgspec crashes where two threads meet a type for the first time at once.
    desk = choice.desk()
    # The first picture does not wait for the engine; what keeps it from starting is shown in the viewer, too.
    starting = threading.Thread(target=_start_runs_quietly, args=(choice,), daemon=True)
    starting.start()
    return run_viewer(desk, flags=choice.settings)


def _stay(choice: DeskChoice, folder: Path) -> None:
    from nightdesk.cli.output import print_line
    from nightdesk.demo.background import read_mark

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        _start_runs(choice)
        mark = read_mark(folder)
        print_line(f"server {mark.address if mark else 'ended'}")
        print_line(f"folder {folder}")
        sys.stdout.flush()
        while True:
            signal.pause()
    finally:
        _stop(folder)


def _start_runs_quietly(choice: DeskChoice) -> None:
    with contextlib.suppress(NightdeskError):
        _start_runs(choice)


def _start_runs(choice: DeskChoice) -> None:
    """Starts the engine and the first runs, unless some are still going on."""
    from nightdesk.model.job import ENDED, StartRun

    engine = choice.started()
    # The first exchanges are shown whole only when the capture listens before they begin.
    _wait(
        lambda: not any(one.name == "capture" and one.state == "starting" for one in engine.status().sources),
        5.0,
    )
    if all(run.state in ENDED for run in engine.runs()):
        for job in FIRST_RUNS:
            engine.start(StartRun(job=job))


def _stop(folder: Path) -> None:
    from nightdesk.cli.output import print_line
    from nightdesk.demo.background import stop_server

    engine = _end_engine(folder, with_runs=True)
    server = stop_server(folder)
    print_line("The demo has ended." if engine or server else f"No demo is running in {folder}.")


def _end_engine(folder: Path, with_runs: bool = False) -> bool:
    """Ends the engine of ``folder``, and its runs before where ``with_runs`` says so. False where none runs."""
    from nightdesk.client.desk import socket_path
    from nightdesk.client.engine import Engine
    from nightdesk.client.launch import has_ended, is_answering

    socket = socket_path(folder, os.environ)
    if not is_answering(socket):
        return False
    engine = Engine(socket)
    if with_runs:
        _end_runs(engine)
    engine.shutdown()
    _wait(lambda: has_ended(folder, socket))
    return True


def _end_runs(engine: Engine) -> None:
    from nightdesk.model.job import ENDED

    # The newest first: a run that waits for another must not start when that one ends.
    for run in reversed(engine.runs()):
        if run.state not in ENDED:
            engine.act(run.id, "stop")
    _wait(lambda: all(run.state in ENDED for run in engine.runs()))


def _wait(condition: Callable[[], bool], seconds: float = END_SECONDS) -> None:
    limit = time.monotonic() + seconds
    while not condition() and time.monotonic() < limit:
        time.sleep(0.05)

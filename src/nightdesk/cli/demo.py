"""``nightdesk demo``: a sample desk with its own model server."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.option(
    "--server-only", is_flag=True, help="Only serve models: print the address, serve until SIGTERM or ctrl+c."
)
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, help="Port of the model server; 0 takes a free one."
)
@click.option(
    "--speed", type=click.FloatRange(min=0), default=40.0, help="Tokens a second; 0 writes without pauses."
)
@click.option(
    "--log", type=click.Path(path_type=Path, dir_okay=False), help="Also write the server's log here."
)
def demo(server_only: bool, port: int, speed: float, log: Path | None) -> None:
    """Show Nightdesk at work: a sample desk with jobs and its own model server."""
    if server_only:
        _serve(port, speed, log)


def _serve(port: int, speed: float, log: Path | None) -> None:
    from nightdesk.demo import server
    from nightdesk.model.errors import NightdeskError

    stream = log.open("a", encoding="utf-8") if log else None
    load_s = server.DEFAULT_LOAD_S if speed else 0.0
    try:
        server.main(server.Settings(port=port, speed=speed, load_s=load_s, log=stream))
    except OSError as fault:
        raise NightdeskError(
            f"The model server can't listen on port {port}: {fault.strerror}.",
            "Choose another port, or 0 for a free one.",
        ) from fault
    finally:
        if stream:
            stream.close()

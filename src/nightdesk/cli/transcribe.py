"""``nightdesk transcribe``: files to transcripts with openai-whisper, told as it goes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from nightdesk.cli.desk import DeskChoice, pass_choice

if TYPE_CHECKING:
    from nightdesk.cli.whisper_process import Batch

FORMATS = ("json", "srt", "vtt", "txt", "tsv")


@click.command()
@click.argument("audio", nargs=-1, required=True)
@click.option("--model", default="turbo", show_default=True, help="Name of a Whisper model, or its file.")
@click.option("--out", default="transcripts", show_default=True, help="Folder of the transcripts.")
@click.option("--language", help="Of the speech, as en or German; else it is detected in each file.")
@click.option("--task", type=click.Choice(["transcribe", "translate"]), default="transcribe")
@click.option(
    "--format",
    "formats",
    multiple=True,
    type=click.Choice(FORMATS),
    help="Only these transcripts; may be repeated. Else json, srt, vtt and txt.",
)
@click.option("--device", help="Where the model runs, as cpu or cuda:1; else Whisper chooses.")
@click.option(
    "--python", help="Python, or virtual environment, that has openai-whisper; else as [whisper] says."
)
@click.option("--again", is_flag=True, help="Also files whose transcripts are complete and newer.")
@click.option("--json", "as_json", is_flag=True, help="Events as JSON Lines instead of words.")
@pass_choice
def transcribe(
    choice: DeskChoice,
    audio: tuple[str, ...],
    model: str,
    out: str,
    language: str | None,
    task: str,
    formats: tuple[str, ...],
    device: str | None,
    python: str | None,
    again: bool,
    as_json: bool,
) -> None:
    """Transcribe AUDIO with openai-whisper; the model is loaded once for all files.

    Each file is checked first, its transcripts are written as soon as it is done, and files with whole, newer
    transcripts are skipped. Ends with 1 where a file could not be transcribed.
    """
    from pathlib import Path

    from nightdesk.cli.audio_files import Wish, check_files, named_files
    from nightdesk.cli.whisper_process import Batch, interpreter

    runner = interpreter(python or _configured_python(choice))
    wish = Wish(Path(out), formats or FORMATS[:4], again)
    files = named_files(audio)
    batch = Batch(wish, {"model": model, "language": language, "task": task, "device": device})
    batch.report.as_json = as_json
    batch.check(check_files(files, wish))
    _listen(batch, runner)
    raise SystemExit(batch.finish(time.time_ns()))


def _configured_python(choice: DeskChoice) -> str | None:
    """What ``[whisper] python`` of the desk names. Raises ConfigError where its file can't be used."""
    import os
    from pathlib import Path

    from nightdesk.client.desk import CONFIG_NAME
    from nightdesk.core import markers

    within = os.environ.get(markers.DESK)
    if choice.path is None and within and not Path(within, CONFIG_NAME).is_file():
        return None  # a run of a desk without a file
    desk = choice.desk()
    named = desk.config.whisper.python
    return str(desk.folder / Path(named).expanduser()) if named else None


def _listen(batch: Batch, runner: str) -> None:
    """A worker that dies costs the file it was at; the rest goes to another one."""
    while batch.waiting:
        before = len(batch.waiting)
        batch.run(runner)
        if len(batch.waiting) == before:
            batch.give_up()

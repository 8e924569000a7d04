"""``nightdesk open FILE``: a capture in the viewer, without an engine of the user.

A temporary desk holds it: a private folder with an engine of its own, which reads the file, ends with the viewer and
takes the folder along, however the viewer ended.
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys
import threading
from pathlib import Path

import click

from nightdesk.cli.capture import parse_ports
from nightdesk.cli.desk import DeskChoice, pass_choice
from nightdesk.cli.passing import end_desk, make_folder, passing_desk

CAPTURE_NAME = "capture"
"""In the temporary desk: a link to the file, or the pipe through which standard input comes."""
LOOKED_AT = 1 << 16
"""Bytes that tell whether a file is a capture."""
NAME_CHARS = 80


@click.command("open")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--ports",
    callback=parse_ports,
    metavar="PORT[,PORT…]",
    help="Ports of the model servers; guessed where absent.",
)
@click.pass_context
@pass_choice
def open_capture(choice: DeskChoice, ctx: click.Context, file: Path, ports: frozenset[int] | None) -> None:
    """Browse a capture FILE (pcap or pcapng; - reads standard input) in the viewer.

    Needs no engine and no desk, and leaves nothing behind.
    """
    from nightdesk.tui.guard import check_terminal, guarded

    stream = os.dup(0) if str(file) == "-" else None
    head = _head(file) if stream is None else _first_bytes(stream)
    _check_capture(_shown(file), head)
    if stream is not None:
        _take_keys_from_terminal()
    check_terminal()
    options = ctx.parent.params if ctx.parent else {}
    folder = make_folder()
    try:
        if stream is None:
            (folder / CAPTURE_NAME).symlink_to(file.resolve())
        else:
            os.mkfifo(folder / CAPTURE_NAME, 0o600)
        flags = (*choice.settings, *_flags(_shown(file), ports))
        desk = passing_desk(choice, folder, flags)

        def view() -> int:
            from nightdesk.tui.start import run_viewer

            if stream is not None:
                _pump(stream, head, folder / CAPTURE_NAME)
            return run_viewer(
                desk,
                theme=options.get("theme"),
                ascii=options.get("plain", False),
                mode="traffic",
                flags=flags,
            )

        status = guarded(view)
    finally:
        end_desk(folder)
    sys.exit(status)


open = open_capture  # noqa: A001 - verbs are found by their name


def _shown(file: Path) -> str:
    """What the header calls the capture."""
    from nightdesk.core.foreign import safe_line

    return (
        "standard input"
        if str(file) == "-"
        else safe_line(os.fsencode(file.name).decode(errors="replace"), NAME_CHARS)
    )


def _head(file: Path) -> bytes:
    """The first bytes of a file. Raises CaptureError where it can't be read."""
    from nightdesk.model.errors import CaptureError

    try:
        if not stat.S_ISREG(file.stat().st_mode):
            raise CaptureError(
                f"{_shown(file)} is not a file.", "Give a pcap or pcapng file, or - for standard input."
            )
        with file.open("rb") as opened:
            return opened.read(LOOKED_AT)
    except OSError as fault:
        raise CaptureError(
            f"{_shown(file)} can't be opened: {fault.strerror}.", "Check its name and rights."
        ) from fault


def _take_keys_from_terminal() -> None:
    """Make the terminal the standard input. Raises UsageError where there is none."""
    from nightdesk.model.errors import UsageError

    try:
        terminal = os.open("/dev/tty", os.O_RDWR)
    except OSError as fault:
        raise UsageError(
            "The viewer needs a terminal, and there is none.",
            "nightdesk capture - prints the exchanges instead.",
        ) from fault
    os.dup2(terminal, 0)
    os.close(terminal)


def _first_bytes(stream: int) -> bytes:
    """Enough of standard input to tell what it is; waits for it."""
    head = b""
    while len(head) < 24 and (piece := os.read(stream, LOOKED_AT)):
        head += piece
    return head


def _check_capture(name: str, head: bytes) -> None:
    """Raises CaptureError where ``head`` does not begin a capture. What is broken further on is told in the viewer."""
    from nightdesk.core.capture.pcap import PcapReader
    from nightdesk.model.errors import CaptureError

    reader = PcapReader()
    try:
        if not reader.feed(head) and len(head) < LOOKED_AT:
            reader.finish()
    except CaptureError as fault:
        reason = fault.message[:1].lower() + fault.message[1:]
        raise CaptureError(f"{name} can't be shown: {reason}", fault.hint) from fault


def _flags(name: str, ports: frozenset[int] | None) -> tuple[str, ...]:
    """The settings of the temporary desk: nothing of this machine is looked at, nothing is thrown away."""
    given = ",".join(str(port) for port in sorted(ports or ()))
    return (
        f"desk.name={name}",
        "capture.source=file",
        f"capture.file={CAPTURE_NAME}",
        f"capture.ports=[{given}]",
        "sensors.source=off",
        "watch.processes=[]",
        "watch.logs=[]",
        "store.keep=36500d",
        f"store.max_bytes={10**15}",
    )


def _pump(stream: int, head: bytes, pipe: Path) -> None:
    """Hand standard input on to the engine of the temporary desk, in a thread."""

    def copy() -> None:
        # The reader may leave at any time; then nobody wants the rest.
        with contextlib.suppress(OSError), pipe.open("wb", buffering=0) as out:
            block = head
            while block:
                out.write(block)
                block = os.read(stream, 1 << 20)

    threading.Thread(target=copy, name="standard input", daemon=True).start()

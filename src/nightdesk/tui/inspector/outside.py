"""A part of an exchange in the user's editor or pager, and as a file. What is looked at is private, and gone then."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Literal

from textual.app import App, SuspendNotSupported
from textual.binding import Binding

from nightdesk.core.foreign import safe
from nightdesk.model.errors import NightdeskError

Kind = Literal["editor", "pager"]
_VARIABLES: dict[Kind, tuple[str, ...]] = {"editor": ("VISUAL", "EDITOR"), "pager": ("PAGER",)}
_USUAL: dict[Kind, tuple[str, ...]] = {"editor": ("nano", "vim", "vi"), "pager": ("less", "more")}
_TAKE_LINES = frozenset(
    ("less", "more", "most", "nano", "pico", "vi", "vim", "nvim", "emacs", "micro", "kak", "joe", "ne")
)
"""Programs that take ``+LINE`` before the name of the file."""
POLL_SECONDS = 0.2


def keys(group: str, what: str) -> tuple[Binding, Binding]:
    """The keys that open ``what`` in the editor and in the pager; their ids begin with ``group``."""
    return (
        Binding(
            "e", "look('editor')", "editor", id=f"{group}.editor", tooltip=f"{what} in $VISUAL or $EDITOR"
        ),
        Binding(
            "vertical_line",
            "look('pager')",
            "pager",
            key_display="|",
            id=f"{group}.pager",
            tooltip=f"{what} in $PAGER",
        ),
    )


def command_of(kind: Kind, environment: Mapping[str, str], has: Callable[[str], bool]) -> tuple[str, ...]:
    """The user's program, in words as a shell would split them. Raises NightdeskError where there is none."""
    for name in _VARIABLES[kind]:
        value = environment.get(name, "").strip()
        if not value:
            continue
        try:
            return tuple(shlex.split(value))
        except ValueError as fault:
            raise NightdeskError(f"${name} can't be used: {fault}.", f"It is {value!r}.") from fault
    for program in _USUAL[kind]:
        if has(program):
            return (program,)
    raise NightdeskError(f"There is no {kind} here.", f"Set ${_VARIABLES[kind][-1]}.")


@contextlib.contextmanager
def private_file(name: str, data: bytes) -> Iterator[Path]:
    """A file that only its user can read, in a folder that only its user can enter; both are removed afterwards."""
    home = os.environ.get("XDG_RUNTIME_DIR", "")
    folder = Path(
        tempfile.mkdtemp(prefix="nightdesk-", dir=home if home and os.access(home, os.W_OK) else None)
    )
    try:
        path = folder / name
        write_new(path, data)
        yield path
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def look_at(app: App[object], kind: Kind, command: tuple[str, ...], name: str, text: str) -> str:
    """Give the terminal to ``command`` until it ends. What there is to say afterwards, or nothing.

    The pager gets harmless text, since some pagers let a terminal obey it; the editor gets what was recorded.
    Raises NightdeskError where the program can't be started or the file can't be written.
    """
    data = (safe(text) if kind == "pager" else text).encode("utf-8", "surrogatepass")
    try:
        with private_file(name, data) as path:
            with app.suspend():
                status = _run((*command, str(path)), kind)
            changed = kind == "editor" and path.exists() and path.read_bytes() != data
    except SuspendNotSupported as fault:
        raise NightdeskError(
            "This terminal can't be given to another program.", "w saves to a file."
        ) from fault
    except OSError as fault:
        raise NightdeskError(
            f"{command[0]} can't be started: {fault.strerror or fault}.", "w saves to a file."
        ) from fault
    if status:
        return f"{command[0]} ended with status {status}."
    return "What you changed was a copy, which is gone; w saves to a file." if changed else ""


def edited(app: App[object], command: tuple[str, ...], name: str, text: str) -> str:
    """What the user made of ``text`` in the editor. Raises NightdeskError where that can't be, or it failed."""
    try:
        with private_file(name, text.encode("utf-8", "surrogatepass")) as path:
            with app.suspend():
                status = _run((*command, str(path)), "editor")
            if status:
                raise NightdeskError(f"{command[0]} ended with status {status}; nothing was changed.")
            return path.read_bytes().decode("utf-8", "replace")
    except SuspendNotSupported as fault:
        raise NightdeskError("This terminal can't be given to another program.") from fault
    except OSError as fault:
        raise NightdeskError(f"{command[0]} can't be used: {fault.strerror or fault}.") from fault


def show_file(app: App[object], kind: Kind, command: tuple[str, ...], path: Path, line: int | None) -> str:
    """Give the terminal to ``command`` with a file of the user, at ``line`` (from 1) where that is known.

    What there is to say afterwards, or nothing. Raises NightdeskError where the program can't be started.
    """
    place = (f"+{line}",) if line is not None and Path(command[0]).name in _TAKE_LINES else ()
    try:
        with app.suspend():
            status = _run((*command, *place, str(path)), kind)
    except SuspendNotSupported as fault:
        raise NightdeskError("This terminal can't be given to another program.") from fault
    except OSError as fault:
        raise NightdeskError(f"{command[0]} can't be started: {fault.strerror or fault}.") from fault
    return f"{command[0]} ended with status {status}." if status else ""


def _run(argv: tuple[str, ...], kind: Kind) -> int:
    """The exit status. A signal that is meant for the viewer ends the program first, then comes again."""
    pending: list[int] = []
    environment = dict(os.environ)
    if kind == "pager" and environment.get("LESS"):
        # Without this a short text is printed and gone before anybody has seen it.
        # Raw control characters of a log would be obeyed by the terminal.
        environment["LESS"] += " -+F -+r"
    with _signals(lambda number, _: pending.append(number)):
        process = subprocess.Popen(argv, env=environment)
        while (status := _ended(process)) is None:
            if pending:
                process.terminate()
    for number in pending:
        os.kill(os.getpid(), number)
    return status


def _ended(process: subprocess.Popen[bytes]) -> int | None:
    try:
        return process.wait(POLL_SECONDS)
    except subprocess.TimeoutExpired:
        return None


@contextlib.contextmanager
def _signals(note: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """``ctrl+c`` belongs to the program that has the terminal; what ends the viewer is noted for afterwards."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    signal.signal(signal.SIGINT, lambda *_: None)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, note)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


# Files


def write_new(path: Path, data: bytes) -> None:
    """Write a file of mode 0600 that must not exist yet. Raises FileExistsError, or another OSError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
    except OSError:
        path.unlink(missing_ok=True)
        raise


def replace(path: Path, data: bytes) -> None:
    """Put ``data`` in the place of a file: all of it, or the old file stays. Raises OSError."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.new")
    beside.unlink(missing_ok=True)
    write_new(beside, data)
    try:
        beside.replace(path)
    except OSError:
        beside.unlink(missing_ok=True)
        raise


def save(path: Path, text: str, *, over: bool) -> int:
    """Save ``text``; the bytes written. ``over`` replaces a file that is there. Raises NightdeskError."""
    data = text.encode("utf-8", "surrogatepass")
    try:
        (replace if over else write_new)(path, data)
    except FileExistsError as fault:
        raise NightdeskError(f"{path} exists already.", "Nothing was written.") from fault
    except OSError as fault:
        reason = fault.strerror or str(fault)
        raise NightdeskError(f"{path} can't be written: {reason}.", "Nothing was changed.") from fault
    return len(data)

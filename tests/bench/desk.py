"""A desk of its own for a measurement: folder, engine, and nothing of the user's."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from nightdesk.client.desk import Desk, find_desk
from nightdesk.client.engine import Engine
from tests.bench.machine import family

NIGHTDESK = str(Path(sys.executable).with_name("nightdesk"))


@dataclass(frozen=True)
class Bench:
    """A desk with a running engine."""

    desk: Desk
    pid: int

    @property
    def engine(self) -> Engine:
        """A client of the engine."""
        return Engine(self.desk.socket)

    @property
    def parts(self) -> list[int]:
        """The engine with its capture and sensor processes, without keepers and jobs."""
        return [pid for pid in family(self.pid) if b"nightdesk.engine" in _command(pid).split(b"jobs")[0]]


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


@contextlib.contextmanager
def running_desk(
    config: str = "",
    files: dict[str, str] | None = None,
    prepare: Callable[[Path], object] = lambda _: None,
) -> Iterator[Bench]:
    """A desk with that ``nightdesk.toml`` and a running engine; its folder is the current one meanwhile.

    ``prepare`` is given the folder before the engine starts.
    """
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for path, text in {"nightdesk.toml": config, **(files or {})}.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text, encoding="utf-8")
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed program has its byte code
        os.environ["NIGHTDESK_SOCKET"] = f"{folder}/engine.sock"
        os.environ["XDG_STATE_HOME"] = name
        os.chdir(folder)
        prepare(folder)
        subprocess.run([NIGHTDESK, "up"], check=True, stdout=subprocess.DEVNULL)
        try:
            desk = find_desk()
            yield Bench(desk, int(desk.lock.read_bytes().partition(b"\n")[0]))
        finally:
            subprocess.run([NIGHTDESK, "down"], check=True, stdout=subprocess.DEVNULL)
            os.chdir(before)

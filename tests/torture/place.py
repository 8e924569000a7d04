"""Where the crash campaign happens: a desk on a small disk of its own, its engine, and bystanders."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from nightdesk.client.desk import Desk, find_desk
from nightdesk.client.engine import Engine
from nightdesk.client.launch import start_engine
from nightdesk.engine.processes.signals import is_alive, start_time_ns
from nightdesk.engine.processes.table import read_argv, read_table
from nightdesk.model.base import ProcessKey
from nightdesk.model.errors import EngineUnavailableError, NightdeskError

HERE = Path(__file__).parent
PYTHON = f"{shlex.quote(sys.executable)} -I -S"
NIGHTDESK = str(Path(sys.executable).with_name("nightdesk"))
PATIENCE = 60.0
DISK = "24m"
CHECK = "import sys; sys.exit(0 if open(sys.argv[1]).read().startswith('done ') else 'of no use')"
T = TypeVar("T")


def until(
    condition: Callable[[], T | None], what: str, seconds: float = PATIENCE, *, pause: float = 0.01
) -> T:
    """The first true value of ``condition``. Raises AssertionError where it does not come in time."""
    limit = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < limit, f"waited {seconds:.0f} s for {what}"
        time.sleep(pause)
    return value


def configuration(side: Path) -> str:
    """A job that works on one item after the other, one on three at once, and one without items."""
    text = '[capture]\nsource = "off"\n[sensors]\nsource = "off"\n[watch]\nlogs = []\n'
    for name, parallel in (("serial", 1), ("wide", 3)):
        output = f"{side}/out/{name}-{{item}}"
        text += (
            f"[jobs.{name}]\n"
            f"command = '''{PYTHON} {HERE / 'work.py'} {side} {output} {{item}}'''\n"
            f"items = {{ lines = '{side}/items' }}\n"
            f"outputs = '{output}'\n"
            f"check = '''{PYTHON} -c {shlex.quote(CHECK)} {output}'''\n"
            f"parallel = {parallel}\ntimeout = '3s'\ngrace = '1s'\n"
            "retry = { attempts = 3, backoff = '50ms' }\n"
        )
    return text


class Place:
    """Folders, engine and bystanders of one campaign."""

    def __init__(self) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="nd-torture-"))
        self.side = self.root / "side"
        self.folder = self.root / "desk"
        for each in (self.side / "out", self.folder, self.root / "run"):
            each.mkdir(mode=0o700, parents=True)
        self.no_disk = self._mount()
        (self.folder / "nightdesk.toml").write_text(configuration(self.side), encoding="utf-8")
        os.environ["NIGHTDESK_SOCKET"] = str(self.root / "run" / "engine.sock")
        self.desk: Desk = find_desk(self.folder)
        self.engine = Engine(self.desk.socket)
        self._bystanders: dict[ProcessKey, str] = {}
        self._children: list[subprocess.Popen[bytes]] = []
        self._heard = self.root / "heard"
        self.add_bystander({})
        self.add_bystander({"NIGHTDESK_RUN": "serial-20200101-000000-000001", "NIGHTDESK_ATTEMPT": "1"})

    def _mount(self) -> str | None:
        """Why the desk has no small disk of its own; None where it has one."""
        words = ["mount", "-t", "tmpfs", "-o", f"size={DISK},mode=700", "tmpfs", str(self.folder)]
        try:
            done = subprocess.run(words, check=False, capture_output=True, text=True)
        except OSError as fault:
            return f"mount can't be started: {fault.strerror}"
        return None if done.returncode == 0 else f"no small disk can be mounted: {done.stderr.strip()}"

    def close(self) -> None:
        """End everything that was started here and remove the folders."""
        with contextlib.suppress(NightdeskError):
            self.engine.shutdown()
        for pid in self.leftovers():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for key in self._bystanders:
            if is_alive(key):
                os.kill(key.pid, signal.SIGKILL)
        for child in self._children:
            child.wait()
            if child.stdout:
                child.stdout.close()
        with contextlib.suppress(AssertionError):
            until(lambda: not self.engine_pid(), "the engine's end", 10)
        if not self.no_disk:
            subprocess.run(["umount", "-l", str(self.folder)], check=False)
        shutil.rmtree(self.root, ignore_errors=True)

    def keep(self, run_id: str, folder: Path) -> None:
        """Copy what is known of a run to where it stays: its folder, what its items noted, the engine's log."""
        shutil.copytree(self.desk.runs / run_id, folder / run_id, dirs_exist_ok=True)
        for path in (self.side / f"{run_id}.log", self.desk.engine_log):
            with contextlib.suppress(OSError):
                shutil.copy(path, folder)

    # bystanders

    def add_bystander(self, environment: dict[str, str]) -> None:
        """A process with a child, of the same program as the items."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith("NIGHTDESK_")}
        child = subprocess.Popen(
            [sys.executable, "-I", "-S", str(HERE / "bystander.py"), str(self._heard)],
            stdout=subprocess.PIPE,
            env=clean | environment,
            start_new_session=True,
        )
        self._children.append(child)
        assert child.stdout
        for line in (child.stdout.readline(), child.stdout.readline()):
            pid = int(line)
            self._bystanders[ProcessKey(pid=pid, started_ns=start_time_ns(pid) or 0)] = str(environment)

    def harm(self) -> list[str]:
        """What happened to the bystanders; nothing should."""
        found = [
            f"bystander {key.pid} {marks} was ended"
            for key, marks in self._bystanders.items()
            if not is_alive(key)
        ]
        if self._heard.exists():
            found.append(f"bystanders got signals: {self._heard.read_text(encoding='ascii').split()}")
        table = read_table()
        found += [
            f"bystander {key.pid} stands still"
            for key in self._bystanders
            if key.pid in table and table[key.pid].state in "Tt"
        ]
        return found

    # the engine

    def engine_pid(self) -> int | None:
        """The engine that holds the desk; None where none does."""
        try:
            pid = int(self.desk.lock.read_bytes().partition(b"\n")[0])
        except (OSError, ValueError):
            return None
        argv = read_argv(pid)
        return pid if "nightdesk.engine" in argv and str(self.folder) in argv else None

    def up(self) -> None:
        """An engine that answers. Raises NightdeskError where it can't be started."""
        start_engine(self.desk)

    def kill_engine(self) -> bool:
        """SIGKILL to the engine; True where there was one."""
        pid = self.engine_pid()
        if pid is None:
            return False
        os.kill(pid, signal.SIGKILL)
        until(lambda: self.engine_pid() != pid, "the killed engine to be gone")
        return True

    def ask(self, question: Callable[[], T]) -> T:
        """The answer of an engine, which is started where there is none."""
        limit = time.monotonic() + PATIENCE
        while True:
            try:
                return question()
            except EngineUnavailableError:
                assert time.monotonic() < limit, "the engine did not answer"
                self.up()

    # damage

    @contextlib.contextmanager
    def full_disk(self) -> Iterator[None]:
        """No free byte on the disk of the desk meanwhile."""
        filler = self.folder / "filler"
        with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(1 << 16))
        with filler.open("ab", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(b"x")
        try:
            yield
        finally:
            filler.unlink()

    @contextlib.contextmanager
    def locked_database(self) -> Iterator[None]:
        """Somebody else writes into the database and does not stop meanwhile."""
        base = sqlite3.connect(self.desk.database, isolation_level=None, timeout=5, check_same_thread=False)
        try:
            base.execute("BEGIN EXCLUSIVE")
            yield
        except sqlite3.OperationalError:
            yield
        finally:
            with contextlib.suppress(sqlite3.OperationalError):
                base.execute("ROLLBACK")
            base.close()

    def command(self, *words: str) -> subprocess.Popen[bytes]:
        """``nightdesk`` with arguments, not waited for."""
        child = subprocess.Popen(
            [NIGHTDESK, "--desk", str(self.folder), *words],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        threading.Thread(target=child.wait, daemon=True).start()
        return child

    def viewer(self) -> subprocess.Popen[bytes]:
        """A client that follows all changes, as a viewer does."""
        code = (
            "import sys; from pathlib import Path; from nightdesk.client.engine import Engine\n"
            "for change in Engine(Path(sys.argv[1])).changes(): pass"
        )
        child = subprocess.Popen(
            [sys.executable, "-c", code, str(self.desk.socket)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        threading.Thread(target=child.wait, daemon=True).start()
        return child

    # processes

    def leftovers(self) -> dict[int, str]:
        """Processes of this desk other than its engine: keepers, commands, what they started, by marker."""
        engine = self.engine_pid()
        found: dict[int, str] = {}
        mark = b"NIGHTDESK_DESK=" + os.fsencode(self.folder.resolve()) + b"\0"
        place = str(self.folder)
        for pid, entry in read_table().items():
            if pid in (engine, os.getpid()) or not entry.alive:
                continue
            argv = read_argv(pid)
            if "nightdesk.engine" in argv or NIGHTDESK in argv[:2]:
                continue
            if mark in _environ(pid) or any(place in word for word in argv if "keeper.py" in "".join(argv)):
                found[pid] = " ".join(argv)[:200] or entry.name
        return found

    def of_run(self, run_id: str) -> list[int]:
        """The processes that carry the marker of a run."""
        mark = b"NIGHTDESK_RUN=" + run_id.encode() + b"\0"
        desk = b"NIGHTDESK_DESK=" + os.fsencode(self.folder.resolve()) + b"\0"
        return [pid for pid in read_table() if mark in (raw := _environ(pid)) and desk in raw]

    def keepers(self) -> list[int]:
        """The keepers of this desk."""
        place = str(self.folder)
        return [
            pid
            for pid in read_table()
            if (argv := read_argv(pid)) and any(w.endswith("keeper.py") for w in argv) and place in argv[-1]
        ]


def _environ(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes() + b"\0"
    except OSError:
        return b""


def quietly(call: Callable[[], Any]) -> Any:
    """What ``call`` gives; None where the engine refuses or is gone."""
    try:
        return call()
    except NightdeskError:
        return None

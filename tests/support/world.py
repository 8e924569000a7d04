"""The surroundings of an end-to-end test: folders of its own, and real terminals that are polled, never slept on."""

import contextlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

NIGHTDESK = str(Path(sys.executable).with_name("nightdesk"))
TYPED = shlex.quote(NIGHTDESK)
"""The same for a shell: the checkout may lie in a folder with blanks."""


def until(condition: Callable[[], Any], what: str, seconds: float = 30) -> Any:
    """The first true value of ``condition``."""
    limit = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > limit:
            raise AssertionError(f"waited {seconds} s for {what}")
        time.sleep(0.05)


class Screen:
    """A tmux session with one window."""

    def __init__(self, env: dict[str, str], folder: Path, columns: int, rows: int) -> None:
        self._socket = f"nd-{uuid.uuid4().hex[:8]}"
        self._env = env
        self.tmux("new-session", "-d", "-c", str(folder), "-x", str(columns), "-y", str(rows), "sh")
        self.tmux("set", "-g", "status", "off")
        self.tmux("set", "-g", "remain-on-exit", "on")
        self.tmux("set", "-g", "set-clipboard", "on")
        self.tmux("resize-window", "-x", str(columns), "-y", str(rows))

    def tmux(self, *words: str, check: bool = True) -> str:
        """Run a tmux command."""
        done = subprocess.run(
            ["tmux", "-u", "-L", self._socket, "-f", "/dev/null", *words],
            env=self._env,
            check=check,
            capture_output=True,
            text=True,
        )
        return done.stdout

    def type(self, line: str) -> None:
        """Type a line and Enter."""
        self.tmux("send-keys", "-l", line)
        self.tmux("send-keys", "Enter")

    def press(self, *keys: str) -> None:
        """Press keys by their tmux names."""
        self.tmux("send-keys", *keys)

    def text(self) -> str:
        """What is on the screen."""
        return self.tmux("capture-pane", "-p")

    def wait_for(self, *texts: str, seconds: float = 30) -> str:
        """The screen, once all ``texts`` are on it."""
        limit = time.monotonic() + seconds
        while True:
            shown = self.text()
            if all(text in shown for text in texts):
                return shown
            if time.monotonic() > limit:
                missing = [text for text in texts if text not in shown]
                raise AssertionError(f"{missing} did not come in {seconds} s:\n{shown}")
            time.sleep(0.05)

    def pid(self) -> int:
        """The process of the pane: the shell."""
        return int(self.tmux("display-message", "-p", "#{pane_pid}"))

    def close(self) -> None:
        """End the session."""
        self.tmux("kill-server", check=False)


class World:
    """A desk's surroundings: folder, environment, and what must be gone at the end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        keep = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        self.env = keep | {
            "LC_ALL": "C.UTF-8",
            "TERM": "xterm-256color",
            "COLORTERM": "truecolor",
            "HOME": str(folder / "home"),
            "XDG_STATE_HOME": str(folder / "state"),
            # Its own place: the path of a socket must be short, and the names of tests are long.
            "XDG_RUNTIME_DIR": tempfile.mkdtemp(prefix="nd-"),
        }
        for name in ("home", "state"):
            (folder / name).mkdir(mode=0o700)
        self._runtime = self.env["XDG_RUNTIME_DIR"]
        self.marker = f"ND_TEST_{uuid.uuid4().hex}"
        self.env["NIGHTDESK_TEST_MARKER"] = self.marker
        self._screens: list[Screen] = []

    def screen(self, columns: int = 160, rows: int = 48) -> Screen:
        """A new terminal."""
        screen = Screen(self.env, self.folder, columns, rows)
        self._screens.append(screen)
        return screen

    def run(
        self, *words: str, check: bool = True, cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run ``nightdesk`` with arguments."""
        return subprocess.run(
            [NIGHTDESK, *words],
            env=self.env,
            cwd=cwd or self.folder,
            check=check,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def json(self, *words: str) -> Any:
        """What ``nightdesk … --json`` printed, one object."""
        return json.loads(self.run(*words, "--json").stdout)

    def processes(self) -> list[psutil.Process]:
        """Every living process that descends from this world."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if (
                    process.environ().get("NIGHTDESK_TEST_MARKER") == self.marker
                    and process.status() != "zombie"
                ):
                    found.append(process)
        return found

    def ours(self) -> list[list[str]]:
        """Command lines of the living processes of Nightdesk, without shells and terminals."""
        found = []
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                line = process.cmdline()
                if any("nightdesk" in word and not word.startswith("/tmp") for word in line[:4]):
                    found.append(line)
        return found

    def close(self) -> None:
        """End everything that this world started."""
        for screen in self._screens:
            screen.close()
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                process.kill()
        shutil.rmtree(self._runtime, ignore_errors=True)

"""Child processes of the engine that print one JSON object a line: capture and sensors.

A child that ends is started again after a growing pause. The child ends by itself when its standard input does, so
that even ``kill -9`` of the engine leaves nothing behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from collections import deque
from collections.abc import Callable, Sequence

logger = logging.getLogger(__name__)

FIRST_PAUSE = 1.0
LONGEST_PAUSE = 60.0
HEALTHY_SECONDS = 30.0
"""A child that lived this long was well: the next pause is short again."""
STOP_SECONDS = 3.0
LINE_LIMIT = 64 * 1024 * 1024
"""A finished exchange with its bodies comes as one line."""
STDERR_LINES = 20


class ChildProcess:
    """Keeps one module running as a child.

    ``on_line`` gets each line of its output; ``on_end`` hears why it ended, after how many restarts, and the
    seconds until the next start.
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        on_line: Callable[[bytes], None],
        on_end: Callable[[str, int, float], None],
    ) -> None:
        self.name = name
        self.argv = list(argv)
        self.restarts = 0
        self._on_line = on_line
        self._on_end = on_end
        self._process: asyncio.subprocess.Process | None = None
        self._stderr: deque[str] = deque(maxlen=STDERR_LINES)
        self._restart_now = asyncio.Event()

    def send(self, line: bytes) -> None:
        """Write a line to the child, if it is there. Never waits."""
        if self._process and self._process.stdin and not self._process.stdin.is_closing():
            self._process.stdin.write(line + b"\n")

    def restart(self, argv: Sequence[str]) -> None:
        """Start again, with other arguments, without a pause."""
        self.argv = list(argv)
        self._restart_now.set()
        if self._process and self._process.returncode is None:
            self._process.terminate()

    async def run(self) -> None:
        """Run the child until cancelled; then end it."""
        pause = FIRST_PAUSE
        loop = asyncio.get_running_loop()
        while True:
            self._restart_now.clear()
            began = loop.time()
            reason = await self._run_once()
            if loop.time() - began > HEALTHY_SECONDS:
                pause = FIRST_PAUSE
            self.restarts += 1
            if not self._restart_now.is_set():
                self._on_end(reason, self.restarts, pause)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await self._restart_now.wait()
                pause = min(pause * 2, LONGEST_PAUSE)

    async def run_once(self) -> None:
        """Run the child until cancelled; one that ends by itself is not started again."""
        self._on_end(await self._run_once(), 0, 0.0)
        await asyncio.Event().wait()

    async def _run_once(self) -> str:
        self._stderr.clear()
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *self.argv,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                limit=LINE_LIMIT,
            )
        except OSError as fault:
            return f"it can't be started: {fault.strerror}"
        self._process = process
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._read_errors(process), name=f"{self.name}.stderr")
                tasks.create_task(self._read_lines(process), name=f"{self.name}.stdout")
            status = await process.wait()
        finally:
            await _end(process)
            self._process = None
        said = f": {self._stderr[-1]}" if self._stderr else ""
        return f"it ended with {_describe(status)}{said}"

    async def _read_lines(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout
        while line := await process.stdout.readline():
            try:
                self._on_line(line)
            except Exception:
                # One line that can't be understood must not end the child that sends good ones.
                logger.exception("%s: a line could not be used", self.name)

    async def _read_errors(self, process: asyncio.subprocess.Process) -> None:
        assert process.stderr
        while line := await process.stderr.readline():
            text = line.decode(errors="replace").strip()
            self._stderr.append(text)
            logger.warning("%s: %s", self.name, text)


def _describe(status: int) -> str:
    return f"signal {-status}" if status < 0 else f"status {status}"


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    if process.stdin:
        process.stdin.close()
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()

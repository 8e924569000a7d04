"""``python -m nightdesk.engine``: the engine as a process. Started by the client, ended by ``nightdesk down``."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import fcntl
import json
import logging
import logging.handlers
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from nightdesk.client.desk import Desk, find_desk
from nightdesk.client.launch import is_answering, make_folders
from nightdesk.core import markers
from nightdesk.engine.temporary import check_temporary, remove_folder
from nightdesk.model.base import prepare_nouns
from nightdesk.model.errors import ConfigError, NightdeskError

LOG_BYTES = 5_000_000
LOG_FILES = 2
GRACE_SECONDS = 2
OTHER_SECONDS = 15.0
"""An engine that took the lock just before us answers within this time, and one that ends has freed it."""
ELSEWHERE_SECONDS = 1.0
"""For so long the lock may still name the socket of an engine that is gone."""
WAITING = 64


class _JsonLines(logging.Formatter):
    """One JSON object a line: at_ns, level, part, message, and error where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "at_ns": time.time_ns(),
            "level": record.levelname.lower(),
            "part": record.name.removeprefix("nightdesk.engine."),
            "message": record.getMessage(),
        }
        if record.exc_info:
            entry["error"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False)


def main(argv: list[str] | None = None) -> int:
    """Run the engine. 0 after an ordered end, or when another engine of this desk already runs."""
    parser = argparse.ArgumentParser(prog="nightdesk-engine")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--config", type=Path)
    parser.add_argument("--set", action="append", default=[], help="section.key=value, wins over the file")
    parser.add_argument("--detach", action="store_true", help="return once the engine answers")
    parser.add_argument(
        "--temporary", action="store_true", help="end with the last viewer, remove the folder"
    )
    options = parser.parse_args(argv)
    ready = _detach() if options.detach else lambda: None
    try:
        desk = _desk(options.config, options.folder, options.set)
        if options.temporary:
            check_temporary(desk)
        make_folders(desk)
        with _lock(desk) as locked:
            if not locked:
                ready()
                return 0
            _log_to(desk.engine_log)
            for name in markers.MARKERS:
                # An engine that is started from within a job is not part of that job.
                os.environ.pop(name, None)
            # Inherited by the capture process: both tell processes of this desk's runs from another desk's.
            os.environ[markers.DESK] = str(desk.folder)
            asyncio.run(_serve(desk, ready))
            remove_folder(desk)
    except ConfigError as fault:
        return _refuse(" ".join((fault.message, *fault.problems)), fault.exit_code)
    except NightdeskError as fault:
        return _refuse(str(fault), fault.exit_code)
    except OSError as fault:
        place = fault.filename or options.folder
        return _refuse(
            f"{place} can't be written: {fault.strerror}. Check the rights and the free space there.", 1
        )
    return 0


def _refuse(sentence: str, status: int) -> int:
    """Tell whoever starts the engine why there is none. Afterwards the output may be closed already."""
    with contextlib.suppress(OSError):
        print(" ".join(sentence.split()), flush=True)  # noqa: T201 - the client reads it
    return status


def _take(lock: IO[str], desk: Desk) -> bool:
    """Whether we have the lock now; an engine that is about to end frees it in a moment. False where another answers.

    Raises NightdeskError where another has it and listens on another socket than ours.
    """
    began = time.monotonic()
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if is_answering(desk.socket):
                return False
        else:
            return True
        lock.seek(0)
        pid, _, place = lock.read().partition("\n")
        is_elsewhere = place.strip() not in ("", str(desk.socket))
        waited = time.monotonic() - began
        if is_elsewhere and waited > ELSEWHERE_SECONDS:
            raise NightdeskError(
                f"Another engine of this desk runs (process {pid}), but not with the socket {desk.socket}.",
                f"Use the NIGHTDESK_SOCKET or XDG_RUNTIME_DIR it was started with, or end it: kill {pid} (runs go on).",
            )
        if waited > OTHER_SECONDS:
            raise NightdeskError(
                f"Another engine of this desk (process {pid}) neither answers nor ends.",
                f"Try again, or end it: kill {pid} (runs go on).",
            )
        time.sleep(0.05)


def _detach() -> Callable[[], None]:
    """Go on in a child whose parent ends when the returned function is called, or with 1 when the child ends first.

    So whoever starts an engine waits for one short process, and never has the engine as its own child.
    """
    reader, writer = os.pipe()
    if os.fork():
        os.close(writer)
        os._exit(0 if os.read(reader, 1) else 1)
    os.close(reader)

    def ready() -> None:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.close(nowhere)
        os.write(writer, b"r")
        os.close(writer)

    return ready


def _desk(config: Path | None, folder: Path, flags: list[str]) -> Desk:
    overrides = dict(flag.partition("=")[::2] for flag in flags)
    if config is not None:
        return find_desk(config, overrides=overrides)
    return find_desk(default=folder, overrides=overrides)


@contextlib.contextmanager
def _lock(desk: Desk) -> Iterator[IO[str] | None]:
    """Hold the desk's lock; None when another engine holds it and answers. The kernel frees it however we end."""
    with desk.lock.open("a+", encoding="utf-8", errors="surrogateescape") as file:
        desk.lock.chmod(0o600)
        if not _take(file, desk):
            yield None
            return
        file.truncate(0)
        file.write(f"{os.getpid()}\n{desk.socket}\n")
        file.flush()
        yield file


def _log_to(path: Path) -> None:
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600))
    handler = logging.handlers.RotatingFileHandler(path, maxBytes=LOG_BYTES, backupCount=LOG_FILES)
    handler.setFormatter(_JsonLines())
    root = logging.getLogger("nightdesk")
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    for noisy in ("uvicorn", "asyncio", "watchfiles"):
        logging.getLogger(noisy).addHandler(handler)
        logging.getLogger(noisy).setLevel(logging.WARNING)


async def _serve(desk: Desk, ready: Callable[[], None]) -> None:
    # Litestar loads pydantic where it happens to be installed: 7 MB for models that nobody has here.
    sys.modules.setdefault("pydantic", None)  # type: ignore[arg-type]  # - None is how an import is refused

    import uvicorn

    from nightdesk.engine.api import make_app
    from nightdesk.engine.service import Service

    class Server(uvicorn.Server):
        """Leaves signals to us: uvicorn would raise them again before the store is closed."""

        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield

        async def main_loop(self) -> None:
            """Uvicorn's own looks ten times a second whether it should end."""
            await service.wait_stopped()

    log = logging.getLogger("nightdesk.engine")
    prepare_nouns()
    service = Service(desk)
    listener = _bind(desk.socket)
    config = uvicorn.Config(
        make_app(service),
        log_config=None,
        access_log=False,
        lifespan="off",
        http="h11",
        ws="none",
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    server = Server(config)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, service.stop)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(service.run(), name="service")
            # Nobody may ask before the runs are known: an early start would be refused.
            await service.ready.wait()
            listener.listen(WAITING)
            tasks.create_task(server.serve(sockets=[listener]), name="api")
            ready()
            log.info("engine %d watches %s, socket %s", os.getpid(), desk.folder, desk.socket)
    finally:
        desk.socket.unlink(missing_ok=True)
        service.close()
        log.info("engine %d ended", os.getpid())


def _bind(path: Path) -> socket.socket:
    """The desk's socket, 0600 before anybody can connect. The lock is held: an old file is stale."""
    if is_answering(path):
        raise NightdeskError(f"Something else answers at {path}.", "Set NIGHTDESK_SOCKET to another path.")
    if path.exists() and not path.is_socket():
        raise NightdeskError(
            f"The engine's socket can't be made: {path} exists and is not a socket.",
            "Set NIGHTDESK_SOCKET to a path that nothing else uses.",
        )
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        listener.bind(str(path))
    except OSError as fault:
        raise OSError(fault.errno, fault.strerror, str(path)) from fault
    finally:
        os.umask(mask)
    return listener


if __name__ == "__main__":
    sys.exit(main())

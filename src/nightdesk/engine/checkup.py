"""``nightdesk doctor``: tries every source for real, for a moment, and says what each one lacks.

Capture and sensors are checked by starting the very child processes that the engine starts, so that what the
doctor says is what happens.
"""

from __future__ import annotations

import asyncio
import contextlib
import glob
import locale
import os
import shutil
import sqlite3
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from typing import Literal

import msgspec

from nightdesk.client.desk import Desk
from nightdesk.client.launch import is_answering
from nightdesk.engine.logout import check_awake, check_logout
from nightdesk.model.exchange import CaptureStatus, capture_decoder
from nightdesk.model.sample import SampleTaken, SensorStatus, sensor_decoder

CHILD_SECONDS = 6.0
LEAST_FREE_BYTES = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Check:
    """One finding. ``remedy`` is the exact next step where there is one."""

    part: str
    state: Literal["ok", "note", "fail"]
    said: str
    remedy: str = ""


async def check_desk(desk: Desk) -> list[Check]:
    """All findings, in the order in which they are best mended."""
    checks = [_python(), _search(), _terminal(), _config(desk), _engine(desk), _disk(desk), *_logs(desk)]
    parts = await asyncio.gather(
        _capture(desk, "scapy"),
        _capture(desk, "tcpdump"),
        _capture(desk, "relay"),
        _sensors(),
        _servers(desk),
        _sleep(desk),
        _login(desk),
    )
    return checks + [check for part in parts for check in part]


def _python() -> Check:
    version = ".".join(map(str, sys.version_info[:3]))
    return Check("python", "ok", f"Python {version} at {sys.executable}")


def _search() -> Check:
    database = sqlite3.connect(":memory:")
    try:
        database.execute("CREATE VIRTUAL TABLE t USING fts5 (x)")
    except sqlite3.OperationalError:
        return Check(
            "search",
            "note",
            f"SQLite {sqlite3.sqlite_version} lacks FTS5: text search is off.",
            "Use another Python build.",
        )
    finally:
        database.close()
    return Check("search", "ok", f"SQLite {sqlite3.sqlite_version} with FTS5")


def _terminal() -> Check:
    encoding = locale.getpreferredencoding(do_setlocale=False)
    if "utf" not in encoding.lower():
        said = f"The locale's encoding is {encoding}: glyphs are drawn in ASCII."
        return Check("terminal", "note", said, "export LC_ALL=C.UTF-8")
    return Check("terminal", "ok", f"{os.environ.get('TERM', 'no TERM')}, {encoding}")


def _config(desk: Desk) -> Check:
    if desk.config_path is None:
        return Check("desk", "note", f"No nightdesk.toml: default desk in {desk.folder}.", "nightdesk init")
    return Check("desk", "ok", f"{desk.config_path}, {len(desk.config.jobs)} jobs")


def _engine(desk: Desk) -> Check:
    if is_answering(desk.socket):
        return Check("engine", "ok", f"answers at {desk.socket}, log {desk.engine_log}")
    return Check("engine", "note", f"not running; its socket will be {desk.socket}", "nightdesk up")


def _disk(desk: Desk) -> Check:
    place = next(folder for folder in (desk.folder, *desk.folder.parents) if folder.is_dir())
    free = shutil.disk_usage(place).free
    said = f"{free / 1e9:.1f} GB free for {desk.state}"
    state: Literal["ok", "fail"] = "ok" if free > LEAST_FREE_BYTES else "fail"
    return Check(
        "disk", state, said, "" if state == "ok" else "Free some space: recording stops when it is gone."
    )


def _logs(desk: Desk) -> list[Check]:
    found = []
    for pattern in desk.config.watch.logs:
        matches = glob.glob(os.path.expanduser(pattern), root_dir=desk.folder, recursive=True)  # noqa: PTH111, PTH207 - a glob may be absolute
        state: Literal["ok", "note"] = "ok" if matches else "note"
        remedy = "" if matches else "Set [watch] logs, or wait: new files are found by themselves."
        found.append(Check("logs", state, f"{pattern} matches {len(matches)} files", remedy))
    return found


async def _capture(desk: Desk, source: str) -> list[Check]:
    ports = ",".join(map(str, desk.config.capture.ports))
    argv = ["-m", "nightdesk.engine.capture", "--source", source, "--ports", ports]
    part = f"capture {source}"
    async with _lines(argv) as lines:
        async for line in lines:
            said = capture_decoder.decode(line)
            if not isinstance(said, CaptureStatus) or said.state == "starting":
                continue
            if said.state == "live":
                where = f"works on {said.interface}" if said.interface else f"works at {said.relay}"
                return [Check(part, "ok", where)]
            return [_split(part, "note", said.message or "failed")]
    return [Check(part, "fail", "The capture process said nothing.", f"{sys.executable} {' '.join(argv)}")]


async def _sensors() -> list[Check]:
    checks: dict[str, Check] = {}
    async with _lines(
        ["-m", "nightdesk.engine.sensors", "--source", "auto", "--interval-ms", "500"]
    ) as lines:
        async for line in lines:
            said = sensor_decoder.decode(line)
            if isinstance(said, SensorStatus) and said.state != "starting":
                part = f"sensor {said.source}"
                checks[part] = (
                    Check(part, "ok", "works")
                    if said.state == "live"
                    else _split(
                        part, "fail" if said.state == "failed" else "note", said.message or said.state
                    )
                )
            if isinstance(said, SampleTaken):
                names = ", ".join(device.name for device in said.sample.devices)
                reason = said.sample.unknown.get("devices", "")
                checks["devices"] = Check("devices", "ok" if names else "note", names or reason)
                break
    return list(checks.values()) or [Check("sensors", "fail", "The sensor process said nothing.")]


async def _servers(desk: Desk) -> list[Check]:
    import httpx

    found = []
    async with httpx.AsyncClient(
        timeout=2.0, trust_env=False, headers={"User-Agent": "nightdesk/doctor"}
    ) as http:
        for port in desk.config.capture.ports:
            part = f"port {port}"
            try:
                answer = await http.get(f"http://127.0.0.1:{port}/api/version")
                version = msgspec.json.decode(answer.content, type=dict[str, str]).get("version", "?")
                found.append(Check(part, "ok", f"Ollama {version}"))
            except (httpx.HTTPError, msgspec.DecodeError) as fault:
                remedy = "Start Ollama (ollama serve), or name its port in [capture] ports."
                found.append(
                    Check(part, "note", f"No Ollama answers there ({type(fault).__name__}).", remedy)
                )
    return found


async def _sleep(desk: Desk) -> list[Check]:
    found = await check_awake(desk.config.desk.keep_awake)
    return [Check("sleep", found.state, found.said, found.remedy)]


async def _login(desk: Desk) -> list[Check]:
    """Whether the engine that runs, or one that would be started here, outlives the login session."""
    found = await check_logout(_engine_pid(desk))
    return [Check("log-out", found.state, found.said, found.remedy)]


def _engine_pid(desk: Desk) -> int | None:
    if not is_answering(desk.socket):
        return None
    with contextlib.suppress(OSError, ValueError):
        return int(desk.lock.read_bytes().partition(b"\n")[0])
    return None


def _split(part: str, state: Literal["note", "fail"], message: str) -> Check:
    """Reason and remedy of a message, which come as sentences one after the other."""
    reason, dot, remedy = message.partition(". ")
    return Check(part, state, reason + dot.strip(), remedy)


@contextlib.asynccontextmanager
async def _lines(argv: list[str]) -> AsyncIterator[AsyncGenerator[bytes, None]]:
    """The lines of a child module, for at most :data:`CHILD_SECONDS`; it is ended afterwards."""
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        *argv,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert child.stdout

    async def read() -> AsyncGenerator[bytes, None]:
        assert child.stdout
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CHILD_SECONDS):
                while line := await child.stdout.readline():
                    yield line

    lines = read()
    try:
        yield lines
    finally:
        await lines.aclose()
        with contextlib.suppress(ProcessLookupError):
            child.terminate()
        try:
            await asyncio.wait_for(child.communicate(), 3)
        except TimeoutError:
            child.kill()
            await child.wait()

"""What is in a folder that a desk could watch or start, and the starter configuration made from it."""

from __future__ import annotations

import glob
import http.client
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from nightdesk import __version__
from nightdesk.core.foreign import safe_line

OLLAMA_PORT = 11434
PROBE_S = 1.0
SCRIPTS_MOST = 8
FILES_MOST = 5000
"""Folders with more are not counted to the end."""
SOUND = (".mp3", ".wav", ".m4a", ".flac", ".ogg", ".opus")
LOOPBACK = ("127.0.0.1", "localhost", "::1", "0.0.0.0", "")  # noqa: S104 - a server that listens everywhere is here too


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What was found."""

    folder: Path
    server: str | None
    """The model server's host and port, where one of this machine is named or answers."""
    server_port: int
    server_version: str | None
    """None where nothing answers."""
    elsewhere: str | None
    """The host that OLLAMA_HOST names when it is another machine."""
    logs: tuple[str, ...]
    """Globs of log files."""
    scripts: tuple[str, ...]
    audio: tuple[tuple[str, int], ...]
    """Globs of sound files and how many files each finds."""

    def told(self) -> Iterator[str]:
        """What was found, line by line."""
        if self.server_version:
            yield f"model server  version {safe_line(self.server_version, 40)} answers on {self.server}"
        else:
            yield f"model server  nothing answers on {self.server}; its port is watched anyway"
        if self.elsewhere:
            yield f"              OLLAMA_HOST names {safe_line(self.elsewhere, 80)}, another machine: not captured"
        yield f"logs          {', '.join(self.logs) or 'no folder with *.log files'}"
        yield f"scripts       {', '.join(self.scripts) or 'none in scripts/'}"
        for pattern, count in self.audio:
            yield f"audio         {pattern} ({count} {'file' if count == 1 else 'files'})"


def look_around(folder: Path, env: Mapping[str, str]) -> Surroundings:
    """What is in ``folder``, and which model server answers on this machine. Takes at most about a second."""
    host, port = _server_of(env.get("OLLAMA_HOST", ""))
    elsewhere = None if host in LOOPBACK else host
    if elsewhere:
        host, port = "127.0.0.1", OLLAMA_PORT
    host = "127.0.0.1" if host in ("", "0.0.0.0") else host  # noqa: S104 - see LOOPBACK
    return Surroundings(
        folder=folder,
        server=f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
        server_port=port,
        server_version=_version_of(host, port),
        elsewhere=elsewhere,
        logs=tuple(_log_globs(folder)),
        scripts=tuple(_scripts(folder)),
        audio=tuple(_audio_globs(folder)),
    )


def _server_of(named: str) -> tuple[str, int]:
    """Host and port that ``OLLAMA_HOST`` means, as Ollama reads it."""
    try:
        parts = urlsplit(named if "://" in named else f"//{named}")
        return parts.hostname or "", parts.port or (OLLAMA_PORT if "://" not in named else 80)
    except ValueError:
        return "", OLLAMA_PORT


def _version_of(host: str, port: int) -> str | None:
    connection = http.client.HTTPConnection(host, port, timeout=PROBE_S)
    try:
        connection.request("GET", "/api/version", headers={"User-Agent": f"nightdesk/{__version__}"})
        answer = msgspec.json.decode(connection.getresponse().read(4096), type=dict[str, str])
    except (OSError, http.client.HTTPException, msgspec.DecodeError):
        return None
    else:
        return answer.get("version")
    finally:
        connection.close()


def _log_globs(folder: Path) -> Iterator[str]:
    for place in (folder, *_folders(folder)):
        if next(place.glob("*.log"), None) is not None:
            yield _glob(folder, place, ".log")


def _scripts(folder: Path) -> Iterator[str]:
    found = [path for path in sorted(folder.glob("scripts/*.py")) if _is_plain(path) and path.name[0] != "_"]
    yield from (f"scripts/{path.name}" for path in found[:SCRIPTS_MOST])


def _audio_globs(folder: Path) -> Iterator[tuple[str, int]]:
    for place in (folder, *_folders(folder)):
        endings = [path.suffix.lower() for _, path in zip(range(FILES_MOST), place.iterdir(), strict=False)]
        for ending in SOUND:
            if count := endings.count(ending):
                yield _glob(folder, place, ending), count


def _glob(folder: Path, place: Path, ending: str) -> str:
    return f"*{ending}" if place == folder else f"{glob.escape(place.name)}/*{ending}"


def _is_plain(path: Path) -> bool:
    """False for hidden files and for names that can't stand in a text file as they are."""
    return not path.name.startswith(".") and safe_line(path.name) == path.name


def _folders(folder: Path) -> list[Path]:
    """The folders in ``folder`` that can be read and are not hidden."""
    found = []
    for place in sorted(folder.iterdir()):
        try:
            if _is_plain(place) and place.is_dir():
                next(place.iterdir(), None)
                found.append(place)
        except OSError:
            continue
    return found


def starter(found: Surroundings) -> str:
    """The text of a short ``nightdesk.toml`` that is valid as it is."""
    logs = [*found.logs, "~/.ollama/logs/server.log"]
    lines = [
        "# A desk of Nightdesk. Every key: nightdesk config show. Check: nightdesk config validate",
        "[desk]",
        f"name = {_text(safe_line(found.folder.name) or 'desk')}",
        "",
        "[capture]",
        f"ports = [{found.server_port}]  # model servers on this machine",
        "",
        "[watch]",
        f"logs = {_text(logs)}",
    ]
    names: list[str] = []
    for script in found.scripts:
        names.append(_job_name(script, names))
        lines += ["", *_job(names[-1], script, found.audio)]
    if not found.scripts:
        lines += ["", *(f"# {line}" for line in _job("batch", "scripts/my_batch.py", ()))]
    return "\n".join(lines) + "\n"


def _job_name(script: str, taken: list[str]) -> str:
    plain = "".join(char if char.isascii() and char.isalnum() else "_" for char in Path(script).stem)
    name = plain.strip("_") or "job"
    return name if name not in taken else f"{name}_{len(taken) + 1}"


def _job(name: str, script: str, audio: tuple[tuple[str, int], ...]) -> list[str]:
    command = shlex.join(["python", script])
    lines = [f"[jobs.{name}]", f"command = {_text(command)}"]
    if audio and any(word in script.lower() for word in ("transcri", "whisper")):
        pattern = _text(audio[0][0])
        lines += [
            "# To let the desk drive the items one by one, checkpoint each and resume:",
            f"# command = {_text(command + ' {item}')}",
            f"# items = {pattern}",
            '# outputs = "transcripts/{stem}.json"',
        ]
    else:
        lines.append(f"# single = {_text(command + ' --single {item}')}")
        lines.append(f"# dry_run = {_text(command + ' --dry-run')}")
    return lines


def _text(value: str | list[str]) -> str:
    """``value`` as TOML writes it, which for these types is how JSON does."""
    if isinstance(value, list):
        return f"[{', '.join(map(_text, value))}]"
    return msgspec.json.encode(value).decode()

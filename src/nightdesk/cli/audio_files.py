"""Looks at the files that are to be transcribed: can they be listened to, how long are they, is it done already."""

from __future__ import annotations

import glob
import json
import os
import re
import shutil
import stat
import subprocess
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from nightdesk.core.logs.media_progress import seconds_of
from nightdesk.model.errors import NightdeskError
from nightdesk.model.whisper import AudioChecked

LOOKERS = 4
"""Files that ffmpeg looks into at the same time."""
LOOK_S = 10
"""Seconds of sound that are decoded to see whether it can be."""
PATIENCE_S = 120
_DURATION = re.compile(r"^\s*Duration: (?P<length>\d+:\d\d:\d\d(?:\.\d+)?)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Wish:
    """Where the transcripts go, and which."""

    out: Path
    formats: tuple[str, ...]
    again: bool = False

    def outputs(self, stem: str) -> tuple[Path, ...]:
        """The transcripts of a file."""
        return tuple(self.out / f"{stem}.{each}" for each in self.formats)


def named_files(names: Iterable[str]) -> tuple[str, ...]:
    """The files of ``names``, each once. Patterns count where no file has such a name: a job's command has no shell."""
    found: dict[str, None] = {}
    for name in names:
        matches = [name]
        if glob.has_magic(name) and not Path(name).exists():
            # As the shell would: pathlib refuses patterns that begin at the root.
            matches = sorted(glob.glob(name, recursive=True)) or [name]  # noqa: PTH207 - absolute patterns
        found.update(dict.fromkeys(matches))
    return tuple(found)


def check_files(files: Sequence[str], wish: Wish) -> list[AudioChecked]:
    """What is known of each file before a model is loaded, in their order. Raises NightdeskError without ffmpeg."""
    ffmpeg = shutil.which("ffmpeg")
    if ffmpeg is None:
        raise NightdeskError(
            "The command ffmpeg isn't found; Whisper reads all audio with it.",
            "Install it: apt install ffmpeg, or brew install ffmpeg.",
        )
    stems: dict[str, str] = {}
    for file in files:
        stems.setdefault(Path(file).stem, file)

    def check(file: str) -> AudioChecked:
        first = stems[Path(file).stem]
        if first != file:
            return _bad(file, f"its transcript would have the name of that of {first}; give it another --out")
        return _checked(file, wish, ffmpeg)

    with ThreadPoolExecutor(LOOKERS) as lookers:
        return list(lookers.map(check, files))


def _bad(file: str, problem: str) -> AudioChecked:
    shown = file.encode("utf-8", "replace").decode()
    return AudioChecked(file=shown, state="bad", problem=problem)


def _checked(file: str, wish: Wish, ffmpeg: str) -> AudioChecked:
    if problem := _problem(Path(file)):
        return _bad(file, problem)
    is_done = not wish.again and is_whole(wish.outputs(Path(file).stem), Path(file).stat().st_mtime_ns)
    length, problem = _listen(file, ffmpeg, 0 if is_done else LOOK_S)
    if is_done:
        return AudioChecked(file=file, state="skipped", duration_s=length)
    if problem:
        return _bad(file, problem)
    return AudioChecked(file=file, state="waiting", duration_s=length)


def _problem(path: Path) -> str | None:
    """What keeps a file from being read; None where nothing does."""
    try:
        os.fspath(path).encode("utf-8")
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            return f"it is a folder; name its files: {path}/*.mp3"
        if not stat.S_ISREG(status.st_mode):
            return "it is not a regular file"
        if not status.st_size:
            return "it is empty"
        with path.open("rb") as file:
            file.read(1)
    except UnicodeEncodeError:
        return "its name is not UTF-8"
    except FileNotFoundError:
        return "there is no such file"
    except OSError as fault:
        return f"it can't be read: {fault.strerror}"
    return None


def _listen(file: str, ffmpeg: str, seconds: int) -> tuple[float | None, str | None]:
    """(length, what is wrong), as ffmpeg says after it decoded the first seconds."""
    sound = ["-map", "0:a:0", "-t", str(seconds), "-f", "null", "-"] if seconds else []
    # An input named like an option or a protocol is still a file.
    command = [ffmpeg, "-nostdin", "-hide_banner", "-i", f"file:{file}", *sound]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE_S, check=False
        )
    except subprocess.TimeoutExpired:
        return None, f"ffmpeg took longer than {PATIENCE_S} s for its first seconds"
    said = done.stderr.decode("utf-8", "replace")
    match = _DURATION.search(said)
    length = seconds_of(match["length"]) if match else None
    if not done.returncode or not seconds:
        return length, None
    last = said.strip().splitlines()[-1] if said.strip() else f"it ended with {done.returncode}"
    if "matches no streams" in said:
        return length, "it has no sound"
    return length, f"ffmpeg can't decode it: {last.rpartition(f'{file}: ')[2]}"


def is_whole(outputs: Sequence[Path], audio_ns: int) -> bool:
    """Whether all transcripts are there, whole, and not older than the audio."""
    try:
        if any(path.stat().st_mtime_ns < audio_ns for path in outputs):
            return False
        return all(_is_sound(path) for path in outputs)
    except (OSError, ValueError):
        return False


def _is_sound(path: Path) -> bool:
    """Plain text may be empty, where nobody spoke; the others have a form. Raises OSError and ValueError."""
    if path.suffix == ".json":
        kept = json.loads(path.read_bytes())
        return isinstance(kept, dict) and isinstance(kept.get("segments"), list)
    if path.suffix == ".vtt":
        with path.open("rb") as file:
            return file.read(6) == b"WEBVTT"
    return True

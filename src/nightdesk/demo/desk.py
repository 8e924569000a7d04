"""Makes the sample desk: a folder with jobs, scripts, recordings and a ``nightdesk.toml``."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from nightdesk.client.desk import CONFIG_NAME
from nightdesk.model.errors import NightdeskError, UsageError

ITEMS = 52
MARK = "# The sample desk of `nightdesk demo`: written again at every start."
SCRIPTS = {
    "pipeline.py": "enhanced_batch.py",
    "transcribe.py": "transcribe.py",
    "whisper_worker.py": "whisper_worker.py",
}
SILENT_FRAME = b"\xff\xfb\x90\x64" + bytes(413)
"""One frame of an MP3 file, 128 kbit/s at 44.1 kHz."""
DAMAGED = 7
"""Number of the recording of which only the head has come."""
DAMAGE = b"ID3\x03" + bytes(1020)

CONFIG = """{mark}
[desk]
name = "demo"

[capture]
ports = [{port}]

[watch]
processes = ["enhanced_batch", "transcribe.py", "whisper", "nightdesk.cli.main demo"]
logs = ["logs/*.log"]

[verdicts]
stalled_after = "3s"
reload_takes = "500ms"

[jobs.prepare]
description = "Checks the recordings. Leaves a worker behind: look for the orphan."
command = {prepare}

[jobs.transcribe]
description = "One transcript for each recording; the desk drives the items, one of which is damaged."
command = {transcribe}
items = "audio/*.mp3"
parallel = 2
outputs = "transcripts/{{stem}}.json"
check = {check}
stall_after = "5m"
retry = {{ attempts = 2, backoff = "5s" }}

[jobs.transcribe.validate]
text = "segments.text"
min_bytes = 300
not_truncated = true
not_repeated = true
language = "en"
warn = ["not_repeated"]

[jobs.synthesize]
description = "Summaries of all interviews: a batch that knows nothing about Nightdesk."
command = {synthesize}
single = {single}
dry_run = {dry_run}
progress = "state/progress.json"

[jobs.synthesize.validate]
files = "output/*.json"
text = "summary"
headings = ["Executive Summary"]
not_truncated = true
not_repeated = true
language = "en"
warn = ["headings", "not_truncated", "not_repeated", "language"]

[jobs.report]
description = "One page from all summaries."
command = {report}
needs = ["synthesize"]
"""


def default_folder(env: Mapping[str, str]) -> Path:
    """Where the sample desk lies when no folder is given."""
    state = env.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(state) / "nightdesk" / "demo"


def check_folder(folder: Path) -> None:
    """Raises UsageError where ``folder`` holds somebody's own desk."""
    config = folder / CONFIG_NAME
    if config.exists() and not config.read_text(encoding="utf-8", errors="replace").startswith(MARK):
        raise UsageError(
            f"{folder} is a desk of your own; the demo does not overwrite it.", "Choose another --folder."
        )


def make_desk(folder: Path, address: str, pause: float = 1.0, items: int = ITEMS) -> Path:
    """The ``nightdesk.toml`` of a sample desk in ``folder`` whose jobs talk to the server at ``address``.

    ``pause`` is the factor of all pauses of its scripts. Raises UsageError where the folder holds somebody's own
    desk, NightdeskError where it can't be written.
    """
    check_folder(folder)
    config = folder / CONFIG_NAME
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in ("scripts", "audio", "logs"):
            (folder / name).mkdir(mode=0o700, parents=True, exist_ok=True)
        for source, target in SCRIPTS.items():
            shutil.copyfile(Path(__file__).with_name(source), folder / "scripts" / target)
        _make_recordings(folder / "audio", items)
        _write_whole(config, _config_text(address, pause))
    except OSError as fault:
        reason = f"The demo can't be written to {folder}: {fault.strerror}."
        raise NightdeskError(reason, "Choose another --folder.") from fault
    return config


def _make_recordings(folder: Path, items: int) -> None:
    for number in range(1, items + 1):
        recording = folder / f"interview_{number:02d}.mp3"
        if not recording.exists():
            frames = DAMAGE if number == DAMAGED else SILENT_FRAME * (2 + number % 5)
            recording.write_bytes(frames)


def _write_whole(path: Path, text: str) -> None:
    draft = path.with_suffix(".part")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)


def _config_text(address: str, pause: float) -> str:
    batch = ["scripts/enhanced_batch.py", "--server", address, "--speed", f"{pause:g}"]
    return CONFIG.format(
        mark=MARK,
        port=urlsplit(address).port,
        prepare=_command(*batch, "--prepare"),
        transcribe=_command("scripts/transcribe.py", "--speed", f"{pause:g}", "{item}"),
        check=_command("scripts/transcribe.py", "--check", "{item}"),
        synthesize=_command(*batch),
        single=_command(*batch, "--single", "{item}"),
        dry_run=_command(*batch, "--dry-run"),
        report=_command(*batch, "--report"),
    )


def _command(*words: str) -> str:
    """A TOML string: the command with this interpreter, quoted for a shell-like split."""
    quoted = " ".join(word if word == "{item}" else shlex.quote(word) for word in (sys.executable, *words))
    escaped = quoted.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'

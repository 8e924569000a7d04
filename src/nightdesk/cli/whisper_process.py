"""The worker that listens, as a child process: gives it the files, takes its events, tells and keeps them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from nightdesk.cli.audio_files import Wish
from nightdesk.cli.output import print_json, print_line, print_note
from nightdesk.core import markers
from nightdesk.core.whisper.files import EVENTS_NAME, Transcribing
from nightdesk.core.whisper.words import Speaker, plan_words
from nightdesk.model.errors import NightdeskError
from nightdesk.model.whisper import (
    AnyWhisperEvent,
    AudioBegan,
    AudioChecked,
    AudioFailed,
    AudioWritten,
    BatchBegan,
    BatchEnded,
    WhisperMissing,
)

WORKER = Path(__file__).parents[1] / "workers" / "whisper_worker.py"
_decoder: msgspec.json.Decoder[AnyWhisperEvent] = msgspec.json.Decoder(AnyWhisperEvent)


def interpreter(chosen: str | None) -> str:
    """The Python that runs the worker. Raises NightdeskError where what the user names holds none."""
    if chosen is None:
        return sys.executable
    path = Path(chosen).expanduser()
    for each in (path, path / "bin" / "python"):
        if each.is_file() and os.access(each, os.X_OK):
            return str(each.absolute())
    raise NightdeskError(
        f"There is no Python at {chosen}.",
        "--python, or python in [whisper], names an interpreter or the folder of a virtual environment.",
    )


def events_path(environment: Mapping[str, str]) -> Path | None:
    """Where events are kept: in the folder of the run that this process belongs to, None outside of one."""
    desk, run = environment.get(markers.DESK), environment.get(markers.RUN)
    if not desk or not run or "/" in run:
        return None
    folder = Path(desk) / ".nightdesk" / "runs" / run
    return folder / EVENTS_NAME if folder.is_dir() else None


class Report:
    """Tells events: to the standard output, and to the file of the run."""

    def __init__(self, speaker: Speaker, path: Path | None) -> None:
        self.as_json = False
        self._speaker = speaker
        self._path = path

    def tell(self, event: AnyWhisperEvent) -> None:
        """One event. A full disk loses it in the file, and nothing else."""
        if self._path is not None:
            with contextlib.suppress(OSError):
                self._keep(msgspec.json.encode(event) + b"\n")
        if self.as_json:
            print_json(event)
            return
        if isinstance(event, AudioFailed | AudioChecked) and event.problem:
            sys.stdout.flush()
            print_note(f"error: {event.file}: {event.problem}")
        for line in self._speaker.lines(event):
            print_line(line)
        sys.stdout.flush()

    def _keep(self, line: bytes) -> None:
        # One write to the end of the file: processes of other items write there as well.
        assert self._path is not None
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        descriptor = os.open(self._path, flags, 0o600)
        try:
            os.write(descriptor, line)
        finally:
            os.close(descriptor)


class Batch:
    """All files of one call."""

    def __init__(self, wish: Wish, options: Mapping[str, str | None]) -> None:
        self._known = Transcribing("nightdesk")
        self._speaker = Speaker(self._known)
        self.report = Report(self._speaker, events_path(os.environ))
        self._wish = wish
        self._options = options
        self.waiting: list[str] = []
        """Files that are still to be done, the one in work first."""
        self._current: str | None = None

    def take(self, event: AnyWhisperEvent) -> None:
        """Take in an event, tell it, and what it raises."""
        if isinstance(event, AudioBegan):
            self._current = event.file
        elif isinstance(event, AudioWritten | AudioFailed):
            self._current = None
            self.waiting = [file for file in self.waiting if file != event.file]
        alarms = self._known.apply(event)
        self.report.tell(event)
        for alarm in alarms:
            self.report.tell(alarm)

    def check(self, checked: Sequence[AudioChecked]) -> None:
        """What was found out before anything is loaded."""
        begun = BatchBegan(
            at_ns=time.time_ns(),
            files=tuple(each.file for each in checked),
            model=str(self._options["model"]),
            out=str(self._wish.out),
            formats=self._wish.formats,
        )
        self.waiting = [each.file for each in checked if each.state == "waiting"]
        self._speaker.total = len(self.waiting)
        self.take(begun)
        for each in checked:
            self.take(each)
        if not self.report.as_json:
            print_line(plan_words(checked))
            sys.stdout.flush()

    def run(self, python: str) -> None:
        """Let one worker do what is waiting, until it ends. Raises NightdeskError where Whisper can't be had."""
        try:
            worker = subprocess.Popen(
                [python, str(WORKER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=-1
            )
        except OSError as fault:
            raise NightdeskError(
                f"{python} can't be started: {fault.strerror}.", "Name another: --python PATH."
            ) from None
        try:
            self._follow(worker, python)
        finally:
            self._end(worker)

    def _follow(self, worker: subprocess.Popen[bytes], python: str) -> None:
        assert worker.stdin is not None
        assert worker.stdout is not None
        wishes = {
            **self._options,
            "out": str(self._wish.out),
            "formats": self._wish.formats,
            "files": [{"file": file, "stem": Path(file).stem} for file in self.waiting],
        }
        with contextlib.suppress(BrokenPipeError):
            worker.stdin.write(json.dumps(wishes).encode() + b"\n")
            worker.stdin.flush()
        for line in worker.stdout:
            try:
                event = _decoder.decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError):
                # A library of Whisper printed past Python.
                print_note(line.decode("utf-8", "replace").rstrip())
                continue
            if isinstance(event, WhisperMissing):
                raise self._missing(event, python)
            self.take(event)
        status = worker.wait()
        if self._current is not None:
            how = f"signal {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
            hint = "; memory may have run out" if status == -signal.SIGKILL else ""
            problem = f"the worker ended in the middle of it: {how}{hint}"
            self.take(AudioFailed(at_ns=time.time_ns(), file=self._current, problem=problem))

    def _missing(self, event: WhisperMissing, python: str) -> NightdeskError:
        self.report.tell(event)
        if event.library:
            return NightdeskError(
                f"openai-whisper can't be used by {python}: {event.problem}",
                "pip install openai-whisper there, or name a Python that has it: --python, or python in [whisper].",
            )
        return NightdeskError(
            f"The model {self._options['model']} can't be loaded: {event.problem}",
            "--model takes a name that Whisper knows, as turbo, or the file of a model.",
        )

    def _end(self, worker: subprocess.Popen[bytes]) -> None:
        assert worker.stdin is not None
        assert worker.stdout is not None
        with contextlib.suppress(OSError):
            worker.stdin.close()  # it ends by itself when this closes
        try:
            worker.wait(timeout=5)
        except subprocess.TimeoutExpired:
            worker.kill()
            worker.wait()
        worker.stdout.close()

    def give_up(self) -> None:
        """The worker ends before it begins with a file: another one would as well."""
        for file in self.waiting:
            problem = "the worker ended before it began with it"
            self.take(AudioFailed(at_ns=time.time_ns(), file=file, problem=problem))

    def finish(self, now_ns: int) -> int:
        """Tell the end; the exit status."""
        counts = self._known.counts()
        failed = counts["failed"] + counts["bad"]
        self.take(BatchEnded(at_ns=now_ns, done=counts["done"], failed=failed, skipped=counts["skipped"]))
        return 1 if failed else 0

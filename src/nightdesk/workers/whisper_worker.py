"""Listens to files with openai-whisper. Runs under any Python that has it, and needs nothing else but that.

Standard input gets one JSON object, the wishes, and is then held open: when it closes, whoever started this is gone,
and it ends. Standard output tells what happens, one JSON object a line, as `nightdesk.model.whisper` describes them.

How segments are told while they are decoded: Whisper offers no call for it. But it prints each segment, with its
times, as soon as its window is decoded (`verbose=True`), and asks `model.decode` for each window, which answers with
all that is known of the quality. Both are public and have stayed the same since the first version; so `decode` is
wrapped on this one model, and what is printed during `transcribe` is read line by line. A window is decoded once for
each temperature that is tried; the last answer is the one that is printed. How far the model is within a window say
the times among the tokens that it has made so far.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

WINDOW_S = 30.0
RATE = 16_000
"""Samples a second that Whisper loads."""
NO_SPEECH, LOGPROB = 0.6, -1.0
"""Whisper's own limits; a window beyond the first that is not above the second is passed over as silent."""
SEGMENT = re.compile(r"\[(?P<start>[\d:.]+) --> (?P<end>[\d:.]+)\](?P<text>.*)", re.DOTALL)
LANGUAGE = re.compile(r"Detected language: (?P<name>.+)")
WORDS_MOST = 300
TOKEN_S = 0.02
"""Of the times that a model says within a window: each is one token."""
TELL_EVERY_S = 1.0


class Teller:
    """Writes events to the real standard output, whatever else is printed meanwhile."""

    def __init__(self, out: io.TextIOBase | Any) -> None:
        self._out = out

    def __call__(self, event: str, **fields: Any) -> None:
        """One line. Numbers that JSON does not know are left out."""
        known = {"event": event, "at_ns": time.time_ns()}
        known.update((key, value) for key, value in fields.items() if value is not None and value == value)
        self._out.write(json.dumps(known, ensure_ascii=True) + "\n")
        self._out.flush()


class Listener(io.StringIO):
    """Takes the place of standard output while one file is transcribed, and of the model's ``decode``."""

    def __init__(self, tell: Teller, file: str, duration_s: float) -> None:
        super().__init__()
        self._tell = tell
        self._file = file
        self._duration_s = duration_s
        self._line = ""
        self._result: Any = None
        self._tries = 0
        self._position_s = 0.0
        self._has_text = True
        self._told_at = 0.0
        self._told_s = 0.0

    def reached(self, within_s: float) -> None:
        """The model is so far in its window. Told once a second, and never backwards."""
        here = min(self._duration_s, self._position_s + min(within_s, WINDOW_S))
        now = time.monotonic()
        if here > self._told_s and now - self._told_at >= TELL_EVERY_S:
            self._told_s, self._told_at = here, now
            self._tell("position", file=self._file, position_s=round(here, 2), total_s=self._duration_s)

    def write(self, text: str) -> int:
        """What Whisper prints."""
        self._line += text
        *lines, self._line = self._line.split("\n")
        for line in lines:
            self._printed(line)
        return len(text)

    def decoded(self, result: Any, temperature: float) -> None:
        """A window was decoded, for the first time or once more."""
        if self._result is None or temperature <= self._result.temperature:
            self.window_over()
            self._tries = 0
        self._tries += 1
        self._result = result
        self._has_text = False

    def window_over(self) -> None:
        """The next window follows: one without text was silent."""
        if self._has_text or self._result is None:
            return
        start, self._has_text = self._position_s, True
        self._position_s = min(self._duration_s, start + WINDOW_S)
        if self._is_silent():
            prob = float(self._result.no_speech_prob)
            self._tell("silence", file=self._file, start_s=start, end_s=self._position_s, no_speech_prob=prob)

    def _is_silent(self) -> bool:
        return bool(self._result.no_speech_prob > NO_SPEECH and self._result.avg_logprob <= LOGPROB)

    def _printed(self, line: str) -> None:
        match = SEGMENT.match(line)
        if match is None:
            if found := LANGUAGE.match(line):
                self._tell("language", file=self._file, language=found["name"])
            return
        self._has_text = True
        self._position_s = min(self._duration_s, max(self._position_s, seconds(match["end"])))
        result = self._result
        quality = {}
        if result is not None:
            names = ("avg_logprob", "compression_ratio", "no_speech_prob", "temperature")
            quality = {name: round(float(getattr(result, name)), 4) for name in names}
        self._tell(
            "segment",
            file=self._file,
            start_s=seconds(match["start"]),
            end_s=seconds(match["end"]),
            text=match["text"][1:],
            fallbacks=max(0, self._tries - 1),
            **quality,
        )


def seconds(clock: str) -> float:
    """``01:02:03.450`` as seconds."""
    total = 0.0
    for part in clock.split(":"):
        total = total * 60 + float(part)
    return round(total, 3)


def reason(fault: BaseException) -> str:
    """A fault in one line."""
    lines = str(fault).strip().splitlines() or [""]
    if lines[0].startswith("Failed to load audio"):
        return f"ffmpeg can't decode it: {lines[-1]}"[:WORDS_MOST]
    words = " ".join(" ".join(lines).split())
    return f"{type(fault).__name__}: {words}"[:WORDS_MOST] if words else type(fault).__name__


class Worker:
    """Loads the model once and goes through the files."""

    def __init__(self, tell: Teller, wishes: dict[str, Any]) -> None:
        self._tell = tell
        self._wishes = wishes
        self._whisper: Any = None
        self._model: Any = None
        self._listener: Any = None

    def load(self) -> bool:
        """Whether Whisper and its model are there."""
        name = self._wishes["model"]
        self._tell("loading", model=name)
        began = time.monotonic()
        try:
            # The imports print and warn; nothing of that may get between the events.
            import whisper
            import whisper.utils
        except ImportError as fault:
            self._tell("missing", problem=reason(fault), library=True)
            return False
        try:
            self._model = whisper.load_model(name, device=self._wishes.get("device"))
        except Exception as fault:  # noqa: BLE001 - whatever keeps the model away is told, and nothing can be done
            self._tell("missing", problem=reason(fault))
            return False
        self._whisper = whisper
        self._wrap()
        device = str(getattr(self._model, "device", ""))
        self._tell("loaded", model=name, device=device, seconds=round(time.monotonic() - began, 3))
        return True

    def _wrap(self) -> None:
        decode = self._model.decode

        def decode_and_tell(segment: Any, options: Any) -> Any:
            result = decode(segment, options)
            self._listener.decoded(result, options.temperature)
            return result

        self._model.decode = decode_and_tell
        self._watch_tokens()

    def _watch_tokens(self) -> None:
        """A window of a large model takes long: the times among its tokens say how far it is in it."""
        decoder = getattr(self._model, "decoder", None)
        if decoder is None or not hasattr(decoder, "register_forward_pre_hook"):
            return
        from whisper.tokenizer import get_tokenizer

        languages = getattr(self._model, "num_languages", 99)
        first = get_tokenizer(self._model.is_multilingual, num_languages=languages).timestamp_begin

        def seen(_module: Any, inputs: Any) -> None:
            token = int(inputs[0][0, -1])
            if token >= first and self._listener is not None:
                self._listener.reached((token - first) * TOKEN_S)

        decoder.register_forward_pre_hook(seen)

    def listen(self, file: str, stem: str) -> None:
        """One file, its transcripts written before the next begins. Raises whatever goes wrong."""
        began = time.monotonic()
        audio = self._whisper.load_audio(file)
        duration_s = round(len(audio) / RATE, 3)
        if not duration_s:
            raise ValueError("it holds no sound")
        self._tell("began", file=file, duration_s=duration_s)
        self._listener = Listener(self._tell, file, duration_s)
        options = {"language": self._wishes.get("language"), "task": self._wishes.get("task", "transcribe")}
        with contextlib.redirect_stdout(self._listener):
            result = self._whisper.transcribe(
                self._model,
                audio,
                verbose=True,
                no_speech_threshold=NO_SPEECH,
                logprob_threshold=LOGPROB,
                fp16=self._model.device.type != "cpu",
                **options,
            )
        self._listener.window_over()
        outputs = self._write(result, file, stem)
        self._tell("written", file=file, outputs=outputs, seconds=round(time.monotonic() - began, 3))

    def _write(self, result: dict[str, Any], file: str, stem: str) -> list[str]:
        """Each format whole or not at all: written beside, then put in place; JSON last, it says that all is there."""
        folder = Path(self._wishes["out"])
        folder.mkdir(parents=True, exist_ok=True)
        formats = sorted(self._wishes["formats"], key=lambda each: each == "json")
        with tempfile.TemporaryDirectory(prefix=".transcript-", dir=folder) as draft:
            for each in formats:
                writer = self._whisper.utils.get_writer(each, draft)
                plain = {"max_line_width": None, "max_line_count": None, "highlight_words": False}
                writer(result, f"{stem}.audio", plain)
            for each in formats:
                (Path(draft) / f"{stem}.{each}").replace(folder / f"{stem}.{each}")
        return [str(folder / f"{stem}.{each}") for each in self._wishes["formats"]]


def go_through(worker: Worker, tell: Teller, files: Iterable[tuple[str, str]]) -> int:
    """How many files went wrong. One does not keep the rest from being done."""
    failed = 0
    for file, stem in files:
        try:
            worker.listen(file, stem)
        except Exception as fault:  # noqa: BLE001 - one bad file must not cost the others
            failed += 1
            tell("failed", file=file, problem=reason(fault))
    return failed


def end_with(source: io.TextIOBase | Any, end: Callable[[], None]) -> None:
    """Calls ``end`` when ``source`` closes."""

    def wait() -> None:
        while source.readline():
            pass
        end()

    threading.Thread(target=wait, daemon=True).start()


def main() -> int:
    """0, 1 where a file went wrong, 3 where Whisper or its model can't be had."""
    tell = Teller(sys.stdout)
    wishes = json.loads(sys.stdin.readline())
    end_with(sys.stdin, lambda: os._exit(1))
    sys.stdout = sys.stderr
    worker = Worker(tell, wishes)
    if not worker.load():
        return 3
    files = [(each["file"], each["stem"]) for each in wishes["files"]]
    return 1 if go_through(worker, tell, files) else 0


if __name__ == "__main__":
    try:
        status = main()
    except (KeyboardInterrupt, BrokenPipeError):
        status = 130
    sys.stderr.flush()
    # Threads of the libraries can hold up a normal end; all that matters is on disk.
    os._exit(status)

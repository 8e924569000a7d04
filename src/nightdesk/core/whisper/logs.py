"""What Whisper's own command, whisper.cpp, faster-whisper and whisperX print, as the events of a transcription.

Sans-io: lines in, events out. No program says all: times are missing, file names often, quality nearly always.
"""

from __future__ import annotations

import re

from nightdesk.core.logs.media_progress import seconds_of
from nightdesk.core.whisper.quality import NO_SPEECH, WINDOW_S
from nightdesk.model.whisper import (
    AnyWhisperEvent,
    AudioBegan,
    AudioFailed,
    Heard,
    LanguageFound,
    ModelLoaded,
    Position,
    Silent,
)

LINE_LIMIT = 8000
"""Characters of a line that are looked at."""
FRAMES_PER_S = 100
"""Of Whisper's own progress bar."""
BACK_S = 5.0
"""A position so far before the last one belongs to another recording."""

_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_CLOCK = r"(?:\d+:)?\d{1,2}:\d\d[.,]\d{1,3}"
_SEGMENT = re.compile(rf"(?:^|\s)\[(?P<start>{_CLOCK}) --> (?P<end>{_CLOCK})\](?P<text>.*)")
_SECONDS = re.compile(r"(?:^|\s)\[(?P<start>\d+(?:\.\d+)?)s -> (?P<end>\d+(?:\.\d+)?)s\](?P<text>.*)")
_TRANSCRIPT = re.compile(r"Transcript: \[(?P<start>\d+(?:\.\d+)?) --> (?P<end>\d+(?:\.\d+)?)\](?P<text>.*)")
_SEGMENTS = ((_TRANSCRIPT, "whisperX"), (_SECONDS, "faster-whisper"), (_SEGMENT, "whisper"))

_BAR = re.compile(r"%\|[^|]*\|\s*(?P<done>[\d.]+)/(?P<total>[\d.]+) \[.*?(?P<unit>frames|seconds)/s\]")
_CPP_PROGRESS = re.compile(r"progress\s*=\s*(?P<percent>\d{1,3})%")
_X_PROGRESS = re.compile(r"^\s*Progress: (?P<percent>\d{1,3}(?:\.\d+)?)%")

_CPP_FILE = re.compile(r"processing '(?P<name>[^']{1,1000})' \(\d+ samples, (?P<length>\d+(?:\.\d+)?) sec\)")
_CPP_MODEL = re.compile(r"whisper_init\w*: loading model from '(?P<name>[^']{1,1000})'")
_FASTER_LENGTH = re.compile(rf"Processing audio with duration (?P<length>{_CLOCK})")
_LANGUAGE = re.compile(
    r"(?:Detected language:? |auto-detected language: )'?(?P<language>[A-Za-z][A-Za-z ]{0,30}?)'?"
    r"(?: with probability .*| \(.*|\.)?$"
)
_DETECTING = re.compile(r"^Detecting language using up to the first 30 seconds")
_SKIPPING = re.compile(r"^Skipping (?P<name>.+?) due to (?P<problem>\w+: .*|\w+)$")
_NAMED = re.compile(
    r"^(?:\[\d+/\d+\]:?\s*)?(?:Transcribing|Processing)(?: file| audio)?:? ['\"]?(?P<name>[^'\"]{1,500}?"
    r"\.(?:mp3|wav|m4a|flac|ogg|opus|mp4|mkv|webm|aac|wma|mov))\b",
    re.IGNORECASE,
)
_WINDOW_AT = re.compile(rf"Processing segment at (?P<at>{_CLOCK})")
_RATIO_FAILED = re.compile(
    r"Compression ratio threshold is not met with temperature .*?\((?P<value>[\d.]+) >"
)
_LOGPROB_FAILED = re.compile(
    r"Log probability threshold is not met with temperature .*?\((?P<value>-?[\d.]+) <"
)
_NO_SPEECH_MET = re.compile(r"No speech threshold is met \((?P<value>[\d.]+) >")


class WhisperLogReader:
    """Reads one log in order. Remembers what the next segment needs, no lines."""

    def __init__(self) -> None:
        self.program: str | None = None
        """Whose output this is, once that is seen."""
        self._named = False
        """A recording was announced and nothing of it was heard yet."""
        self._end_s = 0.0
        self._window_s = 0.0
        self._tries = 0
        self._ratio: float | None = None
        self._logprob: float | None = None

    def feed(self, line: str) -> list[AnyWhisperEvent]:
        """What a line tells; empty where it tells nothing."""
        text = line[:LINE_LIMIT]
        if "\x1b" in text:
            text = _ANSI.sub("", text)
        for form, program in _SEGMENTS:
            if (match := form.search(text)) is not None:
                return self._heard(match, program)
        return self._progress(text) or self._about(text) or self._window(text)

    def _heard(self, match: re.Match[str], program: str) -> list[AnyWhisperEvent]:
        start, end = _seconds(match["start"]), _seconds(match["end"])
        if program == "whisper" and match["start"].count(":") == 2 and match["start"].startswith("00:"):
            program = "whisper.cpp"  # Whisper's own command leaves out hours of 0
        self._seen(program)
        before: list[AnyWhisperEvent] = []
        if not self._named and start < self._end_s - BACK_S:
            before = self._begin("")
        self._named = False
        self._end_s = max(end, start)
        heard = Heard(
            start_s=start,
            end_s=end,
            text=match["text"].strip(),
            compression_ratio=self._ratio,
            avg_logprob=self._logprob,
            fallbacks=self._tries or None,
        )
        return [*before, heard]

    def _seen(self, program: str) -> None:
        if self.program is None or self.program == "whisper":
            self.program = program

    def _begin(self, name: str, length: float | None = None) -> list[AnyWhisperEvent]:
        self._named, self._end_s, self._window_s = True, 0.0, 0.0
        self._forget()
        return [AudioBegan(file=name, duration_s=length)]

    def _forget(self) -> None:
        self._tries, self._ratio, self._logprob = 0, None, None

    def _progress(self, text: str) -> list[AnyWhisperEvent]:
        if (match := _BAR.search(text)) is not None:
            scale = FRAMES_PER_S if match["unit"] == "frames" else 1
            self._seen("whisper" if scale > 1 else "faster-whisper")
            try:
                return [
                    Position(position_s=float(match["done"]) / scale, total_s=float(match["total"]) / scale)
                ]
            except ValueError:
                return []
        for form, program in ((_CPP_PROGRESS, "whisper.cpp"), (_X_PROGRESS, "whisperX")):
            if (match := form.search(text)) is not None:
                if program == "whisper.cpp" and self.program != program and "whisper" not in text:
                    continue
                self._seen(program)
                return [Position(ratio=min(1.0, float(match["percent"]) / 100))]
        return []

    def _about(self, text: str) -> list[AnyWhisperEvent]:
        """Files, lengths, models, languages."""
        if (match := _CPP_FILE.search(text)) is not None:
            self._seen("whisper.cpp")
            return self._begin(match["name"], float(match["length"]))
        if (match := _CPP_MODEL.search(text)) is not None:
            self._seen("whisper.cpp")
            return [ModelLoaded(model=match["name"])]
        if (match := _FASTER_LENGTH.search(text)) is not None:
            self._seen("faster-whisper")
            if self._named:
                return [Position(total_s=_seconds(match["length"]))]
            return self._begin("", _seconds(match["length"]))
        if (match := _NAMED.match(text)) is not None:
            return self._begin(match["name"])
        if (match := _SKIPPING.match(text)) is not None and self.program in (None, "whisper"):
            self._named = False
            problem = match["problem"]
            if "Failed to load audio" in problem:
                problem = "ffmpeg can't decode it"  # what follows is ffmpeg's version, over many lines
            return [AudioFailed(file=match["name"], problem=problem)]
        if _DETECTING.match(text):
            self._seen("whisper")
            return [] if self._named else self._begin("")
        if (match := _LANGUAGE.search(text)) is not None:
            return [LanguageFound(language=match["language"])]
        return []

    def _window(self, text: str) -> list[AnyWhisperEvent]:
        """What faster-whisper says of each window where its debug lines are shown."""
        if (match := _WINDOW_AT.search(text)) is not None:
            self._window_s = _seconds(match["at"])
            self._forget()
        elif (match := _RATIO_FAILED.search(text)) is not None:
            self._tries, self._ratio = self._tries + 1, float(match["value"])
        elif (match := _LOGPROB_FAILED.search(text)) is not None:
            self._tries, self._logprob = self._tries + 1, float(match["value"])
        elif (match := _NO_SPEECH_MET.search(text)) is not None:
            start, prob = self._window_s, float(match["value"])
            if prob > NO_SPEECH / 2:
                return [Silent(start_s=start, end_s=start + WINDOW_S, no_speech_prob=prob)]
        return []


def _seconds(clock: str) -> float:
    return round(seconds_of(clock), 3)

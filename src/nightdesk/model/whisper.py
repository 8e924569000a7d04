"""Transcriptions: what a worker tells while it listens, and what is known of all files of a run."""

from __future__ import annotations

from typing import Literal, TypeAlias

from nightdesk.model.base import Noun

Finding = Literal["loop", "silence", "doubt", "rush"]
"""``loop``: the text repeats itself. ``silence``: text where nobody seems to speak. ``doubt``: the model was not sure.
``rush``: more characters a second than anybody can say."""

AudioState = Literal["waiting", "running", "done", "skipped", "bad", "failed"]
"""``skipped``: its transcript is whole and newer. ``bad``: can't be listened to. ``failed``: went wrong on the way."""


class WhisperEvent(Noun, frozen=True, kw_only=True, tag_field="event"):
    """Base of what is told, one JSON object a line. ``at_ns`` is 0 where a log does not say when."""

    at_ns: int = 0


class BatchBegan(WhisperEvent, frozen=True, kw_only=True, tag="batch"):
    """A process begins with its files."""

    files: tuple[str, ...]
    """As the user named them, in the order of work."""
    model: str
    out: str
    formats: tuple[str, ...]


class AudioChecked(WhisperEvent, frozen=True, kw_only=True, tag="checked"):
    """A file was looked at, before any model is loaded."""

    file: str
    state: AudioState
    """``waiting``, ``skipped`` or ``bad``."""
    duration_s: float | None = None
    problem: str | None = None


class ModelLoading(WhisperEvent, frozen=True, kw_only=True, tag="loading"):
    """The model is being loaded, once for all files."""

    model: str


class ModelLoaded(WhisperEvent, frozen=True, kw_only=True, tag="loaded"):
    """The model is loaded."""

    model: str
    device: str = ""
    seconds: float = 0.0


class WhisperMissing(WhisperEvent, frozen=True, kw_only=True, tag="missing"):
    """Whisper or its model can't be had."""

    problem: str
    library: bool = False
    """The library itself is missing, not the model."""


class AudioBegan(WhisperEvent, frozen=True, kw_only=True, tag="began"):
    """A file is being listened to."""

    file: str
    duration_s: float | None = None


class LanguageFound(WhisperEvent, frozen=True, kw_only=True, tag="language"):
    """The language of a file. ``file`` is empty where a log does not say which."""

    file: str = ""
    language: str


class Heard(WhisperEvent, frozen=True, kw_only=True, tag="segment"):
    """A segment of text, right after it was decoded. What is not known of its quality is absent."""

    file: str = ""
    start_s: float
    end_s: float
    text: str
    avg_logprob: float | None = None
    """Mean of the natural logarithms of the tokens' probabilities, 0 is certain."""
    compression_ratio: float | None = None
    """Bytes of the window's text by bytes when compressed; high where it repeats."""
    no_speech_prob: float | None = None
    temperature: float | None = None
    fallbacks: int | None = None
    """How often the window was decoded again at a higher temperature."""


class Silent(WhisperEvent, frozen=True, kw_only=True, tag="silence"):
    """A window in which nobody speaks was passed over."""

    file: str = ""
    start_s: float
    end_s: float
    no_speech_prob: float | None = None


class Position(WhisperEvent, frozen=True, kw_only=True, tag="position"):
    """How far a program is that tells no text."""

    file: str = ""
    position_s: float | None = None
    total_s: float | None = None
    ratio: float | None = None


class AudioWritten(WhisperEvent, frozen=True, kw_only=True, tag="written"):
    """A file is done, its transcripts are on disk."""

    file: str
    outputs: tuple[str, ...] = ()
    seconds: float = 0.0


class AudioFailed(WhisperEvent, frozen=True, kw_only=True, tag="failed"):
    """A file went wrong; the next one follows."""

    file: str
    problem: str


class BatchEnded(WhisperEvent, frozen=True, kw_only=True, tag="ended"):
    """The process has been through all its files."""

    done: int
    failed: int
    skipped: int


class WhisperAlarm(WhisperEvent, frozen=True, kw_only=True, tag="alarm"):
    """Something to listen to, said once where it begins."""

    kind: Literal["loop", "silence", "gap"]
    """``gap``: a long stretch in which nobody was heard."""
    file: str
    start_s: float
    end_s: float
    """Where it ends as far as it is known."""
    evidence: str


AnyWhisperEvent: TypeAlias = (
    BatchBegan
    | AudioChecked
    | ModelLoading
    | ModelLoaded
    | WhisperMissing
    | AudioBegan
    | LanguageFound
    | Heard
    | Silent
    | Position
    | AudioWritten
    | AudioFailed
    | BatchEnded
    | WhisperAlarm
)


class JudgedSegment(Noun, frozen=True, kw_only=True):
    """A segment with what is to be thought of it."""

    heard: Heard
    findings: tuple[Finding, ...] = ()


class AudioFile(Noun, frozen=True, kw_only=True):
    """One file of a run as far as it is."""

    name: str
    """As the user named it; ``recording 3`` where a log does not say."""
    state: AudioState
    duration_s: float | None = None
    position_s: float = 0.0
    ratio: float | None = None
    """How much is done as the program says; the only word on it where it tells no times."""
    took_s: float | None = None
    """Time of work so far; absent where the log has no times."""
    language: str | None = None
    segments: int = 0
    doubtful: int = 0
    """Segments with any finding."""
    findings: dict[Finding, int] = {}
    """How many segments each was found at."""
    problem: str | None = None
    outputs: tuple[str, ...] = ()


class Transcription(Noun, frozen=True, kw_only=True):
    """All that is known of the transcriptions of a run, and the segments of one file."""

    run: str
    program: str | None = None
    """``nightdesk``, ``whisper``, ``whisper.cpp``, ``faster-whisper`` or ``whisperX``; absent where none is found."""
    model: str | None = None
    device: str | None = None
    files: tuple[AudioFile, ...] = ()
    current: int | None = None
    """Index of the newest file in work."""
    speed: float | None = None
    """Seconds of audio for each second of work."""
    audio_left_s: float | None = None
    """Absent while some length is unknown."""
    left_s: float | None = None
    """Time that the rest is expected to take."""
    alarms: tuple[WhisperAlarm, ...] = ()
    """The newest ones, oldest first."""
    alarm_count: int = 0
    file: int | None = None
    """Index of the file whose segments these are."""
    first: int = 0
    """Index of the first one in :attr:`segments`."""
    segments: tuple[JudgedSegment, ...] = ()
    silences: tuple[Silent, ...] = ()
    """Of the same file."""

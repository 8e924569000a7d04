"""What happens during a transcription, in lines for people and for logs."""

from __future__ import annotations

from collections.abc import Iterable

from nightdesk.core.whisper.files import Transcribing
from nightdesk.model.units import NS, format_duration
from nightdesk.model.whisper import (
    AnyWhisperEvent,
    AudioBegan,
    AudioChecked,
    AudioWritten,
    BatchEnded,
    Heard,
    LanguageFound,
    ModelLoaded,
    ModelLoading,
    Silent,
    WhisperAlarm,
)

ALARM_WORDS = {"loop": "loop", "silence": "text over silence", "gap": "silence"}


def clock(seconds: float) -> str:
    """``12:31``, ``1:02:31``."""
    whole = max(0, int(seconds))
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"


def stamp(seconds: float) -> str:
    """``12:31.250``, hours in front where there are any: as Whisper prints times."""
    ms = max(0, round(seconds * 1000))
    hours, rest = divmod(ms, 3_600_000)
    front = f"{hours:02d}:" if hours else ""
    return f"{front}{rest // 60_000:02d}:{rest % 60_000 // 1000:02d}.{rest % 1000:03d}"


def speed_words(speed: float | None) -> str:
    """``2.1× real time``; empty where it is unknown."""
    if speed is None:
        return ""
    return f"{speed:.1f}× real time" if speed < 99.95 else f"{speed:.0f}× real time"


def alarm_words(alarm: WhisperAlarm) -> str:
    """An alarm without the name of its file."""
    return f"at {clock(alarm.start_s)}: {ALARM_WORDS[alarm.kind]}: {alarm.evidence}"


def plan_words(checked: Iterable[AudioChecked]) -> str:
    """What is to be done, in one line."""
    files = list(checked)
    waiting = [each for each in files if each.state == "waiting"]
    seconds = sum(each.duration_s or 0.0 for each in waiting)
    unknown = " and more" if any(each.duration_s is None for each in waiting) else ""
    parts = [f"{len(waiting)} to do, {clock(seconds)}{unknown} of audio"]
    for state in ("skipped", "bad"):
        count = sum(each.state == state for each in files)
        parts += [f"{count} {state}"] if count else []
    return f"{len(files)} file{'' if len(files) == 1 else 's'}: {', '.join(parts)}"


class Speaker:
    """Puts events into words. ``known`` has taken the event in already."""

    def __init__(self, known: Transcribing) -> None:
        self._known = known
        self.total = 0
        """Files to be done."""
        self._number = 0

    def lines(self, event: AnyWhisperEvent) -> list[str]:
        """Lines for the standard output; what is bad or failed is not among them."""
        match event:
            case AudioChecked(state="skipped"):
                return [f"skipped {event.file}: its transcript is complete and newer (--again does it again)"]
            case ModelLoading():
                return [f"Loading the model {event.model} …"]
            case ModelLoaded():
                on = f" on {event.device}" if event.device else ""
                return [f"The model is loaded: {format_duration(int(event.seconds * NS))}{on}"]
            case AudioBegan():
                return self._begun(event)
            case LanguageFound():
                return [f"Detected language: {event.language}"]
            case Heard():
                return [f"[{stamp(event.start_s)} --> {stamp(event.end_s)}] {event.text.strip()}"]
            case Silent():
                return [f"[{stamp(event.start_s)} --> {stamp(event.end_s)}] (nobody speaks)"]
            case WhisperAlarm():
                return [f"WARNING: {event.file} {alarm_words(event)}"]
            case AudioWritten():
                return [self._written(event)]
            case BatchEnded():
                return [self._ended(event)]
            case _:
                return []

    def _begun(self, event: AudioBegan) -> list[str]:
        self._number += 1
        # One file is followed by its position, several by their number: the lines are those that progress is read from.
        count = f"[{self._number}/{self.total}] " if self.total > 1 else ""
        lines = [f"{count}Transcribing {event.file}"]
        if event.duration_s is not None:
            lines.append(f"Processing audio with duration {stamp(event.duration_s)}")
        return lines

    def _written(self, event: AudioWritten) -> str:
        file = self._known.file(event.file)
        parts = []
        if file is not None and file.duration_s:
            took = format_duration(int(event.seconds * NS))
            speed = file.duration_s / event.seconds if event.seconds else None
            parts += [f"{clock(file.duration_s)} in {took}", speed_words(speed)]
        if file is not None:
            parts.append(f"{file.segments} segments" if file.segments != 1 else "1 segment")
            parts += [f"{file.doubtful} to listen to"] if file.doubtful else []
        words = ", ".join(part for part in parts if part)
        return f"[{self._number}/{self.total}] done {event.file}: {words}{self._left(event.at_ns)}"

    def _left(self, now_ns: int) -> str:
        left, speed = self._known.audio_left_s(), self._known.speed(now_ns)
        if not left:
            return ""
        time = f", about {format_duration(int(left / speed * NS))}" if speed else ""
        return f"; left {clock(left)} of audio{time}"

    def _ended(self, event: BatchEnded) -> str:
        parts = [f"{event.done} done"]
        parts += [f"{event.skipped} skipped"] if event.skipped else []
        parts += [f"{event.failed} failed or bad"] if event.failed else []
        speed = speed_words(self._known.speed(event.at_ns))
        return ", ".join(parts + ([speed] if speed else []))

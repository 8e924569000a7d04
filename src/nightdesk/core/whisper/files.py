"""All files of a transcription as they stand, built up from events: lengths, positions, speed, time left, alarms."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from nightdesk.core.whisper.quality import Alarms, Judge
from nightdesk.model.units import NS
from nightdesk.model.whisper import (
    AnyWhisperEvent,
    AudioBegan,
    AudioChecked,
    AudioFailed,
    AudioFile,
    AudioState,
    AudioWritten,
    BatchBegan,
    Finding,
    Heard,
    JudgedSegment,
    LanguageFound,
    ModelLoaded,
    ModelLoading,
    Position,
    Silent,
    Transcription,
    WhisperAlarm,
)

SEGMENTS_MOST = 20_000
"""Of one file; a day of speech has fewer."""
ALARMS_MOST = 1000
ALARMS_SHOWN = 50
EVENTS_NAME = "whisper.jsonl"
"""In the folder of a run: what its processes told, one JSON object a line."""
SHOWN_MOST = 2000
"""Segments in one answer."""


@dataclass
class _File:
    name: str
    state: AudioState = "waiting"
    duration_s: float | None = None
    position_s: float = 0.0
    ratio: float | None = None
    began_ns: int = 0
    took_s: float | None = None
    language: str | None = None
    problem: str | None = None
    outputs: tuple[str, ...] = ()
    segments: list[JudgedSegment] = field(default_factory=list)
    silences: list[Silent] = field(default_factory=list)
    doubtful: int = 0
    counts: Counter[Finding] = field(default_factory=Counter)
    judge: Judge = field(default_factory=Judge)
    alarms: Alarms = field(default_factory=Alarms)

    def reach(self, position_s: float) -> None:
        """Never backwards: windows overlap."""
        self.position_s = max(self.position_s, position_s)
        if self.duration_s is not None:
            self.position_s = min(self.position_s, self.duration_s)

    def worked_s(self, now_ns: int) -> float | None:
        if self.took_s is not None:
            return self.took_s
        return (now_ns - self.began_ns) / NS if self.began_ns and self.state == "running" else None

    def left_s(self) -> float | None:
        """Audio that is still to be heard; None where the length is unknown."""
        if self.state not in ("waiting", "running"):
            return 0.0
        return None if self.duration_s is None else max(0.0, self.duration_s - self.position_s)

    def shown(self, now_ns: int) -> AudioFile:
        return AudioFile(
            name=self.name,
            state=self.state,
            duration_s=self.duration_s,
            position_s=self.position_s,
            ratio=self.ratio,
            took_s=self.worked_s(now_ns),
            language=self.language,
            segments=len(self.segments),
            doubtful=self.doubtful,
            findings=dict(self.counts),
            problem=self.problem,
            outputs=self.outputs,
        )


class Transcribing:
    """Takes events in order. ``program`` says whose they are, once that is known.

    ``in_turn``: one file is over when the next begins, as in the log of one program; else several may be in work.
    """

    def __init__(self, program: str | None = None, *, in_turn: bool = False) -> None:
        self.program = program
        self._in_turn = in_turn
        self.model: str | None = None
        self.device: str | None = None
        self._files: dict[str, _File] = {}
        self._current: _File | None = None
        self._alarms: list[WhisperAlarm] = []
        self._alarm_count = 0

    def apply(self, event: AnyWhisperEvent) -> list[WhisperAlarm]:
        """Take an event in; the alarms that it raises."""
        match event:
            case BatchBegan():
                self.model = event.model
                for name in event.files:
                    self._again(name)
            case AudioChecked():
                file = self._file(event.file)
                file.state, file.duration_s, file.problem = event.state, event.duration_s, event.problem
            case ModelLoading() | ModelLoaded():
                self.model = event.model
                self.device = event.device if isinstance(event, ModelLoaded) and event.device else self.device
            case AudioBegan():
                self._begin(event)
            case LanguageFound():
                self._file(event.file).language = event.language
            case Heard():
                return self._hear(event)
            case Silent():
                return self._pass_over(event)
            case Position():
                self._move(event)
            case AudioWritten():
                self._end(event)
            case AudioFailed():
                self._fail(event)
            case _:
                pass
        return []

    def has(self, name: str) -> bool:
        """Whether anything was told of a file."""
        return name in self._files

    def begin_item(self, name: str) -> None:
        """What follows in its log is of this file, from its beginning."""
        self._files[name] = _File(name)

    def settle(self, name: str, state: AudioState, began_ns: int, took_s: float | None) -> None:
        """What is known of an item from elsewhere: it is in work since, or over after so long."""
        file = self._file(name)
        if took_s is None:
            file.began_ns = file.began_ns or began_ns
        elif file.took_s is None:
            file.took_s = took_s
        if file.state in ("waiting", "running"):
            file.state = state
            file.problem = "the item failed" if state == "failed" else None

    def close(self, ended_well: bool) -> None:
        """Whoever listened has ended: nothing is in work any more."""
        for file in self._files.values():
            if file.state == "running" and ended_well:
                file.state = "done"
            elif file.state == "running":
                file.state, file.problem = "failed", "the program ended in the middle of it"

    # Events

    def _again(self, name: str) -> _File:
        before = self._files.get(name)
        if before is None or before.state in ("failed", "bad", "running"):
            self._files[name] = _File(name)
        return self._files[name]

    def _file(self, name: str) -> _File:
        if name:
            return self._files.setdefault(name, _File(name))
        if self._current is None:
            self._current = self._unnamed()
        return self._current

    def _unnamed(self) -> _File:
        name = f"recording {len(self._files) + 1}"
        self._files[name] = _File(name, "running")
        return self._files[name]

    def _begin(self, event: AudioBegan) -> None:
        current = self._current
        if not event.file and current is not None and not current.segments and not current.position_s:
            file = current  # an item that was announced, and now tells its length
        else:
            if self._in_turn and current is not None and current.state == "running":
                current.state = "done"
            if event.file:
                before = self._files.get(event.file)
                file = _File(event.file, duration_s=before.duration_s if before else None)
                self._files[event.file] = file
            else:
                file = self._unnamed()
        self._current = file
        file.state, file.began_ns = "running", event.at_ns
        if event.duration_s is not None:
            file.duration_s = event.duration_s

    def _hear(self, event: Heard) -> list[WhisperAlarm]:
        file = self._file(event.file)
        if file.state == "waiting":
            file.state = "running"
        findings = file.judge.findings(event)
        if len(file.segments) < SEGMENTS_MOST:
            file.segments.append(JudgedSegment(heard=event, findings=findings))
        file.counts.update(findings)
        file.doubtful += bool(findings)
        file.reach(event.end_s)
        return self._raise(file, file.alarms.take(event, findings))

    def _pass_over(self, event: Silent) -> list[WhisperAlarm]:
        file = self._file(event.file)
        if len(file.silences) < SEGMENTS_MOST:
            file.silences.append(event)
        file.reach(event.end_s)
        return self._raise(file, file.alarms.take_silence(event))

    def _raise(self, file: _File, alarms: list[WhisperAlarm]) -> list[WhisperAlarm]:
        named = [
            WhisperAlarm(
                at_ns=each.at_ns,
                kind=each.kind,
                file=file.name,
                start_s=each.start_s,
                end_s=each.end_s,
                evidence=each.evidence,
            )
            for each in alarms
        ]
        self._alarm_count += len(named)
        self._alarms = (self._alarms + named)[-ALARMS_MOST:]
        return named

    def _move(self, event: Position) -> None:
        file = self._file(event.file)
        if event.total_s is not None:
            file.duration_s = event.total_s
        if event.ratio is not None:
            file.ratio = max(file.ratio or 0.0, event.ratio)
            if file.duration_s is not None:
                file.reach(event.ratio * file.duration_s)
        if event.position_s is not None:
            file.reach(event.position_s)
        if file.state == "waiting" and (event.position_s or event.ratio):
            file.state = "running"

    def _end(self, event: AudioWritten) -> None:
        file = self._file(event.file)
        file.state, file.outputs, file.took_s = "done", event.outputs, event.seconds
        if file.duration_s is not None:
            file.position_s = file.duration_s
        if file is self._current:
            self._current = None

    def _fail(self, event: AudioFailed) -> None:
        file = self._file(event.file)
        file.state, file.problem = "failed", event.problem
        if file is self._current:
            self._current = None

    # What is known

    def speed(self, now_ns: int, worked_s: float | None = None) -> float | None:
        """Seconds of audio for each second of work. ``worked_s`` is taken where the events have no times."""
        files = [file for file in self._files.values() if file.position_s and file.state != "skipped"]
        times = [file.worked_s(now_ns) for file in files]
        if not any(times) and worked_s:
            return sum(file.position_s for file in files) / worked_s if files else None
        pairs = [(file.position_s, took) for file, took in zip(files, times, strict=True) if took]
        took_s = sum(took for _, took in pairs)
        return sum(heard for heard, _ in pairs) / took_s if took_s else None

    def audio_left_s(self) -> float | None:
        """Audio that is still to be heard, of all files; None while some length is unknown."""
        left = [file.left_s() for file in self._files.values()]
        known = [each for each in left if each is not None]
        return sum(known) if len(known) == len(left) else None

    def counts(self) -> Counter[AudioState]:
        """How many files are in which state."""
        return Counter(file.state for file in self._files.values())

    def file(self, name: str) -> AudioFile | None:
        """One file by its name."""
        found = self._files.get(name)
        return found.shown(0) if found else None

    def view(
        self,
        run: str,
        now_ns: int,
        *,
        file: int | None = None,
        after: int = 0,
        worked_s: float | None = None,
    ) -> Transcription:
        """All files, and the segments of one from number ``after`` on; of the one in work where none is named."""
        files = list(self._files.values())
        running = [index for index, each in enumerate(files) if each.state == "running"]
        current = running[-1] if running else None
        chosen = file if file is not None and 0 <= file < len(files) else current
        if chosen is None and files:
            chosen = max((i for i, each in enumerate(files) if each.segments), default=0)
        shown = files[chosen] if chosen is not None else None
        speed, left = self.speed(now_ns, worked_s), self.audio_left_s()
        return Transcription(
            run=run,
            program=self.program,
            model=self.model,
            device=self.device,
            files=tuple(each.shown(now_ns) for each in files),
            current=current,
            speed=speed,
            audio_left_s=left,
            left_s=left / speed if speed and left is not None else None,
            alarms=tuple(self._alarms[-ALARMS_SHOWN:]),
            alarm_count=self._alarm_count,
            file=chosen,
            first=after,
            segments=tuple(shown.segments[after : after + SHOWN_MOST]) if shown else (),
            silences=tuple(shown.silences) if shown else (),
        )

"""What is to be thought of a segment of a transcript: loops, text over silence, doubt. Thresholds are named here.

Whisper's own confidence stays high while it loops, and its rule of silence overrules its rule of repetition; so each
finding is looked for by itself, and repetition also without any number from the model.
"""

from __future__ import annotations

import re
import zlib
from collections import deque
from typing import Literal

from nightdesk.model.whisper import Finding, Heard, Silent, WhisperAlarm

LOOP_RATIO = 2.4
"""Whisper decodes a window again above this compression ratio; text that stays above it repeats itself."""
REPEATS = 4
"""So many segments in a row with the same words are a loop, whatever the model thinks of them."""
WINDOW_S = 30.0
"""Whisper listens to so much at once; over as much text the ratio is taken where a program tells none."""
RATIO_LEAST = 120
"""Characters below which no ratio is taken: short text hardly compresses, and says nothing."""
LOW_LOGPROB = -1.0
"""Whisper's own limit: below it a window is decoded again."""
NO_SPEECH = 0.6
"""Whisper's own limit: above it nobody seems to speak."""
CHARACTERS_PER_S = 40.0
"""Nobody says so much; fast speech has about 25."""
RUSH_LEAST = 40
"""Characters below which no rate is taken: times of short segments are rough."""
GAP_S = 60.0
"""Silence of this length is told."""

_BLANKS = re.compile(r"\s+")
_PUNCTUATION = re.compile(r"[^\w\s]")


def compression_ratio(text: str) -> float:
    """Bytes of the text by bytes when compressed, as Whisper takes it."""
    raw = text.encode("utf-8", "replace")
    return len(raw) / len(zlib.compress(raw)) if raw else 0.0


def same_words(text: str) -> str:
    """What is compared: words only, case and punctuation left out; text without any words as it is."""
    words = _BLANKS.sub(" ", _PUNCTUATION.sub(" ", text)).strip().casefold()
    return words or text.strip()


class Judge:
    """Judges the segments of one file in their order; remembers the last ones."""

    def __init__(self) -> None:
        self._recent: deque[tuple[float, str]] = deque()
        self._words = ""
        self._repeats = 0

    def findings(self, heard: Heard) -> tuple[Finding, ...]:
        """What is wrong with a segment; empty where nothing is."""
        found: list[Finding] = []
        if self._is_loop(heard):
            found.append("loop")
        if heard.text.strip() and heard.no_speech_prob is not None and heard.no_speech_prob > NO_SPEECH:
            found.append("silence")
        if heard.avg_logprob is not None and heard.avg_logprob < LOW_LOGPROB:
            found.append("doubt")
        length = heard.end_s - heard.start_s
        size = len(heard.text.strip())
        if size >= RUSH_LEAST and length > 0 and size / length > CHARACTERS_PER_S:
            found.append("rush")
        return tuple(found)

    def _is_loop(self, heard: Heard) -> bool:
        words = same_words(heard.text)
        self._repeats = self._repeats + 1 if words and words == self._words else 1
        self._words = words
        if self._repeats >= REPEATS:
            return True
        ratio = heard.compression_ratio
        if ratio is None:
            ratio = self._ratio_of_recent(heard)
        return ratio is not None and ratio > LOOP_RATIO

    def _ratio_of_recent(self, heard: Heard) -> float | None:
        self._recent.append((heard.start_s, heard.text))
        while heard.end_s - self._recent[0][0] > WINDOW_S and len(self._recent) > 1:
            self._recent.popleft()
        text = "".join(each for _, each in self._recent)
        return compression_ratio(text) if len(text) >= RATIO_LEAST else None


class Alarms:
    """Raises an alarm where a loop, text over silence or a long gap begins; once for each stretch of one file."""

    def __init__(self) -> None:
        self._going: set[str] = set()
        self._silent_from: float | None = None

    def take(self, heard: Heard, findings: tuple[Finding, ...]) -> list[WhisperAlarm]:
        """The alarms that a segment raises."""
        self._silent_from = None
        kinds: tuple[Literal["loop", "silence"], ...] = ("loop", "silence")
        raised = [
            WhisperAlarm(
                at_ns=heard.at_ns,
                kind=kind,
                file=heard.file,
                start_s=heard.start_s,
                end_s=heard.end_s,
                evidence=evidence(kind, heard),
            )
            for kind in kinds
            if kind in findings and kind not in self._going
        ]
        self._going = {kind for kind in kinds if kind in findings}
        return raised

    def take_silence(self, silent: Silent) -> list[WhisperAlarm]:
        """The alarm that a silent window raises, once it lasts."""
        if self._silent_from is None:
            self._silent_from = silent.start_s
            self._going = set()
        length = silent.end_s - self._silent_from
        if length < GAP_S or "gap" in self._going:
            return []
        self._going.add("gap")
        words = f"nobody was heard for {length:.0f} s and longer"
        return [
            WhisperAlarm(
                at_ns=silent.at_ns,
                kind="gap",
                file=silent.file,
                start_s=self._silent_from,
                end_s=silent.end_s,
                evidence=words,
            )
        ]


def evidence(kind: str, heard: Heard) -> str:
    """The number that tells, in words."""
    if kind == "silence":
        return f"text, though with {heard.no_speech_prob or 0:.0%} nobody speaks"
    ratio = heard.compression_ratio if heard.compression_ratio is not None else compression_ratio(heard.text)
    if ratio > LOOP_RATIO:
        return f"its text shrinks {ratio:.1f} to 1, speech about 1.5 to 1"
    return f"the same words {REPEATS} times and more"

"""A transcription as lines: files, segments, the quality over the audio. Pure functions of it and a width."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp

from nightdesk.core.foreign import safe_line
from nightdesk.core.whisper.words import alarm_words, clock, speed_words
from nightdesk.model.units import NS, UNKNOWN, format_duration
from nightdesk.model.whisper import (
    AudioFile,
    AudioState,
    Finding,
    JudgedSegment,
    Silent,
    Transcription,
    WhisperAlarm,
)
from nightdesk.tui.glyphs import Glyphs
from nightdesk.tui.text import Cell, Part, Tone
from nightdesk.tui.widgets.grid import Column, Row
from nightdesk.tui.widgets.meter import progress_bar

BAR = 6
FILE_COLUMNS = (
    Column("state", "", width=1),
    Column("name", "file", flex=1),
    Column("bar", "", width=BAR, least=56),
    Column("length", "length", width=7, align="right"),
    Column("speed", "× rt", width=5, align="right"),
    Column("took", "took", width=6, align="right", least=66),
    Column("found", "", width=5, align="right"),
)
SEGMENT_COLUMNS = (
    Column("at", "at", width=8, align="right"),
    Column("sign", "", width=2),
    Column("sure", "sure", width=4, align="right"),
    Column("text", "text", flex=1),
    Column("why", "", width=24, least=100),
)
STATES: dict[AudioState, tuple[str, Tone]] = {
    "waiting": ("wait", "muted"),
    "running": ("run", "ok"),
    "done": ("done", "ok"),
    "skipped": ("shade", "muted"),
    "bad": ("fail", "bad"),
    "failed": ("fail", "bad"),
}
FINDINGS: dict[Finding, tuple[str, Tone, str]] = {
    "loop": ("again", "bad", "repeats itself"),
    "silence": ("off", "warn", "nobody speaks"),
    "doubt": ("lost", "warn", "not sure"),
    "rush": ("up", "warn", "too fast"),
}
"""Glyph, tone, words; the first that fits is drawn."""
FAIR = 0.6
"""A mean probability below it is drawn without the colour of good."""


def sign_of(findings: Sequence[Finding], glyphs: Glyphs) -> Cell:
    """The signs of what was found, the worst first."""
    kinds = [kind for kind in FINDINGS if kind in findings][:2]
    if not kinds:
        return Cell("")
    first, *rest = [(getattr(glyphs, FINDINGS[kind][0]), FINDINGS[kind][1]) for kind in kinds]
    return Cell(first[0], first[1], tuple(rest))


def sureness(segment: JudgedSegment) -> float | None:
    """The mean probability of its words, 0 to 1; None where the program tells none."""
    logprob = segment.heard.avg_logprob
    return None if logprob is None else min(1.0, exp(logprob))


def quality_tone(segment: JudgedSegment) -> Tone:
    """Good, fair or worse; never alone, a sign or a number stands beside it."""
    for kind, (_, tone, _) in FINDINGS.items():
        if kind in segment.findings:
            return tone
    sure = sureness(segment)
    return "muted" if sure is None else "ok" if sure >= FAIR else ""


def file_rows(made: Transcription, glyphs: Glyphs) -> list[Row]:
    """One line for each file; keys are their indexes."""
    return [_file_row(index, file, made, glyphs) for index, file in enumerate(made.files)]


def _file_row(index: int, file: AudioFile, made: Transcription, glyphs: Glyphs) -> Row:
    sign, tone = STATES[file.state]
    ratio = file.ratio
    if file.duration_s:
        ratio = file.position_s / file.duration_s
    if file.state == "done":
        ratio = 1.0
    bar = progress_bar(ratio or 0.0, BAR, glyphs, "ok" if file.state == "done" else "primary")
    name = Cell(safe_line(file.name.rpartition("/")[2] or file.name), "strong" if index == made.file else "")
    if file.problem:
        name = Cell(name.text, name.tone, ((f"  {safe_line(file.problem)}", "bad"),))
    speed = file.position_s / file.took_s if file.took_s and file.position_s else None
    found = Cell(f"{glyphs.warn} {file.doubtful}", "warn") if file.doubtful else Cell("")
    return Row(
        index,
        (
            Cell(getattr(glyphs, sign), tone),
            name,
            Cell("") if file.state in ("skipped", "bad") else bar,
            Cell(clock(file.duration_s) if file.duration_s is not None else UNKNOWN, "muted"),
            Cell("" if speed is None else f"{speed:.1f}" if speed < 100 else f"{speed:.0f}", "muted"),
            Cell(format_duration(int(file.took_s * NS)) if file.took_s else "", "muted"),
            found,
        ),
        "muted" if file.state in ("waiting", "skipped") else "",
    )


def segment_rows(segments: Sequence[JudgedSegment], first: int, glyphs: Glyphs) -> list[Row]:
    """One line for each segment, numbered from ``first`` on."""
    return [_segment_row(index, segment, glyphs) for index, segment in enumerate(segments, first)]


def _segment_row(index: int, segment: JudgedSegment, glyphs: Glyphs) -> Row:
    heard, sure = segment.heard, sureness(segment)
    tone = quality_tone(segment)
    return Row(
        index,
        (
            Cell(clock(heard.start_s), "muted"),
            sign_of(segment.findings, glyphs),
            Cell(UNKNOWN if sure is None else f"{sure:.0%}", tone),
            Cell(safe_line(heard.text.strip(), 2000), tone if segment.findings else ""),
            Cell(why_words(segment), tone if segment.findings else "faint"),
        ),
    )


def why_words(segment: JudgedSegment) -> str:
    """What was found, and how often the window was decoded again."""
    words = [told for kind, (_, _, told) in FINDINGS.items() if kind in segment.findings]
    tries = segment.heard.fallbacks
    if tries:
        words.append(f"{tries} fall-back{'s' if tries > 1 else ''}")
    return ", ".join(words)


def detail_words(segment: JudgedSegment) -> str:
    """All numbers of a segment in one line."""
    heard = segment.heard
    parts = [f"{clock(heard.start_s)} to {clock(heard.end_s)}"]
    parts += [FINDINGS[kind][2] for kind in FINDINGS if kind in segment.findings]
    numbers = (
        ("log probability", heard.avg_logprob, ".2f"),
        ("compression", heard.compression_ratio, ".1f"),
        ("no speech", heard.no_speech_prob, ".0%"),
        ("temperature", heard.temperature, ".1f"),
    )
    parts += [f"{name} {value:{form}}" for name, value, form in numbers if value is not None]
    if heard.fallbacks:
        parts.append(f"{heard.fallbacks} fall-back{'s' if heard.fallbacks > 1 else ''}")
    return " · ".join(parts)


def summary(made: Transcription, total: int | None, glyphs: Glyphs) -> list[Part]:
    """How far all is: files, position, speed, what is left. ``total``: items of the run, of which some may not have
    begun; how long these are is not known.
    """
    if not made.files:
        return [Cell("No file has been started yet.", "muted")]
    dot = f"  {glyphs.dot}  "
    over = sum(file.state in ("done", "skipped") for file in made.files)
    failed = sum(file.state in ("bad", "failed") for file in made.files)
    parts: list[Part] = [Cell(f"{over} of {max(len(made.files), total or 0)} done", "strong")]
    if failed:
        parts.append(Cell(f", {failed} failed or bad", "bad"))
    if made.current is not None:
        file = made.files[made.current]
        of = f" of {clock(file.duration_s)}" if file.duration_s is not None else ""
        parts += [dot, Cell(glyphs.run, "ok"), f" at {clock(file.position_s)}{of}"]
    if made.speed is not None:
        parts += [dot, speed_words(made.speed)]
    if made.audio_left_s and (total is None or total <= len(made.files)):
        parts += [dot, f"{clock(made.audio_left_s)} of audio left"]
        if made.left_s is not None:
            parts.append(Cell(f", about {format_duration(int(made.left_s * NS))}", "strong"))
    return parts


def about(made: Transcription, glyphs: Glyphs) -> list[Part]:
    """Whose output this is, the model, the language."""
    words = [made.program or "", made.model or "", made.device or ""]
    if made.file is not None and made.files[made.file].language:
        words.append(str(made.files[made.file].language))
    return [Cell(f" {glyphs.dot} ".join(safe_line(word, 80) for word in words if word), "muted")]


def alarm_line(made: Transcription, glyphs: Glyphs) -> list[Part]:
    """The newest alarm, and how many there are."""
    if not made.alarms:
        return [Cell(f"{glyphs.done} no loop, no text over silence", "muted")] if made.files else []
    newest: WhisperAlarm = made.alarms[-1]
    count = f"{made.alarm_count} alarms, newest: " if made.alarm_count > 1 else ""
    name = safe_line(newest.file.rpartition("/")[2], 80)
    return [Cell(f"{glyphs.warn} {count}{name} {alarm_words(newest)}", "bad")]


# The chart


def chart(
    segments: Sequence[JudgedSegment],
    silences: Sequence[Silent],
    file: AudioFile,
    width: int,
    height: int,
    glyphs: Glyphs,
) -> list[list[Part]]:
    """Sureness over the length of a file, ``height`` lines of bars, signs below them, then the times.

    A column shows the worst of its stretch. Text without a number is a low grey bar, silence a dot.
    """
    whole = max(file.duration_s or 0.0, file.position_s, segments[-1].heard.end_s if segments else 0.0)
    if width < 20 or whole <= 0:
        return []
    worst: list[JudgedSegment | None] = [None] * width
    for segment in segments:
        for column in _columns(segment.heard.start_s, segment.heard.end_s, whole, width):
            before = worst[column]
            if before is None or _rank(segment) < _rank(before):
                worst[column] = segment
    quiet = {column for each in silences for column in _columns(each.start_s, each.end_s, whole, width)}
    lines = [_bars(worst, quiet, level, height, glyphs) for level in reversed(range(height))]
    signs: list[Part] = [
        sign_of(each.findings[:1], glyphs) if each is not None and each.findings else " " for each in worst
    ]
    return [*lines, signs, _axis(file, whole, width, glyphs)]


def _columns(start_s: float, end_s: float, whole_s: float, width: int) -> range:
    first = min(width - 1, int(start_s / whole_s * width))
    last = min(width - 1, int(max(start_s, end_s - 0.001) / whole_s * width))
    return range(first, last + 1)


def _rank(segment: JudgedSegment) -> tuple[int, float]:
    """What is worse sorts first."""
    order = list(FINDINGS)
    kind = min((order.index(each) for each in segment.findings), default=len(order))
    sure = sureness(segment)
    return kind, 1.0 if sure is None else sure


def _bars(
    worst: Sequence[JudgedSegment | None], quiet: set[int], level: int, height: int, glyphs: Glyphs
) -> list[Part]:
    steps = len(glyphs.bars) - 1
    parts: list[Part] = []
    for column, segment in enumerate(worst):
        if segment is None:
            parts.append(Cell(glyphs.dot, "faint") if column in quiet and not level else " ")
            continue
        sure = sureness(segment)
        eighths = 1 if sure is None else max(1, round(sure * steps * height))
        parts.append(Cell(glyphs.bars[max(0, min(steps, eighths - level * steps))], quality_tone(segment)))
    return parts


def _axis(file: AudioFile, whole_s: float, width: int, glyphs: Glyphs) -> list[Part]:
    """The beginning, where the program is, the end."""
    start, end = "0:00", clock(whole_s)
    here = f"{glyphs.ascending} {clock(file.position_s)}" if file.state == "running" else ""
    place = min(int(file.position_s / whole_s * width), width - len(end) - len(here) - 1)
    if not here or place <= len(start):
        return [Cell(start + end.rjust(width - len(start)), "muted")]
    gap = width - place - len(here) - len(end)
    return [
        Cell(start + " " * (place - len(start)), "muted"),
        Cell(here, "ok"),
        Cell(" " * gap + end, "muted"),
    ]

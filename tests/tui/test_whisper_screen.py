"""The Whisper screen: files, text as it comes, quality, alarms, keys."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace
from textual.pilot import Pilot

from nightdesk.core.whisper.files import Transcribing
from nightdesk.model.whisper import (
    AudioBegan,
    AudioChecked,
    AudioFile,
    BatchBegan,
    Heard,
    JudgedSegment,
    Silent,
    Transcription,
)
from nightdesk.tui.app import Viewer
from nightdesk.tui.commands import commands_of
from nightdesk.tui.glyphs import ASCII, UNICODE
from nightdesk.tui.screens.help import HelpScreen
from nightdesk.tui.screens.whisper import WhisperScreen
from nightdesk.tui.screens.whisper_rows import chart, summary
from tests.support.viewer import NOW, NS, FakeEngine, screen_lines, screen_text, snapshot, until, viewer

FILES = ("audio/harbour.mp3", "audio/council.mp3", "audio/broken.mp3")


class WhisperEngine(FakeEngine):
    """A run that transcribes; more is heard when a test says so."""

    def __init__(self) -> None:
        first = snapshot()
        runs = tuple(replace(run, items_total=None) for run in first.runs)
        super().__init__(replace(first, runs=runs))
        self.known = Transcribing("nightdesk")
        self.known.apply(BatchBegan(files=FILES, model="turbo", out="out", formats=("json",)))
        for name in FILES[:2]:
            self.known.apply(AudioChecked(file=name, state="waiting", duration_s=600.0))
        self.known.apply(AudioChecked(file=FILES[2], state="bad", problem="it is \x1b[31mempty"))
        self.known.apply(AudioBegan(at_ns=NOW - 60 * NS, file=FILES[0], duration_s=600.0))
        self.transcriptions = lambda run, file, after: self.known.view(run, NOW, file=file, after=after)

    def hear(self, start: float, text: str, **quality: Any) -> None:
        """A segment of the file in work."""
        good = {"avg_logprob": -0.1, "compression_ratio": 1.5, "no_speech_prob": 0.01, "temperature": 0.0}
        self.known.apply(Heard(file=FILES[0], start_s=start, end_s=start + 30, text=text, **(good | quality)))


async def opened(pilot: Pilot[int], app: Viewer) -> WhisperScreen:
    """The screen, from the jobs pane."""
    await until(pilot, lambda: "transcribe" in screen_text(app))
    await pilot.press("v")
    await until(pilot, lambda: isinstance(app.screen, WhisperScreen) and "harbour" in screen_text(app))
    assert isinstance(app.screen, WhisperScreen)
    return app.screen


async def heard_more(pilot: Pilot[int], screen: WhisperScreen, count: int) -> None:
    """Wait for so many segments; a second is let pass for the screen's clock."""

    def come() -> bool:
        screen._asked_ns = 0
        assert isinstance(screen.app, Viewer)
        screen.feed(screen.app.link.mirror, NOW)
        return len(screen.segments) == count

    await until(pilot, come)
    await pilot.pause()


async def test_text_is_seen_as_it_comes_with_position_speed_and_time_left() -> None:
    engine = WhisperEngine()
    engine.hear(0, "Well, it started \x1b[2Jwith the flood.")
    app = viewer(engine)
    async with app.run_test(size=(140, 40)) as pilot:
        screen = await opened(pilot, app)
        await heard_more(pilot, screen, 1)
        text = screen_text(app)
        assert "Well, it started \ufffd[2Jwith the flood." in text and "90%" in text
        engine.hear(90, "Nobody told us.")
        await heard_more(pilot, screen, 2)
        lines = screen_lines(app)
        assert "at 2:00 of 10:00" in lines[1] and "2.0× real time" in lines[1]
        assert "18:00 of audio left, about 9m00s" in lines[1]
        assert "no loop, no text over silence" in lines[2]
        assert screen.follows and screen.texts.cursor == 1, "the newest text is in view"


async def test_a_loop_is_coloured_signed_counted_and_raises_an_alarm() -> None:
    engine = WhisperEngine()
    for at in range(0, 120, 30):
        engine.hear(at, f"sentence of second {at}")
    engine.hear(120, "Nu " * 40, compression_ratio=7.5, fallbacks=5)
    engine.hear(150, "And on it went.")
    app = viewer(engine)
    async with app.run_test(size=(140, 40)) as pilot:
        screen = await opened(pilot, app)
        await heard_more(pilot, screen, 6)
        lines = screen_lines(app)
        assert "⚠ harbour.mp3 at 2:00: loop: its text shrinks 7.5 to 1" in lines[2]
        assert any("2:00" in each and "↻" in each and "Nu Nu" in each for each in lines)
        assert "⚠ 1" in next(each for each in lines if "harbour.mp3 " in each and "10:00" in each)
        assert screen.follows
        await pilot.press("N")
        assert screen.texts.cursor == 4
        assert "compression 7.5" in screen_text(app) and "5 fall-backs" in screen_text(app)
        await pilot.press("n")
        assert screen.texts.cursor == 4, "there is no other one behind it"
        await pilot.press("g")
        await pilot.press("a")
        await until(pilot, lambda: screen.texts.cursor == 4)
        await pilot.press("f")
        await until(pilot, lambda: screen.follows and screen.texts.cursor == 5)


async def test_another_file_is_shown_by_moving_to_it_and_says_what_is_wrong() -> None:
    engine = WhisperEngine()
    engine.hear(0, "Well.")
    app = viewer(engine)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot, app)
        await heard_more(pilot, screen, 1)
        await pilot.press("tab", "G")
        await until(pilot, lambda: "✗ it is \ufffd[31mempty" in screen_text(app))
        assert not screen.follows and screen.segments == []
        await pilot.press("tab", "f")
        await until(pilot, lambda: "Well." in screen_text(app))
        await pilot.press("question_mark")
        await until(pilot, lambda: isinstance(app.screen, HelpScreen))
        await pilot.press("escape", "escape")
        await until(pilot, lambda: app.screen is app.desk_screen)


async def test_a_run_without_a_word_of_whisper_says_so_and_no_key_does_harm() -> None:
    engine = WhisperEngine()
    engine.transcriptions = lambda run, *_: Transcription(run=run)
    app = viewer(engine)
    async with app.run_test(size=(120, 30)) as pilot:
        await until(pilot, lambda: "transcribe" in screen_text(app))
        commands = {each.words: each for each in commands_of(app) if each.words.startswith("Whisper")}
        listed = [words for words, each in commands.items() if each.listed]
        assert len(listed) == 1 and "transcribe" in listed[0]
        commands[listed[0]].run()
        await until(pilot, lambda: "This run has printed no Whisper output." in screen_text(app))
        await pilot.press("y", "a", "n", "l", "f", "tab", "escape")
        await until(pilot, lambda: app.screen is app.desk_screen)


def test_items_that_have_not_begun_are_counted_and_leave_the_time_left_unknown() -> None:
    made = WhisperEngine().known.view("transcribe-1", NOW)
    alone, of_many = (
        "".join(str(getattr(part, "plain", part)) for part in summary(made, total, UNICODE))
        for total in (None, 52)
    )
    assert "0 of 3 done" in alone and "20:00 of audio left" in alone
    assert "0 of 52 done" in of_many and "left" not in of_many


def test_a_column_of_the_chart_shows_the_worst_of_its_stretch() -> None:
    def segment(start: float, logprob: float | None, *findings: Any) -> JudgedSegment:
        heard = Heard(start_s=start, end_s=start + 10, text="x", avg_logprob=logprob)
        return JudgedSegment(heard=heard, findings=findings)

    file = AudioFile(name="a", state="running", duration_s=100.0, position_s=50.0)
    segments = [segment(0, 0.0), segment(10, -3.0, "doubt"), segment(10, 0.0), segment(30, None)]
    lines = chart(segments, [Silent(start_s=20, end_s=30)], file, 40, 1, UNICODE)
    bars, signs, axis = ("".join(str(getattr(part, "plain", part)) for part in each) for each in lines)
    assert bars[:16] == "████▁▁▁▁····▁▁▁▁" and not bars[16:].strip()
    assert signs[4:8] == "????" and not signs[:4].strip()
    assert axis.startswith("0:00") and "▲ 0:50" in axis and axis.endswith("1:40")
    assert len(chart(segments, [], file, 40, 3, ASCII)) == 5
    assert chart([], [], AudioFile(name="a", state="waiting"), 40, 1, UNICODE) == []

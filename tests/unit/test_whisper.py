"""Transcriptions: what segments are worth, what programs print, how files add up, what is said of it."""

from __future__ import annotations

from typing import Any

import pytest

from nightdesk.core.logs.lines import LineSplitter
from nightdesk.core.logs.progress import ProgressReader
from nightdesk.core.whisper.files import Transcribing
from nightdesk.core.whisper.logs import WhisperLogReader
from nightdesk.core.whisper.quality import GAP_S, Alarms, Judge, compression_ratio
from nightdesk.core.whisper.words import Speaker, clock, stamp
from nightdesk.model.units import NS
from nightdesk.model.whisper import (
    AnyWhisperEvent,
    AudioBegan,
    AudioChecked,
    AudioFailed,
    AudioWritten,
    BatchBegan,
    Heard,
    LanguageFound,
    ModelLoaded,
    Position,
    Silent,
    WhisperAlarm,
)


def heard(start: float, text: str, length: float = 4.0, **quality: Any) -> Heard:
    return Heard(file="a.mp3", start_s=start, end_s=start + length, text=text, **quality)


SENTENCES = (
    "Well, it started with the flood in the old town.",
    "Nobody told us that the road was closed.",
    "I remember the light over the harbour that night.",
    "We counted twice and came to the same number.",
    "The council promised an answer by Friday.",
    "There were forty people in the hall, maybe fifty.",
    "She said it was the last ferry, and it was.",
)


# Quality


def test_good_speech_gives_no_finding_with_numbers_and_without() -> None:
    with_numbers, without = Judge(), Judge()
    good = {"avg_logprob": -0.2, "compression_ratio": 1.6, "no_speech_prob": 0.01}
    for index, text in enumerate(SENTENCES):
        assert with_numbers.findings(heard(index * 4.0, text, **good)) == ()
        assert without.findings(heard(index * 4.0, text)) == ()


def test_a_high_compression_ratio_is_a_loop_however_sure_the_model_is() -> None:
    sure = heard(0, " Nu" * 30, 30.0, avg_logprob=-0.001, compression_ratio=6.6, no_speech_prob=0.0)
    assert Judge().findings(sure) == ("loop",)


def test_the_rule_of_silence_does_not_cancel_the_loop() -> None:
    both = heard(0, "Thank you. " * 9, 30.0, avg_logprob=-0.1, compression_ratio=9.0, no_speech_prob=0.9)
    assert Judge().findings(both) == ("loop", "silence")


def test_the_same_words_four_times_are_a_loop_without_any_number() -> None:
    judge = Judge()
    found = [
        judge.findings(heard(at * 4.0, text)) for at, text in enumerate(["Thank you.", " thank you!"] * 2)
    ]
    assert found == [(), (), (), ("loop",)]


def test_programs_without_numbers_get_a_ratio_of_the_text_of_the_last_window() -> None:
    found = Judge().findings(heard(0, "258" * 60, 30.0))
    assert found == ("loop",)
    assert compression_ratio("258" * 60) > 2.4 and compression_ratio("") == 0.0


def test_doubt_and_more_words_than_anybody_can_say_are_found() -> None:
    assert Judge().findings(heard(0, "Hm.", avg_logprob=-1.3)) == ("doubt",)
    assert Judge().findings(heard(0, SENTENCES[0] + SENTENCES[1], 0.5)) == ("rush",)
    assert Judge().findings(heard(0, "Yes.", 0.0)) == ()


def test_an_alarm_is_raised_once_for_each_stretch() -> None:
    alarms = Alarms()
    loop = heard(60, "Nu " * 60, compression_ratio=7.0)
    [first] = alarms.take(loop, ("loop",))
    assert (first.kind, first.start_s) == ("loop", 60) and "7.0 to 1" in first.evidence
    assert alarms.take(loop, ("loop",)) == []
    assert alarms.take(heard(70, "Good."), ()) == []
    assert [each.kind for each in alarms.take(loop, ("loop", "silence"))] == ["loop", "silence"]


def test_long_silence_is_told_when_it_lasts_and_only_once() -> None:
    alarms = Alarms()
    told = [alarms.take_silence(Silent(start_s=at, end_s=at + 30)) for at in (0.0, 30.0, 60.0)]
    assert [len(each) for each in told] == [0, 1, 0]
    assert told[1][0].kind == "gap" and told[1][0].end_s >= GAP_S


# Programs


def read(text: str) -> tuple[WhisperLogReader, list[AnyWhisperEvent]]:
    reader, splitter = WhisperLogReader(), LineSplitter()
    lines = splitter.feed(text.encode())
    rest = splitter.finish()
    return reader, [event for line in [*lines, *([rest] if rest else [])] for event in reader.feed(line)]


def test_whispers_own_command_tells_text_languages_and_what_it_skips() -> None:
    reader, events = read(
        "Detecting language using up to the first 30 seconds. Use `--language` to specify the language\n"
        "Detected language: English\n"
        "[00:00.000 --> 00:04.160]  Well, it started.\n"
        "[01:02:59.500 --> 01:03:04.000]  And it ended.\n"
        "Skipping text.mp3 due to RuntimeError: Failed to load audio: ffmpeg version 5.1.9\n"
        "Detecting language using up to the first 30 seconds. Use `--language` to specify the language\n"
        "[00:00.000 --> 00:02.000]  Another one.\n"
    )
    assert reader.program == "whisper"
    assert events == [
        AudioBegan(file=""),
        LanguageFound(language="English"),
        Heard(start_s=0.0, end_s=4.16, text="Well, it started."),
        Heard(start_s=3779.5, end_s=3784.0, text="And it ended."),
        AudioFailed(file="text.mp3", problem="ffmpeg can't decode it"),
        AudioBegan(file=""),
        Heard(start_s=0.0, end_s=2.0, text="Another one."),
    ]


def test_the_bar_of_whispers_own_command_tells_seconds() -> None:
    reader, events = read(
        "\r  0%|          | 0/7000 [00:00<?, ?frames/s]\r 43%|████▎     | 3000/7000 [00:00<00:00, 7179.54frames/s]"
    )
    assert reader.program == "whisper"
    assert events == [Position(position_s=30.0, total_s=70.0)]


def test_whisper_cpp_tells_model_file_length_and_progress() -> None:
    reader, events = read(
        "whisper_init_from_file_with_params_no_state: loading model from 'models/ggml-base.en.bin'\n"
        "main: processing 'samples/jfk.wav' (176000 samples, 11.0 sec), 4 threads, 1 processors, lang = en ...\n"
        "\n[00:00:00.000 --> 00:00:07.740]   And so my fellow Americans\n"
        "whisper_print_progress_callback: progress =  45%\n"
        "\x1b[38;5;71m[00:00:07.740 --> 00:00:10.000]   ask not\x1b[0m\n"
    )
    assert reader.program == "whisper.cpp"
    assert events == [
        ModelLoaded(model="models/ggml-base.en.bin"),
        AudioBegan(file="samples/jfk.wav", duration_s=11.0),
        Heard(start_s=0.0, end_s=7.74, text="And so my fellow Americans"),
        Position(ratio=0.45),
        Heard(start_s=7.74, end_s=10.0, text="ask not"),
    ]


def test_faster_whisper_tells_length_tries_and_silence() -> None:
    reader, events = read(
        "INFO:faster_whisper:Processing audio with duration 01:13.000\n"
        "INFO:faster_whisper:Detected language 'en' with probability 0.98\n"
        "DEBUG:faster_whisper:Processing segment at 00:00.000\n"
        "DEBUG:faster_whisper:Compression ratio threshold is not met with temperature 0.0 (7.300000 > 2.400000)\n"
        "[0.00s -> 5.00s]  Nu Nu Nu\n"
        "DEBUG:faster_whisper:Processing segment at 00:30.000\n"
        "DEBUG:faster_whisper:No speech threshold is met (0.810000 > 0.600000)\n"
        " 41%|████      | 30.0/73.0 [00:05<00:07,  5.9seconds/s]\n"
    )
    assert reader.program == "faster-whisper"
    assert events == [
        AudioBegan(file="", duration_s=73.0),
        LanguageFound(language="en"),
        Heard(start_s=0.0, end_s=5.0, text="Nu Nu Nu", compression_ratio=7.3, fallbacks=1),
        Silent(start_s=30.0, end_s=60.0, no_speech_prob=0.81),
        Position(position_s=30.0, total_s=73.0),
    ]


def test_whisperx_tells_transcripts_and_percentages() -> None:
    reader, events = read(
        ">>Performing transcription...\nDetected language: en (0.99) in first 30s of audio...\n"
        "Transcript: [0.031 --> 5.23]  Well, it started.\nProgress: 12.50%...\n"
    )
    assert reader.program == "whisperX"
    assert events == [
        LanguageFound(language="en"),
        Heard(start_s=0.031, end_s=5.23, text="Well, it started."),
        Position(ratio=0.125),
    ]


def test_a_position_far_before_the_last_one_begins_another_recording() -> None:
    _, events = read("[00:50.000 --> 00:55.000] end\n[00:00.000 --> 00:04.000] begin\n")
    assert [type(event).__name__ for event in events] == ["Heard", "AudioBegan", "Heard"]


@pytest.mark.parametrize(
    "line",
    [
        "",
        "GET /api/chat 200",
        "[INFO] loaded 12/40",
        "progress = 45%",
        "a -> b",
        "[::] --> [",
        "epoch 3: 45%|██| 3/7",
    ],
)
def test_lines_of_other_programs_tell_nothing(line: str) -> None:
    reader, events = read(line + "\n")
    assert events == [] and reader.program is None


# Files


def batch(*files: str) -> Transcribing:
    known = Transcribing("nightdesk")
    known.apply(BatchBegan(files=files, model="turbo", out="out", formats=("json",)))
    for file in files:
        known.apply(AudioChecked(file=file, state="waiting", duration_s=100.0))
    return known


def test_time_left_is_counted_in_audio_of_all_files() -> None:
    known = batch("a.mp3", "b.mp3")
    known.apply(AudioBegan(at_ns=10 * NS, file="a.mp3", duration_s=100.0))
    known.apply(heard(0, "Well.", 50.0))
    made = known.view("r", 35 * NS)
    assert made.speed == 2.0 and made.audio_left_s == 150.0 and made.left_s == 75.0
    assert made.current == 0 and made.files[0].position_s == 50.0 and made.segments[0].heard.text == "Well."
    known.apply(AudioWritten(at_ns=60 * NS, file="a.mp3", outputs=("out/a.json",), seconds=50.0))
    made = known.view("r", 60 * NS)
    assert made.files[0].state == "done" and made.audio_left_s == 100.0 and made.left_s == 50.0


def test_files_whose_length_nobody_tells_leave_the_time_left_unknown() -> None:
    known = Transcribing(in_turn=True)
    known.apply(heard(0, "Well."))
    made = known.view("r", 10 * NS, worked_s=2.0)
    assert made.audio_left_s is None and made.left_s is None and made.speed == 2.0


def test_in_a_log_one_file_ends_where_the_next_begins_and_the_end_of_the_run_closes_the_last() -> None:
    known = Transcribing(in_turn=True)
    for event in read("[00:50.000 --> 00:55.000] end\n[00:00.000 --> 00:04.000] begin\n")[1]:
        known.apply(event)
    assert [(file.name, file.state) for file in known.view("r", 0).files] == [
        ("recording 1", "done"),
        ("recording 2", "running"),
    ]
    known.close(ended_well=False)
    last = known.view("r", 0).files[1]
    assert last.state == "failed" and last.problem == "the program ended in the middle of it"


def test_segments_are_given_from_a_number_on_for_the_file_that_is_asked_for() -> None:
    known = batch("a.mp3", "b.mp3")
    known.apply(AudioBegan(file="a.mp3"))
    for at in range(5):
        known.apply(heard(at * 4.0, f"sentence {at}"))
    made = known.view("r", 0, file=0, after=3)
    assert [each.heard.text for each in made.segments] == ["sentence 3", "sentence 4"]
    assert known.view("r", 0, file=1).segments == () and known.view("r", 0, file=99).file == 0


def test_a_file_that_is_done_again_begins_anew() -> None:
    known = batch("a.mp3")
    known.apply(AudioBegan(file="a.mp3"))
    known.apply(heard(0, "Well."))
    known.apply(AudioFailed(file="a.mp3", problem="out of memory"))
    known.apply(AudioBegan(file="a.mp3", duration_s=100.0))
    made = known.view("r", 0)
    assert made.files[0].state == "running" and made.files[0].segments == 0 and made.files[0].problem is None


def test_loops_are_counted_and_told_with_their_file() -> None:
    known = batch("a.mp3")
    known.apply(AudioBegan(file="a.mp3"))
    raised = known.apply(heard(30, "Nu " * 60, 30.0, compression_ratio=8.0))
    assert [(each.kind, each.file, each.start_s) for each in raised] == [("loop", "a.mp3", 30.0)]
    made = known.view("r", 0)
    assert made.alarm_count == 1 and made.files[0].doubtful == 1 and made.files[0].findings["loop"] == 1


# Words


def test_times_are_written_as_whisper_does() -> None:
    assert (stamp(3779.5), stamp(0.7), clock(3779.5), clock(70)) == (
        "01:02:59.500",
        "00:00.700",
        "1:02:59",
        "1:10",
    )


def test_what_is_said_is_understood_as_progress() -> None:
    known = batch("audio/a.mp3", "b.mp3")
    speaker, progress = Speaker(known), ProgressReader()
    speaker.total = 2
    seen = []
    told_first: list[AnyWhisperEvent] = [
        AudioBegan(file="audio/a.mp3", duration_s=100.0),
        Heard(file="audio/a.mp3", start_s=0.0, end_s=50.0, text=" Well."),
        AudioWritten(file="audio/a.mp3", seconds=50.0),
        AudioBegan(file="b.mp3", duration_s=100.0),
        AudioWritten(file="b.mp3", seconds=50.0),
    ]
    for at, event in enumerate(told_first):
        known.apply(event)
        for line in speaker.lines(event):
            told = progress.feed(line, at * NS)
            seen += [(told.done, told.total, told.item)] if told else []
    assert seen[0] == (0.0, 2.0, "audio/a.mp3")
    assert seen[-1][:2] == (2.0, 2.0)


def test_alarms_and_what_is_left_are_said() -> None:
    known = batch("a.mp3", "b.mp3")
    speaker = Speaker(known)
    speaker.total = 2
    alarm = WhisperAlarm(
        kind="loop", file="a.mp3", start_s=754.0, end_s=760.0, evidence="it shrinks 8.0 to 1"
    )
    assert speaker.lines(alarm) == ["WARNING: a.mp3 at 12:34: loop: it shrinks 8.0 to 1"]
    known.apply(AudioBegan(file="a.mp3", duration_s=100.0))
    speaker.lines(AudioBegan(file="a.mp3", duration_s=100.0))
    written = AudioWritten(file="a.mp3", seconds=50.0)
    known.apply(written)
    assert speaker.lines(written) == [
        "[1/2] done a.mp3: 1:40 in 50.0s, 2.0× real time, 0 segments; left 1:40 of audio, about 50.0s"
    ]

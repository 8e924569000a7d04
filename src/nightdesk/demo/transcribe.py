"""A sample item job that behaves like Whisper: prints segments with their times and writes a transcript.

Needs the standard library only and is copied into the demo's folder as ``scripts/transcribe.py``. The same recording
always gives the same transcript.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from random import Random

SEGMENT_S = 4.0
DOUBTFUL = 0.06
"""Of so many segments a model would not be sure."""
FRAME = b"\xff\xfb"
"""Every frame of an MP3 file begins so."""
SENTENCES = (
    "Well, it started with the flood in the old town.",
    "Nobody told us that the road was closed.",
    "I remember the light over the harbour that night.",
    "We counted twice and came to the same number.",
    "The council promised an answer by Friday.",
    "There were forty people in the hall, maybe fifty.",
    "She said it was the last ferry, and it was.",
    "You should ask the people who were there.",
)


def clock(seconds: float) -> str:
    """``MM:SS.mmm``, as Whisper prints it."""
    minutes, rest = divmod(seconds, 60.0)
    return f"{int(minutes):02d}:{rest:06.3f}"


def segments_of(recording: Path) -> list[dict[str, float | str]]:
    """What is said in ``recording``; its name decides."""
    source = Random(recording.name)
    count = source.randint(6, 14)
    return [
        {"start": at * SEGMENT_S, "end": (at + 1) * SEGMENT_S, "text": source.choice(SENTENCES)}
        for at in range(count)
    ]


def tell(event: str, recording: Path, **fields: object) -> None:
    """Note what happens for the Whisper screen, as `nightdesk transcribe` does; outside of a run nothing is noted."""
    desk, run = os.environ.get("NIGHTDESK_DESK"), os.environ.get("NIGHTDESK_RUN")
    if desk and run:
        path = Path(desk, ".nightdesk", "runs", run, "whisper.jsonl")
        told = {"event": event, "at_ns": time.time_ns(), "file": str(recording), **fields}
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(told) + "\n")


def quality_of(recording: Path, at: int) -> dict[str, float]:
    """How sure a model would be of a segment; now and then it is not."""
    source = Random(f"{recording.name} {at}")
    doubtful = source.random() < DOUBTFUL
    return {
        "avg_logprob": round(-source.uniform(1.05, 1.5) if doubtful else -source.uniform(0.05, 0.45), 3),
        "compression_ratio": round(source.uniform(1.2, 1.7), 2),
        "no_speech_prob": round(source.uniform(0.0, 0.2), 3),
        "temperature": 0.4 if doubtful else 0.0,
        "fallbacks": 2 if doubtful else 0,
    }


def transcribe(recording: Path, output: Path, speed: float) -> None:
    """Prints segment by segment, then writes the transcript in one go. Raises ValueError for a damaged recording."""
    if FRAME not in recording.read_bytes():
        raise ValueError(f"{recording.name} holds no MPEG frame: the download was cut")
    segments = segments_of(recording)
    began = time.monotonic()
    tell("began", recording, duration_s=len(segments) * SEGMENT_S)
    print(f"Transcribing {recording.name} with large-v3", flush=True)
    for at, segment in enumerate(segments, 1):
        time.sleep(0.35 * speed)
        # Over the percentage that stands there.
        print(
            f"\r[{clock(float(segment['start']))} --> {clock(float(segment['end']))}]  {segment['text']}",
            flush=True,
        )
        spoken = {"start_s": segment["start"], "end_s": segment["end"], "text": segment["text"]}
        tell("segment", recording, **spoken, **quality_of(recording, at))
        sys.stderr.write(f"\r{100 * at // len(segments):3d}%")
        sys.stderr.flush()
    sys.stderr.write("\n")
    output.parent.mkdir(parents=True, exist_ok=True)
    draft = output.with_suffix(".part")
    draft.write_text(json.dumps({"language": "en", "segments": segments}, indent=1), encoding="utf-8")
    draft.replace(output)
    tell("written", recording, outputs=[str(output)], seconds=round(time.monotonic() - began, 2))


def fault_of(output: Path) -> str | None:
    """What is wrong with a transcript; None for a good one."""
    try:
        segments = json.loads(output.read_text(encoding="utf-8"))["segments"]
    except (OSError, ValueError, KeyError) as fault:
        return f"{output}: {fault!r}"
    return None if segments else f"{output}: it has no segments"


def main() -> int:
    """0, or 1 where the recording is missing or damaged, or its transcript is not valid."""
    parser = argparse.ArgumentParser(description="Transcribe one recording.")
    parser.add_argument("recording", type=Path)
    parser.add_argument("--output", type=Path, default=Path("transcripts"))
    parser.add_argument("--speed", type=float, default=1.0, help="factor of all pauses; 0 has none")
    parser.add_argument("--check", action="store_true", help="only say whether the transcript is valid")
    options = parser.parse_args()
    output = options.output / f"{options.recording.stem}.json"
    if options.check:
        fault = fault_of(output)
        print(fault or f"{output} is valid")
        return 1 if fault else 0
    if not options.recording.is_file():
        print(f"error: {options.recording}: no such recording", file=sys.stderr)
        return 1
    try:
        transcribe(options.recording, output, options.speed)
    except ValueError as fault:
        print(f"error: {fault}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

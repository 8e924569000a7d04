"""A stand-in for the library openai-whisper, and a real checkpoint with random weights."""

from __future__ import annotations

import importlib.util
import math
import shutil
import struct
import wave
from pathlib import Path

STAND_IN = """
import os, signal, time
from types import SimpleNamespace
from whisper import utils

class Model:
    device = SimpleNamespace(type="cpu")
    def decode(self, segment, options):
        name, window = segment
        loops = "loop" in name
        return SimpleNamespace(
            temperature=options.temperature, avg_logprob=-1.5 if "silent" in name else -0.2,
            compression_ratio=7.5 if loops else 1.5, no_speech_prob=0.9 if "silent" in name else 0.01,
        )

def load_model(name, device=None):
    print("this must not get between the events")
    with open("loads", "a") as file:
        file.write(name + "\\n")
    if name == "none":
        raise RuntimeError("Model none not found")
    return Model()

def load_audio(path):
    return [path] * 16000 * 70

def transcribe(model, audio, verbose, **options):
    name = os.path.basename(audio[0])
    print("Detected language: German")
    if "boom" in name:
        raise RuntimeError("CUDA out of memory")
    for window in range(3):
        for temperature in (0.0, 0.2) if "loop" in name else (0.0,):
            model.decode((name, window), SimpleNamespace(temperature=temperature))
        if "killed" in name and window == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        if "silent" not in name:
            start = f"{window * 30 // 60:02d}:{window * 30 % 60:02d}.000"
            end = f"{(window * 30 + 9) // 60:02d}:{(window * 30 + 9) % 60:02d}.500"
            print(f"[{start} --> {end}]  words of window {window}")
    return {"text": "", "segments": [], "language": "de"}
"""
UTILS = """
import json, os

def get_writer(kind, folder):
    def write(result, path, options=None):
        stem = os.path.splitext(os.path.basename(path))[0]
        body = json.dumps(result) if kind == "json" else "WEBVTT\\n" if kind == "vtt" else ""
        with open(os.path.join(folder, stem + "." + kind), "w") as file:
            file.write(body)
    return write
"""
FFMPEG = """#!/bin/sh
# Decodes whatever is no text.
for each; do case "$each" in file:*) file="${each#file:}";; esac; done
if grep -q text "$file"; then echo "$file: Invalid data found when processing input" >&2; exit 1; fi
echo "  Duration: 00:01:10.00, start: 0.000000, bitrate: 705 kb/s" >&2
"""


def write_stand_in(folder: Path) -> dict[str, str]:
    """Writes library and ffmpeg below ``folder``; the environment that finds them first."""
    package, programs = folder / "library" / "whisper", folder / "programs"
    package.mkdir(parents=True)
    programs.mkdir()
    (package / "__init__.py").write_text(STAND_IN)
    (package / "utils.py").write_text(UTILS)
    (programs / "ffmpeg").write_text(FFMPEG)
    (programs / "ffmpeg").chmod(0o755)
    return {"PYTHONPATH": str(package.parent), "PATH": f"{programs}:/usr/bin:/bin"}


def why_no_whisper() -> str | None:
    """Why the real library can't be tested here; None where it can."""
    for module in ("torch", "whisper"):
        if importlib.util.find_spec(module) is None:
            return f"{module} is not installed (make whisper)"
    return None if shutil.which("ffmpeg") else "ffmpeg is not installed (Debian: apt-get install ffmpeg)"


CHECKPOINT = """
import sys, torch
from whisper.model import ModelDimensions, Whisper
torch.manual_seed(1)
sizes = dict(n_mels=80, n_audio_ctx=1500, n_audio_state=64, n_audio_head=2, n_audio_layer=1,
             n_vocab=51864, n_text_ctx=32, n_text_state=64, n_text_head=2, n_text_layer=1)
model = Whisper(ModelDimensions(**sizes))
torch.nn.init.normal_(model.decoder.positional_embedding, std=0.02)
torch.save({"dims": sizes, "model_state_dict": model.state_dict()}, sys.argv[1])
"""
"""Writes a tiny model that babbles in loops; run by the Python that has torch."""


def write_tone(path: Path, seconds: float) -> None:
    """A tone that swells, 16 kHz, mono."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        for second in range(math.ceil(seconds)):
            samples = [
                int(8000 * math.sin(at / 12) * math.sin(at / 4000))
                for at in range(second * 16_000, min(second + 1, math.ceil(seconds)) * 16_000)
            ]
            file.writeframes(struct.pack(f"<{len(samples)}h", *samples))

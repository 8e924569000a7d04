"""``nightdesk capture``: lines or JSON Lines, in order, from files and pipes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.support.wire import LAST, STREAM_HEAD, Talk, pcap, piece, request


def run(*argv: str, stdin: bytes = b"", cwd: Path | None = None) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [Path(sys.executable).with_name("nightdesk"), "capture", *argv],
        input=stdin,
        cwd=cwd,
        capture_output=True,
        timeout=60,
    )


def evening() -> bytes:
    """A slow exchange that begins first and ends last, and a quick one inside it."""
    slow, quick = Talk(40_001), Talk(40_002)
    slow.open().send(request({"model": "slow", "prompt": "x"})).answer(STREAM_HEAD + piece("tick\x1b[2J "))
    quick.at_ns = slow.at_ns
    quick.open().send(request({"model": "quick", "prompt": "x"})).answer(STREAM_HEAD + piece("done") + LAST)
    slow.at_ns = quick.at_ns
    slow.answer(piece("tock") + LAST)
    return pcap(sorted(slow.frames + quick.frames, key=lambda frame: frame[1]))


def test_json_lines_come_in_the_order_in_which_requests_began(tmp_path: Path) -> None:
    file = tmp_path / "night.pcap"
    file.write_bytes(evening())
    done = run(str(file), "--json")
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(e["id"], e["text"][-4:], e["state"]) for e in found] == [
        (1, "tock", "complete"),
        (2, "done", "complete"),
    ]
    assert found[0]["missing_bytes"] == {"request": 0, "response": 0}
    assert done.returncode == 0


def test_readable_lines_hold_no_terminal_control() -> None:
    done = run("-", stdin=evening())
    lines = done.stdout.decode().splitlines()
    assert len(lines) == 2 and "✓" in lines[0] and "tock" in lines[0]
    assert b"\x1b" not in done.stdout


def test_a_corrupt_file_gives_what_was_read_and_one_sentence() -> None:
    done = run("-", stdin=evening() + b"\xff" * 16)
    assert len(done.stdout.splitlines()) == 2
    assert done.returncode == 1
    assert b"failed at offset" in done.stderr and done.stderr.count(b"\n") <= 2


def test_a_missing_file_is_one_sentence() -> None:
    done = run("nowhere.pcap")
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.count(b"\n") == 1


def test_verdicts_obey_the_desk_of_the_folder_and_a_broken_one_hides_nothing(tmp_path: Path) -> None:
    config = tmp_path / "nightdesk.toml"
    talk = Talk(40_003).open().send(request({"model": "late", "prompt": "x"}))
    talk.at_ns += 5 * 10**9
    late = pcap(talk.answer(STREAM_HEAD + piece("It is a") + LAST).frames)
    config.write_text("[verdicts]\nslow_first_token = '2s'\n")
    strict = run("-", stdin=late, cwd=tmp_path)
    config.write_text("[verdicts]\nslow_first_token = 'many'\n")
    broken = run("-", stdin=late, cwd=tmp_path)
    assert b"slow first token" in strict.stdout and strict.stderr == b""
    assert b"slow first token" not in broken.stdout and b"complete" in broken.stdout
    assert broken.returncode == 0 and b"The usual limits of verdicts are in force" in broken.stderr

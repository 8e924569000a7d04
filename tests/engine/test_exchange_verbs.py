"""``nightdesk diff``, ``replay`` and ``cancel`` on a real desk."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.desk import LiveDesk, live_desk
from tests.support.world import NIGHTDESK


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LiveDesk]:
    with live_desk(tmp_path, monkeypatch, speed=4) as made:
        yield made


def nightdesk(desk: LiveDesk, *words: str) -> tuple[int, str, str]:
    """Status, output and complaints of a command."""
    argv = [NIGHTDESK, "--desk", str(desk.desk.folder), *words]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout, done.stderr


def test_an_exchange_is_sent_again_compared_and_ended_from_the_command_line(
    desk: LiveDesk, tmp_path: Path
) -> None:
    number = desk.chat("Name a river.", num_predict=3)
    status, out, _ = nightdesk(desk, "replay", str(number), "--model", "gemma3:4b", "--json")
    again = json.loads(out)
    assert status == 0 and again["replay_of"] == number and again["model"] == "gemma3:4b"
    assert "job" not in again

    status, out, _ = nightdesk(desk, "diff", str(number), str(again["id"]), "--json")
    found = json.loads(out)
    sections = {section["title"]: section for section in found["sections"]}
    assert status == 0 and sections["prompt"]["equal"] and not sections["options"]["equal"]
    assert {"name": "model", "left": "llama3.1:8b", "right": "gemma3:4b"} in found["facts"]
    status, out, _ = nightdesk(desk, "diff", str(number), str(again["id"]))
    assert "- model: llama3.1:8b" in out and "+ model: gemma3:4b" in out

    broken = tmp_path / "body.json"
    broken.write_text('{"model": "m",\n "prompt": }')
    status, _, said = nightdesk(desk, "replay", str(number), "--body", str(broken))
    assert status == 2 and "in line 2, column 12" in said

    status, _, said = nightdesk(desk, "cancel", str(number), "--yes")
    assert status == 2 and f"Exchange {number} is not running." in said
    with desk.asking("Tell a story.") as (client, running):
        status, out, _ = nightdesk(desk, "cancel", str(running), "--process", "--yes", "--json")
        report = json.loads(out)
        assert status == 0 and report["how"] == "process" and report["ended"]
        assert report["process"]["pid"] == client.pid
        assert client.wait(20) < 0

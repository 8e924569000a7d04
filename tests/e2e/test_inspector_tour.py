"""Traffic list and inspector in a real terminal, driven as a user would on a recorded capture."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from tests.support.walk import Step, walk
from tests.support.world import TYPED, Screen, World, until

RECORDED = Path(__file__).parents[2].parent / "shared" / "fixtures" / "ollama"
CAPTURE = RECORDED / "01-generate-stream.pcap"


@pytest.mark.skipif(not CAPTURE.exists(), reason="the recorded captures are not here")
def test_a_recorded_capture_is_listed_inspected_compared_and_copied(world: World) -> None:
    screen = world.screen(160, 48)
    screen.type(f"{TYPED} open {shlex.quote(str(CAPTURE))}")
    screen.wait_for("11 exchanges", "q leave", "▲ reply cut")
    assert "runs go on" not in screen.text()
    walk(
        screen,
        Step(("/", *"model:tiny-th"), ("tiny-think",)),
        Step(("Tab", "Enter"), ("2 found", "/model:tiny-think")),
        Step(("Escape",), ("11 exchanges",)),
        Step(("o",), ("11 exchanges",), hides="time▼"),
        Step(("w",), ("█",)),
        Step(("w", "t", "t"), ("2 tagged",)),
        Step(("Escape",), ("11 exchanges",)),
        Step(("c",), ("Columns of traffic",)),
        Step(("Escape",), ("11 exchanges",), hides="Columns of traffic"),
        Step(("v", "Enter"), ("[1 Overview]", "▲ reply cut", "→")),
    )
    read_pages(screen)
    copy_and_save(screen, world)
    walk(
        screen,
        Step(("]",), ("Exchange 8 ",)),
        Step(("[",), ("Exchange 5 ",)),
        Step(("Escape",), ("11 exchanges",)),
        Step(("Home", "Space"), ("◆",)),
        Step(("Down", "d"), ("Timing", "next difference")),
        Step(("Escape",), ("11 exchanges",), hides="next difference"),
        Step(("+",), ("marked good",)),
        Step(("C",), ("one connection",)),
        Step(("Escape",), ("11 exchanges",), hides="one connection"),
        Step(("P",), ("by model", "tiny-slow")),
        Step(("Escape",), ("11 exchanges",), hides="by model"),
        Step(("q",), ("capture closed",)),
    )


def read_pages(screen: Screen) -> None:
    """Turn the pages of the inspector, fold and search."""
    walk(
        screen,
        Step(("2",), ("── prompt", "[2 Prompt]")),
        Step(("f",), ("▸",)),
        Step(("f", "3"), ("── text",)),
        Step(("4",), ('"model"', "[4 JSON]")),
        Step(("/", *"stream", "Enter"), ("stream 1 of",)),
        Step(("Escape",), ("[4 JSON]",), hides="1 of"),
        Step(("5",), ("by the server's own clock",)),
        Step(("6",), ("Transfer-Encoding: chunked", "sha256")),
        Step(("7",), ("[verdicts]",)),
    )


def copy_and_save(screen: Screen, world: World) -> None:
    """To tmux's buffer, and to a file."""
    walk(screen, Step(("y",), ("request as curl",)), Step(("c",), ("tmux's buffer",)))
    assert screen.tmux("show-buffer").startswith("curl ")
    walk(screen, Step(("3",), ("── text",)), Step(("w",), ("Save reply",)))
    file = world.folder / "reply.txt"
    walk(screen, Step(("C-u",), ("Save reply",), hides="exchange-"))
    screen.tmux("send-keys", "-l", str(file))
    screen.wait_for(f"{file.name} ")
    walk(screen, Step(("Enter",), ("saved as",)))
    until(file.exists, "the saved reply")
    assert file.read_text().strip()


def open_capture(screen: Screen, file: Path, shows: str) -> None:
    """Open a capture from the shell."""
    screen.type(f"clear; {TYPED} open {shlex.quote(str(file))}")
    screen.wait_for(file.name[:20], shows, "q leave")


def inspect(screen: Screen, query: str, *steps: Step) -> None:
    """Open the first exchange that a filter finds, take the steps, and go back to the list."""
    screen.press("/", "C-u", *query, "Enter")
    screen.wait_for("found", f"/{query} ")
    walk(screen, Step(("Enter",), ("Exchange ", "Overview")), *steps, Step(("Escape",), (f"/{query} ",)))


@pytest.mark.skipif(not CAPTURE.exists(), reason="the recorded captures are not here")
def test_tools_thinking_images_errors_other_dialects_and_damage_are_shown_as_recorded(world: World) -> None:
    screen = world.screen(110, 36)
    open_capture(screen, RECORDED / "05-tools-and-format.pcap", "21 exchanges")
    inspect(
        screen,
        "id:6",
        Step(("3",), ("▸── thinking", "── text", "tool call get_weather", '"city": "Tōkyō"')),
        Step(("f",), ("▾── thinking",)),
        Step(("2",), ("── tools  3", '"name": "get_weather"')),
    )
    screen.press("q")
    screen.wait_for("capture closed")
    open_capture(screen, RECORDED / "09-errors.pcap", "52 exchanges")
    inspect(screen, "id:29", Step(("2",), ("268 B", "67fc1e9e")))
    inspect(screen, "id:44", Step(("1",), ("▲ server error", "→", "unexpected EOF", "✗ failed")))
    walk(
        screen,
        Step(("r",), ("Replay of exchange 44", "it is not a model server of this desk")),
        Step(("Escape",), ("/id:44 ",), hides="Replay of"),
        Step(("x",), ("This exchange is over",)),
    )
    screen.press("q")
    screen.wait_for("capture closed")
    open_capture(screen, RECORDED / "07-openai-anthropic-compat.pcap", "29 exchanges")
    inspect(
        screen,
        "id:3",
        Step(("1",), ("openai chat", "/v1/chat/completions", "✓ complete")),
        Step(("3",), ("── thinking", "── text")),
        Step(("4",), ("chat.completion.chunk",)),
    )
    inspect(
        screen,
        "id:22",
        Step(("1",), ("anthropic chat", "/v1/messages", "✓ complete")),
        Step(("3",), ("── thinking", "── text")),
        Step(("4",), ("max_tokens",)),
        Step(("f",), ("message_start",)),
    )
    screen.press("q")
    screen.wait_for("capture closed")
    open_capture(screen, RECORDED / "damaged" / "01-generate-stream.a-lost1pct.pcap", "11 exchanges")
    inspect(
        screen,
        "state:incomplete",
        Step(("3",), ("⟨", "bytes missing⟩")),
        Step(("6",), ("never came to the capture", "? incomplete")),
    )
    screen.press("q")
    screen.wait_for("capture closed")
    until(lambda: not world.ours(), "nothing to be left")

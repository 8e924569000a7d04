"""The clipboard: which way is taken in which surroundings, and what is said about it."""

from __future__ import annotations

import base64
import sys
from pathlib import Path

import pytest

from nightdesk.tui.clipboard import OSC52_BYTES, Osc52, Tool, copy, head_of, osc52, routes

EVERYTHING = {"pbcopy", "wl-copy", "xclip", "xsel", "tmux"}


def names(environment: dict[str, str], platform: str = "linux", has: set[str] = EVERYTHING) -> list[str]:
    ways = routes(environment, platform, has.__contains__)
    return [way.argv[0] if isinstance(way, Tool) else f"osc52 {way.wrap}".strip() for way in ways]


@pytest.mark.parametrize(
    ("environment", "platform", "expected"),
    [
        ({}, "darwin", ["pbcopy", "osc52"]),
        ({"SSH_CONNECTION": "a b"}, "darwin", ["osc52"]),
        ({"WAYLAND_DISPLAY": "wayland-0", "DISPLAY": ":0"}, "linux", ["wl-copy", "xclip", "xsel", "osc52"]),
        ({"DISPLAY": ":0"}, "linux", ["xclip", "xsel", "osc52"]),
        ({"DISPLAY": ":0", "SSH_TTY": "/dev/pts/1"}, "linux", ["osc52"]),
        ({}, "linux", ["osc52"]),
        ({"TMUX": "/tmp/t,1,0", "SSH_CLIENT": "x"}, "linux", ["tmux", "osc52 tmux"]),
        ({"STY": "1.pts"}, "linux", ["osc52 screen"]),
        ({"TERM": "screen-256color"}, "linux", ["osc52 screen"]),
    ],
)
def test_the_way_follows_from_the_surroundings(
    environment: dict[str, str], platform: str, expected: list[str]
) -> None:
    assert names(environment, platform) == expected


def test_a_tool_that_is_not_installed_is_no_way() -> None:
    assert names({"DISPLAY": ":0"}, has={"xsel"}) == ["xsel", "osc52"]
    assert names({"TMUX": "x"}, has=set()) == ["osc52 tmux"]


def test_the_sequence_is_wrapped_for_what_lies_between() -> None:
    plain = osc52(b"hi")
    assert plain == "\x1b]52;c;aGk=\x07"
    assert osc52(b"hi", "tmux") == "\x1bPtmux;\x1b\x1b]52;c;aGk=\x07\x1b\\"
    long = osc52(b"x" * 3000, "screen")
    pieces = long.split("\x1bP")[1:]
    assert all(len(piece) <= 768 and piece.endswith("\x1b\\") for piece in pieces)
    whole = "".join(piece[:-2] for piece in pieces)
    assert base64.b64decode(whole[len("\x1b]52;c;") : -1]) == b"x" * 3000


def test_a_cut_never_breaks_a_character() -> None:
    data = "議事録".encode()
    assert [head_of(data, most).decode() for most in (2, 3, 5, 8, 9, 20)] == [
        "",
        "議",
        "議",
        "議事",
        "議事録",
        "議事録",
    ]


def tool(tmp_path: Path, code: str) -> Tool:
    return Tool((sys.executable, "-c", code, str(tmp_path / "taken")), "the clipboard by a tool")


TAKES = "import sys; open(sys.argv[1], 'wb').write(sys.stdin.buffer.read())"


async def test_a_tool_gets_all_of_it_and_is_named(tmp_path: Path) -> None:
    written: list[str] = []
    text = "議事録\x1b[2J " * 100_000
    words = await copy(text, (tool(tmp_path, TAKES), Osc52()), written.append)
    assert words == "1.4 MB copied to the clipboard by a tool."
    assert (tmp_path / "taken").read_bytes() == text.encode() and not written


@pytest.mark.parametrize("code", ["import sys; sys.exit(1)", "import sys; sys.stdin.close(); sys.exit(2)"])
async def test_a_tool_that_fails_gives_way_to_the_terminal(tmp_path: Path, code: str) -> None:
    written: list[str] = []
    words = await copy("hi", (Tool(("/no/such/tool",), ""), tool(tmp_path, code), Osc52()), written.append)
    assert written == ["\x1b]52;c;aGk=\x07"]
    assert words.startswith("2 B sent to the terminal's clipboard by OSC 52. Some terminals ignore that")


async def test_a_tool_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nightdesk.tui.clipboard.TOOL_SECONDS", 0.3)
    written: list[str] = []
    await copy("hi", (tool(tmp_path, "import time; time.sleep(60)"), Osc52()), written.append)
    assert written


async def test_what_a_terminal_would_drop_is_cut_and_said() -> None:
    written: list[str] = []
    words = await copy("x" * 200_000, (Osc52("tmux"),), written.append)
    assert words.startswith(
        "The first 75.0 kB of 200 kB sent to the terminal's clipboard by OSC 52 through tmux"
    )
    assert len(written[0]) < OSC52_BYTES * 4 // 3 + 40

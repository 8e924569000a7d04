"""Where copied text goes: which ways there are in an environment (pure), and taking them without holding up the screen.

A clipboard tool is asked first where the viewer runs on the machine at which the user sits. Over ssh, and where no tool
is found, the terminal is asked by OSC 52, which some terminals ignore in silence: so the answer names the way.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from nightdesk.model.units import format_bytes

TOOL_SECONDS = 3.0
OSC52_BYTES = 74_994
"""Terminals that take OSC 52 take at least 100,000 signs of base64; some drop what is longer without a word."""
SCREEN_CHUNK = 760
"""GNU screen passes on at most 768 bytes at once."""

Wrap: TypeAlias = Literal["", "tmux", "screen"]


@dataclass(frozen=True, slots=True)
class Tool:
    """A program that reads the text from its standard input."""

    argv: tuple[str, ...]
    words: str
    """Where the text is then, for the notice."""


@dataclass(frozen=True, slots=True)
class Osc52:
    """The terminal's own clipboard, asked through what lies between."""

    wrap: Wrap = ""


Route: TypeAlias = Tool | Osc52

_X11 = (
    Tool(("xclip", "-selection", "clipboard"), "the clipboard by xclip"),
    Tool(("xsel", "--clipboard", "--input"), "the clipboard by xsel"),
)


def is_remote(environment: Mapping[str, str]) -> bool:
    """True in an ssh session: a clipboard tool would fill the clipboard of the wrong machine."""
    return any(environment.get(name) for name in ("SSH_CONNECTION", "SSH_CLIENT", "SSH_TTY"))


def routes(environment: Mapping[str, str], platform: str, has: Callable[[str], bool]) -> tuple[Route, ...]:
    """The ways to try, best first; the last one always is OSC 52. ``has`` tells whether a program is installed."""
    found: list[Route] = []
    if not is_remote(environment):
        found += [tool for tool in _local_tools(environment, platform) if has(tool.argv[0])]
    if environment.get("TMUX"):
        if has("tmux"):
            words = "tmux's buffer, and by tmux to the terminal"
            found.append(Tool(("tmux", "load-buffer", "-w", "-"), words))
        found.append(Osc52("tmux"))
    elif environment.get("STY") or environment.get("TERM", "").startswith("screen"):
        found.append(Osc52("screen"))
    else:
        found.append(Osc52())
    return tuple(found)


def _local_tools(environment: Mapping[str, str], platform: str) -> tuple[Tool, ...]:
    if platform == "darwin":
        return (Tool(("pbcopy",), "the clipboard by pbcopy"),)
    wayland = (Tool(("wl-copy",), "the clipboard by wl-copy"),) if environment.get("WAYLAND_DISPLAY") else ()
    return wayland + (_X11 if environment.get("DISPLAY") else ())


def head_of(data: bytes, most: int) -> bytes:
    """The first ``most`` bytes of UTF-8 text, without a broken character at the end."""
    if len(data) <= most:
        return data
    while most and data[most] & 0xC0 == 0x80:
        most -= 1
    return data[:most]


def osc52(data: bytes, wrap: Wrap = "") -> str:
    """The sequence that asks a terminal to put ``data`` on its clipboard, as tmux or screen pass it on."""
    plain = f"\x1b]52;c;{base64.b64encode(data).decode()}\x07"
    if wrap == "tmux":
        return "\x1bPtmux;" + plain.replace("\x1b", "\x1b\x1b") + "\x1b\\"
    if wrap == "screen":
        pieces = (plain[at : at + SCREEN_CHUNK] for at in range(0, len(plain), SCREEN_CHUNK))
        return "".join(f"\x1bP{piece}\x1b\\" for piece in pieces)
    return plain


def told(route: Route, sent: int, whole: int) -> str:
    """The sentence for the user: how much went where, and what may be wrong with it."""
    size = (
        f"{format_bytes(sent)}"
        if sent == whole
        else f"The first {format_bytes(sent)} of {format_bytes(whole)}"
    )
    if isinstance(route, Tool):
        return f"{size} copied to {route.words}."
    through = {"": "", "tmux": " through tmux (needs allow-passthrough)", "screen": " through screen"}[
        route.wrap
    ]
    return (
        f"{size} sent to the terminal's clipboard by OSC 52{through}. Some terminals ignore that, "
        "Apple's among them; w saves to a file."
    )


async def copy(text: str, ways: tuple[Route, ...], write: Callable[[str], None]) -> str:
    """Copy by the first way that works; the sentence about it. ``write`` sends to the terminal."""
    data = text.encode("utf-8", "replace")
    for route in ways:
        if isinstance(route, Osc52):
            head = head_of(data, OSC52_BYTES)
            write(osc52(head, route.wrap))
            return told(route, len(head), len(data))
        if await _fed(route.argv, data):
            return told(route, len(data), len(data))
    return "No clipboard can be reached from here; w saves to a file."


async def _fed(argv: tuple[str, ...], data: bytes) -> bool:
    """Whether the program took ``data`` and ended well in time.

    Its output goes nowhere: xclip and wl-copy leave a child behind that would hold a pipe open for ever.
    """
    quiet = asyncio.subprocess.DEVNULL
    try:
        process = await asyncio.create_subprocess_exec(
            *argv, stdin=asyncio.subprocess.PIPE, stdout=quiet, stderr=quiet
        )
    except OSError:
        return False
    try:
        async with asyncio.timeout(TOOL_SECONDS):
            await process.communicate(data)
    except (TimeoutError, OSError):
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        return False
    return process.returncode == 0

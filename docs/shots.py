"""``make shots``: pictures of the demo desk, taken from the running viewer, into docs/pictures.

One demo, one viewer: it goes from screen to screen as a user would, waits for what is to be seen, and is pictured at
several sizes. ``python docs/shots.py find diff`` keeps only the pictures whose names begin so.
"""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from textual.pilot import Pilot

from nightdesk.client.desk import Desk, find_desk
from nightdesk.tui.app import Viewer
from nightdesk.tui.start import make_viewer

PICTURES = Path(__file__).parent / "pictures"
NIGHTDESK = str(Path(sys.executable).with_name("nightdesk"))


def as_long(path: str, other: str) -> str:
    """``path`` in as many cells as ``other``."""
    return path.ljust(len(other), "_")[: len(other)]


HERE = str(Path(__file__).parents[1])
STAND_INS = {sys.prefix: as_long("/opt/desks/.venv", sys.prefix), HERE: as_long("/opt/desks", HERE)}
"""What the pictures show for folders of the machine on which they were taken."""
DARK, LIGHT = "nightdesk-dark", "nightdesk-light"
Size = tuple[int, int, str]
"""Columns, rows, theme."""
HOME: Size = (160, 48, DARK)
MIDDLE: Size = (120, 40, DARK)
SIZES: tuple[Size, ...] = (HOME, (120, 40, LIGHT), (80, 24, DARK))
ANSWER = "op:chat model:qwen2.5 reply>50 -verdict:context"
"""Exchanges with a reply that is worth reading."""
TALK = (
    "What happened at the harbour on Friday evening?",
    "Who saw it first, and what did they say about the light?",
    "Write three sentences for the front page.",
    "Shorter, and without the names.",
    "Now as a headline.",
)
TALKER = """
import json, sys, time, urllib.request
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
def ask(body, seconds):
    request = urllib.request.Request(sys.argv[1] + "/api/chat", json.dumps(body | {"stream": False}).encode())
    return json.loads(opener.open(request, timeout=seconds).read())["message"]
said = [{"role": "system", "content": "You are a careful newsroom editor."}]
for question in sys.argv[2:]:
    said.append({"role": "user", "content": question})
    said.append(ask({"model": "llama3.1:8b", "messages": said, "options": {"num_ctx": 2048}}, 60))
    time.sleep(0.8)
try:
    ask({"model": "qwen2.5-coder:32b", "messages": said}, 0.4)
except OSError:
    pass
"""
"""A client that the sample jobs lack: one that keeps a conversation, and gives up on the last answer."""
PATIENCE_SECONDS = 120.0
STILL_SECONDS = 0.4
"""A screen that shows the same for so long is finished."""
RESTLESS_SECONDS = 3.0
"""One that never does is pictured all the same."""


class NeverCameError(Exception):
    """What a scene waits for is not to be seen."""


class Tour:
    """The viewer, its keys, and a camera."""

    def __init__(self, pilot: Pilot[Any], viewer: Viewer, server: str, wanted: tuple[str, ...]) -> None:
        self.pilot, self.viewer, self.server, self.wanted = pilot, viewer, server, wanted

    @property
    def text(self) -> str:
        """The screen as one text."""
        strips = self.viewer.screen._compositor.render_strips()
        return "\n".join(strip.text for strip in strips)

    async def press(self, *keys: str) -> None:
        """Press one key after the other."""
        for key in keys:
            await self.pilot.press(key)
            await self.pilot.pause(0.1)

    async def until(self, *words: str) -> None:
        """Wait until all words are on the screen."""
        await self.when(lambda: all(word in self.text for word in words), " and ".join(words))

    async def when(self, true: Callable[[], bool], what: str) -> None:
        """Wait until something is true. Raises NeverCameError where it never is."""
        limit = time.monotonic() + PATIENCE_SECONDS
        while not true():
            if time.monotonic() > limit:
                raise NeverCameError(f"{what}: never came. The screen shows:\n{self.text}")
            await self.pilot.pause(0.1)

    async def only(self, query: str) -> None:
        """Show the exchanges that match, in the traffic mode."""
        await self.press("T", "escape", "slash", "ctrl+u", *query, "enter")
        await self.until(" found ")

    async def inspect(self, query: str, page: str = "1") -> None:
        """Open the newest exchange that matches."""
        await self.only(query)
        await self.press("enter")
        await self.until("1 Overview")
        await self.press(page)

    async def still(self) -> None:
        """Wait until the screen stands still."""
        seen, since, end = "", 0.0, time.monotonic() + RESTLESS_SECONDS
        while time.monotonic() < end:
            await self.pilot.pause(0.1)
            if self.text != seen:
                seen, since = self.text, time.monotonic()
            elif time.monotonic() - since > STILL_SECONDS:
                return

    async def picture(self, name: str, sizes: tuple[Size, ...] = SIZES) -> None:
        """Take pictures of what is shown; several sizes are part of the name."""
        if self.wanted and not name.startswith(self.wanted):
            return
        for columns, rows, theme in sizes:
            await self._dress(columns, rows, theme)
            picture = small(self.viewer.export_screenshot(title=self.viewer.desk_name, simplify=True))
            size = f"-{columns}x{rows}" if len(sizes) > 1 else ""
            (PICTURES / f"{name}{size}.svg").write_text(picture, encoding="utf-8")
        await self._dress(*HOME)

    async def _dress(self, columns: int, rows: int, theme: str) -> None:
        self.viewer.theme = theme
        await self.pilot.resize_terminal(columns, rows)
        await self.still()


async def desk(tour: Tour) -> None:
    """The desk, if possible while something streams; in both themes."""
    await tour.press("D", "3")
    await tour.until("context cut")
    mirror = tour.viewer.link.mirror
    rows = mirror.exchanges if mirror else {}
    await tour.when(
        lambda: any(row.state == "running" and row.fragments > 10 for row in rows.values()), "a reply"
    )
    for tone, theme in (("dark", DARK), ("light", LIGHT)):
        for columns, lines in ((160, 48), (120, 40), (80, 24)):
            await tour.picture(f"desk-{columns}x{lines}-{tone}", ((columns, lines, theme),))


async def traffic(tour: Tour) -> None:
    """The list, and the bars."""
    await tour.press("T")
    await tour.picture("traffic")
    await tour.press("w")
    await tour.picture("waterfall")
    await tour.press("w", "c")
    await tour.until("number of the exchange")
    await tour.picture("columns", (MIDDLE,))
    await tour.press("escape")


async def inspector(tour: Tour) -> None:
    """Overview with a finding, a reply, timing."""
    await tour.inspect("verdict:context_cut")
    await tour.until("context cut")
    await tour.picture("inspector-overview")
    await tour.press("escape")
    await tour.inspect(ANSWER, "3")
    await tour.until("text ")
    await tour.picture("inspector-response")
    await tour.press("5")
    await tour.until("complete exchanges with", "over time")
    await tour.picture("inspector-timing")
    await tour.press("escape")


async def replay(tour: Tour) -> None:
    """The same request to another model, and what differs."""
    await tour.only(ANSWER)
    await tour.press("r")
    await tour.until("num_ctx", "edit body")
    await tour.picture("replay")
    await tour.press("j", "enter")
    await tour.until("original", "Replay")
    await tour.when(lambda: "running" not in tour.text and "waits" not in tour.text, "the reply")
    await tour.picture("replaying")
    await tour.press("d")
    await tour.until("differences")
    await tour.press("3")
    await tour.picture("diff")
    await tour.press("escape", "escape")


async def comparison(tour: Tour) -> None:
    """One prompt, several models."""
    await tour.only(ANSWER)
    await tour.press("R")
    await tour.until("Compare models")
    await tour.press("space", "j", "space", "j", "j", "space", "j", "space", "enter")
    await tour.until("4 of 4 have answered")
    await tour.picture("comparison")
    await tour.press("escape")


async def conversation(tour: Tour) -> None:
    """What a chat said before, turn by turn; its client gave up at the end."""
    talker = [sys.executable, "-c", TALKER, tour.server, *TALK]
    await asyncio.to_thread(subprocess.run, talker, check=True)
    await tour.only("process:python op:chat -job:synthesize")
    await tour.press("C")
    await tour.until("grown", "of one conversation")
    await tour.picture("conversation")
    await tour.picture("find-conversation", (HOME,))
    await tour.press("escape")
    await tour.inspect("status:aborted")
    await tour.picture("find-client-gone", (MIDDLE,))
    await tour.press("escape")


async def find(tour: Tour) -> None:
    """What docs/inspector.md shows, pressed as its reader would."""
    await tour.inspect("verdict:=loop", "1")
    await tour.picture("find-loop", (MIDDLE,))
    await tour.press("escape")
    await tour.inspect("verdict:context_cut")
    await tour.picture("find-context-cut", (MIDDLE,))
    await tour.press("escape")
    await tour.only("load>1s")
    await tour.picture("find-reload", (MIDDLE,))
    await tour.press("escape", "P")
    await tour.until("by model", "verdicts")
    await tour.picture("profile")
    await tour.picture("find-profile", (MIDDLE,))
    await tour.picture("find-profile-narrow", ((80, 24, DARK),))
    await tour.press("s")
    await tour.until("1 Overview")
    await tour.press("5")
    await tour.until("complete exchanges with")
    await tour.picture("find-slow-timing", (MIDDLE,))
    await tour.press("escape", "escape")


async def jobs(tour: Tour) -> None:
    """All jobs, one job, its items."""
    await tour.press("J", "1", "g", "j")
    await tour.picture("jobs")
    await tour.press("enter")
    await tour.until("command", "started")
    await tour.picture("job")
    await tour.press("i")
    await tour.until("interview_07")
    await tour.picture("items")
    await tour.press("escape", "escape")


async def whisper(tour: Tour) -> None:
    """What the recordings say, and how sure the model was."""
    await tour.press("J", "1", "g", "j", "v")
    await tour.until("sure", "interview_0")
    await tour.picture("whisper")
    await tour.press("escape")


async def machine(tour: Tour) -> None:
    """Processes, accelerators with their chart, logs."""
    await tour.press("M", "4", "g")
    await tour.until("synthesize")
    await tour.picture("processes")
    await tour.press("D", "2", "z")
    await tour.until("last 10 min")
    await tour.picture("accelerators")
    await tour.press("z", "L")
    await tour.until("following")
    await tour.picture("logs")


SCENES: tuple[Callable[[Tour], Awaitable[None]], ...] = (
    desk,
    machine,
    traffic,
    inspector,
    jobs,
    whisper,
    conversation,
    replay,
    comparison,
    find,
)
FONT_FACE = re.compile(r"@font-face \{.*?\}", re.DOTALL)
"""Names a web font on a foreign host: dropped, the reader's own monospace font will do."""
CLIPS = re.compile(
    r'<clipPath id="[^"]*-line-\d+">.*?</clipPath>| clip-path="url\(#[^")]*-line-\d+\)"', re.DOTALL
)
"""One for each line: nothing here is longer than its line."""
PREFIX = re.compile(r"terminal-\d+-")
LONG = re.compile(r'(="\d+\.\d)\d+(?=")')
"""Numbers of attributes that are finer than anybody sees."""


def small(svg: str) -> str:
    """The picture without what nobody sees: a third of the size, and alike where the screen is alike."""
    text = PREFIX.sub("t", CLIPS.sub("", FONT_FACE.sub("", svg)))
    text = LONG.sub(r"\1", text).replace(' shape-rendering="crispEdges"', "")
    text = text.replace('clip-path="url(#tclip-terminal)"', 'shape-rendering="crispEdges"')
    for path, other in STAND_INS.items():
        text = text.replace(path, other)
    return "\n".join(line.strip() for line in text.splitlines() if line.strip()) + "\n"


async def walk(desk_of: Desk, server: str, wanted: tuple[str, ...]) -> None:
    """Go through all scenes; one that fails keeps the others."""
    failed: list[str] = []
    viewer = make_viewer(desk_of, theme=DARK)
    async with viewer.run_test(size=HOME[:2]) as pilot:
        tour = Tour(pilot, viewer, server, wanted)
        await tour.until("synthesize", "context cut")
        for scene in SCENES:
            try:
                await scene(tour)
                words = "done"
            except NeverCameError as fault:
                words = str(fault)
                failed.append(scene.__name__)
                await tour.press("escape", "escape", "escape", "D")
            sys.stdout.write(f"{scene.__name__}: {words}\n")
    if failed:
        raise SystemExit(f"Without all pictures: {', '.join(failed)}.")


def main(*wanted: str) -> None:
    """Run the demo without a viewer, take the pictures, end it."""
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        STAND_INS[folder] = as_long("/home/me/scripts", folder)
        demo = [NIGHTDESK, "demo", "--folder", f"{folder}/newsroom", "--no-viewer"]
        background = subprocess.Popen(demo, stdout=subprocess.PIPE, text=True)
        assert background.stdout
        try:
            address = background.stdout.readline().split()[-1]
            asyncio.run(walk(find_desk(Path(folder, "newsroom")), address, wanted))
        finally:
            background.terminate()
            background.wait()


if __name__ == "__main__":
    main(*sys.argv[1:])

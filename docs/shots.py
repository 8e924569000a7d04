"""``make shots``: pictures of the demo desk, taken from the running viewer, into docs/pictures.

``python docs/shots.py find`` takes only those whose name begins so.
"""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from nightdesk.client.desk import Desk, find_desk

PICTURES = Path(__file__).parent / "pictures"
NIGHTDESK = str(Path(sys.executable).with_name("nightdesk"))
SHOTS = (
    # (file, columns, rows, theme, keys)
    ("desk-160x48-dark", 160, 48, "nightdesk-dark", ()),
    ("desk-160x48-light", 160, 48, "nightdesk-light", ()),
    ("desk-120x40-dark", 120, 40, "nightdesk-dark", ()),
    ("desk-120x40-light", 120, 40, "nightdesk-light", ()),
    ("desk-80x24-dark", 80, 24, "nightdesk-dark", ("3",)),
    ("desk-80x24-light", 80, 24, "nightdesk-light", ("1",)),
)
FIND_SHOTS = (
    # What docs/inspector.md shows, pressed as its reader would.
    ("find-profile", 120, 40, "nightdesk-dark", ("T", "P")),
    ("find-profile-narrow", 80, 24, "nightdesk-dark", ("T", "P")),
    ("find-slow-timing", 120, 40, "nightdesk-dark", ("T", "P", "s", "5")),
    ("find-context-cut", 120, 40, "nightdesk-dark", ("T", "slash", *"verdict:context_cut", "enter", "enter")),
    ("find-loop", 120, 40, "nightdesk-dark", ("T", "slash", *"verdict:loop", "enter", "enter", "1")),
    ("find-reload", 120, 40, "nightdesk-dark", ("T", "slash", *"load>1s", "enter")),
    ("find-client-gone", 120, 40, "nightdesk-dark", ("T", "slash", *"status:aborted", "enter", "enter")),
    (
        "find-conversation",
        160,
        48,
        "nightdesk-dark",
        ("T", "slash", *"process:python3 op:chat", "enter", "C"),
    ),
)
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
WARM_UP_SECONDS = 25.0
"""Until the charts have something to show."""
STREAM_SECONDS = 20.0
KEY_SECONDS = 1.0
LOOP_SECONDS = 75.0
"""Until the batch has come to the model that ends in a loop."""
FONT_FACE = re.compile(r"@font-face \{.*?\}", re.DOTALL)
"""Names a web font on a foreign host: dropped, the reader's own monospace font will do."""


async def take(desk: Desk, name: str, columns: int, rows: int, theme: str, keys: tuple[str, ...]) -> None:
    """Take one picture, if possible of a moment in which something streams."""
    from nightdesk.tui.app import make_viewer

    viewer = make_viewer(desk, theme=theme)
    async with viewer.run_test(size=(columns, rows)) as pilot:
        limit = time.monotonic() + (STREAM_SECONDS if name.startswith("desk") else 0)
        while time.monotonic() < limit:
            await pilot.pause(0.2)
            mirror = viewer.link.mirror
            if mirror and any(
                row.state == "running" and row.fragments > 10 for row in mirror.exchanges.values()
            ):
                break
        for key in keys:
            await pilot.press(key)
            # What a key opens must be there before the next one: screens are loaded late and ask the engine.
            await pilot.pause(KEY_SECONDS if len(key) > 1 or key.isupper() else 0)
        await pilot.pause(1.2)
        picture = FONT_FACE.sub("", viewer.export_screenshot(title=f"nightdesk · {desk.name}"))
    (PICTURES / f"{name}.svg").write_text(picture, encoding="utf-8")


def main(beginning: str = "") -> None:
    """Run the demo without a viewer, take the pictures whose name begins so, end it."""
    PICTURES.mkdir(exist_ok=True)
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        demo = [NIGHTDESK, "demo", "--folder", f"{folder}/newsroom"]
        background = subprocess.Popen([*demo, "--no-viewer"], stdout=subprocess.PIPE, text=True)
        assert background.stdout
        try:
            address = background.stdout.readline().split()[-1]
            time.sleep(WARM_UP_SECONDS)
            desk = find_desk(Path(folder, "newsroom"))
            for shot in SHOTS:
                if shot[0].startswith(beginning):
                    asyncio.run(take(desk, *shot))
            time.sleep(max(0.0, begun + LOOP_SECONDS - time.monotonic()))
            subprocess.run(["python3", "-c", TALKER, address, *TALK], check=True)
            for shot in FIND_SHOTS:
                if shot[0].startswith(beginning):
                    asyncio.run(take(desk, *shot))
        finally:
            background.terminate()
            background.wait()


if __name__ == "__main__":
    main(*sys.argv[1:2])

"""``make shots``: pictures of the demo desk, taken from the running viewer, into docs/pictures."""

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
WARM_UP_SECONDS = 25.0
"""Until the charts have something to show."""
STREAM_SECONDS = 20.0
FONT_FACE = re.compile(r"@font-face \{.*?\}", re.DOTALL)
"""Names a web font on a foreign host: dropped, the reader's own monospace font will do."""


async def take(desk: Desk, name: str, columns: int, rows: int, theme: str, keys: tuple[str, ...]) -> None:
    """Take one picture, if possible of a moment in which something streams."""
    from nightdesk.tui.app import make_viewer

    viewer = make_viewer(desk, theme=theme)
    async with viewer.run_test(size=(columns, rows)) as pilot:
        limit = time.monotonic() + STREAM_SECONDS
        while time.monotonic() < limit:
            await pilot.pause(0.2)
            mirror = viewer.link.mirror
            if mirror and any(
                row.state == "running" and row.fragments > 10 for row in mirror.exchanges.values()
            ):
                break
        await pilot.press(*keys)
        await pilot.pause(1.2)
        picture = FONT_FACE.sub("", viewer.export_screenshot(title=f"nightdesk · {desk.name}"))
    (PICTURES / f"{name}.svg").write_text(picture, encoding="utf-8")


def main() -> None:
    """Run the demo without a viewer, take all pictures, end it."""
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        demo = [NIGHTDESK, "demo", "--folder", f"{folder}/newsroom"]
        background = subprocess.Popen([*demo, "--no-viewer"], stdout=subprocess.DEVNULL)
        try:
            time.sleep(WARM_UP_SECONDS)
            desk = find_desk(Path(folder, "newsroom"))
            for shot in SHOTS:
                asyncio.run(take(desk, *shot))
        finally:
            background.terminate()
            background.wait()


if __name__ == "__main__":
    main()

"""What leaves the inspector: copies, files, the editor and the pager; as the user sees it, and the files themselves."""

from __future__ import annotations

import stat
import sys
from pathlib import Path

import pytest

from nightdesk.model.errors import NightdeskError
from nightdesk.tui.app import Viewer
from nightdesk.tui.inspector.outside import command_of, private_file, save
from nightdesk.tui.inspector.parts import parts_of
from nightdesk.tui.screens.inspector import InspectorScreen
from nightdesk.tui.screens.parts import LETTERS, PartsScreen
from nightdesk.tui.screens.save import SaveScreen
from tests.support.exchanges import HOSTILE, exchange
from tests.support.viewer import screen_text, until
from tests.tui.test_inspector import opened

TOOL = """#!{python}
import sys
open({taken!r}, "wb").write(sys.stdin.buffer.read())
"""


@pytest.fixture
def copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with xclip that writes what it gets to this file."""
    taken = tmp_path / "taken"
    tool = tmp_path / "bin" / "xclip"
    tool.parent.mkdir()
    tool.write_text(TOOL.format(python=sys.executable, taken=str(taken)))
    tool.chmod(0o700)
    for name in ("SSH_CONNECTION", "SSH_CLIENT", "SSH_TTY", "TMUX", "STY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DISPLAY", ":9")
    monkeypatch.setenv("PATH", str(tool.parent))
    monkeypatch.setattr(sys, "platform", "linux")
    return taken


def notices(app: Viewer) -> str:
    """What the notices say, wherever the screen breaks their lines."""
    return "\n".join(notice.message for notice in app._notifications)


# Copying


async def test_y_offers_the_parts_and_a_letter_copies_one_by_the_tool(copied: Path) -> None:
    async with opened(exchange()) as (app, pilot, _):
        await pilot.press("y")
        await until(pilot, lambda: isinstance(app.screen, PartsScreen))
        for words in (
            "this page (Response)",
            "prompt",
            "system prompt",
            "reply",
            "thinking",
            "request as curl",
        ):
            assert words in screen_text(app)
        await pilot.press("r")
        await until(pilot, lambda: "reply: 38 B copied to the clipboard by xclip." in screen_text(app))
        assert copied.read_text() == "## Executive Summary\n\nAll is **well**."
        await pilot.press("y")
        await until(pilot, lambda: isinstance(app.screen, PartsScreen))
        await pilot.press("c")
        await until(pilot, lambda: "masked when it was recorded" in notices(app))
        assert "curl -sS" in copied.read_text() and "PUT-YOUR-OWN-HERE" in copied.read_text()


async def test_enter_copies_what_the_page_is_about(copied: Path) -> None:
    async with opened(exchange()) as (app, pilot, _):
        await pilot.press("2", "y")
        await until(pilot, lambda: isinstance(app.screen, PartsScreen))
        await pilot.press("enter")
        await until(pilot, lambda: "prompt: " in screen_text(app) and "by xclip" in screen_text(app))
        assert copied.read_text().startswith("## system\n\nYou summarise.\n\n## user\n\nSummarise this.")


async def test_over_ssh_the_terminal_is_asked_and_the_notice_says_so(
    copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSH_TTY", "/dev/pts/9")
    async with opened(exchange()) as (app, pilot, _):
        sent: list[str] = []
        assert app._driver is not None
        monkeypatch.setattr(app._driver, "write", sent.append)
        await pilot.press("y", "s")
        await until(pilot, lambda: "by OSC 52" in notices(app))
        assert "\x1b]52;c;WW91IHN1bW1hcmlzZS4=\x07" in sent and not copied.exists()


def test_every_part_has_a_key_of_its_own_and_is_exact() -> None:
    shown = exchange(text=HOSTILE)
    parts = parts_of(shown, "Response", lambda: "the page")
    assert [part.key for part in parts] == list(LETTERS)
    texts = {part.name: part.text() for part in parts}
    assert texts["reply"] == HOSTILE and texts["this page (Response)"] == "the page"
    assert texts["request body"] == shown.request_body and texts["response body"] == shown.response_body
    assert "nightdesk show 1" in texts["one line about it"] and "\n" not in texts["one line about it"]


# Files


async def test_w_saves_what_the_page_is_about_and_never_overwrites_silently(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with opened(exchange()) as (app, pilot, _):
        await pilot.press("w")
        await until(pilot, lambda: isinstance(app.screen, SaveScreen))
        assert "exchange-1-reply.md" in screen_text(app)
        await pilot.press("enter")
        await until(pilot, lambda: "saved as" in screen_text(app))
        path = tmp_path / "exchange-1-reply.md"
        assert path.read_text() == "## Executive Summary\n\nAll is **well**."
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        path.write_text("mine")
        await pilot.press("w", "enter")
        await until(pilot, lambda: "exists already (4 B): enter again replaces it." in screen_text(app))
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, InspectorScreen))
        assert path.read_text() == "mine"
        await pilot.press("w", "enter")
        await until(pilot, lambda: "enter again replaces it." in screen_text(app))
        await pilot.press("enter")
        await until(pilot, lambda: path.read_text().startswith("## Exec"))
        assert [each.name for each in tmp_path.iterdir()] == [path.name]


async def test_a_name_that_can_not_be_written_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with opened(exchange()) as (app, pilot, _):
        await pilot.press("w", "home")
        await pilot.press(*"no/such/", "enter")
        await until(pilot, lambda: "There is no folder" in screen_text(app))
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, InspectorScreen))


def test_a_file_that_appears_in_the_meantime_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("theirs")
    with pytest.raises(NightdeskError, match="exists already"):
        save(path, "mine", over=False)
    assert path.read_text() == "theirs"
    with pytest.raises(NightdeskError, match="can't be written"):
        save(tmp_path / "none" / "a", "mine", over=True)


def test_what_is_looked_at_is_private_and_gone_afterwards() -> None:
    with private_file("reply.md", b"secret") as path:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert not path.parent.exists()


# The editor and the pager


def test_the_users_program_is_split_as_a_shell_would_without_one() -> None:
    has = {"less", "vi"}.__contains__
    assert command_of("editor", {"VISUAL": "code --wait 'a b'", "EDITOR": "vi"}, has) == (
        "code",
        "--wait",
        "a b",
    )
    assert command_of("editor", {"EDITOR": "emacs -nw; rm x"}, has) == ("emacs", "-nw;", "rm", "x")
    assert command_of("editor", {"EDITOR": " "}, has) == ("vi",)
    assert command_of("pager", {}, has) == ("less",)
    with pytest.raises(NightdeskError, match=r"\$PAGER can't be used"):
        command_of("pager", {"PAGER": "less 'x"}, has)
    with pytest.raises(NightdeskError, match="There is no pager"):
        command_of("pager", {}, set().__contains__)


async def test_a_terminal_that_can_not_be_lent_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAGER", "true")
    async with opened(exchange()) as (app, pilot, _):
        await pilot.press("vertical_line")
        await until(pilot, lambda: "can't be given to another program" in " ".join(screen_text(app).split()))

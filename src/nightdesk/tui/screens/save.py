"""Asks for the name of a file. One that exists is replaced only after a second enter."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from textual import on
from textual.app import ComposeResult
from textual.widgets import Input, Static

from nightdesk.model.units import format_bytes
from nightdesk.tui.text import Cell, line
from nightdesk.tui.widgets.field import Field
from nightdesk.tui.widgets.sheet import Sheet


class Target(NamedTuple):
    """Where to save, and whether a file that is there may be replaced."""

    path: Path
    over: bool


class SaveScreen(Sheet[Target]):
    """Answers with the target, None when the user goes back."""

    def __init__(self, what: str, name: str) -> None:
        super().__init__()
        self.what = what
        self.proposed = name
        self._warned: Path | None = None

    def compose_sheet(self) -> ComposeResult:
        """The line to type in, and what would happen."""
        yield Field(self.proposed, compact=True, select_on_focus=False, id="name")
        yield Static(id="effect", markup=False)

    def on_mount(self) -> None:
        """Propose a name."""
        self.show_title(line("Save ", Cell(self.what, "strong")))
        # Widget.focus() takes effect later: keys typed meanwhile would be lost.
        self.set_focus(self.query_one(Input))
        self._explain()

    @property
    def path(self) -> Path:
        """What is typed, from the folder of the viewer."""
        typed = self.query_one(Input).value.strip()
        try:
            return Path.cwd() / Path(typed).expanduser()
        except (RuntimeError, OSError):
            return Path(typed)

    def _say(self, words: str, *, is_warning: bool = False) -> None:
        self.query_one("#effect", Static).update(line(Cell(words, "warn" if is_warning else "muted")))

    @on(Input.Changed)
    def _explain(self) -> None:
        self._warned = None
        path = self.path
        self._say(f"enter saves in {path.parent}, readable by you only")

    @on(Input.Submitted)
    def _submitted(self) -> None:
        path = self.path
        if not self.query_one(Input).value.strip() or "\0" in str(path):
            return
        if path.is_dir():
            self._say(f"{path} is a folder: add a name.", is_warning=True)
        elif not path.parent.is_dir():
            self._say(f"There is no folder {path.parent}.", is_warning=True)
        elif (path.exists() or path.is_symlink()) and self._warned != path:
            self._warned = path
            size = format_bytes(path.stat().st_size) if path.exists() else "a broken link"
            self._say(f"{path.name} exists already ({size}): enter again replaces it.", is_warning=True)
        else:
            self.dismiss(Target(path, self._warned == path))

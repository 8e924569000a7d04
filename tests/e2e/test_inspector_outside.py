"""The inspector in a real terminal: it lends the terminal to the user's programs and gets it back; copies by tmux."""

import os
import shlex
import sys
from pathlib import Path

import pytest

from tests.support.world import Screen, World, until

ROOT = Path(__file__).parents[2]
SCRIPT = """
from tests.support.exchanges import ExchangeEngine, exchange
from tests.support.viewer import viewer

viewer(ExchangeEngine(exchange(text={text!r})), mode="traffic").run()
"""
PROGRAM = """#!{python}
import os, stat, sys
path = sys.argv[-1]
told = [repr(sys.argv[1:-1]), oct(stat.S_IMODE(os.stat(path).st_mode)), path, ascii(open(path, newline="").read())]
with open({taken!r}, "w") as file:
    file.write("\\n".join(told))
print("PROGRAM HAS THE TERMINAL")
try:
    sys.stdin.readline()
except KeyboardInterrupt:
    pass
"""
TEXT = "## Reply\x1b[2J"


def open_inspector(world: World, tmp_path: Path, **environment: str) -> Screen:
    script = tmp_path / "run.py"
    script.write_text(SCRIPT.format(text=TEXT))
    given = {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)]), **environment}
    words = " ".join(f"{name}={shlex.quote(value)}" for name, value in given.items())
    screen = world.screen(120, 40)
    screen.type(f"env {words} {sys.executable} {script}")
    screen.wait_for("qwen2.5-coder")
    screen.press("Enter")
    screen.wait_for("── text")
    return screen


@pytest.mark.parametrize(("key", "variable"), [("e", "VISUAL"), ("|", "PAGER")])
def test_the_terminal_is_lent_and_comes_back(world: World, tmp_path: Path, key: str, variable: str) -> None:
    taken = tmp_path / "taken"
    program = tmp_path / "my program"
    program.write_text(PROGRAM.format(python=sys.executable, taken=str(taken)))
    program.chmod(0o700)
    command = f"{shlex.quote(str(program))} --flag 'two words'"
    screen = open_inspector(world, tmp_path, **{variable: command})
    screen.press(key)
    screen.wait_for("PROGRAM HAS THE TERMINAL")
    told = taken.read_text().split("\n")
    assert told[:2] == ["['--flag', 'two words']", "0o600"]
    assert told[3] == ascii(TEXT if key == "e" else TEXT.replace("\x1b", "\ufffd"))
    assert Path(told[2]).exists()
    screen.press("C-c")
    screen.wait_for("── text")
    until(lambda: not Path(told[2]).parent.exists(), "the file is gone")
    screen.press("Escape")
    screen.wait_for("3 Ollama traffic")


def test_within_tmux_text_is_copied_to_its_buffer(world: World, tmp_path: Path) -> None:
    screen = open_inspector(world, tmp_path)
    screen.press("y")
    screen.wait_for("request as curl")
    screen.press("r")
    screen.wait_for("tmux's buffer")
    assert screen.tmux("show-buffer") == TEXT

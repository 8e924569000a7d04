"""``make keys``: writes docs/keys.md from the viewer's own bindings, so that the page can't be wrong."""

from __future__ import annotations

import importlib
from itertools import groupby
from pathlib import Path

from textual.binding import Binding
from textual.keys import key_to_character

from nightdesk.tui import keymap

PAGE = Path(__file__).with_name("keys.md")
HEAD = """# Keys

Written by `make keys` from the program. `?` in the viewer shows the keys of the focused pane. Every binding can be
given other keys by its id:

```toml
[viewer.keys]
"jobs.kill" = "ctrl+k"
```

`q` leaves the viewer only: engine and runs go on. `ctrl+c` never ends a job. Destructive keys ask first and show
exactly what they will hit; the capital letter is the hard variant.
"""
TITLES = {
    "app": "Everywhere",
    "mode": "Modes",
    "desk": "Panes",
    "pane": "The focused pane",
    "grid": "Lists",
    "lines": "Text and logs",
    "jobs": "1 Jobs",
    "accelerators": "2 Accelerators",
    "traffic": "3 Ollama traffic",
    "processes": "4 Processes",
    "logs": "5 Logs",
    "loglines": "5 Logs, within the lines",
    "inspector": "An exchange",
    "page": "An exchange, within a page",
    "parts": "An exchange: choice of a part",
    "job": "A job",
    "items": "Choice of an item",
    "run_items": "The items of a run",
    "item": "An item of a run",
    "outputs": "The outputs of a job",
    "failure": "A failed attempt",
    "trial": "A single run or a dry run",
    "whisper": "A transcription",
    "graph": "The graph of jobs",
    "start_at": "Starting a job later",
    "diff": "A diff",
    "conversation": "A conversation",
    "profile": "A profile",
    "models": "Choice of models",
    "replay": "A replay before it is sent",
    "replaying": "A replay under way",
    "comparison": "Answers of several models",
    "cancel": "Ending an exchange",
    "note": "Mark and note",
    "columns": "Columns of a list",
    "log_place": "Going to a place in a log",
    "log_errors": "The errors of a log",
    "accelerator": "A line of the accelerators",
    "process": "A process",
    "stacks": "Stacks of a process",
    "confirm": "A question",
    "filter": "The filter line",
    "help": "Help",
    "sheet": "Screens over the desk",
}


def page() -> str:
    """The whole page."""
    importlib.import_module("nightdesk.tui.app")  # loads every class that has bindings
    ids = {id_: binding for id_, binding in keymap.all_bindings().items() if binding.description}
    order = list(TITLES)
    groups = sorted(
        ids, key=lambda i: (order.index(_group(i)) if _group(i) in order else len(order), _group(i))
    )
    text = HEAD
    for group, members in groupby(groups, _group):
        title = TITLES.get(group, group.replace("_", " ").capitalize())
        text += f"\n## {title}\n\n| keys | does | id |\n|---|---|---|\n"
        text += "".join(
            f"| {_keys(ids[m])} | {ids[m].tooltip or ids[m].description} | `{m}` |\n" for m in members
        )
    return text


def _group(binding_id: str) -> str:
    return binding_id.partition(".")[0]


def _keys(binding: Binding) -> str:
    return " ".join(f"`{_shown(key)}`" for key in binding.key.split(","))


def _shown(key: str) -> str:
    character = "/" if key == "slash" else key_to_character(key)
    return character if character and character.isprintable() and character != " " else key


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")

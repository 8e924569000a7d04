"""Items: how a command line is filled for one item, where its output is, and whether it needs work.

Nothing here looks at the disk, and there is no shell: a command is split first and filled afterwards, so an item
with blanks, quotes or semicolons stays one argument.
"""

from __future__ import annotations

import re
import shlex
from pathlib import PurePosixPath

from nightdesk.model.errors import UsageError

_PLACE = re.compile(r"\{(item|stem|name|index|run_dir)\}")
_ITEM_PLACE = re.compile(r"\{(item|stem|name)\}")
_DIGITS = re.compile(r"(\d+)")


def split_command(command: str) -> tuple[str, ...]:
    """The arguments of a command as a shell would split them, without anything that a shell expands.

    Raises UsageError for an open quote and for an empty command.
    """
    try:
        arguments = tuple(shlex.split(command))
    except ValueError as fault:
        raise UsageError(
            f"The command can't be split into arguments ({fault}): {command}",
            "Close the quotes in nightdesk.toml.",
        ) from fault
    if not arguments:
        raise UsageError("The command is empty.", "Give the job a command in nightdesk.toml.")
    return arguments


def with_model(arguments: tuple[str, ...], model: str | None) -> tuple[str, ...]:
    """The arguments with the model in its place; unchanged without one."""
    return arguments if model is None else tuple(part.replace("{model}", model) for part in arguments)


def names_item(command: str) -> bool:
    """Whether the command is made for one item: it holds ``{item}``, ``{stem}`` or ``{name}``."""
    return _ITEM_PLACE.search(command) is not None


def fill(arguments: tuple[str, ...], *, item: str | None, index: int, run_dir: str) -> tuple[str, ...]:
    """The arguments with their places filled, each once: braces in a value are left alone.

    ``index`` counts from 1. An item that begins with a hyphen gets ``./`` in front, so that no command takes it
    for an option.
    """
    values = {"index": str(index), "run_dir": run_dir}
    if item is not None:
        values |= _item_values(item)
    return tuple(_PLACE.sub(lambda place: values.get(place[1], place[0]), part) for part in arguments)


def _item_values(item: str) -> dict[str, str]:
    path = PurePosixPath(item)
    return {"item": f"./{item}" if item.startswith("-") else item, "stem": path.stem, "name": path.name}


def output_path(template: str, item: str) -> str:
    """Where the output of an item is expected."""
    values = _item_values(item) | {"item": item}
    return _ITEM_PLACE.sub(lambda place: values[place[1]], template)


def is_up_to_date(item_ns: int | None, output_ns: int | None, output_bytes: int) -> bool:
    """Whether an output makes work on its item needless: it exists, is not empty and not older than the item.

    Times are those of the last change; None where there is no such file.
    """
    if output_ns is None or output_bytes == 0:
        return False
    return item_ns is None or output_ns >= item_ns


def natural_order(item: str) -> tuple[tuple[int, int, str], ...]:
    """Sort key that puts ``part 9`` before ``part 10``."""
    parts = _DIGITS.split(item)
    return tuple((0, int(p), p) if p.isdecimal() and p.isascii() else (1, 0, p) for p in parts if p)


def shown_command(arguments: tuple[str, ...]) -> str:
    """The arguments as a person would type them."""
    return shlex.join(arguments)

"""Items on disk: which there are, and which have valid outputs already."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from pathlib import Path

from nightdesk.core.items import is_up_to_date, natural_order, output_path
from nightdesk.core.plans import Plan


def find_items(folder: Path, pattern: str) -> tuple[str, ...]:
    """The files that match, relative to ``folder``, in natural order; folders where the pattern ends with a slash.

    Names that are no UTF-8 are left out: they could not be shown or named by anybody.
    """
    wants_folders = pattern.endswith("/")
    matches = glob.iglob(os.path.expanduser(pattern), root_dir=folder, recursive=True)  # noqa: PTH111, PTH207 - Path.glob refuses absolute patterns
    found = (name for name in matches if _is_text(name) and (wants_folders or not (folder / name).is_dir()))
    return tuple(sorted(found, key=natural_order))


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def outputs_are_valid(plan: Plan, start: int) -> Iterator[bool]:
    """For each item from index ``start`` on, whether its output makes work on it needless."""
    folder = Path(plan.folder)
    for item in (plan.items or ())[start:]:
        yield plan.outputs is not None and _is_valid(folder / item, folder / output_path(plan.outputs, item))


def count_valid(plan: Plan, start: int) -> int:
    """How many items in a row, from index ``start`` on, need no work."""
    count = 0
    for valid in outputs_are_valid(plan, start):
        if not valid:
            break
        count += 1
    return count


def listing(plan: Plan) -> str:
    """What a run would do, one line for each item."""
    valid = list(outputs_are_valid(plan, 0))
    items = plan.items or ()
    lines = [f"{'skip' if done else 'do  '}  {item}" for item, done in zip(items, valid, strict=True)]
    lines.append(f"{len(items) - sum(valid)} of {len(items)} items would be worked on.")
    return "\n".join(lines) + "\n"


def _is_valid(item: Path, output: Path) -> bool:
    try:
        result = output.stat()
    except OSError:
        return False
    try:
        changed_ns = item.stat().st_mtime_ns
    except OSError:
        return False
    return is_up_to_date(changed_ns, result.st_mtime_ns, result.st_size)

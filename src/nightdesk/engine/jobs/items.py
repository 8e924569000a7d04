"""Items on disk: which there are, and which have valid outputs already."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

from nightdesk.core import markers
from nightdesk.core.jobs.items import fill, is_up_to_date, natural_order, output_path, split_command
from nightdesk.core.jobs.plans import Plan
from nightdesk.engine.jobs.globs import matching
from nightdesk.engine.jobs.short_commands import Answer, ShortCommandError, ask
from nightdesk.model.config import ItemsSource
from nightdesk.model.errors import UsageError

CHECKS = 3


Refuses: TypeAlias = Callable[[Plan, int, Path, Callable[[], bool]], str | None]
"""Why the output of an item is not accepted, None where it is; given the run's folder, and when nobody waits."""


def _wanted() -> bool:
    """For a question whose answer somebody waits for in any case."""
    return False


def find_items(
    folder: Path,
    source: str | ItemsSource | None,
    env: Mapping[str, str] | None = None,
    left_out: list[str] | None = None,
) -> tuple[str, ...]:
    """The items of a job, each once. Raises UsageError where the source can't be read.

    Files that match a glob come relative to ``folder`` in natural order, folders where the pattern ends with a
    slash. Names that are no UTF-8 are left out, as they could not be shown or named by anybody; ``left_out`` gets
    them as far as they can be read. A command that lists items runs in ``folder`` with the job's ``env``.
    """
    if source is None:
        return ()
    if isinstance(source, str):
        return _matching(folder, source, [] if left_out is None else left_out)
    listed = _listed(folder, source, env or {})
    return tuple(dict.fromkeys(item for item in listed if item and "\0" not in item))


def _matching(folder: Path, pattern: str, left_out: list[str]) -> tuple[str, ...]:
    wants_folders = pattern.endswith("/")
    found = {name for name in matching(folder, pattern) if wants_folders or not (folder / name).is_dir()}
    unnamed = sorted(name for name in found if not _is_text(name))
    left_out += [os.fsencode(name).decode("utf-8", "replace") for name in unnamed]
    return tuple(sorted(found.difference(unnamed), key=natural_order))


def _listed(folder: Path, source: ItemsSource, env: Mapping[str, str]) -> Iterator[str]:
    if source.command is not None:
        yield from _lines(_output(folder, source.command, env))
        return
    path = folder / os.path.expanduser(source.lines or source.jsonl or "")  # noqa: PTH111 - a Path would lose nothing, a name like ~x does
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as fault:
        raise UsageError(
            f"The items in {path} can't be read: {fault}.", "Check items in nightdesk.toml."
        ) from fault
    if source.lines is not None:
        yield from _lines(text)
        return
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield _item_in(line, source.key, f"{path}, line {number}")


def _lines(text: str) -> Iterator[str]:
    """Only a line feed ends a line: the name of a file may hold what else Unicode takes for one."""
    for line in text.split("\n"):
        if line.strip() and not line.startswith("#"):
            yield line.strip()


def _item_in(line: str, key: str, place: str) -> str:
    try:
        value: Any = msgspec.json.decode(line)
    except msgspec.DecodeError as fault:
        raise UsageError(f"{place} is not JSON: {fault}.", "Each line is one JSON value.") from fault
    if isinstance(value, dict):
        value = value.get(key)
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    raise UsageError(
        f"{place} has no text under {key!r}.", 'Name the key: items = { jsonl = "…", key = "…" }.'
    )


def _output(folder: Path, command: str, env: Mapping[str, str]) -> str:
    environment = {name: value for name, value in os.environ.items() if name not in markers.MARKERS}
    try:
        done = ask(split_command(command), folder, {**environment, **env})
    except (OSError, ShortCommandError) as fault:
        raise UsageError(f"`{command}` can't list the items: {fault}.", "Try it in a shell.") from fault
    if done.exit_status:
        said = done.errors.decode("utf-8", "replace").strip().splitlines()
        raise UsageError(
            f"`{command}` can't list the items: it ended with {done.exit_status}"
            f"{': ' + said[-1] if said else ''}.",
            "Try it in a shell.",
        )
    return done.output.decode("utf-8", "replace")


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_valid(
    plan: Plan,
    index: int,
    run_dir: Path,
    unwanted: Callable[[], bool] = _wanted,
    refuses: Refuses | None = None,
) -> bool:
    """Whether the output of an item makes work on it needless: it is there, not older than the item, and rules and
    check of the job accept it. Blocks as long as that takes. False for a job that names neither outputs nor a check.
    """
    return why_valid(plan, index, run_dir, unwanted, refuses)[0]


def why_valid(
    plan: Plan,
    index: int,
    run_dir: Path,
    unwanted: Callable[[], bool] = _wanted,
    refuses: Refuses | None = None,
) -> tuple[bool, str]:
    """Whether an item needs no work, and why it does or does not, in a few words. ``refuses`` looks at its output."""
    if plan.outputs is None and not plan.check:
        return False, ""
    if plan.again:
        return False, "wanted again"
    item = (plan.items or ())[index]
    folder = Path(plan.folder)
    reason = ""
    if plan.outputs is not None:
        output = output_path(plan.outputs, item)
        if not _is_fresh(folder / item, folder / output):
            return False, f"{output} {_staleness(folder / output)}"
        if _is_distrusted(folder / output, plan.distrusted.get(item)):
            return False, f"{output} was left by an attempt that did not end well"
        if _is_distrusted(folder / output, plan.flagged.get(item)):
            return False, f"{output} is flagged"
        reason = f"{output} is there and not older"
    if not plan.check and plan.rules is None:
        return True, reason
    fault = (refuses or check_output)(plan, index, run_dir, unwanted)
    if fault is not None:
        return False, fault
    who = "the check" if plan.rules is None else "its rules"
    return True, f"{reason}{' and ' if reason else 'its output is '}accepted by {who}"


def _is_distrusted(output: Path, left_ns: int | None) -> bool:
    try:
        return left_ns is not None and output.stat().st_mtime_ns <= left_ns
    except OSError:
        return True


def _staleness(output: Path) -> str:
    try:
        size = output.stat().st_size
    except OSError:
        return "is missing"
    return "is older than the item" if size else "is empty"


def check_output(plan: Plan, index: int, run_dir: Path, unwanted: Callable[[], bool] = _wanted) -> str | None:
    """Why the job's check does not accept the output of an item; None where it does.

    A check that was killed says nothing about the output: it is made again, a few times. One is broken off when
    ``unwanted`` becomes true, as the run is being ended.
    """
    item = (plan.items or ())[index]
    arguments = fill(plan.check, item=item, index=index + 1, run_dir=str(run_dir))
    try:
        done, made = _checked(plan, arguments, run_dir, unwanted), 1
        while done.exit_status < 0 and made < CHECKS and not unwanted():
            done, made = _checked(plan, arguments, run_dir, unwanted), made + 1
    except (OSError, ShortCommandError) as fault:
        return f"The check of its output could not be run: {fault}."
    if done.exit_status == 0:
        return None
    if done.exit_status < 0:
        return f"The check of its output was ended by signal {-done.exit_status}, {made} times."
    said = (done.output + done.errors).decode("utf-8", "replace").strip().splitlines()
    return f"The check of its output ended with {done.exit_status}{': ' + said[-1] if said else ''}."


def _checked(plan: Plan, arguments: tuple[str, ...], run_dir: Path, unwanted: Callable[[], bool]) -> Answer:
    own = {**plan.env, markers.RUN: run_dir.name, markers.JOB: plan.job}
    return ask(arguments, plan.folder, {**os.environ, **own}, unwanted=unwanted)


def missing_output(plan: Plan, index: int) -> str | None:
    """Why an item that ran well is not done all the same: its output is not there, or not accepted."""
    if plan.outputs is None:
        return None
    path = Path(plan.folder) / output_path(plan.outputs, (plan.items or ())[index])
    try:
        size = path.stat().st_size
    except OSError:
        return f"The command ended with 0, but its output {path} is missing."
    return None if size else f"The command ended with 0, but its output {path} is empty."


def listing(
    plan: Plan, run_dir: Path, unwanted: Callable[[], bool] = _wanted, refuses: Refuses | None = None
) -> str:
    """What a run would do, one line for each item, with the reason; nothing once that is ``unwanted``."""
    items = plan.items or ()
    found = []
    for index in range(len(items)):
        if unwanted():
            return ""
        found.append(why_valid(plan, index, run_dir, unwanted, refuses))
    lines = []
    for item, (is_done, reason) in zip(items, found, strict=True):
        lines.append(f"{'skip' if is_done else 'do  '}  {item}{f'  ({reason})' if reason else ''}")
    left = sum(not is_done for is_done, _ in found)
    lines.append(f"{left} of {len(items)} items would be worked on, {len(items) - left} would be skipped.")
    lines += [plan.left_out] if plan.left_out else []
    return "\n".join(lines) + "\n"


def _is_fresh(item: Path, output: Path) -> bool:
    try:
        result = output.stat()
    except OSError:
        return False
    try:
        changed_ns = item.stat().st_mtime_ns
    except OSError:
        # An item that is no file can't have changed.
        changed_ns = None
    return is_up_to_date(changed_ns, result.st_mtime_ns, result.st_size)

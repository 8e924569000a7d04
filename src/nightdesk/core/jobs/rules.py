"""What must hold between the values of jobs: commands that can be split, items that exist, needs without circles."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from nightdesk.core.faults import Fault, nearest, section_name, shown
from nightdesk.core.jobs.items import names_item, split_command
from nightdesk.core.jobs.slots import capacity
from nightdesk.model.config import DeskConfig, ItemsSource, JobSection
from nightdesk.model.errors import UsageError

PLACES = ("item", "stem", "name", "index", "run_dir", "model")
_NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]*"
_PLACE = r"\{([a-z_]+)\}"


def find_job_faults(config: DeskConfig) -> list[Fault]:
    """What is wrong between the keys of a configuration whose single values are all right."""
    faults = list(_list_faults(config))
    for name, job in config.jobs.items():
        faults += _job_faults(name, job, config.jobs)
        faults += _slot_faults(name, job, config.slots)
    return faults + list(_circles(config.jobs))


def glob_fault(pattern: str) -> str | None:
    """Why ``pattern`` can't be a glob, None where it can."""
    if not pattern.strip():
        return "it is empty"
    if "\0" in pattern:
        return "it holds a NUL character"
    bare = re.sub(r"\[!?\]?[^]]*\]", "", pattern)
    if "[" in bare:
        return "a [ is never closed"
    if any("**" in part and part != "**" for part in pattern.split("/")):
        return "** must stand alone between slashes"
    return None


def _list_faults(config: DeskConfig) -> Iterator[Fault]:
    for pattern in config.watch.logs:
        if reason := glob_fault(pattern):
            yield Fault(("watch", "logs"), f"[watch] logs holds the glob {shown(pattern)}: {reason}")
    for pattern in config.export.redact:
        if reason := _expression_fault(pattern):
            yield Fault(
                ("export", "redact"), f"[export] redact holds the expression {shown(pattern)}: {reason}"
            )


def _expression_fault(pattern: str) -> str | None:
    """Why ``pattern`` can't be used to find something, None where it can."""
    try:
        finds_nothing = re.compile(pattern).match("")
    except (re.error, RecursionError, OverflowError) as fault:
        return f"{fault}"
    return "it finds empty text everywhere" if finds_nothing else None


def _job_faults(name: str, job: JobSection, jobs: Mapping[str, JobSection]) -> Iterator[Fault]:
    path = ("jobs", name)
    head = section_name(path)
    if not re.fullmatch(_NAME, name):
        yield Fault(path, f"{head}: the name of a job may hold letters, digits, - _ and . only")
    for key in ("command", "single", "dry_run", "check"):
        yield from _command_faults((*path, key), getattr(job, key))
        if job.model is None and "{model}" in (getattr(job, key) or ""):
            yield Fault((*path, key), f"{head} {key} holds {{model}}, but the job has no model")
    if names_item(job.command) and job.items is None:
        yield Fault(
            (*path, "command"),
            f'{head} command holds {{item}}, but the job has no items: add items = "audio/*.mp3"',
        )
    yield from _items_faults(path, job)
    yield from _fallback_faults(path, job)
    yield from _output_faults(path, job)
    if job.outputs is not None and job.items is None:
        yield Fault((*path, "outputs"), f"{head} outputs is given, but the job has no items")
    for key in ("needs", "needs_items"):
        for need in getattr(job, key):
            if need not in jobs:
                meant = nearest(need, jobs)
                hint = f"; did you mean {meant!r}?" if meant else ""
                yield Fault((*path, key), f"{head} {key} {shown(need)}, which is not a job{hint}")
            elif key == "needs_items" and (job.items is None or jobs[need].items is None):
                yield Fault((*path, key), f"{head} needs_items {shown(need)}: both jobs must have items")


def _slot_faults(name: str, job: JobSection, slots: Mapping[str, int]) -> Iterator[Fault]:
    path = ("jobs", name, "uses")
    for slot, wanted in job.uses.items():
        there = capacity(slot, slots)
        if wanted > there:
            hint = "" if slot in slots else f"; [slots] {slot} = {wanted} makes room"
            yield Fault(
                path, f"{section_name(path[:-1])} uses {wanted} of {shown(slot)}, and there is {there}{hint}"
            )


def _items_faults(path: tuple[str, ...], job: JobSection) -> Iterator[Fault]:
    head, place = section_name(path), (*path, "items")
    if isinstance(job.items, str) and (reason := glob_fault(job.items)):
        yield Fault(place, f"{head} items is the glob {shown(job.items)}: {reason}")
    if isinstance(job.items, ItemsSource):
        given = [name for name in ("lines", "jsonl", "command") if getattr(job.items, name) is not None]
        if len(given) != 1:
            yield Fault(place, f"{head} items must have exactly one of lines, jsonl and command")
        yield from _command_faults((*place, "command"), job.items.command)


def _output_faults(path: tuple[str, ...], job: JobSection) -> Iterator[Fault]:
    rules = job.validate
    if rules is None:
        return
    place = (*path, "validate")
    head = section_name(place)
    if job.outputs is None and rules.files is None:
        yield Fault(place, f"{head}: the job does not say where its outputs are; add outputs, or files here")
    if job.outputs is not None and rules.files is not None:
        yield Fault(
            (*place, "files"), f"{head} files is given, but outputs of the job says already which they are"
        )
    if rules.files is not None and (reason := glob_fault(rules.files)):
        yield Fault((*place, "files"), f"{head} files is the glob {shown(rules.files)}: {reason}")
    for key in ("patterns", "forbidden"):
        for pattern in getattr(rules, key):
            if reason := _expression_fault(pattern):
                yield Fault((*place, key), f"{head} {key} holds the expression {shown(pattern)}: {reason}")
    if rules.min_bytes and rules.max_bytes and rules.min_bytes > rules.max_bytes:
        yield Fault((*place, "min_bytes"), f"{head} min_bytes is more than max_bytes")
    if any(not heading.strip("# ") for heading in rules.headings):
        yield Fault((*place, "headings"), f"{head} headings holds an empty one")


def _fallback_faults(path: tuple[str, ...], job: JobSection) -> Iterator[Fault]:
    if job.fallback is None:
        return
    place, head = (*path, "fallback"), f"{section_name(path)} fallback"
    command = job.command if job.fallback.command is None else job.fallback.command
    yield from _command_faults((*place, "command"), job.fallback.command)
    if job.fallback.command is None and job.fallback.model is None:
        yield Fault(place, f"{head} needs a command, or a model")
    if job.fallback.model is not None and "{model}" not in command:
        yield Fault(place, f"{head} has a model, but the command has no {{model}}")
    if names_item(job.command) and not names_item(command):
        yield Fault(place, f"{head} has no {{item}}, but the command has")
    if names_item(command) and not names_item(job.command):
        yield Fault(place, f"{head} holds {{item}}, but the command does not")


def _command_faults(path: tuple[str, ...], command: str | None) -> Iterator[Fault]:
    if command is None:
        return
    place = f"{section_name(path[:-1])} {path[-1]}"
    if not command.strip():
        yield Fault(path, f"{place} is empty")
        return
    try:
        split_command(command)
    except UsageError as fault:
        reason = str(fault.__cause__ or "it is empty").lower()
        yield Fault(path, f"{place} can't be split into arguments: {reason}")
    for word in re.findall(_PLACE, command):
        meant = None if word in PLACES else nearest(word, PLACES)
        if meant:
            yield Fault(path, f"{place} holds {{{word}}}; did you mean {{{meant}}}?")


def _circles(jobs: Mapping[str, JobSection]) -> Iterator[Fault]:
    """One fault for each circle of needs, told from its first job in the file."""
    told: set[frozenset[str]] = set()
    for name in jobs:
        circle = _circle_from(name, jobs)
        if circle and frozenset(circle) not in told:
            told.add(frozenset(circle))
            way = " → ".join((*circle, circle[0]))
            yield Fault(("jobs", circle[0], "needs"), f"these jobs wait for each other: {way}")


def _circle_from(start: str, jobs: Mapping[str, JobSection]) -> list[str] | None:
    """The way from ``start`` back to ``start``, None where there is none. Depth first, each job once."""
    stack = [(start, [start])]
    seen: set[str] = set()
    while stack:
        name, way = stack.pop()
        for need in (*jobs[name].needs, *jobs[name].needs_items) if name in jobs else ():
            if need == start:
                return way
            if need not in seen:
                seen.add(need)
                stack.append((need, [*way, need]))
    return None

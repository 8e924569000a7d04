"""What a run is going to do: a job of the configuration and a request become a plan, which never changes again."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence

from nightdesk.core.foreign import safe_line
from nightdesk.core.jobs.items import names_item, split_command, with_model
from nightdesk.model.base import Noun
from nightdesk.model.config import ItemsSource, JobSection, OutputRules, size_bytes, span_ns
from nightdesk.model.errors import UsageError
from nightdesk.model.job import JobView, Priority, RunMode, StartRun

Items = Callable[[], tuple[str, ...]]
"""Looks for the items of a job; called only where they are needed."""


class Plan(Noun, frozen=True, kw_only=True):
    """One run, as decided when it was asked for. A later change of the configuration does not change it."""

    job: str
    mode: RunMode
    arguments: tuple[str, ...]
    """The command, split, its places not yet filled. Empty for a dry run that only lists the items."""
    folder: str
    """Working folder, absolute."""
    env: dict[str, str] = {}
    item: str | None = None
    """The item of a single run."""
    items: tuple[str, ...] | None = None
    """All items of a run that drives them; None for any other run."""
    parallel: int = 1
    """Items in work at the same time."""
    left_out: str = ""
    """What the items lack, in a sentence: files whose names nobody could write."""
    again: bool = False
    """The items are worked on whatever their outputs say."""
    distrusted: dict[str, int] = {}
    """Item → a moment: what its output held then was left by an attempt that did not end well."""
    flagged: dict[str, int] = {}
    """Item → a moment: the user does not believe what its output held then."""
    outputs: str | None = None
    rules: OutputRules | None = None
    """What the outputs must be."""
    source: str | ItemsSource | None = None
    """Where the items are of a job that goes through them itself, where its outputs have rules."""
    check: tuple[str, ...] = ()
    """Command that says whether the output of an item is valid, split; empty where there is none."""
    needs_items: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    uses: dict[str, int] = {}
    priority: Priority = "analysis"
    timeout_ns: int | None = None
    stall_ns: int | None = None
    """An attempt without any sign of life for so long is ended."""
    grace_ns: int
    attempts: int = 1
    backoff_ns: int = 0
    longest_pause_ns: int = 0
    fallback: tuple[str, ...] = ()
    """The command that is used after failures, split; empty where there is none."""
    fallback_after: int = 0
    """Failed attempts before that."""
    start_ns: int | None = None
    """Not before this moment."""
    unload_ns: int | None = None
    """So long the models of the servers may take to go before the run starts; None: they stay."""
    memory_bytes: int | None = None
    """Has to be free before the run starts."""


def left_out_words(names: Sequence[str]) -> str:
    """What is said of files that are no items because of their names; nothing where there are none."""
    if not names:
        return ""
    files = "1 file is" if len(names) == 1 else f"{len(names)} files are"
    return f"{files} left out, for the name is not UTF-8: {safe_line(', '.join(names[:5]), 500)}"


def drives_items(section: JobSection) -> bool:
    """Whether the desk itself goes through the items of the job."""
    return section.items is not None and names_item(section.command)


def no_items_words(section: JobSection) -> str:
    """Why a job has no items, for a sentence."""
    source = section.items
    if source is None or isinstance(source, str):
        return f"no file matches {source}"
    return f"{source.lines or source.jsonl or source.command} names no item"


def find_job(jobs: Mapping[str, JobSection], name: str) -> JobSection:
    """The job of this name. Raises UsageError that names the nearest one."""
    if name in jobs:
        return jobs[name]
    near = difflib.get_close_matches(name, jobs, 1, 0.5)
    if near:
        hint = f"Did you mean {near[0]}?"
    elif jobs:
        hint = f"The jobs of this desk: {', '.join(jobs)}."
    else:
        hint = "The desk has no jobs yet: add [jobs.NAME] to nightdesk.toml."
    raise UsageError(f"There is no job named {name}.", hint)


def plan_run(section: JobSection, request: StartRun, folder: str, items: Items) -> Plan:
    """The plan for one request. Raises UsageError where the job can't be run in this way."""
    if request.mode == "single":
        return _single(section, request, folder)
    if request.item is not None:
        raise UsageError(
            "An item can be named for a single run only.", f"Use mode single for {request.item}."
        )
    if request.mode == "dry":
        return _dry(section, request, folder, items)
    if drives_items(section):
        found = items()
        if request.items:
            found = chosen_items(request.items, found)
        if not found:
            raise UsageError(
                f"{request.job} has nothing to do: {no_items_words(section)} in {folder}.",
                "Check items in nightdesk.toml.",
            )
        return _plan(section, request, folder, section.command, items=found)
    if names_item(section.command):
        raise UsageError(
            f"The command of {request.job} is made for one item and the job names no items.",
            'Add items = "folder/*.ext" to the job, or start it for a single item.',
        )
    return _plan(section, request, folder, section.command)


def _single(section: JobSection, request: StartRun, folder: str) -> Plan:
    if not request.item:
        raise UsageError(f"A single run of {request.job} needs an item.", "Name the item to try it on.")
    command = section.single or section.command
    if not names_item(command):
        raise UsageError(
            f"{request.job} can't be run on a single item: its command has no place for one.",
            'Add single = "command {item}" to the job.',
        )
    return _plan(section, request, folder, command)


def _dry(section: JobSection, request: StartRun, folder: str, items: Items) -> Plan:
    if request.at_ns is not None:
        raise UsageError("A dry run can't be scheduled.", "Start it without a time.")
    if section.dry_run is not None:
        return _plan(section, request, folder, section.dry_run)
    if drives_items(section):
        return _plan(section, request, folder, None, items=items())
    raise UsageError(
        f"{request.job} has no dry run.", 'Add dry_run = "command" to the job, or try it on a single item.'
    )


def _plan(
    section: JobSection,
    request: StartRun,
    folder: str,
    command: str | None,
    *,
    items: tuple[str, ...] | None = None,
) -> Plan:
    dry = request.mode == "dry"
    falls_back = request.mode == "full"
    return Plan(
        job=request.job,
        mode=request.mode,
        arguments=with_model(split_command(command), section.model) if command is not None else (),
        folder=folder,
        env=section.env,
        item=request.item,
        items=items,
        again=request.again,
        parallel=section.parallel if items is not None else 1,
        outputs=section.outputs,
        rules=section.validate,
        source=section.items if section.validate is not None and items is None else None,
        check=with_model(split_command(section.check), section.model) if section.check else (),
        needs_items=section.needs_items if items is not None and not dry else (),
        needs=section.needs if request.mode == "full" else (),
        uses={} if dry else section.uses,
        priority=section.priority,
        timeout_ns=span_ns(section.timeout) if section.timeout else None,
        stall_ns=span_ns(section.stall_after) if section.stall_after and not dry else None,
        grace_ns=span_ns(section.grace),
        attempts=_attempts(section) if request.mode == "full" else 1,
        backoff_ns=span_ns(section.retry.backoff),
        longest_pause_ns=span_ns(section.retry.max),
        fallback=_fallback(section) if falls_back else (),
        fallback_after=section.fallback.after if section.fallback and falls_back else 0,
        start_ns=request.at_ns,
        unload_ns=span_ns(section.unload_within) if section.unload_models and not dry else None,
        memory_bytes=size_bytes(section.memory) if section.memory and not dry else None,
    )


def _fallback(section: JobSection) -> tuple[str, ...]:
    """The command after failures; empty where there is none."""
    given = section.fallback
    if given is None:
        return ()
    return with_model(split_command(given.command or section.command), given.model or section.model)


def _attempts(section: JobSection) -> int:
    """As many as the job allows, and enough to come to its fallback."""
    after = section.fallback.after + 1 if section.fallback else 1
    return max(section.retry.attempts, after)


def chosen_items(wanted: tuple[str, ...], known: tuple[str, ...]) -> tuple[str, ...]:
    """The wanted items, in the order asked for. Raises UsageError for one that is not known."""
    missing = next(iter(set(wanted) - set(known)), None)
    if missing is not None:
        raise missing_item(missing, known)
    return tuple(dict.fromkeys(wanted))


def job_view(name: str, section: JobSection, last_run: str | None, active_run: str | None) -> JobView:
    """The job as viewers see it."""
    drives = drives_items(section)
    return JobView(
        name=name,
        command=section.command,
        drives_items=drives,
        has_single=names_item(section.single or section.command),
        has_dry_run=section.dry_run is not None or drives,
        validates=section.validate is not None or section.check is not None,
        needs=section.needs,
        needs_items=section.needs_items,
        uses=section.uses,
        priority=section.priority,
        description=section.description,
        last_run=last_run,
        active_run=active_run,
    )


def missing_item(item: str, items: Iterable[str]) -> UsageError:
    """The error for an item that does not exist, with the nearest one that does."""
    known = tuple(items)
    near = difflib.get_close_matches(item, known, 1, 0.4)
    hint = (
        f"Did you mean {near[0]}?" if near else f"{len(known)} items are known; see them in the job's view."
    )
    return UsageError(f"There is no item {item}.", hint)

"""What is done with processes: shown in full, signalled, cleaned up. Screens are loaded when they are first needed."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from nightdesk.core.processes.reports import many, told, told_all
from nightdesk.core.processes.tree import run_of_root
from nightdesk.model.base import ProcessKey
from nightdesk.model.errors import NightdeskError, UsageError
from nightdesk.model.process import OrphanTree, SignalReport, TreeMember
from nightdesk.model.units import format_bytes
from nightdesk.tui.asks import ProcessesRequested
from nightdesk.tui.screens.confirm import ConfirmScreen, Question

if TYPE_CHECKING:
    from nightdesk.model.job import Run
    from nightdesk.tui.app import Viewer


async def carry_out(app: Viewer, asked: ProcessesRequested) -> None:
    """Do what a pane or a screen asks about processes."""
    match asked.deed:
        case "open":
            from nightdesk.tui.screens.process import ProcessScreen

            await app.push_screen(ProcessScreen(asked.keys[0]))
        case "stacks":
            from nightdesk.tui.screens.stacks import StacksScreen

            await app.push_screen(StacksScreen(asked.keys[0]))
        case "clean":
            await clean(app)
        case "stop_all":
            await stop_all(app)
        case "signal":
            await signal(app, asked)


async def signal(app: Viewer, asked: ProcessesRequested) -> None:
    """Signal trees; stop and kill only after a yes to exactly what is listed."""
    engine, action, keys = app.engine, asked.action, asked.keys
    if action == "stop" or action == "kill":

        async def again() -> Question:
            members = await _members(app, keys)
            return Question(action, _subject(app, keys), members, _beside(app, members), again=again)

        if await _agreed(app, await again()) is None:
            return
        app.tell(f"{_subject(app, keys)}: {'stopping' if action == 'stop' else 'killing'} …")
    if len(keys) == 1:
        tell_report(app, await engine.signal(keys[0], action))
    else:
        tell_report(app, await engine.signal_several(keys, action))


async def _members(app: Viewer, keys: tuple[ProcessKey, ...]) -> tuple[TreeMember, ...]:
    """Everything that would be hit, each process once. Raises NightdeskError where all of it is gone."""
    found: dict[ProcessKey, TreeMember] = {}
    fault: NightdeskError | None = None
    for key in keys:
        run = _run_at(app, key)
        try:
            members = await (app.engine.run_tree(run.id) if run else app.engine.tree(key))
        except UsageError as gone:
            fault = gone
            continue
        found.update((member.key, member) for member in members)
    if fault is not None and not found:
        raise fault
    return tuple(found.values())


def _beside(app: Viewer, members: tuple[TreeMember, ...]) -> str:
    """What is to be known beside the list: ports and memory on accelerators, and whether this viewer is hit."""
    mirror = app.link.mirror
    rows = [mirror.processes[each.key] for each in members if each.key in mirror.processes] if mirror else []
    ports = sorted({port for row in rows for port in row.ports})
    held = _held(ports, sum(row.device_bytes or 0 for row in rows))
    ours = any(each.key.pid == os.getpid() for each in members)
    return " ".join(filter(None, (held, "This viewer is among them." if ours else "")))


def _run_at(app: Viewer, key: ProcessKey) -> Run | None:
    mirror = app.link.mirror
    return run_of_root(mirror.runs.values(), key) if mirror is not None else None


def _subject(app: Viewer, keys: tuple[ProcessKey, ...]) -> str:
    if len(keys) > 1:
        return f"{len(keys)} tagged processes and what is below them"
    run = _run_at(app, keys[0])
    if run is not None:
        return f"run {run.id}, whose first process this is"
    row = app.link.mirror.processes.get(keys[0]) if app.link.mirror else None
    return f"{row.name if row else 'process'} ({keys[0].pid}) and what is below it"


async def clean(app: Viewer) -> None:
    """End all orphans, after a yes to the list of them."""

    async def again() -> Question:
        trees = await app.engine.orphans()
        return replace(_about_orphans(trees), again=again)

    question = await again()
    if not question.members:
        app.tell("There are no orphans.", "Nothing was left behind by runs or watched programs.")
        return
    if (agreed := await _agreed(app, question)) is not None:
        app.tell(f"{agreed.subject}: stopping …")
        tell_report(app, await app.engine.clean(tuple(agreed.reasons)))


def _about_orphans(trees: tuple[OrphanTree, ...]) -> Question:
    ports = sorted({port for tree in trees for port in tree.ports})
    return Question(
        "stop",
        f"{many(len(trees), 'orphan')} and what is below",
        tuple({member.key: member for tree in trees for member in tree.members}.values()),
        note=_held(ports, sum(tree.device_bytes or 0 for tree in trees)),
        reasons={tree.root.key: tree.root.orphan_reason or "" for tree in trees},
    )


def _held(ports: list[int], device: int) -> str:
    """What processes hold beside memory."""
    held = [f"port{'s' if len(ports) > 1 else ''} {', '.join(map(str, ports))}"] if ports else []
    held += [f"{format_bytes(device)} on accelerators"] if device else []
    return f"They also hold {' and '.join(held)}." if held else ""


async def stop_all(app: Viewer) -> None:
    """Stop everything that the desk has started, after a yes to the list of it."""

    async def again() -> Question:
        members, models = await app.engine.everything(), _models(app)
        note = f"Then these models are unloaded: {', '.join(models)}." if models else ""
        beside = " ".join(filter(None, (_beside(app, members), note)))
        return Question("stop", "everything that this desk has started", members, beside, again=again)

    question = await again()
    if not question.members and not _models(app):
        app.tell("Nothing that this desk has started is left, and no model is loaded.")
        return
    if await _agreed(app, question) is not None:
        app.tell("Everything is being stopped.", "That may take the grace time of the jobs.")
        report = await app.engine.stop_all()
        wrong = bool(report.still or report.processes.left)
        app.tell(told_all(report), severity="warning" if wrong else "information")


def _models(app: Viewer) -> list[str]:
    mirror = app.link.mirror
    return [model.name for server in mirror.servers for model in server.models] if mirror else []


async def _agreed(app: Viewer, question: Question) -> Question | None:
    """What was on the screen when the answer was yes; None after any other."""
    screen = ConfirmScreen(question, app.link.mirror)
    return screen.question if await app.push_screen_wait(screen) else None


def tell_report(app: Viewer, report: SignalReport) -> None:
    """What a signal did, with everything that did not go as asked."""
    whose = f"{report.run}: " if report.run else ""
    words = " ".join((whose + told(report), *report.refused))
    app.tell(words, severity="warning" if report.left or report.refused else "information")

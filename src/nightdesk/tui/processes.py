"""What is done with processes: shown in full, signalled, cleaned up. Screens are loaded when they are first needed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nightdesk.core.processes.reports import many, told, told_all
from nightdesk.core.processes.tree import run_of_root
from nightdesk.model.base import ProcessKey
from nightdesk.model.process import OrphanTree, SignalReport, TreeMember
from nightdesk.model.units import format_bytes
from nightdesk.tui.asks import ProcessesRequested
from nightdesk.tui.screens.confirm import ConfirmScreen, Question

if TYPE_CHECKING:
    from textual.screen import Screen

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
        members = await _members(app, keys)
        if not await _agreed(app, Question(action, _subject(app, keys), members)):
            return
        app.tell(f"{_subject(app, keys)}: {'stopping' if action == 'stop' else 'killing'} …")
    if len(keys) == 1:
        tell_report(app, await engine.signal(keys[0], action))
    else:
        tell_report(app, await engine.signal_several(keys, action))


async def _members(app: Viewer, keys: tuple[ProcessKey, ...]) -> tuple[TreeMember, ...]:
    """Everything that would be hit, each process once."""
    found: dict[ProcessKey, TreeMember] = {}
    for key in keys:
        run = _run_at(app, key)
        members = await (app.engine.run_tree(run.id) if run else app.engine.tree(key))
        found.update((member.key, member) for member in members)
    return tuple(found.values())


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
    trees = await app.engine.orphans()
    if not trees:
        app.tell("There are no orphans.", "Nothing was left behind by runs or watched programs.")
        return
    question = Question(
        "stop",
        f"{many(len(trees), 'orphan')} and what is below",
        tuple({member.key: member for tree in trees for member in tree.members}.values()),
        note=_held(trees),
        reasons={tree.root.key: tree.root.orphan_reason or "" for tree in trees},
    )
    if await _agreed(app, question):
        app.tell(f"{many(len(trees), 'orphan')} and what is below: stopping …")
        tell_report(app, await app.engine.clean(tuple(tree.root.key for tree in trees)))


def _held(trees: tuple[OrphanTree, ...]) -> str:
    """What orphans hold beside memory."""
    ports = sorted({port for tree in trees for port in tree.ports})
    device = sum(tree.device_bytes or 0 for tree in trees)
    held = [f"port{'s' if len(ports) > 1 else ''} {', '.join(map(str, ports))}"] if ports else []
    held += [f"{format_bytes(device)} on accelerators"] if device else []
    return f"They also hold {' and '.join(held)}." if held else ""


async def stop_all(app: Viewer) -> None:
    """Stop everything that the desk has started, after a yes to the list of it."""
    members = await app.engine.everything()
    mirror = app.link.mirror
    models = [model.name for server in mirror.servers for model in server.models] if mirror else []
    if not members and not models:
        app.tell("Nothing that this desk has started is left, and no model is loaded.")
        return
    note = f"Then these models are unloaded: {', '.join(models)}." if models else ""
    subject = "everything that this desk has started"
    if await _agreed(app, Question("stop", subject, members, note=note)):
        app.tell("Everything is being stopped.", "That may take the grace time of the jobs.")
        report = await app.engine.stop_all()
        wrong = bool(report.still or report.processes.left)
        app.tell(told_all(report), severity="warning" if wrong else "information")


async def _agreed(app: Viewer, question: Question) -> bool:
    screen: Screen[bool] = ConfirmScreen(question)
    return await app.push_screen_wait(screen)


def tell_report(app: Viewer, report: SignalReport) -> None:
    """What a signal did, with everything that did not go as asked."""
    whose = f"{report.run}: " if report.run else ""
    words = " ".join((whose + told(report), *report.refused))
    app.tell(words, severity="warning" if report.left or report.refused else "information")

"""``nightdesk status``."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from nightdesk.cli.desk import DeskChoice, json_option, pass_choice

if TYPE_CHECKING:
    from nightdesk.model.desk import Status
    from nightdesk.model.job import Run


@click.command()
@json_option
@pass_choice
def status(choice: DeskChoice, as_json: bool) -> None:
    """Show the desk in a few lines: sources, model servers, runs, orphans."""
    from nightdesk.cli.output import print_json

    engine = choice.running()
    now = engine.status()
    if as_json:
        print_json(now)
    else:
        _print_status(now)


def _print_machine(now: Status) -> None:
    from nightdesk.cli.output import print_line

    for alarm in now.alarms:
        print_line(f"  alarm     {alarm.words}. {alarm.advice}")
    if now.energy is not None:
        bill = now.energy.bill
        price = "" if bill.price is None else f", {bill.price:.2f} {bill.currency}"
        print_line(f"  energy    {bill.watt_hours:.1f} Wh since noon{price}. {now.energy.basis}")


def _print_status(now: Status) -> None:
    from nightdesk.cli.output import print_line, print_table
    from nightdesk.model.units import format_bytes, format_duration

    up = format_duration(now.at_ns - now.started_ns)
    print_line(f"{now.desk.name}  {now.desk.folder}  engine {now.desk.engine.pid}, up {up}")
    for problem in now.desk.config_problems:
        print_line(f"  configuration: {problem}")
    for source in now.sources:
        if source.name == "awake" and source.state == "off" and not source.message:
            continue
        if source.state != "live" or source.name in ("capture", "sensors", "awake"):
            # A capture that works may still be the second best: then it says why.
            message = source.message if source.state != "live" or source.name == "capture" else None
            first, *more = (message or "").splitlines() or [""]
            print_line(f"  {source.name:<9} {source.state} {source.label} {first}".rstrip())
            for line in more:
                print_line(f"            {line}")
        if source.dropped:
            seen = f", {source.packets:,} seen" if source.packets else ""
            print_line(f"            {source.dropped:,} packets lost{seen}: exchanges may be incomplete")
    for server in now.servers:
        models = (
            ", ".join(f"{m.name} {format_bytes(m.size_bytes)}" for m in server.models) or "no model loaded"
        )
        said = f"ollama {server.version} · {models}" if server.version else server.message or server.state
        who = f"  (process {server.process.pid}, {server.process.name})" if server.process else ""
        print_line(f"  {server.address}  {said}{who}")
    counts = now.counts
    print_line(f"  exchanges {counts.running} running · {counts.done} done · {counts.failed} failed")
    _print_machine(now)
    if now.orphans:
        held = format_bytes(sum(row.rss_bytes or 0 for row in now.orphans))
        print_line(f"  orphans   {len(now.orphans)}, holding {held}: nightdesk clean")
    if now.runs:
        print_line()
        print_table(
            ("RUN", "STATE", "PROGRESS", "SINCE", "DETAIL"), [run_cells(r, now.at_ns) for r in now.runs]
        )


def run_cells(run: Run, now_ns: int) -> tuple[str, str, str, str, str]:
    """A run as the cells of a table."""
    from nightdesk.model.units import format_duration

    done = _done(run)
    if run.progress and run.progress.eta_ns is not None and run.ended_ns is None:
        done += f" ETA {format_duration(run.progress.eta_ns)}"
    began = run.started_ns or run.created_ns
    took = format_duration((run.ended_ns or now_ns) - began)
    return (run.id, run.state, done, took, outcome(run))


def _done(run: Run) -> str:
    """What of a run is done: of items those that are, not those that were tried."""
    if run.items_total is not None:
        return f"{run.items_done}/{run.items_total}"
    if run.progress and run.progress.total:
        return f"{run.progress.done_of_whole(run.state == 'done'):.0f}/{run.progress.total:.0f}"
    return ""


def outcome(run: Run) -> str:
    """How a run stands or ended, in a few words."""
    from nightdesk.model.job import ENDED

    if run.state == "waiting" and run.reason:
        from nightdesk.core.jobs.start_times import waiting_words

        return waiting_words(run, time.time_ns())
    if run.state not in ENDED:
        return _in_work(run)
    if run.failure:
        from nightdesk.core.jobs.failure_advice import failure_words

        return failure_words(run.failure)
    if run.signal is not None:
        return f"signal {run.signal}"
    if run.exit_status is not None:
        return f"exit {run.exit_status}"
    return run.reason or ""


def _in_work(run: Run) -> str:
    """What a run works on, what of it has failed so far, and what else is to be said: that it will stand still."""
    items = [each.item for each in run.flights if each.item]
    working = ", ".join(items) or None
    if run.items_total is None:
        working = working or run.item or (run.progress.item if run.progress else None)
    failed = f"{run.items_failed} failed; " if run.items_failed else ""
    said = f"item{'s' if len(items) > 1 else ''} {working}" if working else ""
    return (failed + ". ".join(filter(None, (said, run.reason)))).removesuffix("; ")

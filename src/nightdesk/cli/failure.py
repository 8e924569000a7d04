"""``nightdesk failure``."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from nightdesk.cli.completion import complete_items, complete_runs
from nightdesk.cli.desk import DeskChoice, json_option, pass_choice

if TYPE_CHECKING:
    from nightdesk.model.diagnosis import Diagnosis, FailedAttempt
    from nightdesk.model.exchange import ExchangeRow
    from nightdesk.model.sample import Sample

LOG_LINES = 30


@click.command()
@click.argument("target", metavar="RUN", shell_complete=complete_runs)
@click.argument("item", required=False, shell_complete=complete_items)
@click.option("--attempt", "serial", type=int, help="This attempt, by its number in the run.")
@click.option("--list", "lists", is_flag=True, help="Only which attempts failed.")
@json_option
@pass_choice
def failure(
    choice: DeskChoice, target: str, item: str | None, serial: int | None, lists: bool, as_json: bool
) -> None:
    """Show why an attempt failed, and its last minutes: log, processes, exchanges, samples.

    RUN is a run, or a job for its newest run; without ITEM the newest failed attempt.
    """
    from nightdesk.cli.jobs import find_run
    from nightdesk.cli.output import print_json, print_json_lines, print_line
    from nightdesk.model.errors import UsageError

    engine = choice.started()
    run = find_run(engine, target)
    failed = [each for each in engine.failures(run.id) if item is None or each.item == item]
    if lists:
        if as_json:
            print_json_lines(failed)
        else:
            _print_list(failed)
        return
    if serial is None:
        if not failed:
            of = f" of {item}" if item else ""
            raise UsageError(
                f"No failed attempt{of} is kept of {run.id}.", "nightdesk status lists the runs."
            )
        serial = failed[-1].serial
    found = engine.failure(run.id, serial)
    if as_json:
        print_json(found)
        return
    _print(found)
    others = [each for each in failed if each.serial != serial]
    if others:
        print_line(f"\n{len(others)} more; nightdesk failure {run.id} --list shows them.")


def _print_list(failed: Sequence[FailedAttempt]) -> None:
    from nightdesk.cli.output import print_table
    from nightdesk.core.jobs.failure_advice import class_words

    rows = [
        (
            str(each.serial),
            each.item or "",
            _clock(each.ended_ns),
            class_words(each.failure.kind),
            each.failure.evidence,
        )
        for each in failed
    ]
    print_table(("ATTEMPT", "ITEM", "AT", "CLASS", "EVIDENCE"), rows)


def _print(found: Diagnosis) -> None:
    from nightdesk.cli.output import print_line
    from nightdesk.core.jobs.failure_advice import advice, class_words, end_words
    from nightdesk.model.units import format_duration

    what = found.what
    item = f" › {what.item}" if what.item else ""
    print_line(f"{what.job}{item}  {what.run}, attempt {what.serial} (try {what.attempt})")
    print_line(f"{class_words(what.failure.kind)}: {what.failure.evidence}")
    if said := advice(what.failure.kind):
        print_line(said)
    took = format_duration(max(0, what.ended_ns - (found.started_ns or found.launched_ns)))
    print_line(f"ended {_clock(what.ended_ns)} after {took}, {end_words(found.exit_status, found.signal)}")
    print_line(f"command  {' '.join(found.command)}")
    print_line(f"in       {found.working_folder}")
    print_line(f"kept in  {found.folder}")
    _print_log(found)
    _print_processes(found)
    _print_exchanges(found.exchanges)
    _print_samples(found.samples)
    print_line("\nversions: " + ", ".join(f"{name} {version}" for name, version in found.versions.items()))


def _print_log(found: Diagnosis) -> None:
    from nightdesk.cli.output import print_line

    lines = found.log_tail.splitlines()
    shown = lines[-LOG_LINES:]
    print_line(f"\nlog, last {len(shown)} of {len(lines)} lines kept" if lines else "\nlog: no output")
    for line in shown:
        print_line(f"  {line}")


def _print_processes(found: Diagnosis) -> None:
    from nightdesk.cli.output import print_line
    from nightdesk.model.units import format_bytes

    if not found.processes:
        print_line("\nprocesses: none was seen; it ended before the next look at the process table")
        return
    age_s = (found.what.ended_ns - (found.processes_at_ns or found.what.ended_ns)) / 1e9
    print_line(f"\nprocesses, seen {age_s:.1f} s before the end")
    for row in found.processes:
        cpu = "–" if row.cpu_ratio is None else f"{row.cpu_ratio * 100:.0f} %"
        size = "–" if row.rss_bytes is None else format_bytes(row.rss_bytes)
        print_line(f"  {row.key.pid:>8}  {row.state}  {cpu:>6}  {size:>9}  {row.command or row.name}")


def _print_exchanges(rows: Sequence[ExchangeRow]) -> None:
    from nightdesk.cli.output import print_line

    print_line(f"\nexchanges of its last minutes: {len(rows) or 'none'}")
    for row in rows:
        said = row.error or " ".join(row.verdicts) or row.tail[-60:].replace("\n", " ")
        print_line(f"  #{row.id}  {_clock(row.started_ns)}  {row.state:<10}  {row.model or '–'}  {said}")


def _print_samples(samples: Sequence[Sample]) -> None:
    from nightdesk.cli.output import print_line
    from nightdesk.model.units import format_bytes

    if not samples:
        print_line("\nno sample of memory and accelerators was taken in its last minutes")
        return
    memory = [each.memory_used_bytes for each in samples if each.memory_used_bytes is not None]
    if memory:
        total = samples[-1].memory_total_bytes
        of = f" of {format_bytes(total)}" if total else ""
        print_line(
            f"\nmemory: {format_bytes(memory[-1])}{of} at the end, {format_bytes(max(memory))} at most"
        )
    for device in samples[-1].devices:
        used = [
            each.memory_used_bytes
            for sample in samples
            for each in sample.devices
            if each.id == device.id and each.memory_used_bytes is not None
        ]
        busy = "–" if device.active_ratio is None else f"{device.active_ratio * 100:.0f} %"
        most = f", memory {format_bytes(max(used))} at most" if used else ""
        print_line(f"{device.name}: {busy} at the end{most}")


def _clock(at_ns: int) -> str:
    return time.strftime("%H:%M:%S", time.localtime(at_ns // 10**9))

"""``nightdesk profile``: where the time of the exchanges went."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from nightdesk.cli.desk import DeskChoice, json_option, pass_choice

if TYPE_CHECKING:
    from nightdesk.model.profile import Leader, Profile, ProfileGroup

BAR = 24
SIGNS = (
    ("queue_ns", "queue", "q"),
    ("load_ns", "load", "L"),
    ("prompt_ns", "prompt", "p"),
    ("generation_ns", "generation", "g"),
    ("unsplit_ns", "first token, not told apart", "w"),
    ("other_ns", "other", "."),
)


@click.command()
@click.option("--job", help="Only exchanges of this job.")
@click.option("--model", help="Only exchanges with this model.")
@click.option("--since", metavar="TIME", help="2h, 03:12, 2026-11-21, yesterday.")
@click.option("--query", "-q", default="", help="The language of the traffic filter: op:chat took>30s.")
@json_option
@pass_choice
def profile(
    choice: DeskChoice, job: str | None, model: str | None, since: str | None, query: str, as_json: bool
) -> None:
    """Show where the time went: queue, load, prompt, generation, client pauses, by model and by job, with advice."""
    from nightdesk.cli.output import print_json

    made = choice.running().profile(query_of(query, {"job": job, "model": model, "since": since}))
    if as_json:
        print_json(made)
    else:
        print_profile(made)


def query_of(query: str, terms: dict[str, str | None]) -> str:
    """The query with a term for each option that was given."""
    from nightdesk.core.inspection.query import quoted

    return " ".join([query, *(f"{key}:{quoted(value)}" for key, value in terms.items() if value)]).strip()


def print_profile(made: Profile) -> None:
    """The whole profile for people."""
    from nightdesk.cli.output import print_line, print_table
    from nightdesk.model.units import format_duration

    if not made.total.count:
        what = f"No exchange matches {made.query}." if made.query else "No exchange was recorded yet."
        print_line(what)
        return
    for line in summary_lines(made):
        print_line(line)
    for advice in made.advice:
        print_line(f"▲ {advice.text}")
    print_line()
    for title, groups in (("model", made.models), ("job", made.jobs)):
        rows = [group_cells(group) for group in groups]
        print_table((title, "count", "time", "pauses", "tokens in", "out", "t/s", "", "where it went"), rows)
        print_line()
    print_line("  ".join(f"{sign} {words}" for _, words, sign in SIGNS))
    for title, leaders in (("slowest", made.slowest), ("biggest", made.biggest)):
        print_line()
        print_table((title, "id", "model", "job › item"), [leader_cells(leader) for leader in leaders])
    if made.total.findings:
        print_line()
        found = [
            (
                each.kind.replace("_", " "),
                str(each.count),
                format_duration(each.took_ns),
                f"show {each.example}",
            )
            for each in made.total.findings
        ]
        print_table(("verdict", "count", "time", "example"), found)


def summary_lines(made: Profile) -> list[str]:
    """Counts, sums and the clock."""
    from nightdesk.model.units import counted, format_count, format_duration

    total = made.total
    running = f", {total.running} running" if total.running else ""
    errors = f", {total.errors} failed or left" if total.errors else ""
    replays = f", {made.replays} replays left out" if made.replays else ""
    covered = format_duration(total.covered_ns)
    span = format_duration(total.last_ns - total.first_ns)
    return [
        f"{counted(total.count, 'exchange')}{running}{errors}{replays}",
        f"{format_duration(total.parts.total_ns)} in exchanges, {covered} of {span} on the clock; "
        f"client pauses {format_duration(total.pause_ns)}",
        f"{format_count(total.prompt_tokens)} tokens in, {format_count(total.reply_tokens)} out",
        *energy_lines(made),
    ]


def energy_lines(made: Profile) -> list[str]:
    """What was used and what that rests on; nothing where nothing was measured."""
    from nightdesk.model.units import format_joules, format_watt_hours

    total = made.total
    if not total.energy_count:
        return []
    joules = total.energy_mj / 1000
    rate = f", {total.energy_tokens / joules:.2g} tokens/J" if joules and total.energy_tokens else ""
    used = f"{format_joules(joules)} ({format_watt_hours(joules / 3600)}){rate}"
    return [f"{used}, measured for {total.energy_count} of {total.count}. {made.energy_basis}"]


def group_cells(group: ProfileGroup) -> tuple[str, ...]:
    """A model or a job as cells of a table."""
    from nightdesk.model.units import UNKNOWN, format_count, format_duration

    rate = UNKNOWN if group.reply_rate is None else f"{group.reply_rate:.0f}"
    return (
        group.name or UNKNOWN,
        str(group.count),
        format_duration(group.parts.total_ns),
        format_duration(group.pause_ns),
        format_count(group.prompt_tokens),
        format_count(group.reply_tokens),
        rate,
        bar_of(group),
        shares_of(group),
    )


def bar_of(group: ProfileGroup) -> str:
    """A bar with a letter for each part."""
    from nightdesk.core.inspection.profile_parts import bar_widths

    spent = [getattr(group.parts, name) for name, _, _ in SIGNS]
    return "".join(sign * width for width, (_, _, sign) in zip(bar_widths(spent, BAR), SIGNS, strict=True))


def shares_of(group: ProfileGroup) -> str:
    """The parts that matter, in words."""
    from nightdesk.model.units import format_percent

    whole = group.parts.total_ns
    spent = ((words.split(",")[0], getattr(group.parts, name)) for name, words, _ in SIGNS)
    return ", ".join(
        f"{words} {format_percent(ns / whole)}" for words, ns in spent if whole and ns / whole >= 0.01
    )


def leader_cells(leader: Leader) -> tuple[str, ...]:
    """A slow or big exchange as cells of a table."""
    from nightdesk.model.units import UNKNOWN, format_count, format_duration

    value = format_duration(leader.value) if leader.unit == "ns" else f"{format_count(leader.value)} tokens"
    whose = " › ".join(part for part in (leader.job, leader.item) if part)
    return value, str(leader.exchange), leader.model or UNKNOWN, whose

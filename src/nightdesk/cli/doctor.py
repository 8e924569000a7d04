"""``nightdesk doctor``."""

from __future__ import annotations

import asyncio
import sys

import click

from nightdesk.cli.desk import DeskChoice, json_option, pass_choice

GLYPHS = {"ok": "✓", "note": "○", "fail": "✗"}


@click.command()
@json_option
@pass_choice
def doctor(choice: DeskChoice, as_json: bool) -> None:
    """Check every source for real and print the exact remedy for what is missing.

    Ends with 1 when something is broken; what is merely absent (no GPU, no right to capture) is a note.
    """
    from nightdesk.cli.output import print_json_lines, print_line
    from nightdesk.engine.checkup import check_desk

    checks = asyncio.run(check_desk(choice.desk()))
    if as_json:
        print_json_lines(checks)
    else:
        for check in checks:
            print_line(f"{GLYPHS[check.state]} {check.part:<16} {check.said}")
            if check.remedy:
                print_line(f"{'':18} → {check.remedy}")
    sys.exit(any(check.state == "fail" for check in checks))

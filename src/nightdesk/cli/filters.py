"""The options that choose exchanges, alike for every verb that has them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from nightdesk.core.inspection.query import Query

KEYS = ("model", "status", "job", "run", "since", "until")


@dataclass(frozen=True, slots=True)
class Choice:
    """What was asked for: the query, and the terms of the options."""

    query: str
    grep: str
    terms: dict[str, str | None]

    @property
    def text(self) -> str:
        """All of it in the language of the filter."""
        from nightdesk.core.inspection.query import quoted

        terms = [f"{key}:{quoted(value)}" for key, value in self.terms.items() if value]
        return " ".join([self.query, *terms, quoted(self.grep) if self.grep else ""]).strip()

    def read(self) -> Query:
        """The query, checked. Raises QueryError."""
        from nightdesk.core.inspection.query import parse

        return parse(self.text)


def filter_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Gives a command the options, and the argument ``wanted``, a :class:`Choice`."""

    @functools.wraps(command)
    def chosen(*args: Any, query: str, grep: str, **options: Any) -> Any:
        terms = {key: options.pop(key) for key in KEYS}
        return command(*args, wanted=Choice(query, grep, terms), **options)

    for option in reversed(_OPTIONS):
        option(chosen)
    return chosen


_OPTIONS = (
    click.option("--query", "-q", default="", help="The language of the traffic filter: op:chat took>30s."),
    click.option("--model", help="Only exchanges with this model, or a part of its name."),
    click.option("--status", help="error, ok, running, a state, or an HTTP status: 500, 4xx."),
    click.option("--job", help="Only exchanges of this job."),
    click.option("--run", help="Only exchanges of this run."),
    click.option("--since", metavar="TIME", help="Began after: 2h, 03:12, 2026-11-21, yesterday."),
    click.option("--until", metavar="TIME", help="Began before."),
    click.option(
        "--grep",
        "--text",
        "grep",
        default="",
        metavar="TEXT",
        help="Prompt or reply contain this phrase.",
    ),
)

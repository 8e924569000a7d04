"""``nightdesk config``: show, check and describe the configuration."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nightdesk.cli.desk import DeskChoice, json_option, pass_choice
from nightdesk.model.base import Json

if TYPE_CHECKING:
    from nightdesk.client.desk import Desk


@click.group()
def config() -> None:
    """Show, check and describe the configuration."""


@config.command()
@json_option
@pass_choice
def show(choice: DeskChoice, as_json: bool) -> None:
    """Print what is in force, as TOML, with the origin of each value behind it. Secrets are hidden."""
    from nightdesk.cli.output import print_json, print_line
    from nightdesk.client.desk import read_origins

    desk = choice.desk()
    values = _printable(desk)
    origins = read_origins(desk)
    if as_json:
        path = str(desk.config_path) if desk.config_path else None
        print_json({"path": path, "folder": str(desk.folder), "config": values, "origins": origins})
        return
    print_line(f"# {desk.config_path or f'no nightdesk.toml; the default desk in {desk.folder}'}")
    for section, table in values.items():
        if section == "jobs":
            for name, job in table.items():
                _print_table(origins, ("jobs", name), job)
        else:
            _print_table(origins, (section,), table)


@config.command()
@pass_choice
def path(choice: DeskChoice) -> None:
    """Print the path of the nightdesk.toml in use."""
    import os

    from nightdesk.cli.output import print_line
    from nightdesk.client.desk import config_file
    from nightdesk.model.errors import NightdeskError

    found = config_file(choice.path, os.environ)
    if found is None:
        raise NightdeskError(
            "There is no nightdesk.toml in this folder or above it; the default desk is in use.",
            "Make one with: nightdesk init",
        )
    print_line(str(found.resolve()))


@config.command()
@json_option
@pass_choice
def validate(choice: DeskChoice, as_json: bool) -> None:
    """Print every problem with its line and end with 2, or say that there is none."""
    from nightdesk.cli.output import print_json, print_line
    from nightdesk.model.errors import ConfigError

    try:
        desk = choice.desk()
    except ConfigError as fault:
        if not fault.problems:
            raise
        if as_json:
            print_json({"valid": False, "message": fault.message, "problems": fault.problems})
        else:
            print_line(fault.message)
            for problem in fault.problems:
                print_line(f"  {problem}")
        sys.exit(fault.exit_code)
    if as_json:
        print_json({"valid": True, "problems": []})
    else:
        count = len(desk.config.jobs)
        jobs = "1 job" if count == 1 else f"{count} jobs"
        print_line(f"{desk.config_path or 'The default configuration'} is valid: {jobs}.")


@config.command()
def schema() -> None:
    """Print the JSON schema of nightdesk.toml, for editors."""
    import msgspec

    from nightdesk.model.config import DeskConfig

    described = msgspec.json.schema(DeskConfig)
    described["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    described["title"] = "nightdesk.toml"
    for name, fields in _field_docs().items():
        properties = described["$defs"].get(name, {}).get("properties", {})
        for field, text in fields.items():
            if field in properties:
                properties[field]["description"] = text
    click.echo(msgspec.json.format(msgspec.json.encode(described), indent=2))


def _field_docs() -> dict[str, dict[str, str]]:
    """The sentence under each field of the configuration's classes: class → field → text."""
    import ast

    import nightdesk.model.config as source

    assert source.__file__
    docs: dict[str, dict[str, str]] = {}
    for node in ast.parse(Path(source.__file__).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef):
            fields = docs.setdefault(node.name, {})
            for before, after in zip(node.body, node.body[1:], strict=False):
                match before, after:
                    case (
                        ast.AnnAssign(target=ast.Name(id=name)),
                        ast.Expr(value=ast.Constant(value=str(text))),
                    ):
                        fields[name] = " ".join(text.split())
    return docs


def _printable(desk: Desk) -> dict[str, Json]:
    """The configuration as plain values without secrets and without keys that are not set."""
    import msgspec

    from nightdesk.core.faults import HIDDEN, is_secret, without_secrets

    values: dict[str, Json] = msgspec.to_builtins(desk.config)
    for job in values["jobs"].values():
        job["env"] = {
            name: HIDDEN if is_secret(name) else without_secrets(value) for name, value in job["env"].items()
        }
        for key in ("command", "single", "dry_run"):
            job[key] = without_secrets(job[key]) if job[key] else None
    return {
        section: {name: _without_absent(inner) for name, inner in table.items()}
        if section == "jobs"
        else _without_absent(table)
        for section, table in values.items()
    }


def _without_absent(table: dict[str, Json]) -> dict[str, Json]:
    return {key: value for key, value in table.items() if value is not None}


def _print_table(origins: dict[str, str], path: tuple[str, ...], table: dict[str, Json]) -> None:
    from nightdesk.cli.output import print_line

    print_line()
    print_line(f"[{'.'.join(_key(part) for part in path)}]")
    lines = [(f"{_key(key)} = {_toml(value)}", ".".join((*path, key))) for key, value in table.items()]
    width = min(60, max((len(line) for line, _ in lines), default=0))
    for line, name in lines:
        print_line(f"{line:<{width}}  # {origins.get(name, 'default')}")


def _key(name: str) -> str:
    import re

    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _toml(name)


def _toml(value: Json) -> str:
    """``value`` as TOML; strings are written as JSON writes them, which TOML reads alike."""
    import msgspec

    match value:
        case dict():
            inner = ", ".join(f"{_key(name)} = {_toml(one)}" for name, one in value.items())
            return f"{{ {inner} }}" if inner else "{}"
        case list() | tuple():
            return f"[{', '.join(map(_toml, value))}]"
        case _:
            return msgspec.json.encode(value).decode()

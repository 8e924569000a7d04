"""The user's keys: binding ids of the viewer, and what the configuration makes of them."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Mapping

from textual.binding import Binding, BindingsMap
from textual.dom import DOMNode
from textual.keys import Keys

from nightdesk.tui import screens

OURS = "nightdesk.tui"
NAMED = frozenset(key.value for key in Keys)


def binding_ids() -> dict[str, str]:
    """Id → default keys of every binding of the viewer."""
    return {name: binding.key for name, binding in all_bindings().items()}


def all_bindings() -> dict[str, Binding]:
    """Id → every binding of the viewer, also of the screens that are loaded only when they are opened."""
    for module in pkgutil.iter_modules(screens.__path__, screens.__name__ + "."):
        importlib.import_module(module.name)
    found: dict[str, Binding] = {}
    for node in _classes(DOMNode):
        for binding in _bindings(node):
            if binding.id:
                found.setdefault(binding.id, binding)
    return found


def _classes(base: type[DOMNode]) -> Iterator[type[DOMNode]]:
    for child in base.__subclasses__():
        if child.__module__.startswith(OURS):
            yield child
        yield from _classes(child)


def _bindings(node: type[DOMNode]) -> Iterator[Binding]:
    for entry in node.__dict__.get("BINDINGS", ()):
        if isinstance(entry, Binding):
            yield entry


def check_keymap(keys: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """The entries that can be used, and one sentence for each that can't."""
    known = binding_ids() if keys else {}
    good: dict[str, str] = {}
    problems: list[str] = []
    for name, value in keys.items():
        if name not in known:
            problems.append(f"[viewer.keys] names {name!r}, which is not a binding; ? shows the names.")
        elif (bad := _bad_key(value)) is not None:
            problems.append(f"[viewer.keys] {name} = {value!r}: {bad!r} is no key.")
        else:
            good[name] = value
    return good, problems


def _bad_key(value: str) -> str | None:
    for key in value.split(","):
        name = key.strip()
        last = name.rsplit("+", 1)[-1] if len(name) > 1 else name
        if not last or not (len(last) == 1 or last in NAMED or last.isidentifier()):
            return key
    try:
        list(BindingsMap([Binding(value, "noop", "check")]))
    except Exception:  # noqa: BLE001 - whatever Textual refuses is no key
        return value
    return None

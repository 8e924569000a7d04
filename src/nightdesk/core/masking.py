"""Takes secrets out of environments, commands and texts before they are kept."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

_NAMES = re.compile(
    r"KEY|TOKEN|SECRET|PASS(WORD|WD|PHRASE)?($|_)|CREDENTIAL|AUTH|COOKIE|SESSION_ID|PRIVATE|_PAT$|_DSN$",
    re.IGNORECASE,
)
_HARMLESS = frozenset({"SSH_AUTH_SOCK", "XDG_SESSION_ID", "XAUTHORITY"})
_IN_ADDRESS = re.compile(r"(?<=://)[^/\s:@]*:[^/\s@]+(?=@)")
_OPTION = re.compile(
    r"(?P<name>--?[\w-]*(?:key|token|secret|passwor?d|passwd)[\w-]*)(?P<sign>=|$)", re.IGNORECASE
)
MASK = "•••"
SHORTEST = 6
"""A secret value that is shorter is not looked for in texts: it would be found everywhere."""


def is_secret(name: str) -> bool:
    """Whether a variable of this name probably holds a secret."""
    return name not in _HARMLESS and _NAMES.search(name) is not None


def masked_environment(environment: Mapping[str, str], limit: int) -> dict[str, str]:
    """The variables by name, secrets masked, values cut at ``limit`` characters."""
    return {
        name: MASK if is_secret(name) and value else masked_text(value, ())[:limit]
        for name, value in sorted(environment.items())
    }


def secrets_of(environment: Mapping[str, str]) -> tuple[str, ...]:
    """The secret values of an environment that can be looked for elsewhere, the longest first."""
    found = {value for name, value in environment.items() if is_secret(name) and len(value) >= SHORTEST}
    return tuple(sorted(found, key=len, reverse=True))


def masked_text(text: str, secrets: Collection[str]) -> str:
    """The text without these secrets, and without passwords in addresses."""
    for secret in secrets:
        text = text.replace(secret, MASK)
    return _IN_ADDRESS.sub(MASK, text)


def masked_arguments(arguments: Collection[str], secrets: Collection[str]) -> tuple[str, ...]:
    """The arguments without these secrets, and without what follows an option such as ``--api-key``."""
    shown: list[str] = []
    hides_next = False
    for argument in arguments:
        option = _OPTION.match(argument)
        if hides_next and not argument.startswith("-"):
            shown.append(MASK)
        elif option and option["sign"]:
            shown.append(f"{option['name']}={MASK}")
        else:
            shown.append(masked_text(argument, secrets))
        hides_next = option is not None and not option["sign"]
    return tuple(shown)

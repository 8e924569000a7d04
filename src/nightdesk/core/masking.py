"""Takes secrets out of environments, commands and texts before they are kept."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

_NAMES = re.compile(
    r"KEY|TOKEN|SECRET|PASS(WORD|WD|PHRASE)?($|_)|CREDENTIAL|AUTH|WEBHOOK|COOKIE|SESSION_ID|PRIVATE|_PAT$|_DSN$",
    re.IGNORECASE,
)
_HARMLESS = frozenset({"SSH_AUTH_SOCK", "XDG_SESSION_ID", "XAUTHORITY"})
_IN_ADDRESS = re.compile(r"(?<=://)[^/\s:@]*:[^/\s@]+(?=@)")
_OPTION = re.compile(
    r"(?P<name>--?[\w-]*(?:key|token|secret|passwor?d|passwd)[\w-]*)(?P<sign>=|$)", re.IGNORECASE
)
MASK = "•••"
TOKENS: tuple[tuple[str, str], ...] = (
    (r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", "key"),
    (r"\b(?:sk|pk|rk)-[A-Za-z0-9_-]{16,}", "key"),
    (r"\b(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,}|glpat-[A-Za-z0-9_-]{16,})", "key"),
    (r"\b(?:hf_[A-Za-z0-9]{20,}|xox[abeprs]-[A-Za-z0-9-]{10,}|AIza[A-Za-z0-9_-]{30,})", "key"),
    (r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b", "key"),
    (r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*", "token"),
)
"""(pattern, what it is) of keys and tokens of well-known makes, which are secrets wherever they stand."""
BEARER = r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}"
_TOKEN = re.compile("|".join(pattern for pattern, _ in TOKENS), re.DOTALL)
_BEARER = re.compile(r"(?i)\b(bearer|authorization: *basic)\s+[A-Za-z0-9._~+/=-]{8,}")
"""Narrower: logs speak of basic things."""
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
    """The text without these secrets, without passwords in addresses, keys of well-known makes and bearer tokens."""
    for secret in secrets:
        text = text.replace(secret, MASK)
    return _BEARER.sub(rf"\1 {MASK}", _TOKEN.sub(MASK, _IN_ADDRESS.sub(MASK, text)))


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

"""Taking what should stay private out of texts before they are written to a file."""

from __future__ import annotations

import re
from collections.abc import Iterable

from nightdesk.core.masking import BEARER, TOKENS
from nightdesk.model.base import Json

_NAMED = r"(?:(?:api|access|secret)[_-]?key|(?:auth|access)[_-]?token|token|secret|password|passwd|pwd)"
BUILT_IN: tuple[tuple[str, str], ...] = (
    *((pattern, f"[redacted {what}]") for pattern, what in TOKENS),
    (BEARER, r"\1 [redacted token]"),
    (rf"(?i)\b({_NAMED}\\*[\"']?\s*[:=]\s*\\*[\"']?)[^\s\"'\\,;}}]{{4,}}", r"\1[redacted]"),
    (r"[A-Za-z0-9._%+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}\b", "[redacted e-mail]"),
    (r"(/home/|/Users/|[A-Z]:\\+Users\\+)[^/\\\s\"'<>:]+", r"\1[redacted]"),
)
"""(pattern, replacement): keys of well-known makes, tokens, whatever is called a secret, e-mail addresses, and the
user's name in paths."""
OWN = "[redacted]"


class Redactor:
    """Replaces what built-in rules and patterns of the user find, in any text of a JSON value."""

    def __init__(self, own: Iterable[str] = (), *, built_in: bool = False) -> None:
        rules = BUILT_IN if built_in else ()
        self._rules = [
            *((re.compile(pattern, re.DOTALL), replacement) for pattern, replacement in rules),
            *((re.compile(pattern), OWN) for pattern in own),
        ]

    @property
    def is_idle(self) -> bool:
        """Whether nothing is ever replaced."""
        return not self._rules

    def text(self, text: str) -> str:
        """The text without what the rules find."""
        for pattern, replacement in self._rules:
            text = pattern.sub(replacement, text)
        return text

    def value(self, value: Json) -> Json:
        """The same for every text inside lists and objects; keys stay."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {key: self.value(inner) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(inner) for inner in value]
        return value

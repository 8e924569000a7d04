"""Text as a sequence of words, the way the store's text index sees it: without case, marks and punctuation."""

from __future__ import annotations

import re
import unicodedata

_WORD = re.compile(r"[^\W_]+")


def split_words(text: str) -> tuple[str, ...]:
    """The words of a text in order: runs of letters and digits, casefolded, without accents."""
    if text.isascii():
        return tuple(_WORD.findall(text.lower()))
    plain = "".join(one for one in unicodedata.normalize("NFKD", text) if not unicodedata.combining(one))
    return tuple(_WORD.findall(plain.casefold()))

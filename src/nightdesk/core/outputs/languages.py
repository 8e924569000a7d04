"""Which language is a text written in? An estimate from scripts and the most frequent words."""

from __future__ import annotations

import re
from collections import Counter
from typing import NamedTuple

NAMES = {
    "ar": "Arabic", "da": "Danish", "de": "German", "el": "Greek", "en": "English", "es": "Spanish", "fr": "French",
    "he": "Hebrew", "hi": "Hindi", "it": "Italian", "ja": "Japanese", "ko": "Korean", "nl": "Dutch",
    "no": "Norwegian", "pl": "Polish", "pt": "Portuguese", "ru": "Russian", "sv": "Swedish", "th": "Thai",
    "tr": "Turkish", "uk": "Ukrainian", "zh": "Chinese",
}  # fmt: skip
_WORDS = {
    "da": "og i at det er en til af på der ikke med de den for som et har var jeg men om vi kan fra også blev efter",
    "de": "der die das und ist nicht ein eine zu den mit von sich auf für dem es im auch als wie an er sie wir ich "
    "wird werden nach bei aus noch oder aber einer sind des dass war",
    "en": "the of and to in is that it was for on with as are be this not have by from at or an but they which we you "
    "his her has had were their there been if will",
    "es": "el la de que y en los las un una se no es por con del para lo como más pero sus al le ya este sí porque "
    "esta son entre cuando muy sin sobre también",
    "fr": "le la les de des et est un une que qui dans en du pour pas au par sur plus ne se ce avec il elle sont cette "
    "nous vous mais aux ou leur était",
    "it": "il lo la gli le di che e è un una in per non con del della dei si sono da al nel come più anche ma alla "
    "questo questa hanno essere delle",
    "nl": "de het een en van is dat niet op te zijn met voor die aan er om ook als bij door maar naar uit wordt nog "
    "werd heeft deze worden tot hij wij",
    "no": "og i at det er en til av på som ikke med de den for et har var jeg men om vi kan fra også ble etter seg hun "
    "eller skal",
    "pl": "i w na się nie z że do to jest o jak po co ale za od tak są przez dla być tylko czy już może który oraz "
    "przy był także",
    "pt": "o a os as de que e em um uma não para com do da no na por se mais dos das como mas ao ele foi são também "
    "pelo pela seu sua está",
    "sv": "och i att det är en som på för med av inte den till ett har de om var jag men kan från så vi också efter "
    "eller när ska sig",
    "tr": "ve bir bu da de için ile çok olarak daha gibi ama ne var o olan kadar sonra en değil her mi ben biz göre "
    "ise olduğu",
}  # fmt: skip
STOP_WORDS = {code: frozenset(words.split()) for code, words in _WORDS.items()}
_SCRIPTS = (
    ("ja", re.compile(r"[\u3040-\u30ff]")),
    ("ko", re.compile(r"[\uac00-\ud7af]")),
    ("zh", re.compile(r"[\u4e00-\u9fff]")),
    ("uk", re.compile(r"[іїєґІЇЄҐ]")),
    ("ru", re.compile(r"[\u0400-\u04ff]")),
    ("el", re.compile(r"[\u0370-\u03ff]")),
    ("he", re.compile(r"[\u0590-\u05ff]")),
    ("ar", re.compile(r"[\u0600-\u06ff]")),
    ("hi", re.compile(r"[\u0900-\u097f]")),
    ("th", re.compile(r"[\u0e00-\u0e7f]")),
)
_WORD = re.compile(r"[^\W\d_]+")
PIECE_WORDS = 80
"""Words of which the language is told together: a reply that changes its language half-way is seen so."""
LEAST_WORDS = 15
LEAST_CHARACTERS = 40
"""The same for scripts that have no blanks."""
SCRIPT_SHARE = 0.3
WORD_SHARE = 0.12
"""Frequent words of the right language among all words: prose has 0.3 and more, lists have less."""


class Guess(NamedTuple):
    """The languages of the pieces of a text: code → how many pieces. ``unknown`` pieces are in neither."""

    pieces: dict[str, int]

    @property
    def total(self) -> int:
        """Pieces whose language is told."""
        return sum(self.pieces.values())


def guess(text: str) -> Guess:
    """The language of each piece of a text."""
    found: Counter[str] = Counter()
    for piece in _pieces(text):
        code = _language(piece)
        if code:
            found[code] += 1
    return Guess(dict(found.most_common()))


def _pieces(text: str) -> list[str]:
    spans = [match.span() for match in _WORD.finditer(text)]
    if len(spans) < LEAST_WORDS:
        return [text]  # a script without blanks, or very short
    starts = [spans[at][0] for at in range(0, len(spans), PIECE_WORDS)]
    if len(spans) % PIECE_WORDS < LEAST_WORDS and len(starts) > 1:
        starts.pop()  # too few to tell by themselves: they go with those before
    return [text[start:end] for start, end in zip(starts, [*starts[1:], len(text)], strict=True)]


def _language(text: str) -> str | None:
    letters = sum(map(str.isalpha, text))
    if letters >= LEAST_CHARACTERS:
        shares = {code: len(script.findall(text)) / letters for code, script in _SCRIPTS}
        if shares["ja"] > 0.1:
            return "ja"
        if shares["ru"] > SCRIPT_SHARE and shares["uk"] > 0.02:
            return "uk"
        named = {code: share for code, share in shares.items() if code not in ("ja", "uk")}
        code, share = max(named.items(), key=lambda each: each[1])
        if share > SCRIPT_SHARE:
            return code
    words = [word.casefold() for word in _WORD.findall(text)]
    if len(words) < LEAST_WORDS:
        return None
    hits = {code: sum(word in known for word in words) for code, known in STOP_WORDS.items()}
    code, count = max(hits.items(), key=lambda each: each[1])
    return code if count / len(words) >= WORD_SHARE else None

"""The demo's models: what /api/tags lists, and which of them are loaded."""

from __future__ import annotations

import asyncio
import hashlib
import time
from dataclasses import dataclass, field
from typing import Literal

DEFAULT_KEEP_NS = 5 * 60 * 10**9
FOREVER_NS = 300 * 365 * 86_400 * 10**9
DEFAULT_CONTEXT = 4096


@dataclass(frozen=True, slots=True)
class Card:
    """A model that the demo offers."""

    name: str
    family: str
    parameters: str
    size: int
    """Bytes on disk."""
    pace: float = 1.0
    """Speed, as a multiple of the server's."""
    thinks: bool = False
    embedding: int = 0
    """Dimensions of an embedder; 0 for a model that writes."""
    loops: bool = False
    """Ends up repeating one word, as very small models do."""
    habit: Literal["stalls", "blanks", "fences"] | None = None
    """A fault of its replies: silence in the middle; JSON that ends in endless white space; JSON in a code fence."""
    context_length: int = 131_072

    @property
    def digest(self) -> str:
        """Hexadecimal, made from the name."""
        return hashlib.sha256(self.name.encode()).hexdigest()

    @property
    def capabilities(self) -> list[str]:
        """As /api/show says it."""
        if self.embedding:
            return ["embedding"]
        return ["completion", "tools", "vision", *(["thinking"] if self.thinks else [])]

    @property
    def details(self) -> dict[str, object]:
        """The ``details`` object of /api/tags."""
        return {
            "parent_model": "",
            "format": "gguf",
            "family": self.family,
            "families": [self.family],
            "parameter_size": self.parameters,
            "quantization_level": "F16" if self.embedding else "Q4_K_M",
        }


CARDS = (
    Card("llama3.1:8b", "llama", "8.0B", 4_920_753_328, pace=1.6),
    Card("qwen2.5-coder:32b", "qwen2", "32.8B", 19_851_349_856, pace=0.8),
    Card("qwen3:8b-think", "qwen3", "8.2B", 5_225_388_164, pace=1.5, thinks=True),
    Card("gemma3:4b", "gemma3", "4.3B", 3_338_801_804, pace=2.0),
    Card("tinyllama:1.1b", "llama", "1.1B", 637_700_138, pace=3.0, loops=True, context_length=2048),
    Card("phi4-mini:3.8b", "phi3", "3.8B", 2_491_876_774, pace=2.0, habit="stalls"),
    Card("gemma3:270m", "gemma3", "268M", 291_554_930, pace=4.0, habit="blanks", context_length=32_768),
    Card("smollm2:360m", "llama", "362M", 725_566_512, pace=4.0, habit="fences", context_length=8192),
    Card("nomic-embed-text:latest", "nomic-bert", "137M", 274_302_450, embedding=768, context_length=2048),
)


@dataclass(slots=True)
class Loaded:
    """A model in memory."""

    card: Card
    context: int
    """Tokens of context it was loaded with."""
    expires_ns: int
    busy: int = 0
    """Requests in work: a busy model stays whatever its time is."""


@dataclass(slots=True)
class Shelf:
    """All models of a server and which of them are loaded."""

    load_s: float
    cards: tuple[Card, ...] = CARDS
    _loaded: dict[str, Loaded] = field(default_factory=dict)
    _gates: dict[str, asyncio.Lock] = field(default_factory=dict)

    def find(self, name: str) -> Card | None:
        """The card of ``name``; a name without a tag means ``:latest``."""
        wanted = name if ":" in name else f"{name}:latest"
        return next((card for card in self.cards if card.name.lower() == wanted.lower()), None)

    def gate(self, card: Card) -> asyncio.Lock:
        """Held while ``card`` is being loaded, so that two requests load it once."""
        return self._gates.setdefault(card.name, asyncio.Lock())

    def needs_load(self, card: Card, context: int) -> bool:
        """True where ``card`` is not in memory with room for exactly ``context`` tokens."""
        self._forget_expired()
        loaded = self._loaded.get(card.name)
        return loaded is None or loaded.context != context

    def hold(self, card: Card, context: int) -> Loaded:
        """``card`` in memory, marked busy. Call :meth:`release` afterwards."""
        loaded = self._loaded.get(card.name)
        if loaded is None or loaded.context != context:
            loaded = self._loaded[card.name] = Loaded(card, context, 0)
        loaded.busy += 1
        return loaded

    def release(self, loaded: Loaded, keep_ns: int) -> None:
        """Ends a :meth:`hold`: the model stays for ``keep_ns`` from now on."""
        loaded.busy -= 1
        loaded.expires_ns = time.time_ns() + keep_ns
        self._forget_expired()

    def unload(self, card: Card) -> None:
        """Takes ``card`` out of memory."""
        self._loaded.pop(card.name, None)

    def loaded(self) -> list[Loaded]:
        """Everything in memory, the longest-living first."""
        self._forget_expired()
        return sorted(self._loaded.values(), key=lambda one: -one.expires_ns)

    def _forget_expired(self) -> None:
        now = time.time_ns()
        gone = [n for n, one in self._loaded.items() if not one.busy and one.expires_ns <= now]
        for name in gone:
            del self._loaded[name]

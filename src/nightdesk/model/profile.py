"""Where the time of many exchanges went. All figures are sums of what was measured, in nanoseconds and tokens."""

from __future__ import annotations

from typing import Literal

from nightdesk.model.base import Noun

PARTS = ("queue", "load", "prompt", "generation", "unsplit", "other")
"""The parts of an exchange's duration, in the order in which they happen."""


class Parts(Noun, frozen=True, kw_only=True):
    """Durations of exchanges by what they were spent on; together they are the sum of the durations."""

    queue_ns: int = 0
    """Until the first byte, beyond what the server's own durations explain."""
    load_ns: int = 0
    """Loading the model, as the server tells. Ollama counts waiting for a place in memory here."""
    prompt_ns: int = 0
    """Evaluating the prompt, as the server tells."""
    generation_ns: int = 0
    """Writing the reply: as the server tells, else from the first token to the end."""
    unsplit_ns: int = 0
    """Until the first token where the server does not tell its durations."""
    other_ns: int = 0
    """The rest: embeddings and management, transfers, slow readers."""

    @property
    def total_ns(self) -> int:
        """The sum of the durations."""
        return (
            self.queue_ns
            + self.load_ns
            + self.prompt_ns
            + self.generation_ns
            + self.unsplit_ns
            + self.other_ns
        )


class Leader(Noun, frozen=True, kw_only=True):
    """An exchange that stands out."""

    exchange: int
    value: int
    """Nanoseconds for the slowest, tokens (bytes where no tokens are known) for the biggest."""
    unit: Literal["ns", "tokens", "bytes"]
    model: str | None = None
    job: str | None = None
    item: str | None = None


class Finding(Noun, frozen=True, kw_only=True):
    """A kind of verdict, and how often it was found."""

    kind: str
    count: int
    took_ns: int
    """What these exchanges took together."""
    example: int
    """Id of the newest such exchange."""


class ProfileGroup(Noun, frozen=True, kw_only=True):
    """All exchanges of one model, of one job, or of the whole selection."""

    name: str | None = None
    """None: their model or job is unknown, or it is the whole selection."""
    query: str
    """Selects the same exchanges in a list."""
    count: int
    running: int = 0
    """Of these still running; they are counted with the time until now."""
    errors: int = 0
    """Ended in an error, or aborted."""
    parts: Parts
    covered_ns: int
    """Time on the clock in which at least one of them was open; less than the sum where some overlap."""
    pause_ns: int = 0
    """Between the end of one exchange and the begin of the next one of the same client; belongs to the later one."""
    client_ns: int = 0
    """Time on the clock in which clients waited for an answer: what ``pause_ns`` is compared with."""
    prompt_tokens: int = 0
    reply_tokens: int = 0
    prompt_rate: float | None = None
    """Prompt tokens a second of evaluation, where the server told both."""
    reply_rate: float | None = None
    """Reply tokens a second of generation."""
    loads: int = 0
    """Exchanges for which a model had to be loaded first."""
    switches: int = 0
    """Loads right behind an exchange with another model of the same server."""
    length_cuts: int = 0
    """Replies that ended at a token limit."""
    replies: int = 0
    """Chat and generate exchanges that ended: what ``length_cuts`` is compared with."""
    slowest: Leader | None = None
    biggest: Leader | None = None
    findings: tuple[Finding, ...] = ()
    """The most frequent first."""
    energy_mj: int = 0
    """Millijoules of those whose energy was measured: above idle, once that is known."""
    energy_count: int = 0
    """So many were measured."""
    energy_tokens: int = 0
    """Their reply tokens."""
    first_ns: int = 0
    """When the first one began."""
    last_ns: int = 0
    """When the last one ended, or now."""


class Advice(Noun, frozen=True, kw_only=True):
    """One sentence with the figures that carry it."""

    kind: str
    """A stable word: ``reloads``, ``alternation``, ``pauses`` …"""
    text: str
    cost_ns: int = 0
    """The time it is about, for the order; 0 where it is not about time."""
    query: str = ""
    """Selects the exchanges it is about."""


class Profile(Noun, frozen=True, kw_only=True):
    """Where the time went, in all, by model and by job."""

    query: str
    at_ns: int
    """When the figures were put together."""
    total: ProfileGroup
    models: tuple[ProfileGroup, ...] = ()
    """Those that took the most time first."""
    jobs: tuple[ProfileGroup, ...] = ()
    slowest: tuple[Leader, ...] = ()
    biggest: tuple[Leader, ...] = ()
    advice: tuple[Advice, ...] = ()
    """Those that are about the most time first."""
    replays: int = 0
    """Exchanges that Nightdesk sent itself; they are in none of the figures."""
    energy_basis: str = ""
    """What the energy rests on, in a sentence; empty where none of it was measured."""
    merged: int = 0
    """Names beyond the limit, counted together as unknown."""

"""What ended exchanges taught about a model: letters per token, its usual pace, its context, when it was loaded."""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field
from statistics import median

from nightdesk.core.verdicts.facts import asked_context, has_images, is_inference, prompt_size
from nightdesk.model.exchange import Exchange

MODELS = 256
"""More models than anybody uses in a night; the one that was not used for longest is forgotten."""
OBSERVATIONS = 32
ENOUGH = 3
"""Fewer observations are no rule."""
LEAST_SIZE = 400
"""Of shorter prompts the template is too large a part."""
SAFE_TOKENS = 900
"""Below half of the smallest default context: such a prompt was not cut, whatever num_ctx is."""
LOADED_NS = 10**9
"""A shorter load is none: the model was in memory."""
RATIOS = (0.3, 7.0)
"""Letters per token that a tokenizer can have. A higher figure means that a cached prefix was not counted."""


@dataclass(slots=True)
class _Model:
    ratios: deque[float] = field(default_factory=lambda: deque(maxlen=OBSERVATIONS))
    firsts_ns: deque[int] = field(default_factory=lambda: deque(maxlen=OBSERVATIONS))
    reloads: deque[bool] = field(default_factory=lambda: deque(maxlen=10))
    context: int | None = None
    context_ns: int = 0
    asked_context: int | None = None
    keep_alive: object = None
    ended_ns: int = 0


class Known:
    """Bounded memory of what was seen. Feed it every ended exchange, in the order in which they end."""

    def __init__(self) -> None:
        self._models: OrderedDict[str, _Model] = OrderedDict()
        self._last: str | None = None
        """The model of the exchange that ended last."""

    def set_context(self, model: str, context: int, at_ns: int) -> None:
        """What the server said at ``at_ns`` of a loaded model (``context_length`` of ``/api/ps``)."""
        known = self._of(model)
        known.context, known.context_ns = context, at_ns

    def context_of(self, exchange: Exchange) -> int | None:
        """The context that the server gave the model; None where it was loaded after the server was asked."""
        known = self._get(exchange.model)
        if known is None or ((exchange.load_ns or 0) >= LOADED_NS and known.context_ns < exchange.started_ns):
            return None
        return known.context

    def size_per_token(self, model: str | None) -> float | None:
        """Usual size of prompt text per token; None before three observations."""
        known = self._get(model)
        return median(known.ratios) if known and len(known.ratios) >= ENOUGH else None

    def most_per_token(self, model: str | None) -> float | None:
        """The highest of the last observations: with it an estimate is rather too low than too high."""
        known = self._get(model)
        return max(known.ratios) if known and len(known.ratios) >= ENOUGH else None

    def usual_first_ns(self, model: str | None) -> int | None:
        """Median time to the first token."""
        known = self._get(model)
        return int(median(known.firsts_ns)) if known and len(known.firsts_ns) >= ENOUGH else None

    def reload_of(self, exchange: Exchange, least_ns: int, within_ns: int) -> Reload | None:
        """Why the exchange had to load a model that had been used just before; None where it did not."""
        known = self._get(exchange.model)
        if known is None or not known.ended_ns or (exchange.load_ns or 0) < least_ns:
            return None
        pause_ns = exchange.started_ns - known.ended_ns
        # A request that began while another one was in work may have waited for that one's load.
        if not 0 <= pause_ns <= within_ns:
            return None
        context = asked_context(exchange)
        other = self._last if self._last != _name(exchange.model or "") else None
        return Reload(
            before=sum(known.reloads),
            seen=len(known.reloads),
            pause_ns=pause_ns,
            keep_alive=known.keep_alive,
            contexts=(known.asked_context, context) if known.asked_context != context else None,
            other_model=other,
        )

    def learn(self, exchange: Exchange, reload_ns: int = 10**9, within_ns: int = 600 * 10**9) -> None:
        """Take in an ended exchange, after it was judged."""
        if not exchange.model or exchange.operation not in ("chat", "generate", "embed"):
            return
        reloaded = self.reload_of(exchange, reload_ns, within_ns)
        known = self._of(exchange.model)
        if exchange.load_ns is not None:
            known.reloads.append(reloaded is not None)
        if exchange.ended_ns is not None and exchange.status is not None and exchange.status < 400:
            known.ended_ns = max(known.ended_ns, exchange.ended_ns)
            known.asked_context = asked_context(exchange)
            known.keep_alive = exchange.prompt.keep_alive if exchange.prompt else None
            self._last = _name(exchange.model)
        if exchange.state == "complete" and is_inference(exchange):
            self._learn_pace(known, exchange)
            self._learn_ratio(known, exchange)

    def _learn_pace(self, known: _Model, exchange: Exchange) -> None:
        if exchange.streamed and exchange.first_token_ns is not None:
            known.firsts_ns.append(exchange.first_token_ns - exchange.started_ns)

    def _learn_ratio(self, known: _Model, exchange: Exchange) -> None:
        prompt, count = exchange.prompt, exchange.prompt_tokens
        if prompt is None or not count or prompt.tools or has_images(prompt):
            return
        context = asked_context(exchange) or self.context_of(exchange)
        # Half of the context is where a cut prompt ends; only what is well below it was certainly read whole.
        if count >= (0.45 * context if context else SAFE_TOKENS):
            return
        size = prompt_size(prompt)
        if size >= LEAST_SIZE and RATIOS[0] <= size / count <= RATIOS[1]:
            known.ratios.append(size / count)

    def _get(self, model: str | None) -> _Model | None:
        return self._models.get(_name(model)) if model else None

    def _of(self, model: str) -> _Model:
        name = _name(model)
        known = self._models.setdefault(name, _Model())
        self._models.move_to_end(name)
        if len(self._models) > MODELS:
            self._models.popitem(last=False)
        return known


@dataclass(frozen=True, slots=True)
class Reload:
    """A load that could have been spared."""

    before: int
    """Such loads among the model's last exchanges."""
    seen: int
    pause_ns: int
    """Since the model's last exchange ended."""
    keep_alive: object
    """What that one asked for."""
    contexts: tuple[int | None, int | None] | None
    """Its num_ctx and the one of this request, where they differ."""
    other_model: str | None
    """What ran in between."""


def _name(model: str) -> str:
    """Requests name a model with or without its default tag."""
    return model.removesuffix(":latest")

"""One exchange's duration, taken apart by the server's own durations and the times on the wire."""

from __future__ import annotations

from collections.abc import Sequence

from nightdesk.model.exchange import ExchangeRow

INFERENCE = frozenset({"chat", "generate", "embed"})


def split_parts(row: ExchangeRow, took_ns: int) -> dict[str, int]:
    """``took_ns`` by the names of :class:`~nightdesk.model.profile.Parts`; the values add up to it exactly.

    The server's clock is another one, so each of its durations is cut to what is left. What it does not explain is
    queueing as far as it lies before the first token; a reply in one piece has its first token at its end.
    """
    first_ns = None if row.first_token_ns is None else row.first_token_ns - row.started_ns
    wait_ns = max(0, min(took_ns, took_ns if first_ns is None else first_ns))
    told = (row.load_ns, row.prompt_ns, row.generation_ns)
    if row.operation not in INFERENCE:
        return {"other_ns": took_ns}
    if not any(told):
        return _untold(row, took_ns, wait_ns, begun=first_ns is not None)
    left, spent = took_ns, []
    for duration in told:
        spent.append(max(0, min(duration or 0, left)))
        left -= spent[-1]
    load_ns, prompt_ns, generation_ns = spent
    queue_ns = min(left, max(0, wait_ns - load_ns - prompt_ns))
    return {
        "queue_ns": queue_ns,
        "load_ns": load_ns,
        "prompt_ns": prompt_ns,
        "generation_ns": generation_ns,
        "other_ns": left - queue_ns,
    }


def _untold(row: ExchangeRow, took_ns: int, wait_ns: int, *, begun: bool) -> dict[str, int]:
    if row.operation == "embed" or not begun:
        return {"other_ns" if row.operation == "embed" else "unsplit_ns": took_ns}
    return {"unsplit_ns": wait_ns, "generation_ns": took_ns - wait_ns}


def bar_widths(spent: Sequence[int], width: int) -> list[int]:
    """How many of ``width`` cells each of ``spent`` gets; together all of them, and whatever is not 0 at least one.

    The greatest remainders are rounded up. Nothing spent gives no cells.
    """
    whole = sum(spent)
    if whole <= 0 or width <= 0:
        return [0] * len(spent)
    exact = [part * width / whole for part in spent]
    cells = [max(int(part), int(part > 0)) for part in exact]
    order = sorted(range(len(spent)), key=lambda index: exact[index] - cells[index])
    while sum(cells) > width and any(count > 1 for count in cells):
        index = next(index for index in order if cells[index] > 1)
        cells[index] -= 1
        order.sort(key=lambda index: exact[index] - cells[index])
    while sum(cells) < width:
        index = max(range(len(spent)), key=lambda index: exact[index] - cells[index])
        cells[index] += 1
    return cells

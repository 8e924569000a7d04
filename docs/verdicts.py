"""``python docs/verdicts.py``: measures the labelled set again and writes the figures into docs/verdicts.md."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

PAGE = Path(__file__).with_name("verdicts.md")
BEGIN, END = "<!-- figures -->", "<!-- end of figures -->"


class Labelled(NamedTuple):
    """One exchange of the set: what it deserves and what is found."""

    source: str
    expected: frozenset[str]
    found: frozenset[str]


def labelled() -> Iterator[Labelled]:
    """The whole set: recordings, and generated cases."""
    from nightdesk.core.verdicts import verdicts_of
    from tests.support.verdict_cases import all_cases
    from tests.support.verdict_recordings import FOLDER, LABELS, judged

    for name, labels in LABELS.items():
        for exchange, found in judged(FOLDER / f"{name}.pcap"):
            yield Labelled("recorded", labels.get(exchange.id, frozenset()), found)
    for case in all_cases():
        found = frozenset(one.kind for one in verdicts_of(case.exchange, known=case.known()))
        yield Labelled("generated", case.expected, found)


def figures() -> str:
    """The table of the page."""
    from nightdesk.core.verdicts import KINDS

    everything = list(labelled())
    sizes = Counter(one.source for one in everything)
    without = sum(not one.expected for one in everything)
    lines = [
        f"{sizes['recorded']} recorded exchanges and {sizes['generated']} generated ones; {without} of them deserve no "
        "verdict at all.",
        "",
        "| kind | deserved | found | missed | false alarms |",
        "|---|---|---|---|---|",
    ]
    totals = Counter[str]()
    for kind in KINDS:
        hit = sum(kind in one.expected and kind in one.found for one in everything)
        missed = sum(kind in one.expected and kind not in one.found for one in everything)
        false = sum(kind in one.found and kind not in one.expected for one in everything)
        totals.update(hit=hit, missed=missed, false=false)
        lines.append(f"| `{kind}` | {hit + missed} | {hit} | {missed} | {false} |")
    hit, missed, false = totals["hit"], totals["missed"], totals["false"]
    lines += ["", f"Recall {hit / (hit + missed):.1%}, precision {hit / (hit + false):.1%}."]
    return "\n".join(lines)


def page() -> str:
    """The page with the figures as they are now."""
    text = PAGE.read_text(encoding="utf-8")
    head, _, rest = text.partition(BEGIN)
    return f"{head}{BEGIN}\n{figures()}\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    PAGE.write_text(page(), encoding="utf-8")

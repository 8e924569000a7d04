"""A hundred thousand recorded exchanges: how soon the store answers for a list, a filter, a sum."""

from __future__ import annotations

import itertools
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from nightdesk.core.inspection.query import parse
from nightdesk.engine.store.database import connect
from nightdesk.engine.store.history import History
from nightdesk.engine.store.recording import write_exchange
from nightdesk.model.exchange import Exchange, Message, MissingBytes, Prompt, Verdict

COUNT = 100_000
RECORDED = 2000
"""So many take the way of live ones, to see how fast it is; the others are written in one go."""
BEGIN_NS = 1_700_000_000 * 10**9
NOW_NS = BEGIN_NS + COUNT * 10**9
ROUNDS = 5
COMMON, RARE = "lantern", "zeppelin"
"""Words of every tenth and of every ten-thousandth prompt."""
MODELS = ("llama3.1:8b", "qwen2.5-coder:32b", "gemma3:27b", "mistral-small:24b")
JOBS = ("transcribe", "synthesize", "validate")
SORTS = ("-started", "started", "-took", "first", "-tokens", "-rate", "-size", "model", "job", "state")
VOCABULARY = ["".join(random.Random(number).choices("abcdefghiklmnoprstuvw", k=6)) for number in range(5000)]


def exchanges(count: int = COUNT) -> Iterator[Exchange]:
    """Different exchanges of about 5 KB, one a second."""
    chance = random.Random(1)
    for number in range(1, count + 1):
        words = chance.choices(VOCABULARY, k=450)
        words += [COMMON] * (number % 10 == 0) + [RARE] * (number % 10_000 == 0)
        yield _exchange(number, chance, " ".join(words), " ".join(chance.choices(VOCABULARY, k=250)))


def _exchange(number: int, chance: random.Random, prompt: str, reply: str) -> Exchange:
    began = BEGIN_NS + number * 10**9
    first, generation = chance.randrange(10**8, 10**10), chance.randrange(10**9, 10**11)
    cut = number % 50 == 0
    return Exchange(
        id=number,
        state="failed" if number % 40 == 0 else "complete",
        status=500 if number % 40 == 0 else 200,
        client_addr="127.0.0.1:50000",
        server_addr="127.0.0.1:11434",
        connection=number // 20 + 1,
        position=number % 20 + 1,
        method="POST",
        path="/api/chat",
        dialect="ollama",
        operation="chat",
        streamed=True,
        fragments=250,
        model=MODELS[number % len(MODELS)],
        text=reply,
        thinking="",
        tool_calls=(),
        done=True,
        done_reason="stop",
        prompt_tokens=chance.randrange(100, 8000),
        reply_tokens=250,
        generation_ns=generation,
        started_ns=began,
        first_token_ns=began + first,
        ended_ns=began + first + generation,
        request_bytes=len(prompt),
        request_sha256="0" * 64,
        response_bytes=len(reply) * 20,
        response_sha256="1" * 64,
        missing_bytes=MissingBytes(request=0, response=0),
        verdicts=(Verdict(kind="context_cut", evidence="It was cut.", advice="Give more."),) if cut else (),
        run=f"{JOBS[number % 3]}-{number // 1000}",
        job=JOBS[number % 3],
        item=f"item {number % 500}",
        prompt=Prompt(messages=(Message(role="user", content=prompt),)),
    )


def filled(path: Path) -> tuple[History, float]:
    """A store with all exchanges, and the seconds that it would take to record them one by one."""
    store = _opened(path)
    made = list(exchanges(RECORDED))
    begin = time.monotonic()
    for one in made:
        store.save_exchange(one)
    store.flush()
    took = time.monotonic() - begin
    store.close()
    _fill_up(path)
    return _opened(path), took / RECORDED * COUNT


def _opened(path: Path) -> History:
    return History(path, keep_ns=2**62, max_bytes=10**11)


def _fill_up(path: Path) -> None:
    """Write the others in one go, with nothing that guards against a crash."""
    database = connect(path)
    for setting in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -262144"):
        database.execute(f"PRAGMA {setting}")
    database.execute("BEGIN")
    for one in itertools.islice(exchanges(), RECORDED, None):
        write_exchange(database, one, searchable=True)
    database.execute("COMMIT")
    database.close()


def median_ms(call: Callable[[], object]) -> float:
    """The usual time of a call, once warm."""
    times = []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        call()
        times.append((time.perf_counter() - begin) * 1000)
    return statistics.median(times)


def measure() -> list[tuple[str, str, str]]:
    """Rows: what, figure, target or comparison."""
    with tempfile.TemporaryDirectory() as folder:
        store, seconds = filled(Path(folder) / "desk.db")
        try:
            rows = [
                (
                    "recording, prompts and replies of 5 KB in all",
                    f"{COUNT / seconds:.0f} a second",
                    "a busy night brings about 10 a second",
                )
            ]
            rows += [(what, f"{median_ms(call):.1f} ms", target) for what, call, target in questions(store)]
        finally:
            store.close()
    return rows


def questions(store: History) -> Iterator[tuple[str, Callable[[], object], str]]:
    """What a viewer asks: name, question, target."""

    def page(query: str, **asked: object) -> Callable[[], object]:
        return lambda: store.page(parse(query), now_ns=NOW_NS, **asked)  # type: ignore[arg-type]  # sort or offset

    def totals(query: str) -> Callable[[], object]:
        return lambda: store.totals(parse(query), now_ns=NOW_NS)

    every = f"{COUNT:,} exchanges: "
    yield every + "first page", page(""), "under 50 ms"
    yield every + "page at 50,000", page("", offset=50_000), "under 50 ms"
    for sort in SORTS:
        yield every + f"page at 50,000 by {sort}", page("", sort=sort, offset=50_000), "under 200 ms"
    for name, word in (("common", COMMON), ("rare", RARE), ("beginning of a common", COMMON[:4])):
        yield every + f"{name} word", page(word), "under 20 ms"
    yield every + "words in a row", page(f'"{COMMON}"'), "under 20 ms"
    yield every + "two letters", page(COMMON[:2]), "under 500 ms"
    for query in (
        "model:qwen",
        "status:error",
        "took>30s job:synth",
        "-model:qwen tokens>2k verdict:cut",
    ):
        yield every + query, page(query), "under 100 ms"
    yield every + "totals", totals(""), "under 200 ms"
    yield every + "totals of a common word", totals(COMMON), "under 200 ms"

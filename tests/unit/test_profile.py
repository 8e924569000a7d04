"""Where the time went, on rows whose sums are worked out by hand."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest

from nightdesk.core.inspection.profile import BREAK_NS, GROUPS_MOST, LEADERS, Profiler, profile
from nightdesk.core.inspection.profile_parts import split_parts
from nightdesk.core.inspection.query import parse
from nightdesk.model.exchange import (
    Exchange,
    ExchangeRow,
    ExchangeState,
    Message,
    MissingBytes,
    Operation,
    Prompt,
)
from nightdesk.model.profile import Parts, Profile
from nightdesk.model.units import NS

T0 = 1_763_690_000 * NS
NOW = T0 + 100_000 * NS


def row(number: int, at: float, took: float | None, **more: Any) -> ExchangeRow:
    """A chat of ``took`` seconds that begins ``at`` seconds after T0."""
    seconds = {name: int(more.pop(name) * NS) for name in ("load", "prompt", "generation") if name in more}
    first = more.pop("first", None)
    given: dict[str, Any] = {
        "id": number,
        "state": "running" if took is None else "complete",
        "started_ns": T0 + int(at * NS),
        "ended_ns": None if took is None else T0 + int((at + took) * NS),
        "first_token_ns": None if first is None else T0 + int((at + first) * NS),
        "operation": "chat",
        "dialect": "ollama",
        "model": "llama3.1:8b",
        "server_addr": "127.0.0.1:11434",
        "pid": 4000,
        "process": "python",
        "fragments": 10,
        "tail": "",
        **{f"{name}_ns": spent for name, spent in seconds.items()},
        **more,
    }
    return ExchangeRow(**given)


def parts(**seconds: float) -> Parts:
    return Parts(**{f"{name}_ns": int(spent * NS) for name, spent in seconds.items()})


def split(one: ExchangeRow) -> Parts:
    assert one.ended_ns is not None
    return Parts(**split_parts(one, one.ended_ns - one.started_ns))


def kinds(made: Profile) -> list[str]:
    return [advice.kind for advice in made.advice]


def exchange(number: int, prompt: Prompt, **more: Any) -> Exchange:
    """What the store would hold, as far as advice looks at it."""
    state: ExchangeState = "complete"
    operation: Operation = "chat"
    given: dict[str, Any] = {
        "id": number,
        "state": state,
        "client_addr": "127.0.0.1:50000",
        "server_addr": "127.0.0.1:11434",
        "connection": 1,
        "position": 1,
        "dialect": "ollama",
        "operation": operation,
        "streamed": True,
        "fragments": 1,
        "text": "",
        "thinking": "",
        "tool_calls": (),
        "done": True,
        "started_ns": T0,
        "request_bytes": 0,
        "request_sha256": "",
        "response_bytes": 0,
        "response_sha256": "",
        "missing_bytes": MissingBytes(request=0, response=0),
        "verdicts": (),
        "prompt": prompt,
        **more,
    }
    return Exchange(**given)


# The parts of one exchange


def test_a_streamed_reply_is_queue_load_prompt_generation_and_rest() -> None:
    one = row(1, 0, 20, first=9, load=2, prompt=3, generation=10)
    # 9 s to the first token: 2 load, 3 prompt, so 4 queued. 20 - 4 - 2 - 3 - 10 = 1 s is left.
    assert split(one) == parts(queue=4, load=2, prompt=3, generation=10, other=1)


def test_a_reply_in_one_piece_queues_only_what_no_duration_explains() -> None:
    one = row(1, 0, 20, first=20, load=2, prompt=3, generation=10)
    assert split(one) == parts(queue=5, load=2, prompt=3, generation=10)


def test_without_the_servers_durations_the_wait_is_not_told_apart() -> None:
    assert split(row(1, 0, 20, first=6)) == parts(unsplit=6, generation=14)
    assert split(row(1, 0, 20)) == parts(unsplit=20)
    assert split(row(1, 0, 20, operation="embed")) == parts(other=20)
    assert split(row(1, 0, 20, operation="manage", load=5)) == parts(other=20)


def test_durations_that_are_longer_than_the_exchange_are_cut_to_it() -> None:
    assert split(row(1, 0, 5, first=4, load=2, prompt=9, generation=9)) == parts(load=2, prompt=3)


def test_an_embedding_with_a_load_shows_the_load() -> None:
    assert split(row(1, 0, 5, operation="embed", load=3)) == parts(queue=2, load=3)


# Sums


def test_sums_by_model_and_by_job_and_the_clock_under_overlap() -> None:
    made = profile(
        [
            row(
                1, 0, 10, first=3, load=1, prompt=2, generation=7, job="a", prompt_tokens=100, reply_tokens=70
            ),
            row(
                2,
                5,
                10,
                first=4,
                prompt=4,
                generation=6,
                job="b",
                prompt_tokens=300,
                reply_tokens=30,
                pid=4001,
            ),
            row(3, 20, 5, job="a", model="qwen3:8b", state="failed"),
        ],
        NOW,
    )
    total = made.total
    assert (total.count, total.errors, total.running) == (3, 1, 0)
    assert total.parts == parts(load=1, prompt=6, generation=13, unsplit=5)
    assert total.parts.total_ns == 25 * NS
    assert total.covered_ns == 20 * NS  # 0 to 15 and 20 to 25
    assert total.pause_ns == 10 * NS  # process 4000: from 10 to 20
    assert total.client_ns == 25 * NS
    assert (total.prompt_tokens, total.reply_tokens) == (400, 100)
    assert total.prompt_rate == pytest.approx(400 / 6)
    assert total.reply_rate == pytest.approx(100 / 13)
    assert [(group.name, group.count, group.parts.total_ns // NS) for group in made.models] == [
        ("llama3.1:8b", 2, 20),
        ("qwen3:8b", 1, 5),
    ]
    assert [(group.name, group.parts.total_ns // NS, group.pause_ns // NS) for group in made.jobs] == [
        ("a", 15, 10),
        ("b", 10, 0),
    ]
    assert (total.first_ns, total.last_ns) == (T0, T0 + 25 * NS)


def test_overlapping_exchanges_of_one_client_are_no_pause_and_count_once_as_waiting() -> None:
    made = profile([row(1, 0, 10), row(2, 2, 3), row(3, 12, 1)], NOW)
    assert made.total.pause_ns == 2 * NS
    assert made.total.client_ns == 11 * NS
    assert made.total.parts.total_ns == 14 * NS
    assert made.total.covered_ns == 11 * NS


def test_a_long_silence_of_a_process_is_no_pause_but_one_of_a_run_is() -> None:
    gap = BREAK_NS / NS + 1
    assert profile([row(1, 0, 1), row(2, 1 + gap, 1)], NOW).total.pause_ns == 0
    made = profile([row(1, 0, 1, run="r"), row(2, 1 + gap, 1, run="r", pid=9)], NOW)
    assert made.total.pause_ns == int(gap * NS)


def test_clients_of_unknown_process_are_told_apart_by_connection_and_never_mixed() -> None:
    nobody: dict[str, Any] = {"pid": None, "process": None}
    rows = [
        row(1, 0, 1, **nobody, client_addr="127.0.0.1:50001"),
        row(2, 4, 1, **nobody, client_addr="127.0.0.1:50002"),
        row(3, 6, 1, **nobody, client_addr="127.0.0.1:50001"),
        row(4, 8, 1, **nobody),
        row(5, 10, 1, **nobody),
    ]
    assert profile(rows, NOW).total.pause_ns == 5 * NS


def test_a_running_exchange_counts_until_now() -> None:
    made = profile([row(1, 0, None, first=5)], T0 + 30 * NS)
    assert made.total.running == 1 and made.total.replies == 0
    assert made.total.parts == parts(unsplit=5, generation=25)
    assert made.slowest[0].value == 30 * NS


def test_replays_are_in_no_figure() -> None:
    made = profile([row(1, 0, 10), row(2, 20, 500, replay_of=1), row(3, 530, 5)], NOW)
    assert (made.total.count, made.replays) == (2, 1)
    assert made.total.parts.total_ns == 15 * NS
    assert made.total.pause_ns == 520 * NS


def test_what_a_filter_leaves_out_still_keeps_its_client_busy() -> None:
    profiler = Profiler(NOW, "model:llama")
    profiler.add(row(1, 0, 10))
    profiler.add(row(2, 11, 100, model="qwen3:8b"), counted=False)
    profiler.add(row(3, 113, 10))
    made = profiler.finish()
    assert made.total.count == 2
    assert made.total.pause_ns == 2 * NS  # 111 to 113, not 10 to 113


def test_the_slowest_the_biggest_and_the_findings() -> None:
    rows = [
        row(
            n,
            100 * n,
            n,
            prompt_tokens=1000 - n,
            reply_tokens=0,
            item=f"item {n}",
            verdicts=("context_cut",) * (n % 2),
        )
        for n in range(1, 10)
    ]
    made = profile(rows, NOW)
    assert [leader.exchange for leader in made.slowest] == [9, 8, 7, 6, 5]
    assert [leader.exchange for leader in made.biggest] == [1, 2, 3, 4, 5]
    assert len(made.slowest) == LEADERS and made.slowest[0].item == "item 9"
    (found,) = made.total.findings
    assert (found.kind, found.count, found.took_ns, found.example) == ("context_cut", 5, 25 * NS, 9)
    assert made.total.slowest == made.slowest[0]


def test_the_query_of_a_group_selects_that_group() -> None:
    named = row(1, 0, 2, model='od"d: name', job="night > day")
    bare = row(2, 5, 1, model=None, job=None)
    made = profile([named, bare], NOW, "op:chat")
    for group, one, other in (
        (made.models[0], named, bare),
        (made.models[1], bare, named),
        (made.jobs[0], named, bare),
        (made.jobs[1], bare, named),
    ):
        query = parse(group.query)
        assert query.matches(one, NOW) and not query.matches(other, NOW), group.query


def test_nothing_is_a_profile_too() -> None:
    made = profile([], NOW)
    assert made.total.count == 0 and made.advice == () and made.slowest == ()
    assert made.total.parts.total_ns == 0


# Size


def many(count: int) -> Iterator[ExchangeRow]:
    for n in range(count):
        yield row(
            n + 1, n * 2, 1, first=0.5, load=0.6, prompt=0.2, generation=0.1, run=f"run-{n // 2}", job=f"job-{n % 900}",
            model=f"model-{n % 1000}", prompt_tokens=n, reply_tokens=1, server_addr=f"10.0.0.{n % 256}:{n}",
        )  # fmt: skip


def test_memory_does_not_grow_with_the_number_of_rows() -> None:
    profiler = Profiler(NOW)
    sizes = []
    for n, one in enumerate(many(20_000), 1):
        profiler.add(one)
        if n in (10_000, 20_000):
            sizes.append(_deep_size(profiler))
    assert sizes[1] < sizes[0] * 1.1
    made = profiler.finish()
    assert made.total.count == 20_000
    assert len(made.models) <= GROUPS_MOST + 1 and made.merged >= GROUPS_MOST
    assert sum(group.count for group in made.models) == 20_000
    assert len(profiler.questions()) < 100


def _deep_size(value: Any, seen: set[int] | None = None) -> int:
    seen = seen if seen is not None else set()
    if id(value) in seen:
        return 0
    seen.add(id(value))
    held: list[Any] = []
    if isinstance(value, dict):
        held += [*value.keys(), *value.values()]
    elif isinstance(value, list | tuple | set):
        held += value
    elif hasattr(value, "__dict__"):
        held += value.__dict__.values()
    names: tuple[str, ...] = getattr(type(value), "__slots__", ()) or getattr(value, "__struct_fields__", ())
    held += [getattr(value, name, None) for name in names]
    return sys.getsizeof(value) + sum(_deep_size(one, seen) for one in held)


# Advice


def reloading(count: int, **more: Any) -> list[ExchangeRow]:
    """Each loads the model anew for 6 of its 10 seconds."""
    return [row(n, 12 * n, 10, first=7, load=6, prompt=1, generation=3, **more) for n in range(1, count + 1)]


def finished(rows: list[ExchangeRow], *known: Exchange) -> Profile:
    profiler = Profiler(NOW)
    for one in rows:
        profiler.add(one)
    asked = profiler.questions()
    return profiler.finish({one.id: one for one in known if one.id in asked})


def test_reloads_are_explained_by_keep_alive() -> None:
    rows = reloading(10)
    made = finished(rows, *(exchange(n, Prompt(keep_alive=0)) for n in range(1, 11)))
    (advice,) = made.advice
    assert advice.kind == "reloads" and advice.cost_ns == 60 * NS
    assert advice.text == (
        "60% of the time is model reloads (1m00s, 10 loads): keep_alive is 0; set keep_alive to 10m."
    )
    assert parse(advice.query).matches(rows[0], NOW)
    (silent,) = finished(rows).advice
    assert "OLLAMA_KEEP_ALIVE" in silent.text


def test_reloads_are_explained_by_a_context_that_changes() -> None:
    sizes = {n: Prompt(options={"num_ctx": 4096 if n % 2 else 8192}, keep_alive=0) for n in range(1, 11)}
    made = finished(reloading(10), *(exchange(n, prompt) for n, prompt in sizes.items()))
    assert "num_ctx changes between calls (4096, 8192)" in made.advice[0].text


def test_models_that_alternate_on_one_server_are_told_apart_from_reloads() -> None:
    rows = [
        row(n, 12 * n, 10, first=7, load=6, prompt=1, generation=3, model=("a", "b")[n % 2])
        for n in range(1, 11)
    ]
    made = finished(rows)
    assert made.total.switches == 9
    assert kinds(made) == ["alternation"]
    assert "9 loads right behind another model" in made.advice[0].text
    assert made.advice[0].cost_ns == 54 * NS


def test_models_on_two_servers_do_not_alternate() -> None:
    rows = [
        row(n, 12 * n, 10, load=6, generation=3, model=("a", "b")[n % 2], server_addr=f"127.0.0.1:{n % 2}")
        for n in range(1, 11)
    ]
    assert finished(rows).total.switches == 0


def test_pauses_are_advised_against_from_their_threshold_on() -> None:
    busy = [row(n, 10 * n, 7) for n in range(20)]
    assert "pauses" not in kinds(finished(busy))  # 3 of 10 seconds
    idle = [row(n, 10 * n, 3) for n in range(20)]
    made = finished(idle)
    assert made.total.pause_ns == 19 * 7 * NS and made.total.client_ns == 60 * NS
    assert made.advice[0].text.startswith("Client pauses are 69% (2m13s between calls, 1m00s in them)")


def test_a_queue_names_how_many_are_open_at_once() -> None:
    rows = [
        row(4 * n + lane, 10 * n, 8, first=6, prompt=1, generation=2, pid=lane)
        for n in range(5)
        for lane in range(4)
    ]
    made = finished(rows)
    assert made.total.parts.queue_ns == 20 * 5 * NS
    assert "on average 4.0 exchanges are open at once" in made.advice[0].text


def shared_prefix(pace: float) -> Profile:
    """Six prompts of 5,000 tokens, 4,000 of them always the same; the later ones evaluated at ``pace``."""
    rows, known = [], []
    for n in range(1, 7):
        spent = 4.0 if n == 1 else 4.0 * pace
        rows.append(
            row(n, 10 * n, 9, first=spent, prompt=spent, generation=1, prompt_tokens=5000, reply_tokens=10)
        )
        text = "shared " * 4000 + f"{n}" * 7000
        known.append(
            exchange(
                n,
                Prompt(messages=(Message(role="user", content=text),)),
                model="llama3.1:8b",
                prompt_tokens=5000,
                prompt_ns=int(spent * NS),
            )
        )
    return finished(rows, *known)


def test_a_shared_beginning_that_is_evaluated_again_is_found() -> None:
    made = shared_prefix(pace=1.0)
    assert "prefix" in kinds(made)
    text = next(advice.text for advice in made.advice if advice.kind == "prefix")
    assert "about 4.0k tokens" in text and "5 of 5 pairs" in text


def test_a_shared_beginning_from_the_cache_is_no_complaint() -> None:
    assert "prefix" not in kinds(shared_prefix(pace=0.25))


def test_replies_cut_by_a_limit_are_no_cut_context_and_name_the_limit() -> None:
    rows = [row(n, 10 * n, 8, done_reason="length" if n < 4 else "stop") for n in range(1, 11)]
    made = finished(rows, *(exchange(n, Prompt(options={"num_predict": 24})) for n in (1, 2, 3)))
    (advice,) = made.advice
    assert advice.text.startswith("num_predict (24) cuts 30% of the replies (3 of 10)")
    assert [parse(advice.query).matches(one, NOW) for one in rows] == [True] * 3 + [False] * 7


def test_a_cut_context_is_said_with_its_share() -> None:
    rows = [row(n, 10 * n, 8, verdicts=("context_cut",) if n <= 3 else ()) for n in range(1, 26)]
    made = finished(rows)
    assert kinds(made) == ["context"] and "in 12% of the exchanges (3 of 25)" in made.advice[0].text


def test_few_and_short_things_are_not_worth_a_sentence() -> None:
    rows = [
        row(1, 0, 1, first=0.9, load=0.8, prompt=0.05, generation=0.05),
        row(2, 1.1, 1, state="failed"),
        row(3, 2.3, 1, done_reason="length", verdicts=("context_cut",)),
    ]
    assert finished(rows).advice == ()


def test_advice_on_much_time_comes_first() -> None:
    rows = reloading(10) + [row(50 + n, 1000 + 300 * n, 1) for n in range(5)]
    costs = [advice.cost_ns for advice in finished(rows).advice]
    assert costs == sorted(costs, reverse=True) and len(costs) == 2
